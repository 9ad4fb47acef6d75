"""Defines a worklist query as values: what must match, be returned and be visible (PS3.4 C.2.2.2, K.4.1).

`parse` makes a query of an identifier and `device` adapts it to its device. `matcher` applies the conditions,
`criteria` derives what SQL can narrow down, `answer.encoder` writes the return keys.
"""

from __future__ import annotations

from dataclasses import dataclass

from broker.dicom.dataset.write import ElementSpec
from broker.wildcard import Wildcard
from broker.worklist.query.attributes import VISIBLE
from broker.worklist.query.date_ranges import Interval
from broker.worklist.query.names import FuzzyKey, NameKey

ANY_CASE = frozenset({"AE", "CS"})  # VRs whose case a device's profile may ignore
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
class IntervalKey:
    """Dates (`vr` DA) or times (`vr` TM) within any of the intervals."""

    keyword: str
    vr: str
    intervals: tuple[Interval, ...]


@dataclass(frozen=True, slots=True)
class StartKey:
    """Combined start date and time of the step as `YYYYMMDDHHMMSSffffff` (PS3.4 table K.6-1, C.2.2.2.5)."""

    interval: Interval


@dataclass(frozen=True, slots=True)
class SequenceKey:
    """All keys must match in the same stored item."""

    keyword: str
    keys: tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class EmptyKey:
    """No value at all, or what `otherwise` says (empty value matching, PS3.4 C.2.2.2 of later editions)."""

    keyword: str
    otherwise: TextKey | NameKey | FuzzyKey | IntervalKey | None = None


Key = TextKey | NameKey | FuzzyKey | IntervalKey | EmptyKey | StartKey | SequenceKey


@dataclass(frozen=True, slots=True)
class View:
    """What a device sees of all steps, whatever its keys (`worklist.device`)."""

    shown: tuple[str, ...] = VISIBLE  # statuses, where the query asks for none
    hidden: frozenset[str] = frozenset()  # statuses never seen
    labels: frozenset[str] | None = None  # Worklist Labels; None: all
    only_labelled: bool = False
    empty: bool = False  # nothing at all


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One C-FIND request."""

    keys: tuple[Key, ...]
    return_keys: tuple[ElementSpec, ...] = ()
    charset: tuple[str, ...] = ()  # as the request named it
    supported: bool = True  # false: some key is not, the answers carry FF01
    asks_status: bool = False  # false: only open steps are seen
    named: tuple[str, ...] = ()  # keywords of the keys that have values
    remarks: tuple[str, ...] = ()  # liberties the device took
    offset: int | None = None  # minutes from UTC in which it asks and reads, where that was agreed on
    said_offset: int | None = None  # what it says without such an agreement: heeded by nobody
    view: View = View()


def normalise(vr: str, value: str) -> str:
    """A value without the padding that does not count (PS3.5 6.2); for keys and stored values alike."""
    if vr in _LEADING_BLANKS:
        return value.rstrip(" \0")
    return value.strip(" \0")
