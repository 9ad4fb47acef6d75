"""Carries out what a person decides about a performed procedure step: its scheduled step, or none, and its end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from sqlalchemy import Connection

from broker.errors import BrokerError
from broker.model.order import Document
from broker.model.performed import Linking, PerformedStatus, PerformedStep
from broker.mpps import passing_on
from broker.mpps.attributes import STATUS
from broker.mpps.checks import FINAL
from broker.mpps.passing_on import MppsEvent
from broker.mpps.recording import advanced, keep_back, locked, told
from broker.orders.core.context import StoryContext
from broker.orders.lookup import matching
from broker.orders.stories import performing, writing
from broker.site.nodes import Node
from broker.store.mpps import performed_steps
from broker.store.orders import reading


class Undecided(BrokerError):
    """The decision cannot be carried out; the text says why, without values."""

    code = "mpps-undecided"

    def __init__(self, kind: Literal["missing", "conflict"], text: str) -> None:
        super().__init__(text)
        self.kind = kind


def link(connection: Connection, row: int, step: int, position: int | None, context: StoryContext) -> None:
    """Link an item (the first that has none, or the one at `position` from 0) of an MPPS (row) to a step (row).

    The patient may differ: a person has looked. Raises Undecided.
    """
    performed = _locked(connection, row)
    items = performed_steps.links(connection, row)
    chosen = [item for item in items if item.step is None if position is None or item.position == position]
    if not chosen:
        raise Undecided("conflict", "No such item without a step")
    if performed_steps.order_of(connection, step) is None:
        raise Undecided("missing", "No such scheduled step")
    reading.lock(connection, performing.lock_names(connection, [step]))
    performed_steps.set_link(connection, row, chosen[0].position, step, "person")
    linking = matching.summary((item.step, item.reason) for item in performed_steps.links(connection, row))
    other = performed.attention if performed.attention not in matching.WAITING else ""  # what linking does not settle
    updated = replace(
        performed, linking=linking, attention=other or matching.waits(linking), **_next(performed, context)
    )
    performed_steps.save(connection, updated)
    told(connection, updated, [step], "linked", context)
    _audit(connection, row, "linked", {"step": step, "item": chosen[0].position}, context)


def set_aside(connection: Connection, row: int, reason: str, context: StoryContext) -> None:
    """Nobody needs to look at an MPPS (row) any more; what is linked stays so. Raises Undecided."""
    performed = _locked(connection, row)
    linking = performed.linking if performed.linking == Linking.LINKED else Linking.SET_ASIDE
    performed_steps.save(connection, replace(performed, linking=linking, attention="", **_next(performed, context)))
    _audit(connection, row, "set-aside", {"reason": reason}, context)


def end(
    connection: Connection,
    row: int,
    status: str,
    reason: str,
    context: StoryContext,
    listeners: Sequence[Node] = (),
    lanes: Sequence[str] = (),
) -> None:
    """End an MPPS (row) that is IN PROGRESS as COMPLETED or DISCONTINUED in place of its modality. Raises Undecided.

    `listeners` are told of it by N-EVENT-REPORT; for `lanes` see `recording.keep_back`.
    """
    performed = _locked(connection, row)
    if performed.status in FINAL:
        raise Undecided("conflict", "The performed procedure step has ended")
    updated = replace(advanced(performed, {**performed.document, STATUS: status}, ["ended-by-person"], context))
    performed_steps.save(connection, updated)
    steps = [item.step for item in performed_steps.links(connection, row) if item.step is not None]
    told(connection, updated, steps, status.lower(), context)
    keep_back(connection, updated, lanes)
    event = MppsEvent.COMPLETED if status == PerformedStatus.COMPLETED else MppsEvent.DISCONTINUED
    passing_on.tell_change(connection, listeners, row, updated.revision, event, context.at.timestamp())
    _audit(connection, row, "ended", {"status": status, "reason": reason}, context)


def _locked(connection: Connection, row: int) -> PerformedStep:
    known = performed_steps.load(connection, row)
    performed = locked(connection, known.sop_instance_uid) if known else None
    if performed is None:
        raise Undecided("missing", "No such performed procedure step")
    return performed


def _next(performed: PerformedStep, context: StoryContext) -> Document:
    return {"revision": performed.revision + 1, "updated_at": context.at.timestamp()}


def _audit(connection: Connection, row: int, action: str, detail: Document, context: StoryContext) -> None:
    writing.audit(connection, context, f"mpps.{action}", "mpps", row, detail)
