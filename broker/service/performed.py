"""Performed procedure steps for REST and commands: listed, shown, linked, set aside, ended in a database."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from uuid import uuid4

from sqlalchemy import Connection

from broker.admin.mpps import ItemView, MppsDetail, MppsView, ProposalView
from broker.model.lane import Lane, LaneKind
from broker.mpps import deciding
from broker.orders.core.story import Context
from broker.settings import Settings
from broker.site.nodes import Node
from broker.store.db.database import Database
from broker.store.mpps import mpps
from broker.store.orders import matching


class PerformedStepDesk:
    """See `admin.mpps.Desk`. `wake` is told that there may be work."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        subscribers: tuple[Node, ...],
        wake: Callable[[], None],
        listeners: Callable[[], Sequence[Node]] = tuple,
        destinations: Callable[[], Sequence[Node]] = tuple,
    ) -> None:
        """`subscribers` are RIS that may want to hear of changes of status, `listeners` nodes that are told of events
        of performed procedure steps, `destinations` those that images leave for.
        """
        self._destinations = destinations
        self._listeners = listeners
        self._database = database
        self._zone = settings.zone()
        self._subscribers = subscribers
        self._wake = wake

    def listed(self, wanted: Mapping[str, str], before: int, limit: int) -> list[MppsView]:
        """Those with these values, newest first, numbers below `before`. Raises StoreUnavailable."""
        return [MppsView(**found) for found in self._database.read(mpps.listed, wanted, before, limit).result()]

    def one(self, row: int) -> MppsDetail | None:
        """One of them; None for none. Raises StoreUnavailable."""
        return self._database.read(_detail, row).result()

    def link(self, row: int, step: int, item: int | None, actor: str) -> None:
        """Link an item to a scheduled step. Raises Undecided, StoreUnavailable."""
        self._database.execute(deciding.link, row, step, item, self._context(actor))
        self._wake()

    def set_aside(self, row: int, reason: str, actor: str) -> None:
        """Nobody needs to look at it. Raises Undecided, StoreUnavailable."""
        self._database.execute(deciding.set_aside, row, reason, self._context(actor))

    def end(self, row: int, status: str, reason: str, actor: str) -> None:
        """End it in place of its modality. Raises Undecided, StoreUnavailable."""
        lanes = [Lane(LaneKind.DELIVER, node.name).name for node in self._destinations()]
        self._database.execute(deciding.end, row, status, reason, self._context(actor), self._listeners(), lanes)
        self._wake()

    def _context(self, actor: str) -> Context:
        return Context(uuid4(), datetime.now(self._zone), "", actor, subscribers=self._subscribers)


def _detail(connection: Connection, row: int) -> MppsDetail | None:
    one = mpps.load(connection, row)
    if one is None:
        return None
    items = mpps.links(connection, row)
    patient = str(one.document.get("PatientID", ""))
    open_ = patient and any(item.step is None for item in items)
    proposals = matching.of_patient(connection, patient, one.modality) if open_ else []
    values = {name: getattr(one, name) for name in MppsView.model_fields if name not in {"id", "findings"}}
    return MppsDetail(
        id=row,
        findings=list(one.findings),
        document=one.document,
        **values,
        items=[ItemView(item=item.position, step=item.step, reason=item.reason) for item in items],
        proposals=[ProposalView(**found) for found in proposals],
    )
