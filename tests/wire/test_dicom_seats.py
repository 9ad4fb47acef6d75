"""An address that keeps connections or unfinished PDUs open takes nothing from others at a DICOM listener."""

from __future__ import annotations

import asyncio
import struct
from contextlib import AsyncExitStack

from support.dicom import raw
from support.dicom.provider import ABORT, CLOSED, assert_serves, peer, serving
from support.loops import run, takes, until

STRANGER, NODE = "127.0.0.2", "127.0.0.3"
HALF = struct.pack(">BBI", 1, 0, 262_144) + bytes(200_000)  # of an A-ASSOCIATE-RQ


def test_unfinished_pdus_of_strangers_have_a_limit_in_all() -> None:
    async def work() -> None:
        limits = {"open_bytes": 2 * 1024**2, "half_open_per_address": 20, "association_request_timeout": 30}
        async with serving(known=[NODE], **limits) as provider, AsyncExitStack() as stack:
            node = await stack.enter_async_context(peer(provider, source=NODE))
            await node.send(HALF)
            crowd = [await stack.enter_async_context(peer(provider, source=STRANGER)) for _ in range(12)]
            for stranger in crowd:
                await stranger.send(HALF)
            gone = [asyncio.create_task(stranger.ended()) for stranger in crowd]
            await until(lambda: sum(task.done() for task in gone) >= 8, "most of them end")
            seats = provider._entrance.seats
            assert 0 < seats.bytes <= 2 * 1024**2
            await until(lambda: len(seats._guests) == 5, "the node and four strangers are left")
            await assert_serves(provider)
            for task in gone:
                task.cancel()

    run(work())


def test_a_whole_association_request_has_one_deadline() -> None:
    """However its bytes come, and however long the first of them takes."""

    async def work() -> None:
        async with serving(association_request_timeout=3) as provider, peer(provider) as slow:
            began = asyncio.get_running_loop().time()
            await takes(2)
            await slow.send(raw.associate_rq([(raw.VERIFICATION, raw.IMPLICIT)])[:-1])
            assert (await slow.pdu())[0] == CLOSED
            assert asyncio.get_running_loop().time() - began < 4.8

    run(work())


def test_an_association_of_a_stranger_that_asks_nothing_ends_soon() -> None:
    async def work() -> None:
        async with (
            serving(known=[NODE], association_request_timeout=0.5, idle_timeout=30) as provider,
            peer(provider, source=STRANGER) as silent,
            peer(provider, source=STRANGER) as asks,
            peer(provider, source=NODE) as node,
        ):
            for each in (asks, silent, node):
                await each.associate()
                if each is asks:
                    await asks.send(raw.echo_rq())
                    assert await asks.status() == 0
            assert (await silent.ended())[0] == ABORT
            for each in (asks, node):
                await each.send(raw.echo_rq(2))
                assert await each.status() == 0

    run(work())
