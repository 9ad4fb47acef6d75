"""Runs stored HL7 messages again by the mapping in force or by another one, and shows what would change.

Each message is applied, looked at, undone and applied again, so that its difference is seen exactly. A dry run is one
transaction that is rolled back at its end; else each message is a transaction of its own, as when it came. A defect
that a message brings to light changes nothing and is shown as the door answers it; the next message is run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from broker import telemetry
from broker.errors import Unavailable
from broker.hl7.codes import AckCode
from broker.hl7.findings import Finding
from broker.hl7.header import Header
from broker.model.message import JournaledMessage, MessageSelection
from broker.model.order import Document
from broker.orders.core.context import StoryContext
from broker.orders.core.values import Change, OrderChange
from broker.orders.inbound import reception
from broker.orders.inbound.reception import Examined, Interface, Profiles
from broker.orders.mapping.profile import Profile
from broker.orders.stories import intake, writing
from broker.site.nodes import Node
from broker.store.db.database import Database
from broker.store.db.deadlines import unhurried
from broker.store.db.engine import savepoint, translate
from broker.store.journal import dealt
from broker.store.orders import answers, messages, reading

_IDENTITY = ("PatientID", "IssuerOfPatientID")
_ALL = frozenset({"P", "T", "D"})
_STANDARD = Interface(name="test")


@dataclass(frozen=True, slots=True)
class ItemDifference:
    """One attribute of a worklist entry before and after; the step by our own row, 0 for a new one."""

    step: int
    keyword: str
    before: object
    after: object


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of a stored message: the code it got and would get now, and the worklist entries that differ."""

    message: int
    received_at: float
    sender: str
    message_type: str
    answered: str
    code: str
    profile: str
    findings: tuple[Finding, ...]
    differences: tuple[ItemDifference, ...]
    new_steps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOutcome:
    """What a message does: its code, the profile that reads it, and the worklist entries that it touches.

    `before` and `after` are entries by our own row of their step; one that is new is not in `before`.
    """

    code: str
    profile: str
    findings: tuple[Finding, ...]
    before: Mapping[int, Document]
    after: Mapping[int, Document]


@dataclass(frozen=True, slots=True)
class Bench:
    """By what messages are run again, and in whose name; `subscribers` may want to hear of changes of status.

    Each message meets the checks of the interface that received it (`interfaces` by name), of the first one if that is
    not there any more. With `forced`, the reason of a person, they do not count.
    """

    profiles: Profiles
    zone: ZoneInfo
    default_station: str
    actor: str
    started: float = field(default_factory=time.time)  # s since the epoch
    subscribers: tuple[Node, ...] = ()
    interfaces: Mapping[str, Interface] = field(default_factory=dict)
    by_interface: Callable[[str], Profiles] | None = (
        None  # by the profile of an interface, for senders without their own
    )
    forced: str = ""
    reason: str = ""  # why they are run again, for the audit trail
    address: str = ""  # from where the person does so

    def interface(self, name: str) -> Interface:
        """The interface by whose checks a message of a listener is run again."""
        known = self.interfaces.get(name) or next(iter(self.interfaces.values()), _STANDARD)
        return replace(known, known=None, receiving=frozenset(), processing_ids=_ALL) if self.forced else known


def replay(
    database: Database,
    selection: MessageSelection,
    bench: Bench,
    *,
    write: bool,
    clock: Callable[[], datetime] | None = None,
) -> list[Replayed]:
    """Run the selected messages again, oldest first; only with `write` anything is kept.

    Raises StoreUnavailable; with `write`, what was applied before stays applied.
    """
    found: list[JournaledMessage] = database.read(messages.select_messages, selection).result()
    start = clock() if clock else datetime.now(bench.zone)
    if not write:
        return database.submit(_dry, found, bench, start).result()
    return [
        database.submit(_again, stored, bench, start + timedelta(microseconds=number), keep=True).result()
        for number, stored in enumerate(found)
    ]


@unhurried
def trial(
    connection: Connection, stored: JournaledMessage, benches: Sequence[Bench], start: datetime
) -> list[RunOutcome]:
    """Run one message by each of some benches, on what is stored; nothing is kept. Generated values are the same."""
    token = uuid4()
    outcomes = []
    for bench in benches:
        with savepoint(connection) as undo:
            outcomes.append(_outcome(connection, stored, bench, start, token, keep=False))
            undo()
    return outcomes


@unhurried
def _dry(connection: Connection, found: Sequence[JournaledMessage], bench: Bench, start: datetime) -> list[Replayed]:
    with savepoint(connection) as undo:
        done = [
            _again(connection, stored, bench, start + timedelta(microseconds=number), keep=False)
            for number, stored in enumerate(found)
        ]
        undo()
    return done


def _again(connection: Connection, stored: JournaledMessage, bench: Bench, at: datetime, *, keep: bool) -> Replayed:
    outcome = _outcome(connection, stored, bench, at, uuid4(), keep=keep)
    before, after = outcome.before, outcome.after
    fresh = [step for step in after if step not in before]
    found = [d for step, answer in after.items() if step in before for d in compare(step, before[step], answer)]
    found += [d for step in fresh for d in compare(0, {}, after[step])]
    return Replayed(
        stored.row,
        stored.received_at,
        stored.sender,
        stored.message_type,
        stored.answer_code,
        outcome.code,
        outcome.profile,
        outcome.findings,
        tuple(found),
        len(fresh),
    )


