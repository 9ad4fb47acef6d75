"""The state table of the upper layer, PS3.8 table 9-10, event by event, as a peer sees it.

Expected is what the product's table says; that it is the standard's table, `test_dicom_states` checks.
States that a peer can hold open: Sta2, Sta6, Sta7, Sta8, Sta10, Sta13 of an acceptor, Sta5, Sta6, Sta7, Sta11 of a
requestor.
Sta1 has no connection, Sta3, Sta9 and Sta12 end by a decision of ours that does not wait, Sta4 belongs to TCP.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import pytest
from structlog.testing import capture_logs
from support.dicom import raw as wire
from support.dicom.provider import (
    AC,
    CLOSED,
    DATA,
    RELEASE_RP,
    RELEASE_RQ,
    RJ,
    Raw,
    assert_serves,
    busy,
    peer,
    query,
    serving,
)
from support.dicom.raw import ABORTED, IMPLICIT, RELEASE, VERIFICATION, WORKLIST
from support.loops import remains, run, until

from broker.dicom import uids
from broker.dicom.association.association import Association
from broker.dicom.association.provider import Provider
from broker.dicom.association.user import Proposal, Remote, open_association
from broker.dicom.dimse import command as cmd
from broker.dicom.dimse import status as st
from broker.dicom.dimse.request import Request, Service
from broker.dicom.wire.states import TRANSITIONS, ULAction, ULEvent, ULState
from broker.errors import PeerFault

RELEASED = b"\x06\0\0\0\0\x04\0\0\0\0"
REQUEST = wire.associate_rq([(VERIFICATION, IMPLICIT), (WORKLIST, IMPLICIT)])
EVENTS = {
    ULEvent.ASSOCIATE_AC_PDU: wire.associate_ac(REQUEST[6:]),
    ULEvent.ASSOCIATE_RJ_PDU: b"\x03\0\0\0\0\x04\0\1\1\1",
    ULEvent.ASSOCIATE_RQ_PDU: REQUEST,
    ULEvent.DATA_PDU: wire.echo_rq(77),
    ULEvent.RELEASE_RQ_PDU: RELEASE,
    ULEvent.RELEASE_RP_PDU: RELEASED,
    ULEvent.ABORT_PDU: ABORTED,
    ULEvent.INVALID_PDU: b"\x09\0\0\0\0\x04\0\0\0\0",
    ULEvent.TRANSPORT_CLOSED: b"",
}
STATES = {
    "Sta2": ULState.STA2,
    "Sta5": ULState.STA5,
    "Sta6": ULState.STA6,
    "Sta6 as requestor": ULState.STA6,
    "Sta7": ULState.STA7,
    "Sta7 as requestor": ULState.STA7,
    "Sta8": ULState.STA8,
    "Sta10": ULState.STA10,
    "Sta11": ULState.STA11,
    "Sta13": ULState.STA13,
}


@dataclass
class Scene:
    """A peer whose counterpart is in a state."""

    peer: Raw
    provider: Provider | None = None
    association: Association | None = None
    opening: asyncio.Task[Association] | None = None
    go: asyncio.Event = field(default_factory=asyncio.Event)  # lets a handler finish

    async def over(self) -> None:
        """Nothing is left at our side."""
        self.go.set()
        self.peer.writer.close()
        if self.provider is not None:
            provider = self.provider
            await until(lambda: not provider._sessions, "the session has ended")
            await assert_serves(provider)
        if self.association is not None:
            association = self.association
            await until(lambda: association.ended_by, "the association has ended")


async def echo(request: Request) -> None:
    """Answers the query door's C-ECHO; with message ID 9 asks for release afterwards."""
    await request.respond(st.SUCCESS)
    if request.command.message_id == 9:
        ours = request.association
        assert isinstance(ours, Association)
        releasing.add(task := asyncio.get_running_loop().create_task(ours.release()))
        task.add_done_callback(releasing.discard)


releasing: set[asyncio.Task[None]] = set()


