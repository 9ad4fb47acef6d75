"""Names of lanes, kinds and states: stored in databases, read by operators, so they never change."""

from __future__ import annotations

import pytest

from broker.model.lane import JobKind, JobState, Lane, LaneKind


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (LaneKind.DELIVER, "deliver:pacs"), (LaneKind.FEEDBACK, "feedback:pacs"), (LaneKind.MPPS, "mpps:pacs"),
        (LaneKind.MPPS_EVENT, "mpps-event:pacs"), (LaneKind.AUDIT, "audit:pacs"),
        (LaneKind.NOTIFY, "notify:pacs"), (LaneKind.COMMITMENT, "commitment:pacs"),
    ],
)  # fmt: skip
def test_a_lane_is_stored_as_kind_and_node(kind: LaneKind, name: str) -> None:
    assert Lane(kind, "pacs").name == name
    assert Lane.parse(name) == Lane(kind, "pacs")


def test_a_node_may_have_a_colon_in_its_name() -> None:
    assert Lane.parse("deliver:pacs:2") == Lane(LaneKind.DELIVER, "pacs:2")


@pytest.mark.parametrize("name", ["", "probe", "commit:pacs", "DELIVER:pacs"])
def test_a_kind_that_is_not_known_is_no_lane(name: str) -> None:
    with pytest.raises(ValueError, match="is not a valid LaneKind"):
        Lane.parse(name)


def test_kinds_and_states_are_what_databases_hold() -> None:
    assert {*LaneKind} == {"deliver", "feedback", "mpps", "mpps-event", "audit", "notify", "commitment"}
    assert {*JobKind} == {"deliver", "feedback", "images", "mpps", "mpps-event", "mpps-change", "audit", "notify",
                          "commitment-ask", "commitment-report"}  # fmt: skip
    assert {*JobState} == {"ready", "leased", "done", "held", "discarded"}
