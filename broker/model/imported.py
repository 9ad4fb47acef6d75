"""Defines what is noted of an item of an import that is not simply in place."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportNote:
    """An item and what became of it: `taken` with findings, refused, skipped, canceled …

    `source` is the name of a node, empty for files; `place` names the file. `findings` are paths of fields and what is
    told of them; they hold no values of the patient. `first_at` and `last_at`, in s since the epoch, say when it was
    so, and `times` how often.
    """

    source: str
    key: str
    accession: str
    outcome: str
    findings: tuple[tuple[str, str], ...] = ()
    place: str = ""
    first_at: float = 0
    last_at: float = 0
    times: int = 1

    def as_before(self, other: ImportNote) -> bool:
        """Both say the same of the item."""
        return (self.accession, self.outcome, self.findings) == (other.accession, other.outcome, other.findings)
