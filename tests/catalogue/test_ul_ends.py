"""UL-17 and UL-22: connections that break, and ends that cross each other."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs
from support.dicom import raw as wire
from support.dicom.objects import ct_slice
from support.dicom.provider import (
    ABORT,
    CLOSED,
    DATA,
    RELEASE_RP,
    RELEASE_RQ,
    Raw,
    assert_serves,
    busy,
    peer,
    query,
    serving,
    storage,
)
from support.dicom.raw import ABORTED, CT, EXPLICIT, IMPLICIT, RELEASE, VERIFICATION, WORKLIST, RawScu
from support.loops import run, until
from support.service.site import Mllp, Site, order

from broker.dicom import uids
from broker.dicom.association.association import Association
from broker.dicom.association.user import Proposal, Remote, open_association
from broker.dicom.dimse import command as cmd
from broker.dicom.dimse import status as st
from broker.dicom.dimse.request import Request, Service
from broker.dicom.wire.connection import ConnectionLost
from broker.errors import PeerFault

MIB = 1024**2
RETURN = struct.pack("<HHI", 0x0008, 0x0050, 0)  # an identifier that asks for the accession number alone


# --- UL-17 -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["reset", "close", "abort"])
@pytest.mark.parametrize("when", ["negotiation", "associated", "command", "object", "answer", "release"])
def test_ul17_a_connection_that_breaks_leaves_nothing(site: Site, when: str, how: str) -> None:
    thing = ct_slice(3 * MIB)
    request = wire.p_data(1, wire.c_store_rq(CT, thing.sop_instance), is_command=True)
    with RawScu(site.dicom) as modality:
        if when == "negotiation":
            modality.send(wire.associate_rq([(CT, EXPLICIT)])[:100])
        else:
            assert modality.associate([(CT, EXPLICIT)])[0] == 2
        if when == "command":
            modality.send(request[:-20])
        elif when in ("object", "answer"):
            modality.send(request)
            for start in range(0, 2 * MIB, 16_000):
                modality.send(wire.p_data(1, thing.data[start : start + 16_000], is_command=False, last=False))
        if when == "answer":
            modality.send(wire.p_data(1, b"\0" * 16, is_command=False))  # refused, and the answer finds nobody
        elif when == "release":
            modality.send(RELEASE)
        if how == "abort":
            modality.send(ABORTED)
        elif how == "reset":
            modality.reset()
    assert site.rows("select count(*) from instance where sop_instance_uid = ?", thing.sop_instance) == [(0,)]


@pytest.mark.parametrize("how", ["abort", "close", "reset"])
def test_ul17_a_connection_lost_during_a_data_set_reaches_the_handler(how: str) -> None:
    seen: list[BaseException] = []

    async def keep(request: Request) -> None:
        try:
            await request.data.read_all(1 << 24)
        except BaseException as error:
            seen.append(error)
            raise

    async def work() -> None:
        async with serving(storage(keep)) as provider, peer(provider) as modality:
            await modality.associate((CT, uids.EXPLICIT_LE))
            await modality.send(wire.store_rq(), wire.p_data(1, bytes(5000), is_command=False, last=False))
            await until(lambda: busy(provider), "the handler runs")
            if how == "abort":
                await modality.send(ABORTED)
            elif how == "close":
                modality.writer.close()
            else:
                modality.reset()
            await until(lambda: not provider._sessions, "the session has ended")
            await assert_serves(provider)

    with capture_logs() as logs:
        run(work())
    assert [type(error) for error in seen] == [ConnectionLost]
    assert not [line for line in logs if line["log_level"] == "error"]


# --- UL-22 -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["abort", "reset"])
def test_ul22_an_abort_in_the_middle_of_answers_ends_the_query(site: Site, how: str) -> None:
    with Mllp(site.hl7) as ris:
        for number in range(9000, 9060):
            assert ris.exchange(order(number))["MSA"][0][1] == "AA"
    find = wire.find_rq(identifier=RETURN)
    with RawScu(site.dicom) as modality:
        assert modality.associate([(WORKLIST, IMPLICIT)])[0] == 2
        modality.send(find)
        assert modality.status() == 0xFF00
        if how == "reset":
            modality.reset()
        else:
            modality.send(ABORTED)
    with RawScu(site.dicom) as modality:
        assert modality.associate([(WORKLIST, IMPLICIT)])[0] == 2
        modality.send(*[find] * 20, ABORTED)  # more answers than fit into the sockets
        kind, _ = modality.ended()
        assert kind == CLOSED


def test_ul22_an_abort_stops_a_handler_that_answers() -> None:
    ended: list[BaseException] = []

    async def talkative(request: Request) -> None:
        await request.data.drain()
        try:
            while True:
                await request.respond(st.PENDING, bytes(100))
                await asyncio.sleep(0)
        except BaseException as error:
            ended.append(error)
            raise

    async def work() -> None:
        async with serving(query(talkative)) as provider, peer(provider) as modality:
            await modality.associate((WORKLIST, uids.IMPLICIT_LE))
            await modality.send(wire.find_rq())
            assert await modality.status() == st.PENDING
            await modality.send(ABORTED)
            while (await modality.pdu())[0] != CLOSED:
                pass
            await until(lambda: not provider._sessions, "the session has ended")
            await assert_serves(provider)

    with capture_logs() as logs:
        run(work())
    assert [type(error) for error in ended] == [ConnectionLost]
    assert not [line for line in logs if line["log_level"] == "error"]


@asynccontextmanager
async def releasing_acceptor() -> AsyncIterator[tuple[Raw, list[str]]]:
    """A peer of an acceptor that asks for release itself once it has answered; how that ended."""
    ends: list[str] = []
    tasks: list[asyncio.Task[None]] = []

    async def echo(request: Request) -> None:
        await request.respond(st.SUCCESS)
        ours = request.association
        assert isinstance(ours, Association)
        task = asyncio.get_running_loop().create_task(ours.release())
        task.add_done_callback(lambda _: ends.append(ours.ended_by))
        tasks.append(task)

    service = Service(frozenset({WORKLIST}), uids.first_of(uids.IMPLICIT_LE), {cmd.C_ECHO_RQ: echo})
    async with serving(service) as provider, peer(provider) as requestor:
        await requestor.associate((WORKLIST, uids.IMPLICIT_LE))
        await requestor.send(wire.p_data(1, wire.message(cmd.C_ECHO_RQ, 1, WORKLIST), is_command=True))
        assert await requestor.status() == st.SUCCESS
        assert (await requestor.pdu())[0] == RELEASE_RQ
        yield requestor, ends
        await until(lambda: ends, "the release has ended")
        await asyncio.gather(*tasks)
        await assert_serves(provider)


def test_ul22_collision_at_the_acceptor_which_waits_for_the_response_first() -> None:
    """PS3.8 9.2.3: AR-8 into Sta10, the requestor's response into Sta12, ours, Sta13."""

    async def work() -> None:
        async with releasing_acceptor() as (requestor, ends):
            await requestor.send(RELEASE)
            silence = asyncio.ensure_future(requestor.pdu())
            await asyncio.sleep(0.1)
            assert not silence.done()
            await requestor.send(b"\x06\0\0\0\0\x04\0\0\0\0")
            assert (await silence)[0] == RELEASE_RP
            assert (await requestor.pdu())[0] == CLOSED
        assert ends == ["released"]

    run(work())


