"""Messages taken into a database as a listener does, without a listener; and what is there then."""

from __future__ import annotations

import hashlib
from datetime import datetime
from uuid import uuid4
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, func, select

from broker.hl7.header import Header
from broker.hl7.mllp.server import Peer
from broker.model.message import ReceivedMessage
from broker.model.order import StepEvent
from broker.orders.core.context import StoryContext
from broker.orders.inbound import reception
from broker.orders.inbound.reception import Interface
from broker.orders.mapping.book import built_in
from broker.orders.mapping.profile import Profile
from broker.orders.stories import intake
from broker.orders.stories.intake import Outcome
from broker.store.db.database import Database
from broker.store.orders import reading
from broker.store.schema import tables

ZONE = ZoneInfo("Europe/Zurich")
PEER = Peer("127.0.0.1", 5000)
AT = datetime(2026, 3, 12, 8, tzinfo=ZONE)


def received(raw: bytes, header: Header) -> ReceivedMessage:
    """A message as a listener hands it on; when it came does not matter."""
    return ReceivedMessage(
        raw=raw,
        digest=hashlib.sha256(raw).digest(),
        listener="test",
        peer=str(PEER),
        sender=header.sender,
        control_id=header.control_id,
        message_type=header.message_type,
        received_at=1.0,
    )


def submit(
    database: Database, raw: bytes, used: Profile | None = None, *, order_answers: bool = False, at: datetime = AT
):  # type: ignore[no-untyped-def]
    """Take a message as a listener does; the future of its outcome."""
    examined = reception.examine(raw, Interface(name="test"), lambda _: used or built_in(), ZONE)
    assert examined is not None
    header = examined.header
    message = received(raw, header)
    context = StoryContext(uuid4(), at, "UNASSIGNED")
    if examined.code:
        return database.submit(intake.refuse, message, header, examined.code, examined.conversion.findings, context)
    return database.submit(intake.take, message, header, examined.conversion, context, order_answers=order_answers)


def take(
    database: Database, raw: bytes, used: Profile | None = None, *, order_answers: bool = False, at: datetime = AT
) -> Outcome:
    """Take a message that comes at a time; its outcome."""
    outcome: Outcome = submit(database, raw, used, order_answers=order_answers, at=at).result()
    return outcome


def counts(connection: Connection) -> dict[str, int]:
    """Rows by table."""
    found = {}
    for table in (
        tables.message, tables.patient, tables.service_request, tables.requested_procedure, tables.scheduled_step,
        tables.step_station, tables.audit,
    ):  # fmt: skip
        found[table.name] = connection.execute(select(func.count()).select_from(table)).scalar_one()
    return found


def steps(connection: Connection) -> list[dict[str, object]]:
    """All steps, oldest first."""
    return [dict(row._mapping) for row in connection.execute(select(tables.scheduled_step).order_by("id"))]


def audit(connection: Connection) -> list[str]:
    """Actions in the audit trail, oldest first."""
    return list(connection.execute(select(tables.audit.c.action).order_by(tables.audit.c.id)).scalars())


def log(database: Database, step: int = 1) -> list[StepEvent]:
    """Events of a step (row)."""
    return database.read(reading.events_of_step, step).result()
