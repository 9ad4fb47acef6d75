"""Says what keeps the jobs of a lane from being sent although a person said "send now". Page, REST and command tell it.

A pause, a closed send window and a node out of service go on: a person ends them elsewhere.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from broker.model.lane import Lane, LaneKind
from broker.model.wording import Instant, Sentence
from broker.queue.steering import Retried
from broker.site.nodes import Node
from broker.site.times.opening import ClosedWindow
from broker.store.queued.pauses import NodePause


class KeepCause(StrEnum):
    """Says why nothing is sent; REST and `--json` show the word."""

    NEWER = "newer-version"
    RESTS = "out-of-service"
    PAUSED = "paused"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneKeep:
    """Why nothing of a lane is sent. `stat_passes`: what is STAT is sent all the same."""

    cause: KeepCause
    text: Sentence
    stat_passes: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptJobs:
    """So many jobs wait on, and why."""

    jobs: int
    keep: LaneKeep


def keep_of(name: str, node: Node | None, pause: NodePause | None, closing: ClosedWindow | None) -> LaneKeep | None:
    """What keeps a lane (stored name) of a node; None if its jobs are tried.

    While it drains they are; so are those of a node that is not there, and are held then.
    """
    about = {"node": name.partition(":")[2]}
    if (lane := Lane.known(name)) is None:
        return LaneKeep(cause=KeepCause.NEWER, text=Sentence("it is work of a newer version of the broker"))
    if node is not None and not node.active:
        return LaneKeep(cause=KeepCause.RESTS, text=Sentence("%(node)s is out of service", about))
    if pause is not None and not pause.draining:
        values = {**about, "who": pause.actor, "at": Instant(pause.since)}
        text = Sentence("%(node)s is paused by %(who)s since %(at)s", values)
        return LaneKeep(cause=KeepCause.PAUSED, text=text)
    if closing is None or lane.kind is not LaneKind.DELIVER:
        return None
    if math.isinf(closing.until):
        text = Sentence("the window of %(node)s opens at no time within a year", about)
    else:
        text = Sentence("the window of %(node)s opens at %(at)s", {**about, "at": Instant(closing.until)})
    return LaneKeep(cause=KeepCause.CLOSED, text=text, stat_passes=closing.stat_passes)


def kept_of(retried: Retried, keeps: Mapping[str, LaneKeep]) -> tuple[int, Sequence[KeptJobs]]:
    """How many of the jobs that a person wanted tried are tried now; and those that wait on, by lane."""
    kept = []
    for lane, number in sorted(retried.lanes.items()):
        keep = keeps.get(lane)
        if keep is not None and (jobs := number - (retried.urgent[lane] if keep.stat_passes else 0)):
            kept.append(KeptJobs(jobs=jobs, keep=keep))
    return retried.lanes.total() - sum(one.jobs for one in kept), kept


def endings_of(tried: int, kept: Sequence[KeptJobs]) -> Counter[str]:
    """The jobs by the word for what became of them."""
    endings = Counter({"retried": tried})
    for one in kept:
        endings[one.keep.cause] += one.jobs
    return endings
