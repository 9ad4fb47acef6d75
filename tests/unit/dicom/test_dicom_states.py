"""The table of the state machine against PS3.8: every cell of table 9-10, every next state of tables 9-6 to 9-9."""

from __future__ import annotations

import pytest

from broker.dicom.wire.states import (
    OURS,
    TABLE_9_10,
    TRANSITIONS,
    OutOfSequence,
    StateMachine,
    ULAction,
    ULEvent,
    ULState,
)

# PS3.8 table 9-10 written down once more, event by event in the order of the standard: states with the same action
# stand together. A state that is not named has an empty cell.
STANDARD: list[dict[str, list[int]]] = [
    {"AE-1": [1]},  # A-ASSOCIATE request (local user)
    {"AE-2": [4]},  # transport connection confirmation
    {"AA-1": [2], "AE-3": [5], "AA-8": [3, 6, 7, 8, 9, 10, 11, 12], "AA-6": [13]},  # A-ASSOCIATE-AC PDU
    {"AA-1": [2], "AE-4": [5], "AA-8": [3, 6, 7, 8, 9, 10, 11, 12], "AA-6": [13]},  # A-ASSOCIATE-RJ PDU
    {"AE-5": [1]},  # transport connection indication
    {"AE-6": [2], "AA-8": [3, 5, 6, 7, 8, 9, 10, 11, 12], "AA-7": [13]},  # A-ASSOCIATE-RQ PDU
    {"AE-7": [3]},  # A-ASSOCIATE response primitive (accept)
    {"AE-8": [3]},  # A-ASSOCIATE response primitive (reject)
    {"DT-1": [6], "AR-7": [8]},  # P-DATA request primitive
    {"AA-1": [2], "DT-2": [6], "AR-6": [7], "AA-8": [3, 5, 8, 9, 10, 11, 12], "AA-6": [13]},  # P-DATA-TF PDU
    {"AR-1": [6]},  # A-RELEASE request primitive
    {"AA-1": [2], "AR-2": [6], "AR-8": [7], "AA-8": [3, 5, 8, 9, 10, 11, 12], "AA-6": [13]},  # A-RELEASE-RQ PDU
    {"AA-1": [2], "AR-3": [7, 11], "AR-10": [10], "AA-8": [3, 5, 6, 8, 9, 12], "AA-6": [13]},  # A-RELEASE-RP PDU
    {"AR-4": [8, 12], "AR-9": [9]},  # A-RELEASE response primitive
    {"AA-1": [3, 5, 6, 7, 8, 9, 10, 11, 12], "AA-2": [4]},  # A-ABORT request primitive
    {"AA-2": [2, 13], "AA-3": [3, 5, 6, 7, 8, 9, 10, 11, 12]},  # A-ABORT PDU
    {"AA-5": [2], "AA-4": [3, 4, 5, 6, 7, 8, 9, 10, 11, 12], "AR-5": [13]},  # transport connection closed
    {"AA-2": [2, 13]},  # ARTIM timer expired
    {"AA-1": [2], "AA-8": [3, 5, 6, 7, 8, 9, 10, 11, 12], "AA-7": [13]},  # unrecognized or invalid PDU
]
# PS3.8 tables 9-6 to 9-9. Two states: AE-6 not acceptable, AR-8 for the acceptor.
NEXT: dict[str, tuple[int, ...]] = {
    "AE-1": (4,), "AE-2": (5,), "AE-3": (6,), "AE-4": (1,), "AE-5": (2,), "AE-6": (3, 13), "AE-7": (6,), "AE-8": (13,),
    "DT-1": (6,), "DT-2": (6,),
    "AR-1": (7,), "AR-2": (8,), "AR-3": (1,), "AR-4": (13,), "AR-5": (1,), "AR-6": (7,), "AR-7": (8,),
    "AR-8": (9, 10), "AR-9": (11,), "AR-10": (12,),
    "AA-1": (13,), "AA-2": (1,), "AA-3": (1,), "AA-4": (1,), "AA-5": (1,), "AA-6": (13,), "AA-7": (13,), "AA-8": (13,),
}  # fmt: skip


