"""Finds the order and the steps that an imported item means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection

from broker.model.order import Order, Step
from broker.orders.core import plan
from broker.orders.core.context import StoryContext
from broker.orders.core.identifiers import Minter, accession
from broker.orders.core.values import OrderChange, ProcedureChange, StepChange
from broker.store.orders import by_number

_START = ("ScheduledProcedureStepStartDate", "ScheduledProcedureStepStartTime")


def order_of(connection: Connection, change: OrderChange) -> int | None:
    """The order (row) that its numbers name, or its study."""
    row = by_number.find_order(connection, change.filler, change.placer, change.accession)
    if row is None:
        owners = (by_number.find_study(connection, procedure.study_instance_uid) for procedure in change.procedures)
        row = next((owner for owner in owners if owner is not None), None)
    return row


def named(change: OrderChange, stored: Order | None, context: StoryContext) -> OrderChange:
    """The change with the numbers by which the order is found; a new order without any gets one of ours.

    An item of a known order is a change of it (XX): its steps are told apart, so it is never taken for another order.
    """
    if stored is not None:
        return replace(
            change,
            control="XX" if any(procedure.apart for procedure in change.procedures) else change.control,
            row=stored.row,
            filler=stored.filler if stored.filler.number else change.filler,
            placer=stored.placer if stored.placer.number else change.placer,
            accession=change.accession or stored.accession,
        )
    if accession(change.accession, "", change.filler.number, change.placer.number):
        return change
    return replace(change, accession=Minter(context.token).short("ACC"))


def stepped(change: OrderChange, stored: Order | None, default_station: str) -> OrderChange:
    """The change with the identifier of the stored step for each step that has none but the same stations and start.

    Another server need not give identifiers. Two steps of one order at different stations or times are two steps.
    """
    if stored is None:
        return change
    taken: set[int] = set()
    procedures: list[ProcedureChange] = []
    for procedure in change.procedures:
        index = plan.meant_procedure(procedure, stored.procedures, taken)
        steps: Sequence[Step] = ()
        if index is not None:
            taken.add(index)
            steps = stored.procedures[index].steps
        procedures.append(replace(procedure, steps=_identified(procedure.steps, steps, default_station)))
    return replace(change, procedures=tuple(procedures))


def _identified(changes: Sequence[StepChange], stored: Sequence[Step], default: str) -> tuple[StepChange, ...]:
    named = {change.step_id for change in changes if change.step_id}
    free = [step for step in stored if step.step_id not in named]
    found: list[StepChange] = []
    for change in changes:
        open_to_all = change.apart and not change.step_id
        same = None if not open_to_all else next((step for step in free if _same(change, step, default)), None)
        if same is not None:
            free.remove(same)
            change = replace(change, step_id=same.step_id)
        found.append(change)
    return tuple(found)


def _same(change: StepChange, step: Step, default: str) -> bool:
    """The same stations, and the same start where one is told."""
    start = [change.attributes.get(keyword, "") for keyword in _START]
    same = not any(start) or start == [step.attributes.get(keyword, "") for keyword in _START]
    return same and set(change.stations or (default,)) == set(step.stations)


def steps_of(stored: Order, change: OrderChange) -> list[tuple[StepChange, Step | None]]:
    """Each step of a change (`stepped`) with the stored one."""
    taken: set[int] = set()
    pairs: list[tuple[StepChange, Step | None]] = []
    for procedure in change.procedures:
        index = plan.meant_procedure(procedure, stored.procedures, taken)
        known = {}
        if index is not None:
            taken.add(index)
            known = {step.step_id: step for step in stored.procedures[index].steps}
        pairs += [(step, known.get(step.step_id) if step.step_id else None) for step in procedure.steps]
    return pairs
