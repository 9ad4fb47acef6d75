"""Says in words how a lane of the queue is, and what a person can do about it. Page, REST and command tell the same.

The first that is the case counts: a paused node is paused, whatever its last try said.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from broker.model.lane import Lane, LaneKind
from broker.model.wording import Instant, Sentence
from broker.site.times.opening import ClosedWindow
from broker.status.causes import reason
from broker.store.queued.shapes import LaneShape


class LaneCondition(StrEnum):
    """Says how a lane is."""

    NEWER = "newer"  # its work is of a kind that a newer version knows
    UNKNOWN = "unknown"  # no node of this name is configured
    RESTS = "rests"  # its node was disabled or blocked by a person
    PAUSED = "paused"
    DRAINING = "draining"
    CLOSED = "closed"  # outside of the send windows of its node
    DOWN = "down"  # the last try failed: it is tried again later
    SENDING = "sending"
    RETRYING = "retrying"  # all that waits was put off
    WAITING = "waiting"
    HELD = "held"  # nothing waits, and a person must look at what is held


@dataclass(frozen=True, slots=True)
class LaneWords:
    """A lane in words: how it is, why, and what to do. Tone: ok, warn or bad."""

    condition: LaneCondition
    tone: str
    state: Sentence
    why: Sentence | None
    advice: Sentence


_WORDS = {
    LaneCondition.NEWER: (
        "warn",
        Sentence("not known to this version"),
        Sentence("A newer version of the broker has made this work. It waits for that version, or discard it."),
    ),
    LaneCondition.UNKNOWN: (
        "bad",
        Sentence("no such node"),
        Sentence("Add the node again, or send what waits elsewhere."),
    ),
    LaneCondition.RESTS: (
        "warn",
        Sentence("out of service"),
        Sentence("Enable the node, or send what waits elsewhere."),
    ),
    LaneCondition.PAUSED: ("warn", Sentence("paused"), Sentence("Resume it once it may get its work again.")),
    LaneCondition.DRAINING: (
        "warn",
        Sentence("draining"),
        Sentence("It is paused once the last job of before is sent."),
    ),
    LaneCondition.DOWN: (
        "bad",
        Sentence("down"),
        Sentence("Test the node. Once it is back, send now; if it takes long, send what waits elsewhere."),
    ),
    LaneCondition.CLOSED: ("ok", Sentence("closed"), Sentence("Nothing is to be done: it is sent then.")),
    LaneCondition.SENDING: ("ok", Sentence("sending"), Sentence("Nothing is to be done.")),
    LaneCondition.RETRYING: (
        "warn",
        Sentence("waits for a retry"),
        Sentence("Look at the causes of the jobs. Send now if they are mended."),
    ),
    LaneCondition.WAITING: ("ok", Sentence("waiting"), Sentence("Nothing is to be done: it is its turn soon.")),
    LaneCondition.HELD: ("warn", Sentence("held"), Sentence("Decide on what is held: try it again, or give it up.")),
}


def words_of(
    shape: LaneShape, *, known: bool, active: bool, closing: ClosedWindow | None = None, other: str = ""
) -> LaneWords:
    """How a lane is. `known`: its node is configured; `active`: no person has put it out of service.

    `closing`: outside of the send windows of its node. `other`: the destination that gets what waits.
    """
    closed = closing if (lane := Lane.known(shape.name)) is not None and lane.kind is LaneKind.DELIVER else None
    condition = _condition(shape, known=known, active=active, closed=closed is not None)
    tone, state, advice = _WORDS[condition]
    if condition is LaneCondition.CLOSED and closed is not None:
        return LaneWords(condition, tone, state, _until(closed), advice)
    why = _why(shape, condition)
    if condition is LaneCondition.DOWN and other and why is not None:
        why = Sentence("%(why)s; what waits goes to %(other)s", {"why": why, "other": other})
    return LaneWords(condition, tone, state, why, advice)


def _until(closing: ClosedWindow) -> Sentence:
    if math.isinf(closing.until):
        return Sentence("since no time to send comes within a year")
    if closing.stat_passes:
        return Sentence("until %(at)s; what is STAT is sent", {"at": Instant(closing.until)})
    return Sentence("until %(at)s", {"at": Instant(closing.until)})


def _condition(shape: LaneShape, *, known: bool, active: bool, closed: bool) -> LaneCondition:
    by_order = (
        (Lane.known(shape.name) is None, LaneCondition.NEWER),
        (not known, LaneCondition.UNKNOWN),
        (not active, LaneCondition.RESTS),
        (shape.pause is not None and not shape.pause.draining, LaneCondition.PAUSED),
        (shape.failures > 0, LaneCondition.DOWN),
        (shape.pause is not None, LaneCondition.DRAINING),
        (shape.sending > 0, LaneCondition.SENDING),
        (closed and (shape.ready > 0 or shape.put_off > 0), LaneCondition.CLOSED),
        (shape.put_off > 0 and not shape.ready, LaneCondition.RETRYING),
        (shape.ready > 0, LaneCondition.WAITING),
    )
    return next((condition for is_so, condition in by_order if is_so), LaneCondition.HELD)


def _why(shape: LaneShape, condition: LaneCondition) -> Sentence | None:
    pause = shape.pause
    match condition:
        case LaneCondition.PAUSED | LaneCondition.DRAINING if pause is not None:
            values = {"who": pause.actor, "at": Instant(pause.since), "reason": pause.reason}
            return Sentence("by %(who)s since %(at)s: %(reason)s", values)
        case LaneCondition.DOWN if shape.open_until:
            values = {"at": Instant(shape.since), "why": reason(shape.error), "next": Instant(shape.open_until)}
            return Sentence("since %(at)s: %(why)s; the next try is at %(next)s", values)
        case LaneCondition.DOWN:
            values = {"at": Instant(shape.since), "why": reason(shape.error)}
            return Sentence("since %(at)s: %(why)s", values)
        case _:
            return None
