"""Sentences in English: lengths of time and moments as people say them."""

from __future__ import annotations

from datetime import UTC

import pytest

from broker.model.wording import Instant, Lasting, Sentence, duration

NOON = 1_899_982_800.0  # 2030-03-17 13:00 UTC


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0 s"), (0, "0 s"), (59.4, "59 s"), (60, "1 min"), (2280, "38 min"), (3600, "1 h"), (4320, "1 h 12 min"),
        (36_000, "10 h"), (39_000, "10 h"), (86_400, "1 d"), (100_000, "1 d 3 h"), (31_536_000, "365 d"),
    ],
)  # fmt: skip
def test_a_length_of_time(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_sentence_with_its_values() -> None:
    why = Sentence("no connection (%(code)s)", {"code": "100 %"})
    values = {"at": Instant(NOON - 60), "span": Lasting(60), "why": why, "n": 2}
    text = Sentence("down since %(at)s (%(span)s): %(why)s", values, many="%(n)s down since %(at)s (%(span)s): %(why)s")
    assert text.english(UTC, NOON) == "2 down since 12:59 (1 min): no connection (100 %)"
    assert text.english(UTC, NOON + 86_400).startswith("2 down since 2030-03-17 12:59")
