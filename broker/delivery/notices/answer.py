"""Says what became of a notice that was handed to its node."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class NoticeVerdict(StrEnum):
    """Says what becomes of the job."""

    DONE = "done"
    AGAIN = "again"  # this one later, others go on
    AWAY = "away"  # the node is busy, or did not finish: all wait
    HELD = "held"  # a person must look


@dataclass(frozen=True, slots=True)
class NoticeAnswer:
    """A verdict with its code; `after`: seconds for which the node wants to be left alone."""

    verdict: NoticeVerdict
    code: str
    after: float = 0
