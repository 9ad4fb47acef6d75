"""A burst of connections keeps nobody waiting: the system holds them until they are accepted.

Where its queue is full, a new connection is tried again by TCP only after a second (RFC 6298 2.1).
"""

from __future__ import annotations

import resource
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from fastapi import FastAPI
from support.dicom.provider import serving
from support.loops import run

from broker.hl7.mllp.server import Answer, MllpServer, Peer
from broker.service.doors.web_gate import WebLimits
from broker.service.web import WebServer

BURST = 1000


async def silent(message: bytes, peer: Peer) -> Answer:
    return b""


@asynccontextmanager
async def hl7() -> AsyncIterator[int]:
    server = MllpServer("127.0.0.1", 0, silent, on_oversize=silent, on_truncated=silent)
    await server.start()
    try:
        yield server.port
    finally:
        await server.stop(1)


@asynccontextmanager
async def dicom() -> AsyncIterator[int]:
    async with serving() as provider:
        yield provider.port


@asynccontextmanager
async def web() -> AsyncIterator[int]:
    server = WebServer(FastAPI(), "127.0.0.1", 0, WebLimits())
    await server.start()
    try:
        assert server.listening is not None
        yield server.listening[1]
    finally:
        await server.stop()


@pytest.fixture
def descriptors() -> Iterator[None]:
    """Both ends of the burst are in this process; a user often has 1024 descriptors, and may have more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 3 * BURST:
        pytest.skip(f"needs {3 * BURST} descriptors: ulimit -Hn")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 3 * BURST), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("descriptors")
@pytest.mark.parametrize("door", [hl7, dicom, web])
def test_a_burst_of_connections_waits_in_the_queue_of_the_system(door: object) -> None:
    if int(Path("/proc/sys/net/core/somaxconn").read_text()) < BURST:
        pytest.skip(f"needs net.core.somaxconn of {BURST} or more")

    async def work() -> None:
        async with door() as port, AsyncExitStack() as stack:  # type: ignore[operator]
            for _ in range(BURST):  # the loop of the server is held meanwhile: nothing is accepted
                connection = socket.socket()
                stack.callback(connection.close)
                connection.setblocking(False)
                assert connection.connect_ex(("127.0.0.1", port)) == 115  # EINPROGRESS
            late = 0
            for _ in range(20):
                with socket.socket() as one_more:
                    one_more.settimeout(0.9)
                    try:
                        one_more.connect(("127.0.0.1", port))
                    except TimeoutError:
                        late += 1
                        break
            assert late == 0

    run(work())
