"""The story of an order message: journal it, tell a repeat, decide, write; everything or nothing.

The answer is built inside the transaction so that it is stored with the message: a repeat gets the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection

from broker.hl7 import acknowledgement
from broker.hl7.findings import Finding
from broker.hl7.header import Header
from broker.orders import answer as answers
from broker.orders import lifecycle, plan
from broker.orders.identifiers import Minter
from broker.orders.values import Conversion, Order, OrderChange, Patient, Plan
from broker.store import messages, orders, orders_read
from broker.store.messages import Received


@dataclass(frozen=True, slots=True)
class Context:
    """What the story needs besides the message: a random token, the aware time of receipt on the site's clock."""

    token: UUID
    at: datetime
    default_station: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """The answer to send, its code, and what to log."""

    answer: bytes
    code: str
    findings: int = 0
    repeated: bool = False
    accession: str = ""


def take(
    connection: Connection, received: Received, header: Header, conversion: Conversion, context: Context
) -> Outcome:
    """Apply the order changes of a message. A refused message changes nothing but is journaled."""
    names = [f"message|{received.sender}|{received.control_id}"]
    orders_read.lock(connection, names + [name for change in conversion.orders for name in change.names()])
    stored = messages.stored_answer(connection, received)
    if stored is not None:
        return Outcome(stored[1], stored[0], repeated=True)
    codes = acknowledgement.codes_for(header)
    plans: list[Plan] = []
    if conversion.usable:
        mint = Minter(context.token)
        plans = [_plan(connection, change, context, mint) for change in conversion.orders]
    findings = conversion.findings + tuple(finding for made in plans for finding in made.findings)
    if any(finding.is_error for finding in findings):
        return refuse(connection, received, header, "AE", findings, context)
    note = "control-id-reused" if messages.control_id_used(connection, received) else ""
    code = codes["AA"]
    answer = acknowledgement.build(header, code, findings, token=context.token, at=context.at)
    row = messages.record(connection, received, accepted=True, answer_code=code, answer=answer, note=note)
    known: dict[tuple[str, str], Patient] = {}
    for change, made in zip(conversion.orders, plans, strict=True):
        _carry_out(connection, received, change, made, row, known)
    accession = next((made.order.accession for made in plans if made.order), "")
    return Outcome(answer, code, len(findings), accession=accession)


def refuse(
    connection: Connection,
    received: Received,
    header: Header,
    code: str,
    findings: tuple[Finding, ...],
    context: Context,
) -> Outcome:
    """Journal a message that is not accepted, with its answer (`code` is AE or AR)."""
    code = acknowledgement.codes_for(header)[code]
    answer = acknowledgement.build(header, code, findings, token=context.token, at=context.at)
    note = " ".join(f"{finding.location}:{finding.code}" for finding in findings[:10] if finding.is_error)
    messages.record(connection, received, accepted=False, answer_code=code, answer=answer, note=note)
    return Outcome(answer, code, len(findings))


def keep_unreadable(connection: Connection, received: Received, answer: bytes) -> Outcome:
    """Journal bytes without a usable MSH, answered AR."""
    messages.record(connection, received, accepted=False, answer_code="AR", answer=answer, note="unreadable")
    return Outcome(answer, "AR", 1)


def _plan(connection: Connection, change: OrderChange, context: Context, mint: Minter) -> Plan:
    row = orders_read.find_order(connection, change.filler, change.placer, change.accession)
    uids = [procedure.study_instance_uid for procedure in change.procedures if procedure.study_instance_uid]
    situation = plan.Situation(
        stored=orders_read.load_order(connection, row) if row is not None else None,
        patient=orders_read.find_patient(connection, change.patient.patient_id, change.patient.issuer),
        owners=orders_read.study_owners(connection, uids),
        received=context.at.strftime("%Y%m%d%H%M%S"),
        default_station=context.default_station,
        mint=mint,
    )
    return plan.make(change, situation)


def _carry_out(
    connection: Connection,
    received: Received,
    change: OrderChange,
    made: Plan,
    message: int,
    known: dict[tuple[str, str], Patient],
) -> None:
    """Write one plan and its audit row. `known` holds patients this message has written already."""
    at, row = received.received_at, made.row
    if made.order is not None:
        patient = made.order.patient
        order = made.order if patient.row is not None else _with_known(made.order, known)
        row = _write(connection, order, at)
        stored = orders_read.find_patient(connection, patient.patient_id, patient.issuer)
        if stored is not None:
            known[patient.patient_id, patient.issuer] = stored
    if row is not None:
        detail = {"message": message, "control": change.control, "status": change.order_status}
        orders.add_audit(connection, at, f"hl7:{received.sender}", f"order.{made.action}", "order", row, detail)


def _with_known(order: Order, known: dict[tuple[str, str], Patient]) -> Order:
    """An order of a new patient whom an earlier order of the same message has created."""
    patient = known.get((order.patient.patient_id, order.patient.issuer))
    if patient is None:
        return order
    return replace(order, patient=patient)


def _write(connection: Connection, order: Order, at: float) -> int:
    """Write an order as planned; steps that have ended keep their answers."""
    patient = order.patient
    before = orders_read.find_patient(connection, patient.patient_id, patient.issuer)
    if before is None or before.attributes != patient.attributes:
        patient_row = orders.save_patient(connection, patient, at)
    else:
        patient_row = before.row or 0
    request = orders.save_request(connection, order, patient_row, at)
    known = orders_read.load_order(connection, request).steps() if order.row is not None else ()
    stored = {step.row: step for step in known}
    for procedure in order.procedures:
        owner = orders.save_procedure(connection, procedure, request)
        for step in procedure.steps:
            old = stored.get(step.row)
            if old is not None and old.status in lifecycle.ENDED:
                continue
            index = answers.index(patient, answers.build(order, procedure, step))
            orders.save_step(connection, step, procedure, owner, order.accession, index, at)
    if before is not None and before.attributes != patient.attributes:
        _propagate(connection, before, patient, request, at)
    return request


def _propagate(connection: Connection, before: Patient, after: Patient, request: int, at: float) -> None:
    """Show changed demographics in the open steps of the patient's other orders."""
    assert before.row is not None
    for open_ in orders_read.open_answers(connection, before.row, lifecycle.OPEN, request):
        answer = answers.with_patient(open_.answer, before, after)
        orders.save_index(connection, open_.step, answers.index(after, answer), at)
