"""No more bytes go to a node in a second than it may get, whoever sends them."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.delivery.throttle import BURST, Throttle, Throttles
from broker.errors import ConfigurationError
from broker.site.nodes import parse_nodes

PACS = {"name": "pacs", "kind": "dicom", "ae_title": "PACS", "host": "h", "port": 104, "roles": ["destination"]}


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(1, 50_000)), max_size=40))
def test_the_rate_is_kept_over_any_time(steps: list[tuple[float, int]]) -> None:
    clock, rate = Clock(), 10_000
    throttle = Throttle(rate, clock)
    sent: list[tuple[float, int]] = []  # when a chunk goes out, and its bytes
    for rest, size in steps:
        clock.now += rest
        for chunk, wait in throttle.cut(bytes(size)):
            assert len(chunk) <= rate * BURST
            clock.now += wait
            sent.append((clock.now, len(chunk)))
    for first, (begin, _) in enumerate(sent):
        total = 0
        for at, size in sent[first:]:
            total += size
            assert total <= rate * (at - begin + 2 * BURST) + 1


def test_after_a_rest_a_burst_goes_at_once_and_no_more() -> None:
    clock = Clock()
    throttle = Throttle(10_000, clock)
    assert throttle.take(2500) == 0
    assert throttle.take(2500) == pytest.approx(0.25)
    clock.now += 60
    assert throttle.take(2500) == 0
    assert throttle.take(10_000) == pytest.approx(1)


def test_a_piece_is_cut_and_none_of_it_is_lost() -> None:
    piece = bytes(range(256)) * 100
    assert b"".join(chunk for chunk, _ in Throttle(4096, Clock()).cut(piece)) == piece


def test_threads_share_a_limit() -> None:
    clock = Clock()
    throttle, waits = Throttle(1000, clock), list[float]()

    def work() -> None:
        waits.extend(throttle.take(100) for _ in range(50))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(waits) == pytest.approx(200 * 0.1 - BURST)


def test_a_node_has_one_limit_until_it_changes() -> None:
    throttles = Throttles()
    node = parse_nodes([PACS | {"bandwidth": 5000}])[0]
    assert throttles.of(node) is throttles.of(replace(node, port=105))
    assert throttles.of(replace(node, bandwidth=6000)) is not throttles.of(node)
    assert throttles.of(replace(node, bandwidth=None)) is None


@pytest.mark.parametrize("change", [{"bandwidth": 100}, {"bandwidth": 5000, "roles": ["mpps"]}])
def test_what_is_no_limit(change: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match="bandwidth"):
        parse_nodes([PACS | change])
