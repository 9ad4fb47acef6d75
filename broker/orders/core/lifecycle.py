"""Status of a Scheduled Procedure Step and what an order message may do to it (HL7 table 0119, 0038).

No message moves a status backwards: what comes after the end is recorded without effect. A held step keeps its status
and is in no worklist until it is released or its examination begins.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum

from broker.model.order import StepStatus

WAITING = (StepStatus.SCHEDULED, StepStatus.ARRIVED, StepStatus.READY)
OPEN = (*WAITING, StepStatus.STARTED)
ENDED = (StepStatus.COMPLETED, StepStatus.DISCONTINUED, StepStatus.CANCELED)

# HL7 table 0119 as of 2.5.1: a code outside it is an error
CONTROLS = frozenset(
    {
        "AF", "CA", "CH", "CN", "CR", "DC", "DE", "DF", "DR", "FU", "HD", "HR", "LI", "MC", "NA", "NW", "OC", "OD",
        "OE", "OF", "OH", "OK", "OP", "OR", "PA", "PR", "PY", "RE", "RF", "RL", "RO", "RP", "RQ", "RR", "RU", "SC",
        "SN", "SR", "SS", "UA", "UC", "UD", "UF", "UH", "UM", "UN", "UR", "UX", "XO", "XR", "XX",
    }
)  # fmt: skip
NEW = frozenset({"NW", "SN", "RO"})  # a sender that says these believes the order to be unknown to us
REPLACED = frozenset({"RP", "RU"})  # the order that RO of the same message replaces


class Action(StrEnum):
    """What an order control code asks for."""

    WRITE = "write"  # create or update
    CANCEL = "cancel"
    DISCONTINUE = "discontinue"  # of what has not started
    START = "start"
    STOP = "stop"  # discontinue, started steps too
    COMPLETE = "complete"
    HOLD = "hold"
    RELEASE = "release"
    NUMBER = "number"  # the filler number of a known order
    ASK = "ask"  # for the order's status
    LINK = "link"  # known as the parent of others
    NOTHING = "nothing"  # known, not acted on


class Effect(StrEnum):
    """What becomes of it for one step."""

    APPLY = "apply"
    NONE = "none"
    REFUSE = "refuse"


_BY_CONTROL = {
    "NW": Action.WRITE, "SN": Action.WRITE, "RO": Action.WRITE, "XO": Action.WRITE, "XX": Action.WRITE,
    "CH": Action.WRITE, "PA": Action.LINK, "NA": Action.NUMBER, "SS": Action.ASK,
    "CA": Action.CANCEL, "OC": Action.CANCEL, "RP": Action.CANCEL, "RU": Action.CANCEL,
    "DC": Action.DISCONTINUE, "OD": Action.DISCONTINUE,
    "HD": Action.HOLD, "OH": Action.HOLD, "RL": Action.RELEASE, "OE": Action.RELEASE,
}  # fmt: skip
_BY_STATUS = {
    "IP": Action.START, "CM": Action.COMPLETE, "A": Action.COMPLETE, "DC": Action.STOP,
    "CA": Action.CANCEL, "RP": Action.CANCEL, "HD": Action.HOLD, "SC": Action.RELEASE,
}  # fmt: skip
_CHANGED = {"CM": Action.COMPLETE, "CA": Action.CANCEL, "DC": Action.STOP}  # ORC-5 of a change request that ends it
_TO = {
    Action.CANCEL: StepStatus.CANCELED,
    Action.DISCONTINUE: StepStatus.DISCONTINUED,
    Action.START: StepStatus.STARTED,
    Action.STOP: StepStatus.DISCONTINUED,
    Action.COMPLETE: StepStatus.COMPLETED,
}
# reply to an order control code (ORC-1 of ORR, ORI, ORG): done, not done
_REPLIES = {
    "NW": ("OK", "UA"), "SN": ("NA", "UA"), "XO": ("XR", "UX"), "CA": ("CR", "UC"), "DC": ("DR", "UD"),
    "HD": ("HR", "UH"), "RL": ("OR", "UR"), "RP": ("RQ", "UM"), "RO": ("RQ", "UM"), "RU": ("RQ", "UM"),
    "SS": ("SR", "SR"),
}  # fmt: skip


def action(control: str, order_status: str) -> Action:
    """What ORC-1 with ORC-5 asks for; ORC-5 may be empty. It counts only for SC (status changed), XO and XX."""
    if control == "SC":
        return _BY_STATUS.get(order_status, Action.NOTHING)
    if control in {"XO", "XX"} and order_status in _CHANGED:
        return _CHANGED[order_status]
    return _BY_CONTROL.get(control, Action.NOTHING)


def apply(wanted: Action, status: StepStatus) -> tuple[Effect, StepStatus]:
    """Effect on a step in `status` and the status after it. For holding see `held`."""
    if status in ENDED or wanted in {Action.NUMBER, Action.ASK, Action.LINK, Action.NOTHING}:
        return Effect.NONE, status
    if wanted is Action.WRITE:
        return Effect.APPLY, status
    if status == StepStatus.STARTED:
        if wanted in {Action.CANCEL, Action.HOLD}:
            return Effect.REFUSE, status
        if wanted in {Action.DISCONTINUE, Action.START, Action.RELEASE}:
            return Effect.NONE, status
    return Effect.APPLY, _TO.get(wanted, status)


def advanced(status: StepStatus, told: StepStatus | None) -> StepStatus:
    """Status of a step in `status` of which somebody tells another one: only forwards, and not beyond its start."""
    return told if told in OPEN and status in OPEN and OPEN.index(told) > OPEN.index(status) else status


def performed(status: StepStatus, outcomes: Sequence[StepStatus], *, append: bool) -> StepStatus:
    """Status of a step after a message of a performed procedure step.

    `outcomes` is what each MPPS that is linked to it makes of it, oldest first. `append`: the modality begins a
    further MPPS where an earlier one is final, which alone opens an ended step again; a cancelled one stays.
    """
    decisive = (outcome for outcome in (StepStatus.STARTED, StepStatus.COMPLETED) if outcome in outcomes)
    told = next(decisive, outcomes[-1] if outcomes else status)
    if status in ENDED:
        return told if append and told == StepStatus.STARTED and status != StepStatus.CANCELED else status
    return told


def held(wanted: Action, status: StepStatus, before: bool) -> bool:
    """Whether a step to which this applies is held after it; `status` is the one after it."""
    if wanted in {Action.HOLD, Action.RELEASE}:
        return wanted is Action.HOLD
    return before and status in WAITING


def reached(wanted: Action, status: StepStatus, is_held: bool) -> bool:
    """Whether a step is already as `wanted` would have it."""
    if wanted in {Action.HOLD, Action.RELEASE}:
        return status in OPEN and is_held == (wanted is Action.HOLD)
    if wanted in {Action.DISCONTINUE, Action.STOP}:
        return status in {StepStatus.DISCONTINUED, StepStatus.CANCELED}
    return status == _TO.get(wanted, status)


def reply(control: str, done: bool) -> str:
    """ORC-1 of the application answer to an order control code; empty for one that has none."""
    return _REPLIES.get(control, ("", ""))[0 if done else 1]


def order_status(steps: Iterable[tuple[StepStatus, bool]]) -> str:
    """ORC-5 (table 0038) of an order with steps of these statuses, held or not; empty for no steps."""
    states = tuple(steps)
    statuses = {status for status, _ in states}
    if not statuses:
        return ""
    waiting = [is_held for status, is_held in states if status in WAITING]
    if statuses <= set(ENDED):
        return "CM" if StepStatus.COMPLETED in statuses else "DC" if StepStatus.DISCONTINUED in statuses else "CA"
    if StepStatus.STARTED in statuses:
        return "IP"
    if StepStatus.COMPLETED in statuses:
        return "A"
    return "HD" if all(waiting) else "SC"
