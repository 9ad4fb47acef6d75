"""What keeps jobs although a person said "send now": a node that is not there, out of service, paused or closed."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import replace
from datetime import UTC

import pytest

from broker.model.wording import Instant, Lasting, Sentence, pack, unpack
from broker.queue.steering import Retried
from broker.site.nodes import Node
from broker.site.times.opening import ClosedWindow
from broker.status.lane_keeps import KeepCause, endings_of, keep_of, kept_of
from broker.store.queued.pauses import NodePause

PACS = Node(name="pacs", kind="dicom")
PAUSE = NodePause(node="pacs", draining=False, since=60.0, actor="user:anna", reason="new disks")
CLOSED = ClosedWindow(18 * 3600.0, False)


@pytest.mark.parametrize(("name", "node", "pause", "closing", "text"), [
    ("deliver:pacs", None, None, None, ""),
    ("deliver:pacs", None, PAUSE, None, "pacs is paused by user:anna since 00:01"),
    ("deliver:pacs", replace(PACS, state="disabled"), PAUSE, CLOSED, "pacs is out of service"),
    ("deliver:pacs", PACS, PAUSE, CLOSED, "pacs is paused by user:anna since 00:01"),
    ("deliver:pacs", PACS, None, CLOSED, "the window of pacs opens at 18:00"),
    ("deliver:pacs", PACS, None, ClosedWindow(math.inf, True), "the window of pacs opens at no time within a year"),
    ("mpps:pacs", PACS, None, CLOSED, ""),
    ("mpps:pacs", PACS, PAUSE, CLOSED, "pacs is paused by user:anna since 00:01"),
    ("teleport:pacs", PACS, PAUSE, CLOSED, "it is work of a newer version of the broker"),
    ("deliver:pacs", PACS, replace(PAUSE, draining=True), None, ""),
    ("deliver:pacs", PACS, None, None, ""),
])  # fmt: skip
def test_what_keeps_a_lane_is_told(
    name: str, node: Node | None, pause: NodePause | None, closing: ClosedWindow | None, text: str
) -> None:
    keep = keep_of(name, node, pause, closing)
    assert (keep.text.english(UTC, 0.0) if keep is not None else "") == text


def test_what_is_stat_passes_a_closed_window_that_lets_it() -> None:
    retried = Retried(Counter({"deliver:pacs": 5, "mpps:pacs": 1}), Counter({"deliver:pacs": 2}))
    for passes, now in ((True, 3), (False, 1)):
        keep = keep_of("deliver:pacs", PACS, None, ClosedWindow(18 * 3600.0, passes))
        assert keep is not None
        tried, kept = kept_of(retried, {"deliver:pacs": keep})
        assert (tried, [one.jobs for one in kept]) == (now, [6 - now])
        assert endings_of(tried, kept) == {"retried": now, KeepCause.CLOSED: 6 - now}


def test_a_lane_of_which_all_is_stat_keeps_nothing() -> None:
    keep = keep_of("deliver:pacs", PACS, None, ClosedWindow(18 * 3600.0, True))
    assert keep is not None
    stat = Counter({"deliver:pacs": 2})
    assert kept_of(Retried(stat, stat), {"deliver:pacs": keep}) == (2, [])


def test_a_sentence_with_times_and_sentences_comes_back_as_it_was() -> None:
    inner = Sentence("at %(at)s for %(span)s", {"at": Instant(60), "span": Lasting(5)})
    told = Sentence("%(n)s job: %(why)s", {"n": 2, "why": inner}, "%(n)s jobs: %(why)s")
    assert unpack(json.loads(json.dumps(pack(told)))).english(UTC, 0.0) == "2 jobs: at 00:01 for 5 s"


@pytest.mark.parametrize("packed", [None, 5, [], ["x"], ["x", [], ""], ["x", {"a": None}, ""], ["x", {"a": {}}, ""],
                                    ["x", {"a": ["y"]}, ""], [1, {}, ""], {"text": "x"}])  # fmt: skip
def test_what_is_no_sentence_is_refused(packed: object) -> None:
    with pytest.raises(ValueError, match="not a"):
        unpack(packed)
