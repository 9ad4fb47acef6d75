"""Says which orders and performed steps are over, and deletes them with all that is theirs.

An order is over when each of its steps ended long ago, or is open and its day is as long past. Nothing of it may still
wait: an object, a delivery, a message to the RIS, a performed step that a person must look at. What comes for it after
that finds no order, as if none had ever been here.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, tzinfo
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, ScalarSelect, Select, Table, and_, delete, func, or_, select

from broker.model.lane import UNFINISHED, JobKind
from broker.model.order import StepStatus
from broker.model.performed import PerformedStatus
from broker.store.db.pace import padded
from broker.store.images.instances import InstanceState
from broker.store.schema import tables
from broker.store.thinning import Condition, ThinningRule

_ENDED = (StepStatus.COMPLETED, StepStatus.DISCONTINUED, StepStatus.CANCELED)
_request, _procedure, _step = tables.service_request, tables.requested_procedure, tables.scheduled_step
_event, _order_link, _instance, _job = tables.step_event, tables.order_link, tables.instance, tables.job
_mpps, _link, _message = tables.mpps, tables.mpps_link, tables.mpps_message
_linked, _sibling = _procedure.alias("linked"), _step.alias("sibling")


def orders(zone: tzinfo) -> ThinningRule:
    """Orders with their procedures, steps and events. `zone` is that of the days of steps."""
    over = _at_wall(zone, _order_is_over)
    return ThinningRule(name="orders", age=_request.c.created_at, over=over, noted="order", beside=_drop_below_orders)


def performed(zone: tzinfo) -> ThinningRule:
    """Performed steps (MPPS) with their messages, once the orders they mean are over too, or they mean none."""
    over = _at_wall(zone, _performed_is_over)
    return ThinningRule(name="mpps", age=_mpps.c.created_at, over=over, noted="mpps", beside=_drop_below_performed)


def _at_wall(zone: tzinfo, over: Any) -> Condition:
    def condition(before: float) -> ColumnElement[bool]:
        wall = datetime.fromtimestamp(before, zone).strftime("%Y%m%d%H%M%S")
        return and_(*over(before, wall))

    return condition


def _none(query: Select[Any]) -> ColumnElement[bool]:
    """No row, as a scalar subquery (see `store.thinning`)."""
    return query.limit(1).scalar_subquery().is_(None)


def _stays(step: Any, before: float, wall: str) -> ColumnElement[bool]:
    """A step that changed since, or is open and not as long past. Without a day it counts by its last change."""
    return or_(step.c.status_at >= before, and_((step.c.status + "").not_in(_ENDED), step.c.start_at >= wall))


def _has_objects(study: Column[Any]) -> ColumnElement[bool]:
    """An object of the study is not purged: a delivery of it, or a person, may still need its exam."""
    return and_(_instance.c.study_instance_uid == study, (_instance.c.state + "") != InstanceState.PURGED)


def _order_is_over(before: float, wall: str) -> list[ColumnElement[bool]]:
    here = _procedure.c.request == _request.c.id
    steps = select(_step.c.id).select_from(_procedure).join(_step).where(here)
    told = steps.join(_event, _event.c.step == _step.c.id).join(_job, _job.c.subject == _event.c.id)
    images = select(_job.c.id).select_from(_procedure).join(_job, _job.c.subject == _procedure.c.id).where(here)
    objects = select(_instance.c.id).select_from(_procedure)
    others = [
        select(_step.c.id)
        .select_from(_order_link)
        .join(_procedure, _procedure.c.request == other)
        .join(_step, _step.c.procedure == _procedure.c.id)
        .where(mine == _request.c.id, _stays(_step, before, wall))
        for mine, other in (
            (_order_link.c.request, _order_link.c.other),
            (_order_link.c.other, _order_link.c.request),
        )
    ]
    naming = (tables.appointment, tables.idempotency, tables.source_item)
    return [
        _request.c.created_at < before,
        _request.c.updated_at < before,
        _none(steps.where(_stays(_step, before, wall))),
        _none(steps.join(_link, _link.c.step == _step.c.id)),
        _none(told.where(_job.c.kind + "" == JobKind.FEEDBACK)),
        _none(images.where(_job.c.kind + "" == JobKind.IMAGES, (_job.c.state + "").in_(UNFINISHED))),
        _none(objects.join(_instance, _has_objects(_procedure.c.study_instance_uid)).where(here)),
        *map(_none, others),
        *(_none(select(table.c.request).where(table.c.request == _request.c.id)) for table in naming),
        *_no_newest_of_an_order(),
    ]


def _no_newest_of_an_order() -> list[ColumnElement[bool]]:
    """SQLite would give the number of the last row again, and jobs and the audit trail have it."""
    procedures, of = _procedure.alias("newest_procedure"), _procedure.alias("of_newest")
    steps, events = _step.alias("newest_step"), _event.alias("newest_event")
    with_procedure = select(procedures.c.request).where(procedures.c.id == _newest(_procedure))
    with_step = select(of.c.request).select_from(steps).join(of, of.c.id == steps.c.procedure)
    of_event = select(events.c.step).where(events.c.id == _newest(_event)).scalar_subquery()
    owners = (with_procedure, with_step.where(steps.c.id == _newest(_step)), with_step.where(steps.c.id == of_event))
    return [
        _request.c.id < _newest(_request),
        *(_request.c.id != func.coalesce(owner.scalar_subquery(), 0) for owner in owners),
    ]


def _newest(table: Table) -> ScalarSelect[Any]:
    return select(func.max(table.alias().c.id)).scalar_subquery()


def _performed_is_over(before: float, wall: str) -> list[ColumnElement[bool]]:
    steps = select(_step.c.id).select_from(_link).join(_step, _step.c.id == _link.c.step)
    steps = steps.where(_link.c.mpps == _mpps.c.id)
    procedures = steps.join(_linked, _linked.c.id == _step.c.procedure)
    siblings = procedures.join(_procedure, _procedure.c.request == _linked.c.request).join(
        _sibling, _sibling.c.procedure == _procedure.c.id
    )
    told = select(_job.c.id).select_from(_message).join(_job, _job.c.subject == _message.c.id)
    told = told.where(_message.c.mpps == _mpps.c.id, (_job.c.kind + "").in_((JobKind.MPPS, JobKind.MPPS_EVENT)))
    changes = (_job.c.kind + "").like(f"{JobKind.MPPS_CHANGE}-%")
    named = select(_instance.c.id).select_from(_link).join(_instance, _has_objects(_link.c.study_instance_uid))
    status, messages = _mpps.c.status + "", _message.alias()
    owner = select(messages.c.mpps).where(messages.c.id == _newest(_message)).scalar_subquery()
    return [
        _mpps.c.created_at < before,
        _mpps.c.updated_at < before,
        status != PerformedStatus.IN_PROGRESS,
        or_(status != PerformedStatus.COMPLETED, _mpps.c.compared_at.is_not(None)),
        _mpps.c.attention + "" == "",
        _none(siblings.where(_stays(_sibling, before, wall))),
        _none(told),
        _none(select(_job.c.id).where(_job.c.subject == _mpps.c.id, changes)),
        _none(named.where(_link.c.mpps == _mpps.c.id)),
        _none(procedures.join(_instance, _has_objects(_linked.c.study_instance_uid))),
        _mpps.c.id < _newest(_mpps),
        _mpps.c.id != func.coalesce(owner, 0),
    ]


def _drop_below_orders(connection: Connection, keys: Sequence[int]) -> None:
    """Delete what belongs to orders (rows). That a first image was told goes too: its study has no order any more."""
    procedures = _rows(connection, _procedure.c.id, _procedure.c.request, keys)
    steps = _rows(connection, _step.c.id, _step.c.procedure, procedures)
    told = (_job.c.kind + "" == JobKind.IMAGES, _job.c.id < _newest(_job))
    jobs = select(_job.c.id).where(_job.c.subject.in_(padded(procedures)), *told)
    _delete(connection, _job.c.id, list(connection.execute(jobs).scalars()))
    _delete(connection, _event.c.id, _rows(connection, _event.c.id, _event.c.step, steps))
    for column in (tables.step_name.c.step, tables.step_station.c.step, _step.c.id):
        _delete(connection, column, steps)
    _delete(connection, _procedure.c.id, procedures)
    _delete(connection, _order_link.c.request, keys)
    _delete(connection, _order_link.c.other, keys)


def _drop_below_performed(connection: Connection, keys: Sequence[int]) -> None:
    for column in (_message.c.mpps, _link.c.mpps, tables.kept_back.c.mpps):
        _delete(connection, column, keys)


def _rows(connection: Connection, column: Column[Any], of: Column[Any], keys: Sequence[int]) -> list[int]:
    return list(connection.execute(select(column).where(of.in_(padded(keys)))).scalars())


def _delete(connection: Connection, column: Column[Any], keys: Sequence[int]) -> None:
    if keys:
        connection.execute(delete(column.table).where(column.in_(padded(keys))))
