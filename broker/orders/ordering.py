"""The story of an order change: find the order, decide (`orders.plan`), write it with its worklist answers."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from broker.hl7.findings import Finding
from broker.orders import answer as answers
from broker.orders import events, lifecycle, plan, waiting
from broker.orders.identifiers import Minter
from broker.orders.story import AuditEntry, Context
from broker.orders.values import Order, OrderChange, Patient, Plan
from broker.store import orders, orders_read


@dataclass(frozen=True, slots=True)
class PlannedOrder:
    """What an order change comes to; see `story.Planned`."""

    change: OrderChange
    made: Plan
    before: Order | None

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is to be told to the sender."""
        return self.made.findings

    @property
    def accession(self) -> str:
        """Accession number of what is written."""
        return self.made.order.accession if self.made.order else ""

    def write(self, connection: Connection, context: Context) -> tuple[AuditEntry, ...]:
        """Write the order; its audit entry."""
        row = self.made.row
        if self.made.order is not None:
            row = write(connection, self.made.order, self.before, f"order:{self.change.control}", context)
        if row is None:
            return ()
        detail = {"control": self.change.control, "status": self.change.order_status}
        entry = AuditEntry(f"order.{self.made.action}", "order", row, detail)
        if self.made.order is None or _same_numbers(self.made.order, self.before):
            return (entry,)
        return (entry, *waiting.settle(connection, row, write, context))


def _same_numbers(one: Order, other: Order | None) -> bool:
    return other is not None and (one.placer, one.filler) == (other.placer, other.filler)


def story(connection: Connection, change: OrderChange, context: Context, mint: Minter) -> PlannedOrder:
    """Plan one order change."""
    row = orders_read.find_order(connection, change.filler, change.placer, change.accession)
    uids = [procedure.study_instance_uid for procedure in change.procedures if procedure.study_instance_uid]
    stored = orders_read.load_order(connection, row) if row is not None else None
    situation = plan.Situation(
        stored=stored,
        patient=orders_read.find_patient(connection, change.patient.patient_id, change.patient.issuer),
        owners=orders_read.study_owners(connection, uids),
        received=context.received,
        default_station=context.default_station,
        mint=mint,
    )
    return PlannedOrder(change, plan.make(change, situation), stored)


def write(
    connection: Connection,
    order: Order,
    stored: Order | None,
    cause: str,
    context: Context,
    reopened: Collection[int] = (),
) -> int:
    """Write an order as planned, `stored` being what was there; its row.

    Steps that have ended keep their answers, but for the `reopened` ones (rows). `cause` says in the event log why
    steps changed their status: `order:CA`, `appointment:S15`.
    """
    at, patient = context.at.timestamp(), order.patient
    before = orders_read.find_patient(connection, patient.patient_id, patient.issuer)
    if before is None or before.attributes != patient.attributes:
        patient_row = orders.save_patient(connection, patient, at)
    else:
        patient_row = before.row or 0
    request = orders.save_request(connection, order, patient_row, at)
    old = {step.row: step for step in stored.steps()} if stored else {}
    for procedure in order.procedures:
        owner = orders.save_procedure(connection, procedure, request)
        for step in procedure.steps:
            known = old.get(step.row)
            if known is not None and known.status in lifecycle.ENDED and step.row not in reopened:
                continue
            index = answers.index(patient, answers.build(order, procedure, step))
            row = orders.save_step(connection, step, procedure, owner, order.accession, index, at)
            if known is None or known.status != step.status:
                changed = events.Changed(row, known.status if known else "", step.status)
                events.record(connection, request, changed, cause, context)
    if before is not None and before.attributes != patient.attributes:
        propagate(connection, before, replace(patient, row=before.row), request, at)
    return request


def propagate(connection: Connection, before: Patient, after: Patient, other_than: int | None, at: float) -> None:
    """Show changed demographics in the open steps of a patient's orders, but for those of one order."""
    assert before.row is not None
    for open_ in orders_read.open_answers(connection, before.row, lifecycle.OPEN, other_than):
        answer = answers.with_patient(open_.answer, before, after)
        orders.save_index(connection, open_.step, answers.index(after, answer), at)
