"""Status of a Scheduled Procedure Step and what an order message may do to it (HL7 table 0119, 0038).

No message moves a status backwards: what comes after the end is recorded without effect.
"""

from __future__ import annotations

from enum import StrEnum

SCHEDULED, ARRIVED, READY, STARTED = "SCHEDULED", "ARRIVED", "READY", "STARTED"
COMPLETED, DISCONTINUED, CANCELED = "COMPLETED", "DISCONTINUED", "CANCELED"
WAITING = (SCHEDULED, ARRIVED, READY)
OPEN = (*WAITING, STARTED)
ENDED = (COMPLETED, DISCONTINUED, CANCELED)
STATUSES = (*OPEN, *ENDED)

# HL7 table 0119 as of 2.5.1: a code outside it is an error
CONTROLS = frozenset(
    {
        "AF", "CA", "CH", "CN", "CR", "DC", "DE", "DF", "DR", "FU", "HD", "HR", "LI", "MC", "NA", "NW", "OC", "OD",
        "OE", "OF", "OH", "OK", "OP", "OR", "PA", "PR", "PY", "RE", "RF", "RL", "RO", "RP", "RQ", "RR", "RU", "SC",
        "SN", "SR", "SS", "UA", "UC", "UD", "UF", "UH", "UM", "UN", "UR", "UX", "XO", "XR", "XX",
    }
)  # fmt: skip


class Action(StrEnum):
    """What an order control code asks for."""

    WRITE = "write"  # create or update
    CANCEL = "cancel"
    DISCONTINUE = "discontinue"  # of what has not started
    START = "start"
    STOP = "stop"  # discontinue, started steps too
    COMPLETE = "complete"
    NOTHING = "nothing"  # known, not acted on


class Effect(StrEnum):
    """What becomes of it for one step."""

    APPLY = "apply"
    NONE = "none"
    REFUSE = "refuse"


_BY_CONTROL = {
    "NW": Action.WRITE, "RO": Action.WRITE, "XO": Action.WRITE, "XX": Action.WRITE,
    "CA": Action.CANCEL, "OC": Action.CANCEL, "RP": Action.CANCEL, "RU": Action.CANCEL,
    "DC": Action.DISCONTINUE, "OD": Action.DISCONTINUE,
}  # fmt: skip
_BY_STATUS = {
    "IP": Action.START, "CM": Action.COMPLETE, "A": Action.COMPLETE, "DC": Action.STOP, "CA": Action.CANCEL,
}  # fmt: skip
_TO = {
    Action.CANCEL: CANCELED,
    Action.DISCONTINUE: DISCONTINUED,
    Action.START: STARTED,
    Action.STOP: DISCONTINUED,
    Action.COMPLETE: COMPLETED,
}


def action(control: str, order_status: str) -> Action:
    """What ORC-1 with ORC-5 asks for. ORC-5 counts only for SC (status changed) and XO_CM."""
    if control == "SC":
        return _BY_STATUS.get(order_status, Action.NOTHING)
    if control in {"XO", "XX"} and order_status == "CM":
        return Action.COMPLETE
    return _BY_CONTROL.get(control, Action.NOTHING)


def apply(wanted: Action, status: str) -> tuple[Effect, str]:
    """Effect on a step in `status` and the status after it."""
    if wanted is Action.NOTHING or status in ENDED:
        return Effect.NONE, status
    if wanted is Action.WRITE:
        return Effect.APPLY, status
    if status == STARTED:
        if wanted is Action.CANCEL:
            return Effect.REFUSE, status
        if wanted in {Action.DISCONTINUE, Action.START}:
            return Effect.NONE, status
    return Effect.APPLY, _TO[wanted]
