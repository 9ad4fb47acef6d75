"""Decides what an appointment changes in the steps of an order.

A cancelled appointment leaves its steps in their status but without a start: they are to be scheduled again, and are in
no worklist. A step that has started or ended is not moved. There is one exception: a patient who did not come (S26) is
given a new time (S13), and the step is scheduled again, if an appointment and nothing else has ended it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from broker.model.order import Document, Order, Step, StepStatus
from broker.orders.core import lifecycle
from broker.orders.core.appointments import END, START, AppointmentAction, Slot
from broker.orders.core.lifecycle import Action, Effect
from broker.orders.core.values import merged

_STATION = "ScheduledStationAETitle"
REOPENS = "S13"
_ACTIONS = {
    AppointmentAction.NO_SHOW: (Action.DISCONTINUE, StepStatus.DISCONTINUED),
    AppointmentAction.START: (Action.START, StepStatus.STARTED),
    AppointmentAction.COMPLETE: (Action.COMPLETE, StepStatus.COMPLETED),
}


@dataclass(frozen=True, slots=True)
class Wish:
    """What is wanted of which steps: of those that fit the services.

    `own` are rows of steps that this appointment has booked: what ends it means these. `others` are rows of steps that
    other appointments have booked: they are not ended by this one. `no_shows` are rows of steps that an appointment
    has ended.
    """

    asked: AppointmentAction
    event: str
    slots: tuple[Slot, ...]
    cancels: bool = False
    own: frozenset[int] = frozenset()
    others: frozenset[int] = frozenset()
    no_shows: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Booked:
    """An order after an appointment; steps by their rows.

    `moved` were open and are as wanted now, `late` had started or ended, of the moved `reopened` begin again.
    `unmatched` is how many services of the appointment fit no step.
    """

    order: Order
    moved: frozenset[int]
    late: frozenset[int]
    reopened: frozenset[int]
    unmatched: int


def booked(order: Order, wish: Wish, default_station: str) -> Booked:
    """A stored order after an appointment."""
    rows = [step.row or 0 for step in order.steps()]
    if wish.own and wish.asked is not AppointmentAction.BOOK:
        meant = {row: Slot(frozenset(), {}) for row in rows if row in wish.own}
        unmatched = 0
    else:
        by_step = assigned(order, wish.slots)
        unmatched = len(wish.slots) - len(set(by_step.values()))
        left = () if wish.asked is AppointmentAction.BOOK else wish.others
        meant = {rows[at]: wish.slots[number] for at, number in by_step.items() if rows[at] not in left}
    late: set[int] = set()
    reopened: set[int] = set()
    procedures = []
    for procedure in order.procedures:
        steps = []
        for step in procedure.steps:
            row = step.row or 0
            after = _after(step, wish, meant[row], default_station) if row in meant else step
            if after is None:
                late.add(row)
            elif after.status == StepStatus.SCHEDULED != step.status:
                reopened.add(row)
            steps.append(after or step)
        procedures.append(replace(procedure, steps=tuple(steps)))
    moved = frozenset(meant.keys() - late)
    return Booked(replace(order, procedures=tuple(procedures)), moved, frozenset(late), frozenset(reopened), unmatched)


def _after(step: Step, wish: Wish, slot: Slot, default_station: str) -> Step | None:
    """A step as wanted; None if it is too late for that."""
    if wish.asked in _ACTIONS:
        action, target = _ACTIONS[wish.asked]
        if step.status == target and (wish.asked is not AppointmentAction.NO_SHOW or step.row in wish.no_shows):
            return step
        effect, status = lifecycle.apply(action, step.status)
        return replace(step, status=status) if effect is Effect.APPLY else None
    if wish.asked is AppointmentAction.UNBOOK or slot.removed:
        if step.status not in lifecycle.WAITING:
            return None
        if wish.cancels and not slot.removed:
            return replace(step, status=StepStatus.CANCELED)
        return replace(step, attributes=merged(step.attributes, dict.fromkeys((*START, *END), "")))
    attributes = merged(step.attributes, slot.attributes)
    if not attributes.get(_STATION):
        attributes[_STATION] = [default_station]
    if step.status in lifecycle.WAITING:
        return replace(step, attributes=attributes)
    reopens = wish.event == REOPENS and step.row in wish.no_shows and step.status == StepStatus.DISCONTINUED
    return replace(step, status=StepStatus.SCHEDULED, attributes=attributes) if reopens else None


def assigned(order: Order, slots: Sequence[Slot]) -> dict[int, int]:
    """Which service each step belongs to: positions among the order's steps, and among the services.

    By a code that the service and the step's protocol share, or the service and the requested procedure; several
    services of one code take one step each. Then by position. A single service that fits no code means all steps.
    """
    steps = [
        (codes_of(s, "ScheduledProtocolCodeSequence"), codes_of(p, "RequestedProcedureCodeSequence"))
        for p, s in ((p.attributes, s.attributes) for p in order.procedures for s in p.steps)
    ]
    by_step: dict[int, int] = {}
    free = list(range(len(slots)))
    for level in (0, 1):
        for number in list(free):
            codes = slots[number].codes
            fit = [at for at in range(len(steps)) if at not in by_step and codes & steps[at][level]]
            alone = not any(codes & slots[other].codes for other in range(len(slots)) if other != number)
            for at in fit if alone else fit[:1]:
                by_step[at] = number
            if fit:
                free.remove(number)
    left = [at for at in range(len(steps)) if at not in by_step]
    if len(slots) == 1 and free:
        return dict.fromkeys(left, 0)
    return {**by_step, **dict(zip(left, free, strict=False))}


def codes_of(attributes: Document, keyword: str) -> frozenset[str]:
    """Codes of the items of a code sequence, case folded."""
    items = attributes.get(keyword) or ()
    return frozenset(str(item.get("CodeValue") or item.get("LongCodeValue") or "").casefold() for item in items) - {""}
