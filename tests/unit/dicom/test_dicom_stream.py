"""A data set between the association that feeds it and the handler that reads it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from broker.dicom.dimse import stream
from broker.dicom.dimse.stream import DataStream
from broker.dicom.wire.connection import ConnectionLost
from broker.errors import BadContent


def run(work: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(5):
            await work

    asyncio.run(bounded())


async def settle() -> None:
    """Let every task that can go on do so."""
    for _ in range(10):
        await asyncio.sleep(0)


def test_what_is_fed_is_read() -> None:
    async def work() -> None:
        data = DataStream(limit=100)
        await data.feed(memoryview(b"abc"), False)
        await data.feed(memoryview(b"def"), False)
        assert await data.read(4) == b"abcdef"
        await data.feed(memoryview(b"g"), True)
        assert data.ended
        assert await data.read(1000) == b"g"
        assert await data.read(1) == b""
        assert await data.read(1) == b""

    run(work())


def test_a_reader_waits_for_what_it_asked() -> None:
    async def work() -> None:
        data = DataStream(limit=100)
        reading = asyncio.ensure_future(data.read(5))
        await data.feed(memoryview(b"abc"), False)
        await settle()
        assert not reading.done()
        await data.feed(memoryview(b"def"), False)
        assert await reading == b"abcdef"

    run(work())


def test_fragments_are_copied() -> None:
    """The wire reuses its buffer."""

    async def work() -> None:
        buffer = bytearray(b"abc")
        data = DataStream(limit=100)
        await data.feed(memoryview(buffer), False)
        buffer[:] = b"xyz"
        await data.feed(memoryview(buffer), True)
        assert await data.read_all(100) == b"abcxyz"

    run(work())


def test_a_message_without_data_is_empty() -> None:
    async def work() -> None:
        data = DataStream(limit=100, present=False)
        assert data.ended
        assert await data.read_all(10) == b""
        await data.drain()

    run(work())


def test_a_slow_reader_stops_the_feeder() -> None:
    async def work() -> None:
        data = DataStream(limit=1 << 40)
        piece = memoryview(bytes(stream.HIGH // 2 + 1))
        await data.feed(piece, False)
        feeding = asyncio.ensure_future(data.feed(piece, False))
        await settle()
        assert not feeding.done()
        await data.read(1)
        await feeding

    run(work())


def test_more_than_fits_can_be_asked_for() -> None:
    """A reader that asks for more than may wait here gets what there is, instead of a deadlock."""

    async def work() -> None:
        data = DataStream(limit=1 << 40)
        reading = asyncio.ensure_future(data.read(stream.HIGH * 4))
        piece = memoryview(bytes(stream.HIGH + 1))
        await data.feed(piece, False)
        assert len(await reading) == stream.HIGH + 1

    run(work())


def test_a_lost_connection_reaches_the_reader() -> None:
    async def work() -> None:
        data = DataStream(limit=100)
        reading = asyncio.ensure_future(data.read(10))
        await data.feed(memoryview(b"abc"), False)
        data.fail(ConnectionLost())
        with pytest.raises(ConnectionLost):
            await reading
        with pytest.raises(ConnectionLost):
            await data.drain()

    run(work())


def test_a_connection_lost_after_the_last_byte_changes_nothing() -> None:
    async def work() -> None:
        data = DataStream(limit=100)
        await data.feed(memoryview(b"abc"), True)
        data.fail(ConnectionLost())
        assert await data.read_all(10) == b"abc"

    run(work())


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("before", [0, 80, 100])
def test_too_much_is_never_passed_as_the_whole(before: int, last: bool) -> None:
    """Not even when the fragment that is too much is the last one: a cut object would count as complete."""

    async def work() -> None:
        data = DataStream(limit=100)
        await data.feed(memoryview(bytes(before)), False)
        await data.feed(memoryview(bytes(101 - before)), last)
        with pytest.raises(BadContent) as caught:
            await data.read_all(1000)
        assert caught.value.code == "too-large"
        if not last:
            await data.feed(memoryview(bytes(50)), True)
        with pytest.raises(BadContent):
            await data.read(1)
        await data.drain()

    run(work())


def test_too_much_costs_no_memory() -> None:
    async def work() -> None:
        data = DataStream(limit=100)
        for _ in range(10):
            await data.feed(memoryview(bytes(stream.HIGH)), False)
        assert data.received == 10 * stream.HIGH
        assert data._held <= 100

    run(work())


def test_exactly_the_limit_passes() -> None:
    async def work() -> None:
        data = DataStream(limit=100)
        await data.feed(memoryview(bytes(100)), True)
        assert len(await data.read_all(100)) == 100

    run(work())


def test_a_service_may_ask_for_less() -> None:
    async def work() -> None:
        data = DataStream(limit=1000)
        await data.feed(memoryview(bytes(60)), False)
        await data.feed(memoryview(bytes(60)), True)
        with pytest.raises(BadContent):
            await data.read_all(100)

    run(work())


def test_discarding_lets_the_feeder_go_on() -> None:
    async def work() -> None:
        data = DataStream(limit=1 << 40)
        piece = memoryview(bytes(stream.HIGH + 1))
        feeding = asyncio.ensure_future(data.feed(piece, False))
        await settle()
        assert not feeding.done()
        data.discard()
        await feeding
        await data.feed(piece, False)
        await data.feed(piece, True)
        assert data._held == 0

    run(work())


def test_draining_waits_for_the_last_byte() -> None:
    async def work() -> None:
        data = DataStream(limit=1 << 40)
        await data.feed(memoryview(b"abc"), False)
        draining = asyncio.ensure_future(data.drain())
        await settle()
        assert not draining.done()
        await data.feed(memoryview(b"d"), True)
        await draining
        assert data.received == 4

    run(work())
