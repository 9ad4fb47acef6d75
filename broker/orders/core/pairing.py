"""Finds which stored procedure and step each one of a change means."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from broker.model.order import Procedure, Step
from broker.orders.core.values import ProcedureChange, StepChange


def procedure(change: ProcedureChange, stored: Sequence[Procedure], taken: Collection[int]) -> int | None:
    """The index of the stored procedure that a change means: by its identifier, its study, else the next one."""
    free = [index for index in range(len(stored)) if index not in taken]
    number, study = change.requested_procedure_id, change.study_instance_uid
    tests = (
        lambda p: bool(number) and p.requested_procedure_id == number,
        lambda p: bool(study) and p.study_instance_uid == study,
        # an identifier of ours gives way to one of the message, none of the message means the next one
        lambda p: not (change.apart and study) and (not number or "RequestedProcedureID" not in p.attributes),
    )
    return next((index for test in tests for index in free if test(stored[index])), None)


def step(
    change: StepChange, position: int, stored: Sequence[Step], taken: Collection[int], named: Collection[str]
) -> int | None:
    """The index of the stored step that a change means, the `position`-th one: by its identifier, else by its place.

    `named` are the identifiers of all steps of the change.
    """
    for index, other in enumerate(stored):
        if change.step_id and other.step_id == change.step_id and index not in taken:
            return index
    if change.apart or position >= len(stored) or position in taken or stored[position].step_id in named:
        return None
    ours = "ScheduledProcedureStepID" not in stored[position].attributes
    return position if ours or not change.step_id else None
