r"""HL7 v2 messages: split by the separators of MSH, read by path (HL7 2.5.1 §2.5, §2.7).

Decode, split, unescape, in that order. Nothing here knows segments other than MSH. A value is text;
`""` (two quotes, "delete what you have") comes out as `DELETE`, an absent one as the empty string.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from broker.hl7 import escapes, work
from broker.hl7.codes import ErrorCode, Severity
from broker.hl7.escapes import unescape
from broker.hl7.findings import Finding, MalformedMessage
from broker.hl7.header import Header, Separators, clean, pieces
from broker.hl7.paths import Choice, Path, path
from broker.hl7.text import decoding
from broker.hl7.text.strays import strays
from broker.hl7.tolerance import USUAL, Tolerance

DELETE = '""'
_NO_MARK = Finding(
    "MSH^1^2",
    ErrorCode.DATA_TYPE,
    "A separator is left out whose usual character stands for another one: nothing is separated by it",
    Severity.WARNING,
)
_NAME = re.compile(r"[A-Z][A-Z0-9]{2}")
_REPEATED = "~"  # stands among the counts by name of segment for the repetitions of all


class Repetition(NamedTuple):
    """One repetition of a field, still escaped."""

    text: str
    separators: Separators
    codec: str

    def get(self, component: int = 0, subcomponent: int = 0) -> str:
        """Unescaped value; the whole (with its separators) for 0."""
        text = self.text
        if component:
            text = _part(text, self.separators.component, component)
        if subcomponent:
            text = _part(text, self.separators.subcomponent, subcomponent)
        return unescape(text, self.separators, self.codec) if self.separators.escape in text else text

    def whole(self) -> str:
        """Unescaped value with its separators, without components that are two quotes."""
        if DELETE not in self.text or self.text == DELETE:
            return self.get()
        mark = self.separators.component
        return mark.join(undeleted(part) for part in self.components()).rstrip(mark)

    def components(self, component: int = 0) -> tuple[str, ...]:
        """All components, or the subcomponents of one component, unescaped."""
        text, separator = self.text, self.separators.component
        if component:
            text, separator = _part(text, separator, component), self.separators.subcomponent
        parts = pieces(text, separator)
        if self.separators.escape not in text:  # as most are
            return tuple(parts)
        return tuple([unescape(part, self.separators, self.codec) for part in parts])


def undeleted(text: str) -> str:
    """A part of a value, empty if it is two quotes: what is deleted in the part is not there in the whole."""
    return "" if DELETE in text and text.strip() == DELETE else text


def _part(text: str, separator: str, number: int) -> str:
    if number == 1:
        return text.partition(separator)[0] if separator else text
    parts = text.split(separator, number) if separator else [text]
    return parts[number - 1] if len(parts) >= number else ""


class Segment:
    """One segment. `sequence` counts those of its name from 1; `parent` is set for NTE."""

    __slots__ = ("_codec", "_fields", "_repetitions", "_separators", "name", "parent", "sequence", "text")

    def __init__(self, text: str, separators: Separators, codec: str, sequence: int, parent: str = "") -> None:
        self.text, self.name, self.sequence, self.parent = text, text[:3], sequence, parent
        self._separators, self._codec = separators, codec
        self._fields: list[str] | None = None
        self._repetitions: dict[int, tuple[Repetition, ...]] = {}  # by field: several attributes read the same one

    def field(self, number: int) -> str:
        """A field as received, escaped, with all its repetitions."""
        if self._fields is None:
            self._fields = self.text.split(self._separators.field)
            if self.name == "MSH":
                self._fields.insert(1, self._separators.field)
        return self._fields[number] if number < len(self._fields) else ""

    def count(self) -> int:
        """The number of its last field."""
        self.field(0)
        return len(self._fields or ()) - 1

    def is_escaped(self) -> bool:
        """True if there may be escape sequences in it; MSH names the escape character itself."""
        return self._separators.escape in self.text and self.name != "MSH"

    def escape_doubts(self, number: int) -> tuple[str, ...]:
        """What the escape sequences of a field hold that does not come out as it was meant."""
        return escapes.doubts(self.field(number), self._separators, self._codec)

    def repeats(self, number: int) -> bool:
        """True if a field has more than one repetition."""
        return self._separators.repetition in self.field(number)

    def repetitions(self, number: int) -> tuple[Repetition, ...]:
        """Repetitions of a field, empty ones included; none for an absent field."""
        found = self._repetitions.get(number)
        if found is None:
            text, marks, codec = self.field(number), self._separators, self._codec
            if marks.repetition and marks.repetition in text:
                found = tuple([Repetition(part, marks, codec) for part in text.split(marks.repetition)])
            else:
                found = (Repetition(text, marks, codec),) if text else ()
            self._repetitions[number] = found
        return found

    def get(self, number: int, component: int = 0, repetition: int = 1, subcomponent: int = 0) -> str:
        """One unescaped value, empty if absent."""
        text = self.field(number)
        if not text or (self.name == "MSH" and number <= 2):  # the separators themselves
            return text
        marks = self._separators
        text = _part(text, marks.repetition, repetition)
        if component:
            text = _part(text, marks.component, component)
        if subcomponent:
            text = _part(text, marks.subcomponent, subcomponent)
        return unescape(text, marks, self._codec) if marks.escape in text else text

    def offered(self, where: Path) -> tuple[Repetition, ...]:
        """Repetitions of the field of a path that it chooses, from the one that it counts on."""
        found = self.repetitions(where.field)
        if where.repetitions:
            found = tuple(r for r in found if all(c.fits(r.get(*c.place[:2])) for c in where.repetitions))
        return found if where.repetition == 1 else found[where.repetition - 1 :]

    def value(self, where: Path) -> str:
        """Unescaped value at a path, whichever segments that means."""
        if not where.repetitions:
            return self.get(where.field, where.component, where.repetition, where.subcomponent)
        return next((r.get(where.component, where.subcomponent) for r in self.offered(where)), "")

    def fits(self, choices: Iterable[Choice]) -> bool:
        """True if the segment is one that is chosen: each choice is met by a repetition of its field."""
        return all(
            any(choice.fits(r.get(*choice.place[1:])) for r in self.repetitions(choice.place[0]))
            or (choice.fits("") and not self.field(choice.place[0]))
            for choice in choices
        )

    def with_first(self, number: int, repetition: int) -> Segment:
        """This segment with one repetition (from 0) of a field in front of the others."""
        mark = self._separators
        parts = pieces(self.field(number), mark.repetition)
        fields = list(self._fields or ())
        fields[number] = mark.repetition.join([parts[repetition], *parts[:repetition], *parts[repetition + 1 :]])
        return Segment(mark.field.join(fields), mark, self._codec, self.sequence, self.parent)

    def at(self, number: int) -> str:
        """Location of a field for ERR-2: `PID^1^3`."""
        return f"{self.name}^{self.sequence}^{number}"


def holds(segments: Iterable[Segment], field: int) -> bool:
    """True if one of some segments holds a field."""
    return any(segment.field(field) for segment in segments)


class Segments:
    """Some segments of a message, in order: the message itself, an order group, one step.

    `by_name` holds them by the name of the segment; it is not to be changed.
    """

    def __init__(self, segments: Iterable[Segment]) -> None:
        self._segments = tuple(segments)
        self.by_name: dict[str, list[Segment]] = {}
        for segment in self._segments:
            self.by_name.setdefault(segment.name, []).append(segment)

    def __iter__(self) -> Iterator[Segment]:
        return iter(self._segments)

    def all(self, name: str, parent: str = "") -> list[Segment]:
        """Segments of a name; with `parent` only those that belong to such a segment."""
        found = self.by_name.get(name, [])
        return [segment for segment in found if segment.parent == parent] if parent else found

    def chosen(self, where: Path) -> list[Segment]:
        """Segments that a path means."""
        found = self.by_name.get(where.segment, [])
        if found and where.parent:
            found = [segment for segment in found if segment.parent == where.parent]
        return [segment for segment in found if segment.fits(where.segments)] if where.segments else found

    def first(self, name: str) -> Segment | None:
        """The first segment of a name."""
        return self.by_name[name][0] if name in self.by_name else None

    def get(self, where: str | Path) -> str:
        """Value at a path in the first segment that it means; empty if absent, DELETE for two quotes."""
        place = path(where) if isinstance(where, str) else where
        for segment in self.chosen(place):
            return segment.value(place)
        return ""

    def at(self, where: str | Path) -> str:
        """Location of a path for ERR-2, whether the segment is there or not."""
        place = path(where) if isinstance(where, str) else where
        found = self.chosen(place)
        return found[0].at(place.field) if found else f"{place.segment}^1^{place.field}"

    def groups(self, start: str, alone: str = "") -> tuple[Segments, list[Segments]]:
        """What stands before the first `start`, and runs that begin with one.

        A second `alone` in a run begins a run of its own (OBR without an ORC in front).
        """
        head: list[Segment] = []
        runs: list[list[Segment]] = []
        for segment in self._segments:
            again = segment.name == alone and (not runs or any(other.name == alone for other in runs[-1]))
            if segment.name == start or again:
                runs.append([])
            (runs[-1] if runs else head).append(segment)
        return Segments(head), [Segments(run) for run in runs]


class Message(Segments):
    """A whole message; `findings` are warnings from reading it."""

    def __init__(self, header: Header, segments: Iterable[Segment], findings: tuple[Finding, ...] = ()) -> None:
        super().__init__(segments)
        self.header = header
        self.findings = findings


def parse(raw: bytes, tolerance: Tolerance = USUAL) -> Message:
    """Decode and split a message. CR, LF and CRLF end segments, blank segments are skipped.

    Raises MalformedMessage: no MSH, useless separators, wrong character set, a line that is no segment,
    a second MSH, more of anything than `work` allows, what `tolerance` does not forgive.
    """
    inner = raw.lstrip(b"\r\n\0 \t")
    work.check(inner.removeprefix(codecs.BOM_UTF8))
    decoded = decoding.decode(inner, tolerance)
    text, codec, findings, _ = decoded
    header = Header.of(decoded, tolerance)
    if header is None:
        raise MalformedMessage(
            Finding("MSH^1", ErrorCode.SEGMENT_SEQUENCE, "Message does not begin with a usable MSH segment")
        )
    marks = header.separators
    if not (marks.repetition and marks.escape and marks.subcomponent):
        findings += (_NO_MARK,)
    findings += strays(text)
    _check_ends(text, len(inner) < len(raw), tolerance)
    lines = [clean(line, keep="\t") for line in text.replace("\n", "\r").split("\r")]
    segments: list[Segment] = []
    counts: dict[str, int] = {}
    parent = ""
    for line in lines:
        if not line.strip(" \t"):
            continue
        name = line[:3]
        counts[name] = counts.get(name, 0) + 1
        _check(line, header.separators, counts, segments)
        _count_repetitions(line, header.separators, counts)
        segments.append(Segment(line, header.separators, codec, counts[name], parent if name == "NTE" else ""))
        parent = parent if name == "NTE" else name
    return Message(header, segments, findings)


def _check_ends(text: str, noise: bool, tolerance: Tolerance) -> None:
    """Refuse what a listener does not want to forgive; `noise` stood before the message."""
    fault = ""
    if (tolerance.cr_only or tolerance.strict) and "\n" in text:
        fault = "A segment must end with CR alone"
    elif tolerance.strict and (noise or "\r\r" in text):
        fault = "Bytes before the message, or a blank segment"
    if fault:
        raise MalformedMessage(Finding("MSH^1", ErrorCode.SEGMENT_SEQUENCE, fault))


def _check(line: str, separators: Separators, counts: dict[str, int], before: list[Segment]) -> None:
    """Refuse what is no segment; `counts` holds the line already."""
    name = line[:3]
    previous = f"{before[-1].name}^{before[-1].sequence}" if before else "MSH^1"
    if not _NAME.fullmatch(name) or line[3:4] not in ("", separators.field):
        raise MalformedMessage(
            Finding(previous, ErrorCode.SEGMENT_SEQUENCE, "A line after this segment is not a segment")
        )
    if name == "MSH" and before:
        raise MalformedMessage(Finding("MSH^2", ErrorCode.SEGMENT_SEQUENCE, "More than one message in a frame"))
    if len(before) >= work.SEGMENTS:
        raise MalformedMessage(Finding(previous, ErrorCode.SEGMENT_SEQUENCE, "Too many segments"))
    textual = _is_textual(name)
    if counts[name] > work.ALIKE and not textual:
        raise MalformedMessage(Finding(f"{name}^{counts[name]}", ErrorCode.SEGMENT_SEQUENCE, "Too many such segments"))
    if len(line) > work.FIELDS:
        _check_fields(line, f"{name}^{counts[name]}", separators, textual=textual)


def _count_repetitions(line: str, separators: Separators, counts: dict[str, int]) -> None:
    """Refuse a message that repeats too much in segments that may come many times, each within its bound."""
    name = line[:3]
    if name != "MSH" and separators.repetition and not _is_textual(name):
        counts[_REPEATED] = counts.get(_REPEATED, 0) + line.count(separators.repetition)
        if counts[_REPEATED] > work.REPETITIONS:
            raise MalformedMessage(Finding(f"{name}^{counts[name]}", ErrorCode.DATA_TYPE, "Too many repetitions"))


def _is_textual(name: str) -> bool:
    return name in work.TEXTUAL or name[0] == "Z"


def _check_fields(line: str, where: str, separators: Separators, *, textual: bool) -> None:
    """Refuse a long segment with too much in it."""
    fault = ""
    if line.count(separators.field) > work.FIELDS:
        fault = "Too many fields"
    elif not where.startswith("MSH") and separators.repetition and line.count(separators.repetition) > work.REPETITIONS:
        fault = "Too many repetitions"
    elif len(line) > work.FIELD and not textual and max(map(len, line.split(separators.field))) > work.FIELD:
        fault = "A field is too long"
    if fault:
        raise MalformedMessage(Finding(where, ErrorCode.DATA_TYPE, fault))
