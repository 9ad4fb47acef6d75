"""Answers a query in place of a device: what its worklist shows now.

The query is one that the device asked, one that it would ask, or one that a person types. It goes the way of the door:
the same reading, the profile of the device, search, matcher and encoder (`worklist.answering`). What is shown is
read back from the encoded answers.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, tzinfo
from typing import Any, Literal

from pydicom.datadict import keyword_for_tag
from sqlalchemy import Connection

from broker.dicom import uids
from broker.dicom.dataset.read import Element, decode_data_set
from broker.dicom.dimse import status as st
from broker.model.wording import Sentence
from broker.settings import Settings
from broker.site.directory import Directory
from broker.store.worklist import steps as worklist_steps
from broker.store.worklist.candidates import Found, search
from broker.worklist.answer.cache import PreparedQuery
from broker.worklist.answering import PAGE, AnswerList, answers, prepared, understood
from broker.worklist.explain import recall, verdict
from broker.worklist.explain.conditions import hidden_fits
from broker.worklist.explain.exam import askings_of, caller_of
from broker.worklist.explain.recall import Recalled
from broker.worklist.explain.verdict import Asking, Caller
from broker.worklist.query.attributes import START_DATE, STATIONS, STEP_SEQUENCE
from broker.worklist.query.keys import Query
from broker.worklist.query.timezone import in_offset
from broker.worklist.query.writing import identifier

MOST_SHOWN = 200  # answers with their attributes
LOOKED_THROUGH, PATIENCE = 20_000, 0.2  # candidates of one look, and the seconds after which it ends
IN_STEP = (STATIONS, START_DATE, "Modality")
TYPED = (*IN_STEP, "PatientName", "PatientID", "AccessionNumber")  # keys that a person may type
_SYNTAX = uids.IMPLICIT_LE
_UNDIVIDED = frozenset({"LT", "ST", "UT", "UR"})  # a backslash is text
WhichQuery = Literal["asked", "supposed", "typed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenExam:
    """An answer: rows of step and order, and what the device is told, by keyword."""

    step: int
    order: int
    document: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSight:
    """What a device sees now. `which`: the query is one that it asked, that it would ask, or that a person typed.

    `asked_at`: when it asked last, None for never. `served`: what its profile makes of the keys. `refusal`: why it is
    not let in at all, empty if it is. `count` answers would be sent, of which the first stand in `exams`; `status` is
    the final one, in hexadecimal digits, and `comment` its Error Comment. A list that is too long to be looked through
    has no status.
    """

    caller: Caller
    which: WhichQuery
    asking: Asking
    asked_at: float | None
    asked: Sequence[Asking]  # all that are remembered, the last first
    served: Mapping[str, str]
    refusal: str
    count: int
    status: str
    comment: str
    exams: Sequence[SeenExam]
    findings: Sequence[Sentence]


@dataclass(frozen=True, slots=True, kw_only=True)
class SightGround:
    """What looks stand on. `secret` keyed the hashes of queries."""

    directory: Directory
    settings: Settings
    secret: bytes


@dataclass(slots=True)
class _Run:
    """What became of a query."""

    listed: AnswerList
    status: int | None = st.SUCCESS  # None: it was not looked to the end
    unsure: int = 0
    looked: int = 0
    first: list[tuple[int, bytes]] = field(default_factory=list)


def typed_query(keys: Mapping[str, str]) -> Query:
    """The query of keys (TYPED) that a person types, read as the door reads it. Raises BadContent."""
    given = {name: value for name in TYPED if (value := keys.get(name))}
    step = {name: given.pop(name) for name in IN_STEP if name in given}
    return understood(identifier({**given, STEP_SEQUENCE: [step]}, _SYNTAX), _SYNTAX)


def look(
    connection: Connection,
    device: str,
    typed: Query | None,
    ground: SightGround,
    *,
    number: int = 1,
    limit: int = MOST_SHOWN,
) -> DeviceSight:
    """What a device (name of a node, or AE title) sees now, by a `typed` query or one that it asked.

    `number`: counts the remembered queries from the last one. `limit`: answers that are shown.
    """
    zone, accepts_any = ground.settings.zone(), ground.settings.dicom.accept == "any"
    caller, remembered = caller_of(connection, device, ground.directory, accepts_any=accepts_any)
    asked = askings_of(remembered)
    which, asking = _chosen(caller, asked, typed, number)
    last = asked[0].at if asked else None
    seen = DeviceSight(
        caller=caller,
        which=which,
        asking=asking,
        asked_at=last,
        asked=asked,
        served={},
        refusal=verdict.refusal(caller, last or 0, zone),
        count=0,
        status=asking.status,
        comment=asking.comment,
        exams=(),
        findings=(),
    )
    if asking.recalled is None:
        return replace(seen, findings=(Sentence("The query could not be read: %(why)s.", {"why": asking.comment}),))
    return _answered(connection, seen, asking.recalled, ground, limit)


def _answered(
    connection: Connection, seen: DeviceSight, recalled: Recalled, ground: SightGround, limit: int
) -> DeviceSight:
    """The same with the answer to the query."""
    settings, zone, caller = ground.settings, ground.settings.zone(), seen.caller
    query = recalled.query if recalled.query.return_keys else _with_everything(recalled.query)
    now, charset = datetime.now(zone), settings.worklist.charset
    ready = prepared(query, caller.profile, caller.ae_title, now, _SYNTAX, charset)
    listed = AnswerList(caller.profile.max_answers or settings.worklist.max_answers)
    run = _run(connection, ready, _Hidden(recalled, ground.secret, caller), _Run(listed), zone, limit)
    orders = worklist_steps.orders_of(connection, [step for step, _ in run.first])
    return replace(
        seen,
        served=recall.keys(replace(recalled, query=ready.served)),
        count=listed.count,
        status=f"{run.status:04X}" if run.status is not None else "",
        comment=listed.comment,
        exams=[
            SeenExam(step=step, order=orders.get(step, 0), document=readable(decode_data_set(data, _SYNTAX).elements))
            for step, data in run.first
        ],
        findings=_findings(recalled, ready, run, limit),
    )


def readable(elements: Mapping[int, Element]) -> dict[str, Any]:
    """The elements of an answer by keyword: text, texts or items."""
    found: dict[str, Any] = {}
    for tag, element in elements.items():
        keyword = keyword_for_tag(tag) or f"{tag:08X}"
        text = element.text.strip(" \0")
        if element.vr == "SQ":
            found[keyword] = [readable(item) for item in element.items]
        elif "\\" in text and element.vr not in _UNDIVIDED:
            found[keyword] = [part.strip(" \0") for part in text.split("\\")]
        else:
            found[keyword] = text
    return found


def _chosen(caller: Caller, asked: Sequence[Asking], typed: Query | None, number: int) -> tuple[WhichQuery, Asking]:
    """The query that is answered. A typed one asks for the attributes and the character set of the last one."""
    if typed is not None:
        last = next((one.recalled.query for one in asked if one.recalled is not None), None)
        if last is not None:
            typed = replace(typed, return_keys=last.return_keys or typed.return_keys, charset=last.charset)
        return "typed", Asking(Recalled(typed, (), ""))
    if asked:
        return "asked", asked[min(number, len(asked)) - 1]
    return "supposed", verdict.supposed(caller.ae_title)


def _with_everything(query: Query) -> Query:
    return replace(query, return_keys=typed_query({}).return_keys)


class _Hidden:
    """The keys of a query whose values are not kept."""

    def __init__(self, recalled: Recalled, secret: bytes, caller: Caller) -> None:
        self._recalled = recalled
        self._secret = secret if recalled.key in ("", recall.fingerprint(secret)) else None
        self._loose = {"prefix_names": caller.profile.prefix_names, "any_case": caller.profile.ignore_case}

    def fit(self, candidate: Found, zone: tzinfo) -> bool | None:
        """Whether a step fits them; None: cannot be told."""
        hidden = self._recalled.secrets
        if not hidden:
            return True
        document = in_offset(candidate.document(), zone, self._recalled.query.offset)
        fits = {hidden_fits(document, one, self._secret, **self._loose) for one in hidden}
        return False if False in fits else None if None in fits else True


def _run(connection: Connection, ready: PreparedQuery, hidden: _Hidden, run: _Run, zone: tzinfo, limit: int) -> _Run:
    """Answer the query page by page, as the door does."""
    listed, until = run.listed, time.monotonic() + PATIENCE
    if ready.served.view.empty:
        return run
    while True:
        candidates = search(connection, ready.criteria, listed.after, PAGE)
        fresh = listed.fresh(candidates)
        known = answers(fresh, ready.served, ready.encoder, zone)
        made: list[tuple[int, bytes]] = []
        for candidate in fresh:
            data = known.get(candidate.id, (0, None))[1]
            fits = data is not None and hidden.fit(candidate, zone)
            if fits and data is not None:
                made.append((candidate.id, data))
            run.unsure += fits is None
        due = listed.due(made)
        listed.sent(due)
        run.first += due[: limit - len(run.first)]
        status = listed.status(candidates, len(made) - len(due))
        if status is not None:
            run.status = status
            return run
        run.looked += len(candidates)
        if run.looked >= LOOKED_THROUGH or time.monotonic() > until:
            run.status = None
            return run


def _findings(recalled: Recalled, ready: PreparedQuery, run: _Run, limit: int) -> list[Sentence]:
    """What a person should know of the answer, in sentences."""
    found = []
    if ready.served.view.empty:
        found.append(Sentence("A query without a value is answered with nothing: its profile says so."))
    if recalled.secrets:
        keys = ", ".join(hidden.keyword for hidden in recalled.secrets)
        found.append(
            Sentence(
                "The query also names %(keys)s. They are not kept: exams are compared with a keyed hash of them.",
                {"keys": keys},
            )
        )
    if run.unsure:
        found.append(
            Sentence(
                "%(n)s exam fits all else. It cannot be told whether it fits the values that are not kept.",
                {"n": run.unsure},
                many="%(n)s exams fit all else. It cannot be told whether they fit the values that are not kept.",
            )
        )
    if not ready.served.supported:
        found.append(
            Sentence("The query names attributes that the broker does not have: each answer says so by status FF01.")
        )
    if not recalled.query.return_keys:
        found.append(Sentence("Which attributes it asks for is not known: all are shown."))
    if run.status == st.OUT_OF_RESOURCES:
        found.append(
            Sentence(
                "More exams match than the device is sent: it gets the first %(n)s and status A700.",
                {"n": run.listed.most},
            )
        )
    if run.status is None:
        found.append(
            Sentence("The worklist is long: only its first %(n)s exams were looked through.", {"n": run.looked})
        )
    if run.listed.count > limit:
        found.append(Sentence("Only the first %(n)s answers stand here.", {"n": limit}))
    return found
