"""Decides whether a stored step fits a query. Every candidate that SQL yields passes here. Pure.

A document maps DICOM keywords to values: text, list of texts, list of documents, or a number.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from broker.orders.core.worklist_item import HELD
from broker.worklist.query.attributes import LABEL, START_DATE, START_TIME, STATUS, STEP_SEQUENCE
from broker.worklist.query.date_ranges import stored_date, stored_time
from broker.worklist.query.keys import (
    EmptyKey,
    IntervalKey,
    Key,
    Query,
    SequenceKey,
    StartKey,
    TextKey,
    View,
    normalise,
)
from broker.worklist.query.names import FuzzyKey, NameKey, fuzzy_fits, name_fits

Document = Mapping[str, Any]
NOTHING = " \0^="  # a value of nothing else is empty


def matches(document: Document, query: Query) -> bool:
    """True when the step is visible to the query and all its keys match: none that is held or to be scheduled.

    `worklist.explain.conditions` names these conditions one by one.
    """
    return (
        not query.view.empty
        and HELD not in document
        and scheduled(document)
        and labelled(document, query.view)
        and visible(document, query)
        and all(fits(document, key) for key in query.keys)
    )


def scheduled(document: Document) -> bool:
    """The step has a date."""
    return any(values(item, START_DATE) for item in items(document, STEP_SEQUENCE))


def labelled(document: Document, view: View) -> bool:
    """The Worklist Label of the order is one that the device sees; an order without one is seen by all."""
    if view.labels is None:
        return True
    labels = values(document, LABEL)
    return any(normalise("LO", label) in view.labels for label in labels) if labels else not view.only_labelled


def visible(document: Document, query: Query) -> bool:
    """A query that asks for no status sees those of its device only; those hidden from the device no query sees."""
    statuses = [status for item in items(document, STEP_SEQUENCE) for status in values(item, STATUS)]
    if any(status in query.view.hidden for status in statuses):
        return False
    return query.asks_status or any(status in query.view.shown for status in statuses)


def items(document: Document, keyword: str) -> list[Document]:
    """Items of a stored sequence."""
    stored = document.get(keyword)
    return [item for item in stored if isinstance(item, Mapping)] if isinstance(stored, list) else []


def values(document: Document, keyword: str) -> list[str]:
    """Stored values of an attribute as text; none when it is absent or empty."""
    stored = document.get(keyword)
    if stored is None:
        return []
    return [str(value) for value in (stored if isinstance(stored, list) else [stored]) if value != ""]


def fits(document: Document, key: Key) -> bool:
    """True when a key matches at its level of the document."""
    if isinstance(key, SequenceKey):
        return any(all(fits(item, inner) for inner in key.keys) for item in items(document, key.keyword))
    if isinstance(key, StartKey):
        return _starts(document, key)
    stored = values(document, key.keyword)
    if isinstance(key, EmptyKey):
        return not any(value.strip(NOTHING) for value in stored) or (
            key.otherwise is not None and fits(document, key.otherwise)
        )
    return any(_value_fits(value, key) for value in stored)


def _starts(step: Document, key: StartKey) -> bool:
    day = "".join(values(step, START_DATE)[:1])
    clock = stored_time("".join(values(step, START_TIME)[:1]))
    return bool(day and clock) and key.interval.holds(stored_date(day) + clock)


def _value_fits(value: str, key: TextKey | NameKey | FuzzyKey | IntervalKey) -> bool:
    if isinstance(key, NameKey):
        return name_fits(value, key)
    if isinstance(key, FuzzyKey):
        return fuzzy_fits(value, key)
    if isinstance(key, IntervalKey):
        plain = stored_date(value) if key.vr == "DA" else stored_time(value)
        return bool(plain) and any(interval.holds(plain) for interval in key.intervals)
    plain = normalise(key.vr, value)
    if key.any_case:
        plain = plain.lower()
    return bool(plain) and (plain in key.exact or any(pattern.matches(plain) for pattern in key.patterns))
