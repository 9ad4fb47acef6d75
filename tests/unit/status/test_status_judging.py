"""The verdict on the broker: each row of the table in `status.judging`, and that “all well” is never said in vain."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC
from typing import Any

import pytest

from broker.model.lane import Lane, LaneKind
from broker.model.wording import Sentence
from broker.status.facts import (
    BrokerFacts,
    CertificateFact,
    DatabaseFact,
    DiskFact,
    DutyFact,
    LaneFact,
    NeedCause,
    NeedFact,
    NodeFact,
    SenderFact,
    TrafficFact,
)
from broker.status.forecast import Forecast
from broker.status.judging import judge
from broker.status.node_judging import NodeState, state_of
from broker.store.room import Room

NOW = 1_900_000_000.0  # 2030-03-17 17:46:40 UTC
HOUR = 3600.0
WELL = BrokerFacts(
    now=NOW, started_at=NOW - 86_400, version="1", listeners=(),
    database=DatabaseFact(kind="sqlite", reachable=True, counted_at=NOW),
)  # fmt: skip
SOMETHING = Sentence("something")


def database(**changes: Any) -> dict[str, Any]:
    return {"database": replace(WELL.database, **changes)}


def disk(*, free: int = 900, room: Room = Room.EVERYTHING, hours: float | None = None) -> dict[str, Any]:
    end = None if hours is None else NOW + hours * HOUR
    fact = DiskFact(holds=("data", "spool"), size=1000, free=free, mark=20, room=room, forecast=Forecast(True, end))
    return {"disks": (fact,)}


def pacs(**lane: Any) -> dict[str, Any]:
    fact = LaneFact(lane=Lane(LaneKind.DELIVER, "pacs"), **lane)
    node = NodeFact(name="pacs", kind="dicom", title="PACS", address="", roles=("destination",), lanes=(fact,))
    return {"nodes": (node,)}


def paused(how: str, **lane: Any) -> dict[str, Any]:
    (node,) = pacs(**lane)["nodes"]
    return {"nodes": (replace(node, paused=how, paused_at=NOW - HOUR),)}


def closed(until: float, **lane: Any) -> dict[str, Any]:
    (node,) = pacs(**lane)["nodes"]
    return {"nodes": (replace(node, closed_until=until),)}


def need(cause: NeedCause, since: float = 60.0, count: int = 3, **more: Any) -> dict[str, Any]:
    return {"needs": (NeedFact(cause=cause, count=count, what=SOMETHING, oldest=NOW - since, **more),)}


def sender(*, silent: bool) -> dict[str, Any]:
    return {"senders": (SenderFact(name="RIS|H", last_at=NOW - 4320, messages=9, expected=40.0, silent=silent),)}


def duty(failures: int) -> dict[str, Any]:
    fact = DutyFact(name="purge", last_at=NOW - 60, seconds=1, failures=failures, error="OSError at sweep.py:9")
    return {"duties": (fact,)}


def certificate(days: float) -> dict[str, Any]:
    return {"certificates": (CertificateFact(place="dicom.tls", ends_at=NOW + days * 86_400),)}


def traffic(accepted: float, refused: float) -> dict[str, Any]:
    return {"traffic": TrafficFact(accepted=accepted, refused=refused, stalls=0)}


DOWN_SINCE = {"failures": 4, "since": NOW - 2280, "next_try": NOW + 60, "error": "connect-failed"}
CASES = [
    # what is the case, the verdict, the first words that are said (none: nothing is said)
    ({}, "ok", ""),
    ({"doors": (Sentence("an HL7 listener is closed"),)}, "down", "an HL7 listener is closed"),
    (database(reachable=False), "down", "the database cannot be read"),
    (database(reachable=False, copy_age=90.0), "degraded", "the database cannot be read: the worklist answers from a"),
    (database(writable=False), "degraded", "the database cannot be written"),
    (database(damaged=True), "degraded", "the database is damaged"),
    (database(behind=True), "degraded", "the database has lost what it held before"),
    (database(counted_at=None), "degraded", "what waits in the queue is not known"),
    (database(counted_at=NOW - 200, stale=True), "degraded", "the numbers are of 3 min ago"),
    ({"workers": (Sentence("worker 2 is not running"),)}, "degraded", "worker 2 is not running"),
    (disk(room=Room.NO_LARGE), "degraded", "the disk has little room: large images are refused"),
    (disk(room=Room.NO_OBJECTS), "degraded", "the disk has little room: images are refused"),
    (disk(room=Room.NOTHING), "degraded", "the disk has no room: images and orders are refused"),
    (disk(free=200, hours=5), "degraded", "the disk of data, spool will be full at 22:46 (in 5 h)"),
    (disk(free=900, hours=5), "ok", "the disk of data, spool will be full at 22:46"),  # a flood, and much room
    (disk(free=200, hours=20), "ok", "the disk of data, spool will be full at 2030-03-18 13:46 (in 20 h)"),
    (disk(free=200, hours=60), "ok", ""),
    (pacs(waiting=214, oldest=NOW - 2400, **DOWN_SINCE), "degraded", "pacs is down since 17:08 (38 min): no conn"),
    (pacs(waiting=0, **DOWN_SINCE), "degraded", "pacs is down since 17:08"),  # nothing waits, and it is down
    (pacs(waiting=214, oldest=NOW - 840), "ok", ""),
    (paused("paused", waiting=214, oldest=NOW - 4000, **DOWN_SINCE), "degraded", "pacs is paused by a person"),
    (closed(NOW + HOUR, waiting=3, oldest=NOW - 9000), "ok", "pacs is closed until 18:46: 3 waiting"),
    (closed(math.inf, waiting=3), "degraded", "pacs is closed, and opens at no time within a year: 3 waiting"),
    (closed(NOW + HOUR, waiting=3, oldest=NOW - 9000, **DOWN_SINCE), "degraded", "pacs"),
    (paused("draining", waiting=3, oldest=NOW - 4000), "degraded", "pacs drains since 16:46 and is paused then: 3"),
    (pacs(waiting=214, oldest=NOW - 960), "degraded", "pacs: images wait too long: 214, the oldest since 17:30"),
    (need(NeedCause.HELD_JOBS, node="pacs"), "degraded", "pacs: 3 deliveries are held: something"),
    (need(NeedCause.HELD_JOBS, node="pacs", count=1), "degraded", "pacs: 1 delivery is held: something"),
    (need(NeedCause.HELD_OBJECTS, count=1), "degraded", "1 object is held: something"),
    (need(NeedCause.PERFORMED, 25 * HOUR, 1), "degraded", "1 performed step waits for a person for more than a day"),
    (need(NeedCause.PAUSED, node="pacs"), "ok", ""),  # the node itself is the finding
    (need(NeedCause.HELD_OBJECTS), "degraded", "3 objects are held: something"),
    (need(NeedCause.PERFORMED, 23 * HOUR), "ok", ""),
    (need(NeedCause.PERFORMED, 25 * HOUR), "degraded", "3 performed steps wait for a person for more than a day"),
    (need(NeedCause.REFUSED), "ok", ""),
    (need(NeedCause.KNOCKING), "ok", ""),
    (sender(silent=False), "ok", ""),
    (sender(silent=True), "degraded", "RIS|H is silent since 16:34 (1 h 12 min): about 40 messages usually come"),
    (traffic(94, 6), "degraded", "6 of 100 HL7 messages of the last 15 minutes were refused"),
    (traffic(95, 5), "ok", ""),
    (traffic(0, 5), "ok", ""),  # too few to say anything
    (traffic(200, 6), "ok", ""),
    (duty(1), "ok", ""),
    (duty(2), "degraded", "housekeeping fails: purge, 2 times in a row, the last time at 17:45 (OSErr"),
    (certificate(-1), "degraded", "the certificate of dicom.tls ended at 2030-03-16 17:46"),
    (certificate(12), "ok", "the certificate of dicom.tls ends in 12 d"),
    (certificate(31), "ok", ""),
    ({"notes": (Sentence("the clock was set back"),)}, "ok", "the clock was set back"),
]  # fmt: skip


@pytest.mark.parametrize(("case", "health", "said"), CASES)
def test_each_row_of_the_table(case: dict[str, Any], health: str, said: str) -> None:
    verdict = judge(replace(WELL, **case))
    assert verdict.health == health
    texts = [finding.text.english(UTC, NOW) for finding in verdict.findings]
    assert texts[0].startswith(said) if said else texts == []


def test_the_worst_is_told_first_and_nothing_is_left_out() -> None:
    """All rows together: the verdict is that of the worst, and each is told."""
    together: dict[str, Any] = {}
    told = 0
    for case, _, said in CASES:
        for name, value in case.items():
            new = isinstance(value, tuple)
            together[name] = together.get(name, ()) + value if new else value
        told += bool(said) and all(isinstance(value, tuple) for value in case.values())
    verdict = judge(replace(WELL, **together))
    assert verdict.health == "down"
    weights = [finding.weight for finding in verdict.findings]
    assert weights == sorted(weights, reverse=True)
    assert len(verdict.findings) >= told


@pytest.mark.parametrize(
    ("lane", "state"),
    [
        ({"waiting": 1, "held": 1, "oldest": NOW - 1e6, **DOWN_SINCE}, NodeState.DOWN),
        ({"waiting": 1, "held": 1, "oldest": NOW - 1000}, NodeState.LATE),
        ({"waiting": 1, "held": 1, "oldest": NOW - 10}, NodeState.HELD),
        ({"waiting": 1, "oldest": NOW - 10}, NodeState.WORKING),
    ],
)
def test_the_state_of_a_node_is_that_of_its_worst_lane(lane: dict[str, Any], state: NodeState) -> None:
    [node] = pacs(**lane)["nodes"]
    assert state_of(node, NOW) is state


@pytest.mark.parametrize(
    ("last_in", "last_out", "state"),
    [
        (None, None, NodeState.NEW),
        (NOW - 10, None, NodeState.WELL),
        (None, NOW - 10, NodeState.WELL),
        (NOW - 90_000, NOW - 100_000, NodeState.QUIET),
    ],
)
def test_the_state_of_a_node_without_work_is_when_it_was_heard_of(
    last_in: float | None, last_out: float | None, state: NodeState
) -> None:
    [node] = pacs()["nodes"]
    assert state_of(replace(node, last_in=last_in, last_out=last_out), NOW) is state
