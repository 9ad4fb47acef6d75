"""What a broker has acknowledged, and what it was sent: the peers write it, the account compares it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

STATIONS = 20


class Fate(IntEnum):
    """What becomes of an order: the last digit of its number, in base 4."""

    PLAIN = 0
    CHANGED = 1  # by its RIS: another start, another name
    CANCELED = 2  # by its RIS
    PERFORMED = 3  # by a modality


def fate(number: int) -> Fate:
    """What becomes of this order."""
    return Fate(number % 4)


def station(number: int) -> str:
    """The station of this order."""
    return f"ST{number % STATIONS:02d}"


def mpps_uid(number: int) -> str:
    """SOP Instance UID of the MPPS of this order."""
    return f"2.999.8.{number}"


@dataclass
class Ledger:
    """Acknowledgements. Each set is written by one thread or by adding alone, which needs no lock."""

    placed: set[int] = field(default_factory=set)  # numbers of orders
    changed: set[int] = field(default_factory=set)
    canceled: set[int] = field(default_factory=set)
    sent: set[int] = field(default_factory=set)  # orders that were sent, acknowledged or not
    images: dict[str, bytes] = field(default_factory=dict)  # SOP Instance UID: SHA-256
    begun: set[int] = field(default_factory=set)  # orders with an N-CREATE
    ended: set[int] = field(default_factory=set)  # orders with an N-SET
    queries: int = 0
    refused: int = 0  # requests that met passing trouble
    repeated: int = 0  # requests that were sent again
    wrong: list[str] = field(default_factory=list)  # answers that nothing explains
    closing: bool = False  # nothing new is begun, what is owed is brought to its end

    def note(self, text: str) -> None:
        """Note an answer that nothing explains."""
        self.wrong.append(text)

    def counts(self) -> str:
        """All of it in one line."""
        return (
            f"{len(self.placed)} orders, {len(self.changed)} changes, {len(self.canceled)} cancels, "
            f"{len(self.images)} objects, {len(self.begun)} MPPS begun, {len(self.ended)} ended, "
            f"{self.queries} queries; {self.refused} refused, {self.repeated} sent again"
        )
