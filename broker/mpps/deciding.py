"""What a person decides about a performed procedure step: which scheduled step it means, or none, and its end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from sqlalchemy import Connection

from broker.errors import BrokerError
from broker.model.order import Document
from broker.model.performed import Linking, PerformedStatus, PerformedStep
from broker.mpps import notification
from broker.mpps.attributes import STATUS
from broker.mpps.checks import FINAL
from broker.mpps.notification import Event
from broker.mpps.recording import advanced, keep_back, locked, told
from broker.orders.core.story import Context
from broker.orders.stories import matching, performing
from broker.site.nodes import Node
from broker.store.mpps import performed_steps
from broker.store.orders import reading, saving


class Undecided(BrokerError):
    """The decision cannot be carried out; the text says why, without values."""

    code = "mpps-undecided"

    def __init__(self, kind: Literal["missing", "conflict"], text: str) -> None:
        super().__init__(text)
        self.kind = kind


def link(connection: Connection, row: int, step: int, position: int | None, context: Context) -> None:
    """Link an item (the first that has none, or the one at `position` from 0) of an MPPS (row) to a step (row).

    The patient may differ: a person has looked. Raises Undecided.
    """
    one = _locked(connection, row)
    items = performed_steps.links(connection, row)
    chosen = [item for item in items if item.step is None if position is None or item.position == position]
    if not chosen:
        raise Undecided("conflict", "No such item without a step")
    if performed_steps.order_of(connection, step) is None:
        raise Undecided("missing", "No such scheduled step")
    reading.lock(connection, performing.lock_names(connection, [step]))
    performed_steps.set_link(connection, row, chosen[0].position, step, "person")
    linking = matching.summary((item.step, item.reason) for item in performed_steps.links(connection, row))
    other = one.attention if one.attention not in matching.WAITING else ""  # what linking does not settle
    made = replace(one, linking=linking, attention=other or matching.waits(linking), **_next(one, context))
    performed_steps.save(connection, made)
    told(connection, made, [step], "linked", context)
    _audit(connection, row, "linked", {"step": step, "item": chosen[0].position}, context)


def set_aside(connection: Connection, row: int, reason: str, context: Context) -> None:
    """Nobody needs to look at an MPPS (row) any more; what is linked stays so. Raises Undecided."""
    one = _locked(connection, row)
    linking = one.linking if one.linking == Linking.LINKED else Linking.SET_ASIDE
    performed_steps.save(connection, replace(one, linking=linking, attention="", **_next(one, context)))
    _audit(connection, row, "set-aside", {"reason": reason}, context)


def end(
    connection: Connection,
    row: int,
    status: str,
    reason: str,
    context: Context,
    listeners: Sequence[Node] = (),
    lanes: Sequence[str] = (),
) -> None:
    """End an MPPS (row) that is IN PROGRESS as COMPLETED or DISCONTINUED in place of its modality. Raises Undecided.

    `listeners` are told of it by N-EVENT-REPORT; for `lanes` see `recording.keep_back`.
    """
    one = _locked(connection, row)
    if one.status in FINAL:
        raise Undecided("conflict", "The performed procedure step has ended")
    made = replace(advanced(one, {**one.document, STATUS: status}, ["ended-by-person"], context))
    performed_steps.save(connection, made)
    steps = [item.step for item in performed_steps.links(connection, row) if item.step is not None]
    told(connection, made, steps, status.lower(), context)
    keep_back(connection, made, lanes)
    event = Event.COMPLETED if status == PerformedStatus.COMPLETED else Event.DISCONTINUED
    notification.of_change(connection, listeners, row, made.revision, event, context.at.timestamp())
    _audit(connection, row, "ended", {"status": status, "reason": reason}, context)


def _locked(connection: Connection, row: int) -> PerformedStep:
    known = performed_steps.load(connection, row)
    one = locked(connection, known.sop_instance_uid) if known else None
    if one is None:
        raise Undecided("missing", "No such performed procedure step")
    return one


def _next(one: PerformedStep, context: Context) -> Document:
    return {"revision": one.revision + 1, "updated_at": context.at.timestamp()}


def _audit(connection: Connection, row: int, action: str, detail: Document, context: Context) -> None:
    saving.add_audit(connection, context.at.timestamp(), context.actor, f"mpps.{action}", "mpps", row, detail)
