"""DM-16: what becomes of requests for storage commitment, object by object, on both databases."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, insert, select, update
from support.loops import SOON
from support.peers.tools import wait_until
from support.service.rest import AppClient, application, asking
from support.store.commitments import CommitmentHouse
from support.store.rows import all_of

from broker.commitment import judging
from broker.commitment.walk import ASKED_TOGETHER
from broker.dicom.dimse import status as st
from broker.errors import StoreUnavailable
from broker.model.lane import JobKind, JobState
from broker.routing import sweep
from broker.settings import load
from broker.site.directory import Directory
from broker.site.nodes import parse_nodes
from broker.store import jobs, thinning
from broker.store.commitments import asks, judged, listing, requests
from broker.store.commitments.packing import MOST, unpack_numbers
from broker.store.commitments.requests import TakenRequest, Taking
from broker.store.commitments.states import AskState
from broker.store.db.database import Database
from broker.store.db.pace import Pace
from broker.store.images.instances import InstanceState
from broker.store.images.spool import Spool
from broker.store.schema import tables

CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"


@pytest.fixture
def house(database: Database, tmp_path: Path) -> CommitmentHouse:
    return CommitmentHouse(database, tmp_path)


def test_dm16_each_object_has_the_reason_that_is_its_own(house: CommitmentHouse) -> None:
    for uid, state in (("1.1", JobState.DONE), ("1.2", JobState.DISCARDED)):
        house.sent(house.instance(uid), state=state)
    house.sent(house.instance("1.3", sop_class=MR))  # a foreign one: of another class than it is named
    house.instance("1.4", state=InstanceState.DISCARDED)
    house.sent(house.instance("1.5"), node="workstation")  # the broker alone has it
    house.sent(house.instance("1.6", state=InstanceState.PURGED))  # its bytes are gone here, and the PACS has it
    corrupted = house.instance("1.7")
    house.sent(corrupted)
    content = tables.content
    house.write(lambda c: c.execute(update(content).where(content.c.instance == corrupted).values(data=b"?")))
    house.sent(house.instance("1.8", path="2026/lost"))  # its file is gone, and nobody purged it
    row = house.ask("1.1", "1.2", "1.3", "1.4", "1.5", "1.6", "1.7", "1.8", "1.9").row
    house.walk()
    assert house.verdict(row) is None  # the last one may still come
    house.now += 1
    house.walk()
    assert house.verdict(row) == [
        0, st.PROCESSING_FAILURE, st.CLASS_INSTANCE_CONFLICT, st.NO_SUCH_SOP_INSTANCE, st.PROCESSING_FAILURE, 0,
        st.PROCESSING_FAILURE, st.PROCESSING_FAILURE, st.NO_SUCH_SOP_INSTANCE,
    ]  # fmt: skip
    assert house.told() == [("commitment:ct", row)]
    assert house.woken == 1
    assert house.read(all_of, tables.commitment_object) == []
    assert len(house.read(all_of, tables.committed)) == 2


def test_dm16_a_request_waits_for_what_is_under_way(house: CommitmentHouse) -> None:
    first, second = house.instance("1.1"), house.instance("1.2")
    house.sent(first)
    house.sent(second, state=JobState.READY)
    row = house.ask("1.1", "1.2").row
    house.walk()
    assert house.verdict(row) is None
    assert house.read(judged.page, row, -1, 10) == [judged.ObjectRow(1, second)]
    house.sent(second)
    house.walk()
    assert house.verdict(row) == [0, 0]


def test_dm16_a_transaction_uid_is_used_once(house: CommitmentHouse) -> None:
    house.sent(house.instance("1.1"))
    first = house.ask("1.1")
    assert first.taking is Taking.NEW
    assert house.ask("1.1") == TakenRequest(Taking.REPEATED, first.row)
    other = house.ask("1.2", "1.1")
    assert other.taking is Taking.DUPLICATE
    assert house.ask("1.2", "1.1") == TakenRequest(Taking.REPEATED, other.row)
    assert house.verdict(other.row) == [st.DUPLICATE_TRANSACTION_UID] * 2
    assert house.ask("1.1", node="mr").taking is Taking.DUPLICATE  # a stranger's, with the same objects
    house.walk()
    assert house.verdict(first.row) == [0]
    told = jobs.Job(**house_job(house, first.row))
    assert house.write(jobs.finish, told, JobState.DONE, house.now)
    late = house.ask("1.1")
    assert (late.taking, house.verdict(late.row)) == (Taking.DUPLICATE, [st.DUPLICATE_TRANSACTION_UID])


def house_job(house: CommitmentHouse, subject: int) -> dict[str, Any]:
    """The claimed job that tells a request."""
    (claimed,) = [
        one for one in house.write(jobs.claim, "commitment:ct", "me", house.now, 60, 10) if one.subject == subject
    ]
    return {name: getattr(claimed, name) for name in jobs.Job.__slots__}


def test_dm16_fifty_thousand_objects(sqlite_template: Path, tmp_path: Path) -> None:
    shutil.copyfile(sqlite_template, tmp_path / "broker.db")
    database = Database(f"sqlite:///{tmp_path / 'broker.db'}")
    house = CommitmentHouse(database, tmp_path)
    uids = [f"1.2.{n}" for n in range(MOST)]
    for uid in uids[::10_000]:
        house.sent(house.instance(uid))
    taken = house.ask(*uids)
    house.write(lambda c: c.execute(update(tables.commitment).values(looks=1)))
    house.now += 1
    house.walk()
    verdict = house.verdict(taken.row)
    assert verdict is not None
    assert len(verdict) == MOST
    assert [n for n, reason in enumerate(verdict) if reason == 0] == list(range(0, MOST, 10_000))
    assert set(verdict) == {0, st.NO_SUCH_SOP_INSTANCE}
    assert house.read(all_of, tables.commitment_object) == []
    database.close()


def test_a_node_cannot_leave_too_many_requests_open(house: CommitmentHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "MOST_OPEN", 2)
    taken = [house.ask("1.1", transaction=f"2.25.{n}").taking for n in range(3)]
    assert taken == [Taking.NEW, Taking.NEW, Taking.TOO_MANY]
    assert house.ask("1.1", transaction="2.25.9", node="mr").taking is Taking.NEW


# --- archives -----------------------------------------------------------------------------------------------


def test_an_archive_is_asked_for_what_it_was_sent_and_its_word_is_told(house: CommitmentHouse) -> None:
    house.proofs = {"pacs": "ask"}
    for uid in ("1.1", "1.2", "1.3"):
        house.sent(house.instance(uid))
    row = house.ask("1.1", "1.2", "1.3").row
    house.walk()
    house.walk()
    (question,) = house.questions()
    assert (question.node, unpack_numbers(question.positions)) == ("pacs", [0, 1, 2])
    begun = house.write(asks.begin, question.id, "2.25.500")
    assert [one.sop_instance_uid for one in begun.references] == ["1.1", "1.2", "1.3"]
    assert house.read(asks.by_uid, "2.25.500") == begun
    assert house.read(asks.by_uid, "2.25.501") is None
    house.report(0, st.CLASS_INSTANCE_CONFLICT, 0)
    assert not house.write(asks.answer, question.id, [0, 0, 0], house.now)  # a second report changes nothing
    house.walk()
    assert house.verdict(row) == [0, st.CLASS_INSTANCE_CONFLICT, 0]


def test_a_long_request_becomes_several_to_the_archive(house: CommitmentHouse) -> None:
    house.proofs = {"pacs": "ask"}
    uids = [f"1.2.{n}" for n in range(ASKED_TOGETHER + 1)]
    for uid in uids:
        house.sent(house.instance(uid))
    house.ask(*uids)
    house.walk()
    assert [len(unpack_numbers(one.positions)) for one in house.questions()] == [ASKED_TOGETHER, 1]


def test_an_archive_that_never_reports_is_asked_three_times_and_then_it_has_failed(house: CommitmentHouse) -> None:
    house.proofs = {"pacs": "ask"}
    house.sent(house.instance("1.1"))
    row = house.ask("1.1").row
    for attempt in (1, 2, 3):
        house.walk()
        assert [one.attempt for one in house.questions()] == list(range(1, attempt + 1))
        house.write(asks.asked, house.questions()[-1].id, house.now)
        assert house.verdict(row) is None
        house.now += 60
    house.walk()
    assert house.verdict(row) == [st.PROCESSING_FAILURE]
    assert {one.state for one in house.questions()} == {AskState.UNANSWERED}


def test_what_an_archive_has_lost_is_sent_again(house: CommitmentHouse) -> None:
    house.proofs = {"pacs": "ask"}
    instance = house.instance("1.1")
    house.sent(instance)
    row = house.ask("1.1").row
    for _ in range(2):
        house.now += 1
        house.walk()
        house.report(st.NO_SUCH_SOP_INSTANCE)
    house.now += 1
    house.walk()
    state = select(tables.job.c.state).where(tables.job.c.kind == JobKind.DELIVER)
    assert house.read(lambda c: c.execute(state).scalar_one()) == JobState.READY
    house.sent(instance)
    house.walk()
    house.report(0)
    house.walk()
    assert house.verdict(row) == [0]


def test_an_archive_that_takes_no_request_has_failed(house: CommitmentHouse) -> None:
    house.proofs = {"pacs": "ask"}
    house.sent(house.instance("1.1"))
    row = house.ask("1.1").row
    house.walk()
    house.write(asks.end, house.questions()[0].id, AskState.REFUSED, house.now)
    house.walk()
    assert house.verdict(row) == [st.PROCESSING_FAILURE]


# --- around it ----------------------------------------------------------------------------------------------


def test_what_is_asked_for_is_not_purged(house: CommitmentHouse, tmp_path: Path) -> None:
    house.proofs = {"pacs": "ask"}
    row = house.instance("1.1")
    house.sent(row)
    house.write(lambda c: c.execute(update(tables.job).values(done_at=1.0)))
    request = house.ask("1.1").row
    house.walk()
    spool = Spool(tmp_path / "spool")
    assert sweep.purge_delivered(Pace(house.database), spool, 1) == 0
    house.report(0)
    house.walk()
    assert house.verdict(request) == [0]
    assert sweep.purge_delivered(Pace(house.database), spool, 1) == 1
    spool.close()


def test_a_request_goes_once_it_is_old_and_its_jobs_are_gone(house: CommitmentHouse) -> None:
    house.proofs = {"pacs": "ask"}
    house.sent(house.instance("1.1"))
    house.ask("1.1")
    house.walk()
    house.report(0)
    house.walk()
    house.ask("1.1", transaction="2.25.2")  # the last row stays always
    later = house.now + 10

    def thinned() -> int:
        return thinning.thin(Pace(house.database), thinning.COMMITMENTS, later)

    assert thinned() == 0
    house.write(lambda c: c.execute(tables.job.delete().where(tables.job.c.kind != JobKind.DELIVER)))
    assert thinned() == 1
    left: Sequence[Any] = [house.read(all_of, table) for table in (tables.commitment_ask, tables.commitment_uid)]
    assert left == [[], []]


def test_a_result_is_leased_by_one_association_alone(house: CommitmentHouse) -> None:
    house.sent(house.instance("1.1"))
    row = house.ask("1.1").row
    house.walk()
    assert house.read(lambda c: requests.is_untold(c, "ct", tried=False)) is True
    assert house.read(lambda c: requests.is_untold(c, "ct", tried=True)) is False

    def take(connection: Connection) -> Any:
        return requests.take_untold(connection, "ct", "association", house.now, 60, tried=False)

    job = house.write(take)
    assert (job.subject, job.attempts) == (row, 1)
    assert house.write(take) is None
    house.write(lambda c: jobs.put_back(c, job, house.now + 1000, "connection-lost", item_fault=False))
    assert house.read(lambda c: requests.is_untold(c, "ct", tried=True)) is True
    paused = {"node": "ct", "since": 1.0, "last_job": 0, "actor": "anna", "reason": "x"}
    house.write(lambda c: c.execute(insert(tables.pause).values(paused)))
    assert house.write(take) is None  # a person has paused it


def test_requests_are_judged_in_a_thread_also_after_an_outage(
    house: CommitmentHouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.sent(house.instance("1.1"))
    row, failed = house.ask("1.1").row, list[str]()
    monkeypatch.setattr(judging, "LOOK", 0.01)
    due = requests.due

    def away(connection: Connection, *args: Any) -> list[int]:
        if len(failed) < 3:
            failed.append("away")
            raise StoreUnavailable
        return due(connection, *args)

    monkeypatch.setattr(requests, "due", away)
    spool = Spool(tmp_path / "spool")
    nodes = [{"name": "pacs", "kind": "dicom", "ae_title": "PACS", "host": "127.0.0.1", "port": 1,
              "roles": ["destination"], "commitment": "delivered"}]  # fmt: skip
    running = judging.Judging(house.database, spool, Directory(parse_nodes(nodes)), {CT}, lambda: None)
    running.start()
    wait_until(lambda: house.verdict(row) == [0], SOON, "it is judged")
    running.stop()
    running.join()
    spool.close()


@pytest.fixture
def http(database: Database) -> Iterator[AppClient]:
    with asking(application(database, load(None))) as made:
        yield made


def test_requests_are_listed_and_shown_by_rest(house: CommitmentHouse, http: AppClient) -> None:
    house.proofs = {"pacs": "ask"}
    for uid in ("1.1", "1.2"):
        house.sent(house.instance(uid))
    first = house.ask("1.1", "1.2", "1.9", sop_class=CT).row
    house.now += 1
    house.walk()
    house.now += 1
    house.walk()
    other = house.ask("1.5", transaction="2.25.1").row
    newest, oldest = http.get("/commitments").json()
    assert (newest["id"], newest["state"], newest["duplicate"], newest["failed"]) == (other, "telling", True, 1)
    assert (oldest["id"], oldest["state"], oldest["objects"]) == (first, "waiting", 3)
    assert (oldest["committed"], oldest["failed"], oldest["judged_at"]) == (0, 1, None)
    told = http.get(f"/commitments/{first}").json()
    assert [(one["sop_instance"], one["result"], one["reason"]) for one in told["listed"]] == [
        ("1.1", "waiting", ""), ("1.2", "waiting", ""), ("1.9", "failed", "0112"),
    ]  # fmt: skip
    assert [(one["node"], one["attempt"], one["state"], one["objects"]) for one in told["asks"]] == [
        ("pacs", 1, "waiting", 2)
    ]
    house.report(0, 0)
    house.walk()
    page = http.get(f"/commitments/{first}", params={"limit": 2}).json()
    assert (page["state"], page["committed"], page["failed"], page["after"]) == ("telling", 2, 1, 1)
    rest = http.get(f"/commitments/{first}", params={"after": 1}).json()
    assert ([one["sop_instance"] for one in rest["listed"]], rest["after"]) == (["1.9"], -1)
    mine = tables.job.c.subject == first, tables.job.c.kind == JobKind.COMMITMENT_REPORT
    house.write(lambda c: c.execute(update(tables.job).where(*mine).values(state="held", last_error="gave-up")))
    held = http.get("/commitments", params={"state": "held", "node": "ct"}).json()
    assert [(one["id"], one["error"], one["why"]) for one in held] == [(first, "gave-up", "it was tried for too long")]
    house.write(lambda c: c.execute(tables.job.delete()))
    assert {one["id"] for one in http.get("/commitments", params={"state": "told"}).json()} == {first, other}
    assert http.get("/commitments", params={"state": "waiting"}).json() == []
    assert http.get("/commitments", params={"before": other}).json()[0]["id"] == first
    assert house.read(lambda c: listing.lines(c, "mr", None, 10, 10)) == []
    assert house.read(listing.objects, 999, -1, 10) == []
    assert http.get("/commitments/999").status_code == 404
    viewed = [row for row in house.read(all_of, tables.audit) if row.action == "commitment.viewed"]
    assert {row.object_id for row in viewed} <= {first}
