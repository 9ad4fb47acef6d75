from __future__ import annotations

import asyncio
import resource
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from broker import telemetry
from broker.errors import PeerFault
from broker.hl7.mllp.client import MllpClient
from broker.hl7.mllp.framing import wrap
from broker.hl7.mllp.server import Answer, Limits, MllpServer, Peer


async def echo(message: bytes, peer: Peer) -> Answer:
    return b"answer " + message


async def refuse(message: bytes, peer: Peer) -> Answer:
    return b"refused " + message[:3]


@asynccontextmanager
async def serving(handler: Callable[[bytes, Peer], Awaitable[Answer]] = echo, **limits: Any) -> Any:
    server = MllpServer("127.0.0.1", 0, handler, on_oversize=refuse, on_truncated=refuse, limits=Limits(**limits))
    await server.start()
    try:
        yield server
    finally:
        await server.stop(1)


@asynccontextmanager
async def raw(server: MllpServer) -> Any:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def answers(reader: asyncio.StreamReader, count: int) -> list[bytes]:
    async with asyncio.timeout(10):
        return [(await reader.readuntil(b"\x1c\r"))[1:-2] for _ in range(count)]


async def until_closed(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(10):
        with suppress(ConnectionError):  # a close with bytes unread is a reset
            return await reader.read(-1)
    return b""


def test_a_hundred_messages_on_one_connection() -> None:
    async def run() -> None:
        async with serving() as server, await MllpClient.connect("127.0.0.1", server.port) as client:
            for number in range(100):
                assert await client.exchange(b"%d\r" % number, 5) == b"answer %d\r" % number

    asyncio.run(run())


def test_three_messages_in_one_segment_are_answered_in_order() -> None:
    running = 0

    async def one_at_a_time(message: bytes, peer: Peer) -> Answer:
        nonlocal running
        running += 1
        assert running == 1
        await asyncio.sleep(0)
        running -= 1
        return message

    async def run() -> None:
        async with serving(one_at_a_time) as server, raw(server) as (reader, writer):
            writer.write(wrap(b"a\r") + b"\r\n" + wrap(b"b\r") + wrap(b"c"))
            assert await answers(reader, 3) == [b"a\r", b"b\r", b"c"]

    asyncio.run(run())


def test_no_end_block_then_silence_is_closed_without_an_answer() -> None:
    async def run() -> None:
        async with serving(frame_timeout=0.2) as server, raw(server) as (reader, writer):
            writer.write(b"\x0bMSH|half")
            async with await MllpClient.connect("127.0.0.1", server.port) as other:
                assert await other.exchange(b"x\r", 5) == b"answer x\r"
                assert await until_closed(reader) == b""
                assert await other.exchange(b"y\r", 5) == b"answer y\r"

    asyncio.run(run())


def test_a_byte_at_a_time_within_the_deadline_and_beyond() -> None:
    async def run() -> None:
        async with serving(frame_timeout=0.3) as server:
            async with raw(server) as (reader, writer):
                for byte in wrap(b"MSH|slow\r"):
                    writer.write(bytes([byte]))
                    await writer.drain()
                    await asyncio.sleep(0)
                assert await answers(reader, 1) == [b"answer MSH|slow\r"]
            async with raw(server) as (reader, writer):
                closed = asyncio.ensure_future(until_closed(reader))
                writer.write(b"\x0b")
                while not closed.done():  # a byte now and then never moves the deadline
                    writer.write(b"x")
                    await asyncio.wait([closed], timeout=0.02)
                assert closed.result() == b""

    asyncio.run(run())


def test_end_block_without_cr_is_answered() -> None:
    async def run() -> None:
        async with serving() as server, raw(server) as (reader, writer):
            writer.write(b"\x0bMSH\x1c")
            assert await answers(reader, 1) == [b"answer MSH"]
            writer.write(b"\x0bMSH2\x1c")
            writer.write_eof()
            assert await until_closed(reader) == wrap(b"answer MSH2")

    asyncio.run(run())


def test_embedded_end_block_is_refused() -> None:
    async def run() -> None:
        async with serving() as server, raw(server) as (reader, writer):
            writer.write(b"\x0bMSH|cut\x1c\rrest\r\x1c\r" + wrap(b"next\r"))
            assert await answers(reader, 2) == [b"refused MSH", b"answer next\r"]

    asyncio.run(run())


def test_twenty_megabytes_are_answered_with_flat_memory() -> None:
    async def run() -> None:
        async def count(message: bytes, peer: Peer) -> Answer:
            return b"%d" % len(message)

        async with serving(count) as server:
            async with await MllpClient.connect("127.0.0.1", server.port) as client:
                assert await client.exchange(b"x" * 9_999_999 + b"\r", 30) == b"10000000"
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            chunk = b"x" * 65536
            for _ in range(3):
                async with raw(server) as (reader, writer):
                    writer.write(b"\x0bMSH")
                    for _ in range(20 * 16):
                        writer.write(chunk)
                        await writer.drain()
                    assert await until_closed(reader) == wrap(b"refused MSH")
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
            assert grown < 30_000  # KiB; three messages of 20 MB

    asyncio.run(run())


def test_a_sender_that_does_not_wait_is_slowed() -> None:
    async def run() -> None:
        release = asyncio.Event()
        seen = 0

        async def slow(message: bytes, peer: Peer) -> Answer:
            nonlocal seen
            seen += 1
            await release.wait()
            return b"ok"

        async with serving(slow) as server, raw(server) as (reader, writer):
            frame = wrap(b"x" * 100_000 + b"\r")

            async def flood() -> None:
                for _ in range(200):
                    writer.write(frame)
                    await writer.drain()

            flooding = asyncio.ensure_future(flood())
            done, _ = await asyncio.wait([flooding], timeout=0.3)
            assert not done  # 20 MB do not fit into the buffers between us
            assert seen == 1
            release.set()
            assert await answers(reader, 200) == [b"ok"] * 200
            await flooding

    asyncio.run(run())


def test_stop_lets_a_running_handler_answer_and_closes_idle_connections() -> None:
    async def run() -> None:
        started, release = asyncio.Event(), asyncio.Event()

        async def slow(message: bytes, peer: Peer) -> Answer:
            started.set()
            await release.wait()
            return b"done"

        async with serving(slow) as server, raw(server) as (reader, writer), raw(server) as (idle, _):
            writer.write(wrap(b"a\r") + wrap(b"b\r"))
            await started.wait()
            stopping = asyncio.ensure_future(server.stop(5))
            assert await until_closed(idle) == b""
            with pytest.raises(ConnectionError):
                await asyncio.open_connection("127.0.0.1", server.port)
            assert not stopping.done()
            release.set()
            assert await until_closed(reader) == wrap(b"done")
            await stopping

    asyncio.run(run())


def test_stop_gives_up_on_a_stuck_handler() -> None:
    async def run() -> None:
        started = asyncio.Event()

        async def stuck(message: bytes, peer: Peer) -> Answer:
            started.set()
            await asyncio.Event().wait()
            return None

        async with serving(stuck) as server, raw(server) as (_, writer):
            writer.write(wrap(b"a\r"))
            await started.wait()
            async with asyncio.timeout(5):
                await server.stop(0.05)

    asyncio.run(run())


def test_no_answer_and_failing_handlers_close_the_connection() -> None:
    async def handler(message: bytes, peer: Peer) -> Answer:
        if message == b"fail\r":
            raise OSError("no disk")
        return None if message == b"close\r" else b""

    async def run() -> None:
        async with serving(handler) as server:
            for message in (b"close\r", b"fail\r"):
                client = await MllpClient.connect("127.0.0.1", server.port)
                with pytest.raises(PeerFault, match="without an answer"):
                    await client.exchange(message, 5)
            client = await MllpClient.connect("127.0.0.1", server.port)
            with pytest.raises(PeerFault, match="no answer"):
                await client.exchange(b"silent\r", 0.1)

    asyncio.run(run())


def test_limits_of_connections_and_silence() -> None:
    async def run() -> None:
        async with serving(max_connections=1, idle_timeout=0.2) as server, raw(server) as (first, writer):
            writer.write(wrap(b"x\r"))
            assert await answers(first, 1) == [b"answer x\r"]
            async with raw(server) as (second, _):
                assert await until_closed(second) == b""
                assert not first.at_eof()
            assert await until_closed(first) == b""

    asyncio.run(run())


def test_unreachable_receiver() -> None:
    async def run() -> None:
        async with serving() as server:
            port = server.port
        with pytest.raises(PeerFault):
            await MllpClient.connect("127.0.0.1", port, timeout=1)

    asyncio.run(run())


def test_a_message_without_vt_is_answered() -> None:
    async def run() -> None:
        async with serving() as server, raw(server) as (reader, writer):
            for message in (b"MSH|one\r", b"MSH|two\r"):
                writer.write(message + b"\x1c\r")
                assert await answers(reader, 1) == [b"answer " + message]
            writer.write(b"MSH|three\r\x1c\rMSH|four\r\x1c\r" + wrap(b"MSH|five\r"))
            assert len(await answers(reader, 3)) == 3

    asyncio.run(run())


@pytest.mark.parametrize("text", [b"MSH|^~\\&|never ended\r", b"PID|1\r\x1c\r", b"MS"])
def test_text_that_is_no_frame_ends_the_connection_with_a_warning(
    text: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    async def run() -> None:
        async with serving(frame_timeout=0.2, idle_timeout=0.5) as server, raw(server) as (reader, writer):
            writer.write(text)
            assert await until_closed(reader) == b""

    before = telemetry.HL7_CLOSED.labels("no-frame")._value.get()
    asyncio.run(run())
    assert telemetry.HL7_CLOSED.labels("no-frame")._value.get() == before + 1
    shown = capsys.readouterr()
    (line,) = [line for line in (shown.out + shown.err).splitlines() if "hl7.connection_closed" in line]
    assert "warning" in line
    assert "127.0.0.1" in line


@pytest.mark.parametrize("noise", [b"x", b"\0", b"\x1c"])
def test_bytes_without_a_frame_end_the_connection_before_its_deadlines(noise: bytes) -> None:
    async def run() -> None:
        async with serving(frame_timeout=600, idle_timeout=600) as server, raw(server) as (reader, writer):
            writer.write(noise * 64 * 1024 + wrap(b"MSH|one\r"))
            assert await answers(reader, 1) == [b"answer MSH|one\r"]
            for _ in range(64):
                writer.write(noise * 1024)
            await writer.drain()
            writer.write(noise)
            assert await until_closed(reader) == b""

    asyncio.run(run())


def test_text_without_vt_is_refused_by_a_strict_listener() -> None:
    async def run() -> None:
        server = MllpServer("127.0.0.1", 0, echo, on_oversize=refuse, on_truncated=refuse, strict=True)
        await server.start()
        async with raw(server) as (reader, writer):
            writer.write(b"MSH|one\r\x1c\r")
            assert await until_closed(reader) == b""
        await server.stop(1)

    asyncio.run(run())
