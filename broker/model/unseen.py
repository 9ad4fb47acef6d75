"""Defines why no device shows a scheduled step."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class UnseenReason(StrEnum):
    """Why no device that asks for its own exams of today or later shows a step that waits. A step has one of them."""

    UNSCHEDULED = "unscheduled"  # it has no start
    UNASSIGNED = "unassigned"  # no message gave it a station
    UNKNOWN_STATION = "unknown-station"  # no device that is let in has its station
    PAST = "past"  # its day is over


@dataclass(frozen=True, slots=True, kw_only=True)
class UnseenStep:
    """A step (row) that nobody sees, and its place in the list. `station` is empty where it is not the reason.

    `start_at` is `YYYYMMDDHHMMSS`, empty for none.
    """

    reason: UnseenReason
    station: str
    start_at: str
    step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UnseenGround:
    """What decides whether a step is seen. `today` is the beginning of the day of the site, as starts are written.

    `statuses`: of steps that wait. `default`: the station of steps that no message gave one. `known`: stations of
    devices that are let in.
    """

    today: str
    statuses: tuple[str, ...]
    default: str
    known: frozenset[str]
