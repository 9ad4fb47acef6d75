"""Counts the objects of a study and their deliveries: each delivery once, under what became of it.

The states and errors of jobs and objects are read by `store.exams.around`; here they get the words of people.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from sqlalchemy import Connection, bindparam, distinct, func, select

from broker.model.lane import JobState, parts_of
from broker.store.db.prepared import Prepared
from broker.store.exams import around
from broker.store.images.instances import REROUTED, InstanceState
from broker.store.schema import tables

ALL = 2**31 - 1  # objects: a limit all the same, so that the study leads
MOST = 2_000  # objects of a study that are counted for a list
SERIES = 100  # of a study that are told
_t = tables.instance
_SOME = (
    select(_t.c.sop_instance_uid, _t.c.state, _t.c.data_length, _t.c.received_at)
    .where(_t.c.study_instance_uid == bindparam("study"))
    .limit(bindparam("most"))
    .subquery()
)
_BY_STATE = Prepared(
    any=select(
        _SOME.c.state,
        func.count(),
        func.coalesce(func.sum(_SOME.c.data_length), 0),
        func.min(_SOME.c.received_at),
        func.max(_SOME.c.received_at),
    ).group_by(_SOME.c.state)
)
_DISTINCT = Prepared(any=select(func.count(distinct(_SOME.c.sop_instance_uid))))
_WARNING = "status-B"  # class Bxxx (PS3.4 table B.2-1)


class DeliveryState(StrEnum):
    """Says what became of sending an object to a destination."""

    SENT = "sent"
    WARNED = "warning"  # sent, and the destination answered with a warning
    WAITING = "waiting"
    SENDING = "sending"
    HELD = "held"  # the destination refused it, or something else needs a person
    GIVEN_UP = "given-up"  # by a person
    ELSEWHERE = "elsewhere"  # a person sent it to another destination instead


_STATES: Mapping[str, DeliveryState] = {
    JobState.DONE: DeliveryState.SENT,
    JobState.READY: DeliveryState.WAITING,
    JobState.LEASED: DeliveryState.SENDING,
    JobState.HELD: DeliveryState.HELD,
    JobState.DISCARDED: DeliveryState.GIVEN_UP,
}
TAKEN = (DeliveryState.SENT, DeliveryState.WARNED)
OPEN = (DeliveryState.WAITING, DeliveryState.SENDING, DeliveryState.HELD, DeliveryState.GIVEN_UP)


@dataclass(frozen=True, slots=True)
class DestinationCount:
    """The deliveries of a study to a node, by what became of them. `errors`: codes of each state, with their number.

    `committed`: objects of which the node has proven that it has them, for storage commitment.
    """

    node: str
    states: Mapping[DeliveryState, int]
    errors: Mapping[DeliveryState, Counter[str]]
    committed: int = 0

    @property
    def total(self) -> int:
        """All deliveries."""
        return sum(self.states.values())

    @property
    def taken(self) -> int:
        """Objects that the node took."""
        return sum(self.states.get(state, 0) for state in TAKEN)

    @property
    def is_open(self) -> bool:
        """Something waits, is held or was given up."""
        return any(self.states.get(state) for state in OPEN)


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyCounts:
    """How far a study is. `objects`: by SOP Instance UID; `versions`: what was received, other bytes each.

    `by_state` counts versions. `capped`: there are more than were counted. `size` in bytes, times in s since the epoch.
    """

    objects: int
    versions: int
    by_state: Mapping[InstanceState, int]
    size: int
    first_at: float
    last_at: float
    destinations: Sequence[DestinationCount]
    capped: bool = False

    @property
    def stays(self) -> int:
        """Versions that are held or wait for their study."""
        return self.by_state.get(InstanceState.HELD, 0) + self.by_state.get(InstanceState.WAITING, 0)

    @property
    def is_complete(self) -> bool:
        """All that was counted is where it was to go."""
        return not self.capped and not self.stays and not any(one.is_open for one in self.destinations)


@dataclass(frozen=True, slots=True)
class SeriesCount:
    """A series of a study, as `StudyCounts` counts. Times of its first and its last object in s since the epoch."""

    series_instance_uid: str
    objects: int
    versions: int
    first_at: float
    last_at: float


@dataclass(slots=True)
class _Tally:
    states: Counter[DeliveryState] = field(default_factory=Counter)
    errors: dict[DeliveryState, Counter[str]] = field(default_factory=dict)
    committed: int = 0


def state_of(job_state: str, error: str) -> DeliveryState:
    """What became of a delivery by the state of its job and the code that stands with it."""
    state = _STATES[job_state]
    if state is DeliveryState.SENT and error.startswith(_WARNING):
        return DeliveryState.WARNED
    return DeliveryState.ELSEWHERE if state is DeliveryState.GIVEN_UP and error == REROUTED else state


def count(connection: Connection, study: str, most: int = ALL) -> StudyCounts:
    """How far a study (UID) is. `most`: objects that are looked at."""
    some = {"study": study, "most": most + 1}
    found = _BY_STATE.rows(connection, some)
    versions = sum(row[1] for row in found)
    return StudyCounts(
        objects=_DISTINCT.rows(connection, some)[0][0],
        versions=versions,
        by_state={InstanceState(row[0]): row[1] for row in found},
        size=int(sum(row[2] for row in found)),
        first_at=min((row[3] for row in found), default=0.0),
        last_at=max((row[4] for row in found), default=0.0),
        destinations=destinations(connection, study, most),
        capped=versions > most,
    )


def destinations(connection: Connection, study: str, most: int = ALL) -> list[DestinationCount]:
    """What became of the deliveries of a study (UID), by destination."""
    tallies: dict[str, _Tally] = {}
    for group in around.deliveries(connection, [study], most):
        tally = tallies.setdefault(parts_of(group.lane)[1], _Tally())
        state = state_of(group.state, group.error)
        tally.states[state] += group.count
        tally.committed += group.committed if state in TAKEN else 0
        if group.error and state is not DeliveryState.ELSEWHERE:
            tally.errors.setdefault(state, Counter())[group.error] += group.count
    return [DestinationCount(node, one.states, one.errors, one.committed) for node, one in sorted(tallies.items())]


def series(connection: Connection, study: str) -> list[SeriesCount]:
    """The series of a study (UID), in the order in which they came; at most SERIES."""
    first = func.min(_t.c.received_at)
    query = (
        select(
            _t.c.series_instance_uid,
            func.count(distinct(_t.c.sop_instance_uid)),
            func.count(),
            first,
            func.max(_t.c.received_at),
        )
        .where(_t.c.study_instance_uid == study)
        .group_by(_t.c.series_instance_uid)
        .order_by(first)
        .limit(SERIES)
    )
    return [SeriesCount(*row) for row in connection.execute(query)]
