"""Imports from another worklist server once: its answers are read as they come, in bounded memory, and adopted.

An item that the server has no more is withdrawn only after two complete imports without it, and after it was asked for
by its own key: an empty answer of a server in trouble, a narrower filter or a new date must not cancel examinations.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Collection, Iterable, Mapping, Sequence
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
from broker.model.modalities import MODALITIES
from broker.model.order import Document
from broker.model.sourced import Sourced, SourcedState
from broker.orders.core.context import StoryContext
from broker.orders.importing import adopting
from broker.orders.importing.adopting import Adopted, SourcedOrder
from broker.site.nodes import Node
from broker.site.source import DEFAULT, Source
from broker.store.db.database import Database
from broker.store.orders import imported, sourced
from broker.threads import ON_LOOP
from broker.worklist.query.writing import identifier
from broker.worklist.source import asking
from broker.worklist.source.account import ImportAccount
from broker.worklist.source.asking import ItemRefused, Offer, Window

CHUNK = 200  # items adopted, or noted, at once
MISSES = 2  # complete imports without an item until it is withdrawn
FEW = 10  # so many items may always vanish at once; more only if half of them stay
PROPOSAL = Proposal(uids.MODALITY_WORKLIST, (uids.EXPLICIT_LE, uids.IMPLICIT_LE))  # to the other server


@dataclass(slots=True)
class _Course:
    """What one import has seen: the items that are `known`, by key, and the digests of all it was told of.

    `held` are items without a step identifier whose stations or start are new: a known one was moved, if the complete
    answer does not have it any more, else there is one step more.
    """

    known: Mapping[str, Sourced]
    seen: dict[str, bytes] = field(default_factory=dict)
    held: list[Offer] = field(default_factory=list)
    unnamed: dict[str, list[str]] = field(default_factory=dict)  # known ones without a step identifier, by study

    def __post_init__(self) -> None:
        for key in self.known:
            if asking.unnamed(key):
                self.unnamed.setdefault(asking.name_of(key), []).append(key)

    def is_news(self, offer: Offer, account: ImportAccount) -> bool:
        """The item is to be adopted now; all others are counted, or held."""
        if offer.key in self.seen:
            if self.seen[offer.key] == offer.digest:
                account.note("repeated")
            else:
                account.take(offer, "repeated", ("another item of the answer has the same identifiers",))
            return False
        self.seen[offer.key] = offer.digest
        if _unchanged(self.known.get(offer.key), offer):
            account.note("unchanged")
            return False
        if offer.over and offer.key not in self.known:
            status = offer.change.procedures[0].steps[0].status
            account.take(offer, "skipped", (f"The examination is {status} there: it is not offered",))
            return False
        if offer.key not in self.known and not offer.step_id and self.unnamed.get(offer.name):
            self.held.append(offer)
            return False
        return True

    def moved_from(self, offer: Offer) -> str:
        """The key of the known item that has become this one: rather one with the same stations; empty for none."""
        gone = [key for key in self.unnamed.get(offer.name, ()) if key not in self.seen]
        gone.sort(key=lambda key: (key.rpartition("\\")[0] != offer.key.rpartition("\\")[0], key))
        if not gone:
            return ""
        self.seen[gone[0]] = b""
        return gone[0]


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
        modalities: Collection[str] = MODALITIES,
    ) -> None:
        """`remote`: where the node is; `subscribers` are the nodes that may want to hear of changes of status.

        `modalities` that devices know: another one of an item is told.
        """
        self._database = database
        self._node = node
        self._source: Source = node.source or DEFAULT
        self._remote = remote
        self._zone = zone
        self._default_station = default_station
        self._subscribers = subscribers
        self._modalities = modalities

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
        if not dry:
            await self._keep(account)
        return account

    async def _keep(self, account: ImportAccount) -> None:
        """Write down which items a person should look at, in steps that hold the writer shortly."""
        at = datetime.now(self._zone).timestamp()
        named, in_place = account.named, sorted(account.in_place.difference(note.key for note in account.named))
        for begin in range(0, max(len(named), len(in_place)), CHUNK):
            step = named[begin : begin + CHUNK], in_place[begin : begin + CHUNK]
            await asyncio.wrap_future(self._database.submit(imported.record, self._node.name, *step, at))

    async def _import(self, account: ImportAccount) -> None:
        window = Window.around(self._source, datetime.now(self._zone).date())
        known = await asyncio.wrap_future(self._database.read(sourced.of_node, self._node.name))
        course = _Course(known)
        async with associate(self._remote, [PROPOSAL]) as association:
            chunk: list[Offer] = []
            async with aclosing(self._offers(association, asking.keys(self._source, window), account)) as offers:
                async for offer in offers:
                    if offer.key not in course.seen and len(course.seen) >= self._source.max_items:
                        account.error = "too-many-items"
                        break
                    if not course.is_news(offer, account):
                        continue
                    chunk.append(offer)
                    if len(chunk) == CHUNK:
                        await self._adopt(chunk, account)
                        chunk = []
            await self._adopt(chunk, account)
            account.complete = not account.error and not account.counts["unreadable"]
            for first in range(0, len(course.held), CHUNK):
                held = course.held[first : first + CHUNK]
                was = {offer.key: course.moved_from(offer) if account.complete else "" for offer in held}
                await self._adopt(held, account, was)
            if account.complete and not account.dry:
                await self._missed(association, window, known, set(course.seen), account)

    async def _offers(
        self, association: Association, queries: Iterable[Document], account: ImportAccount
    ) -> AsyncGenerator[Offer, None]:
        """Usable items of the answers to some queries; all else is counted. Ends early when the server fails."""
        context = association.context(uids.MODALITY_WORKLIST)
        if context is None:
            raise PeerFault("the peer serves no worklist", code="no-context")
        for keys in queries:
            data = identifier(keys, context.transfer_syntax)
            answers = association.find(uids.MODALITY_WORKLIST, data)
            try:
                async for response in answers:
                    if st.is_pending(response.status):
                        offer = await self._read_aside(response.data, context.transfer_syntax, account)
                        if offer is not None:
                            yield offer
                    elif response.status != st.SUCCESS:
                        account.error = f"status-{response.status:04X}"
                        return
            finally:
                await answers.aclose()  # type: ignore[attr-defined]

    async def _read_aside(self, data: bytes, transfer_syntax: str, account: ImportAccount) -> Offer | None:
        """What an answer offers; a long one is read in a thread."""
        arguments = data, transfer_syntax, account
        return self._read(*arguments) if len(data) <= ON_LOOP else await asyncio.to_thread(self._read, *arguments)

    def _read(self, data: bytes, transfer_syntax: str, account: ImportAccount) -> Offer | None:
        left_out: Counter[str] = Counter()
        try:
            document = asking.read(data, transfer_syntax, self._source, left_out)
            offer = asking.offer(document, self._modalities)
        except ItemRefused as error:
            account.refuse(error)
            return None
        except BadContent as error:
            account.note("unreadable", (error.code,))
            return None
        except Exception as error:  # whatever one item does to us: the rest goes on
            telemetry.logger().error("source.item_failed", node=account.node, error=telemetry.describe(error))
            account.note("unreadable", ("internal error",))
            return None
        account.keep_left_out(left_out)
        return offer

    async def _adopt(
        self, offers: Sequence[Offer], account: ImportAccount, was: Mapping[str, str] | None = None
    ) -> None:
        """Adopt offers; `was` are keys of items that have become some of them."""
        futures = [
            self._database.submit(
                adopting.adopt,
                self._node.name,
                SourcedOrder(
                    offer.key, offer.step_id, offer.start_at, offer.digest, offer.change, (was or {}).get(offer.key, "")
                ),
                self._context(),
                dry=account.dry,
            )
            for offer in offers
        ]
        results = await asyncio.gather(*map(asyncio.wrap_future, futures), return_exceptions=True)
        for offer, done in zip(offers, results, strict=True):
            if isinstance(done, Adopted):
                account.take(offer, done.outcome, done.reasons)
            elif isinstance(done, Unavailable) or not isinstance(done, Exception):
                raise done
            else:
                telemetry.logger().error("source.item_failed", node=account.node, error=telemetry.describe(done))
                account.take(offer, "refused", ("internal error",))

    def _context(self) -> StoryContext:
        return StoryContext(
            uuid4(),
            datetime.now(self._zone),
            self._default_station,
            adopting.actor(self._node.name),
            subscribers=self._subscribers,
            address=self._node.host,
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
                account.note(*await self._withdraw(association, item, known, account))

    async def _withdraw(
        self, association: Association, item: Sourced, known: Mapping[str, Sourced], account: ImportAccount
    ) -> tuple[str, tuple[str, ...]]:
        """Ask for the item itself; it may only have moved out of the window or the filter."""
        single = ImportAccount(account.node)
        offers = [offer async for offer in self._offers(association, [asking.keys_of(item.key)], single)]
        if single.error or single.counts:
            return "kept", (f"asked again, the server fails: {single.error or 'unreadable'}",)
        same = [offer for offer in offers if offer.key == item.key]
        # one without a step identifier has another key where it was moved to
        same += [offer for offer in offers if asking.unnamed(item.key) and not offer.step_id and offer.key not in known]
        if same:
            await self._adopt(same[:1], account, {same[0].key: item.key if same[0].key != item.key else ""})
            return "moved", ()
        done: Adopted = await asyncio.wrap_future(
            self._database.submit(adopting.withdraw, self._node.name, item.key, self._context())
        )
        return done.outcome, done.reasons


def _unchanged(known: Sourced | None, offer: Offer) -> bool:
    """Nothing is to be done: it is as it was when it was taken over. Who wrote the order since then, stays."""
    return known is not None and known.digest == offer.digest and known.state != SourcedState.GONE
