"""What waits for a destination that is away goes to another one, each object to one, until it is back."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select
from support.delivery.hospital import Hospital
from support.dicom.objects import ct_slice
from support.loops import run, until
from support.queue.lanes import dispatching

from broker.delivery.failing_over import FailingOver
from broker.errors import ConfigurationError, PeerFault
from broker.model.lane import Lane, LaneKind
from broker.queue.failover import failover_of
from broker.queue.feed import Feed
from broker.queue.retry_policy import RetryPolicy
from broker.site.nodes import Node, parse_nodes
from broker.store import jobs
from broker.store.claims import LAST
from broker.store.jobs import Breaker
from broker.store.schema import tables

PACS = {"kind": "dicom", "ae_title": "PACS", "host": "h", "port": 104, "roles": ["destination"]}
SPARE = "deliver:spare"
LONG = RetryPolicy(first=600, last=600, give_up=9000)


def nodes(**more: Any) -> dict[str, Node]:
    own = PACS | {"name": "pacs", "failover": "spare", "failover_after": 0} | more
    return {node.name: node for node in parse_nodes([own, PACS | {"name": "spare"}, PACS | {"name": "third"}])}


class Place:
    """Destinations of which some are away."""

    def __init__(self, hospital: Hospital) -> None:
        self.hospital, self.known = hospital, nodes()
        self.away, self.sent = {"pacs"}, list[tuple[str, int]]()
        self.over = FailingOver(hospital.database, lambda: [*self.known.values()], self.known.get, lambda: None)

    async def __call__(self, name: str, feed: Feed) -> None:
        while taken := await feed.take():
            if name in self.away:
                raise PeerFault("away", code="unreachable")
            for job in taken:
                self.sent.append((name, job.subject))
                feed.done(job)

    async def take(self, count: int = 1) -> None:
        for _ in range(count):
            await asyncio.to_thread(self.hospital.take, ct_slice(100))

    def states(self) -> Counter[tuple[str, str]]:
        query = select(tables.job.c.lane, tables.job.c.state)
        rows = self.hospital.database.read(lambda connection: connection.execute(query).all()).result(10)
        return Counter((row.lane.partition(":")[2], row.state) for row in rows)

    def deeds(self) -> list[tuple[str, Any]]:
        query = select(tables.audit).where(tables.audit.c.action.startswith("node.")).order_by(tables.audit.c.id)
        rows = self.hospital.database.read(lambda connection: list(connection.execute(query).mappings())).result(10)
        return [(row["actor"], row["action"]) for row in rows]


@pytest.fixture
def place(hospital: Hospital) -> Place:
    return Place(hospital)


def test_what_waits_and_what_comes_goes_elsewhere_until_the_node_is_back(place: Place) -> None:
    database = place.hospital.database

    async def work() -> None:
        async with dispatching(database, place, policy=LONG) as lanes:
            await place.take(5)
            lanes.wake()
            await until(lambda: place.hospital.queue.breaker()[1] > time.time(), "its breaker is open")
            assert await asyncio.to_thread(place.over.step) == 5
            lanes.wake()
            await until(lambda: len(place.sent) == 5, "the other has them")
            await place.take(2)
            assert await asyncio.to_thread(place.over.step) == 2
            lanes.wake()
            await until(lambda: len(place.sent) == 7, "the other has what came")
            assert await asyncio.to_thread(place.over.step) == 0
            place.away.clear()
            await place.take(1)
            lanes.alive("pacs")  # its C-ECHO
            await until(lambda: len(place.sent) == 8, "it takes its own again")
            await until(lambda: place.hospital.queue.breaker()[0] == 0, "its breaker is closed")
            assert await asyncio.to_thread(place.over.step) == 0

    run(work())
    assert [name for name, _ in place.sent] == ["spare"] * 7 + ["pacs"]
    assert len({subject for _, subject in place.sent}) == 8
    assert place.states() == {("pacs", "discarded"): 7, ("spare", "done"): 7, ("pacs", "done"): 1}
    assert place.deeds() == [("broker", "node.failed-over"), ("broker", "node.returned")]


def test_what_may_be_there_already_and_what_is_being_sent_stays(place: Place) -> None:
    hospital = place.hospital
    hospital.slices(4)
    script = f"UPDATE job SET priority = priority + {LAST} WHERE subject = 1"
    hospital.database.execute(lambda c: c.exec_driver_sql(script))
    hospital.database.execute(lambda c: c.exec_driver_sql("UPDATE job SET state = 'leased' WHERE subject = 2"))
    hospital.database.execute(lambda c: c.exec_driver_sql("UPDATE job SET failures = 1 WHERE subject = 3"))
    hospital.database.execute(_failing, "pacs")
    assert place.over.step() == 1
    assert place.states() == {("pacs", "ready"): 2, ("pacs", "leased"): 1, ("pacs", "discarded"): 1,
                              ("spare", "ready"): 1}  # fmt: skip


def _failing(connection: Any, name: str) -> None:
    jobs.open_breaker(connection, Lane(LaneKind.DELIVER, name).name, 3, time.time() + 600, "unreachable")


NOW = 1000.0
AWAY = Breaker(failures=3, since=NOW - 60, open_until=NOW + 60, last_error="x")


@pytest.mark.parametrize(
    ("change", "troubles", "paused", "target"),
    [
        ({}, {"pacs": AWAY}, (), "spare"),
        ({"failover": ["spare", "third"]}, {"pacs": AWAY, "spare": AWAY}, (), "third"),
        ({"failover": ["spare", "third"]}, {"pacs": AWAY}, ("spare",), "third"),
        ({}, {"pacs": AWAY, "spare": AWAY}, (), None),
        ({}, {}, (), None),
        ({}, {"pacs": replace(AWAY, failures=0, since=0.0, open_until=0.0)}, (), None),
        ({"failover_after": 61}, {"pacs": AWAY}, (), None),
        ({"failover_after": 60}, {"pacs": AWAY}, (), "spare"),
        ({}, {"pacs": replace(AWAY, open_until=NOW)}, (), None),  # it is tried now
        ({}, {"pacs": AWAY}, ("pacs",), None),
        ({"state": "disabled"}, {"pacs": AWAY}, (), None),
        ({"failover": []}, {"pacs": AWAY}, (), None),
    ],
)
def test_who_gets_it(
    change: dict[str, Any], troubles: dict[str, Breaker], paused: tuple[str, ...], target: str | None
) -> None:
    known = nodes(**({"failover": "spare"} | change) if change.get("failover") != [] else {"failover": ["spare"]})
    if change.get("failover") == []:
        known = {node.name: node for node in parse_nodes([PACS | {"name": "pacs"}, PACS | {"name": "spare"}])}
    lanes = {Lane(LaneKind.DELIVER, name).name: breaker for name, breaker in troubles.items()}
    found = failover_of(known["pacs"], known.get, lanes, paused, NOW)
    assert (found.name if found is not None else None) == target


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"failover": "nobody"}, "failover: nobody is no other destination"),
        ({"failover": "pacs"}, "failover: pacs is no other destination"),
        ({"roles": ["mpps"]}, "failover: for a node with role destination"),
        ({"failover": []}, "failover_after: goes with failover"),
    ],
)
def test_what_is_no_failover(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        nodes(**change)
