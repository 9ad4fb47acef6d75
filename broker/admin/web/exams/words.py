"""Puts exams into words: names of persons, birth dates, times of the site's clock, states of steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from broker.admin.web.words import Sentence
from broker.model.exam import ExamLine
from broker.model.order import StepStatus

STATES: Mapping[str, tuple[str, Sentence]] = {
    StepStatus.SCHEDULED: ("", Sentence("planned")),
    StepStatus.ARRIVED: ("", Sentence("patient has arrived")),
    StepStatus.READY: ("", Sentence("ready to begin")),
    StepStatus.STARTED: ("warn", Sentence("in progress")),
    StepStatus.COMPLETED: ("ok", Sentence("completed")),
    StepStatus.DISCONTINUED: ("bad", Sentence("broken off")),
    StepStatus.CANCELED: ("bad", Sentence("called off")),
}
HELD = Sentence("held by the RIS")


def stations_of(text: str) -> tuple[str, ...]:
    """AE titles that a person typed, with what separates values in DICOM between them: a title may have blanks."""
    return tuple(title for part in text.split("\\") if (title := part.strip()))


def person(name: str) -> str:
    """A name (PS3.5 6.2.1) as people write it: family name first, other writings in brackets."""
    groups = [" ".join(_group(group).split()) for group in name.split("=")]
    written = [group for group in groups if group]
    return written[0] + "".join(f" ({group})" for group in written[1:]) if written else ""


def _group(group: str) -> str:
    family, given, middle, prefix, suffix = (*group.split("^")[:5], *[""] * (5 - len(group.split("^")[:5])))
    before = " ".join(part for part in (prefix, given, middle) if part)
    return ", ".join(part for part in (family, before, suffix) if part.strip())


def day_of(text: str) -> str:
    """`20300312` as `2030-03-12`; what is none stays as it is."""
    return f"{text[:4]}-{text[4:6]}-{text[6:8]}" if len(text) == 8 and text.isdigit() else text


def clock_of(start: str) -> str:
    """A start (`YYYYMMDDHHMMSS`) on the clock of the site; empty for none."""
    return f"{day_of(start[:8])} {start[8:10]}:{start[10:12]}" if start else ""


def states_of(line: ExamLine) -> Sequence[tuple[str, Sentence]]:
    """Tone and word of each different state of the steps."""
    found = [STATES[status] for status in dict.fromkeys(step.status for step in line.steps)]
    held = [("warn", HELD)] if any(step.held for step in line.steps) else []
    return [*held, *found]
