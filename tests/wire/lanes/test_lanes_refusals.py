"""Delivers objects to destinations that refuse, break off or fall silent, and objects that cannot be sent."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import Connection, update
from structlog.testing import capture_logs
from support.delivery.hospital import Hospital, pacs, scripted_pacs
from support.dicom.objects import ct_slice
from support.loops import run, until
from support.peers.peers import received, storescp
from support.queue.lanes import dispatching
from support.store.altering import flip_bit
from support.store.spool import spool_files

from broker.delivery import object_source
from broker.queue.retry_policy import RetryPolicy
from broker.store import jobs
from broker.store.schema import tables

CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"


def test_dm19_a_refused_context_holds_only_the_objects_that_need_it(hospital: Hospital) -> None:
    hospital.slices(2)
    hospital.slices(1, SOPClassUID=MR)
    hospital.slices(1)
    with pacs(hospital, lambda event: 0, CT):
        hospital.until_settled("done", "done", "held", "done")
    assert hospital.queue.errors()[2] == "no-presentation-context"
    assert hospital.queue.breaker()[0] == 0


def test_dm18_a_refusal_holds_the_object_and_a_warning_is_done_and_noted(hospital: Hospital) -> None:
    statuses = (0xC000, 0xA900, 0x0122, 0x0111, 0xB000, 0xB007, 0x0001, 0x0000)
    warned = warnings()
    answers = dict(zip((item.sop_instance for item in hospital.slices(len(statuses))), statuses, strict=True))
    with pacs(hospital, lambda event: answers[event.request.AffectedSOPInstanceUID]):
        hospital.until_settled(*["held"] * 4, *["done"] * 4)
    assert hospital.queue.errors() == [f"status-{status:04X}" if status else "" for status in statuses]
    assert hospital.queue.breaker()[0] == 0
    assert [now - before for now, before in zip(warnings(), warned, strict=True)] == [1, 0, 1, 0]


def warnings() -> list[float]:
    """How many objects node `pacs` took with each warning, as the metrics have it."""
    labels = [{"node": "pacs", "status": status} for status in ("B000", "B006", "B007", "other")]
    return [REGISTRY.get_sample_value("broker_delivery_warnings_total", one) or 0 for one in labels]


def test_a_busy_destination_is_left_alone_and_tried_again(hospital: Hospital) -> None:
    hospital.slices(10)
    answers: list[int] = []

    def answer(event: Any) -> int:
        answers.append(0xA700 if len(answers) < 5 else 0)
        return answers[-1]

    with pacs(hospital, answer) as associations:
        hospital.until_settled(*["done"] * 10)
        assert len(associations) > 1  # three in a row: the association ended
    assert [row["failures"] for row in hospital.queue.rows()] == [0] * 10


def test_our_own_duplicate_is_done(hospital: Hospital) -> None:
    """The answer to the first try was lost; the destination knows the object."""
    hospital.slices(1)
    tries: list[int] = []

    def answer(event: Any) -> int:
        tries.append(1)
        if len(tries) == 1:
            event.assoc.abort()
        return 0x0111

    with pacs(hospital, answer):
        hospital.until_settled("done")


# --- destinations that break off, are away or fall silent ------------------------------------------------


def test_an_object_that_ends_every_association_does_not_hold_up_the_others(hospital: Hospital) -> None:
    poison, *_ = hospital.slices(4)

    def answer(event: Any) -> int:
        if event.request.AffectedSOPInstanceUID == poison.sop_instance:
            event.assoc.abort()
        return 0

    with pacs(hospital, answer):
        hospital.until_settled("held", "done", "done", "done")
    assert hospital.queue.rows()[0]["failures"] == 4
    assert hospital.queue.errors()[0] == "aborted"


def test_a_destination_that_is_away_costs_the_objects_nothing(hospital: Hospital, tmp_path: Path) -> None:
    hospital.slices(3)
    with storescp(tmp_path / "first") as port:
        hospital.destination(port)

    async def work() -> None:
        async with dispatching(hospital.database, hospital.delivery()):
            await until(lambda: hospital.queue.breaker()[0] >= 3, "it failed three times")
            assert hospital.states() == ["ready"] * 3

    run(work())
    with storescp(tmp_path / "again", port=port):
        hospital.until_settled(*["done"] * 3)
        assert len(received(tmp_path / "again")) == 3
    assert [row["failures"] for row in hospital.queue.rows()] == [0] * 3


def test_dm20_a_destination_that_never_reads_meets_a_deadline(hospital: Hospital) -> None:
    hospital.take(ct_slice(30_000_000))
    over = asyncio.Event()

    async def work() -> None:
        server = await asyncio.start_server(scripted_pacs(over), "127.0.0.1", 0)
        hospital.destination(server.sockets[0].getsockname()[1], answer_timeout=0.3)
        async with dispatching(hospital.database, hospital.delivery(), policy=RetryPolicy(30, 60, 1000)):
            await until(lambda: hospital.queue.breaker()[0] == 1, "the deadline passed")
            await until(lambda: hospital.states() == ["ready"], "the lease is returned")
            assert hospital.queue.breaker()[2] == "deadline"
        over.set()
        server.close()

    run(work())


def test_objects_older_than_their_time_are_given_up(hospital: Hospital) -> None:
    hospital.slices(1)
    hospital.destination(1)

    def age(connection: Connection) -> None:
        connection.execute(update(tables.job).values(created_at=1.0, attempts=10_000_000))

    hospital.database.submit(age).result(10)
    hospital.until_settled("held")
    assert hospital.queue.errors() == ["gave-up"]


# --- objects that cannot be sent -------------------------------------------------------------------------


def test_a_file_that_is_gone_or_damaged_is_held(hospital: Hospital) -> None:
    files = []
    for _ in range(3):
        before = set(spool_files(hospital.spool.root))
        hospital.slices(1)
        files += set(spool_files(hospital.spool.root)) - before
    files[0].unlink()
    files[1].write_bytes(files[1].read_bytes()[:-2])
    with pacs(hospital, lambda event: 0):
        hospital.until_settled("held", "held", "done")
    assert hospital.queue.errors()[:2] == ["file-missing", "file-damaged"]


def test_a_file_that_becomes_shorter_while_it_is_sent_never_arrives_cut(
    hospital: Hospital, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_source, "CHUNK", 400)
    hospital.take(ct_slice(1000))
    real = hospital.spool.read

    def read(name: str, offset: int, size: int) -> bytes:
        data = real(name, offset, size)
        os.truncate(hospital.spool.locate(name), offset + size)
        return data

    monkeypatch.setattr(hospital.spool, "read", read)
    arrived: list[Any] = []

    def answer(event: Any) -> int:
        arrived.append(event)
        return 0

    with pacs(hospital, answer) as associations:
        hospital.until_settled("held")
    assert arrived == []
    assert len(associations) >= 1
    assert hospital.queue.errors() == ["file-damaged"]


@pytest.mark.parametrize("kept", ["in one piece", "in pieces", "in the database"])
@pytest.mark.parametrize("place", [0, 700, -1])
def test_altered_bytes_are_never_taken_for_the_object(
    hospital: Hospital, monkeypatch: pytest.MonkeyPatch, kept: str, place: int
) -> None:
    """A bit flips on the disk: the object is held, the others go, and nobody has taken the altered one."""
    if kept == "in pieces":
        monkeypatch.setattr(object_source, "CHUNK", 400)
    hospital.reception.small = 1 << 20 if kept == "in the database" else 0
    items = hospital.slices(4)
    flip_bit(hospital.database, hospital.spool, 2, place)
    arrived: list[str] = []

    def answer(event: Any) -> int:
        arrived.append(event.request.AffectedSOPInstanceUID)
        return 0

    with pacs(hospital, answer):
        hospital.until_settled("done", "held", "done", "done")
        assert hospital.queue.errors() == ["", "file-altered", "", ""]
        assert arrived == [item.sop_instance for item in items if item is not items[1]]
        assert hospital.queue.breaker()[0] == 0
        hospital.take(items[1])  # the modality sends it again: that mends it
        hospital.until_settled("done", "done", "done", "done")
    assert arrived[-1] == items[1].sop_instance
    hospital.take(items[1])  # and then it is a duplicate like any other
    assert hospital.states() == ["done"] * 4


def test_a_job_without_an_object_is_held_though_nothing_else_is_there(hospital: Hospital) -> None:
    """Without an object there is no context to propose, and no association to be had."""
    hospital.queue.put(4711)
    with pacs(hospital, lambda event: 0) as associations:
        hospital.until_settled("held")
        assert associations == []
    assert hospital.queue.errors() == ["no-instance"]


def test_jobs_of_a_node_that_no_longer_exists_are_held(hospital: Hospital) -> None:
    hospital.slices(2)
    hospital.database.submit(jobs.open_breaker, "deliver:pacs", 3, 0.0, "connect-failed").result(10)
    with capture_logs() as logs:
        hospital.until_settled("held", "held")
    assert hospital.queue.errors() == ["unknown-node"] * 2
    assert "lane.mended" not in {line["event"] for line in logs}  # nobody was spoken to
    assert hospital.queue.breaker()[0] == 0


def test_a_node_that_another_process_knows_already_is_looked_up_before_its_jobs_are_held(hospital: Hospital) -> None:
    refreshed: list[int] = []
    hospital.slices(2)

    with pacs(hospital, lambda event: 0):
        published, hospital.nodes = hospital.nodes, {}

        def refresh() -> None:
            refreshed.append(1)
            hospital.nodes |= published

        hospital.refresh = refresh
        hospital.until_settled("done", "done")
    assert refreshed == [1]