def _outcome(
    connection: Connection, stored: JournaledMessage, bench: Bench, at: datetime, token: UUID, *, keep: bool
) -> RunOutcome:
    chosen = ""
    interface = bench.interface(stored.listener)
    choose = bench.by_interface(interface.profile) if bench.by_interface and interface.profile else bench.profiles

    def profiles(header: Header) -> Profile:
        nonlocal chosen
        profile = choose(header)
        chosen = profile.name
        return profile

    examined = reception.examine(stored.raw, interface, profiles, bench.zone)
    findings = examined.conversion.findings if examined else ()
    code = examined.code if examined else AckCode.AR
    if examined is not None and examined.failure is not None:
        findings = (_defect(stored, examined.failure),)
    before: Mapping[int, Document] = {}
    after: Mapping[int, Document] = {}
    if examined is not None and not code:
        context = StoryContext(
            token,
            at.astimezone(bench.zone),
            bench.default_station,
            f"hl7:{stored.sender}",
            sender=(examined.header.get(3, 1), examined.header.get(4, 1)),
            subscribers=bench.subscribers,
            address=bench.address,
        )
        more, applied, before, after = _tried(connection, examined, context, stored, bench, keep=keep)
        findings += more
        code = AckCode.AA if applied else AckCode.AE
    return RunOutcome(code=code, profile=chosen, findings=findings, before=before, after=after)


_Entries = Mapping[int, Document]
_Applied = tuple[tuple[Finding, ...], bool, _Entries, _Entries]  # findings, whether it was applied, before, after


def _tried(
    connection: Connection,
    examined: Examined,
    context: StoryContext,
    stored: JournaledMessage,
    bench: Bench,
    *,
    keep: bool,
) -> _Applied:
    """Apply a conversion; nothing of it stays if it brings a defect to light. Passing trouble ends the run."""
    with savepoint(connection, "message") as undo:
        try:
            return _apply(connection, examined, context, stored, bench, keep=keep)
        except Exception as error:
            if isinstance(translate(error), Unavailable | OSError):
                raise
            undo()
            return (_defect(stored, error),), False, {}, {}


def _defect(stored: JournaledMessage, error: Exception) -> Finding:
    """What the sender of the message would be told; the log has the reference too."""
    reference = uuid4().hex[:12]
    said = {"message": stored.row, "reference": reference, "error": telemetry.describe(error)}
    telemetry.logger().error("hl7.replay_failed", **said)
    return reception.defect(reference)


def _apply(
    connection: Connection,
    examined: Examined,
    context: StoryContext,
    stored: JournaledMessage,
    bench: Bench,
    *,
    keep: bool,
) -> _Applied:
    """Apply a conversion; findings, whether it was applied, the entries that it touches before and after.

    It acts as the sender did, so that a newer message of that sender still wins; the audit trail says who ran it again.
    """
    changes = tuple(_current(connection, change, stored, bench) for change in examined.conversion.changes)
    reading.lock(connection, [name for change in changes for name in change.names()])
    at = context.at.timestamp()
    with savepoint(connection) as undo:
        plans, audit = intake.apply(connection, changes, context)
        findings = tuple(finding for made in plans for finding in made.findings)
        touched = {kind: [entry.row for entry in audit or () if entry.kind == kind] for kind in ("order", "patient")}
        after = answers.answers_written(connection, touched["order"], touched["patient"], at)
        undo()
    if audit is None:
        return findings, False, {}, {}
    before = answers.answers_by_step(connection, list(after))
    _, audit = intake.apply(connection, changes, context)
    why = {"forced": bench.forced} if bench.forced else {}
    by_person = replace(context, actor=bench.actor)
    for entry in audit or ():
        intake.add_audit(connection, entry, by_person, message=stored.row, replayed=context.actor, **why)
    if keep:
        given = {"reason": bench.reason} if bench.reason else {}
        writing.audit(connection, by_person, "message.applied", "message", stored.row, {**given, **why})
    if keep and not stored.accepted:
        messages.add_note(connection, stored.row, "replayed")
        dealt.mark(connection, stored.row, at, bench.actor, bench.reason or "replayed")
    return findings, True, before, after


def _current(connection: Connection, change: Change, stored: JournaledMessage, bench: Bench) -> Change:
    """An order without the demographics of its message, if the patient was changed after that came, before this run."""
    if not isinstance(change, OrderChange):
        return change
    asked = change.patient
    span = (stored.received_at, bench.started)
    if not reading.patient_changed(connection, asked.patient_id, asked.issuer, *span):
        return change
    named = {keyword: value for keyword, value in asked.attributes.items() if keyword in _IDENTITY}
    return replace(change, patient=replace(asked, attributes=named))


def compare(step: int, before: Document, after: Document) -> list[ItemDifference]:
    """Attributes that differ between two answers of a step, those of the step itself included."""
    old, new = _flat(before), _flat(after)
    keywords = [*old, *(keyword for keyword in new if keyword not in old)]
    return [ItemDifference(step, k, old.get(k), new.get(k)) for k in keywords if old.get(k) != new.get(k)]


def _flat(answer: Document) -> Document:
    rest = {keyword: value for keyword, value in answer.items() if keyword != "ScheduledProcedureStepSequence"}
    return {**rest, **(answer.get("ScheduledProcedureStepSequence") or [{}])[0]}
