"""HL7 messages into a database by the way they take in the broker, without a door."""

from __future__ import annotations

import hashlib
from concurrent.futures import Future
from datetime import datetime
from uuid import uuid4
from zoneinfo import ZoneInfo

from broker.hl7.server import Peer
from broker.orders import intake, profile, reception
from broker.orders.intake import Outcome
from broker.orders.interface import Interface
from broker.orders.story import Context
from broker.store.database import Database
from broker.store.messages import Received

ZONE = ZoneInfo("Europe/Zurich")
PEER = Peer("127.0.0.1", 5000)


def submit(database: Database, raw: bytes) -> Future[Outcome]:
    """Hand over a message, received on 2026-03-12 at eight."""
    examined = reception.examine(raw, Interface("test"), lambda _: profile.built_in(), ZONE)
    assert examined is not None
    header = examined.header
    received = Received(
        raw, hashlib.sha256(raw).digest(), "test", str(PEER), header.sender, header.control_id, header.message_type, 1.0
    )
    context = Context(uuid4(), datetime(2026, 3, 12, 8, tzinfo=ZONE), "UNASSIGNED")
    if examined.code:
        return database.submit(intake.refuse, received, header, examined.code, examined.conversion.findings, context)
    return database.submit(intake.take, received, header, examined.conversion, context)


def take(database: Database, raw: bytes) -> Outcome:
    """Hand over a message and wait for the commit."""
    return submit(database, raw).result()
