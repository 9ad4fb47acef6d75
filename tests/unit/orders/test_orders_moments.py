from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.orders.core.values import Span
from broker.orders.mapping.data_types import oddity, span

ZURICH = ZoneInfo("Europe/Zurich")


def at(*when: int) -> float:
    return datetime(*when, tzinfo=UTC).timestamp()  # type: ignore[misc,arg-type]


@pytest.mark.parametrize(
    ("text", "start", "seconds"),
    [
        ("20260312100000", at(2026, 3, 12, 9), 1), ("20260312100000.25", at(2026, 3, 12, 9), 1),
        ("202603121000", at(2026, 3, 12, 9), 60), ("2026031210", at(2026, 3, 12, 9), 3600),
        ("20260312", at(2026, 3, 11, 23), 86_400), ("20260312100000+0000", at(2026, 3, 12, 10), 1),
        ("202603121000-0530", at(2026, 3, 12, 15, 30), 60),
        # in the hour that comes twice it may be either; an offset says which
        ("20261025023000", at(2026, 10, 25, 0, 30), 3601), ("20261025023000+0100", at(2026, 10, 25, 1, 30), 1),
    ],
)  # fmt: skip
def test_span(text: str, start: float, seconds: float) -> None:
    assert span(text, ZURICH) == Span(start, start + seconds)


@pytest.mark.parametrize("text", ["", "2026", "202603", "20260230", "x", "20260312+9900", "00010101000000+2359\n2"])
def test_no_span(text: str) -> None:
    assert span(text, ZURICH) is None


@given(st.text("0123456789+-.", max_size=24))
def test_span_of_anything(text: str) -> None:
    found = span(text, ZURICH)
    assert found is None or found.start < found.end


@pytest.mark.parametrize(
    ("date", "time", "zone", "kind"),
    [
        ("20260329", "015959", ZURICH, ""), ("20260329", "020000", ZURICH, "skipped"),
        ("20260329", "025959", ZURICH, "skipped"), ("20260329", "030000", ZURICH, ""),
        ("20261025", "015959", ZURICH, ""), ("20261025", "0230", ZURICH, "repeated"),
        ("20261025", "025959.5", ZURICH, "repeated"), ("20261025", "030000", ZURICH, ""),
        ("20261025", "023000", UTC, ""), ("20260329", "023000", ZoneInfo("Asia/Tokyo"), ""),
        ("20260405", "014500", ZoneInfo("Australia/Lord_Howe"), "repeated"),
        ("00010101", "000000", ZURICH, ""), ("99991231", "235959", ZURICH, ""),
    ],
)  # fmt: skip
def test_oddity(date: str, time: str, zone: ZoneInfo, kind: str) -> None:
    assert oddity(date, time, zone) == kind
