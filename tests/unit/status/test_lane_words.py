"""How a lane is, in words: the first that is the case counts."""

from __future__ import annotations

from typing import Any

import pytest

from broker.status.lane_words import LaneCondition, words_of
from broker.store.queued.pauses import NodePause
from broker.store.queued.shapes import LaneShape

PAUSE = NodePause(node="pacs", draining=False, since=1.0, actor="user:anna", reason="new disks")
DRAIN = NodePause(node="pacs", draining=True, since=1.0, actor="user:anna", reason="new disks")


@pytest.mark.parametrize(("values", "given", "condition"), [
    ({"ready": 1, "name": "teleport:pacs"}, {}, LaneCondition.NEWER),
    ({"ready": 1}, {"known": False}, LaneCondition.UNKNOWN),
    ({"ready": 1, "pause": PAUSE}, {"active": False}, LaneCondition.RESTS),
    ({"failures": 2, "pause": PAUSE}, {}, LaneCondition.PAUSED),
    ({"failures": 2, "pause": DRAIN}, {}, LaneCondition.DOWN),
    ({"sending": 2, "pause": DRAIN}, {}, LaneCondition.DRAINING),
    ({"sending": 1, "put_off": 2}, {}, LaneCondition.SENDING),
    ({"put_off": 2}, {}, LaneCondition.RETRYING),
    ({"ready": 1, "put_off": 2}, {}, LaneCondition.WAITING),
    ({"held": 2}, {}, LaneCondition.HELD),
])  # fmt: skip
def test_a_lane_is_told_in_words(values: dict[str, Any], given: dict[str, bool], condition: LaneCondition) -> None:
    numbers: dict[str, Any] = {"ready": 0, "put_off": 0, "sending": 0, "held": 0} | values
    words = words_of(
        LaneShape(ages=(0,) * 6, oldest=None, **({"name": "deliver:pacs"} | numbers)),
        **({"known": True, "active": True} | given),
    )
    assert words.condition is condition
    assert (words.why is not None) == (condition in (LaneCondition.PAUSED, LaneCondition.DRAINING, LaneCondition.DOWN))
