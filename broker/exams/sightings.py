"""Says which devices saw an exam in their worklists, and whether its stations show it now.

What a device was answered is not kept. Its last queries are (`worklist.explain.memory`): each is judged against the
steps with the status that they had at that time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from broker.exams.entries import EntryKind, EntrySource, SourceKind, StoryEntry
from broker.model.order import Document, Order, StepEvent
from broker.model.wording import Sentence
from broker.settings import Settings
from broker.site.directory import Directory
from broker.store.worklist import device_queries
from broker.store.worklist import steps as worklist_steps
from broker.store.worklist.steps import StepRow
from broker.worklist.explain import recall, verdict
from broker.worklist.explain.exam import Exam, askings_of, caller_of, explain_exam
from broker.worklist.explain.verdict import ExplainedStep, Ground
from broker.worklist.query.attributes import STATUS, STEP_SEQUENCE

STATIONS, OTHERS, STEPS = 4, 4, 10  # that are looked at
QUERIES = 20  # of a device


@dataclass(frozen=True, slots=True, kw_only=True)
class Sightings:
    """What the queries of devices are judged with. `secret` keyed the hashes of queries."""

    directory: Directory
    settings: Settings
    secret: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class LookedAt:
    """Whether a device (AE title) shows the exam now (None: cannot be told), and why. `node`: empty for none."""

    device: str
    node: str
    shown: bool | None
    reason: str
    last_asked: float | None


def sightings(
    connection: Connection, order: Order, events: Mapping[int, Sequence[StepEvent]], looking: Sightings
) -> tuple[list[StoryEntry], list[LookedAt]]:
    """What its devices saw of an order, and what its stations show now."""
    stations = list(dict.fromkeys(title for step in order.steps() for title in step.stations))[:STATIONS]
    arguments = (looking.directory, looking.settings, looking.secret)
    shown = []
    for title in stations:
        found = explain_exam(connection, Exam(order=order.row), title, *arguments, deep=False)
        shown.append(
            LookedAt(
                device=found.caller.ae_title,
                node=found.caller.node,
                shown=found.shown,
                reason=found.reason,
                last_asked=found.last_asked,
            )
        )
    others = [title for title in device_queries.latest(connection, STATIONS + OTHERS) if title not in stations]
    rows = worklist_steps.of_orders(connection, [order.row or 0], STEPS)
    seen = [
        entry for title in [*stations, *others[:OTHERS]] for entry in _seen(connection, title, rows, events, looking)
    ]
    return seen, shown


def _seen(
    connection: Connection,
    title: str,
    rows: Sequence[StepRow],
    events: Mapping[int, Sequence[StepEvent]],
    looking: Sightings,
) -> list[StoryEntry]:
    """The last query by which a device saw each of the steps while it had one status."""
    accepts_any = looking.settings.dicom.accept == "any"
    caller, asked = caller_of(connection, title, looking.directory, accepts_any=accepts_any)
    zone, worklist = looking.settings.zone(), looking.settings.worklist
    entries: dict[tuple[int, str], StoryEntry] = {}
    for asking in askings_of(asked)[:QUERIES]:
        if asking.at is None or asking.recalled is None or not asking.count:
            continue
        now = datetime.fromtimestamp(asking.at, zone)
        key = recall.fingerprint(looking.secret)
        ground = Ground(now, zone, worklist.max_answers, worklist.charset, looking.secret, key, lambda *_: None)
        for row in rows:
            status = _status_at(events.get(row.row, ()), asking.at)
            if asking.at < row.came_at or (row.row, status) in entries:
                continue
            step = ExplainedStep(row.row, _with_status(row.answer, status), row.came_at, row.came_at)
            if verdict.judge(step, caller, asking, ground).shown:
                entries[row.row, status] = _entry(caller.node or title, bool(caller.node), asking.at)
    return list({entry.at: entry for entry in entries.values()}.values())


def _entry(device: str, known: bool, at: float) -> StoryEntry:
    return StoryEntry(
        at=at,
        kind=EntryKind.QUERY,
        text=Sentence("%(device)s asked for its worklist, and this exam fits what it asked.", {"device": device}),
        source=EntrySource(SourceKind.NODE, device) if known else None,
    )


def _status_at(log: Sequence[StepEvent], at: float) -> str:
    """The status of a step at a time; empty if its log does not say."""
    return next((event.after for event in reversed(log) if event.at <= at), "")


def _with_status(answer: Document, status: str) -> Document:
    """An answer as it was while the step had another status."""
    items = answer.get(STEP_SEQUENCE) or []
    if not status or not items:
        return answer
    return {**answer, STEP_SEQUENCE: [{**items[0], STATUS: status}, *items[1:]]}
