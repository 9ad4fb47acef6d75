"""The transaction of a reception leases jobs to lanes that are open, and only those of a new object."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Connection, select
from support.dicom.objects import Encoded, ct_slice
from support.dicom.raw import CT, EXPLICIT

from broker.delivery.object_source import ObjectSource
from broker.dicom.dimse.message import PeerAE
from broker.errors import BadContent, StoreUnavailable
from broker.model.lane import JobState
from broker.queue.hand_over import Handed, HandOver, Reservation
from broker.routing.reception import IncomingObject, Reception
from broker.routing.rules.parsing import parse_rules
from broker.store import jobs
from broker.store.db.database import Database
from broker.store.images import instances
from broker.store.images.spool import Spool
from broker.store.queued import pauses
from broker.store.schema import tables

PEER = PeerAE("CT01", "BROKER", "10.0.0.9")
WHEN = {"field": "tag.Modality", "value": "CT"}
BOTH = {"rule": [{"name": "ct", "when": WHEN, "send": ["pacs", "cad"], "priority": "high"}]}
HELD = {"rule": [{"name": "ct", "when": WHEN, "send": ["pacs"], "action": "hold", "reason": "look"}]}


class Lanes:
    """Lanes that are open; what was handed over."""

    def __init__(self, *names: str) -> None:
        self.names = names
        self.reserved = 0
        self.handed: list[Handed] = []

    @property
    def is_open(self) -> bool:
        return bool(self.names)

    def reserve(self, lanes: Collection[str]) -> Reservation | None:
        got = frozenset(lanes) & frozenset(self.names)
        self.reserved += bool(got)
        return Reservation(got, "host:1", time.time() + 60) if got else None

    def hand(self, reservation: Reservation, handed: Sequence[Handed]) -> None:
        self.reserved -= 1
        self.handed += handed


class Place:
    """A reception beside some open lanes."""

    def __init__(self, database: Database, spool: Spool) -> None:
        self.database, self.spool = database, spool
        self.lanes = Lanes("deliver:pacs")
        self.woken = 0

    def take(self, item: Encoded, document: Mapping[str, Any] = BOTH, *, small: int = 32 * 1024) -> str:
        rules = parse_rules(dict(document), {"pacs", "cad"})
        reception = Reception(
            self.database,
            self.spool,
            lambda: rules,
            ZoneInfo("UTC"),
            self._wake,
            small=small,
            hand_over=cast(HandOver, self.lanes),
        )
        arrival = IncomingObject(item.sop_class, item.sop_instance, item.transfer_syntax, PEER)
        try:
            return reception.whole(arrival, item.data)
        finally:
            assert self.lanes.reserved == 0

    def _wake(self) -> None:
        self.woken += 1

    def states(self) -> list[tuple[str, str, str]]:
        t = tables.job
        query = select(t.c.lane, t.c.state, t.c.lease_owner).order_by(t.c.id)
        found = self.database.read(lambda connection: list(connection.execute(query))).result(10)
        return [(row.lane, row.state, row.lease_owner) for row in found]

    def claim(self, lane: str = "deliver:pacs") -> list[jobs.Job]:
        return self.database.submit(jobs.claim, lane, "other", time.time() + 1, 60.0, 64).result(10)


@pytest.fixture
def place(database_url: str, tmp_path: Path) -> Iterator[Place]:
    database = Database(database_url)
    spool = Spool(tmp_path / "spool", ahead=0)
    yield Place(database, spool)
    spool.close()
    database.close()


def slice_of(value: str = "CT-1") -> Encoded:
    return ct_slice(64, SOPInstanceUID="2.999.1", StationName=value)


@pytest.mark.parametrize("small", [0, 32 * 1024])
def test_the_job_of_a_new_object_is_leased_and_comes_with_the_object(place: Place, small: int) -> None:
    item = slice_of()
    assert place.take(item, small=small) == "new"
    assert sorted(place.states()) == [("deliver:cad", "ready", ""), ("deliver:pacs", "leased", "host:1")]
    (handed,) = place.lanes.handed
    stored = place.database.read(instances.stored, [handed.job.subject]).result(10)
    assert handed.item == stored[handed.job.subject]
    assert (handed.item.content is None) == (small == 0)
    assert place.claim() == []
    assert place.woken == 1  # for the other destination
    assert place.database.submit(jobs.finish, handed.job, JobState.DONE, time.time()).result(10)


def test_the_bytes_of_a_file_come_along_and_need_no_reading(place: Place) -> None:
    item = slice_of()
    place.take(item, small=0)
    handed = place.lanes.handed.pop()
    place.spool.remove(handed.item.path)
    source = ObjectSource(place.spool, handed.item)
    assert source.at_hand
    assert (source.begin(), source.whole) == ("", item.data)
    del source, handed
    assert place.spool.memory.used == 0


def test_no_bytes_are_kept_while_no_lane_is_open_or_when_it_fails(place: Place) -> None:
    place.lanes.names = ("mpps:ris",)
    place.take(slice_of(), small=0)
    assert place.spool.memory.used == 0
    place.lanes.names = ()
    place.take(ct_slice(64, SOPInstanceUID="2.999.2"), small=0)
    assert place.lanes.handed == []
    place.lanes.names = ("deliver:pacs",)
    with pytest.raises(BadContent):
        place.take(Encoded(CT, "2.999.3", EXPLICIT, b"x" * 100), small=0)
    assert place.spool.memory.used == 0


def test_the_claim_of_a_job_is_the_same_as_the_one_that_is_handed_over(place: Place) -> None:
    place.take(slice_of())
    (handed,) = place.lanes.handed
    assert place.database.submit(jobs.put_back, handed.job, 0.0, "", item_fault=False).result(10)
    (claimed,) = place.claim()
    assert (claimed.attempts, claimed.fence) == (handed.job.attempts + 1, handed.job.fence + 1)
    for name in ("id", "kind", "lane", "subject", "detail", "failures", "created_at", "group_key", "last"):
        assert getattr(claimed, name) == getattr(handed.job, name), name


def test_nobody_is_woken_where_all_is_handed_over(place: Place) -> None:
    place.lanes.names = ("deliver:pacs", "deliver:cad")
    place.take(slice_of())
    assert (len(place.lanes.handed), place.woken) == (2, 0)


def test_the_same_object_again_is_handed_over_once(place: Place) -> None:
    item = slice_of()
    assert [place.take(item), place.take(item)] == ["new", "duplicate"]
    assert len(place.lanes.handed) == 1


def test_a_later_version_waits_for_the_one_that_was_handed_over(place: Place) -> None:
    assert [place.take(slice_of("A")), place.take(slice_of("B"))] == ["new", "version"]
    (handed,) = place.lanes.handed
    assert place.claim() == []
    assert place.database.submit(jobs.finish, handed.job, JobState.DONE, time.time()).result(10)
    assert len(place.claim()) == 1


def test_what_a_rule_holds_waits_for_a_person(place: Place) -> None:
    place.take(slice_of(), HELD)
    assert place.lanes.handed == []
    assert "leased" not in [state for _, state, _ in place.states()]


@pytest.mark.parametrize("drain", [True, False])
def test_a_node_that_is_paused_or_drained_is_handed_nothing(place: Place, drain: bool) -> None:
    def pause(connection: Connection) -> None:
        pauses.pause(connection, "pacs", time.time(), "tests", "", drain=drain)

    place.database.submit(pause).result(10)
    place.take(slice_of())
    assert place.lanes.handed == []
    assert {(lane, state) for lane, state, _ in place.states()} == {("deliver:pacs", "ready"), ("deliver:cad", "ready")}
    assert place.woken == 1


def test_what_is_not_committed_is_not_handed_over(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise StoreUnavailable("away")

    monkeypatch.setattr(jobs, "enqueue", away)
    with pytest.raises(StoreUnavailable):
        place.take(slice_of())
    assert (place.lanes.handed, place.states()) == ([], [])
