"""Who gets into a DICOM listener while a stranger holds as much as it can."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from broker.dicom import uids
from broker.dicom.association.entrance import Entrance
from broker.dicom.wire.admission import LOCAL_LIMIT, TEMPORARY_CONGESTION, ConnectionOrigin, Grant, Rejection
from broker.dicom.wire.limits import AssociationLimits
from broker.dicom.wire.negotiation import AssociationRequest
from broker.dicom.wire.states import EndReason
from broker.pace import AddressPace
from broker.seats import share_of


class Anybody:
    """Lets everybody in; who calls itself CT01 is a node."""

    def admit(self, request: AssociationRequest, origin: ConnectionOrigin) -> Grant:
        return Grant(node=request.calling_ae == "CT01")


class Caller:
    """A connection as the entrance sees it."""

    def __init__(self, address: str, *, known: bool = False) -> None:
        self.address, self.share, self.known = address, share_of(address), known
        self.proven = self.busy = self.established = False
        self.held, self.ended_by = 0, ""

    def end(self, reason: str) -> None:
        self.ended_by = reason


def entrance(**limits: float) -> Entrance:
    given = {"half_open_per_address": 4, "associations_per_address": 8, "associations": 16} | limits
    return Entrance(AssociationLimits(**given), Anybody())  # type: ignore[arg-type]


def associate(made: Entrance, caller: Caller, calling: str = "X") -> Rejection | Grant | None:
    """Connect and ask for an association; None if the connection is not let in."""
    if not made.enter(caller):
        return None
    answer = made.admit(caller, AssociationRequest("BROKER", calling, ()), None)
    caller.established = isinstance(answer, Grant)
    return answer


@pytest.mark.parametrize("address", ["10.0.0.{}", "2001:db8::{}"])
def test_an_address_has_a_limit_of_connections_without_an_association(address: str) -> None:
    """All of a /64 count as one with IPv6."""
    made = entrance()
    crowd = [made.enter(Caller(address.format(1 if "." in address else number))) for number in range(1, 9)]
    assert crowd == [True] * 4 + [False] * 4
    assert made.enter(Caller("10.0.0.9"))
    assert all(made.enter(Caller("10.0.0.8", known=True)) for _ in range(8))


def test_strangers_of_all_addresses_leave_room_for_nodes() -> None:
    made = entrance(associations=16, half_open_per_address=4)
    strangers = [associate(made, Caller(f"10.0.{number}.1")) for number in range(20)]
    assert strangers[:12] == [Grant()] * 12  # a quarter is kept
    assert LOCAL_LIMIT in strangers
    nodes = [associate(made, Caller(f"10.1.{number}.1", known=True), "CT01") for number in range(4)]
    assert nodes == [Grant(node=True)] * 4
    assert associate(made, Caller("10.1.9.1", known=True), "CT01") == LOCAL_LIMIT


def test_connections_without_an_association_leave_room_for_nodes() -> None:
    made = entrance(half_open_per_address=4)
    for number in range(40):
        made.enter(Caller(f"10.0.{number // 4}.1"))
    assert len(made.seats._guests) == 15  # of 20
    assert associate(made, Caller("10.1.0.1", known=True), "CT01") == Grant(node=True)


def test_a_node_whose_address_is_not_known_is_given_the_seat_of_a_silent_stranger() -> None:
    made = entrance(half_open_per_address=4)
    crowd = [Caller(f"10.0.{number // 4}.1") for number in range(16)]
    assert [made.enter(caller) for caller in crowd] == [True] * 15 + [False]
    assert associate(made, Caller("10.1.0.2"), "CT01") == Grant(node=True)
    assert [caller.ended_by for caller in crowd].count("displaced") == 1


def test_all_is_forgotten_as_it_ends() -> None:
    made = entrance()
    for number in range(200):
        caller = Caller("10.0.0.1")
        assert associate(made, caller, ("X", "CT01")[number % 2])
        made.leave(caller)
        made.seats.leave(caller)
    assert not made.half_open
    assert not made.established
    assert made.enter(Caller("10.0.0.2"))


def test_what_strangers_cause_in_the_log_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AddressPace, "BURST", 4)
    made = entrance(associations_per_second=0.01)
    with capture_logs() as logged:
        for number in range(3000):
            caller = Caller(f"10.0.{number % 3}.1")
            if made.enter(caller):
                refusal = asyncio.run(made.take_turn(caller))
                caller.ended_by = EndReason.REFUSED if refusal == TEMPORARY_CONGESTION else EndReason.CLOSED
                if number % 2:
                    made.leave(caller)
                    made.seats.leave(caller)
    assert {line["event"] for line in logged} == {"dicom.refused", "dicom.connections_full", "dicom.no_association"}
    assert len(logged) <= 9


def test_strangers_have_a_pace_and_nodes_have_none() -> None:
    """A node whose address is not known yet proves itself once, and is not held up again."""
    made = entrance(associations_per_second=0.01)

    def turns(caller: Caller, count: int) -> list[Rejection | None]:
        async def ask() -> list[Rejection | None]:
            return [await made.take_turn(caller) for _ in range(count)]

        return asyncio.run(ask())

    assert turns(Caller("10.0.0.1"), 103) == [None] * 100 + [TEMPORARY_CONGESTION] * 3
    assert turns(Caller("10.0.0.2"), 100) == [None] * 100
    assert turns(Caller("10.0.0.1", known=True), 300) == [None] * 300
    proven = Caller("10.0.0.3")
    assert associate(made, proven, "CT01") == Grant(node=True)
    assert turns(proven, 300) == [None] * 300


def test_the_application_context_must_be_that_of_dicom() -> None:
    made, caller = entrance(), Caller("10.0.0.1")
    assert made.enter(caller)
    request = AssociationRequest("BROKER", "X", (), application_context=uids.APPLICATION_CONTEXT + ".1")
    answer = made.admit(caller, request, None)
    assert isinstance(answer, Rejection)
    assert answer.code == "application-context"
