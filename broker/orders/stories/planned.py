"""Defines what a story plans for one change of a message.

Kinds of changes are plain values (`orders.core.values.OrderChange` and its like); each has its story. A message is
applied as a whole: the changes are planned and written in their order, each sees what those before it wrote, and one
error undoes them all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from broker.hl7.findings import Finding
from broker.model.order import Order
from broker.orders.core.context import AuditEntry, StoryContext
from broker.orders.core.identifiers import Minter
from broker.orders.core.values import OrderChange

Write = Callable[[Connection, StoryContext], tuple[AuditEntry, ...]]


@dataclass(frozen=True, slots=True)
class OrderReply:
    """What the answer to an order message tells of one order: the order that is stored or to be stored, if any.

    `done`: what was asked for is so, once the message is applied.
    """

    change: OrderChange
    order: Order | None
    done: bool


def _nothing(connection: Connection, context: StoryContext) -> tuple[AuditEntry, ...]:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One planned change. With an error among the findings nothing of the message is written.

    `write` writes it and returns what to record in the audit trail. `accession` is for the log, empty if there is none.
    `audit_refusal` is what to record of a known order that refuses the change. `reply` is for the application answer
    to an order message; None for a change that is not about an order.
    """

    findings: tuple[Finding, ...] = ()
    accession: str = ""
    write: Write = _nothing
    audit_refusal: AuditEntry | None = None
    reply: OrderReply | None = None


Story = Callable[[Connection, Any, StoryContext, Minter], Planned]
