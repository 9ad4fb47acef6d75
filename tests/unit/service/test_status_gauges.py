"""The metrics that are made of the status: what is known has a series, what is not known has none."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from structlog.testing import capture_logs

from broker.model.lane import Lane, LaneKind
from broker.model.wording import Sentence
from broker.service.status import gauges
from broker.service.status.gauges import StatusMetrics, measured
from broker.status.facts import (
    BackupFact,
    BrokerFacts,
    DatabaseFact,
    DiskFact,
    DutyFact,
    LaneFact,
    ListenerFact,
    NeedCause,
    NeedFact,
    NodeFact,
    SenderFact,
)
from broker.status.forecast import Forecast
from broker.status.judging import BrokerStatus, judge
from broker.store.room import Room

NOW = 1_900_000_000.0
LANE = LaneFact(lane=Lane(LaneKind.DELIVER, "pacs"), waiting=3, held=2, oldest=NOW - 60, failures=4, since=NOW - 50)
PACS = NodeFact(
    name="pacs", kind="dicom", title="PACS", address="", roles=("destination",), lanes=(LANE,),
    contacts={"passed on": NOW - 5},
)  # fmt: skip
FACTS = BrokerFacts(
    now=NOW,
    started_at=NOW - 86_400,
    version="1.2",
    listeners=(ListenerFact(name="DICOM (BROKER)", address="", open=True),),
    database=DatabaseFact(kind="sqlite", reachable=True, counted_at=NOW - 1, size=4096),
    disks=(
        DiskFact(
            holds=("data", "spool"), size=1000, free=100, mark=20, room=Room.NO_LARGE, forecast=Forecast(True, NOW + 9)
        ),
    ),
    nodes=(PACS, replace(PACS, name="old", lanes=(), contacts={}, rests="disabled")),
    senders=(SenderFact(name="RIS|H", last_at=NOW - 7, messages=9, expected=40.0, silent=True),),
    duties=(DutyFact(name="purge", last_at=NOW - 8, seconds=0.1, failures=2),),
    backup=BackupFact(good_at=NOW - 90_000, seconds=5.0, failed_at=NOW - 9, failed="backup-disk"),
    needs=(
        NeedFact(cause=NeedCause.HELD_OBJECTS, count=3, what=Sentence("x"), oldest=NOW - 30, code="rule-error:R"),
        NeedFact(cause=NeedCause.HELD_OBJECTS, count=4, what=Sentence("x"), oldest=NOW - 90),
    ),
)


def samples(metrics: Iterable[Metric]) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for metric in metrics for s in metric.samples}


def of(facts: BrokerFacts) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return samples(measured(BrokerStatus(facts, judge(facts))))


@pytest.mark.parametrize(
    ("name", "labels", "value"),
    [
        ("broker_build_info", {"version": "1.2"}, 1),
        ("broker_health", {"state": "degraded"}, 1),
        ("broker_health", {"state": "ok"}, 0),
        ("broker_health", {"state": "down"}, 0),
        ("broker_listener_open", {"listener": "DICOM (BROKER)"}, 1),
        ("broker_backup_last_success_timestamp_seconds", {}, NOW - 90_000),
        ("broker_backup_failed", {}, 1),
        ("broker_database_readable", {}, 1),
        ("broker_database_writable", {}, 1),
        ("broker_counts_stale", {}, 0),
        ("broker_counted_timestamp_seconds", {}, NOW - 1),
        ("broker_database_size_bytes", {}, 4096),
        ("broker_filesystem_size_bytes", {"store": "spool"}, 1000),
        ("broker_filesystem_mark_bytes", {"store": "data"}, 20),
        ("broker_filesystem_room", {"store": "data"}, 1),
        ("broker_filesystem_full_timestamp_seconds", {"store": "spool"}, NOW + 9),
        ("broker_node_active", {"node": "pacs"}, 1),
        ("broker_node_active", {"node": "old"}, 0),
        ("broker_last_contact_timestamp_seconds", {"node": "pacs", "kind": "passed-on"}, NOW - 5),
        ("broker_jobs_waiting", {"lane": "deliver:pacs", "node": "pacs"}, 3),
        ("broker_jobs_held", {"lane": "deliver:pacs", "node": "pacs"}, 2),
        ("broker_oldest_job_timestamp_seconds", {"lane": "deliver:pacs", "node": "pacs"}, NOW - 60),
        ("broker_lane_failures", {"lane": "deliver:pacs", "node": "pacs"}, 4),
        ("broker_needs_person", {"cause": "held-objects"}, 7),
        ("broker_needs_person", {"cause": "knocking"}, 0),
        ("broker_needs_person_oldest_timestamp_seconds", {"cause": "held-objects"}, NOW - 90),
        ("broker_last_message_timestamp_seconds", {}, NOW - 7),
        ("broker_senders_silent", {}, 1),
        ("broker_duty_failures", {"duty": "purge"}, 2),
        ("broker_duty_last_timestamp_seconds", {"duty": "purge"}, NOW - 8),
    ],
)
def test_each_fact_is_a_series(name: str, labels: dict[str, str], value: float) -> None:
    assert of(FACTS)[name, tuple(sorted(labels.items()))] == value


def test_what_is_not_known_has_no_series() -> None:
    unknown = replace(FACTS, database=DatabaseFact(kind="sqlite", reachable=False), disks=())
    names = {name for name, _ in of(unknown)}
    gone = {name for name, _ in of(FACTS)} - names
    assert {
        "broker_jobs_waiting",
        "broker_jobs_held",
        "broker_oldest_job_timestamp_seconds",
        "broker_needs_person",
        "broker_database_size_bytes",
        "broker_filesystem_room",
    } <= gone
    assert "broker_database_readable" in names


def test_no_name_that_came_over_the_network_is_a_label() -> None:
    flood = tuple(replace(FACTS.senders[0], name=f"CANARY{n}") for n in range(250))
    found = of(replace(FACTS, senders=flood))
    assert found["broker_senders_silent", ()] == 250
    assert "CANARY" not in str(found)


def test_a_status_that_does_not_come_costs_a_scrape_its_time_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gauges, "PATIENCE", 0.05)

    async def main() -> list[Metric]:
        never: asyncio.Future[BrokerStatus] = asyncio.get_running_loop().create_future()

        async def status() -> BrokerStatus:
            return await never

        metrics = StatusMetrics(CollectorRegistry(), status)  # type: ignore[arg-type]
        return await asyncio.to_thread(lambda: list(metrics.collect()))

    with capture_logs() as logs:
        assert asyncio.run(main()) == []
    assert [log["event"] for log in logs] == ["status.not_measured"]
