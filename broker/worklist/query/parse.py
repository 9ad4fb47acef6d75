"""Makes a query of the identifier of a C-FIND request (PS3.4 C.2.2.2, K.4.1). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from broker.dicom.dataset.charset import lookup
from broker.dicom.dataset.encoding import dictionary_vr
from broker.dicom.dataset.folding import fold_name
from broker.dicom.dataset.read import BadElement, Element, TextDataSet
from broker.dicom.dataset.write import ElementSpec
from broker.wildcard import compile_wildcard, has_wildcard
from broker.worklist.query.attributes import (
    IGNORED,
    ONE_ITEM,
    REQUIRED,
    START_DATE,
    START_TIME,
    STATUS,
    STEP_SEQUENCE,
    TIMEZONE,
    WORKLIST,
    WorklistAttribute,
)
from broker.worklist.query.date_ranges import Interval, date_interval, time_interval
from broker.worklist.query.keys import EmptyKey, IntervalKey, Key, Query, SequenceKey, StartKey, TextKey, normalise
from broker.worklist.query.names import FuzzyKey, NameKey, name_pattern, name_words
from broker.worklist.query.negotiation import BASELINE, Agreed
from broker.worklist.query.timezone import offset_minutes

MAX_CHOICES = 64  # patterns, names or ranges in one key; lists of plain values are not limited
WILD = frozenset({"AE", "CS", "LO", "LT", "SH", "ST", "UC", "UR", "UT"})
_UNDIVIDED = frozenset({"LT", "ST", "UT", "UR"})  # a backslash is text
_EMPTY = '""'  # matches what has no value, where that was agreed on
_ALWAYS = {"1", "2"}  # return types that stand in an answer even without a value


@dataclass(slots=True)
class _Notes:
    agreed: Agreed
    supported: bool = True
    named: list[str] = field(default_factory=list)
    remarks: set[str] = field(default_factory=set)


def parse(identifier: TextDataSet, agreed: Agreed = BASELINE) -> Query:
    """The query of an identifier, read by what was `agreed` on for the association.

    Raises BadContent, without values in its text, for keys that cannot be read.
    """
    notes = _Notes(agreed)
    keys, return_keys = _level(identifier.elements, WORKLIST, notes, "")
    offset, said = _offset(identifier, notes)
    if identifier.charset and lookup(identifier.charset) is None:
        notes.remarks.add("unknown-charset")
    return Query(
        keys=keys,
        return_keys=return_keys,
        charset=identifier.charset,
        supported=notes.supported,
        asks_status=STATUS in notes.named,
        named=tuple(dict.fromkeys(notes.named)),
        remarks=tuple(sorted(notes.remarks)),
        offset=offset,
        said_offset=said,
    )


def _offset(identifier: TextDataSet, notes: _Notes) -> tuple[int | None, int | None]:
    """The offset agreed on, and one that is only said. Raises BadElement for one that was agreed on and is none."""
    element = identifier.elements.get(TIMEZONE)
    text = element.text.strip(" \0") if element else ""
    if not text:
        return None, None
    if notes.agreed.timezone:
        return offset_minutes(text), None
    try:
        return None, offset_minutes(text)
    except BadElement:
        notes.remarks.add("bad-offset")
        return None, None


def _level(
    elements: Mapping[int, Element], table: Mapping[int, WorklistAttribute], notes: _Notes, parent: str
) -> tuple[tuple[Key, ...], tuple[ElementSpec, ...]]:
    keys: list[Key] = []
    return_keys: list[ElementSpec] = []
    for tag in sorted(elements):
        element, attribute = elements[tag], table.get(tag)
        if tag in IGNORED:
            continue
        if attribute is None or _misfit(element, attribute):
            return_keys.append(_unsupported(element, notes))
        elif attribute.vr == "SQ":
            key, returned = _sequence(element, attribute, notes)
            return_keys.append(returned)
            if key is not None:
                keys.append(key)
        else:
            return_keys.append(ElementSpec(tag=tag, vr=attribute.vr, keyword=attribute.keyword))
            keys += _value(element, attribute, notes)
    if parent == STEP_SEQUENCE:
        keys = _combined(keys)
    return tuple(keys), tuple(return_keys)


def _unsupported(element: Element, notes: _Notes) -> ElementSpec:
    """Unknown and private keys come back empty; a private creator with its value, or the rest means nothing."""
    if element.tag >> 16 & 1 and 0x10 <= element.tag & 0xFFFF <= 0xFF:
        return ElementSpec(tag=element.tag, vr="LO", creator=element.text.strip(" \0"))
    notes.supported = False
    return ElementSpec(tag=element.tag, vr=dictionary_vr(element.tag)[:2] or element.vr)


def _misfit(element: Element, attribute: WorklistAttribute) -> bool:
    """Text stands where a sequence belongs, or items where text belongs: the key is as one that is not supported.

    Raises BadElement for one that a query stands on (PS3.4 table K.6-1, matching key type R): all would match without.
    """
    if (element.vr == "SQ") == (attribute.vr == "SQ"):
        return False
    if attribute.keyword in REQUIRED:
        text = "text in a sequence" if attribute.vr == "SQ" else "items in an attribute of text"
        code = "sequence-expected" if attribute.vr == "SQ" else "sequence-not-expected"
        raise BadElement(f"{text}: {attribute.keyword}", attribute.tag, code=code)
    return True


def _sequence(element: Element, attribute: WorklistAttribute, notes: _Notes) -> tuple[Key | None, ElementSpec]:
    item = element.items[0] if element.items else {}
    if len(element.items) > 1:
        notes.remarks.add("several-items")
    if not attribute.matched:
        deaf = _Notes(notes.agreed)  # read for what to return, not for matching
        keys, return_keys = _level(item, attribute.children, deaf, attribute.keyword)
        notes.supported = notes.supported and deaf.supported and not keys
        keys = ()
    else:
        keys, return_keys = _level(item, attribute.children, notes, attribute.keyword)
    returned = ElementSpec(
        tag=attribute.tag,
        vr="SQ",
        keyword=attribute.keyword,
        children=return_keys or everything(attribute),
        one_item=attribute.keyword in ONE_ITEM,
    )
    return (SequenceKey(attribute.keyword, keys) if keys else None), returned


def _value(element: Element, attribute: WorklistAttribute, notes: _Notes) -> list[Key]:
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


def _condition(vr: str, keyword: str, parts: list[str], notes: _Notes) -> TextKey | NameKey | FuzzyKey | IntervalKey:
    if vr in ("DA", "TM"):
        read = date_interval if vr == "DA" else time_interval
        return IntervalKey(keyword, vr, tuple(read(part, keyword) for part in _few(parts, keyword)))
    if vr == "PN":
        literal = NameKey(keyword, tuple(name_pattern(part) for part in _few(parts, keyword)))
        words = tuple(name_words(part) for part in parts) if notes.agreed.fuzzy_names else ()
        return FuzzyKey(keyword, literal, words) if words else literal
    wild = [part for part in parts if vr in WILD and has_wildcard(part)]
    exact = frozenset(parts).difference(wild)
    return TextKey(keyword, vr, exact, tuple(compile_wildcard(part) for part in _few(wild, keyword)))


def _few(parts: list[str], keyword: str) -> list[str]:
    if len(parts) > MAX_CHOICES:
        raise BadElement("too many values in one key", keyword, code="too-many-values")
    return parts


def _combined(keys: list[Key]) -> list[Key]:
    """Join the ranges of start date and start time when both are ranges of one form; else each stands alone."""
    intervals = {key.keyword: key for key in keys if isinstance(key, IntervalKey)}
    day, clock = intervals.get(START_DATE), intervals.get(START_TIME)
    if day is None or clock is None or len(day.intervals) != 1 or len(clock.intervals) != 1:
        return keys
    days, times = day.intervals[0], clock.intervals[0]
    if days.single or days.form() != times.form():
        return keys
    low = days.low + times.low if days.low and times.low else None
    high = days.high + times.high if days.high and times.high else None
    return [key for key in keys if key not in (day, clock)] + [StartKey(Interval(low, high))]


def everything(sequence: WorklistAttribute) -> tuple[ElementSpec, ...]:
    """All supported attributes of a sequence, for a request with no item or an empty one.

    Conditional and optional ones only where they have a value: a code is either short, long or a URN.
    """
    return tuple(
        ElementSpec(
            tag=child.tag,
            vr=child.vr,
            keyword=child.keyword,
            children=everything(child) if child.vr == "SQ" else (),
            one_item=child.keyword in ONE_ITEM,
            optional=child.returned not in _ALWAYS,
        )
        for child in sequence.children.values()
    )
