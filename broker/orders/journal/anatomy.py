"""Takes a message apart for people: each field with its name, what became of it, what is wrong with it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from broker.hl7 import dictionary
from broker.hl7.findings import MalformedMessage
from broker.hl7.message import Segment, parse
from broker.hl7.reply import ToldFinding
from broker.hl7.tolerance import Tolerance
from broker.orders.trying.explanation import Part

MOST_FIELDS = 2000  # that are shown of one message
LONGEST = 4000  # characters of a field that are shown
# what decides about a message without becoming an attribute: kind, sender, order control, what is merged or booked
_READ: Mapping[str, frozenset[int]] = {
    "MSH": frozenset({1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 15, 16, 18, 20}),
    "EVN": frozenset({1}),
    "MRG": frozenset({1, 4}),
    "ORC": frozenset({1, 5, 8}),
    "OBR": frozenset({25, 29}),
    "OBX": frozenset({2, 3, 6, 11}),
    "SCH": frozenset({1, 2, 25, 26, 27}),
    "AIS": frozenset({2}),
    "AIG": frozenset({2}),
    "AIL": frozenset({2}),
    "AIP": frozenset({2}),
}


class FieldUse(StrEnum):
    """Says what the broker did with a field."""

    MAPPED = "mapped"  # it became an attribute
    READ = "read"  # it decides about the message
    UNUSED = "unused"


@dataclass(frozen=True, slots=True)
class Became:
    """An attribute that a field became, with its value as it stands in the worklist."""

    keyword: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldView:
    """A field that is not empty: its number and HL7's name, its text as it was sent, and what became of it."""

    number: int
    name: str
    text: str
    use: FieldUse
    became: tuple[Became, ...] = ()
    findings: tuple[ToldFinding, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentView:
    """A segment with its fields. `sequence` counts those of its name; `findings` that name no field of it."""

    name: str
    title: str
    sequence: int
    fields: tuple[FieldView, ...]
    findings: tuple[ToldFinding, ...] = ()


@dataclass(frozen=True, slots=True)
class Anatomy:
    """A message by segment and field. `elsewhere`: findings at a place that the message does not have.

    `cut`: it has more fields than are shown. `unreadable`: why it could not be taken apart; empty if it could.
    """

    segments: tuple[SegmentView, ...]
    elsewhere: tuple[ToldFinding, ...]
    cut: bool = False
    unreadable: str = ""


def anatomy(raw: bytes, tolerance: Tolerance, parts: Iterable[Part], findings: Sequence[ToldFinding]) -> Anatomy:
    """Take a message apart. `parts`: what its mapping read; `findings`: what its sender was told."""
    try:
        message = parse(raw, replace(tolerance, replace=True))
    except MalformedMessage as error:
        return Anatomy((), tuple(findings), unreadable=error.finding.text)
    became: dict[str, list[Became]] = {}
    for row in (row for part in parts for row in part.rows if row.location):
        attribute = Became(row.keyword, value_text(row.value))
        places = became.setdefault(_place(row.location), [])
        if attribute not in places:
            places.append(attribute)
    told: dict[str, list[ToldFinding]] = {}
    for finding in findings:
        told.setdefault(_place(finding.location), []).append(finding)
    shown, room = [], MOST_FIELDS
    for segment in message:
        view = _segment(segment, became, told, room)
        shown.append(view)
        room -= len(view.fields)
        if room <= 0:
            break
    elsewhere = tuple(finding for places in told.values() for finding in places)
    return Anatomy(tuple(shown), elsewhere, cut=room <= 0)


def _segment(
    segment: Segment, became: Mapping[str, list[Became]], told: dict[str, list[ToldFinding]], room: int
) -> SegmentView:
    """A segment. What is told at its places is taken out of `told`."""
    fields: list[FieldView] = []
    number, last = 1, segment.count()
    while number <= last and len(fields) < room:
        text, place = segment.field(number), segment.at(number)
        found = tuple(told.pop(place, ()))
        attributes = tuple(became.get(place, ()))
        if text or found:
            read = number in _READ.get(segment.name, ())
            use = FieldUse.MAPPED if attributes else FieldUse.READ if read else FieldUse.UNUSED
            fields.append(
                FieldView(
                    number=number,
                    name=dictionary.name_of(segment.name, number),
                    text=text[:LONGEST],
                    use=use,
                    became=attributes,
                    findings=found,
                )
            )
        number += 1
    own = f"{segment.name}^{segment.sequence}"
    beyond = [place for place in told if place == own or place.startswith(f"{own}^")]
    return SegmentView(
        name=segment.name,
        title=dictionary.title_of(segment.name),
        sequence=segment.sequence,
        fields=tuple(fields),
        findings=tuple(finding for place in beyond for finding in told.pop(place)),
    )


def _place(location: str) -> str:
    """Segment, its number and the field of a location: `OBR^2^24` of `OBR^2^24^1^3`."""
    return "^".join(location.split("^")[:3])


def value_text(value: object) -> str:
    """A value of a worklist answer in one line."""
    if isinstance(value, list):
        return " \\ ".join(value_text(one) for one in value)
    if isinstance(value, dict):
        return ", ".join(value_text(one) for one in value.values() if one not in ("", [], {}))
    return str(value)[:LONGEST]
