"""What a destination's status means for the object (PS3.4 B.2.3)."""

from __future__ import annotations

import pytest

from broker.delivery.outcome import verdict


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
    assert verdict(status, attempts) == expected
