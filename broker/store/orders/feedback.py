"""Reads what feedback to a RIS needs of orders: their state, their source, since when they are worked on."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, func, select

from broker.store.db.prepared import Prepared
from broker.store.schema import tables

_step, _procedure, _request, _event = (
    tables.scheduled_step.c,
    tables.requested_procedure.c,
    tables.service_request.c,
    tables.step_event.c,
)
_STEPS = Prepared(
    any=select(_step.id, _step.status)
    .join_from(tables.scheduled_step, tables.requested_procedure)
    .where(_procedure.request == bindparam("order"))
)
# in the path of every object that arrives, while a node wants to hear of images
_STUDY = Prepared(
    any=select(_procedure.id, _procedure.request).where(_procedure.study_instance_uid == bindparam("uid"))
)


def step_statuses(connection: Connection, order: int) -> dict[int, str]:
    """Status of each step of an order, by the row of the step."""
    return {int(row): status for row, status in _STEPS.rows(connection, {"order": order})}


def source(connection: Connection, order: int) -> str:
    """`MSH-3|MSH-4` of the message that made an order; empty if it came another way."""
    return str(connection.execute(select(_request.source).where(_request.id == order)).scalar_one())


def began_at(connection: Connection, order: int, waiting: Sequence[str]) -> float | None:
    """When the first step that is no longer in one of the `waiting` statuses was started, in seconds; None if none."""
    query = (
        select(func.min(_event.at))
        .join_from(tables.step_event, tables.scheduled_step)
        .join(tables.requested_procedure)
        .where(_procedure.request == order, _event.after == "STARTED", _step.status.not_in(waiting))
    )
    found: float | None = connection.execute(query).scalar()
    return found


def performed(connection: Connection, order: int, waiting: Sequence[str]) -> tuple[float | None, float | None]:
    """When the work on an order began and ended by what modalities say (MPPS), in seconds; None for what none says.

    Of steps that are in none of the `waiting` statuses.
    """
    query = (
        select(func.min(tables.mpps.c.started_at), func.max(tables.mpps.c.ended_at))
        .join_from(tables.requested_procedure, tables.scheduled_step)
        .join(tables.mpps_link, tables.mpps_link.c.step == _step.id)
        .join(tables.mpps)
        .where(_procedure.request == order, _step.status.not_in(waiting))
    )
    began, ended = connection.execute(query).one()
    return began, ended


def procedure_of(connection: Connection, study_instance_uid: str) -> tuple[int, int] | None:
    """Rows of the requested procedure and the order that a study belongs to; None for an unknown one."""
    for procedure, order in _STUDY.rows(connection, {"uid": study_instance_uid}):
        return int(procedure), int(order)
    return None
