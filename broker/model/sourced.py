"""Defines an item that was taken over from another worklist server."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class SourcedState(StrEnum):
    """Says who decides what the order of an item is."""

    THEIRS = "theirs"  # the server
    OURS = "ours"  # somebody else has written the order
    ENDED = "ended"  # its steps have ended
    GONE = "gone"  # the server has it no more


@dataclass(frozen=True, slots=True, kw_only=True)
class Sourced:
    """An item of another server, the order (row) and step (identifier) it is here, and how it last was there."""

    key: str
    request: int
    step_id: str
    start_at: str
    digest: bytes
    state: SourcedState
    misses: int = 0  # complete imports in a row that did not have it
