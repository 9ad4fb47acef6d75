"""Tells which of several orders with one number a message means, and whether two of them can be one exam."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from broker.model.order import Order, Procedure
from broker.orders.core import plan, uniqueness
from broker.orders.core.identifiers import is_ours
from broker.orders.core.values import OrderChange, PatientChange
from broker.store.orders import reading

HAVE_IT = "Several orders have this number"


def meant(connection: Connection, rows: Sequence[int], change: OrderChange) -> list[int]:
    """Of several orders with the number of a change, those of its patient and, among these, of its exam."""
    orders = [reading.load_order(connection, row) for row in rows]
    mine = _of_patient(orders, change.patient)
    named = [order for order in mine if uniqueness.named(change, order)]
    alike = [order for order in mine if not uniqueness.differences(change, order)]
    return [order.row or 0 for order in named or alike or mine or orders]


def of_patient(connection: Connection, rows: Sequence[int], patient: PatientChange | None) -> list[int]:
    """Of the orders (rows) that a number means those of a patient; all of them if none is, or nobody is named."""
    if len(rows) < 2 or patient is None:
        return list(rows)
    mine = _of_patient([reading.load_order(connection, row) for row in rows], patient)
    return [order.row or 0 for order in mine] or list(rows)


def _of_patient(orders: Sequence[Order], patient: PatientChange) -> list[Order]:
    return [order for order in orders if plan.same_patient(order.patient, patient)]


def one_exam(one: Order, other: Order) -> bool:
    """True if two orders of one patient with one number can be the same exams, told twice.

    Nothing that senders gave both of them may differ, but for the start and the station, which changes move.
    """
    numbers = ((one.placer, other.placer), (one.filler, other.filler))
    if one.patient.row != other.patient.row or any(_apart(mine.number, its.number) for mine, its in numbers):
        return False
    mine, its = ({order.placer.number, order.filler.number} for order in (one, other))
    if _apart(
        *("" if is_ours(number) or number in mine | its else number for number in (one.accession, other.accession))
    ):
        return False
    if len(one.procedures) != len(other.procedures):
        return False
    return all(_one_procedure(first, second) for first, second in zip(one.procedures, other.procedures, strict=True))


def _one_procedure(one: Procedure, other: Procedure) -> bool:
    named, its = uniqueness.procedure_names(one.attributes), uniqueness.procedure_names(other.attributes)
    studies = [
        "" if uid.startswith(uniqueness.OUR_UIDS) else uid for uid in (one.study_instance_uid, other.study_instance_uid)
    ]
    ids = [procedure.attributes.get("RequestedProcedureID", "") for procedure in (one, other)]
    if (named and its and not named & its) or _apart(*studies) or _apart(*ids) or len(one.steps) != len(other.steps):
        return False
    return not any(
        _apart(mine.attributes.get(keyword, ""), its.attributes.get(keyword, ""))
        for mine, its in zip(one.steps, other.steps, strict=True)
        for keyword in ("ScheduledProcedureStepID", "Modality")
    )


def _apart(one: str, other: str) -> bool:
    return bool(one and other and one != other)
