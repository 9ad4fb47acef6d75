"""Where mapped values come from: notes that a profile under observation takes while a message is converted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from broker.hl7.message import Segments

How = Literal["message", "table", "default", "station", "identifiers"]


@dataclass(frozen=True, slots=True)
class Origin:
    """How an attribute of one section got its value."""

    section: str
    keyword: str
    value: Any
    how: How
    path: str = ""  # `OBR-24.1`: the source of the profile that gave it
    location: str = ""  # `OBR^2^24`: where that stands in the message
    raw: str = ""  # what stood there, before a value table
    note: str = ""  # which rule


@dataclass(slots=True)
class Trace:
    """Collects origins, each with the segments (order group, step) that were looked at."""

    notes: list[tuple[Segments, Origin]] = field(default_factory=list)

    def note(self, view: Segments, origin: Origin) -> None:
        """Remember one."""
        self.notes.append((view, origin))
