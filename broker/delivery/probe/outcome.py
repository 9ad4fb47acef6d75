"""Holds the findings of a test of a node: steps, each with its time, what happened in words, and what to do next."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from broker.model.wording import Sentence

LONGEST = 300  # characters of a value that a peer has a say in


class StepOutcome(StrEnum):
    """How a step ended. WARNING: it works, and somebody should look. SKIPPED: there was nothing to do."""

    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeStep:
    """One step of a test. `duration` in s; `advice`: the next thing to do; `rows`: what was asked for and taken."""

    name: str
    outcome: StepOutcome
    duration: float
    words: Sentence
    advice: Sentence | None = None
    rows: tuple[ContextRow, ...] = ()

    def document(self) -> dict[str, Any]:
        """The step as JSON."""
        return {
            "name": self.name,
            "outcome": self.outcome.value,
            "duration": round(self.duration, 4),
            "words": _written(self.words),
            "advice": _written(self.advice) if self.advice is not None else None,
            "rows": [[row.sop_class, row.transfer_syntax, row.taken, row.instead] for row in self.rows],
        }


@dataclass(frozen=True, slots=True)
class ContextRow:
    """A SOP class with a transfer syntax (names), and whether the node takes it.

    `instead`: the syntax into which it is converted for a node that does not, empty if it cannot be.
    """

    sop_class: str
    transfer_syntax: str
    taken: bool
    instead: str = ""


def step_of(document: Mapping[str, Any]) -> ProbeStep:
    """A step that was stored as JSON."""
    return ProbeStep(
        name=document["name"],
        outcome=StepOutcome(document["outcome"]),
        duration=document["duration"],
        words=_read(document["words"]),
        advice=_read(document["advice"]) if document["advice"] is not None else None,
        rows=tuple(ContextRow(*row) for row in document["rows"]),
    )


def _written(sentence: Sentence) -> list[Any]:
    return [sentence.text, dict(sentence.values), sentence.many]


def _read(stored: list[Any]) -> Sentence:
    return Sentence(stored[0], stored[1], stored[2])


@dataclass(slots=True)
class ProbeLog:
    """The steps of one test as they come. `told` is called after each."""

    told: Callable[[], object] = lambda: None
    steps: list[ProbeStep] = field(default_factory=list)
    _began: float = field(default_factory=time.perf_counter)

    def begin(self) -> None:
        """A step begins now."""
        self._began = time.perf_counter()

    def add(
        self,
        name: str,
        outcome: StepOutcome,
        words: Sentence,
        advice: Sentence | None = None,
        rows: tuple[ContextRow, ...] = (),
    ) -> None:
        """A step has ended; the next one begins."""
        now = time.perf_counter()
        self.steps.append(
            ProbeStep(name=name, outcome=outcome, duration=now - self._began, words=words, advice=advice, rows=rows)
        )
        self._began = now
        self.told()

    @property
    def good(self) -> bool:
        """No step was bad."""
        return all(step.outcome is not StepOutcome.BAD for step in self.steps)


def shortened(text: str) -> str:
    """A text of a peer, in bounds and without control characters."""
    plain = "".join(c if c.isprintable() else "?" for c in text[: LONGEST + 1])
    return plain if len(plain) <= LONGEST else plain[: LONGEST - 1] + "…"
