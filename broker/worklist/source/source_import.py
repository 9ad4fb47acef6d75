"""Imports from another worklist server once: its answers are read as they come, in bounded memory, and adopted.

An item that the server has no more is withdrawn only after two complete imports without it, and after it was asked for
by its own key: an empty answer of a server in trouble, a narrower filter or a new date must not cancel examinations.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from uuid import uuid4

from broker import telemetry
from broker.dicom import uids
from broker.dicom.association.association import Association
from broker.dicom.association.user import Proposal, Remote, associate
from broker.dicom.dimse import status as st
from broker.errors import BadContent, PeerFault, ProtocolViolation, Unavailable
from broker.model.order import Document
from broker.model.sourced import Sourced, SourcedState
from broker.orders.core.context import StoryContext
from broker.orders.stories import adopting
from broker.orders.stories.adopting import Adopted, SourcedOrder
from broker.site.nodes import Node
from broker.site.source import DEFAULT, Source
from broker.store.db.database import Database
from broker.store.orders import sourced
from broker.worklist.source import asking
from broker.worklist.source.asking import Offer, Window

CHUNK = 200  # items adopted at once
MISSES = 2  # complete imports without an item until it is withdrawn
FEW = 10  # so many items may always vanish at once; more only if half of them stay
MAX_REASONS = 20
MAX_LEFT_OUT = 100  # attributes named


@dataclass(slots=True)
class ImportAccount:
    """What became of an import. `complete`: the server told all it has; `error` is the code of what ended it."""

    node: str
    dry: bool = False
    counts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    complete: bool = False
    error: str = ""

    def note(self, outcome: str, reasons: tuple[str, ...] = ()) -> None:
        """One item; the texts hold no values."""
        self.counts[outcome] += 1
        for reason in reasons:
            if reason in self.reasons or len(self.reasons) < MAX_REASONS:
                self.reasons[reason] += 1


class SourceImport:
    """Imports from one node, one after the other."""

    def __init__(
        self,
        database: Database,
        node: Node,
        remote: Remote,
        zone: tzinfo,
        default_station: str,
        subscribers: tuple[Node, ...] = (),
    ) -> None:
        """`remote`: where the node is; `subscribers` are the nodes that may want to hear of changes of status."""
        self._database = database
        self._node = node
        self._source: Source = node.source or DEFAULT
        self._remote = remote
        self._zone = zone
        self._default_station = default_station
        self._subscribers = subscribers

    async def run(self, *, dry: bool = False, deadline: float | None = None) -> ImportAccount:
        """Ask and adopt; `dry`: nothing is written. What the server does wrong stands in the account.

        Raises StoreUnavailable while the database is away.
        """
        account = ImportAccount(self._node.name, dry)
        try:
            async with asyncio.timeout(deadline or self._source.deadline):
                await self._import(account)
        except (PeerFault, ProtocolViolation) as error:
            account.error = error.code
        except TimeoutError:
            account.error = "deadline"
        return account

    async def _import(self, account: ImportAccount) -> None:
        window = Window.around(self._source, datetime.now(self._zone).date())
        known = await asyncio.wrap_future(self._database.read(sourced.of_node, self._node.name))
        seen: set[str] = set()
        proposal = Proposal(uids.MODALITY_WORKLIST, (uids.EXPLICIT_LE, uids.IMPLICIT_LE))
        async with associate(self._remote, [proposal]) as association:
            chunk: list[Offer] = []
            async with aclosing(self._offers(association, asking.keys(self._source, window), account)) as offers:
                async for offer in offers:
                    if offer.key in seen:
                        account.note("repeated")
                        continue
                    if len(seen) >= self._source.max_items:
                        account.error = "too-many-items"
                        break
                    seen.add(offer.key)
                    if _unchanged(known.get(offer.key), offer):
                        account.note("unchanged")
                        continue
                    chunk.append(offer)
                    if len(chunk) == CHUNK:
                        await self._adopt(chunk, account)
                        chunk = []
            await self._adopt(chunk, account)
            account.complete = not account.error and not account.counts["unreadable"]
            if account.complete and not account.dry:
                await self._missed(association, window, known, seen, account)

    async def _offers(
        self, association: Association, queries: Iterable[Document], account: ImportAccount
    ) -> AsyncGenerator[Offer, None]:
        """Usable items of the answers to some queries; all else is counted. Ends early when the server fails."""
        context = association.context(uids.MODALITY_WORKLIST)
        if context is None:
            raise PeerFault("the peer serves no worklist", code="no-context")
        for keys in queries:
            data = asking.identifier(keys, context.transfer_syntax)
            answers = association.find(uids.MODALITY_WORKLIST, data)
            try:
                async for response in answers:
                    if st.is_pending(response.status):
                        offer = self._read(response.data, context.transfer_syntax, account)
                        if offer is not None:
                            yield offer
                    elif response.status != st.SUCCESS:
                        account.error = f"status-{response.status:04X}"
                        return
            finally:
                await answers.aclose()  # type: ignore[attr-defined]

    def _read(self, data: bytes, transfer_syntax: str, account: ImportAccount) -> Offer | None:
        left_out: Counter[str] = Counter()
        try:
            offer = asking.offer(asking.read(data, transfer_syntax, self._source, left_out))
        except BadContent as error:
            readable = error.code in asking.UNUSABLE
            account.note("refused" if readable else "unreadable", (str(error) if readable else error.code,))
            return None
        except Exception as error:  # whatever one item does to us: the rest goes on
            telemetry.logger().error("source.item_failed", node=account.node, error=telemetry.describe(error))
            account.note("unreadable", ("internal error",))
            return None
        if len(account.left_out) < MAX_LEFT_OUT:
            account.left_out += left_out
        return offer

    async def _adopt(self, offers: list[Offer], account: ImportAccount) -> None:
        futures = [
            self._database.submit(
                adopting.adopt,
                self._node.name,
                SourcedOrder(offer.key, offer.step_id, offer.start_at, offer.digest, offer.change),
                self._context(),
                dry=account.dry,
            )
            for offer in offers
        ]
        for done in await asyncio.gather(*map(asyncio.wrap_future, futures), return_exceptions=True):
            if isinstance(done, Adopted):
                account.note(done.outcome, done.reasons)
            elif isinstance(done, Unavailable) or not isinstance(done, Exception):
                raise done
            else:
                telemetry.logger().error("source.item_failed", node=account.node, error=telemetry.describe(done))
                account.note("refused", ("internal error",))

    def _context(self) -> StoryContext:
        return StoryContext(
            uuid4(),
            datetime.now(self._zone),
            self._default_station,
            adopting.actor(self._node.name),
            subscribers=self._subscribers,
        )

    # --- what is there no more ---------------------------------------------------------------------------

    async def _missed(
        self,
        association: Association,
        window: Window,
        known: Mapping[str, Sourced],
        seen: set[str],
        account: ImportAccount,
    ) -> None:
        """Count what a complete import did not have, and withdraw what was missed often enough."""
        theirs = [item for item in known.values() if item.state == SourcedState.THEIRS and window.holds(item.start_at)]
        missing = [item for item in theirs if item.key not in seen]
        back = [key for key in seen if key in known and known[key].misses]
        account.counts["missing"] = len(missing)
        now = datetime.now(self._zone).timestamp()
        await asyncio.wrap_future(
            self._database.submit(sourced.count_misses, self._node.name, [item.key for item in missing], back, now)
        )
        if self._source.missing != "cancel":
            return
        if len(missing) > FEW and len(missing) * 2 > len(theirs):
            account.reasons["so many items are missing that none is cancelled"] += len(missing)
            telemetry.logger().warning("source.many_missing", node=self._node.name, count=len(missing))
            return
        for item in missing:
            if item.misses + 1 >= MISSES:
                account.note(*await self._withdraw(association, item, account))

    async def _withdraw(
        self, association: Association, item: Sourced, account: ImportAccount
    ) -> tuple[str, tuple[str, ...]]:
        """Ask for the item itself; it may only have moved out of the window or the filter."""
        single = ImportAccount(account.node)
        offers = [offer async for offer in self._offers(association, [asking.keys_of(item.key)], single)]
        if single.error or single.counts:
            return "kept", (f"asked again, the server fails: {single.error or 'unreadable'}",)
        same = [offer for offer in offers if offer.key == item.key]
        if same:
            await self._adopt(same[:1], account)
            return "moved", ()
        done: Adopted = await asyncio.wrap_future(
            self._database.submit(adopting.withdraw, self._node.name, item.key, self._context())
        )
        return done.outcome, done.reasons


def _unchanged(known: Sourced | None, offer: Offer) -> bool:
    """Nothing is to be done: it is as it was when it was taken over. Who wrote the order since then, stays."""
    return known is not None and known.digest == offer.digest and known.state != SourcedState.GONE
