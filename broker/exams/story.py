"""Tells the story of an exam: what the RIS sent, who saw it, what was done, where images went, what the RIS heard."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from broker.exams.entries import EntryKind, EntrySource, SourceKind, StoryEntry, Tone
from broker.exams.sightings import LookedAt, Sightings, sightings
from broker.exams.traffic import traffic
from broker.model.audit import AuditRecord
from broker.model.order import Order, StepEvent, StepStatus
from broker.model.wording import Sentence
from broker.store.exams import around
from broker.store.exams.around import ToldMessage
from broker.store.orders import reading
from broker.store.orders import search as order_search

DONE: Mapping[str, Sentence] = {
    "order.created": Sentence("The order came."),
    "order.updated": Sentence("The order was changed."),
    "order.unchanged": Sentence("The order was sent again, unchanged."),
    "order.canceled": Sentence("The order was called off."),
    "order.refused": Sentence("A change of the order was refused."),
    "order.late": Sentence("A change came after the end of the exam and has no effect."),
    "order.not-canceled": Sentence("The order was not called off since it has begun."),
    "order.reopened": Sentence("The exam was opened again."),
    "order.arrived": Sentence("The patient arrived."),
    "order.moved": Sentence("The order was moved to another patient."),
    "order.visit-canceled": Sentence("The visit of the patient was called off."),
    "order.same-number": Sentence("Another order has the same number."),
    "patient.created": Sentence("The patient became known."),
    "patient.updated": Sentence("The patient's data were changed."),
    "patient.merged": Sentence("Two records of the patient became one."),
    "patient.identifier-changed": Sentence("The patient got another identifier."),
    "patient.kept-apart": Sentence("Two patients with the same identifier were kept apart."),
    "patient.late": Sentence("An old message on the patient came late and has no effect."),
}
BECAME: Mapping[str, Sentence] = {
    StepStatus.SCHEDULED: Sentence("Step %(step)s is planned."),
    StepStatus.ARRIVED: Sentence("Step %(step)s: the patient has arrived."),
    StepStatus.READY: Sentence("Step %(step)s is ready to begin."),
    StepStatus.STARTED: Sentence("Step %(step)s has begun."),
    StepStatus.COMPLETED: Sentence("Step %(step)s is completed."),
    StepStatus.DISCONTINUED: Sentence("Step %(step)s was broken off."),
    StepStatus.CANCELED: Sentence("Step %(step)s was called off."),
}
_TONES: Mapping[str, Tone] = {
    StepStatus.COMPLETED: "ok",
    StepStatus.DISCONTINUED: "bad",
    StepStatus.CANCELED: "bad",
    "order.refused": "bad",
    "order.canceled": "bad",
    "order.late": "warn",
    "order.same-number": "warn",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExamStory:
    """An exam with its story, the oldest entry first, and what its devices show of it."""

    order: Order
    entries: Sequence[StoryEntry]
    shown: Sequence[LookedAt]


def tell(connection: Connection, row: int, looking: Sightings) -> ExamStory | None:
    """The story of an order (row); None for no such order."""
    if not order_search.exists(connection, row):
        return None
    order = reading.load_order(connection, row)
    events = reading.events_of_order(connection, row)
    seen, looked = sightings(connection, order, events, looking)
    entries = [*_changes(connection, order), *_became(order, events), *seen, *traffic(connection, order)]
    return ExamStory(order=order, entries=sorted(entries, key=lambda entry: entry.at), shown=looked)


def _changes(connection: Connection, order: Order) -> Iterator[StoryEntry]:
    """What messages and people did."""
    records = around.changes(connection, order.row or 0, order.patient.row or 0)
    told = around.messages(connection, filter(None, map(_message_of, records)))
    for record in records:
        message = told.get(_message_of(record))
        yield StoryEntry(
            at=record.at,
            kind=EntryKind.MESSAGE if record.actor.startswith("hl7:") else EntryKind.CHANGE,
            tone=_TONES.get(record.action, ""),
            text=_deed(record, message),
            actor=record.actor,
            code=str(record.detail.get("reason", "")),
            source=_source(record, message, order),
        )


def _deed(record: AuditRecord, message: ToldMessage | None) -> Sentence:
    """What was done; of a message also its type and answer."""
    done = DONE.get(record.action, Sentence("Something was done: %(action)s.", {"action": record.action}))
    if message is None:
        return done
    told = {"done": done, "type": message.message_type.replace("^", " "), "answer": message.answer_code}
    said = Sentence("%(done)s Message %(type)s, answered %(answer)s.", told)
    by_hand = record.detail.get("instead_of_hand")
    if not isinstance(by_hand, list):
        return said
    what = ", ".join(map(str, by_hand))
    return Sentence(
        "%(said)s The order had been changed by hand; the message changed: %(what)s.", {"said": said, "what": what}
    )


def _source(record: AuditRecord, message: ToldMessage | None, order: Order) -> EntrySource:
    if message is not None:
        return EntrySource(SourceKind.MESSAGE, str(message.row))
    return EntrySource(SourceKind.AUDIT, f"{record.kind}:{record.object_id or order.row}")


def _message_of(record: AuditRecord) -> int:
    """The row of the message that an audit row names; 0 for none."""
    row = record.detail.get("message")
    return row if isinstance(row, int) else 0


def _became(order: Order, events: Mapping[int, Sequence[StepEvent]]) -> Iterator[StoryEntry]:
    """What the steps became. That a new step is planned says its order already."""
    names = {step.row: step.step_id for step in order.steps()}
    for step, log in events.items():
        for event in log:
            if event.before == event.after or (not event.before and event.after == StepStatus.SCHEDULED):
                continue
            yield StoryEntry(
                at=event.at,
                kind=EntryKind.WORK if event.cause.startswith("mpps") else EntryKind.CHANGE,
                tone=_TONES.get(event.after, ""),
                text=replace(BECAME[event.after], values={"step": names.get(step, "")}),
                actor=event.actor,
                code=event.cause,
            )
