"""Joins what the groups of one message say of the same order, procedure or step, and checks them against each other."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from broker.hl7.codes import ErrorCode
from broker.orders.core import lifecycle
from broker.orders.core.lifecycle import Action
from broker.orders.core.values import OrderChange, OrderKeys, ProcedureChange, StepChange
from broker.orders.inbound.doubts import Findings


def join(changes: Iterable[OrderChange], findings: Findings) -> tuple[OrderChange, ...]:
    """One change for each order. Groups with the same order numbers are one order."""
    orders: list[OrderChange] = []
    for change in changes:
        same = next((index for index, other in enumerate(orders) if _same_order(other, change)), None)
        if same is None:
            orders.append(change)
        else:
            orders[same] = _joined(orders[same], change, findings)
    _check_uids(orders, findings)
    return tuple(_replacing(orders, findings))


def _same_order(one: OrderChange, other: OrderChange) -> bool:
    # parent and child, old and new one may share the placer order number
    if one.control != other.control and {one.control, other.control} & {"PA", "CH", "RO"}:
        return False
    for mine, its in ((one.filler, other.filler), (one.placer, other.placer)):
        if mine.number and its.number:
            return mine == its
    return bool(one.accession) and one.accession == other.accession


def _joined(one: OrderChange, other: OrderChange, findings: Findings) -> OrderChange:
    if (one.control, one.order_status) != (other.control, other.order_status):
        findings.add(other.control_location, ErrorCode.DATA_TYPE, "Order control differs within one order")
    procedures = one.procedures
    for procedure in other.procedures:
        procedures = with_procedure(procedures, procedure, findings)
    return replace(
        one,
        procedures=procedures,
        accession=one.accession or other.accession,
        placer=one.placer if one.placer.number else other.placer,
        filler=one.filler if one.filler.number else other.filler,
        visit={**other.visit, **one.visit},
        request={**other.request, **one.request},
    )


def with_procedure(
    before: tuple[ProcedureChange, ...], added: ProcedureChange, findings: Findings
) -> tuple[ProcedureChange, ...]:
    """`before` with one more procedure of one step, joined where it is the same procedure."""
    for index, other in enumerate(before):
        if other.requested_procedure_id == added.requested_procedure_id:
            if other.study_instance_uid != added.study_instance_uid:
                findings.add(
                    added.uid_location, ErrorCode.DATA_TYPE, "Study Instance UID differs within one requested procedure"
                )
            attributes = {**added.attributes, **other.attributes}
            joined = replace(other, attributes=attributes, steps=_with_step(other.steps, added.steps[0]))
            return (*before[:index], joined, *before[index + 1 :])
    return (*before, added)


def _with_step(before: tuple[StepChange, ...], added: StepChange) -> tuple[StepChange, ...]:
    for index, other in enumerate(before):
        if added.step_id and other.step_id == added.step_id:
            keyword = "ScheduledProtocolCodeSequence"
            codes = [*other.attributes.get(keyword, [])]
            codes += [item for item in added.attributes.get(keyword, []) if item not in codes]
            attributes = {**added.attributes, **other.attributes, **({keyword: codes} if codes else {})}
            joined = replace(other, attributes=attributes, stations=other.stations or added.stations)
            return (*before[:index], joined, *before[index + 1 :])
    return (*before, added)


def _replacing(orders: list[OrderChange], findings: Findings) -> list[OrderChange]:
    """RO takes the place of all that RP or RU of the same message end. Each must have a number of its own."""
    replaced = tuple(OrderKeys(order.placer, order.filler) for order in orders if order.control in lifecycle.REPLACED)
    for order in orders:
        others = (
            replaced if order.control == "RO" else (order.parent,) if order.control == "CH" and order.parent else ()
        )
        if any(_same_keys(order, keys) for keys in others):
            findings.add(order.control_location, ErrorCode.DUPLICATE_KEY, "The order has no number of its own")
    return [replace(order, replaces=replaced) if order.control == "RO" else order for order in orders]


def _same_keys(order: OrderChange, keys: OrderKeys) -> bool:
    if order.filler.number and keys.filler.number:
        return order.filler == keys.filler
    return order.placer == keys.placer


def _check_uids(orders: list[OrderChange], findings: Findings) -> None:
    """One Study Instance UID is one requested procedure, of those that are written: a ZDS belongs to RO, not to RP."""
    seen: set[str] = set()
    written = (order for order in orders if lifecycle.action(order.control, order.order_status) is Action.WRITE)
    for procedure in (procedure for order in written for procedure in order.procedures):
        uid = procedure.study_instance_uid
        if uid in seen:
            findings.add(
                procedure.uid_location, ErrorCode.DATA_TYPE, "One Study Instance UID for several requested procedures"
            )
        if uid:
            seen.add(uid)
