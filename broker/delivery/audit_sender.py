"""Sends the audit trail to an audit repository by syslog, row after row in their order (IHE ITI-20).

Syslog has no answers. That a message was handed to the network is all that can be known, so after a connection broke
the last messages that went over it are sent again: the repository knows them by their time and the number of the row.
What goes wrong here makes no audit row, or each failure would bring the next one.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import tzinfo

from sqlalchemy import Connection

from broker import telemetry
from broker.audit.messages.syslog import LONGEST_DATAGRAM, framed, syslog
from broker.audit.messages.xml import Reporter, build
from broker.delivery.targets import known, looked_up
from broker.errors import PeerFault
from broker.model.audit import AuditContext, AuditRecord
from broker.queue.feed import Feed
from broker.site.nodes import Node
from broker.site.repository import Repository
from broker.store.audit import places, surroundings
from broker.store.db.database import Database
from broker.store.jobs import Job
from broker.tls import failure

CONNECT, SEND = 10.0, 30.0  # seconds
KEEP = 60.0  # seconds that a connection stays open for more
DOUBTFUL, MOST_DOUBTFUL = 60.0, 200  # seconds, and messages, that are sent again after a broken connection
_Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def _is_repository(node: Node) -> bool:
    return node.audits


class _Link:
    """The way to one repository, opened when needed."""

    def __init__(self, node: Node, tls: Callable[[Node], ssl.SSLContext | None]) -> None:
        self._node, self._tls = node, tls
        self._open: _Connection | None = None
        self._doubtful: deque[tuple[float, bytes]] = deque(maxlen=MOST_DOUBTFUL)
        self._timer: asyncio.TimerHandle | None = None

    async def send(self, messages: Sequence[bytes]) -> None:
        """Hand messages to the network. Raises PeerFault: none of them may have arrived."""
        if self._timer is not None:
            self._timer.cancel()
        try:
            async with asyncio.timeout(SEND):
                await self._over(await self._connection(), messages)
        except (OSError, TimeoutError) as error:
            self.close()
            code = failure(error) if isinstance(error, ssl.SSLError) else "connection-lost"
            raise PeerFault("the audit repository does not take messages", code=code) from None
        self._timer = asyncio.get_running_loop().call_later(KEEP, self._rest)

    async def _over(self, connection: _Connection, messages: Sequence[bytes]) -> None:
        _, writer = connection
        for message in messages:
            frame = framed(message)
            writer.write(frame)
            self._doubtful.append((time.monotonic(), frame))
        await writer.drain()

    async def _connection(self) -> _Connection:
        """The connection that is open, or a new one over which goes again what may have been lost. Raises PeerFault."""
        if self._open is not None and not self._open[1].is_closing() and not self._open[0].at_eof():
            return self._open
        self.close()
        node = self._node
        tls = self._tls(node)
        name = ((node.tls.server_name if node.tls else None) or node.host) if tls else None
        try:
            async with asyncio.timeout(CONNECT):
                opened = await asyncio.open_connection(node.host, node.port, ssl=tls, server_hostname=name)
        except (OSError, TimeoutError) as error:
            code = failure(error) if isinstance(error, ssl.SSLError) else "unreachable"
            raise PeerFault("the audit repository cannot be reached", code=code) from None
        opened[1].get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._open = opened
        for at, frame in self._doubtful:
            if time.monotonic() - at < DOUBTFUL:
                opened[1].write(frame)
        return opened

    def _rest(self) -> None:
        """Nothing more came for a while: what was sent has arrived, as far as can be known."""
        if self._open is not None and not self._open[0].at_eof():
            self._doubtful.clear()
        self.close()

    def close(self) -> None:
        """Close the connection, if one is open."""
        opened, self._open = self._open, None
        if self._timer is not None:
            self._timer.cancel()
        if opened is not None:
            opened[1].close()


class AuditSender:
    """Handler of the queue for lanes `audit:<node>`."""

    def __init__(
        self,
        database: Database,
        node: Callable[[str], Node | None],
        tls: Callable[[Node], ssl.SSLContext | None],
        ae_title: str,
        zone: tzinfo,
        refresh: Callable[[], object] = lambda: None,
    ) -> None:
        """`node` finds a node in force, `tls` gives what a connection to it needs; `ae_title` and `zone` are ours."""
        self._database = database
        self._node = node
        self._tls = tls
        self._ae_title = ae_title
        self._zone = zone
        self._host = socket.gethostname()
        self._refresh = refresh
        self._links: dict[str, tuple[Node, _Link]] = {}

    async def __call__(self, name: str, feed: Feed) -> None:
        """Send what the lane of node `name` holds. Raises PeerFault when the repository is away."""
        while jobs := await feed.take():
            place = (name, self._node, _is_repository)
            node = known(*place) or await asyncio.to_thread(looked_up, *place, self._refresh)
            for job in jobs:
                if node is None:
                    feed.hold(job, "unknown-node")
                elif feed.paused:
                    return  # the feed gives the jobs back
                else:
                    await self._send(node, job, feed)

    async def _send(self, node: Node, job: Job, feed: Feed) -> None:
        messages = await asyncio.to_thread(self._messages, node, job)
        if node.repository is not None and node.repository.transport == "udp":
            if any(len(message) > LONGEST_DATAGRAM for message in messages):
                feed.hold(job, "too-long")
                return
            await _datagrams(node, messages)
        else:
            await self._link(node).send(messages)
        feed.done(job)
        telemetry.logger().info("audit.sent", node=node.name, job=job.id, count=len(messages))

    def _messages(self, node: Node, job: Job) -> list[bytes]:
        """The messages of a job (blocking). Raises StoreUnavailable."""
        found = self._database.read(_loaded, int(job.detail["after"]), job.subject).result()
        wanted = node.repository or Repository()
        reporter = Reporter(
            host=self._host,
            ae_title=self._ae_title,
            zone=self._zone,
            csd=wanted.codes == "dicom",
            names=wanted.patient_names,
        )
        return [
            syslog(build(record, context, reporter), record.at, self._host, wanted.message_id)
            for record, context in found
        ]

    def _link(self, node: Node) -> _Link:
        """The way to a node as it is now."""
        before, link = self._links.get(node.name, (None, None))
        if link is None or before != node:
            if link is not None:
                link.close()
            link = _Link(node, self._tls)
            self._links[node.name] = node, link
        return link

    async def close(self) -> None:
        """Close all connections."""
        for _, link in self._links.values():
            link.close()


def _loaded(connection: Connection, after: int, last: int) -> list[tuple[AuditRecord, AuditContext]]:
    records = places.rows(connection, after, last)
    return list(zip(records, surroundings.contexts(connection, records), strict=True))


async def _datagrams(node: Node, messages: Sequence[bytes]) -> None:
    """Send each message as a datagram (RFC 5426). Raises PeerFault."""
    loop = asyncio.get_running_loop()
    try:
        transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=(node.host, node.port))
    except OSError:
        raise PeerFault("the audit repository has no address", code="unreachable") from None
    try:
        for message in messages:
            transport.sendto(message)
    finally:
        transport.close()
