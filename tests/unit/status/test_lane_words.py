"""How a lane is, in words: the first that is the case counts."""

from __future__ import annotations

import math
from datetime import UTC
from typing import Any

import pytest

from broker.site.times.opening import ClosedWindow
from broker.status.lane_words import LaneCondition, words_of
from broker.store.queued.pauses import NodePause
from broker.store.queued.shapes import LaneShape

PAUSE = NodePause(node="pacs", draining=False, since=1.0, actor="user:anna", reason="new disks")
CLOSED = ClosedWindow(64_800.0, False)
DRAIN = NodePause(node="pacs", draining=True, since=1.0, actor="user:anna", reason="new disks")


@pytest.mark.parametrize(("values", "given", "condition"), [
    ({"ready": 1, "name": "teleport:pacs"}, {}, LaneCondition.NEWER),
    ({"ready": 1}, {"known": False}, LaneCondition.UNKNOWN),
    ({"ready": 1, "pause": PAUSE}, {"active": False}, LaneCondition.RESTS),
    ({"failures": 2, "pause": PAUSE}, {}, LaneCondition.PAUSED),
    ({"failures": 2, "pause": DRAIN}, {}, LaneCondition.DOWN),
    ({"sending": 2, "pause": DRAIN}, {}, LaneCondition.DRAINING),
    ({"sending": 1, "put_off": 2}, {}, LaneCondition.SENDING),
    ({"sending": 1, "ready": 2}, {"closing": CLOSED}, LaneCondition.SENDING),
    ({"put_off": 2}, {"closing": CLOSED}, LaneCondition.CLOSED),
    ({"ready": 2}, {"closing": CLOSED}, LaneCondition.CLOSED),
    ({"ready": 2, "failures": 1}, {"closing": CLOSED}, LaneCondition.DOWN),
    ({"ready": 2, "name": "mpps:pacs"}, {"closing": CLOSED}, LaneCondition.WAITING),
    ({"held": 2}, {"closing": CLOSED}, LaneCondition.HELD),
    ({"put_off": 2}, {}, LaneCondition.RETRYING),
    ({"ready": 1, "put_off": 2}, {}, LaneCondition.WAITING),
    ({"held": 2}, {}, LaneCondition.HELD),
])  # fmt: skip
def test_a_lane_is_told_in_words(values: dict[str, Any], given: dict[str, Any], condition: LaneCondition) -> None:
    numbers: dict[str, Any] = {"ready": 0, "put_off": 0, "sending": 0, "held": 0} | values
    words = words_of(
        LaneShape(ages=(0,) * 6, oldest=None, **({"name": "deliver:pacs"} | numbers)),
        **({"known": True, "active": True} | given),
    )
    assert words.condition is condition
    told = (LaneCondition.PAUSED, LaneCondition.DRAINING, LaneCondition.DOWN, LaneCondition.CLOSED)
    assert (words.why is not None) == (condition in told)


def test_a_closed_lane_says_until_when() -> None:
    def why(closing: ClosedWindow) -> str:
        shape = LaneShape(ages=(0,) * 6, oldest=None, name="deliver:pacs", ready=1, put_off=0, sending=0, held=0)
        words = words_of(shape, known=True, active=True, closing=closing)
        assert words.why is not None
        return f"{words.state.text} {words.why.english(UTC, 0)}"

    assert why(ClosedWindow(18 * 3600, False)) == "closed until 18:00"
    assert why(ClosedWindow(18 * 3600, True)) == "closed until 18:00; what is STAT is sent"
    assert "no time to send comes" in why(ClosedWindow(math.inf, False))


def test_a_lane_that_is_down_says_who_gets_what_waits() -> None:
    shape = LaneShape(ages=(0,) * 6, oldest=None, name="deliver:pacs", ready=1, put_off=0, sending=0, held=0,
                      failures=2, since=60.0, open_until=3600.0, error="unreachable")  # fmt: skip
    why = words_of(shape, known=True, active=True, other="spare").why
    assert why is not None
    assert why.english(UTC, 0).endswith("the next try is at 01:00; what waits goes to spare")