def test_the_table_is_that_of_the_standard() -> None:
    standard = {
        (state, number): (action, NEXT[action][0], NEXT[action][-1])
        for number, row in enumerate(STANDARD, 1)
        for action, states in row.items()
        for state in states
    }
    assert len(standard) == sum(len(states) for row in STANDARD for states in row.values())
    assert {(int(s), int(e)): (str(c.action), int(c.state), int(c.otherwise)) for (s, e), c in TABLE_9_10.items()} == (
        standard
    )
    assert {str(action) for action in ULAction} == set(NEXT)


def test_what_differs_from_the_standard_is_listed() -> None:
    """A cell that is ours by mistake shows here."""
    ours = {(s.name, e.name): (cell.action.value, cell.state.name) for (s, e), cell in OURS.items()}
    between = [f"STA{number}" for number in range(6, 13)]
    assert ours == {
        ("STA13", "ASSOCIATE_RQ_PDU"): ("AA-6", "STA13"),
        ("STA13", "INVALID_PDU"): ("AA-6", "STA13"),
        ("STA2", "ABORT_REQUEST"): ("AA-1", "STA13"),
        ("STA7", "DATA_REQUEST"): ("DT-1", "STA7"),
        **{(f"STA{number}", "ARTIM_EXPIRED"): ("AA-2", "STA1") for number in (5, 7, 8, 10, 11)},
        **{(state, "PEER_SILENT"): ("AA-8", "STA13") for state in between},
    }
    assert {**TABLE_9_10, **OURS} == TRANSITIONS


@pytest.mark.parametrize("requestor", [True, False])
def test_the_machine_follows_the_table(requestor: bool) -> None:
    for state in ULState:
        for event in ULEvent:
            for acceptable in (True, False):
                machine = _machine_in(state, requestor)
                cell = TRANSITIONS.get((state, event))
                assert machine.allows(event) == (cell is not None)
                if cell is None:
                    with pytest.raises(OutOfSequence):
                        machine.on(event)
                    assert machine.state is state
                    continue
                second = not requestor if cell.action is ULAction.AR_8 else not acceptable
                assert machine.on(event, acceptable=acceptable) is cell.action
                assert machine.state is (cell.otherwise if second else cell.state)
                data = TRANSITIONS.get((machine.state, ULEvent.DATA_PDU))
                assert machine.takes_data == (data is not None and data.action in (ULAction.DT_2, ULAction.AR_6))


_ACCEPTED = [ULEvent.TRANSPORT_INDICATION, ULEvent.ASSOCIATE_RQ_PDU, ULEvent.ASSOCIATE_ACCEPT]
_COLLIDED = [*_ACCEPTED, ULEvent.RELEASE_REQUEST, ULEvent.RELEASE_RQ_PDU]
_WAYS = {
    ULState.STA1: [],
    ULState.STA2: _ACCEPTED[:1],
    ULState.STA3: _ACCEPTED[:2],
    ULState.STA4: [ULEvent.ASSOCIATE_REQUEST],
    ULState.STA5: [ULEvent.ASSOCIATE_REQUEST, ULEvent.TRANSPORT_CONFIRM],
    ULState.STA6: _ACCEPTED,
    ULState.STA7: [*_ACCEPTED, ULEvent.RELEASE_REQUEST],
    ULState.STA8: [*_ACCEPTED, ULEvent.RELEASE_RQ_PDU],
    ULState.STA9: _COLLIDED,
    ULState.STA10: _COLLIDED,
    ULState.STA11: [*_COLLIDED, ULEvent.RELEASE_RESPONSE],
    ULState.STA12: [*_COLLIDED, ULEvent.RELEASE_RP_PDU],
    ULState.STA13: [*_ACCEPTED, ULEvent.ABORT_REQUEST],
}  # the events that lead from Sta1 into a state
_ONE_SIDED = {ULState.STA9: True, ULState.STA10: False, ULState.STA11: True, ULState.STA12: False}


def _machine_in(state: ULState, requestor: bool) -> StateMachine:
    machine = StateMachine(requestor=_ONE_SIDED.get(state, requestor))
    for event in _WAYS[state]:
        machine.on(event)
    assert machine.state is state
    return machine
