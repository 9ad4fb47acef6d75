"""The door of storage commitment: statuses of requests and of reports, over real associations. DM-05."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from support.dicom.archive import COMMITMENT, COMMITMENT_INSTANCE, to_bytes
from support.dicom.asking import Asking
from support.dicom.commitments import ask, request
from support.dicom.provider import Anybody
from support.loops import SOON
from support.peers.tools import wait_until
from support.store.commitments import CommitmentHouse
from support.store.rows import all_of

from broker.audit.book import AuditBook
from broker.commitment import scp
from broker.commitment.scp import CommitmentService
from broker.dicom import uids
from broker.dicom.association.association import Association
from broker.dicom.association.provider import Provider
from broker.dicom.association.user import Proposal
from broker.dicom.dimse import status as st
from broker.errors import StoreUnavailable
from broker.site.directory import Directory
from broker.site.nodes import parse_nodes
from broker.store.commitments import asks, packing, requests
from broker.store.commitments.requests import TakenRequest, Taking
from broker.store.db.database import Database
from broker.store.schema import tables

CT = "1.2.840.10008.5.1.4.1.1.2"
NODES = [
    {"name": "ct", "kind": "dicom", "ae_title": "CT", "host": "127.0.0.1", "port": 1, "roles": ["modality"]},
    {"name": "pacs", "kind": "dicom", "ae_title": "PACS", "host": "127.0.0.1", "port": 1, "roles": ["destination"],
     "commitment": "ask"},
]  # fmt: skip


class Door:
    """A provider of the service alone."""

    def __init__(self, house: CommitmentHouse) -> None:
        self.house = house
        self.directory = Directory(parse_nodes(NODES))
        self.audit = AuditBook(house.database)
        self.port = 0

    def asking(self, title: str = "CT") -> Asking:
        return Asking(self.port, "BROKER", title)

    def report(self, title: str, ds: Dataset | bytes, kind: int = 1, instance: str = COMMITMENT_INSTANCE) -> int:
        """The status of an N-EVENT-REPORT of an archive."""

        async def work(association: Association) -> int:
            data = ds if isinstance(ds, bytes) else to_bytes(ds, uids.IMPLICIT_LE)
            return (await association.event_report(COMMITMENT, instance, kind, data)).status

        return self.asking(title).on([Proposal(COMMITMENT, (uids.IMPLICIT_LE,), scu=False, scp=True)], work)

    @contextmanager
    def open(self) -> Iterator[Door]:
        ready, over = threading.Event(), list[Any]()

        async def serve() -> None:
            done = asyncio.Event()
            over.append((asyncio.get_running_loop(), done))
            service = CommitmentService(self.house.database, self.directory, lambda: None, self.audit.tally)
            provider = Provider("127.0.0.1", 0, admission=Anybody(), services=[service.service()])
            await provider.start()
            self.port = provider.port
            ready.set()
            await done.wait()
            await provider.stop(1)
            service.close()

        thread = threading.Thread(target=lambda: asyncio.run(serve()))
        thread.start()
        try:
            assert ready.wait(10)
            yield self
        finally:
            loop, done = over[0]
            loop.call_soon_threadsafe(done.set)
            thread.join(20)


@pytest.fixture
def door(sqlite_url: str, tmp_path: Path) -> Iterator[Door]:
    database = Database(sqlite_url)
    with Door(CommitmentHouse(database, tmp_path)).open() as opened:
        yield opened
    database.close()


def without(keyword: str) -> Dataset:
    made = request([(CT, "1.1")])
    delattr(made, keyword)
    return made


def test_a_request_is_answered_by_what_is_wrong_with_it(door: Door) -> None:
    good, asking = request([(CT, "1.1")]), door.asking()
    assert ask(asking, good) == st.SUCCESS
    assert ask(asking, good) == st.SUCCESS  # once more, as its answer may have been lost
    assert ask(asking, request([(CT, "1.1")]), action=2) == st.NO_SUCH_ACTION_TYPE
    assert ask(asking, request([(CT, "1.1")]), instance="1.2.3") == st.NO_SUCH_SOP_INSTANCE
    assert ask(asking, without("TransactionUID")) == st.INVALID_ARGUMENT_VALUE
    assert ask(asking, without("ReferencedSOPSequence")) == st.INVALID_ARGUMENT_VALUE
    assert ask(asking, request([(CT, "")])) == st.INVALID_ARGUMENT_VALUE
    assert ask(door.asking("STRANGER"), request([(CT, "1.1")])) == st.NOT_AUTHORIZED
    stored = door.house.read(all_of, tables.commitment)
    assert [(row.transaction_uid, row.node, row.calling_ae, row.peer, row.count) for row in stored] == [
        (good.TransactionUID, "ct", "CT", "127.0.0.1", 1)
    ]
    assert [row.action for row in door.house.read(all_of, tables.audit)] == ["commitment.received"]


def test_a_request_that_cannot_be_kept_is_refused_for_now(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "MOST", 3)
    monkeypatch.setattr("broker.commitment.data_sets.MOST", 3)
    assert ask(door.asking(), request([(CT, f"1.{n}") for n in range(4)])) == st.RESOURCE_LIMITATION
    monkeypatch.setattr(requests, "take", lambda connection, new: TakenRequest(Taking.TOO_MANY))
    assert ask(door.asking(), request([(CT, "1.1")])) == st.RESOURCE_LIMITATION

    def away(connection: object, new: object) -> None:
        raise StoreUnavailable

    monkeypatch.setattr(requests, "take", away)
    assert ask(door.asking(), request([(CT, "1.1")])) == st.RESOURCE_LIMITATION
    assert door.house.read(all_of, tables.commitment) == []


def test_few_long_requests_are_read_at_once(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scp, "SMALL", 100)
    door_is = [ask(door.asking(), request([(CT, f"1.{n}.{m}") for n in range(2000)])) for m in range(2)]
    assert door_is == [st.SUCCESS, st.SUCCESS]
    assert {row.count for row in door.house.read(all_of, tables.commitment)} == {2000}


def test_the_service_is_there_as_long_as_a_destination_proves_something(door: Door) -> None:
    door.directory.replace(parse_nodes(NODES[:1]))
    assert ask(door.asking(), request([(CT, "1.1")])) == -1
    door.directory.replace(parse_nodes(NODES))
    assert ask(door.asking(), request([(CT, "1.1")])) == st.SUCCESS


def test_dm05_a_report_for_a_transaction_that_we_never_opened_changes_nothing(door: Door) -> None:
    house = door.house
    house.proofs = {"pacs": "ask"}
    house.sent(house.instance("1.1"))
    house.ask("1.1")
    house.walk()
    house.write(asks.begin, house.questions()[0].id, "2.25.500")
    watched = [tables.commitment, tables.commitment_ask, tables.commitment_object, tables.commitment_uid, tables.job]
    before = [house.read(all_of, table) for table in watched]
    good = request([(CT, "1.1")], "2.25.500")
    assert door.report("PACS", request([(CT, "1.1")], "2.25.501")) == st.PROCESSING_FAILURE
    assert door.report("CT", good) == st.PROCESSING_FAILURE  # that of another node
    assert door.report("STRANGER", good) == st.PROCESSING_FAILURE
    assert door.report("PACS", good, kind=3) == st.NO_SUCH_EVENT_TYPE
    assert door.report("PACS", good, instance="1.2.3") == st.NO_SUCH_SOP_INSTANCE
    assert door.report("PACS", b"\x08\0\x95") == st.INVALID_ARGUMENT_VALUE
    assert [house.read(all_of, table) for table in watched] == before
    door.audit.flush()
    rows = [row for row in house.read(all_of, tables.audit) if row.action == "commitment.refused"]
    assert [row.address for row in rows] == ["127.0.0.1"]
    assert door.report("PACS", good) == st.SUCCESS
    assert [one.state for one in house.questions()] == ["answered"]
    assert door.report("PACS", request([], "2.25.500"), kind=2) == st.SUCCESS  # once more: nothing changes
    house.walk()
    assert house.verdict(1) == [0]


def test_an_object_that_a_report_leaves_out_is_not_committed(door: Door) -> None:
    house = door.house
    house.proofs = {"pacs": "ask"}
    for uid in ("1.1", "1.2"):
        house.sent(house.instance(uid))
    house.ask("1.1", "1.2")
    house.walk()
    house.write(asks.begin, house.questions()[0].id, "2.25.500")
    assert door.report("PACS", request([(CT, "1.1"), (CT, "1.7")], "2.25.500")) == st.SUCCESS
    wait_until(lambda: house.questions()[0].state == "answered", SOON, "it is stored")
    assert packing.unpack_numbers(house.questions()[0].answer) == [0, st.PROCESSING_FAILURE]
