from __future__ import annotations

import pytest

from broker.model.order import StepStatus
from broker.orders.core import lifecycle
from broker.orders.core.lifecycle import ENDED, Action, Effect

S, A, R, T = "SCHEDULED", "ARRIVED", "READY", "STARTED"
C, D, X = "COMPLETED", "DISCONTINUED", "CANCELED"
# what each action makes of each status; "-" no effect, "!" refused
TABLE = {
    Action.WRITE: {S: S, A: A, R: R, T: T, C: "-", D: "-", X: "-"},
    Action.CANCEL: {S: X, A: X, R: X, T: "!", C: "-", D: "-", X: "-"},
    Action.DISCONTINUE: {S: D, A: D, R: D, T: "-", C: "-", D: "-", X: "-"},
    Action.START: {S: T, A: T, R: T, T: "-", C: "-", D: "-", X: "-"},
    Action.STOP: {S: D, A: D, R: D, T: D, C: "-", D: "-", X: "-"},
    Action.COMPLETE: {S: C, A: C, R: C, T: C, C: "-", D: "-", X: "-"},
    Action.HOLD: {S: S, A: A, R: R, T: "!", C: "-", D: "-", X: "-"},
    Action.RELEASE: {S: S, A: A, R: R, T: "-", C: "-", D: "-", X: "-"},
    Action.NUMBER: dict.fromkeys(StepStatus, "-"),
    Action.ASK: dict.fromkeys(StepStatus, "-"),
    Action.LINK: dict.fromkeys(StepStatus, "-"),
    Action.NOTHING: {S: "-", A: "-", R: "-", T: "-", C: "-", D: "-", X: "-"},
}


@pytest.mark.parametrize("action", list(Action))
@pytest.mark.parametrize("status", list(StepStatus))
def test_table(action: Action, status: str) -> None:
    effect, after = lifecycle.apply(action, status)
    expected = TABLE[action][status]
    if expected == "-":
        assert (effect, after) == (Effect.NONE, status)
    elif expected == "!":
        assert (effect, after) == (Effect.REFUSE, status)
    else:
        assert (effect, after) == (Effect.APPLY, expected)


@pytest.mark.parametrize("action", list(Action))
@pytest.mark.parametrize("status", ENDED)
def test_nothing_leaves_an_end(action: Action, status: str) -> None:
    assert lifecycle.apply(action, status) == (Effect.NONE, status)


@pytest.mark.parametrize(
    ("control", "status", "action"),
    [
        ("NW", "", Action.WRITE), ("NW", "IP", Action.WRITE), ("XO", "SC", Action.WRITE), ("XX", "", Action.WRITE),
        ("XO", "CM", Action.COMPLETE), ("CA", "", Action.CANCEL), ("OC", "CA", Action.CANCEL),
        ("DC", "CA", Action.DISCONTINUE), ("OD", "", Action.DISCONTINUE), ("SC", "IP", Action.START),
        ("SC", "CM", Action.COMPLETE), ("SC", "A", Action.COMPLETE), ("SC", "DC", Action.STOP),
        ("SC", "CA", Action.CANCEL), ("SC", "RP", Action.CANCEL), ("SC", "HD", Action.HOLD),
        ("SC", "SC", Action.RELEASE), ("SC", "", Action.NOTHING), ("SC", "ER", Action.NOTHING),
        ("XO", "CA", Action.CANCEL), ("XX", "DC", Action.STOP), ("XO", "IP", Action.WRITE),
        ("SN", "", Action.WRITE), ("NA", "", Action.NUMBER), ("CH", "", Action.WRITE), ("PA", "", Action.LINK),
        ("RO", "", Action.WRITE), ("RP", "", Action.CANCEL), ("RU", "", Action.CANCEL),
        ("HD", "", Action.HOLD), ("OH", "", Action.HOLD), ("RL", "", Action.RELEASE), ("OE", "", Action.RELEASE),
        ("SS", "", Action.ASK), ("DE", "", Action.NOTHING), ("RE", "", Action.NOTHING), ("OK", "", Action.NOTHING),
        ("CR", "CA", Action.NOTHING), ("UA", "", Action.NOTHING), ("OR", "", Action.NOTHING),
    ],
)  # fmt: skip
def test_order_control(control: str, status: str, action: Action) -> None:
    assert lifecycle.action(control, status) is action
    assert control in lifecycle.CONTROLS


@pytest.mark.parametrize(
    ("steps", "code"),
    [
        ([], ""), ([S], "SC"), ([A, R], "SC"), ([S, T], "IP"), ([C, T], "IP"), ([C, S], "A"), ([C, X], "CM"),
        ([D, X], "DC"), ([X, X], "CA"), ([X, S], "SC"),
    ],
)  # fmt: skip
def test_order_status(steps: list[str], code: str) -> None:
    assert lifecycle.order_status((status, False) for status in steps) == code


def test_order_status_of_what_is_held() -> None:
    assert lifecycle.order_status([(S, True), (X, False)]) == "HD"
    assert lifecycle.order_status([(S, True), (S, False)]) == "SC"
    assert lifecycle.order_status([(S, True), (T, False)]) == "IP"


@pytest.mark.parametrize("status", list(StepStatus))
def test_only_what_waits_is_held(status: str) -> None:
    assert lifecycle.held(Action.WRITE, status, True) == (status in {S, A, R})
    assert lifecycle.held(Action.HOLD, status, False)
    assert not lifecycle.held(Action.RELEASE, status, True)


@pytest.mark.parametrize("control", sorted(lifecycle.CONTROLS))
def test_replies_are_in_the_table_too(control: str) -> None:
    for done in (True, False):
        assert lifecycle.reply(control, done) in lifecycle.CONTROLS | {""}
