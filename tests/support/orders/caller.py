"""A caller of REST without the web: the same stories on a database, each in a transaction of its own."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from datetime import datetime
from typing import Any
from uuid import uuid4

from broker.model.order import Document
from broker.orders.core.context import StoryContext
from broker.orders.core.identifiers import Minter
from broker.orders.core.values import Conversion, OrderChange
from broker.orders.direct import placing
from broker.orders.direct.placing import Placed
from broker.orders.documents import document, emergency
from broker.orders.documents.emergency import Emergency
from broker.orders.mapping.book import built_in
from broker.settings import Settings
from broker.store.db.database import Database
from broker.store.idempotency import Key


class Caller:
    """Places, changes, cancels, reads and searches orders. Futures fail with OrderRefused or StoreUnavailable."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self.database = database
        self.settings = settings

    def context(self, actor: str) -> StoryContext:
        """Of a change made now."""
        now = datetime.now(self.settings.zone())
        return StoryContext(uuid4(), now, self.settings.worklist.default_station, actor)

    def convert(self, given: Any) -> Conversion:
        """The order change of a document."""
        return document.convert(given, built_in().modalities)

    def emergency(self, known: Emergency) -> Document:
        """The document of an emergency order that begins now."""
        context = self.context("")
        return emergency.document(known, context.received, self.settings.temporary_issuer(), Minter(context.token))

    def place(self, change: OrderChange, actor: str, key: Key | None = None, *, dry: bool = False) -> Future[Placed]:
        """Create or update an order."""
        return self.database.submit(placing.place, change, self.context(actor), key, dry=dry)

    def amend(self, row: int, change: OrderChange, revision: str, actor: str) -> Future[Placed]:
        """Make an order what a document says."""
        return self.database.submit(placing.amend, row, change, revision, self.context(actor))

    def cancel(self, row: int, revision: str | None, actor: str) -> Future[Placed]:
        """Cancel an order."""
        return self.database.submit(placing.cancel, row, revision, self.context(actor))

    def reopen(self, row: int, step_id: str, reason: str, actor: str) -> Future[Placed]:
        """Let an ended step begin again."""
        return self.database.submit(placing.reopen, row, step_id, reason, self.context(actor))

    def read(self, row: int) -> Future[Document | None]:
        """An order with the events of its steps."""
        return self.database.read(placing.read, row, self.settings.zone())

    def find(self, wanted: Mapping[str, str], after: int, limit: int) -> Future[list[Document]]:
        """Orders with these values."""
        return self.database.read(placing.search, wanted, after, limit)
