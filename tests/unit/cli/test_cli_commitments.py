"""`broker commitments show` says of each archive what it was asked, when, and what came of it."""

from __future__ import annotations

from typing import Any

import pytest

from broker.cli.commitments import _asked


def clock(at: float) -> str:
    return f"<{at:.0f}>"


@pytest.mark.parametrize(
    ("state", "asked_at", "answered_at", "told"),
    [
        ("waiting", 0, 0, "to be asked"),
        ("asked", 5, 0, "asked <5>, no answer yet"),
        ("answered", 5, 9, "asked <5>, answered <9>"),
        ("answered", 0, 9, "answered <9>"),  # it reported before its answer to the question was written down
        ("refused", 0, 0, "it refused to be asked"),
        ("unanswered", 5, 0, "asked <5>, no answer in time"),
    ],
)
def test_what_an_archive_was_asked(state: str, asked_at: float, answered_at: float, told: str) -> None:
    each: dict[str, Any] = {
        "node": "pacs", "attempt": 2, "objects": 7, "state": state, "asked_at": asked_at, "answered_at": answered_at,
    }  # fmt: skip
    assert _asked(each, clock) == f"pacs, question 2, 7 objects: {told}"
