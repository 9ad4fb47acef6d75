"""What a destination's status means for the object (PS3.4 B.2.3)."""

from __future__ import annotations

import pytest

from broker.delivery.outcome import RequestKind, verdict


@pytest.mark.parametrize(
    ("status", "attempts", "expected"),
    [
        (0x0000, 1, "done"),
        (0xB000, 1, "done"), (0xB006, 1, "done"), (0xB007, 1, "done"), (0x0001, 1, "done"),
        (0xA700, 1, "busy"), (0xA7FF, 3, "busy"), (0x0110, 1, "busy"),
        (0xA900, 1, "refused"), (0xA9FF, 1, "refused"), (0xC000, 1, "refused"), (0xCFFF, 1, "refused"),
        (0x0122, 1, "refused"), (0x0124, 1, "refused"), (0x0117, 1, "refused"), (0x0210, 1, "refused"),
        (0x0111, 1, "refused"),  # somebody else's object under this UID
        (0x0111, 2, "done"),  # ours: the answer to an earlier attempt was lost
        (0xFF00, 1, "refused"), (0x1234, 1, "refused"),
    ],
)  # fmt: skip
def test_verdict(status: int, attempts: int, expected: str) -> None:
    assert verdict(RequestKind.STORE, status, again=attempts > 1) == expected


@pytest.mark.parametrize(
    ("sent", "status", "error_id", "again", "expected"),
    [
        (RequestKind.CREATE, 0x0000, 0, False, "done"), (RequestKind.SET, 0x0001, 0, False, "done"),
        (RequestKind.EVENT, 0x0116, 0, False, "done"),
        (RequestKind.CREATE, 0x0110, 0, False, "busy"), (RequestKind.SET, 0xA700, 0, False, "busy"),
        (RequestKind.EVENT, 0x0213, 0, False, "busy"),
        (RequestKind.CREATE, 0x0111, 0, False, "refused"), (RequestKind.CREATE, 0x0111, 0, True, "done"),
        (RequestKind.SET, 0x0111, 0, True, "refused"), (RequestKind.EVENT, 0x0111, 0, True, "refused"),
        (RequestKind.SET, 0x0112, 0, False, "not-there"), (RequestKind.CREATE, 0x0112, 0, False, "refused"),
        (RequestKind.EVENT, 0x0112, 0, False, "refused"),
        (RequestKind.CREATE, 0x0106, 0, True, "refused"), (RequestKind.SET, 0xC000, 0, True, "refused"),
    ],
)  # fmt: skip
def test_verdict_on_a_performed_step(sent: RequestKind, status: int, error_id: int, again: bool, expected: str) -> None:
    assert verdict(sent, status, error_id, again=again) == expected


@pytest.mark.parametrize(
    ("again", "final", "expected"),
    [(False, False, "refused"), (False, True, "refused"), (True, False, "refused"), (True, True, "done")],
)
def test_a_step_that_may_no_longer_be_updated_was_perhaps_ended_by_us(again: bool, final: bool, expected: str) -> None:
    assert verdict(RequestKind.SET, 0x0110, 0xA710, again=again, final=final) == expected
    assert verdict(RequestKind.CREATE, 0x0110, 0xA710, again=again, final=final) == "busy"