@asynccontextmanager
async def acceptor(state: str) -> AsyncIterator[Scene]:
    """Bring the provider into a state."""
    go = asyncio.Event()

    async def slow(request: Request) -> None:
        await request.data.drain()
        await go.wait()
        await request.respond(st.SUCCESS)

    worklist = query(slow)
    both = Service(worklist.abstract_syntaxes, worklist.choose, {**worklist.handlers, cmd.C_ECHO_RQ: echo})
    async with serving(both, association_request_timeout=3) as provider, peer(provider) as other:
        if state == "Sta13":
            await other.send(wire.associate_rq([]))
            assert (await other.pdu())[0] == 7
        elif state != "Sta2":
            await other.associate((VERIFICATION, IMPLICIT), (WORKLIST, IMPLICIT))
        if state in ("Sta7", "Sta10"):
            await other.send(wire.p_data(3, wire.message(cmd.C_ECHO_RQ, 9, WORKLIST), is_command=True))
            assert await other.status() == st.SUCCESS
            assert (await other.pdu())[0] == RELEASE_RQ
        if state == "Sta8":
            command = wire.message(cmd.C_FIND_RQ, 1, WORKLIST, data=True)
            await other.send(wire.p_data(3, command, is_command=True), wire.p_data(3, b"", is_command=False))
            await until(lambda: busy(provider), "the handler runs")
        if state in ("Sta8", "Sta10"):
            await other.send(RELEASE)
            await remains(lambda: provider._sessions)
        try:
            yield Scene(other, provider, go=go)
        finally:
            go.set()


@asynccontextmanager
async def requestor(state: str) -> AsyncIterator[Scene]:
    """Bring an association of ours into a state."""
    arrived: asyncio.Future[Raw] = asyncio.get_running_loop().create_future()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.set_result(Raw(reader, writer))

    async with AsyncExitStack() as stack:
        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        stack.callback(server.close)
        port = server.sockets[0].getsockname()[1]
        remote = Remote("127.0.0.1", port, "PACS", "BROKER", response_timeout=5)
        service = Service(frozenset({VERIFICATION}), uids.first_of(IMPLICIT), {cmd.C_ECHO_RQ: echo})
        proposal = Proposal(VERIFICATION, (IMPLICIT,), scp=True)
        opening = asyncio.get_running_loop().create_task(open_association(remote, [proposal], [service]))
        other = await arrived
        stack.callback(other.writer.close)
        kind, body = await other.pdu()
        assert kind == 1
        if state == "Sta5":
            yield Scene(other, opening=opening)
            return
        await other.send(agreed(body))
        association = await opening
        if state != "Sta6 as requestor":
            releasing.add(task := asyncio.get_running_loop().create_task(association.release()))
            task.add_done_callback(releasing.discard)
            assert (await other.pdu())[0] == RELEASE_RQ
        if state == "Sta11":
            await other.send(RELEASE)
            assert (await other.pdu())[0] == RELEASE_RP
        yield Scene(other, association=association)


def agreed(request: bytes) -> bytes:
    """An acceptance that grants both roles."""
    role = wire.item(0x54, struct.pack(">H", len(VERIFICATION)) + VERIFICATION.encode() + b"\1\1")
    answer = wire.associate_ac(request)[6:]
    mark = answer.index(b"\x50\0", 74)
    (length,) = struct.unpack_from(">H", answer, mark + 2)
    answer = answer[:mark] + struct.pack(">BBH", 0x50, 0, length + len(role)) + answer[mark + 4 :] + role
    return struct.pack(">BBI", 2, 0, len(answer)) + answer


async def acts(action: str, scene: Scene) -> None:
    """The action is what the peer sees."""
    other = scene.peer
    if action == "AA-1":
        assert await other.ended() == (7, bytes(4))  # by the service user
    elif action == "AA-8":
        kind, body = await other.pdu()
        assert (kind, body[:3]) == (7, b"\0\0\2")  # by the service provider, which gives its reason
        assert body[3] in (1, 2)
        scene.go.set()
        assert (await other.pdu())[0] == CLOSED
    elif action in ("AA-2", "AA-3"):
        assert (await other.pdu())[0] == CLOSED
    elif action == "AA-6":
        await remains(lambda: scene.provider is None or scene.provider._sessions, 0.2)
        other.writer.close()
    elif action == "AE-6":
        assert (await other.pdu())[0] == AC
    elif action in ("DT-2", "AR-6"):
        answer = await other.command()
        assert (answer.field, answer.responded_to, answer.status) == (0x8030, 77, st.SUCCESS)
        other.writer.close()
    elif action in ("AR-2", "AR-10"):
        assert (await other.pdu())[0] == RELEASE_RP
        assert (await other.pdu())[0] == CLOSED
    elif action == "AR-3":
        assert (await other.pdu())[0] == CLOSED
    else:
        assert action in ("AA-4", "AA-5", "AR-5"), action  # nothing to see: the peer has gone


