"""Puts the lanes of the queue into words: how much waits by age, how each lane is, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from sqlalchemy import Connection

from broker.admin.context import AdminContext
from broker.admin.web.holds import work_of
from broker.admin.web.words import Sentence
from broker.model.lane import parts_of
from broker.status.lane_words import LaneCondition, LaneWords, words_of
from broker.store.queued import pauses, shapes
from broker.store.queued.pauses import NodePause
from broker.store.queued.shapes import LaneShape

AGES = (
    Sentence("< 5 min"),
    Sentence("< 30 min"),
    Sentence("< 2 h"),
    Sentence("< 8 h"),
    Sentence("< 1 day"),
    Sentence("older"),
)  # the words of `shapes.AGES`, and of what is older
_TONES = ("bad", "warn", "ok")
_RESTS = (LaneCondition.NEWER, LaneCondition.UNKNOWN, LaneCondition.RESTS, LaneCondition.PAUSED, LaneCondition.CLOSED)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLane:
    """A lane in words. `path`: where it is shown alone. `may_try`: to try it now makes a difference."""

    shape: LaneShape
    node: str
    work: Sentence
    words: LaneWords
    path: str
    may_try: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueNode:
    """The node that the page is about. `page`: its own page, empty for one that is not configured."""

    name: str
    page: str
    steer: str
    pause: NodePause | None
    lanes: Sequence[QueueLane]

    @property
    def held(self) -> int:
        """Jobs that wait for a person, as far as they are counted."""
        return sum(one.shape.held for one in self.lanes)

    @property
    def may_try(self) -> bool:
        """To try it now makes a difference."""
        return any(one.may_try for one in self.lanes)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueState:
    """How all lanes are at a time (s since the epoch), and the nodes that are paused."""

    now: float
    lanes: Sequence[LaneShape]
    paused: Mapping[str, NodePause]


def state(connection: Connection, now: float) -> QueueState:
    """How the queue is."""
    paused = {one.node: one for one in pauses.find(connection)}
    return QueueState(now=now, lanes=shapes.shapes(connection, now), paused=paused)


def lanes_of(context: AdminContext, found: QueueState, node: str = "") -> list[QueueLane]:
    """The lanes in words, of one node or of all: those in trouble first."""
    shown = [_lane(context, one, found) for one in found.lanes]
    ordered = sorted(shown, key=lambda one: (_TONES.index(one.words.tone), one.node, one.shape.name))
    return [one for one in ordered if node in ("", one.node)]


def node_of(context: AdminContext, found: QueueState, lanes: Sequence[QueueLane], name: str) -> QueueNode | None:
    """A node with its lanes; None for one that is not configured, and for which nothing waits."""
    known = context.directory.node(name) is not None
    if not known and not lanes and name not in found.paused:
        return None
    return QueueNode(
        name=name,
        page=f"/nodes/{quote(name, safe='')}" if known else "",
        steer=f"/queue/nodes/{quote(name, safe='')}",
        pause=found.paused.get(name),
        lanes=lanes,
    )


def path_of(node: str) -> str:
    """The address of what waits for a node."""
    return f"/queue?{urlencode({'node': node})}"


def _lane(context: AdminContext, shape: LaneShape, found: QueueState) -> QueueLane:
    _, name = parts_of(shape.name)
    node = context.directory.node(name)
    active, closing = node is None or node.active, context.closing(node)
    other = context.other_for(node, found.lanes, found.paused, found.now)
    words = words_of(shape, known=node is not None, active=active, closing=closing, other=other)
    waits = shape.failures > 0 or shape.put_off > 0
    return QueueLane(
        shape=shape,
        node=name,
        work=work_of(shape.name),
        words=words,
        path=path_of(name),
        may_try=waits and words.condition not in _RESTS,
    )
