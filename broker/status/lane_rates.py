"""Counts by the minute what waits in each lane and what was delivered, for the last hours, in bounded memory.

It begins anew with the broker, as what *Now* draws does: no table keeps it, and whoever looks at it asks no database.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from broker.model.lane import parts_of
from broker.status.rates import CounterGrowth, MinuteBook
from broker.store.overview import CAP

MOST = 256  # lanes that are told apart in one minute
OTHERS = ""  # the name of those beyond
V = TypeVar("V", int, float)


@dataclass(slots=True)
class LaneMinute:
    """What happened in one minute, by lane (stored name); `t`: its begin in seconds since the epoch.

    `waiting`: what waited when it was counted last, None if it was not counted.
    """

    t: int
    done: dict[str, float] = field(default_factory=dict)
    waiting: Mapping[str, int] | None = None


class QueueCount(NamedTuple):
    """So many jobs; `more`: not all were counted."""

    number: int
    more: bool = False


@dataclass(frozen=True, slots=True)
class QueueMinute:
    """The same of some lanes together."""

    t: int
    done: QueueCount
    waiting: QueueCount | None


class LaneRates:
    """The minutes that have passed. Fed with counters that only go up, and with what waits. For several threads."""

    def __init__(self) -> None:
        self._book = MinuteBook(LaneMinute)
        self._growth = CounterGrowth()
        self._lock = threading.Lock()

    def feed(self, now: float, totals: Mapping[int, Mapping[str, float]]) -> None:
        """Take how many jobs of each lane were done, by process."""
        with self._lock:
            done = self._book.current(now).done
            for lane, number in self._growth.take(totals).items():
                if number:
                    name = lane if lane in done or len(done) < MOST else OTHERS
                    done[name] = done.get(name, 0.0) + number

    def count(self, now: float, waiting: Mapping[str, int]) -> None:
        """Take how many jobs wait in each lane now, as far as they are counted: more than CAP means “more than CAP”."""
        told = dict(sorted(waiting.items(), key=lambda one: -one[1])[:MOST])
        if rest := sum(waiting.values()) - sum(told.values()):
            told[OTHERS] = rest
        with self._lock:
            self._book.current(now).waiting = told

    def minutes(self, node: str = "") -> list[QueueMinute]:
        """The minutes that are over, oldest first: of all lanes, or of those of a node."""
        with self._lock:
            return [
                QueueMinute(
                    one.t,
                    QueueCount(round(sum(_of(one.done, node)))),
                    None if one.waiting is None else _counted(list(_of(one.waiting, node))),
                )
                for one in self._book.over()
            ]


def _of(by_lane: Mapping[str, V], node: str) -> Iterator[V]:
    return (number for lane, number in by_lane.items() if not node or parts_of(lane)[1] == node)


def _counted(lanes: Sequence[int]) -> QueueCount:
    return QueueCount(sum(min(number, CAP) for number in lanes), any(number > CAP for number in lanes))