@pytest.mark.parametrize(
    ("state", "event", "action"),
    [
        pytest.param(name, event, TRANSITIONS[state, event].action, id=f"{name}-{event.name}")
        for name, state in STATES.items()
        for event in EVENTS
    ],
)
def test_an_event_in_a_state_causes_its_action(state: str, event: ULEvent, action: ULAction) -> None:
    async def work() -> None:
        stage = requestor if state in ("Sta5", "Sta11") or state.endswith("requestor") else acceptor
        async with stage(state) as scene:
            other = scene.peer
            if event is ULEvent.TRANSPORT_CLOSED:
                other.writer.close()
            else:
                await other.send(EVENTS[event])
            if state == "Sta5":
                await opens(action, scene)
            elif action == "AR-8":
                await collides(scene)
            else:
                await acts(action, scene)
            if action != "AE-6":
                await scene.over()

    with capture_logs() as logs:
        run(work())
    assert not [line for line in logs if line["log_level"] == "error"]


async def opens(action: str, scene: Scene) -> None:
    """What comes of asking for an association."""
    assert scene.opening is not None
    if action == "AE-3":
        association = await scene.opening
        association.abort()
        assert (await scene.peer.pdu())[0] == 7
        return
    with pytest.raises(PeerFault) as caught:
        await scene.opening
    if action == "AE-4":
        assert caught.value.code == "rejected-1-1-1"
    if action == "AA-8":
        kind, body = await scene.peer.pdu()
        assert (kind, body[:3]) == (7, b"\0\0\2")
    assert (await scene.peer.pdu())[0] == CLOSED


async def collides(scene: Scene) -> None:
    """AR-8: the requestor answers and waits (Sta9, Sta11), the acceptor waits (Sta10) and answers then (Sta12)."""
    other = scene.peer
    if scene.association is not None:
        assert (await other.pdu())[0] == RELEASE_RP
        await other.send(RELEASED)
    else:
        await other.send(RELEASED)
        assert (await other.pdu())[0] == RELEASE_RP
    assert (await other.pdu())[0] == CLOSED


# --- the ARTIM timer -------------------------------------------------------------------------------------


@pytest.mark.parametrize("last_word", ["A-ABORT", "A-ASSOCIATE-RJ", "A-RELEASE-RP"])
def test_artim_ends_sta13_when_the_peer_does_not_close(last_word: str) -> None:
    async def work() -> None:
        async with serving(association_request_timeout=0.4) as provider, peer(provider) as other:
            if last_word == "A-ASSOCIATE-RJ":
                await other.send(REQUEST.replace(b"1.2.840.10008.3.1.1.1", b"1.2.840.10008.3.1.1.9"))
                assert (await other.pdu())[0] == RJ
            else:
                await other.associate()
                await other.send(RELEASE if last_word == "A-RELEASE-RP" else EVENTS[ULEvent.INVALID_PDU])
                assert (await other.pdu())[0] in (RELEASE_RP, 7)
            await remains(lambda: provider._sessions, 0.2)  # the peer has its time
            await until(lambda: not provider._sessions, "then we close", 2)
            await assert_serves(provider)

    run(work())


def test_sta8_answers_what_runs_before_the_release() -> None:
    """Local A-RELEASE response primitive (AR-4) comes when nothing is being served."""

    async def work() -> None:
        async with acceptor("Sta8") as scene:
            assert scene.provider is not None
            waiting = asyncio.ensure_future(scene.peer.pdu())
            await asyncio.sleep(0.05)
            assert not waiting.done()
            for session in scene.provider._sessions:
                assert session._association is not None
                for request, _ in session._association._server._running.values():
                    await request.respond(st.CANCEL)
                for _, task in list(session._association._server._running.values()):
                    task.cancel()
            assert (await waiting)[0] == DATA
            assert (await scene.peer.pdu())[0] == RELEASE_RP
            assert (await scene.peer.pdu())[0] == CLOSED

    run(work())
