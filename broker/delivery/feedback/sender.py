"""Sends feedback on orders to a RIS: one connection per node that stays open, one message at a time on it.

Each message is built when its turn comes, from the order as it is stored then. A message is done when the answer with
its control id says so. Without an answer the connection ends, the RIS counts as away (the breaker waits) and the same
control id comes again; meanwhile messages on other orders go first, so that none the RIS chokes on blocks the rest.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from datetime import tzinfo

from broker import faults, telemetry
from broker.delivery.feedback import answers, outbound
from broker.delivery.feedback.answers import AnswerVerdict, RisAnswer
from broker.delivery.feedback.outbound import NotInCharset, SendingParty
from broker.delivery.targets import known, looked_up
from broker.errors import PeerFault, Unavailable
from broker.hl7.mllp.client import MllpClient, Receiver
from broker.model.message import SentMessage
from broker.orders.telling.feedback import Notice
from broker.queue.feed import Feed
from broker.site.nodes import Node
from broker.store.db.database import Database
from broker.store.jobs import Job
from broker.store.journal import sent
from broker.store.orders import reading
from broker.threads import ON_LOOP
from broker.traces import spans

CONNECT = 10.0  # seconds
MOST_ANSWER = 65_536  # bytes of an answer that are kept
KEEP = 60.0  # seconds that a connection stays open for the next message


class _Link:
    """The connection to one node, opened when needed."""

    def __init__(self) -> None:
        self._client: MllpClient | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def exchange(self, receiver: Receiver, message: bytes, control_id: str, timeout: float) -> bytes:
        """The answer to a message. Raises PeerFault.

        A connection that the RIS gave up between two messages is no fault: the message goes over a new one.
        """
        if self._timer is not None:
            self._timer.cancel()
        client, self._client = self._client, None
        if client is not None and client.usable:
            try:
                return await self._over(client, message, control_id, timeout)
            except PeerFault as error:
                if error.code != "connection-lost":
                    raise
        elif client is not None:
            client.abort()
        client = await MllpClient.connect(receiver.host, receiver.port, CONNECT, receiver.tls, receiver.server_name)
        return await self._over(client, message, control_id, timeout)

    async def _over(self, client: MllpClient, message: bytes, control_id: str, timeout: float) -> bytes:
        answer = await client.exchange(message, timeout, lambda raw: answers.answers(raw, control_id))
        self._client = client
        self._timer = asyncio.get_running_loop().call_later(KEEP, self.close)
        return answer

    def close(self) -> None:
        """Close the connection, if one is open."""
        client, self._client = self._client, None
        if self._timer is not None:
            self._timer.cancel()
        if client is not None:
            client.abort()


def _unsent(code: str) -> bool:
    """Nothing was sent: there was no connection."""
    return code == "unreachable" or code.startswith("tls-")


def _is_told(node: Node) -> bool:
    return node.told


class FeedbackSender:
    """Handler of the queue for lanes `feedback:<node>`."""

    def __init__(
        self,
        database: Database,
        node: Callable[[str], Node | None],
        receiver: Callable[[Node], Receiver],
        ours: SendingParty,
        zone: tzinfo,
        refresh: Callable[[], object] = lambda: None,
    ) -> None:
        """`ours` and `zone`: our names and the site's clock in the messages.

        `refresh` takes over what other processes have published.
        """
        self._database = database
        self._node = node
        self._receiver = receiver
        self._ours = ours
        self._zone = zone
        self._refresh = refresh
        self._links: dict[str, tuple[Node, _Link]] = {}
        self._unanswered: Counter[int] = Counter()  # tries of messages that got no answer, by job

    async def __call__(self, name: str, feed: Feed) -> None:
        """Send what the lane of node `name` holds. Raises PeerFault when the RIS is away."""
        while jobs := await feed.take():
            for job in sorted(jobs, key=lambda job: (self._unanswered[job.id], job.id)):
                place = (name, self._node, _is_told)
                node = known(*place) or await asyncio.to_thread(looked_up, *place, self._refresh)  # it may change
                if node is None:
                    feed.hold(job, "unknown-node")
                elif not node.active or feed.paused:
                    return  # the feed gives the jobs back, they wait
                else:
                    with spans.attempt(job):
                        await self._tell(node, feed, job)

    async def close(self) -> None:
        """Close all connections."""
        for _, link in self._links.values():
            link.close()

    def _link(self, node: Node) -> _Link:
        """The connection to a node as it is now; that of before is closed."""
        known, link = self._links.get(node.name, (None, None))
        if link is None or known != node:
            if link is not None:
                link.close()
            link = _Link()
            self._links[node.name] = node, link
        return link

    async def _tell(self, node: Node, feed: Feed, job: Job) -> None:
        notice = Notice.of(job.detail)
        message = await self._message(node, notice, feed, job)
        if message is None:
            return
        assert node.feedback is not None
        link = self._link(node)
        faults.point("feedback.send")
        try:
            raw = await link.exchange(self._receiver(node), message, notice.control_id, node.feedback.timeout)
        except PeerFault as error:
            if not _unsent(error.code):  # no fault of the message as far as we know, but others go first next time
                await self._journal(node, job, notice, message, b"", RisAnswer("", error.code))
                self._unanswered[job.id] += 1
                feed.retry(job, error.code, item_fault=False)
            raise
        self._unanswered.pop(job.id, None)
        faults.point("feedback.sent")
        answer = answers.read(raw) if len(raw) <= ON_LOOP else await asyncio.to_thread(answers.read, raw)
        await self._journal(node, job, notice, message, raw, answer)
        match answers.verdict(answer, node.feedback, job.failures + 1):
            case AnswerVerdict.DONE:
                feed.done(job)
            case AnswerVerdict.RETRY:
                feed.retry(job, str(answer), item_fault=True)
            case AnswerVerdict.HOLD:
                feed.hold(job, str(answer))
        telemetry.logger().info(
            "feedback.answered",
            node=node.name,
            kind=notice.event.value,
            job=job.id,
            answer=str(answer),
            control_id=notice.control_id,
        )

    async def _journal(
        self, node: Node, job: Job, notice: Notice, message: bytes, raw: bytes, answer: RisAnswer
    ) -> None:
        """Keep what was sent with its answer (`raw`, empty for none) before the job is reported. Raises Unavailable."""
        assert node.feedback is not None
        kept = SentMessage(
            at=time.time(),
            node=node.name,
            request=notice.order,
            job=job.id,
            event=notice.event.value,
            control_id=notice.control_id,
            message_type=node.feedback.message,
            raw=message,
            answer_code=answer.code,
            answer=raw[:MOST_ANSWER],
            error=answer.error,
        )
        await asyncio.wrap_future(self._database.submit(sent.record, kept))

    async def _message(self, node: Node, notice: Notice, feed: Feed, job: Job) -> bytes | None:
        """The bytes to send; None if there are none and the job is reported."""
        try:
            order = await asyncio.wrap_future(self._database.read(reading.load_order, notice.order))
            return await asyncio.to_thread(outbound.build, order, notice, node, self._ours, self._zone)
        except Unavailable:
            raise
        except NotInCharset as error:
            feed.hold(job, error.code)
        except Exception as error:  # an order that we cannot put into words must not stop the others
            telemetry.logger().error("feedback.not_built", node=node.name, job=job.id, error=telemetry.describe(error))
            feed.retry(job, "not-built", item_fault=True)
        return None
