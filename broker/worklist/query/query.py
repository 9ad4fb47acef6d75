"""A worklist query as data: what must match, and what is to be returned (PS3.4 C.2.2.2 and K.4.1).

Pure: from the decoded identifier to frozen values. `match` applies the conditions, `plan` derives what
SQL can narrow down, `answer` builds from the returned keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from broker.wildcard import Wildcard, compile_wildcard, has_wildcard
from broker.worklist.query.attributes import (
    IGNORED,
    START_DATE,
    START_TIME,
    STATUS,
    STEP_SEQUENCE,
    TIMEZONE,
    VISIBLE,
    WORKLIST,
    Attribute,
)
from broker.worklist.query.charset import lookup
from broker.worklist.query.identifier import Element, Identifier
from broker.worklist.query.names import FuzzyKey, NameKey, fold_name, name_pattern, name_words
from broker.worklist.query.negotiation import BASELINE, Agreed
from broker.worklist.query.refusal import BadKey
from broker.worklist.query.times import Span, date_span, time_span
from broker.worklist.query.timezone import offset_minutes
from broker.worklist.query.wanted import Wanted, everything

MAX_CHOICES = 64  # patterns, names or ranges in one key; lists of plain values are not limited
_WILD = frozenset({"AE", "CS", "LO", "LT", "SH", "ST", "UC", "UR", "UT"})
_UNDIVIDED = frozenset({"LT", "ST", "UT", "UR"})  # a backslash is text
ANY_CASE = frozenset({"AE", "CS"})  # VRs whose case a device's profile may ignore
_EMPTY = '""'  # matches what has no value, where that was agreed on
_LEADING_BLANKS = frozenset({"LT", "ST", "UT", "UC", "UR"})  # where they are part of the value


@dataclass(frozen=True, slots=True)
class TextKey:
    """One of some exact values or patterns (single value, list of UID, wild card)."""

    keyword: str
    vr: str
    exact: frozenset[str]
    patterns: tuple[Wildcard, ...] = ()
    any_case: bool = False  # values and patterns are in small letters, and compared so


@dataclass(frozen=True, slots=True)
class SpanKey:
    """Dates (`vr` DA) or times (`vr` TM) within any of the spans."""

    keyword: str
    vr: str
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class StartKey:
    """Combined start date and time of the step as `YYYYMMDDHHMMSSffffff` (PS3.4 table K.6-1, C.2.2.2.5)."""

    span: Span


@dataclass(frozen=True, slots=True)
class SequenceKey:
    """All keys must match in the same stored item."""

    keyword: str
    keys: tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class EmptyKey:
    """No value at all, or what `otherwise` says (empty value matching, PS3.4 C.2.2.2 of later editions)."""

    keyword: str
    otherwise: TextKey | NameKey | FuzzyKey | SpanKey | None = None


Key = TextKey | NameKey | FuzzyKey | SpanKey | EmptyKey | StartKey | SequenceKey


@dataclass(frozen=True, slots=True)
class View:
    """What a device sees of all steps, whatever its keys (`worklist.device`)."""

    shown: tuple[str, ...] = VISIBLE  # statuses, where the query asks for none
    hidden: frozenset[str] = frozenset()  # statuses never seen
    labels: frozenset[str] | None = None  # Worklist Labels; None: all
    only_labelled: bool = False
    empty: bool = False  # nothing at all


@dataclass(frozen=True, slots=True)
class Query:
    """One C-FIND request."""

    keys: tuple[Key, ...]
    wanted: tuple[Wanted, ...]
    charset: tuple[str, ...] = ()  # as the request named it
    supported: bool = True  # false: some key is not, the answers carry FF01
    asks_status: bool = False  # false: only open steps are seen
    named: tuple[str, ...] = ()  # keywords of the keys that have values
    remarks: tuple[str, ...] = ()  # liberties the device took
    offset: int | None = None  # minutes from UTC in which it asks and reads, where that was agreed on
    said_offset: int | None = None  # what it says without such an agreement: heeded by nobody
    view: View = View()


@dataclass(slots=True)
class _Notes:
    agreed: Agreed
    supported: bool = True
    named: list[str] = field(default_factory=list)
    remarks: set[str] = field(default_factory=set)


def parse(identifier: Identifier, agreed: Agreed = BASELINE) -> Query:
    """The query of an identifier, read by what was `agreed` on for the association.

    Raises BadContent, without values in its text, for keys that cannot be read.
    """
    notes = _Notes(agreed)
    keys, wanted = _level(identifier.elements, WORKLIST, notes, "")
    offset, said = _offset(identifier, notes)
    if identifier.charset and lookup(identifier.charset) is None:
        notes.remarks.add("unknown-charset")
    return Query(
        keys,
        wanted,
        identifier.charset,
        notes.supported,
        STATUS in notes.named,
        tuple(dict.fromkeys(notes.named)),
        tuple(sorted(notes.remarks)),
        offset,
        said,
    )


def _offset(identifier: Identifier, notes: _Notes) -> tuple[int | None, int | None]:
    """The offset agreed on, and one that is only said. Raises BadKey for one that was agreed on and is none."""
    element = identifier.elements.get(TIMEZONE)
    text = element.text.strip(" \0") if element else ""
    if not text:
        return None, None
    if notes.agreed.timezone:
        return offset_minutes(text), None
    try:
        return None, offset_minutes(text)
    except BadKey:
        notes.remarks.add("bad-offset")
        return None, None


def _level(
    elements: Mapping[int, Element], table: Mapping[int, Attribute], notes: _Notes, parent: str
) -> tuple[tuple[Key, ...], tuple[Wanted, ...]]:
    keys: list[Key] = []
    wanted: list[Wanted] = []
    for tag in sorted(elements):
        element, attribute = elements[tag], table.get(tag)
        if tag in IGNORED:
            continue
        if attribute is None:
            wanted.append(_unsupported(element, notes))
        elif attribute.vr == "SQ":
            key, returned = _sequence(element, attribute, notes)
            wanted.append(returned)
            if key is not None:
                keys.append(key)
        else:
            wanted.append(Wanted(tag, attribute.vr, attribute.keyword))
            keys += _value(element, attribute, notes)
    if parent == STEP_SEQUENCE:
        keys = _combined(keys)
    return tuple(keys), tuple(wanted)


def _unsupported(element: Element, notes: _Notes) -> Wanted:
    """Unknown and private keys come back empty; a private creator with its value, or the rest means nothing."""
    if element.tag >> 16 & 1 and 0x10 <= element.tag & 0xFFFF <= 0xFF:
        return Wanted(element.tag, "LO", creator=element.text.strip(" \0"))
    notes.supported = False
    return Wanted(element.tag, element.vr)


def _sequence(element: Element, attribute: Attribute, notes: _Notes) -> tuple[Key | None, Wanted]:
    item = element.items[0] if element.items else {}
    if len(element.items) > 1:
        notes.remarks.add("several-items")
    if not attribute.matched:
        deaf = _Notes(notes.agreed)  # read for what to return, not for matching
        keys, wanted = _level(item, attribute.children, deaf, attribute.keyword)
        notes.supported = notes.supported and deaf.supported and not keys
        keys = ()
    else:
        keys, wanted = _level(item, attribute.children, notes, attribute.keyword)
    returned = Wanted(attribute.tag, "SQ", attribute.keyword, wanted or everything(attribute))
    return (SequenceKey(attribute.keyword, keys) if keys else None), returned


def _value(element: Element, attribute: Attribute, notes: _Notes) -> list[Key]:
    """The condition of one key: none for universal matching (no value, or a lone `*`)."""
    vr, keyword = attribute.vr, attribute.keyword
    raw = [element.text] if vr in _UNDIVIDED else element.text.split("\\")
    parts = [part for part in (normalise(vr, part) for part in raw) if part and (vr != "PN" or fold_name(part))]
    if not parts or any(not part.strip("*") for part in parts):
        return []
    empty = _EMPTY in parts
    if not attribute.matched or (empty and not notes.agreed.empty_values):
        notes.supported = False  # two quotation marks are never a value to look for
        return []
    notes.named.append(keyword)
    if len(parts) > 1 and vr != "UI" and not notes.agreed.multiple_values:
        notes.remarks.add("list-of-values")
    if not empty:
        return [_condition(vr, keyword, parts, notes)]
    rest = [part for part in parts if part != _EMPTY]
    return [EmptyKey(keyword, _condition(vr, keyword, rest, notes) if rest else None)]


def _condition(vr: str, keyword: str, parts: list[str], notes: _Notes) -> TextKey | NameKey | FuzzyKey | SpanKey:
    if vr in ("DA", "TM"):
        read = date_span if vr == "DA" else time_span
        return SpanKey(keyword, vr, tuple(read(part, keyword) for part in _few(parts, keyword)))
    if vr == "PN":
        literal = NameKey(keyword, tuple(name_pattern(part) for part in _few(parts, keyword)))
        words = tuple(name_words(part) for part in parts) if notes.agreed.fuzzy_names else ()
        return FuzzyKey(keyword, literal, words) if words else literal
    wild = [part for part in parts if vr in _WILD and has_wildcard(part)]
    exact = frozenset(parts).difference(wild)
    return TextKey(keyword, vr, exact, tuple(compile_wildcard(part) for part in _few(wild, keyword)))


def _few(parts: list[str], keyword: str) -> list[str]:
    if len(parts) > MAX_CHOICES:
        raise BadKey("too many values in one key", keyword, code="too-many-values")
    return parts


def _combined(keys: list[Key]) -> list[Key]:
    """Join the ranges of start date and start time when both are ranges of one form; else each stands alone."""
    spans = {key.keyword: key for key in keys if isinstance(key, SpanKey)}
    day, clock = spans.get(START_DATE), spans.get(START_TIME)
    if day is None or clock is None or len(day.spans) != 1 or len(clock.spans) != 1:
        return keys
    days, times = day.spans[0], clock.spans[0]
    if days.single or days.form() != times.form():
        return keys
    low = days.low + times.low if days.low and times.low else None
    high = days.high + times.high if days.high and times.high else None
    return [key for key in keys if key not in (day, clock)] + [StartKey(Span(low, high))]


def normalise(vr: str, value: str) -> str:
    """A value without the padding that does not count (PS3.5 6.2); for keys and stored values alike."""
    if vr in _LEADING_BLANKS:
        return value.rstrip(" \0")
    return value.strip(" \0")
