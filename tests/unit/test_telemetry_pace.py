"""Lines that strangers cause are written at a limited rate, and say how many were left out."""

from __future__ import annotations

import contextlib

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as some

from broker.pace import MOST, AddressPace, FloodGate, LinePace


def test_one_line_of_a_kind_per_minute_with_the_number_of_the_others() -> None:
    now = [0.0]
    pace = LinePace(60, lambda: now[0])
    assert [pace.take("a"), pace.take("a"), pace.take("a"), pace.take("b")] == [0, None, None, 0]
    now[0] = 61
    assert pace.take("a") == 2
    now[0] = 122
    assert pace.take("a") == 0


def test_ever_new_kinds_take_no_memory() -> None:
    pace = LinePace(60, lambda: 0.0)
    for n in range(10 * LinePace.KINDS):
        pace.take(str(n))
    assert len(pace._kinds) <= LinePace.KINDS + 1


def lines(gate: FloodGate, level: str, count: int, **more: str) -> list[dict[str, object]]:
    """What a gate lets through of so many lines of one event."""
    through = []
    for _ in range(count):
        with contextlib.suppress(structlog.DropEvent):
            through.append(dict(gate(None, "", {"event": "some.event", "level": level, **more})))
    return through


@pytest.mark.parametrize("level", ["info", "warning", "error"])
def test_no_event_floods_the_log_and_the_next_line_tells_how_many_were_left_out(level: str) -> None:
    now = [0.0]
    gate = FloodGate(lambda: now[0])
    most = MOST[level]
    assert len(lines(gate, level, most + 70)) == most
    assert len(lines(gate, level, 1, node="other")) == 1
    now[0] = 10
    first, second = lines(gate, level, 2)
    assert first["repeats"] == 70
    assert "repeats" not in second


def test_the_flood_gate_takes_no_memory_for_ever_new_events_and_spares_debugging() -> None:
    gate = FloodGate(lambda: 0.0)
    for number in range(3 * FloodGate.EVENTS):
        gate(None, "", {"event": str(number), "level": "error"})
    assert len(gate._events) <= FloodGate.EVENTS + 1
    assert len(lines(gate, "debug", 5_000)) == 5_000


def test_an_address_that_asks_too_often_waits_then_is_refused_and_others_do_not_notice() -> None:
    now = [0.0]
    pace = AddressPace(10, lambda: now[0])
    waits = [pace.wait("a") for _ in range(200)]
    assert waits[:100] == [0] * 100
    assert waits[100:105] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    assert waits[105:] == [None] * 95
    assert pace.wait("b") == 0
    now[0] = 1
    assert pace.wait("a") == pytest.approx(0, abs=0.11)
    now[0] = 100
    assert [pace.wait("a") for _ in range(100)] == [0] * 100


@given(some.lists(some.floats(0, 3), max_size=300), some.floats(0.5, 20))
def test_no_more_passes_than_burst_and_pace_allow(pauses: list[float], rate: float) -> None:
    now, passed = [0.0], 0
    pace = AddressPace(rate, lambda: now[0])
    for pause in pauses:
        now[0] += pause
        passed += pace.wait("a") is not None
    assert passed <= AddressPace.BURST + rate * (sum(pauses) + AddressPace.PATIENCE) + 1


def test_many_busy_addresses_are_not_walked_at_each_request() -> None:
    pace = AddressPace(0.001, lambda: 0.0)
    for number in range(5 * AddressPace.ADDRESSES):
        pace.wait(str(number))
    assert len(pace._due) < pace._sweep_at


def test_addresses_that_have_been_quiet_are_forgotten() -> None:
    now = [0.0]
    pace = AddressPace(10, lambda: now[0])
    for number in range(5 * AddressPace.ADDRESSES):
        now[0] += 0.2
        pace.wait(str(number))
    assert len(pace._due) <= AddressPace.ADDRESSES + 2
