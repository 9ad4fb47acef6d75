"""Lanes of storage commitment: modalities are told and archives asked, foreign ones and such that misbehave."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from pynetdicom import AE, evt
from support.dicom.archive import COMMITMENT, Archive, archive
from support.dicom.commitments import told
from support.loops import run, until
from support.peers.tools import free_port
from support.queue.lanes import QUICK, Queue, dispatching
from support.store.commitments import CommitmentHouse

from broker.audit.tally import Tally
from broker.commitment import commitment_sender
from broker.commitment.commitment_sender import CommitmentSender
from broker.dicom.association.user import Remote
from broker.dicom.dimse import status as st
from broker.model.lane import LaneKind
from broker.queue import lane_work
from broker.queue.dispatcher import Dispatcher
from broker.queue.retry_policy import RetryPolicy
from broker.site.directory import Directory
from broker.site.nodes import Node, parse_nodes
from broker.store.db.database import Database

IMPLICIT = "1.2.840.10008.1.2"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commitment_sender, "SAME_ASSOCIATION", 0.5)


@pytest.fixture
def house(database: Database, tmp_path: Path) -> CommitmentHouse:
    return CommitmentHouse(database, tmp_path)


def node(name: str, port: int, role: str = "modality") -> dict[str, Any]:
    title = name.upper()
    made = {"name": name, "kind": "dicom", "ae_title": title, "host": "127.0.0.1", "port": port, "roles": [role]}
    return {key: value for key, value in made.items() if value}


@asynccontextmanager
async def serving(
    house: CommitmentHouse, *tables: dict[str, Any], policy: RetryPolicy = QUICK
) -> AsyncIterator[Dispatcher]:
    """The lanes of these nodes run."""
    directory = Directory(parse_nodes(list(tables)))

    def remote(one: Node) -> Remote:
        return Remote(one.host, one.port, one.ae_title, "BROKER", response_timeout=5)

    sender = CommitmentSender(house.database, directory.node, remote, directory.titled, Tally())
    try:
        async with dispatching(house.database, {LaneKind.COMMITMENT: sender}, policy=policy) as dispatcher:
            yield dispatcher
    finally:
        sender.close()


def judged(house: CommitmentHouse, *uids: str) -> int:
    """A request of the modality that is judged; its row."""
    house.sent(house.instance(uids[0]))
    row = house.ask(*uids).row
    house.walk()
    house.now += 1
    house.walk()
    assert house.told() == [("commitment:ct", row)]
    return row


class Modality:
    """A pynetdicom modality that waits for reports."""

    def __init__(self, *statuses: int) -> None:
        self.reports: list[Any] = []
        self.peers: list[tuple[str, str]] = []  # calling and called AE title of each association
        self._statuses = list(statuses)

    def report(self, event: Any) -> tuple[int, None]:
        asked = event.assoc.requestor, event.assoc.acceptor
        self.peers.append((asked[0].ae_title, asked[0].primitive.called_ae_title))
        self.reports.append((event.event_type, event.event_information))
        return (self._statuses.pop(0) if self._statuses else 0), None

    @contextmanager
    def listening(self, port: int = 0) -> Iterator[int]:
        ae = AE("CT")
        ae.add_supported_context(COMMITMENT, [IMPLICIT], scu_role=False, scp_role=True)
        server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_N_EVENT_REPORT, self.report)])
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()


def test_a_modality_is_told_by_an_scp_that_calls_it(house: CommitmentHouse, queue: Queue) -> None:
    judged(house, "1.1", "1.9")

    async def work() -> None:
        modality = Modality()
        with modality.listening() as port:
            async with serving(house, node("ct", port)):
                await until(lambda: queue.states("commitment:ct") == ["done"], "it is told")
        assert [told(one) for one in modality.reports] == [{"1.1": 0, "1.9": st.NO_SUCH_SOP_INSTANCE}]
        assert modality.peers == [("BROKER", "CT")]

    run(work())


def test_dm17_a_modality_that_is_away_is_told_when_it_is_back(house: CommitmentHouse, queue: Queue) -> None:
    judged(house, "1.1")
    port = free_port()

    async def work() -> None:
        modality = Modality(st.PROCESSING_FAILURE)
        async with serving(house, node("ct", port)):
            await until(lambda: queue.breaker("commitment:ct")[0] > 2, "it was tried over new associations")
            assert queue.states("commitment:ct") == ["ready"]
            with modality.listening(port):
                await until(lambda: queue.states("commitment:ct") == ["done"], "it is told")
        assert [told(one) for one in modality.reports] == [{"1.1": 0}] * 2  # it could not process the first one

    run(work())


def test_dm17_a_result_that_nobody_takes_for_a_day_is_held(
    house: CommitmentHouse, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the queue tries other jobs; held ones are shown and alarmed as all others."""
    assert lane_work.GIVE_UP[LaneKind.COMMITMENT] == 24 * 3600
    monkeypatch.setitem(lane_work.GIVE_UP, LaneKind.COMMITMENT, 0.3)
    judged(house, "1.1")

    async def work() -> None:
        async with serving(
            house, node("ct", free_port()), policy=RetryPolicy(first=0.02, last=0.05, give_up=7 * 86_400)
        ):
            await until(lambda: queue.states("commitment:ct") == ["held"], "a person is needed")
        assert queue.errors("commitment:ct") == ["gave-up"]

    run(work())


