"""Adopts orders of other worklist servers, and withdraws one that its server has no more; each in one transaction.

An order that somebody else has written (a RIS, REST, another server) is believed more than a worklist server: it stays
as it is (`ours`). A status changes by the life cycle alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from broker.hl7.findings import Finding
from broker.model.order import Order, Step, StepStatus
from broker.model.sourced import Sourced, SourcedState
from broker.orders.core import lifecycle
from broker.orders.core.context import StoryContext
from broker.orders.core.values import OrderChange, PatientChange
from broker.orders.documents import replacing
from broker.orders.importing import ending, known
from broker.orders.stories import identity, intake
from broker.store.db.engine import savepoint
from broker.store.orders import reading, sourced


@dataclass(frozen=True, slots=True)
class SourcedOrder:
    """One item of a server: what it is known by there, what it is, whether that has changed.

    `was` is the key of an item without a step identifier that has become this one: it was moved.
    """

    key: str
    step_id: str
    start_at: str
    digest: bytes
    change: OrderChange
    was: str = ""


@dataclass(frozen=True, slots=True)
class Adopted:
    """What became of an item, and why.

    `outcome`: created, updated, unchanged; ours, as somebody else has written it; ended here; skipped, as it has ended
    there; canceled, completed or discontinued, as it ended there; kept, as it cannot end here; refused.
    """

    outcome: str
    reasons: tuple[str, ...] = ()


def actor(node: str) -> str:
    """Who writes what comes from a node, for the records."""
    return f"source:{node}"


def adopt(
    connection: Connection, node: str, item: SourcedOrder, context: StoryContext, *, dry: bool = False
) -> Adopted:
    """Make the order of an item what the item says; `dry`: only say what would become of it."""
    reading.lock(connection, [f"source|{node}|{item.was or item.key}", *item.change.names()])
    item = replace(item, change=identity.as_known(connection, item.change, context))
    with savepoint(connection) as undo:
        done = _adopted(connection, node, item, context)
        if dry:
            undo()
    return done


def _adopted(connection: Connection, node: str, item: SourcedOrder, context: StoryContext) -> Adopted:
    if item.was:
        sourced.rename(connection, node, item.was, item.key)
    before = sourced.find(connection, node, item.key)
    row = before.request if before is not None else known.order_of(connection, item.change)
    stored = reading.load_order(connection, row) if row is not None else None
    status = item.change.procedures[0].steps[0].status
    over = ending.open_part(item.change) is None
    if stored is None and over:
        return Adopted("skipped", (_over(status),))
    if stored is not None and stored.written.by != context.actor:
        _note(connection, node, item, row, SourcedState.OURS, context, item.step_id)
        return Adopted("ours")
    named = _named(item.change, before, stored, context)
    if over and stored is not None and status is not None:
        return _ended(connection, node, item, named, stored, status, context)
    change, reasons = _believed(connection, named, stored, context)
    if reasons:
        return Adopted("refused", reasons)
    plans, audit = intake.apply(connection, [change], context)
    if audit is None:
        wrong = [finding for made in plans for finding in made.findings if finding.is_error]
        return Adopted("refused", _texts(wrong))
    told = _texts([finding for made in plans for finding in made.findings])
    actions = [entry.action.removeprefix("order.") for entry in audit if entry.kind == "order"]
    for entry in audit:
        if entry.action not in ("order.unchanged", "order.late"):  # asked for every few minutes: no news for the trail
            intake.add_audit(connection, entry, context)
    row = audit[0].row
    steps = _steps(reading.load_order(connection, row), change, context)
    ended = "late" in actions or (bool(steps) and all(step.status in lifecycle.ENDED for step in steps))
    state = SourcedState.ENDED if ended else SourcedState.THEIRS
    _note(connection, node, item, row, state, context, steps[0].step_id if steps else item.step_id)
    if ended:
        return Adopted("ended")
    return Adopted(next((one for one in actions if one != "unchanged"), "unchanged"), told)


def _ended(
    connection: Connection,
    node: str,
    item: SourcedOrder,
    change: OrderChange,
    stored: Order,
    status: StepStatus,
    context: StoryContext,
) -> Adopted:
    """End the steps of an item that has ended there."""
    steps = _steps(stored, change, context)
    if not steps:
        return Adopted("skipped", (_over(status),))
    done = ending.end(connection, stored, steps, status, context)
    state = SourcedState.THEIRS if done.outcome == "kept" else SourcedState.ENDED
    _note(connection, node, item, stored.row, state, context, steps[0].step_id)
    if done.outcome == "unchanged":
        return Adopted("ended")
    return Adopted(done.outcome, (_over(status), *_texts(done.findings)))


def _over(status: StepStatus | None) -> str:
    return f"The examination is {status} there: it is not offered"


def _texts(findings: Sequence[Finding]) -> tuple[str, ...]:
    return tuple(finding.text for finding in findings)


def _named(change: OrderChange, before: Sourced | None, stored: Order | None, context: StoryContext) -> OrderChange:
    """The change with the numbers of its order, and with the step that it was before or is by its stations and start.

    An item without a step identifier is the step that was made of it: it may have been moved since.
    """
    named = known.named(change, stored, context)
    procedure = named.procedures[0]
    single = len(named.procedures) == len(procedure.steps) == 1
    if before is not None and before.step_id and single and not procedure.steps[0].step_id:
        step = replace(procedure.steps[0], step_id=before.step_id)
        named = replace(named, procedures=(replace(procedure, steps=(step,)),))
    return known.stepped(named, stored, context.default_station)


def _steps(stored: Order, change: OrderChange, context: StoryContext) -> list[Step]:
    """The stored steps of a change."""
    pairs = known.steps_of(stored, known.stepped(change, stored, context.default_station))
    return [step for _, step in pairs if step is not None]


def _believed(
    connection: Connection, change: OrderChange, stored: Order | None, context: StoryContext
) -> tuple[OrderChange, tuple[str, ...]]:
    """What is believed of a patient whom others have told of: that it is the same; and why that is doubtful."""
    asked = change.patient
    patient = stored.patient if stored else reading.find_patient(connection, asked.patient_id, asked.issuer)
    if patient is None or patient.row is None or not sourced.known_elsewhere(connection, patient.row, context.actor):
        return change, ()
    born = (patient.attributes.get("PatientBirthDate"), asked.attributes.get("PatientBirthDate"))
    if all(born) and born[0] != born[1]:
        return change, ("The patient of this identifier has another birth date here",)
    only = {k: v for k, v in asked.attributes.items() if k in ("PatientID", "IssuerOfPatientID")}
    return replace(change, patient=PatientChange(asked.patient_id, asked.issuer, only)), ()


def _note(
    connection: Connection,
    node: str,
    item: SourcedOrder,
    row: int | None,
    state: SourcedState,
    context: StoryContext,
    step_id: str,
) -> None:
    """Note which order and step (`step_id` here) an item is."""
    if row is not None:
        sourced_item = Sourced(
            key=item.key, request=row, step_id=step_id, start_at=item.start_at, digest=item.digest, state=state
        )
        sourced.save(connection, node, sourced_item, context.at.timestamp())


def withdraw(connection: Connection, node: str, key: str, context: StoryContext, *, dry: bool = False) -> Adopted:
    """Cancel the steps of an item that its server has no more, if they wait still and nobody else wrote the order."""
    item = sourced.find(connection, node, key)
    names = reading.lock_names(connection, item.request) if item else ()
    reading.lock(connection, [f"source|{node}|{key}", *names])
    with savepoint(connection) as undo:
        done = _withdrawn(connection, node, item, context) if item else Adopted("kept")
        if dry:
            undo()
    return done


def _withdrawn(connection: Connection, node: str, item: Sourced, context: StoryContext) -> Adopted:
    stored = reading.load_order(connection, item.request)
    steps = [step for step in _of_item(stored, item) if step.status in lifecycle.WAITING]
    at = context.at.timestamp()
    if stored.written.by != context.actor or not steps:
        state = SourcedState.OURS if stored.written.by != context.actor else SourcedState.ENDED
        sourced.save(connection, node, replace(item, state=state), at)
        return Adopted("kept")
    plans, audit = intake.apply(connection, [replacing.canceling(stored, steps)], context)
    if audit is None:
        return Adopted("kept", tuple(finding.text for made in plans for finding in made.findings))
    for entry in audit:
        intake.add_audit(connection, entry, context)
    sourced.save(connection, node, replace(item, state=SourcedState.GONE), at)
    return Adopted("canceled")


def _of_item(stored: Order, item: Sourced) -> list[Step]:
    """The steps that an item is; one of which an earlier version knew no step is all of its procedure."""
    kind, number, _ = item.key.split("|", 2)
    return [
        step
        for procedure in stored.procedures
        if kind != "study" or procedure.study_instance_uid == number
        for step in procedure.steps
        if item.step_id in ("", step.step_id)
    ]
