"""Jobs that wait are found page by page and counted by age; they are tried now, moved, given up. On both databases."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update
from support.delivery.receiving import STUDY, ReceptionPlace
from support.queue.lanes import Queue
from support.service.rest import application, asking

from broker.admin.api.routing import deliveries
from broker.delivery.rerouting import RerouteEnding, reroute
from broker.errors import BadContent
from broker.model.lane import JobState, LaneKind
from broker.queue.steering import QueueSteering, Steering
from broker.settings import load
from broker.store import jobs, lanes
from broker.store.db.database import Database
from broker.store.holds.held_jobs import HeldFilter
from broker.store.images import instances
from broker.store.queued import pauses, shapes, waiting_jobs
from broker.store.schema import tables

NOW = 1_900_000_000.0
WHO = Steering(actor="user:anna", at=NOW, address="192.0.2.9", reason="the PACS is back")
SEND = {"rule": [{"name": "ct", "when": {"field": "tag.Modality", "value": "CT"}, "send": ["pacs"]}]}
_t = tables.job


@pytest.fixture
def steer(database: Database) -> QueueSteering:
    return QueueSteering(database, lambda: None)


@pytest.fixture
def queue(database: Database) -> Queue:
    """Of pacs 1 to 3, the last one made first; of cad 4; of ris 5 (not an object); 6 of pacs is held."""
    made = Queue(database)
    for subject, at in ((1, NOW - 100), (2, NOW - 4000), (3, NOW - 90_000)):
        made.put(subject, at=at)
    made.put(4, lane="deliver:cad", at=NOW - 10_000)
    made.put(5, lane="feedback:ris", kind="feedback", at=NOW - 400)
    made.put(6, at=NOW - 5)
    change(database, 6, state=JobState.HELD, last_error="status-A900")
    change(database, 2, due_at=NOW + 500, last_error="status-A700", attempts=3)
    return made


def change(database: Database, subject: int, **values: Any) -> None:
    database.execute(lambda c: c.execute(update(_t).where(_t.c.subject == subject).values(**values)))


def found(database: Database, size: int = 100, waits: Any = "waiting", **filters: Any) -> list[int]:
    """What waits, by subject, in pages."""
    wanted, after, ids = HeldFilter(**filters), 0, list[int]()
    while page := database.read(waiting_jobs.find, wanted, waits, after, size).result():
        ids += [one.id for one in page]
        after = page[-1].id
    assert database.read(waiting_jobs.rows, wanted, waits, 0, 100).result() == ids
    assert database.read(waiting_jobs.count, wanted, waits, 100).result() == len(ids)
    every = database.read(lambda c: c.execute(select(_t.c.id, _t.c.subject)).all()).result()
    subject = {row[0]: row[1] for row in every}
    return [subject[row] for row in ids]


@pytest.mark.parametrize("size", [1, 2, 100])
def test_the_list_goes_lane_by_lane_the_oldest_first(database: Database, queue: Queue, size: int) -> None:
    assert found(database, size) == [4, 3, 2, 1, 5]
    assert found(database, size, "held") == [6]
    assert found(database, size, node="pacs") == [3, 2, 1]
    assert found(database, size, lane="feedback:ris") == [5]
    assert found(database, size, error="status-A700") == [2]
    assert found(database, size, before=NOW - 3600) == [4, 3, 2]
    assert found(database, size, lane="feedback:ris", node="pacs") == []
    assert found(database, size, node="nobody") == []
    assert found(database, size, kind=LaneKind.FEEDBACK) == [5]
    assert found(database, size, kind=LaneKind.DELIVER) == [4, 3, 2, 1]
    assert found(database, size, kind=LaneKind.DELIVER, node="pacs") == [3, 2, 1]
    assert found(database, size, kind=LaneKind.MPPS) == []


def test_many_at_one_moment_are_all_found_once(database: Database) -> None:
    Queue(database).put(*range(1, 8), at=NOW)
    assert found(database, 3) == [1, 2, 3, 4, 5, 6, 7]


def test_the_summary_counts_by_age_and_by_what_keeps_a_job(database: Database, queue: Queue) -> None:
    database.execute(jobs.claim, "deliver:cad", "me", NOW, 60.0, 1)
    database.execute(jobs.open_breaker, "deliver:cad", 2, NOW + 60, "aborted")
    database.execute(pauses.pause, "ris", NOW - 7, "user:anna", "new server")
    cad, pacs, ris = database.read(shapes.shapes, NOW).result()
    assert (pacs.name, pacs.ages, pacs.waiting) == ("deliver:pacs", (1, 0, 1, 0, 0, 1), 3)
    assert (pacs.ready, pacs.put_off, pacs.sending, pacs.held) == (2, 1, 0, 1)
    assert (pacs.oldest, pacs.urgent) == (NOW - 90_000, 0)
    assert (cad.ages, cad.ready, cad.sending, cad.failures) == ((0, 0, 0, 1, 0, 0), 0, 1, 2)
    assert (cad.error, cad.open_until, cad.pause) == ("aborted", NOW + 60, None)
    assert ris.ages == (0, 1, 0, 0, 0, 0)
    assert ris.pause == pauses.NodePause(
        node="ris", draining=False, since=NOW - 7, actor="user:anna", reason="new server"
    )


def test_the_summary_counts_what_is_urgent(database: Database, queue: Queue) -> None:
    for subject, priority in ((1, 1), (2, 3), (3, 7)):
        change(database, subject, priority=priority)
    _, pacs, _ = database.read(shapes.shapes, NOW).result()
    assert (pacs.urgent, pacs.waiting) == (2, 3)


def test_no_count_goes_beyond_the_cap(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shapes, "CAP", 5)
    Queue(database).put(*range(1, 20), at=NOW - 1)
    (pacs,) = database.read(shapes.shapes, NOW).result()
    assert (pacs.ages, pacs.waiting, pacs.ready) == ((6, 0, 0, 0, 0, 0), 6, 6)


def test_tried_now_means_due_and_the_breaker_closed(database: Database, queue: Queue, steer: QueueSteering) -> None:
    database.execute(jobs.open_breaker, "deliver:pacs", 4, NOW + 900, "aborted")
    assert "deliver:pacs" not in database.read(lanes.due_lanes, NOW).result()
    assert steer.retry(rows(database, 2, 6), WHO).lanes == {"deliver:pacs": 1}  # the other one is held
    assert queue.breaker() == (0, 0.0, "")
    assert database.read(lanes.due_lanes, NOW).result() == ["deliver:cad", "deliver:pacs", "feedback:ris"]
    assert next(row for row in queue.rows() if row["subject"] == 2)["due_at"] == NOW
    assert audit(database) == [("node.retried", "user:anna", "the PACS is back")]


def test_a_job_that_waits_is_given_up_once(database: Database, queue: Queue, steer: QueueSteering) -> None:
    database.execute(jobs.claim, "deliver:cad", "me", NOW, 60.0, 1)
    assert steer.discard([*rows(database, 2, 6, 4), 4711], WHO) == 2  # 4 is being sent
    assert queue.states() == ["ready", "discarded", "ready", "discarded"]
    assert steer.discard(rows(database, 2), WHO) == 0
    assert audit(database) == [("job.discarded", "user:anna", "the PACS is back")] * 2


def rows(database: Database, *subjects: int) -> list[int]:
    query = select(_t.c.id).where(_t.c.subject.in_(subjects)).order_by(_t.c.id)
    return list(database.read(lambda c: c.execute(query).scalars().all()).result())


def audit(database: Database) -> list[tuple[str, str, str]]:
    query = select(tables.audit.c.action, tables.audit.c.actor, tables.audit.c.detail).order_by(tables.audit.c.id)
    found = database.read(lambda c: c.execute(query).all()).result()
    return [(row[0], row[1], "the PACS is back" if "the PACS is back" in row[2] else "") for row in found]


# --- pauses -------------------------------------------------------------------------------------------------


def test_nothing_is_claimed_for_a_paused_node(database: Database, queue: Queue, steer: QueueSteering) -> None:
    assert steer.pause("pacs", WHO)
    assert not steer.pause("pacs", WHO)
    assert database.execute(jobs.claim, "deliver:pacs", "me", NOW, 60.0, 9) == []
    assert database.read(lanes.due_lanes, NOW).result() == ["deliver:cad", "feedback:ris"]
    assert len(database.execute(jobs.claim, "deliver:cad", "me", NOW, 60.0, 9)) == 1
    assert steer.resume("pacs", WHO)
    assert not steer.resume("pacs", WHO)
    assert len(database.execute(jobs.claim, "deliver:pacs", "me", NOW, 60.0, 9)) == 3
    assert [row["attempts"] for row in queue.rows()] == [1, 1, 1, 0]  # tries of before do not count
    assert [row[0] for row in audit(database)] == ["node.paused", "node.resumed"]


def test_a_node_that_drains_gets_what_was_there_and_is_paused(
    database: Database, queue: Queue, steer: QueueSteering
) -> None:
    assert steer.pause("pacs", WHO, drain=True)
    queue.put(7, at=NOW - 1)
    change(database, 2, due_at=NOW - 1)
    claimed = database.execute(jobs.claim, "deliver:pacs", "me", NOW, 60.0, 9)
    assert {job.subject for job in claimed} == {1, 2, 3}
    database.execute(pauses.sweep, NOW)
    assert [one.draining for one in database.read(pauses.find).result()] == [True]  # they are being sent
    for job in claimed:
        database.execute(jobs.finish, job, JobState.DONE, NOW)
    assert database.read(lanes.due_lanes, NOW).result() == ["deliver:cad", "feedback:ris"]
    database.execute(pauses.sweep, NOW)
    assert [one.draining for one in database.read(pauses.find).result()] == [False]
    database.execute(jobs.end_hold, rows(database, 6)[0], JobState.READY, NOW)
    assert database.execute(jobs.claim, "deliver:pacs", "me", NOW, 60.0, 9) == []
    assert not steer.pause("pacs", WHO, drain=True)  # what a person stopped is not sent by that


def test_a_node_without_work_that_is_to_drain_is_paused(database: Database, steer: QueueSteering) -> None:
    assert steer.pause("pacs", WHO, drain=True)
    assert [one.draining for one in database.read(pauses.find).result()] == [False]


def test_a_node_that_drains_can_be_stopped(database: Database, queue: Queue, steer: QueueSteering) -> None:
    steer.pause("pacs", WHO, drain=True)
    assert steer.pause("pacs", WHO)
    assert database.execute(jobs.claim, "deliver:pacs", "me", NOW, 60.0, 9) == []


# --- to another destination ---------------------------------------------------------------------------------


@pytest.fixture
def place(database: Database, tmp_path: Path) -> Iterator[ReceptionPlace]:
    """Objects 1 to 3 on their way to pacs, of two studies."""
    made = ReceptionPlace(database, tmp_path / "broker-data" / "spool")
    made.in_force(SEND, 2)
    for number in (1, 2):
        made.take(number)
    made.take(3, StudyInstanceUID="2.999.79")
    yield made
    made.spool.close()


def elsewhere(database: Database, *subjects: int, node: str = "cad") -> dict[RerouteEnding, int]:
    ids = rows(database, *subjects)
    return dict(reroute(database, ids, node, frozenset({"pacs", "cad"}), WHO, lambda: None))


def test_deliveries_go_elsewhere_once(database: Database, place: ReceptionPlace) -> None:
    database.execute(
        lambda c: jobs.enqueue(c, [jobs.NewJob(kind="deliver", lane="deliver:cad", subject=2, detail={})], 1.0)
    )
    change(database, 3, state=JobState.HELD, last_error="status-A900")
    assert elsewhere(database, 1, 3) == {RerouteEnding.REROUTED: 2}
    assert elsewhere(database, 2) == {RerouteEnding.THERE: 1, RerouteEnding.SAME: 1}
    states = sorted((job[0], job[1], job[2]) for job in place.jobs())
    assert states == [
        ("deliver:cad", 1, "ready"), ("deliver:cad", 2, "ready"), ("deliver:cad", 3, "ready"),
        ("deliver:pacs", 1, "discarded"), ("deliver:pacs", 2, "discarded"), ("deliver:pacs", 3, "discarded"),
    ]  # fmt: skip
    assert {row[0] for row in place.audit()} == {"job.rerouted"}
    assert [row[2]["to"] for row in place.audit()] == ["cad"] * 3
    assert elsewhere(database, 1, node="pacs") == {RerouteEnding.REROUTED: 1, RerouteEnding.NOT_WAITING: 1}  # and back


def test_what_is_being_sent_or_is_done_stays_as_it_is(database: Database, place: ReceptionPlace) -> None:
    (job,) = database.execute(jobs.claim, "deliver:pacs", "me", time.time(), 60.0, 1)
    assert elsewhere(database, job.subject) == {RerouteEnding.NOT_WAITING: 1}
    database.execute(jobs.finish, job, JobState.DONE, NOW)
    assert elsewhere(database, job.subject) == {RerouteEnding.NOT_WAITING: 1}
    assert {lane for lane, *_ in place.jobs()} == {"deliver:pacs"}


def test_only_to_destinations_and_only_with_bytes(database: Database, place: ReceptionPlace) -> None:
    with pytest.raises(BadContent):
        elsewhere(database, 1, node="ct1")
    database.execute(
        lambda c: c.execute(update(tables.instance).where(tables.instance.c.id == 1).values(state="purged"))
    )
    assert elsewhere(database, 1) == {RerouteEnding.GONE: 1}
    assert [job[2] for job in place.jobs()] == ["ready"] * 3


def test_an_object_that_went_elsewhere_is_purged_as_others_are(database: Database, place: ReceptionPlace) -> None:
    elsewhere(database, 1)
    change(database, 1, due_at=5.0)
    database.execute(lambda c: c.execute(update(_t).where(_t.c.lane == "deliver:cad").values(state=JobState.DONE)))
    found = database.read(instances.purgeable, time.time() + 60, (0.0, 0), 10).result()
    assert [one.delivered for one in found] == [True, False, False]


def test_filters_of_objects(database: Database, place: ReceptionPlace) -> None:
    assert found(database, 1, study=STUDY) == [1, 2]
    assert found(database, 1, study="2.999.79") == [3]
    assert found(database, 1, study="2.999.80") == []
    assert found(database, 1, study=STUDY, kind=LaneKind.DELIVER) == [1, 2]
    assert found(database, 1, study=STUDY, kind=LaneKind.NOTIFY) == []
    assert found(database, 1, device="CT01") == [1, 2, 3]
    assert found(database, 1, device="CT99") == []
    (first, *_) = database.read(waiting_jobs.find, HeldFilter(), "waiting", 0, 5).result()
    assert (first.study, first.device, first.unseen().study) == (STUDY, "CT01", "")


# --- REST ---------------------------------------------------------------------------------------------------


def test_by_rest_the_queue_is_seen_and_steered(database: Database, place: ReceptionPlace) -> None:
    nodes = [
        {"name": name, "kind": "dicom", "ae_title": name.upper(), "host": "192.0.2.1", "port": 104,
         "roles": ["destination"]} for name in ("pacs", "cad")
    ]  # fmt: skip
    with asking(application(database, load(None))) as http:
        for node in nodes:
            assert http.post("/nodes/add", json={"node": node, "reason": "new"}).status_code == 201
        (lane,) = http.get("/deliveries/summary").json()
        assert (lane["node"], lane["state"], lane["waiting"], lane["ages"][0]) == ("pacs", "waiting", 3, 3)
        listed = http.get("/deliveries", params={"limit": 2}).json()
        assert [(one["node"], one["held"], one["device"]) for one in listed] == [("pacs", False, "CT01")] * 2
        (last,) = http.get("/deliveries", params={"after": listed[-1]["id"]}).json()
        assert http.get("/deliveries", params={"study": "2.999.79"}).json() == [last]

        assert http.post("/deliveries/nodes/nowhere/pause", json={"reason": "new disks"}).status_code == 404
        assert http.post("/deliveries/nodes/pacs/pause", json={}).status_code == 422
        assert http.post("/deliveries/nodes/pacs/resume", json={"reason": "new disks"}).status_code == 409
        assert http.post("/deliveries/nodes/pacs/drain", json={"reason": "new disks"}).status_code == 204
        assert [one["state"] for one in http.get("/deliveries/summary").json()] == ["draining"]
        assert http.post("/deliveries/nodes/pacs/pause", json={"reason": "new disks"}).status_code == 204
        (lane,) = http.get("/deliveries/summary").json()
        assert lane["state"] == "paused"
        assert lane["why"].endswith(": new disks")
        every = {"matching": {"node": "pacs"}}
        kept = http.post("/deliveries/retry", json=every).json()
        assert kept["endings"] == {"paused": 3}
        assert re.fullmatch(r"pacs is paused by .+ since \d\d:\d\d", kept["notes"][0])
        alone = http.post("/deliveries/nodes/pacs/retry", json={"reason": "it is back"}).json()
        assert alone == {"notes": kept["notes"]}

        other = {"matching": {"study": STUDY}, "to": "cad", "reason": "the PACS is down"}
        assert http.post("/deliveries/reroute", json=other | {"expected": 1}).status_code == 409
        assert http.post("/deliveries/reroute", json=other | {"to": "nowhere"}).status_code == 422
        assert http.post("/deliveries/reroute", json=other | {"expected": 2}).json()["endings"] == {"rerouted": 2}
        assert http.post("/deliveries/nodes/pacs/resume", json={"reason": "new disks"}).status_code == 204
        assert http.post("/deliveries/retry", json={"rows": [last["id"]]}).json()["endings"] == {"retried": 1}
        gone = {"rows": [last["id"]], "reason": "a phantom"}
        assert http.post("/deliveries/discard", json=gone).json()["endings"] == {"discarded": 1}
        assert http.post("/deliveries/discard", json=gone).json()["endings"] == {}
        assert http.post("/deliveries/discard", json={"reason": "a phantom"}).status_code == 422
        assert http.post("/deliveries/nodes/cad/retry", json={"reason": "it is back"}).json() == {"notes": []}
    assert sorted(job[::2] for job in place.jobs()) == [
        ("deliver:cad", "ready"), ("deliver:cad", "ready"), *[("deliver:pacs", "discarded")] * 3,
    ]  # fmt: skip
    assert {"node.paused", "node.drained", "node.resumed", "node.retried", "job.rerouted"} < {
        row[0] for row in place.audit()
    }


def test_all_that_match_are_taken_in_rounds(database: Database, queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliveries, "MOST", 2)
    with asking(application(database, load(None))) as http:
        body: dict[str, Any] = {"matching": {}, "reason": "a test"}
        rounds = []
        after = None
        while after != 0:
            done = http.post("/deliveries/discard", json=body | {"after": after or 0}).json()
            rounds.append(done["endings"]["discarded"])
            after = done["after"]
    assert rounds == [2, 2, 1]
    assert queue.states("deliver:cad") == ["discarded"]
