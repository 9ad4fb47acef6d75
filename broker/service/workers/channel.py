"""Defines what the first process and its workers say to each other, over a socket pair between parent and child.

To the worker: one `Task`, later perhaps the line `stop`. From it: lines `wake` (there is work for the queue) and
`report` with state, metrics, and contacts with nodes.
"""

from __future__ import annotations

import json
import pickle
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from prometheus_client import REGISTRY
from prometheus_client.core import Metric

from broker.model.contact import Contact, ContactKind
from broker.settings import Settings

EVERY = 1.0  # seconds between two reports
MAX_LINE = 8 * 1024 * 1024  # bytes

Snapshot = list[list[Any]]  # of each metric: name, help, type, samples


@dataclass(frozen=True, slots=True)
class Task:
    """What the first process tells a worker at its start."""

    number: int
    settings: Settings
    ports: dict[str, int]
    log_key: bytes

    def encode(self) -> bytes:
        """Length in four bytes, then a pickle."""
        data = pickle.dumps(self)
        return len(data).to_bytes(4, "big") + data

    @classmethod
    def receive(cls, channel: socket.socket) -> Self | None:
        """Wait for the task; None when the first process is gone already."""
        head = channel.recv(4, socket.MSG_WAITALL)
        size = int.from_bytes(head, "big")
        data = channel.recv(size, socket.MSG_WAITALL)
        if len(head) < 4 or len(data) < size:
            return None
        task = pickle.loads(data)  # noqa: S301 - from our own parent, over an inherited socket
        assert isinstance(task, cls)
        return task


@dataclass(frozen=True, slots=True)
class Report:
    """The state of a worker at one moment. `contacts`: with nodes, since its last report."""

    accepting: bool
    writable: bool
    metrics: Snapshot
    contacts: Sequence[Contact] = ()

    def encode(self) -> str:
        """This report as JSON without line ends."""
        contacts = [[one.node, one.kind.value, one.at, one.detail] for one in self.contacts]
        return json.dumps([self.accepting, self.writable, self.metrics, contacts])

    @classmethod
    def decode(cls, text: bytes) -> Report:
        """The report in a line of our own child."""
        accepting, writable, metrics, contacts = json.loads(text)
        return cls(
            accepting,
            writable,
            metrics,
            [Contact(node, ContactKind(kind), at, detail) for node, kind, at, detail in contacts],
        )


def snapshot() -> Snapshot:
    """The metrics of this process, now."""
    return [
        [m.name, m.documentation, m.type, [[s.name, s.labels, s.value] for s in m.samples]] for m in REGISTRY.collect()
    ]


def merged(snapshots: Mapping[int, Snapshot]) -> Iterable[Metric]:
    """The metrics of all processes, each sample with the number of its worker.

    Not summed up: the counters of a worker that was started again begin at zero, and Prometheus knows what that
    means in a series of its own (`sum by (…) (rate(…))`).
    """
    metrics: dict[str, Metric] = {}
    for number, snapped in sorted(snapshots.items()):
        for name, documentation, kind, samples in snapped:
            metric = metrics.setdefault(name, Metric(name, documentation, kind))
            for sample, labels, value in samples:
                metric.add_sample(sample, {"worker": str(number), **labels}, value)
    return metrics.values()
