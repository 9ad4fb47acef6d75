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


class ULState(IntEnum):
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


class ULEvent(IntEnum):
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


class ULAction(StrEnum):
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


class EndReason(StrEnum):
    """Reasons of the end of an association or connection, beside the codes of violations and of TLS (`tls-…`)."""

    RELEASED = "released"
    CLOSED = "closed"  # by the peer, without a word
    ABORTED = "aborted"  # by us
    ABORTED_BY_PEER = "aborted-by-peer"
    DEADLINE = "deadline"  # the peer was silent for too long
    STOPPING = "stopping"  # the broker stops
    REFUSED = "refused"


class Transition(NamedTuple):
    """A cell of the table. `otherwise` is the next state of AE-6 if not acceptable, and of AR-8 for an acceptor."""

    action: ULAction
    state: ULState
    otherwise: ULState


class OutOfSequence(RuntimeError):
    """We did something that the state of the association does not allow: a defect of ours."""


# PS3.8 table 9-10: rows are events, columns are states.
_ACTIONS = {
    #                             Sta1 Sta2 Sta3 Sta4 Sta5 Sta6 Sta7 Sta8 Sta9 St10  St11 St12 St13
    ULEvent.ASSOCIATE_REQUEST:    "AE-1  .    .    .    .    .    .    .    .    .     .    .    .   ",
    ULEvent.TRANSPORT_CONFIRM:    " .    .    .   AE-2  .    .    .    .    .    .     .    .    .   ",
    ULEvent.ASSOCIATE_AC_PDU:     " .   AA-1 AA-8  .   AE-3 AA-8 AA-8 AA-8 AA-8 AA-8  AA-8 AA-8 AA-6 ",
    ULEvent.ASSOCIATE_RJ_PDU:     " .   AA-1 AA-8  .   AE-4 AA-8 AA-8 AA-8 AA-8 AA-8  AA-8 AA-8 AA-6 ",
    ULEvent.TRANSPORT_INDICATION: "AE-5  .    .    .    .    .    .    .    .    .     .    .    .   ",
    ULEvent.ASSOCIATE_RQ_PDU:     " .   AE-6 AA-8  .   AA-8 AA-8 AA-8 AA-8 AA-8 AA-8  AA-8 AA-8 AA-7 ",
    ULEvent.ASSOCIATE_ACCEPT:     " .    .   AE-7  .    .    .    .    .    .    .     .    .    .   ",
    ULEvent.ASSOCIATE_REJECT:     " .    .   AE-8  .    .    .    .    .    .    .     .    .    .   ",
    ULEvent.DATA_REQUEST:         " .    .    .    .    .   DT-1  .   AR-7  .    .     .    .    .   ",
    ULEvent.DATA_PDU:             " .   AA-1 AA-8  .   AA-8 DT-2 AR-6 AA-8 AA-8 AA-8  AA-8 AA-8 AA-6 ",
    ULEvent.RELEASE_REQUEST:      " .    .    .    .    .   AR-1  .    .    .    .     .    .    .   ",
    ULEvent.RELEASE_RQ_PDU:       " .   AA-1 AA-8  .   AA-8 AR-2 AR-8 AA-8 AA-8 AA-8  AA-8 AA-8 AA-6 ",
    ULEvent.RELEASE_RP_PDU:       " .   AA-1 AA-8  .   AA-8 AA-8 AR-3 AA-8 AA-8 AR-10 AR-3 AA-8 AA-6 ",
    ULEvent.RELEASE_RESPONSE:     " .    .    .    .    .    .    .   AR-4 AR-9  .     .   AR-4  .   ",
    ULEvent.ABORT_REQUEST:        " .    .   AA-1 AA-2 AA-1 AA-1 AA-1 AA-1 AA-1 AA-1  AA-1 AA-1  .   ",
    ULEvent.ABORT_PDU:            " .   AA-2 AA-3  .   AA-3 AA-3 AA-3 AA-3 AA-3 AA-3  AA-3 AA-3 AA-2 ",
    ULEvent.TRANSPORT_CLOSED:     " .   AA-5 AA-4 AA-4 AA-4 AA-4 AA-4 AA-4 AA-4 AA-4  AA-4 AA-4 AR-5 ",
    ULEvent.ARTIM_EXPIRED:        " .   AA-2  .    .    .    .    .    .    .    .     .    .   AA-2 ",
    ULEvent.INVALID_PDU:          " .   AA-1 AA-8  .   AA-8 AA-8 AA-8 AA-8 AA-8 AA-8  AA-8 AA-8 AA-7 ",
}  # fmt: skip

