"""What became of jobs and objects is told with the verb that goes with the number."""

from __future__ import annotations

import pytest

from broker.cli.output import counted
from broker.cli.routing.endings import HELD, JOBS, REROUTED, RESENT, Verbs, endings_text
from broker.delivery.rerouting import RerouteEnding
from broker.delivery.resending import ResendEnding
from broker.routing.holding import Ending
from broker.status.lane_keeps import KeepCause


@pytest.mark.parametrize(
    ("verbs", "endings", "told"),
    [
        (JOBS, {"retried": 1, "closed": 3}, "1 is tried now, 3 wait on for the send window"),
        (JOBS, {"retried": 2, "closed": 1}, "2 are tried now, 1 waits on for the send window"),
        (REROUTED, {"rerouted": 1}, "1 goes there now"),
        (RESENT, {"again": 1, "older": 12}, "1 is sent now, 12 are older versions, which stay"),
        (HELD, {"routed": 1, "held": 1, "waiting": 0}, "1 routed, 1 waits still"),
        (HELD, {}, ""),
        (JOBS, {"of-a-newer-version": 4}, "4 of-a-newer-version"),
    ],
)
def test_verbs_go_with_their_numbers(verbs: Verbs, endings: dict[str, int], told: str) -> None:
    assert endings_text(endings, verbs) == told


def test_every_word_of_rest_has_its_verbs() -> None:
    assert {"retried", *KeepCause, *RerouteEnding} <= JOBS.keys()
    assert set(RerouteEnding) == REROUTED.keys()
    assert set(ResendEnding) == RESENT.keys()
    assert set(Ending) == HELD.keys()


def test_nouns_go_with_their_numbers() -> None:
    assert [counted(number, "object") for number in (0, 1, 2)] == ["0 objects", "1 object", "2 objects"]
