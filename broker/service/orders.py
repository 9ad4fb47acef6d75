"""Orders for REST and commands: placed, changed, cancelled, read and searched in a database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from datetime import datetime
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection

from broker.orders.core.identifiers import Minter
from broker.orders.core.story import Context
from broker.orders.core.values import Conversion, Document, OrderChange
from broker.orders.documents import document, emergency, outline
from broker.orders.documents.emergency import Emergency
from broker.orders.profile.profile import built_in
from broker.orders.stories import placing
from broker.orders.stories.placing import Placed
from broker.settings import Settings
from broker.site.nodes import Node
from broker.store.db.database import Database
from broker.store.idempotency import Key
from broker.store.orders import orders_find, orders_read


class OrderDesk:
    """What a caller may do with orders. Futures fail with OrderRefused or StoreUnavailable."""

    def __init__(self, database: Database, settings: Settings, subscribers: tuple[Node, ...] = ()) -> None:
        """`subscribers` are the nodes that may want to hear of changes of status."""
        self._subscribers = subscribers
        self._database = database
        self._zone = settings.zone()
        self._default_station = settings.worklist.default_station
        self._temporary_issuer = settings.orders.temporary_issuer or settings.dicom.ae_title

    def convert(self, given: Any) -> Conversion:
        """The order change of a document as it came."""
        return document.convert(given, built_in().modalities)

    def emergency(self, known: Emergency) -> Document:
        """The document of an emergency order that begins now, for a new temporary patient."""
        context = self._context("")
        return emergency.document(known, context.received, self._temporary_issuer, Minter(context.token))

    def place(self, change: OrderChange, actor: str, key: Key | None = None, *, dry: bool = False) -> Future[Placed]:
        """Create or update an order; `dry`: only say what would become of it."""
        return self._database.submit(placing.place, change, self._context(actor), key, dry=dry)

    def amend(self, row: int, change: OrderChange, revision: str, actor: str) -> Future[Placed]:
        """Make an order what a document says if nobody has changed it since `revision`."""
        return self._database.submit(placing.amend, row, change, revision, self._context(actor))

    def cancel(self, row: int, revision: str | None, actor: str) -> Future[Placed]:
        """Cancel an order."""
        return self._database.submit(placing.cancel, row, revision, self._context(actor))

    def reopen(self, row: int, step_id: str, reason: str, actor: str) -> Future[Placed]:
        """Let an ended step begin again."""
        return self._database.submit(placing.reopen, row, step_id, reason, self._context(actor))

    def read(self, row: int) -> Future[Document | None]:
        """An order with the events of its steps, None if there is none."""
        return self._database.read(self._read, row)

    def find(self, wanted: Mapping[str, str], after: int, limit: int) -> Future[Sequence[Document]]:
        """Orders with these values (`orders_find.KEYWORDS`), behind row `after`."""
        return self._database.read(self._find, wanted, after, limit)

    def _read(self, connection: Connection, row: int) -> Document | None:
        if not orders_find.exists(connection, row):
            return None
        order = orders_read.load_order(connection, row)
        return outline.with_events(outline.document(order), order, orders_find.events(connection, row), self._zone)

    def _find(self, connection: Connection, wanted: Mapping[str, str], after: int, limit: int) -> Sequence[Document]:
        rows = orders_find.find(connection, wanted, after, limit)
        return [outline.document(orders_read.load_order(connection, row)) for row in rows]

    def _context(self, actor: str) -> Context:
        return Context(uuid4(), datetime.now(self._zone), self._default_station, actor, subscribers=self._subscribers)