def test_a_modality_that_refuses_its_result_needs_a_person(house: CommitmentHouse, queue: Queue) -> None:
    judged(house, "1.1")

    async def work() -> None:
        modality = Modality(st.NO_SUCH_SOP_INSTANCE)
        with modality.listening() as port:
            async with serving(house, node("ct", port)):
                await until(lambda: queue.states("commitment:ct") == ["held"], "it is held")
        assert queue.errors("commitment:ct") == ["status-0112"]

    run(work())


def test_a_device_without_an_address_is_not_called(house: CommitmentHouse, queue: Queue) -> None:
    judged(house, "1.1")

    async def work() -> None:
        table = node("ct", 0)
        del table["host"]
        async with serving(house, table):
            await until(lambda: queue.errors("commitment:ct") == ["no-address"], "it waits until it calls")
            assert queue.states("commitment:ct") == ["ready"]

    run(work())


# --- archives -----------------------------------------------------------------------------------------------


def asking(house: CommitmentHouse, *uids: str) -> int:
    """A request whose objects an archive is to be asked for; its row."""
    house.proofs = {"pacs": "ask"}
    for uid in uids:
        house.sent(house.instance(uid))
    row = house.ask(*uids).row
    house.walk()
    return row


def test_an_archive_reports_over_the_association_by_which_it_was_asked(house: CommitmentHouse, queue: Queue) -> None:
    row = asking(house, "1.1", "1.2")

    async def work() -> None:
        with archive("PACS") as store:
            store.objects["1.1"] = None  # type: ignore[assignment]
            async with serving(house, node("pacs", store.port, "destination")):
                await until(lambda: queue.states("commitment:pacs") == ["done"], "it was asked")
                await until(lambda: house.questions()[0].state == "answered", "it has answered")
        house.now += 100
        house.walk()
        assert [one.attempt for one in house.questions()] == [1, 2]  # that it has one of them not, may pass
        assert house.verdict(row) is None

    run(work())


def test_every_try_has_a_transaction_uid_of_its_own(house: CommitmentHouse, queue: Queue) -> None:
    asking(house, "1.1")
    seen: list[str] = []

    class Busy(Archive):
        async def action(self, request: Any) -> None:
            data = await request.data.read_all(1 << 20)
            seen.append(data[8:].split(b"\0")[0].decode("latin-1"))
            if len(seen) < 3:
                await request.respond(st.RESOURCE_LIMITATION)
            else:
                await request.respond(st.SUCCESS)

    async def work() -> None:
        with archive(made=Busy("PACS")) as store:
            async with serving(house, node("pacs", store.port, "destination")):
                await until(lambda: house.questions()[0].state == "asked", "it has taken it")
        assert len(set(seen)) == 3

    run(work())


@pytest.mark.parametrize(
    ("status", "error"), [(st.SOP_CLASS_NOT_SUPPORTED, "status-0122"), (st.NOT_AUTHORIZED, "status-0124")]
)
def test_an_archive_that_refuses_is_not_waited_for(
    house: CommitmentHouse, queue: Queue, status: int, error: str
) -> None:
    row = asking(house, "1.1")

    class Refusing(Archive):
        async def action(self, request: Any) -> None:
            await request.data.drain()
            await request.respond(status)

    async def work() -> None:
        with archive(made=Refusing("PACS")) as store:
            async with serving(house, node("pacs", store.port, "destination")):
                await until(lambda: queue.states("commitment:pacs") == ["held"], "a person is needed")
        assert queue.errors("commitment:pacs") == [error]
        house.walk()
        assert house.verdict(row) == [st.PROCESSING_FAILURE]

    run(work())


def test_an_archive_without_the_service_is_not_waited_for(house: CommitmentHouse, queue: Queue) -> None:
    asking(house, "1.1")

    class Plain(Archive):
        def services(self) -> Any:
            return [one for one in super().services() if COMMITMENT not in one.abstract_syntaxes]

    async def work() -> None:
        with archive(made=Plain("PACS")) as store:
            async with serving(house, node("pacs", store.port, "destination")):
                await until(lambda: queue.states("commitment:pacs") == ["held"], "a person is needed")
        assert queue.errors("commitment:pacs") == ["no-presentation-context"]
        assert [one.state for one in house.questions()] == ["refused"]

    run(work())
