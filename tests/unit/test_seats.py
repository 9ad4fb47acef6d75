"""Who is let in at a listener, who must go, and whose unfinished input ends."""

from __future__ import annotations

import pytest

from broker.seats import KEPT, RATE, REMEMBERED, Handshakes, Seats, share_of


class Caller:
    """A connection as the seats see it."""

    def __init__(self, share: str = "", *, known: bool = False) -> None:
        self.known, self.proven, self.busy = known, False, False
        self.share, self.held, self.reason = share, 0, ""

    def end(self, reason: str) -> None:
        self.reason = reason


def seats(most: int = 20, per_address: int = 10, most_bytes: int = 100) -> Seats:
    return Seats(most, per_address, most_bytes)


def test_an_address_has_a_share_and_known_ones_have_no_limit_but_that_of_all() -> None:
    made = seats()
    assert [made.enter(Caller("a")) for _ in range(11)] == [""] * 10 + ["address-full"]
    assert [made.enter(Caller("a", known=True)) for _ in range(10)] == [""] * 10


def test_silent_strangers_make_room_for_addresses_that_have_fewer() -> None:
    made = seats(most_bytes=1)
    crowd = [Caller("ab"[n // 10]) for n in range(15)]
    assert [made.enter(caller) for caller in crowd] == [""] * 15
    assert 20 - 20 // KEPT == 15  # the rest is kept
    assert made.enter(Caller("c")) == ""
    assert [c.reason for c in crowd] == ["displaced"] + [""] * 14  # the first of the address with the most
    assert made.enter(Caller("a")) == "full"  # nobody has more
    assert made.enter(Caller("ris", known=True)) == ""  # a seat that is kept


def test_whoever_works_or_has_proven_to_be_a_sender_stays() -> None:
    made = seats(most=4)
    proven, busy, silent = Caller("a"), Caller("a"), Caller("a")
    for caller in (proven, busy, silent):
        assert made.enter(caller) == ""
    made.prove(proven)
    busy.busy = True
    known = [Caller("ris", known=True) for _ in range(3)]
    assert [made.enter(caller) for caller in known] == ["", "", "full"]
    assert [c.reason for c in (proven, busy, silent)] == ["", "", "displaced"]
    made.leave(silent)  # as it ends
    made.leave(proven)
    again = Caller("a")
    assert made.enter(again) == ""
    assert again.proven  # its address is remembered


def test_addresses_that_are_remembered_have_a_limit() -> None:
    made = seats(most=1, per_address=1)
    for number in range(REMEMBERED + 1):
        caller = Caller(str(number))
        assert made.enter(caller) == ""
        made.prove(caller)
        made.leave(caller)
    first, last = Caller("0"), Caller(str(REMEMBERED))
    made.enter(first)
    made.leave(first)
    made.enter(last)
    assert (first.proven, last.proven) == (False, True)


def test_unfinished_frames_of_strangers_end_first_and_the_largest_of_them() -> None:
    made = seats()
    small, large, known, works = Caller(), Caller(), Caller(known=True), Caller()
    for caller, size in ((small, 10), (large, 30), (known, 50), (works, 5)):
        assert made.enter(caller) == ""
        made.hold(caller, size)
    works.busy = True
    made.hold(known, 60)
    assert [c.reason for c in (small, large, known, works)] == ["", "crowded", "", ""]
    made.hold(known, 91)
    assert [c.reason for c in (small, large, known, works)] == ["crowded", "crowded", "", ""]
    made.hold(known, 96)
    assert known.reason == "crowded"  # itself, as nobody else is left
    assert made.bytes == 5
    made.leave(works)
    assert made.bytes == 0


def test_large_input_of_all_strangers_is_read_at_one_rate() -> None:
    made = seats()
    first, second, known = Caller("a"), Caller("b"), Caller("ris", known=True)
    waits = [made.wait(first, RATE, 100.0), made.wait(second, RATE // 2, 100.0), made.wait(first, RATE, 100.5)]
    assert waits == [0, 1, 1]
    assert made.wait(known, RATE, 100.0) == 0
    assert made.wait(first, RATE, 200.0) == 0  # a pause is not made up for


def test_who_has_left_holds_nothing_more() -> None:
    made = seats()
    gone = Caller("a")
    made.enter(gone)
    made.leave(gone)
    made.hold(gone, 50)
    assert made.bytes == 0


@pytest.mark.parametrize(
    ("address", "share"),
    [
        ("10.1.2.3", "10.1.2.3"),
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::1"),
        ("local", "local"),
    ],
)
def test_who_shares(address: str, share: str) -> None:
    assert share_of(address) == share


def test_handshakes_of_strangers_leave_room_to_those_who_are_known() -> None:
    """Many addresses of strangers shut out every RIS with a certificate, and the health check of HTTPS."""
    shakes = Handshakes(per_address=2, most=8)
    assert [shakes.begin("10.0.0.1", known=False) for _ in range(3)] == [True, True, False]
    assert [shakes.begin(f"10.0.1.{n}", known=False) for n in range(8)] == [True] * 4 + [False] * 4
    assert [shakes.begin("10.0.0.9", known=True) for _ in range(3)] == [True, True, False]
    for _ in range(2):
        shakes.end("10.0.0.9", succeeded=False)
    shakes.end("10.0.0.1", succeeded=True)
    assert [shakes.begin("10.0.0.1", known=False) for _ in range(2)] == [True, False]  # proven: as many as are kept
    assert [shakes.begin("10.0.0.9", known=True) for _ in range(3)] == [True, True, False]


def test_handshakes_that_are_over_leave_nothing() -> None:
    shakes = Handshakes(per_address=1, most=4)
    for number in range(3 * REMEMBERED):
        share = f"2001:db8:{number:x}::/64"
        assert shakes.begin(share, known=False)
        shakes.end(share, succeeded=True)
    assert (len(shakes._running), len(shakes._strange), len(shakes._proven)) == (0, 0, REMEMBERED)
