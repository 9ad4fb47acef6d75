"""Performed steps put into a database as the door of MPPS does it, without a door."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

from broker.model.performed import MessageKind, PerformedMessage
from broker.mpps import checks, recording
from broker.mpps.dataset import decode
from broker.orders.core.context import StoryContext
from broker.store.db.database import Database
from support.mpps.performed import bytes_of, creation
from support.worklist.worklist import IMPLICIT

NOW = datetime(2030, 3, 12, 11, tzinfo=ZoneInfo("Europe/Zurich"))


def begun(database: Database, uid: str, *items: dict[str, Any], calling: str = "CT01", **more: Any) -> int:
    """The status of the answer to an N-CREATE of a modality; `more` as `performed.creation` has it."""
    data = bytes_of(creation(*items, **more))
    message = PerformedMessage(
        at=NOW.timestamp(), kind=MessageKind.CREATE, calling_ae=calling, transfer_syntax_uid=IMPLICIT, data=data,
        digest=hashlib.sha256(data).digest(),
    )  # fmt: skip
    found = decode(data, IMPLICIT)
    answer = checks.created(found, strict=False, first_completed=False)
    context = StoryContext(uuid4(), NOW, "UNASSIGNED", f"dicom:{calling}")
    done = database.submit(recording.create, uid, message, found, answer, context, []).result(20)
    return int(done.answer.status)
