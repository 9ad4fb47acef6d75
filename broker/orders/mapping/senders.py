"""Claims of mapping profiles on senders, by MSH-3 and MSH-4; the most specific claim wins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from broker.wildcard import Wildcard, compile_wildcard

MAX_PATTERN = 200


@dataclass(frozen=True, slots=True)
class SenderClaim:
    """A claim: patterns of sending application and facility (any case), as written."""

    application: str
    facility: str

    @property
    def key(self) -> tuple[str, str]:
        """What is the same for claims that say the same."""
        return self.application.casefold(), self.facility.casefold()

    @property
    def specificity(self) -> tuple[int, int, int, int]:
        """Greater for the more specific: exact before pattern, more literal characters, application first."""
        literal = [sum(c not in "*?" for c in part) for part in self.key]
        exact = [len(part) == count for part, count in zip(self.key, literal, strict=True)]
        return exact[0], literal[0], exact[1], literal[1]

    def compiled(self) -> tuple[Wildcard, Wildcard]:
        """Patterns for case-folded values."""
        return compile_wildcard(self.key[0]), compile_wildcard(self.key[1])


def parse_senders(table: Mapping[str, Any]) -> tuple[SenderClaim, ...]:
    """Validate `[senders]`. Raises ValueError."""
    if unknown := set(table) - {"match"}:
        raise ValueError(f"unknown key {min(unknown)}")
    claims = table.get("match", [])
    if not isinstance(claims, list):
        raise ValueError("match: a list of tables is needed")
    return tuple(_sender(claim) for claim in claims)


def _sender(claim: Any) -> SenderClaim:
    if not isinstance(claim, Mapping) or not claim:
        raise ValueError("match: application, facility or both are needed")
    if unknown := set(claim) - {"application", "facility"}:
        raise ValueError(f"match: unknown key {min(unknown)}")
    application, facility = claim.get("application", "*"), claim.get("facility", "*")
    if not all(isinstance(pattern, str) and len(pattern) <= MAX_PATTERN for pattern in (application, facility)):
        raise ValueError(f"match: texts of at most {MAX_PATTERN} characters are needed")
    return SenderClaim(application, facility)
