"""Delivers objects to real destinations that behave: bytes, associations, order, reading ahead."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from support.delivery.hospital import Hospital, pacs, scripted_pacs
from support.dicom.objects import ct_slice
from support.loops import SOON, remains, run, until
from support.peers.peers import received, storescp
from support.peers.tools import wait_until
from support.queue.lanes import dispatching

from broker.delivery import image_sender
from broker.delivery.image_sender import ImageSender
from broker.queue import feed
from broker.site.remotes import Remotes

CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"


def test_objects_reach_storescp_byte_by_byte(hospital: Hospital, tmp_path: Path) -> None:
    items = [*hospital.slices(5), hospital.take(ct_slice(2_500_000))]
    with storescp(tmp_path / "pacs") as port:
        hospital.destination(port)
        hospital.until_settled(*["done"] * 6)
        assert received(tmp_path / "pacs") == {item.sop_instance: item.data for item in items}


def test_many_objects_share_one_association(hospital: Hospital) -> None:
    hospital.slices(150)
    with pacs(hospital, lambda event: 0) as associations:
        hospital.until_settled(*["done"] * 150)
        assert len(associations) == 1


def test_an_association_stays_for_the_next_object_and_is_released_at_the_end(hospital: Hospital) -> None:
    hospital.slices(1)
    released: list[Any] = []
    with pacs(hospital, lambda event: 0, released=released.append) as associations:

        async def work() -> None:
            delivery = hospital.delivery()
            async with dispatching(hospital.database, delivery) as dispatcher:
                for count in range(1, 6):
                    await until(lambda n=count: hospital.states() == ["done"] * n, "it is done")
                    await until(lambda: not dispatcher.busy, "the lane has ended")
                    await asyncio.to_thread(hospital.slices, 1)
                    dispatcher.wake()
                await until(lambda: hospital.states() == ["done"] * 6, "all are done")
                assert released == []
            await delivery.close()
            await until(lambda: len(released) == 1, "it is released")

        run(work())
        assert len(associations) == 1


@pytest.mark.parametrize("how", ["while it is idle", "when it is used again"])
def test_an_association_that_the_destination_ended_is_no_fault_of_the_object(hospital: Hospital, how: str) -> None:
    hospital.slices(1)
    stored: list[Any] = []

    def answer(event: Any) -> int:
        first = all(event.assoc is not assoc for assoc in stored)
        stored.append(event.assoc)
        if how == "when it is used again" and not first and len(set(stored)) == 1:
            event.assoc.abort()
        return 0

    with pacs(hospital, answer) as associations:

        async def work() -> None:
            delivery = hospital.delivery()
            async with dispatching(hospital.database, delivery) as dispatcher:
                await until(lambda: hospital.states() == ["done"], "the first is done")
                if how == "while it is idle":
                    await asyncio.to_thread(stored[0].abort)
                await asyncio.to_thread(hospital.slices, 1)
                dispatcher.wake()
                await until(lambda: hospital.states() == ["done", "done"], "the second is done")
            await delivery.close()

        run(work())
        assert len(associations) == 2
    assert [(row["attempts"], row["failures"]) for row in hospital.queue.rows()] == [(1, 0), (1, 0)]
    assert hospital.queue.breaker()[0] == 0


def test_a_destination_that_moves_is_found_at_its_new_address(hospital: Hospital) -> None:
    hospital.slices(1)
    with pacs(hospital, lambda event: 0) as old:
        before = hospital.nodes
        with pacs(hospital, lambda event: 0) as new:
            after, hospital.nodes = hospital.nodes, before

            async def work() -> None:
                delivery = ImageSender(
                    hospital.database, hospital.spool, lambda name: hospital.nodes.get(name),
                    Remotes("BROKER", None, Path()),
                )  # fmt: skip
                async with dispatching(hospital.database, delivery) as dispatcher:
                    await until(lambda: hospital.states() == ["done"], "the first is done")
                    hospital.nodes = after
                    await asyncio.to_thread(hospital.slices, 1)
                    dispatcher.wake()
                    await until(lambda: hospital.states() == ["done", "done"], "the second is done")
                await delivery.close()

            run(work())
            assert (len(old), len(new)) == (1, 1)


def test_objects_of_a_kind_that_came_later_get_an_association_of_their_own(hospital: Hospital) -> None:
    first = hospital.slices(1)[0]
    added: list[Any] = []

    def answer(event: Any) -> int:
        if not added:
            added.append(hospital.slices(1, SOPClassUID=MR))
        return 0

    with pacs(hospital, answer, CT, MR) as associations:
        hospital.until_settled("done", "done")
        assert len(associations) == 2
    assert first.sop_class == CT


def test_a_second_version_waits_for_the_first(hospital: Hospital) -> None:
    first, second = (hospital.take(ct_slice(1000, SOPInstanceUID="2.999.1")) for _ in range(2))
    got: list[bytes] = []
    tries: list[int] = []

    def answer(event: Any) -> int:
        tries.append(1)
        if len(tries) == 1:
            return 0xA700
        got.append(event.request.DataSet.getvalue())
        return 0

    with pacs(hospital, answer):
        hospital.until_settled("done", "done")
    assert got == [first.data, second.data]


def test_the_next_object_is_read_while_the_one_before_is_stored(
    hospital: Hospital, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = hospital.slices(2)
    ahead = threading.Event()
    real = hospital.spool.read
    count = [0]

    def read(name: str, offset: int, size: int) -> bytes:
        count[0] += 1
        if count[0] == 2:
            ahead.set()
        return real(name, offset, size)

    monkeypatch.setattr(hospital.spool, "read", read)
    waited: list[bool] = []

    def answer(event: Any) -> int:
        waited.append(ahead.wait(10))
        return 0

    with pacs(hospital, answer):
        hospital.until_settled("done", "done")
    assert waited == [True, True]
    assert first.sop_instance != second.sop_instance


@pytest.mark.parametrize("stops", [False, True])
def test_the_next_jobs_are_claimed_while_the_last_ones_are_sent(
    hospital: Hospital, monkeypatch: pytest.MonkeyPatch, stops: bool
) -> None:
    """A broker that stops meanwhile sends what it had begun with, and gives back what was claimed ahead."""
    monkeypatch.setattr(feed, "BATCH", 4)
    monkeypatch.setattr(image_sender, "AHEAD", 2)
    hospital.slices(6)
    received: list[Any] = []
    stopping = threading.Event()

    def answer(event: Any) -> int:
        received.append(event)
        if len(received) == 3:
            wait_until(lambda: hospital.states()[4:] == ["leased"] * 2, 10, "the next ones are claimed")
            assert not stops or stopping.wait(10)
        return 0

    async def work() -> None:
        sender = hospital.delivery()
        async with dispatching(hospital.database, sender) as dispatcher:
            if stops:
                await until(lambda: hospital.states()[4:] == ["leased"] * 2, "the next ones are claimed")
                ended = asyncio.ensure_future(dispatcher.stop(10))
                await until(lambda: dispatcher.stopping, "it stops")
                stopping.set()
                await ended
            else:
                await until(lambda: hospital.states() == ["done"] * 6, "all are sent")
        await sender.close()

    with pacs(hospital, answer) as associations:
        run(work())
    assert hospital.states() == ["done"] * 4 + ["ready" if stops else "done"] * 2
    assert len(received) == (4 if stops else 6)
    assert len(associations) == 1


def test_stopping_inside_a_transfer_returns_the_job(hospital: Hospital) -> None:
    hospital.take(ct_slice(30_000_000))
    over = asyncio.Event()

    async def work() -> None:
        server = await asyncio.start_server(scripted_pacs(over), "127.0.0.1", 0)
        hospital.destination(server.sockets[0].getsockname()[1])
        async with dispatching(hospital.database, hospital.delivery(), grace=0.1):
            await until(lambda: hospital.states() == ["leased"], "the transfer has begun")
            await remains(lambda: hospital.states() == ["leased"])
            started = time.monotonic()
        assert time.monotonic() - started < SOON
        over.set()
        server.close()

    run(work())
    assert hospital.states() == ["ready"]
    assert [row["failures"] for row in hospital.queue.rows()] == [0]
