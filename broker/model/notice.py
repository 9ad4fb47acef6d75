"""Says what a notice is: that a rule acted on a study, as a node is told it. No patient data is in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What a rule did with a study, as far as its first object tells it.

    `action`: send, hold, discard, or notify where the rule does nothing else. `destinations`: nodes that it sends
    to, or holds deliveries for. `level`: what it judges. `device`: the calling AE title. `key`: the same for each try.
    """

    rule: str
    rules_version: int
    action: str
    destinations: tuple[str, ...]
    level: str
    device: str
    modality: str
    key: str

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self) | {"destinations": list(self.destinations)}

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Notice:
        """The notice that `document` made."""
        return cls(**{**document, "destinations": tuple(document["destinations"])})
