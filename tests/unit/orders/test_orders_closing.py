"""What becomes of a step whose device does not say that it is done: tables of the decision, and of who decides."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from broker.errors import ConfigurationError
from broker.model.order import StepStatus
from broker.orders.core import closing, lifecycle
from broker.orders.core.closing import Cause, End, Seen, decide
from broker.orders.core.lifecycle import Action
from broker.site.closings import ClosingRules, Closings
from broker.site.nodes import parse_nodes

ZONE = ZoneInfo("Europe/Zurich")
NOW = datetime(2026, 3, 12, 18, tzinfo=ZONE)
AT = NOW.timestamp()
STEP = Seen(status="SCHEDULED", status_at=AT - 86_400, start_at="20260312080000")  # ten hours ago
IMAGES = ClosingRules(images=True, images_minimum=3, images_quiet=900)
TIME = ClosingRules(over_after=8)
STARTED = End(Action.START, Cause.IMAGES)
BY_IMAGES = End(Action.COMPLETE, Cause.IMAGES)
BY_TIME = End(Action.COMPLETE, Cause.TIME)
NO_SHOW = End(Action.DISCONTINUE, Cause.NO_SHOW)
EXPIRED = End(None, Cause.EXPIRED)


def seen(**changes: Any) -> Seen:
    return replace(STEP, **changes)


@pytest.mark.parametrize(
    ("step", "rules", "expected"),
    [
        # images: too few, just now, quiet for long
        (seen(), IMAGES, None),
        (seen(images=2, last_image=AT - 5000), IMAGES, None),
        (seen(images=3, last_image=AT - 10), IMAGES, STARTED),
        (seen(images=3, last_image=AT - 899), IMAGES, STARTED),
        (seen(images=3, last_image=AT - 900), IMAGES, BY_IMAGES),
        (seen(status="ARRIVED", images=3, last_image=AT - 10), IMAGES, STARTED),
        (seen(status="STARTED", images=3, last_image=AT - 10), IMAGES, None),
        (seen(status="STARTED", images=3, last_image=AT - 900), IMAGES, BY_IMAGES),
        (seen(held=True, images=3, last_image=AT - 10), IMAGES, STARTED),
        (seen(images=99, last_image=AT - 900), ClosingRules(), None),
        # what a device is at work on by its own word is left alone, and so is what has ended
        (seen(status="STARTED", images=3, last_image=AT - 9000, at_work=True), IMAGES, None),
        (seen(status="STARTED", status_at=AT - 90_000, at_work=True), TIME, None),
        *((seen(status=status, images=3, last_image=AT - 9000), IMAGES, None) for status in lifecycle.ENDED),
        *((seen(status=status), replace(TIME, expire_after=1, no_show_after=1), None) for status in lifecycle.ENDED),
        # time
        (seen(), TIME, BY_TIME),
        (seen(), ClosingRules(over_after=10), BY_TIME),
        (seen(), ClosingRules(over_after=10.1), None),
        (seen(start_at=""), TIME, None),
        (seen(held=True), TIME, None),
        (seen(), replace(TIME, unseen="no-show"), NO_SHOW),
        (seen(signs=True), replace(TIME, unseen="no-show"), BY_TIME),
        (seen(status="ARRIVED"), replace(TIME, unseen="no-show"), BY_TIME),
        (seen(status="STARTED", status_at=AT - 3600), TIME, None),
        (seen(status="STARTED", status_at=AT - 8 * 3600), replace(TIME, unseen="no-show"), BY_TIME),
        (seen(images=1, last_image=AT - 10, signs=True), TIME, None),
        (seen(images=1, last_image=AT - 1000, signs=True), TIME, BY_TIME),
        # nobody came
        (seen(), ClosingRules(no_show_after=10), NO_SHOW),
        (seen(), ClosingRules(no_show_after=11), None),
        (seen(status="ARRIVED"), ClosingRules(no_show_after=1), None),
        (seen(status="STARTED"), ClosingRules(no_show_after=1), None),
        (seen(signs=True), ClosingRules(no_show_after=1), None),
        (seen(held=True), ClosingRules(no_show_after=1), None),
        # long over
        (seen(), ClosingRules(expire_after=10), EXPIRED),
        (seen(), ClosingRules(expire_after=11), None),
        (seen(status="READY", signs=True), ClosingRules(expire_after=1), EXPIRED),
        (seen(status="STARTED"), ClosingRules(expire_after=1), None),
        (seen(start_at=""), ClosingRules(expire_after=1), None),
        (seen(held=True), ClosingRules(expire_after=1), None),
        (seen(), ClosingRules(no_show_after=2, expire_after=1), NO_SHOW),
    ],
)
def test_decision(step: Seen, rules: ClosingRules, expected: End | None) -> None:
    assert decide(step, rules, NOW) == expected


@pytest.mark.parametrize("status", list(StepStatus))
def test_nothing_is_decided_that_moves_a_step_backwards(status: str) -> None:
    rank = {name: number for number, name in enumerate(list(StepStatus))}
    for rules in (IMAGES, TIME, replace(TIME, unseen="no-show"), ClosingRules(no_show_after=1, expire_after=1)):
        for images in (0, 3):
            made = decide(seen(status=status, images=images, last_image=AT - 901), rules, NOW)
            if made is not None and made.action is not None:
                effect, after = lifecycle.apply(made.action, status)
                assert effect is lifecycle.Effect.APPLY
                assert rank[after] > rank[status]


def test_hours_pass_also_while_clocks_are_changed() -> None:
    after_the_change = datetime(2026, 3, 29, 8, tzinfo=ZONE)  # 02:00 became 03:00
    assert closing.before(8, after_the_change) == "20260328230000"
    assert closing.before(8, datetime(2026, 10, 25, 8, tzinfo=ZONE)) == "20261025010000"


def device(name: str, title: str, **profile: Any) -> dict[str, Any]:
    return {"name": name, "kind": "dicom", "ae_title": title, "roles": ["modality"], "device": profile}


def test_whose_rules_are_in_force() -> None:
    nodes = parse_nodes(
        [
            device("ct", "CT", stations=["CT01", "CT02"], closing={"by": ["images"], "expire_after": 0}),
            device("us", "US01", closing={"by": ["result", "time"], "after": 4, "unseen": "no-show"}),
            {"name": "mr", "kind": "dicom", "ae_title": "MR01", "roles": ["modality"]},
            {"name": "pacs", "kind": "dicom", "ae_title": "PACS", "host": "h", "port": 1, "roles": ["destination"]},
        ]
    )
    default = ClosingRules(expire_after=48, mpps_after=24)
    closings = Closings(nodes, default)
    ct, us, mr = (closings.of([title]) for title in ("CT02", "US01", "MR01"))
    assert (ct.images, ct.result, ct.expire_after, ct.over_after, ct.mpps_after) == (True, False, 0, 0, 24)
    assert ct.titles == {"CT", "CT01", "CT02"}
    assert closings.of(["ELSEWHERE", "CT01"]) == closings.of(["CT"]) == ct
    assert (us.images, us.result, us.over_after, us.unseen, us.expire_after) == (False, True, 4, "no-show", 48)
    assert mr == replace(default, titles=frozenset({"MR01"}))
    assert closings.of(["PACS"]) == closings.of([]) == default
    assert closings.without_results() == {"CT", "CT01", "CT02"}
    assert us.hours == (4, 48)


@pytest.mark.parametrize(
    ("profile", "named"),
    [
        ({"by": ["rumour"]}, "device.closing.by.0"),
        ({"images_quiet": 0}, "device.closing.images_quiet"),
        ({"after": 0}, "device.closing.after"),
        ({"expire_after": -1}, "device.closing.expire_after"),
        ({"colour": 1}, "device.closing.colour: unknown key"),
    ],
)
def test_mistakes_are_named(profile: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        parse_nodes([device("ct", "CT", closing=profile)])