# The state after each action (PS3.8 tables 9-6 to 9-9); two where it depends, see Transition.
_NEXT = {
    "AE-1": "4", "AE-2": "5", "AE-3": "6", "AE-4": "1", "AE-5": "2", "AE-6": "3 13", "AE-7": "6", "AE-8": "13",
    "DT-1": "6", "DT-2": "6",
    "AR-1": "7", "AR-2": "8", "AR-3": "1", "AR-4": "13", "AR-5": "1", "AR-6": "7", "AR-7": "8",
    "AR-8": "9 10", "AR-9": "11", "AR-10": "12",
    "AA-1": "13", "AA-2": "1", "AA-3": "1", "AA-4": "1", "AA-5": "1", "AA-6": "13", "AA-7": "13", "AA-8": "13",
}  # fmt: skip


def _cell(action: ULAction, *states: ULState) -> Transition:
    states = states or tuple(ULState(int(number)) for number in _NEXT[action].split())
    return Transition(action, states[0], states[-1])


TABLE_9_10: Mapping[tuple[ULState, ULEvent], Transition] = {
    (state, event): _cell(ULAction(action))
    for event, row in _ACTIONS.items()
    for state, action in zip(ULState, row.split(), strict=True)
    if action != "."
}

# Cells that are ours: added to the table where it is empty, or in place of what stands there.
OURS: Mapping[tuple[ULState, ULEvent], Transition] = {
    # Sta13: our half of the connection is closed after our last PDU and what comes is thrown away unread
    # (`PduConnection.part`). So AA-7, one more A-ABORT, is never sent.
    (ULState.STA13, ULEvent.ASSOCIATE_RQ_PDU): _cell(ULAction.AA_6),
    (ULState.STA13, ULEvent.INVALID_PDU): _cell(ULAction.AA_6),
    # The broker stops before the peer has asked for anything: an A-ABORT tells it that it need not wait.
    (ULState.STA2, ULEvent.ABORT_REQUEST): _cell(ULAction.AA_1),
    # A request that crossed our A-RELEASE-RQ (AR-6) is answered: its sender waits for that before it lets go.
    (ULState.STA7, ULEvent.DATA_REQUEST): _cell(ULAction.DT_1, ULState.STA7),
    # The standard has no timer for a peer that does not answer A-ASSOCIATE-RQ or A-RELEASE-RQ. We close.
    **{
        (state, ULEvent.ARTIM_EXPIRED): _cell(ULAction.AA_2)
        for state in (ULState.STA5, ULState.STA7, ULState.STA8, ULState.STA10, ULState.STA11)
    },
    # Nor has it one for a peer that is idle for too long or stops inside a PDU. We abort as the service provider.
    **{
        (state, ULEvent.PEER_SILENT): _cell(ULAction.AA_8)
        for state in ULState
        if ULState.STA6 <= state <= ULState.STA12
    },
}

TRANSITIONS: Mapping[tuple[ULState, ULEvent], Transition] = {**TABLE_9_10, **OURS}


def _rows(*, requestor: bool) -> dict[ULState, dict[ULEvent, Transition]]:
    """The table by state, as one side sees it: AR-8 leads a requestor to Sta9, an acceptor to Sta10."""
    rows: dict[ULState, dict[ULEvent, Transition]] = {state: {} for state in ULState}
    for (state, event), cell in TRANSITIONS.items():
        if cell.action is ULAction.AR_8:
            cell = _cell(cell.action, cell.state if requestor else cell.otherwise)
        rows[state][event] = cell
    return rows


_ROWS = {requestor: _rows(requestor=requestor) for requestor in (True, False)}

EVENT_OF_PDU: Mapping[int, ULEvent] = {
    pdu.ASSOCIATE_RQ: ULEvent.ASSOCIATE_RQ_PDU,
    pdu.ASSOCIATE_AC: ULEvent.ASSOCIATE_AC_PDU,
    pdu.ASSOCIATE_RJ: ULEvent.ASSOCIATE_RJ_PDU,
    pdu.P_DATA: ULEvent.DATA_PDU,
    pdu.RELEASE_RQ: ULEvent.RELEASE_RQ_PDU,
    pdu.RELEASE_RP: ULEvent.RELEASE_RP_PDU,
    pdu.ABORT: ULEvent.ABORT_PDU,
}


class StateMachine:
    """The state of one connection, from its first byte to its last. Starts idle (Sta1)."""

    __slots__ = ("_row", "_rows", "requestor", "state", "takes_data")

    def __init__(self, *, requestor: bool) -> None:
        """`requestor`: we ask for the association; the acceptor otherwise."""
        self.requestor = requestor
        self.state = ULState.STA1
        self.takes_data = False  # P-DATA-TF is taken (DT-2, AR-6) and changes no state: asked where time counts
        self._rows = _ROWS[requestor]
        self._row = self._rows[ULState.STA1]

    @property
    def over(self) -> bool:
        """There is no association any more, or none yet: nothing can be sent."""
        return self.state is ULState.STA13 or self.state is ULState.STA1

    def allows(self, event: ULEvent) -> bool:
        """The table has an action for this event in the present state."""
        return event in self._row

    def on(self, event: ULEvent, *, acceptable: bool = True) -> ULAction:
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
            self.takes_data = state is ULState.STA6 or state is ULState.STA7
        return action
