"""Says what a check of `broker doctor` is: a verdict, what was found, and the next step."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class CheckVerdict(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class CheckFinding:
    """What a check found: its verdict, in words, and what to do next (empty if nothing is to be done)."""

    check: str
    verdict: CheckVerdict
    text: str
    next_step: str = ""
