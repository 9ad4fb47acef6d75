"""Runs the examples of a mapping profile by the converter that reads real messages.

An example is a message and what is expected of it:

[[example]]
name = "chest in the emergency room"
message = '''
MSH|^~\\&|RIS|SITE|…
'''
answer = "AA"                        # without it AA
findings = ["ORC^1^7 101"]           # all of them, location and code, but 204 (nothing is stored); without it no error
timezone = "Europe/Paris"            # of the site; without it that of MSH-7
steps = 2                            # how many worklist entries
[example.expect]                     # of the first step
Modality = "CR"
"RequestedProcedureCodeSequence.CodeValue" = "CHEST"
"step[2].ScheduledStationAETitle" = "CR02"
PatientComments = ""                 # absent
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from broker.hl7.codes import AckCode, ErrorCode
from broker.model.order import Document
from broker.orders.mapping.mistakes import ProfileMistake, place_of
from broker.orders.mapping.profile import Profile
from broker.orders.trying import preview
from broker.orders.trying.preview import Preview

MAX_EXAMPLES = 200
_KEYS = {"name", "message", "answer", "findings", "timezone", "orders", "steps", "expect"}
_PART = re.compile(r"(\w+)(?:\[([1-9]\d{0,3})\])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileExample:
    """One example, validated."""

    name: str
    message: str
    answer: AckCode
    findings: tuple[str, ...] | None
    zone: ZoneInfo | None
    counts: Mapping[str, int]
    expect: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Failure:
    """An expectation that is not met."""

    example: str
    what: str  # keyword, `answer`, `findings`, `orders` or `steps`
    expected: Any
    got: Any

    def __str__(self) -> str:
        return f"example {self.example!r}: {self.what}: expected {self.expected!r}, got {self.got!r}"


def parse(document: Mapping[str, Any]) -> tuple[ProfileExample, ...]:
    """The examples of a profile's document. Raises ConfigurationError that names profile, example and key."""
    tables = document.get("example", [])
    if not isinstance(tables, list) or len(tables) > MAX_EXAMPLES:
        raise ProfileMistake(place_of(document["name"]), "example", f"at most {MAX_EXAMPLES} tables")
    examples = []
    for number, table in enumerate(tables, 1):
        try:
            examples.append(_example(number, table))
        except (ValueError, TypeError, KeyError, AttributeError, OSError) as error:
            raise ProfileMistake(place_of(document["name"]), f"example {number}", str(error)) from None
    return tuple(examples)


def _example(number: int, table: Mapping[str, Any]) -> ProfileExample:
    if unknown := set(table) - _KEYS:
        raise ValueError(f"unknown key {min(unknown)}")
    message, findings, expect = table.get("message"), table.get("findings"), table.get("expect", {})
    if not isinstance(message, str) or not message.strip():
        raise ValueError("message: a text is needed")
    if table.get("answer", AckCode.AA) not in {AckCode.AA, AckCode.AE, AckCode.AR}:
        raise ValueError("answer: AA, AE or AR")
    if findings is not None and not (isinstance(findings, list) and all(isinstance(f, str) for f in findings)):
        raise ValueError("findings: a list of texts like 'PID^1^3 101'")
    for name in expect:
        if not all(_PART.fullmatch(part) for part in name.split(".")):
            raise ValueError(f"expect.{name}: not of the form step[2].Keyword.Keyword")
    return ProfileExample(
        name=str(table.get("name", number)),
        message=message,
        answer=AckCode(table.get("answer", AckCode.AA)),
        findings=None if findings is None else tuple(sorted(findings)),
        zone=ZoneInfo(table["timezone"]) if "timezone" in table else None,
        counts={key: int(table[key]) for key in ("orders", "steps") if key in table},
        expect=expect,
    )


def run(examples: tuple[ProfileExample, ...], profile: Profile) -> list[Failure]:
    """Run examples by a profile; what they do not find as expected."""
    return [failure for example in examples for failure in _run(example, profile)]


def _run(example: ProfileExample, profile: Profile) -> list[Failure]:
    raw = preview.as_bytes(example.message, profile.reading.charset)
    outcome = preview.preview(raw, profile, example.zone)
    failures = []

    def compare(what: str, expected: Any, got: Any) -> None:
        if not _same(expected, got):
            failures.append(Failure(example.name, what, expected, got))

    # nothing is stored: that an order or patient is not known says nothing about the mapping
    told = [finding for finding in outcome.findings if finding.code != ErrorCode.UNKNOWN_KEY]
    code = AckCode.AA if outcome.code == AckCode.AE and not any(f.is_error for f in told) else outcome.code
    shown = sorted(f"{finding.location} {finding.code}" for finding in told)
    if example.findings is not None:
        compare("findings", list(example.findings), shown)
    elif example.answer == AckCode.AA:
        compare("findings", [], [f"{f.location} {f.code}" for f in told if f.is_error])
    compare("answer", str(example.answer), str(code))
    documents = list(preview.documents(outcome))
    for what, number in example.counts.items():
        compare(what, number, len(outcome.ordered) if what == "orders" else _steps(outcome))
    for name, expected in example.expect.items():
        compare(name, expected, _value(documents, outcome, name))
    return failures


def _steps(outcome: Preview) -> int:
    return sum(len(ordered.answers) for ordered in outcome.ordered)


def _same(expected: Any, got: Any) -> bool:
    """Equal; a single value may stand for a list of one, an empty one for absence."""
    if expected in ("", []):
        return got in ("", [], None)
    return bool(expected == got or [expected] == got)


def _value(documents: list[Document], outcome: Preview, name: str) -> Any:
    """What an example asks for: `step[2].Keyword`, `Sequence[2].Keyword`, and `control` of the first order."""
    if name == "control":
        return getattr(outcome.ordered[0].change, "control", None) if outcome.ordered else None
    parts = [(match[1], int(match[2] or 0)) for part in name.split(".") if (match := _PART.fullmatch(part))]
    position = (parts.pop(0)[1] or 1) if parts[0][0] == "step" and len(parts) > 1 else 1
    here: Any = documents[position - 1] if position <= len(documents) else {}
    for number, (keyword, index) in enumerate(parts, 1):
        here = preview.value(here, keyword) if number == 1 else here.get(keyword)
        if number == len(parts) and not index:
            return here
        items = here if isinstance(here, list) else []
        here = items[(index or 1) - 1] if (index or 1) <= len(items) else None
        if number < len(parts) and not isinstance(here, dict):
            return None
    return here
