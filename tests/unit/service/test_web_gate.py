"""How many web connections whom: the latest before the silent, this machine before all."""

from __future__ import annotations

from broker.service.doors.web_gate import WebGate, WebLimits

LIMITS = WebLimits(connections=6, per_address=3, own=2)


class Connection:
    """A connection that is idle unless a request of it is being answered, or its body is still to come."""

    def __init__(self, share: str, *, idle: bool = True, unfinished: bool = False) -> None:
        self.share, self.idle, self.unfinished = share, idle, unfinished
        self.ended = ""

    def end(self, reason: str) -> None:
        self.ended = reason


def enter(gate: WebGate, share: str, count: int, *, idle: bool = True) -> list[Connection]:
    connections = [Connection(share, idle=idle) for _ in range(count)]
    assert all(gate.enter(connection) for connection in connections)
    return connections


def test_the_silent_of_an_address_make_room_for_its_next_one() -> None:
    gate = WebGate(LIMITS)
    first, second, third = enter(gate, "10.0.0.1", 3)
    gate.asked(first)
    enter(gate, "10.0.0.1", 1)
    assert [first.ended, second.ended, third.ended] == ["", "made-room", ""]


def test_a_body_that_does_not_end_makes_room_where_none_is_silent() -> None:
    gate = WebGate(LIMITS)
    answered, late, later = (Connection("local", idle=False, unfinished=place > 0) for place in range(3))
    assert gate.enter(answered)
    assert gate.enter(late)
    assert gate.enter(later)
    assert [answered.ended, late.ended, later.ended] == ["", "made-room", ""]
    gate.leave(later)
    silent = Connection("local")
    assert gate.enter(silent)
    assert gate.enter(Connection("local", idle=False))
    assert silent.ended == "made-room"
    assert not gate.enter(Connection("local"))  # both are being answered


def test_an_address_has_no_more_than_its_share() -> None:
    gate = WebGate(LIMITS)
    enter(gate, "10.0.0.1", 3, idle=False)
    assert not gate.enter(Connection("10.0.0.1"))
    assert gate.enter(Connection("10.0.0.2"))


def test_many_addresses_cannot_keep_out_the_next_one() -> None:
    gate = WebGate(LIMITS)
    held = [enter(gate, f"10.0.0.{n}", 1)[0] for n in range(6)]
    enter(gate, "10.0.1.1", 1)
    assert [connection.ended for connection in held] == ["made-room", "", "", "", "", ""]


def test_this_machine_gets_in_while_strangers_hold_all() -> None:
    gate = WebGate(LIMITS)
    for n in range(6):
        enter(gate, f"10.0.0.{n}", 1, idle=False)
    assert not gate.enter(Connection("10.0.1.1"))
    own = enter(gate, "127.0.0.1", 2)
    enter(gate, "::1", 1)
    assert own[0].ended == "made-room"


def test_what_left_counts_no_more() -> None:
    gate = WebGate(LIMITS)
    for _ in range(20):
        (connection,) = enter(gate, "10.0.0.1", 1, idle=False)
        gate.leave(connection)
        gate.leave(connection)
