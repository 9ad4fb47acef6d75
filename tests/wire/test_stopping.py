"""The broker stops while peers are connected."""

from __future__ import annotations

import asyncio
import time

import pytest
from support.dicom import raw as wire
from support.dicom.provider import ABORT, CLOSED, busy, peer, query, serving, storage
from support.dicom.raw import CT, WORKLIST
from support.loops import SOON, run, takes, until

from broker.dicom import uids
from broker.dicom.dimse import status as st
from broker.dicom.dimse.request import Request


@pytest.mark.parametrize("waits_for", ["data", "nothing"])
def test_stopping_lets_a_handler_finish(waits_for: str) -> None:
    async def slow(request: Request) -> None:
        await request.data.read_all(1 << 20)
        await takes(0.2)
        await request.respond(st.SUCCESS)

    async def work() -> None:
        async with serving(storage(slow)) as provider, peer(provider) as modality, peer(provider) as idle:
            await modality.associate((CT, uids.EXPLICIT_LE))
            await idle.associate()
            part = wire.p_data(1, bytes(10), is_command=False, last=waits_for == "nothing")
            await modality.send(wire.store_rq(), part)
            await until(lambda: busy(provider), "the handler runs")
            port = provider.port
            stopping = asyncio.ensure_future(provider.stop(5))
            assert (await idle.ended())[0] == ABORT
            if waits_for == "data":
                await modality.send(wire.p_data(1, bytes(10), is_command=False))
            assert await modality.status() == st.SUCCESS
            assert (await modality.ended())[0] == ABORT
            await stopping
            assert not provider.accepting
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", port)

    run(work())


def test_stopping_does_not_wait_longer_than_its_grace() -> None:
    cancelled = []

    async def hang(request: Request) -> None:
        await request.data.drain()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(1)
            raise

    async def work() -> None:
        async with serving(query(hang), pdu_timeout=20) as provider, peer(provider) as modality:
            await modality.associate((WORKLIST, uids.IMPLICIT_LE))
            await modality.send(wire.find_rq())
            await until(lambda: busy(provider), "the handler runs")
            started = time.monotonic()
            await provider.stop(0.1)
            assert time.monotonic() - started < SOON
            assert cancelled == [1]
            assert (await modality.ended())[0] in (ABORT, CLOSED)

    run(work(), 15)


def test_stopping_ends_connections_that_negotiate() -> None:
    async def work() -> None:
        async with serving() as provider, peer(provider) as slow, peer(provider):
            await slow.send(wire.associate_rq([(uids.VERIFICATION, uids.IMPLICIT_LE)])[:50])
            await until(lambda: len(provider._sessions) == 2, "both are there")
            started = time.monotonic()
            await provider.stop(20)
            assert time.monotonic() - started < SOON

    run(work())
