"""Exports what `status` knows of the broker as metrics: what waits and since when, who is silent, how full disks get.

They are made anew for each scrape from the facts that *Now* shows, so that a node that is gone leaves no series behind,
and alerts and page never differ. What is not known has no series: no number stands for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from broker import telemetry
from broker.status.facts import BrokerFacts, DiskFact, NeedCause
from broker.status.judging import BrokerStatus

PATIENCE = 5.0  # seconds for the status: a scrape waits 10

_Samples = Iterable[tuple[Sequence[str], float]]


class StatusMetrics(Collector):
    """The metrics of all processes, then those of the status. Make it inside the event loop; collect in a thread."""

    def __init__(self, processes: Collector, status: Callable[[], Awaitable[BrokerStatus]]) -> None:
        self._processes = processes
        self._status = status
        self._loop = asyncio.get_running_loop()

    def collect(self) -> Iterable[Metric]:
        """All of them; those of the processes alone if the status is not to be had in time."""
        yield from self._processes.collect()
        asked = asyncio.run_coroutine_threadsafe(self._asked(), self._loop)
        try:
            status = asked.result(PATIENCE)
        except Exception as error:  # too late, at the end of the broker, or a defect of ours: the others still count
            asked.cancel()
            telemetry.logger().warning("status.not_measured", error=telemetry.describe(error))
            return
        yield from measured(status)

    async def _asked(self) -> BrokerStatus:
        return await self._status()


def measured(status: BrokerStatus) -> Iterator[Metric]:
    """The metrics of a status."""
    facts = status.facts
    yield _gauge("broker_build_info", "The version that runs", ["version"], [([facts.version], 1)])
    states = [([state], float(state == status.verdict.health)) for state in ("ok", "degraded", "down")]
    yield _gauge("broker_health", "1 for the verdict of broker status: ok, degraded or down", ["state"], states)
    listeners = [([door.name], float(door.open)) for door in facts.listeners]
    yield _gauge("broker_listener_open", "1 while a listener accepts connections", ["listener"], listeners)
    yield from _database(facts)
    yield from _disks(facts)
    yield from _nodes(facts)
    if facts.database.counted_at is not None:
        yield from _lanes(facts)
        yield from _people(facts)
    yield from _senders(facts)
    yield from _duties(facts)
    yield from _backup(facts)


def _gauge(name: str, help_text: str, labels: Sequence[str], samples: _Samples) -> Metric:
    family = GaugeMetricFamily(name, help_text, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family


def _database(facts: BrokerFacts) -> Iterator[Metric]:
    fact = facts.database
    yield _gauge("broker_database_readable", "1 while the database can be read", [], [([], fact.reachable)])
    yield _gauge("broker_database_writable", "1 while the database can be written", [], [([], fact.writable)])
    yield _gauge("broker_counts_stale", "1 while what waits cannot be counted anew", [], [([], fact.stale)])
    if fact.counted_at is not None:
        counted: _Samples = [([], fact.counted_at)]
        yield _gauge("broker_counted_timestamp_seconds", "When what waits was counted (Unix time)", [], counted)
        yield _gauge("broker_database_size_bytes", "Size of the database", [], [([], fact.size)])


def _disks(facts: BrokerFacts) -> Iterator[Metric]:
    def of(value: Callable[[DiskFact], float | None]) -> _Samples:
        for disk in facts.disks:
            if (number := value(disk)) is not None:
                yield from (([store], number) for store in disk.holds)

    label = ["store"]
    yield _gauge("broker_filesystem_size_bytes", "Size of these file systems", label, of(lambda disk: disk.size))
    refused = "Free bytes below which images are refused"
    yield _gauge("broker_filesystem_mark_bytes", refused, label, of(lambda disk: disk.mark))
    room = "0: all is taken in; 1: no large images, 2: no images, 3: no orders"
    yield _gauge("broker_filesystem_room", room, label, of(lambda disk: disk.room))
    full = "When images will be refused if it goes on so (Unix time); none: not within 30 days"
    yield _gauge("broker_filesystem_full_timestamp_seconds", full, label, of(lambda disk: disk.forecast.full_at))


def _nodes(facts: BrokerFacts) -> Iterator[Metric]:
    active = [([node.name], float(not node.rests)) for node in facts.nodes]
    yield _gauge("broker_node_active", "0 while a person has disabled or blocked a node", ["node"], active)
    contacts = [
        ([node.name, kind.replace(" ", "-")], at) for node in facts.nodes for kind, at in sorted(node.contacts.items())
    ]
    last = "When a node was last in contact, by what it was (Unix time)"
    yield _gauge("broker_last_contact_timestamp_seconds", last, ["node", "kind"], contacts)


def _lanes(facts: BrokerFacts) -> Iterator[Metric]:
    lanes = [([lane.lane.name, node.name], lane) for node in facts.nodes for lane in node.lanes]
    labels = ["lane", "node"]
    waiting = [(names, lane.waiting) for names, lane in lanes]
    yield _gauge("broker_jobs_waiting", "Jobs that wait or run; 10001: more than 10000", labels, waiting)
    held = [(names, lane.held) for names, lane in lanes]
    yield _gauge("broker_jobs_held", "Jobs that wait for a person", labels, held)
    oldest = [(names, lane.oldest) for names, lane in lanes if lane.oldest is not None]
    yield _gauge("broker_oldest_job_timestamp_seconds", "Since when the oldest job waits (Unix time)", labels, oldest)
    failures = [(names, lane.failures) for names, lane in lanes]
    yield _gauge("broker_lane_failures", "Failures in a row, 0 while the node takes what it gets", labels, failures)


def _people(facts: BrokerFacts) -> Iterator[Metric]:
    counts = dict.fromkeys(NeedCause, 0)
    oldest: dict[NeedCause, float] = {}
    for need in facts.needs:
        counts[need.cause] += need.count
        if need.oldest is not None:
            oldest[need.cause] = min(need.oldest, oldest.get(need.cause, need.oldest))
    what, since = "What waits for a person, by cause", "Since when the oldest waits for a person (Unix time)"
    yield _gauge("broker_needs_person", what, ["cause"], [([cause], count) for cause, count in counts.items()])
    times = [([cause], at) for cause, at in oldest.items()]
    yield _gauge("broker_needs_person_oldest_timestamp_seconds", since, ["cause"], times)


def _senders(facts: BrokerFacts) -> Iterator[Metric]:
    """Without a series for each: their names come over the network. `broker status` names those that are silent."""
    silent: _Samples = [([], sum(sender.silent for sender in facts.senders))]
    yield _gauge("broker_senders_silent", "Senders that are silent and usually send at this hour", [], silent)
    if facts.senders:
        last: _Samples = [([], max(sender.last_at for sender in facts.senders))]
        yield _gauge("broker_last_message_timestamp_seconds", "When HL7 last came, from anybody (Unix time)", [], last)


def _duties(facts: BrokerFacts) -> Iterator[Metric]:
    label = ["duty"]
    failures = [([duty.name], duty.failures) for duty in facts.duties]
    yield _gauge("broker_duty_failures", "Failed runs in a row of a duty of housekeeping", label, failures)
    last = [([duty.name], duty.last_at) for duty in facts.duties]
    yield _gauge("broker_duty_last_timestamp_seconds", "When a duty last ran (Unix time)", label, last)


def _backup(facts: BrokerFacts) -> Iterator[Metric]:
    """Nothing where no `broker backup` ran yet and none is to be made: others may back up by other means."""
    if facts.backup is not None:
        proven: _Samples = [([], facts.backup.proven_at)] if facts.backup.proven_at else []
        yield _gauge(
            "broker_backup_proven_timestamp_seconds",
            "When the last good backup was read again and restored for a trial",
            [],
            proven,
        )
        good: _Samples = [([], facts.backup.good_at)]
        yield _gauge("broker_backup_last_success_timestamp_seconds", "When the last good backup began", [], good)
        failed: _Samples = [([], float(bool(facts.backup.failed)))]
        yield _gauge("broker_backup_failed", "1 while the last backup failed", [], failed)
