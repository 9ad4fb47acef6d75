"""Derives the search criteria of a query: what SQL can narrow down, a superset of its matches. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from broker.dicom.dataset.folding import WIDE, fold_for_search
from broker.store.worklist.candidates import Criteria, Words
from broker.worklist.query.attributes import START_DATE, STATIONS, STATUS, STEP_SEQUENCE
from broker.worklist.query.date_ranges import Interval
from broker.worklist.query.keys import IntervalKey, Key, Query, SequenceKey, StartKey, TextKey
from broker.worklist.query.names import NameKey
from broker.worklist.query.timezone import widened

MAX_WORDS = 64  # more values in one key are left to the matcher
_LONGEST = 64  # characters of a prefix; SQLite bounds patterns, and a shorter prefix is still a superset
_FRACTION = ".999999"


def search_criteria(query: Query) -> Criteria:
    """The search criteria of a query."""
    root = {key.keyword: key for key in query.keys if not isinstance(key, StartKey)}
    sequence = root.get(STEP_SEQUENCE)
    step_keys: tuple[Key, ...] = sequence.keys if isinstance(sequence, SequenceKey) else ()
    step = {key.keyword: key for key in step_keys if not isinstance(key, StartKey)}
    start_from, start_until = _start(step_keys)
    if query.offset is not None:
        start_from, start_until = widened(start_from, earlier=True), widened(start_until, earlier=False)
    return Criteria(
        statuses=_statuses(step.get(STATUS)) if query.asks_status else query.view.shown,
        stations=_words(step.get(STATIONS)),
        start_from=start_from,
        start_until=start_until,
        modality=_words(step.get("Modality")),
        patient_id=_words(root.get("PatientID")),
        accession=_words(root.get("AccessionNumber")),
        requested_procedure_id=_words(root.get("RequestedProcedureID")),
        study_instance_uid=_words(root.get("StudyInstanceUID")),
        name_groups=_names(root.get("PatientName")),
    )


def _statuses(key: Key | None) -> tuple[str, ...] | None:
    words = _words(key)
    return words.exact if words is not None and not words.prefixes else None


def _words(key: Key | None) -> Words | None:
    """Exact values and literal prefixes; None where a pattern may begin with anything, or any case will do."""
    if not isinstance(key, TextKey) or key.any_case or len(key.exact) + len(key.patterns) > MAX_WORDS:
        return None
    prefixes = tuple(sorted(pattern.prefix[:_LONGEST] for pattern in key.patterns))
    exact = tuple(sorted(key.exact))
    return Words(exact, prefixes) if all(prefixes) and _storable((*exact, *prefixes)) else None


def _names(key: Key | None) -> tuple[str, ...] | None:
    """One folded beginning per name, of its first group that is given; folded as the column is (coarser)."""
    if not isinstance(key, NameKey):
        return None
    groups = (next((pattern for pattern in name if pattern is not None), None) for name in key.names)
    plain = (_plain(group.prefix) if group is not None else "" for group in groups)
    beginnings = tuple(fold_for_search(prefix)[:_LONGEST] for prefix in plain)
    return beginnings if all(beginnings) and _storable(beginnings) else None


def _plain(prefix: str) -> str:
    """What stands before the first wide sign: the column has a delimiter in its place."""
    return next((prefix[:position] for position, char in enumerate(prefix) if char in WIDE), prefix)


def _storable(texts: Iterable[str]) -> bool:
    """PostgreSQL takes no NUL characters, not even to compare with."""
    return not any("\0" in text for text in texts)


def _start(keys: Iterable[Key]) -> tuple[str | None, str | None]:
    """Bounds of the start; the upper one takes in every fraction of its second, which is left to the matcher."""
    for key in keys:
        if isinstance(key, StartKey):
            return key.interval.low and key.interval.low[:14], key.interval.high and key.interval.high[:14] + _FRACTION
        if isinstance(key, IntervalKey) and key.keyword == START_DATE:
            return _bound(key.intervals, "low", "000000"), _bound(key.intervals, "high", "235959" + _FRACTION)
    return None, None


def _bound(intervals: Iterable[Interval], side: str, clock: str) -> str | None:
    days = [interval.low if side == "low" else interval.high for interval in intervals]
    known = [day for day in days if day is not None]
    if len(known) < len(days):
        return None
    return (min(known) if side == "low" else max(known)) + clock
