"""Puts what a RIS is to be told into the queue, in the transaction of the change.

There is one job per node, in the lane of its feedback. The jobs about one order are a group, which the queue serves in
order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import uuid4

from sqlalchemy import Connection

from broker.hl7.acknowledgement import control_id
from broker.model.lane import JobKind, Lane, LaneKind
from broker.orders.core import lifecycle
from broker.orders.core.context import StoryContext
from broker.orders.telling import feedback
from broker.orders.telling.feedback import Notice, OrderEvent
from broker.site.nodes import Node
from broker.store import jobs
from broker.store.orders import feedback as store


def changed(connection: Connection, order: int, before: Mapping[int, str], event: int, context: StoryContext) -> None:
    """Steps of an order (row) have changed their status: tell the nodes that want to know.

    `before`: the former status of these steps by row, empty for new ones; `event`: the last row of the event log.
    """
    if not context.subscribers:
        return
    after = store.step_statuses(connection, order)
    former = [status for step, now in after.items() if (status := before.get(step, now))]
    news = feedback.event(former, list(after.values()))
    if news is None:
        return
    source = store.source(connection, order)
    nodes = feedback.audience(context.subscribers, news, source, context.sender)
    if nodes:
        said = feedback.state(after.values())
        _enqueue(connection, JobKind.FEEDBACK, event, nodes, order, news, said, context.at.timestamp())


def images(connection: Connection, study_instance_uid: str, at: float, subscribers: Sequence[Node]) -> bool:
    """An object of a study was received (`at` in seconds): tell the nodes that want to know, once per study.

    False if no order is known for the study: the next object may find one.
    """
    owner = store.procedure_of(connection, study_instance_uid)
    if owner is None:
        return False
    procedure, order = owner
    nodes = feedback.audience(subscribers, OrderEvent.IMAGES, store.source(connection, order))
    if nodes:
        said = feedback.state(store.step_statuses(connection, order).values())
        _enqueue(connection, JobKind.IMAGES, procedure, nodes, order, OrderEvent.IMAGES, said, at)
    return True


def _enqueue(
    connection: Connection,
    kind: JobKind,
    subject: int,
    nodes: Sequence[Node],
    order: int,
    event: OrderEvent,
    said: OrderEvent | None,
    at: float,
) -> None:
    """One job per node, each with a control id of its own."""
    status, result = feedback.codes(said)
    began, ended = store.performed(connection, order, lifecycle.WAITING)  # the modality knows better than our clock
    began = began if began is not None else store.began_at(connection, order, lifecycle.WAITING)
    ended = (at if ended is None else ended) if event in feedback.ENDS else None
    new = [
        jobs.NewJob(
            kind=kind,
            lane=Lane(LaneKind.FEEDBACK, node.name).name,
            subject=subject,
            detail=Notice(
                order=order,
                event=event,
                status=status,
                result=result,
                control_id=control_id(uuid4()),
                at=at,
                began=began,
                ended=ended,
            ).document(),
            group_key=f"order:{order}",
        )
        for node in nodes
    ]
    jobs.enqueue(connection, new, at)
