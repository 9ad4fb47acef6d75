"""Reads from the metrics of all processes what `status.rates` and `status.lane_rates` count by the minute."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping

from broker import telemetry
from broker.model.lane import LaneKind
from broker.service.workers.channel import Snapshot
from broker.status.lane_rates import LaneRates
from broker.status.rates import Rates

EVERY = 5.0  # seconds between two readings
_READ = (
    telemetry.HL7_MESSAGES,
    telemetry.QUERIES,
    telemetry.INSTANCES_RECEIVED,
    telemetry.DELIVERIES,
    telemetry.LOOP_STALLS,
)
# a message that got no answer, as the database was away, comes again
_ANSWERS = {"AA": "orders", "CA": "orders", "AE": "refused", "AR": "refused", "CE": "refused", "CR": "refused"}
_Sample = tuple[str, Mapping[str, str], float]


class Meters:
    """Feeds the rates with the counters of this process and of its workers."""

    def __init__(self, workers: Callable[[], Mapping[int, Snapshot]]) -> None:
        """`workers`: the metrics that each other process reported last, by its number."""
        self._workers = workers
        self.rates = Rates()
        self.lanes = LaneRates()
        self.read()  # what this process counts from here on is counted, however late the next reading is

    def read(self) -> None:
        """Read all counters now."""
        own = [(s.name, s.labels, s.value) for meter in _READ for m in meter.collect() for s in m.samples]
        samples = {1: own} | {number: _samples(snapshot) for number, snapshot in self._workers().items()}
        now = time.time()
        self.rates.feed(now, {process: totals(read) for process, read in samples.items()})
        self.lanes.feed(now, {process: delivered(read) for process, read in samples.items()})


def _samples(snapshot: Snapshot) -> list[_Sample]:
    return [(name, labels, value) for _, _, _, samples in snapshot for name, labels, value in samples]


def totals(samples: Iterable[_Sample]) -> dict[str, float]:
    """The counters of one process, by what `status.rates` calls them."""
    return _summed((_meter(name, labels), value) for name, labels, value in samples)


def delivered(samples: Iterable[_Sample]) -> dict[str, float]:
    """How many jobs one process has done, by lane (stored name)."""
    return _summed(
        (f"{labels['kind']}:{labels['node']}", value)
        for name, labels, value in samples
        if name == "broker_deliveries_total" and labels["outcome"] == "done"
    )


def _summed(numbers: Iterable[tuple[str | None, float]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, value in numbers:
        if name is not None:
            found[name] = found.get(name, 0.0) + value
    return found


def _meter(name: str, labels: Mapping[str, str]) -> str | None:
    """What a sample counts; None for one that is of no interest."""
    match name:
        case "broker_hl7_messages_total" if (answer := labels["answer"]) in _ANSWERS:
            return _ANSWERS[answer]
        case "broker_worklist_query_seconds_count":
            return "queries"
        case "broker_instances_received_total":
            return "objects_in"
        case "broker_deliveries_total" if labels["outcome"] == "done" and labels["kind"] == LaneKind.DELIVER:
            return "objects_out"
        case "broker_loop_stall_seconds_count":
            return "stalls"
    return None
