"""Notes of where mapped values come from, taken by a profile with a trace while it converts a message."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from broker.hl7.message import Segments


class OriginKind(StrEnum):
    """Says what gave a value."""

    MESSAGE = "message"
    TABLE = "table"  # of the profile, for what stands in the message
    DEFAULT = "default"
    STATION = "station"  # rule of the profile
    IDENTIFIERS = "identifiers"  # policies: kept, taken from another identifier, generated


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueOrigin:
    """Says how an attribute of one section got its value."""

    section: str
    keyword: str
    value: Any
    how: OriginKind
    path: str = ""  # `OBR-24.1`: the source of the profile that gave it
    location: str = ""  # `OBR^2^24`: where that stands in the message
    raw: str = ""  # what stood there, before a value table
    note: str = ""  # which rule


@dataclass(slots=True)
class Trace:
    """Collects origins, each with the segments (order group, step) that were looked at."""

    notes: list[tuple[Segments, ValueOrigin]] = field(default_factory=list)

    def note(self, view: Segments, origin: ValueOrigin) -> None:
        """Remember one."""
        self.notes.append((view, origin))
