"""Adopts orders of other worklist servers, and withdraws one that its server has no more; each in one transaction.

An order that somebody else has written (a RIS, REST, another server) is believed more than a worklist server: it stays
as it is (`ours`). A status changes by the life cycle alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from broker.model.order import Order, Step
from broker.model.sourced import Sourced, SourcedState
from broker.orders.core import lifecycle
from broker.orders.core.context import StoryContext
from broker.orders.core.identifiers import Minter, accession
from broker.orders.core.values import OrderChange, PatientChange
from broker.orders.documents import replacing
from broker.orders.lookup import recognizing
from broker.orders.stories import intake
from broker.store.db.engine import savepoint
from broker.store.orders import reading, sourced


@dataclass(frozen=True, slots=True)
class SourcedOrder:
    """One item of a server: what it is known by there, what it is, whether that has changed."""

    key: str
    step_id: str
    start_at: str
    digest: bytes
    change: OrderChange


@dataclass(frozen=True, slots=True)
class Adopted:
    """What became of an item: created, updated, unchanged, ours, ended, canceled, kept or refused (and why)."""

    outcome: str
    reasons: tuple[str, ...] = ()


def actor(node: str) -> str:
    """Who writes what comes from a node, for the records."""
    return f"source:{node}"


def adopt(
    connection: Connection, node: str, item: SourcedOrder, context: StoryContext, *, dry: bool = False
) -> Adopted:
    """Make the order of an item what the item says; `dry`: only say what would become of it."""
    reading.lock(connection, [f"source|{node}|{item.key}", *item.change.names()])
    item = replace(item, change=recognizing.as_known(connection, item.change))
    with savepoint(connection) as undo:
        done = _adopted(connection, node, item, context)
        if dry:
            undo()
    return done


def _adopted(connection: Connection, node: str, item: SourcedOrder, context: StoryContext) -> Adopted:
    row = _row(connection, node, item)
    stored = reading.load_order(connection, row) if row is not None else None
    if stored is not None and stored.written.by != context.actor:
        _note(connection, node, item, row, SourcedState.OURS, context)
        return Adopted("ours")
    named = replace(_named(item.change, stored, context), row=row)
    change, reasons = _believed(connection, named, stored, context)
    if reasons:
        return Adopted("refused", reasons)
    plans, audit = intake.apply(connection, [change], context)
    if audit is None:
        wrong = [finding for made in plans for finding in made.findings if finding.is_error]
        return Adopted("refused", tuple(finding.text for finding in wrong))
    actions = [entry.action.removeprefix("order.") for entry in audit if entry.kind == "order"]
    for entry in audit:
        if entry.action not in ("order.unchanged", "order.late"):  # asked for every few minutes: no news for the trail
            intake.add_audit(connection, entry, context)
    row = audit[0].row
    ended = "late" in actions or _has_ended(connection, row, item)
    _note(connection, node, item, row, SourcedState.ENDED if ended else SourcedState.THEIRS, context)
    return Adopted("ended" if ended else next((one for one in actions if one != "unchanged"), "unchanged"))


def _row(connection: Connection, node: str, item: SourcedOrder) -> int | None:
    """The order of an item: the one it was before, the one its numbers or its study name."""
    known = sourced.find(connection, node, item.key)
    if known is not None:
        return known.request
    change = item.change
    row = reading.find_order(connection, change.filler, change.placer, change.accession)
    if row is None:
        owners = reading.study_owners(connection, [p.study_instance_uid for p in change.procedures])
        row = next(iter(owners.values()), None)
    return row


def _named(change: OrderChange, stored: Order | None, context: StoryContext) -> OrderChange:
    """The change with the numbers by which the order is found; a new order without any gets one of ours."""
    if stored is not None:
        return replace(
            change,
            filler=stored.filler if stored.filler.number else change.filler,
            placer=stored.placer if stored.placer.number else change.placer,
            accession=change.accession or stored.accession,
        )
    if accession(change.accession, "", change.filler.number, change.placer.number):
        return change
    return replace(change, accession=Minter(context.token).short("ACC"))


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


def _has_ended(connection: Connection, row: int, item: SourcedOrder) -> bool:
    steps = _steps(reading.load_order(connection, row), item.key, item.step_id)
    return bool(steps) and all(step.status in lifecycle.ENDED for step in steps)


def _steps(stored: Order, key: str, step_id: str) -> Sequence[Step]:
    """The steps that an item is; one that its server gave no identifier is all of its procedure."""
    kind, number, _ = key.split("|", 2)
    return [
        step
        for procedure in stored.procedures
        if kind != "study" or procedure.study_instance_uid == number
        for step in procedure.steps
        if step_id in ("", step.step_id)
    ]


def _note(
    connection: Connection, node: str, item: SourcedOrder, row: int | None, state: SourcedState, context: StoryContext
) -> None:
    if row is not None:
        known = Sourced(
            key=item.key, request=row, step_id=item.step_id, start_at=item.start_at, digest=item.digest, state=state
        )
        sourced.save(connection, node, known, context.at.timestamp())


def withdraw(connection: Connection, node: str, key: str, context: StoryContext, *, dry: bool = False) -> Adopted:
    """Cancel the steps of an item that its server has no more, if they wait still and nobody else wrote the order."""
    known = sourced.find(connection, node, key)
    names = reading.lock_names(connection, known.request) if known else ()
    reading.lock(connection, [f"source|{node}|{key}", *names])
    with savepoint(connection) as undo:
        done = _withdrawn(connection, node, known, context) if known else Adopted("kept")
        if dry:
            undo()
    return done


def _withdrawn(connection: Connection, node: str, known: Sourced, context: StoryContext) -> Adopted:
    stored = reading.load_order(connection, known.request)
    steps = [step for step in _steps(stored, known.key, known.step_id) if step.status in lifecycle.WAITING]
    at = context.at.timestamp()
    if stored.written.by != context.actor or not steps:
        state = SourcedState.OURS if stored.written.by != context.actor else SourcedState.ENDED
        sourced.save(connection, node, replace(known, state=state), at)
        return Adopted("kept")
    plans, audit = intake.apply(connection, [replacing.canceling(stored, steps)], context)
    if audit is None:
        return Adopted("kept", tuple(finding.text for made in plans for finding in made.findings))
    for entry in audit:
        intake.add_audit(connection, entry, context)
    sourced.save(connection, node, replace(known, state=SourcedState.GONE), at)
    return Adopted("canceled")
