"""Idempotency keys of changes: the same request again, with the same key, has no second effect and the same answer."""

from __future__ import annotations

import hashlib
import json
import time
from typing import Annotated, Any

from fastapi import Header, Request
from sqlalchemy import Connection

from broker.admin.problems import Problem
from broker.store import idempotency
from broker.store.db.database import Database
from broker.store.idempotency import Key

IdempotencyHeader = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=128,
        description="The same key with the same body within 24 h has no second effect; with another body: 409",
    ),
]


class Once:
    """One request with or without an idempotency key (blocking; raises StoreUnavailable)."""

    def __init__(self, database: Database, request: Request, key: str | None, body: Any) -> None:
        """`body`: what was asked, as JSON has it."""
        self._database = database
        asked = json.dumps([request.method, request.url.path, body], sort_keys=True)
        digest = hashlib.sha256(asked.encode()).digest()
        self._key = Key(request.state.actor, key, digest) if key is not None else None

    def answer(self) -> Any:
        """What was answered to this request before; None if it is new. Raises Problem for a key of another request."""
        if self._key is None:
            return None
        known = self._database.read(idempotency.find, self._key, time.time()).result()
        if known is None:
            return None
        if known.digest != self._key.digest:
            raise Problem(409, "This Idempotency-Key was used with another request")
        return known.answer

    def keep(self, connection: Connection, answer: Any) -> None:
        """Remember the answer, in the transaction of the change."""
        if self._key is not None:
            idempotency.add(connection, self._key, 0, "", answer, time.time())

    def keep_alone(self, answer: Any) -> None:
        """Remember the answer of a request that changed nothing."""
        if self._key is not None:
            self._database.execute(self.keep, answer)