def test_ul22_a_release_of_the_acceptor_without_collision() -> None:
    async def work() -> None:
        async with releasing_acceptor() as (requestor, ends):
            await requestor.send(b"\x06\0\0\0\0\x04\0\0\0\0")
            assert (await requestor.pdu())[0] == CLOSED
        assert ends == ["released"]

    run(work())


@asynccontextmanager
async def requestor_of_ours() -> AsyncIterator[tuple[Association, Raw]]:
    """An association of ours with a raw acceptor."""
    accepted: asyncio.Future[Raw] = asyncio.get_running_loop().create_future()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        made = Raw(reader, writer)
        kind, body = await made.pdu()
        assert kind == 1
        await made.send(wire.associate_ac(body))
        accepted.set_result(made)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    remote = Remote("127.0.0.1", server.sockets[0].getsockname()[1], "PACS", "BROKER", response_timeout=2)
    association = await open_association(remote, [Proposal(VERIFICATION, (IMPLICIT,))])
    acceptor = await accepted
    try:
        yield association, acceptor
    finally:
        acceptor.writer.close()
        server.close()


def test_ul22_collision_at_the_requestor_which_answers_first() -> None:
    """PS3.8 9.2.3: AR-8 into Sta9, our response at once, Sta11 until the acceptor's comes."""

    async def work() -> None:
        async with requestor_of_ours() as (association, acceptor):
            release = asyncio.ensure_future(association.release())
            assert (await acceptor.pdu())[0] == RELEASE_RQ
            await acceptor.send(RELEASE)
            assert (await acceptor.pdu())[0] == RELEASE_RP
            assert not release.done()
            await acceptor.send(b"\x06\0\0\0\0\x04\0\0\0\0")
            await release
            assert association.ended_by == "released"
            assert (await acceptor.pdu())[0] == CLOSED

    run(work())


def test_ul22_an_abort_of_the_acceptor_ends_our_request() -> None:
    async def work() -> None:
        async with requestor_of_ours() as (association, acceptor):
            asked = asyncio.ensure_future(association.echo())
            assert (await acceptor.pdu())[0] == DATA
            await acceptor.send(ABORTED)
            with pytest.raises(PeerFault) as caught:
                await asked
            assert caught.value.code == "aborted"
            assert (await acceptor.pdu())[0] in (CLOSED, ABORT)

    run(work())
