"""Holds the state machine of an association: PS3.8 table 9-10 as data, and the object that is in one of its states.

Theory of operation
-------------------
An association is in one of thirteen states. Something happens: the peer sends a PDU, TCP connects or closes, a timer
expires, or we decide something (a *primitive* of the local user). That is an event. The table says for each event in
each state which action to take; the action says which state comes next (PS3.8 tables 9-6 to 9-9).

`StateMachine` does no I/O. Whoever holds the connection tells it each event and takes the action that it returns:

- `association.session`: the acceptor before there is an association (Sta2, Sta3), and its end (Sta13)
- `association.user`: the requestor before there is an association (Sta4, Sta5)
- `association.association`: both sides from then on (Sta6 to Sta12)
- `dimse.message.MessageSender`: asks before each message whether data may be sent (Sta6, Sta8; Sta7 by `OURS`)

                      Sta1 idle
       we connect ┌──────┴──────┐ they connect
                Sta4           Sta2
                Sta5           Sta3
                  └──────┬──────┘
                       Sta6  data transfer
    we ask for release ┌─┴─┐ the peer asks for release
                     Sta7  Sta8  requests that run are answered first
      the peer asks    │     │
      at the same time │     │
    ┌────────┬─────────┤     │
    Sta9    Sta10      │     │   requestor: answers first (Sta9), waits (Sta11)
    Sta11   Sta12      │     │   acceptor: waits (Sta10), answers then (Sta12)
    └────────┴─────────┴──┬──┘
                        Sta13  our last PDU is sent: the peer is to close the connection; then Sta1

A PDU that does not fit ends in an A-ABORT: AA-1 before there is an association, AA-8 after that. A primitive that does
not fit (an empty cell) is a defect of ours: `StateMachine.on` raises OutOfSequence; `allows` asks first.

Where we differ from the standard on purpose, `OURS` says so, cell by cell, with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum, StrEnum
from typing import NamedTuple

from broker.dicom.wire import pdu


class State(IntEnum):
    """States of PS3.8 tables 9-1 to 9-5."""

    STA1 = 1  # idle
    STA2 = 2  # transport connection open, awaiting A-ASSOCIATE-RQ
    STA3 = 3  # awaiting our decision about the association
    STA4 = 4  # awaiting the transport connection
    STA5 = 5  # awaiting A-ASSOCIATE-AC or A-ASSOCIATE-RJ
    STA6 = 6  # association established
    STA7 = 7  # awaiting A-RELEASE-RP
    STA8 = 8  # awaiting our A-RELEASE response
    STA9 = 9  # release collision, requestor: awaiting our A-RELEASE response
    STA10 = 10  # release collision, acceptor: awaiting A-RELEASE-RP
    STA11 = 11  # release collision, requestor: awaiting A-RELEASE-RP
    STA12 = 12  # release collision, acceptor: awaiting our A-RELEASE response
    STA13 = 13  # awaiting the end of the connection; the association no longer exists


class Event(IntEnum):
    """Events of PS3.8 table 9-10 in its order. `…_PDU` came from the peer; `…_REQUEST`, `…_RESPONSE` are our wishes."""

    ASSOCIATE_REQUEST = 1
    TRANSPORT_CONFIRM = 2  # TCP is connected, as we asked
    ASSOCIATE_AC_PDU = 3
    ASSOCIATE_RJ_PDU = 4
    TRANSPORT_INDICATION = 5  # a peer has connected
    ASSOCIATE_RQ_PDU = 6
    ASSOCIATE_ACCEPT = 7  # A-ASSOCIATE response primitive (accept)
    ASSOCIATE_REJECT = 8  # A-ASSOCIATE response primitive (reject)
    DATA_REQUEST = 9
    DATA_PDU = 10
    RELEASE_REQUEST = 11
    RELEASE_RQ_PDU = 12
    RELEASE_RP_PDU = 13
    RELEASE_RESPONSE = 14
    ABORT_REQUEST = 15
    ABORT_PDU = 16
    TRANSPORT_CLOSED = 17
    ARTIM_EXPIRED = 18  # Association Request, Reject, Release Timer (PS3.8 9.1.5)
    INVALID_PDU = 19  # unrecognized or invalid
    PEER_SILENT = 20  # ours: nothing came for too long, or a PDU did not become complete; see `OURS`


class Action(StrEnum):
    """Actions of PS3.8 tables 9-6 to 9-9."""

    AE_1 = "AE-1"  # connect
    AE_2 = "AE-2"  # send A-ASSOCIATE-RQ
    AE_3 = "AE-3"  # tell our side that the association is accepted
    AE_4 = "AE-4"  # tell our side that it is rejected, close
    AE_5 = "AE-5"  # start ARTIM
    AE_6 = "AE-6"  # stop ARTIM; ask our side, or send A-ASSOCIATE-RJ if the provider cannot accept, start ARTIM
    AE_7 = "AE-7"  # send A-ASSOCIATE-AC
    AE_8 = "AE-8"  # send A-ASSOCIATE-RJ, start ARTIM
    DT_1 = "DT-1"  # send P-DATA-TF
    DT_2 = "DT-2"  # take the data
    AR_1 = "AR-1"  # send A-RELEASE-RQ
    AR_2 = "AR-2"  # tell our side that the peer asks for release
    AR_3 = "AR-3"  # tell our side that the release is confirmed, close
    AR_4 = "AR-4"  # send A-RELEASE-RP, start ARTIM
    AR_5 = "AR-5"  # stop ARTIM
    AR_6 = "AR-6"  # take the data
    AR_7 = "AR-7"  # send P-DATA-TF
    AR_8 = "AR-8"  # tell our side that both have asked for release
    AR_9 = "AR-9"  # send A-RELEASE-RP
    AR_10 = "AR-10"  # tell our side that the release is confirmed
    AA_1 = "AA-1"  # send A-ABORT of the service user, start ARTIM
    AA_2 = "AA-2"  # stop ARTIM, close
    AA_3 = "AA-3"  # tell our side of the abort, close
    AA_4 = "AA-4"  # tell our side that the connection was lost
    AA_5 = "AA-5"  # stop ARTIM
    AA_6 = "AA-6"  # ignore the PDU
    AA_7 = "AA-7"  # send A-ABORT
    AA_8 = "AA-8"  # send A-ABORT of the service provider, tell our side, start ARTIM


class Transition(NamedTuple):
    """A cell of the table. `otherwise` is the next state of AE-6 if not acceptable, and of AR-8 for an acceptor."""

    action: Action
    state: State
    otherwise: State


class OutOfSequence(RuntimeError):
    """We did something that the state of the association does not allow: a defect of ours."""


# PS3.8 table 9-10: rows are events, columns are states.
_ACTIONS = {
    #                             Sta1 Sta2 Sta3 Sta4 Sta5 Sta6 Sta7 Sta8 Sta9 St10  St11 St12 St13
    Event.ASSOCIATE_REQUEST:    "AE-1  .    .    .    .    .    .    .    .    .     .    .    .   ",
    Event.TRANSPORT_CONFIRM:    " .    .    .   AE-2  .    .    .    .    .    .     .    .    .   ",
    Event.ASSOCIATE_AC_PDU:     " .   AA-1 AA-8  .   AE-3 AA-8 AA-8 AA-8 AA-8 AA-8  AA-8 AA-8 AA-6 ",
    Event.ASSOCIATE_RJ_PDU:     " .   AA-1 AA-8  .   AE-4 AA-8 AA-8 AA-8 AA-8 AA-8  AA-8 AA-8 AA-6 ",
    Event.TRANSPORT_INDICATION: "AE-5  .    .    .    .    .    .    .    .    .     .    .    .   ",
    Event.ASSOCIATE_RQ_PDU:     " .   AE-6 AA-8  .   AA-8 AA-8 AA-8 AA-8 AA-8 AA-8  AA-8 AA-8 AA-7 ",
    Event.ASSOCIATE_ACCEPT:     " .    .   AE-7  .    .    .    .    .    .    .     .    .    .   ",
    Event.ASSOCIATE_REJECT:     " .    .   AE-8  .    .    .    .    .    .    .     .    .    .   ",
    Event.DATA_REQUEST:         " .    .    .    .    .   DT-1  .   AR-7  .    .     .    .    .   ",
    Event.DATA_PDU:             " .   AA-1 AA-8  .   AA-8 DT-2 AR-6 AA-8 AA-8 AA-8  AA-8 AA-8 AA-6 ",
    Event.RELEASE_REQUEST:      " .    .    .    .    .   AR-1  .    .    .    .     .    .    .   ",
    Event.RELEASE_RQ_PDU:       " .   AA-1 AA-8  .   AA-8 AR-2 AR-8 AA-8 AA-8 AA-8  AA-8 AA-8 AA-6 ",
    Event.RELEASE_RP_PDU:       " .   AA-1 AA-8  .   AA-8 AA-8 AR-3 AA-8 AA-8 AR-10 AR-3 AA-8 AA-6 ",
    Event.RELEASE_RESPONSE:     " .    .    .    .    .    .    .   AR-4 AR-9  .     .   AR-4  .   ",
    Event.ABORT_REQUEST:        " .    .   AA-1 AA-2 AA-1 AA-1 AA-1 AA-1 AA-1 AA-1  AA-1 AA-1  .   ",
    Event.ABORT_PDU:            " .   AA-2 AA-3  .   AA-3 AA-3 AA-3 AA-3 AA-3 AA-3  AA-3 AA-3 AA-2 ",
    Event.TRANSPORT_CLOSED:     " .   AA-5 AA-4 AA-4 AA-4 AA-4 AA-4 AA-4 AA-4 AA-4  AA-4 AA-4 AR-5 ",
    Event.ARTIM_EXPIRED:        " .   AA-2  .    .    .    .    .    .    .    .     .    .   AA-2 ",
    Event.INVALID_PDU:          " .   AA-1 AA-8  .   AA-8 AA-8 AA-8 AA-8 AA-8 AA-8  AA-8 AA-8 AA-7 ",
}  # fmt: skip

# The state after each action (PS3.8 tables 9-6 to 9-9); two where it depends, see Transition.
_NEXT: dict[Action, tuple[State, ...]] = {
    Action.AE_1: (State.STA4,), Action.AE_2: (State.STA5,), Action.AE_3: (State.STA6,), Action.AE_4: (State.STA1,),
    Action.AE_5: (State.STA2,), Action.AE_6: (State.STA3, State.STA13),
    Action.AE_7: (State.STA6,), Action.AE_8: (State.STA13,),
    Action.DT_1: (State.STA6,), Action.DT_2: (State.STA6,),
    Action.AR_1: (State.STA7,), Action.AR_2: (State.STA8,), Action.AR_3: (State.STA1,), Action.AR_4: (State.STA13,),
    Action.AR_5: (State.STA1,), Action.AR_6: (State.STA7,), Action.AR_7: (State.STA8,),
    Action.AR_8: (State.STA9, State.STA10), Action.AR_9: (State.STA11,), Action.AR_10: (State.STA12,),
    Action.AA_1: (State.STA13,), Action.AA_2: (State.STA1,), Action.AA_3: (State.STA1,), Action.AA_4: (State.STA1,),
    Action.AA_5: (State.STA1,), Action.AA_6: (State.STA13,), Action.AA_7: (State.STA13,), Action.AA_8: (State.STA13,),
}  # fmt: skip


def _cell(action: Action, *states: State) -> Transition:
    states = states or _NEXT[action]
    return Transition(action, states[0], states[-1])


TABLE_9_10: Mapping[tuple[State, Event], Transition] = {
    (state, event): _cell(Action(action))
    for event, row in _ACTIONS.items()
    for state, action in zip(State, row.split(), strict=True)
    if action != "."
}

# Cells that are ours: added to the table where it is empty, or in place of what stands there.
OURS: Mapping[tuple[State, Event], Transition] = {
    # Sta13: our half of the connection is closed after our last PDU and what comes is thrown away unread
    # (`Connection.part`). So AA-7, one more A-ABORT, is never sent.
    (State.STA13, Event.ASSOCIATE_RQ_PDU): _cell(Action.AA_6),
    (State.STA13, Event.INVALID_PDU): _cell(Action.AA_6),
    # The broker stops before the peer has asked for anything: an A-ABORT tells it that it need not wait.
    (State.STA2, Event.ABORT_REQUEST): _cell(Action.AA_1),
    # A request that crossed our A-RELEASE-RQ (AR-6) is answered: its sender waits for that before it lets go.
    (State.STA7, Event.DATA_REQUEST): _cell(Action.DT_1, State.STA7),
    # The standard has no timer for a peer that does not answer A-ASSOCIATE-RQ or A-RELEASE-RQ. We close.
    **{
        (state, Event.ARTIM_EXPIRED): _cell(Action.AA_2)
        for state in (State.STA5, State.STA7, State.STA8, State.STA10, State.STA11)
    },
    # Nor has it one for a peer that is idle for too long or stops inside a PDU. We abort as the service provider.
    **{(state, Event.PEER_SILENT): _cell(Action.AA_8) for state in State if State.STA6 <= state <= State.STA12},
}

TRANSITIONS: Mapping[tuple[State, Event], Transition] = {**TABLE_9_10, **OURS}


def _rows(*, requestor: bool) -> dict[State, dict[Event, Transition]]:
    """The table by state, as one side sees it: AR-8 leads a requestor to Sta9, an acceptor to Sta10."""
    rows: dict[State, dict[Event, Transition]] = {state: {} for state in State}
    for (state, event), cell in TRANSITIONS.items():
        if cell.action is Action.AR_8:
            cell = _cell(cell.action, cell.state if requestor else cell.otherwise)
        rows[state][event] = cell
    return rows


_ROWS = {requestor: _rows(requestor=requestor) for requestor in (True, False)}

EVENT_OF_PDU: Mapping[int, Event] = {
    pdu.ASSOCIATE_RQ: Event.ASSOCIATE_RQ_PDU,
    pdu.ASSOCIATE_AC: Event.ASSOCIATE_AC_PDU,
    pdu.ASSOCIATE_RJ: Event.ASSOCIATE_RJ_PDU,
    pdu.P_DATA: Event.DATA_PDU,
    pdu.RELEASE_RQ: Event.RELEASE_RQ_PDU,
    pdu.RELEASE_RP: Event.RELEASE_RP_PDU,
    pdu.ABORT: Event.ABORT_PDU,
}


class StateMachine:
    """The state of one connection, from its first byte to its last. Starts idle (Sta1)."""

    __slots__ = ("_row", "_rows", "requestor", "state")

    def __init__(self, *, requestor: bool) -> None:
        """`requestor`: we ask for the association; the acceptor otherwise."""
        self.requestor = requestor
        self.state = State.STA1
        self._rows = _ROWS[requestor]
        self._row = self._rows[State.STA1]

    @property
    def over(self) -> bool:
        """There is no association any more, or none yet: nothing can be sent."""
        return self.state is State.STA13 or self.state is State.STA1

    def allows(self, event: Event) -> bool:
        """The table has an action for this event in the present state."""
        return event in self._row

    def on(self, event: Event, *, acceptable: bool = True) -> Action:
        """Enter the next state; the action to take. `acceptable`: our provider can accept the request (AE-6).

        Raises OutOfSequence for a primitive that the state does not allow.
        """
        cell = self._row.get(event)
        if cell is None:
            raise OutOfSequence(f"{event.name} in Sta{self.state}")
        action, state, otherwise = cell
        if not acceptable:
            state = otherwise
        if state is not self.state:
            self.state, self._row = state, self._rows[state]
        return action
