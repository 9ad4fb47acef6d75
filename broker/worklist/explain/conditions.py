"""Names the conditions under which a query shows a step, and says of each whether the step meets it. Pure.

The conditions are those of `worklist.query.matcher`, asked of the same functions on the same values, so that both say
the same. No patient data stands in what is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from broker.orders.core import lifecycle
from broker.orders.core.worklist_item import HELD
from broker.worklist.explain import recall
from broker.worklist.explain.recall import Secret
from broker.worklist.query import matcher
from broker.worklist.query.attributes import LABEL, START_DATE, START_TIME, STATIONS, STATUS, STEP_SEQUENCE
from broker.worklist.query.keys import Key, Query, SequenceKey, StartKey
from broker.worklist.query.matcher import Document, items, values
from broker.worklist.query.names import FuzzyKey, NameKey

NAMES = {
    STATIONS: "station", START_DATE: "date", START_TIME: "time", STATUS: "status asked", "Modality": "modality",
    "PatientName": "name", "PatientID": "patient id", "AccessionNumber": "accession",
}  # fmt: skip
NOT_KEPT = "a value (not kept)"


class ShownCondition(StrEnum):
    """A condition beside the keys of a query. The values are what people read."""

    VALUES = "values"  # the query has a value, where the profile asks for one
    HELD = "held"
    SCHEDULED = "scheduled"
    LABEL = "label"
    STATUS = "status"
    START = "date and time"
    SEARCH = "search"  # the database finds the step
    CAP = "cap"  # no more answers than the device is sent
    CHARSET = "character set"


@dataclass(frozen=True, slots=True)
class Check:
    """One condition, a `ShownCondition` or the name of a key: what the device asks or may see, what the step has.

    `passed` is None where it cannot be told, since the value that was asked for is not kept.
    """

    name: str
    passed: bool | None
    asked: str = ""
    found: str = ""
    hint: str = ""


def checks(
    document: Document,
    query: Query,
    secrets: Sequence[Secret] = (),
    secret: bytes | None = None,
    *,
    prefix_names: bool = False,
    any_case: bool = False,
) -> tuple[Check, ...]:
    """Every condition under which this query shows a step; all of them pass if, and only if, it matches.

    `query` as the device is served (`worklist.device`). `secrets` are further keys whose values are not kept;
    `secret` made their hashes, None if that is not known here. `prefix_names` and
    `any_case`: exact ones of names, and of codes, say no `no`.
    """
    results = [*_seen(document, query)]
    for key in query.keys:
        step = isinstance(key, SequenceKey) and key.keyword == STEP_SEQUENCE
        for inner in key.keys if isinstance(key, SequenceKey) and step else (key,):
            results.append(_key(document, inner, in_step=step))
    results += [_secret(document, hidden, secret, prefix_names=prefix_names, any_case=any_case) for hidden in secrets]
    return tuple(results)


def shown(results: Sequence[Check]) -> bool | None:
    """All pass; None if that depends on what cannot be told."""
    if any(check.passed is False for check in results):
        return False
    return None if any(check.passed is None for check in results) else True


def _seen(document: Document, query: Query) -> list[Check]:
    view = query.view
    status = " ".join(_step_values(document, STATUS))
    labels = " ".join(values(document, LABEL))
    sees = ("all" if view.labels is None else ", ".join(sorted(view.labels))) + (" only" if view.only_labelled else "")
    hidden = f", never {', '.join(sorted(view.hidden))}" if view.hidden else ""
    asked = "what it asks for" if query.asks_status else ", ".join(view.shown)
    empty = [Check(ShownCondition.VALUES, False, "at least one value in the query", "none")] if view.empty else []
    return [
        *empty,
        Check(ShownCondition.HELD, HELD not in document, "not held by the RIS", "held" if HELD in document else ""),
        Check(ShownCondition.SCHEDULED, matcher.scheduled(document), "a date", _start(document)),
        Check(
            ShownCondition.LABEL,
            matcher.labelled(document, view),
            sees + (" only" if view.only_labelled else ""),
            labels,
        ),
        Check(ShownCondition.STATUS, matcher.visible(document, query), asked + hidden, status),
    ]


def _key(document: Document, key: Key, *, in_step: bool) -> Check:
    passed = matcher.fits(document, SequenceKey(STEP_SEQUENCE, (key,)) if in_step else key)
    if isinstance(key, StartKey):
        return Check(ShownCondition.START, passed, recall.words(key), _start(document))
    name = NAMES.get(key.keyword, key.keyword)
    if key.keyword not in recall.PLAIN or isinstance(key, SequenceKey | NameKey | FuzzyKey):
        return Check(name, passed, NOT_KEPT, "the same" if passed else "another, or none")
    stored = _step_values(document, key.keyword) if in_step else values(document, key.keyword)
    asked = recall.words(key)
    hint = ""
    if not passed and asked.lower() in {value.lower() for value in stored}:
        hint = "they differ in capital and small letters only: ignore_case in the device's profile"
    return Check(name, passed, asked, ", ".join(stored), hint)


def hidden_fits(
    document: Document, hidden: Secret, secret: bytes | None, *, prefix_names: bool = False, any_case: bool = False
) -> bool | None:
    """Whether a key whose value is not kept matches; None where that cannot be told. The rest is as in `checks`."""
    passed = recall.fits(document, hidden, secret, any_case=any_case) if secret is not None else None
    return None if hidden.vr == "PN" and prefix_names and not passed else passed


def _secret(document: Document, hidden: Secret, secret: bytes | None, *, prefix_names: bool, any_case: bool) -> Check:
    passed = hidden_fits(document, hidden, secret, prefix_names=prefix_names, any_case=any_case)
    words = {True: "the same", False: "another, or none", None: "cannot be told"}
    hint = ""
    if passed is False and hidden.vr == "PN" and not hidden.ascii:
        hint = "it holds unusual letters: the device may name another character set than it uses"
    return Check(NAMES.get(hidden.keyword, hidden.keyword or "key"), passed, NOT_KEPT, words[passed], hint)


def _step_values(document: Document, keyword: str) -> list[str]:
    return [value for item in items(document, STEP_SEQUENCE) for value in values(item, keyword)]


def _start(document: Document) -> str:
    return " ".join([*_step_values(document, START_DATE)[:1], *_step_values(document, START_TIME)[:1]])


def sentence(results: Sequence[Check]) -> str:
    """The first reason why the step is not shown, or that it is."""
    check = next((check for check in results if check.passed is False), None)
    if check is not None:
        return _failure(check)
    unknown = [check.name for check in results if check.passed is None]
    if unknown:
        return f"the query also asks for {', '.join(unknown)}, whose values are not kept: whether they fit is not known"
    return "every condition is met"


def _failure(check: Check) -> str:
    hint = f" ({check.hint})" if check.hint else ""
    if check.name == ShownCondition.VALUES:
        return "the query has no values, and the device's profile answers such a query with nothing (empty_on_no_keys)"
    if check.name == ShownCondition.HELD:
        return "the step is held by the RIS: it is in no worklist until it is released"
    if check.name == ShownCondition.SCHEDULED:
        return "the step has no date yet: it is still to be scheduled"
    if check.name == ShownCondition.LABEL:
        has = f"the worklist label {check.found}" if check.found else "no worklist label"
        return f"the order has {has}, and the device sees {check.asked}"
    if check.name == ShownCondition.STATUS:
        ended = " (it has ended)" if check.found in lifecycle.ENDED else ""
        return f"the step is {check.found}{ended}, and the device sees {check.asked}"
    if check.name == ShownCondition.CAP:
        return f"the step would be answer {check.found}, and the device is sent {check.asked} at most"
    if check.name == ShownCondition.SEARCH:
        return "the database does not find it though it matches: a defect of the broker, please report it"
    if check.asked == NOT_KEPT:
        return f"the device asks for another {check.name}{hint}"
    return f"the step has {check.name} {check.found or 'none'}, and the device asks for {check.asked}{hint}"
