"""Tells nodes that rules acted, one notice after the other, each on a connection of its own.

A notice is worded when its turn comes: it says how many objects there are then. Each try has the same number
(`Idempotency-Key` of a webhook, `Message-ID` of a mail), so that a receiver knows a repeat.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence
from datetime import datetime

from broker import telemetry
from broker.delivery.notices import mail_sender, webhook_sender, wording
from broker.delivery.notices.answer import NoticeAnswer, NoticeVerdict
from broker.delivery.notices.wording import Teller
from broker.delivery.targets import known, looked_up
from broker.errors import ConfigurationError, PeerFault, Unavailable
from broker.queue.feed import Feed
from broker.site.nodes import Node
from broker.store import notices
from broker.store.db.database import Database
from broker.store.jobs import Job
from broker.traces import spans


def _is_notified(node: Node) -> bool:
    return node.notified


class NoticeSender:
    """Handler of the queue for lanes `notify:<node>`."""

    def __init__(
        self,
        database: Database,
        node: Callable[[str], Node | None],
        titled: Callable[[str], Sequence[Node]],
        tls: Callable[[Node], ssl.SSLContext | None],
        teller: Teller,
        refresh: Callable[[], object] = lambda: None,
    ) -> None:
        """`titled`: the nodes that call themselves so. `tls` makes the context of a connection (it reads files).

        `refresh` takes over what other processes have published.
        """
        self._database = database
        self._node = node
        self._titled = titled
        self._tls = tls
        self._teller = teller
        self._refresh = refresh

    async def __call__(self, name: str, feed: Feed) -> None:
        """Tell node `name` what its lane holds. Raises PeerFault when it is away."""
        while jobs := await feed.take():
            for job in jobs:
                place = (name, self._node, _is_notified)
                node = known(*place) or await asyncio.to_thread(looked_up, *place, self._refresh)  # it may change
                if node is None:
                    feed.hold(job, "unknown-node")
                elif not node.active or feed.stopping:
                    return  # the feed gives the jobs back, they wait
                else:
                    with spans.attempt(job):
                        await self._tell(node, feed, job)

    async def _tell(self, node: Node, feed: Feed, job: Job) -> None:
        try:
            answer = await self._answer(node, job)
        except (PeerFault, Unavailable):
            raise
        except Exception as error:  # one that cannot be said or sent must not stop the others
            telemetry.logger().error("notice.not_sent", node=node.name, job=job.id, error=telemetry.describe(error))
            feed.retry(job, "not-sent", item_fault=True)
            return
        telemetry.logger().info("notice.answered", node=node.name, kind=node.kind, job=job.id, answer=answer.code)
        match answer.verdict:
            case NoticeVerdict.DONE:
                feed.done(job)
            case NoticeVerdict.HELD:
                feed.hold(job, answer.code)
            case NoticeVerdict.AGAIN:
                feed.retry(job, answer.code, item_fault=False, after=answer.after)
            case NoticeVerdict.AWAY:
                feed.retry(job, answer.code, item_fault=False, after=answer.after)
                fault = PeerFault("it is busy, or did not finish", code=answer.code)
                fault.after = answer.after
                raise fault

    async def _answer(self, node: Node, job: Job) -> NoticeAnswer:
        """Hand a notice over, within the time that the node has. Raises PeerFault, StoreUnavailable."""
        told = await asyncio.wrap_future(self._database.read(notices.load, job.subject))
        if told is None:
            return NoticeAnswer(NoticeVerdict.HELD, "no-notice")
        try:
            context = await asyncio.to_thread(self._tls, node)
        except ConfigurationError as error:
            raise PeerFault(str(error), code="tls-files") from None
        devices = [one.name for one in self._titled(told.notice.device)]
        try:
            async with asyncio.timeout(node.timeout):
                if node.mail is None:
                    return await webhook_sender.post(node, context, wording.document(told, devices, self._teller))
                now = datetime.now(self._teller.zone)
                mail = wording.mail(told, devices, self._teller, node.mail, now)
                return await mail_sender.send(node, context, node.mail, mail)
        except TimeoutError:
            return NoticeAnswer(NoticeVerdict.AWAY, "no-answer")
