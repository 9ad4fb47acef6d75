"""An address that keeps connections or unfinished frames open takes nothing from others at an HL7 listener."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from functools import wraps
from typing import Any

import pytest
from structlog.testing import capture_logs

from broker import telemetry
from broker.hl7.mllp.framing import wrap
from broker.hl7.mllp.server import Answer, Limits, MllpServer, Peer


def on_loop(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run a test that is a coroutine."""

    @wraps(test)
    def run(**arguments: Any) -> None:
        asyncio.run(test(**arguments))  # type: ignore[arg-type]

    return run


STRANGER, RIS = "127.0.0.2", "127.0.0.3"


async def take(message: bytes, peer: Peer) -> Answer:
    """As the door of orders does: a message that is taken proves its sender."""
    peer.proven = peer.proven or message.startswith(b"good")
    return b"answer"


async def refuse(message: bytes, peer: Peer) -> Answer:
    return b"refused"


@asynccontextmanager
async def serving(handler: Callable[[bytes, Peer], Awaitable[Answer]] = take, **limits: Any) -> Any:
    server = MllpServer(
        "127.0.0.1", 0, handler, on_oversize=refuse, on_truncated=refuse, limits=Limits(**limits),
        known=lambda address: address == RIS,
    )  # fmt: skip
    await server.start()
    try:
        yield server
    finally:
        await server.stop(1)


@asynccontextmanager
async def calling(server: MllpServer, address: str) -> Any:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, local_addr=(address, 0))
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def exchange(streams: Any, message: bytes) -> bytes:
    reader, writer = streams
    writer.write(wrap(message))
    async with asyncio.timeout(20):
        return bytes(await reader.read(100))


async def ended(streams: Any) -> bool:
    async with asyncio.timeout(20):
        with suppress(ConnectionError):
            return await streams[0].read() == b""
    return True


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@on_loop
async def test_silent_connections_of_one_address_do_not_shut_out_another() -> None:
    refused = telemetry.HL7_REFUSED.labels("address-full")._value.get
    before = refused()
    with capture_logs() as logged:
        async with serving(max_connections=20, per_address=10) as server, AsyncExitStack() as stack:
            crowd = [await stack.enter_async_context(calling(server, STRANGER)) for _ in range(60)]
            assert all([await ended(streams) for streams in crowd[10:]])
            for address in ("127.0.0.4", RIS):
                assert await exchange(await stack.enter_async_context(calling(server, address)), b"good") != b""
            assert not crowd[0][0].at_eof()
    assert refused() == before + 50
    lines = [line for line in logged if line["event"] == "hl7.connections_full"]
    assert 1 <= len(lines) < 20
    assert {line["reason"] for line in lines} == {"address-full"}


@on_loop
async def test_unfinished_frames_of_all_connections_have_a_limit() -> None:
    most, size = 1024**2, 300_000
    async with serving(open_frames=most) as server, AsyncExitStack() as stack:
        known = await stack.enter_async_context(calling(server, RIS))
        known[1].write(b"\x0bgood" + b"x" * size)
        await until(lambda: server.seats.bytes > size)
        crowd = [await stack.enter_async_context(calling(server, STRANGER)) for _ in range(8)]
        for _, writer in crowd:
            writer.write(b"\x0b" + b"x" * size)
        gone = [asyncio.create_task(ended(streams)) for streams in crowd]
        await until(lambda: sum(task.done() for task in gone) >= 5)
        assert size < server.seats.bytes <= most
        known[1].write(b"\x1c\r")
        assert await exchange(known, b"good") != b""
        for task in gone:
            task.cancel()
    assert server.seats.bytes == 0


@on_loop
async def test_strangers_have_little_time_until_a_message_is_taken() -> None:
    async with serving() as server, AsyncExitStack() as stack:
        good = await stack.enter_async_context(calling(server, "127.0.0.6"))
        assert await exchange(good, b"good") != b""
        server.limits = replace(server.limits, first_timeout=0.5)
        silent, bad, known = [
            await stack.enter_async_context(calling(server, address)) for address in ("127.0.0.5", STRANGER, RIS)
        ]
        bad[1].write(wrap(b"bad"))  # its answer does not come if this machine is busy
        assert await ended(silent)
        async with asyncio.timeout(20):
            await bad[0].read()
        assert await exchange(good, b"bad") != b""
        assert await exchange(known, b"bad") != b""
        later = await stack.enter_async_context(calling(server, "127.0.0.6"))  # which has sent a good one before
        third = await stack.enter_async_context(calling(server, "127.0.0.5"))
        assert await ended(third)
        assert await exchange(later, b"bad") != b""


@pytest.mark.parametrize("size", [100, 200_000])
@on_loop
async def test_what_a_message_holds_is_given_back(size: int) -> None:
    async with serving() as server, calling(server, STRANGER) as streams:
        assert await exchange(streams, b"good" + b"x" * size) != b""
        await until(lambda: server.seats.bytes == 0)
