"""Sends HL7 messages over MLLP, one after the other on one connection, and tells each answer."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from broker.hl7.mllp.client import MllpClient
from broker.hl7.reply import Reply, read_reply


@dataclass(frozen=True, slots=True)
class MllpTarget:
    """Where messages go, and how long to wait (s) for the connection and for each answer."""

    host: str
    port: int
    timeout: float = 30
    tls: ssl.SSLContext | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    """A message by its place from 0, its answer, and the time it took (s)."""

    index: int
    reply: Reply
    seconds: float


async def send(target: MllpTarget, messages: Sequence[bytes], count: int, tell: Callable[[Answered], None]) -> bool:
    """Send all messages `count` times; True if every answer is positive and is about its message.

    Raises PeerFault at the first message that gets no answer.
    """
    good = True
    async with await MllpClient.connect(target.host, target.port, target.timeout, target.tls) as client:
        for _ in range(count):
            for index, message in enumerate(messages):
                started = time.perf_counter()
                reply = read_reply(await client.exchange(message, target.timeout))
                tell(Answered(index, reply, time.perf_counter() - started))
                good = good and reply.positive
    return good
