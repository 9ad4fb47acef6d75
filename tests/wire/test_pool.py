"""The association pool against our own provider, pynetdicom, and peers that end what is idle or half used."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from pynetdicom import AE, evt
from support.loops import SOON, remains, run, takes, until

from broker import telemetry
from broker.dicom import uids
from broker.dicom.association.pool import Pool
from broker.dicom.association.provider import Provider
from broker.dicom.association.user import Remote
from broker.dicom.conversion.syntaxes import instead_of
from broker.dicom.dimse import command as cmd
from broker.dicom.dimse import status as st
from broker.dicom.dimse.request import Request, Service
from broker.dicom.wire.admission import LOCAL_LIMIT, ConnectionOrigin, Rejection
from broker.dicom.wire.limits import AssociationLimits
from broker.dicom.wire.negotiation import AssociationRequest
from broker.errors import PeerFault, Unavailable

CT, MR, US = (f"1.2.840.10008.5.1.4.1.1.{n}" for n in ("2", "4", "6.1"))
PLAIN = (CT, uids.EXPLICIT_LE)
OTHER = (MR, uids.EXPLICIT_LE)
JPEG = (CT, "1.2.840.10008.1.2.4.50")
REFUSED = (US, uids.EXPLICIT_LE)  # the archive does not serve this class


@dataclass
class Archive:
    """Our provider as destination, with what it saw."""

    at_once: int = 99
    requests: list[AssociationRequest] = field(default_factory=list)
    stored: list[str] = field(default_factory=list)
    most: int = 0
    handler: Callable[[Request], Awaitable[None]] | None = None
    provider: Provider = field(init=False)

    @property
    def open(self) -> int:
        return len(self.provider._sessions)

    def admit(self, request: AssociationRequest, origin: ConnectionOrigin) -> Rejection | None:
        self.requests.append(request)
        self.most = max(self.most, self.open)
        return LOCAL_LIMIT if self.open > self.at_once else None

    async def store(self, request: Request) -> None:
        await request.data.drain()
        self.stored.append(request.command.sop_instance)
        if self.handler is not None:
            await self.handler(request)
        await request.respond(st.SUCCESS)

    def remote(self) -> Remote:
        return Remote("127.0.0.1", self.provider.port, "PACS", "BROKER", connect_timeout=5, response_timeout=5)


@asynccontextmanager
async def archive(*, idle: float = 30, at_once: int = 99) -> AsyncIterator[Archive]:
    peer = Archive(at_once)
    service = Service(
        frozenset({CT, MR}), uids.first_of(uids.EXPLICIT_LE, uids.IMPLICIT_LE, JPEG[1]), {cmd.C_STORE_RQ: peer.store}
    )
    peer.provider = Provider(
        "127.0.0.1", 0, admission=peer, services=[service], limits=AssociationLimits(idle_timeout=idle)
    )
    await peer.provider.start()
    before = telemetry.ASSOCIATIONS.labels("user")._value.get()
    try:
        yield peer
        await until(lambda: telemetry.ASSOCIATIONS.labels("user")._value.get() == before, "nothing is left open")
    finally:
        await peer.provider.stop(1)


def leases(how: str) -> float:
    return float(telemetry.POOL_LEASES.labels(how)._value.get())


async def send(pool: Pool, uid: str, pair: tuple[str, str] = PLAIN) -> int | None:
    """One object on its own lease; its status, None without a context."""
    async with pool.lease([pair]) as lease:
        response = await lease.store(pair, uid, lambda: b"\x08\x00\x18\x00UI\x04\x001.2\x00")
        return None if response is None else response.status


def proposed(request: AssociationRequest) -> list[tuple[str, str]]:
    return [(context.abstract_syntax, *context.transfer_syntaxes) for context in request.contexts]  # type: ignore[misc]


def test_one_association_serves_object_after_object() -> None:
    async def work() -> None:
        opened, reused = leases("opened"), leases("reused")
        async with archive() as peer:
            pool = Pool(peer.remote)
            for number in range(5):
                assert await send(pool, f"1.2.{number}") == 0
            assert len(peer.requests) == 1
            assert peer.stored == [f"1.2.{number}" for number in range(5)]
            assert (leases("opened") - opened, leases("reused") - reused) == (1, 4)
            await pool.close()
            await until(lambda: peer.open == 0, "it was released")

    run(work())


def test_an_idle_association_is_released_in_time() -> None:
    async def work() -> None:
        async with archive() as peer:
            pool = Pool(peer.remote, keep=0.2)
            began = time.monotonic()
            assert await send(pool, "1.2.1") == 0
            assert peer.open == 1
            await until(lambda: peer.open == 0, "it is released")
            assert 0.2 <= time.monotonic() - began < SOON
            assert await send(pool, "1.2.2") == 0
            assert len(peer.requests) == 2
            await pool.close()

    run(work())


def test_use_starts_the_time_anew() -> None:
    async def work() -> None:
        async with archive() as peer:
            pool = Pool(peer.remote, keep=1)
            for number in range(5):
                assert await send(pool, f"1.2.{number}") == 0
                await takes(0.3)
            assert len(peer.requests) == 1
            await pool.close()

    run(work())


def test_without_keeping_each_lease_has_its_own() -> None:
    async def work() -> None:
        async with archive(at_once=1) as peer:
            pool = Pool(peer.remote, keep=0)
            for number in range(3):
                assert await send(pool, f"1.2.{number}") == 0
            assert len(peer.requests) == 3
            await pool.close()

    run(work())


def test_an_old_association_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.dicom.association.pool.MAX_AGE", 0.1)

    async def work() -> None:
        async with archive(at_once=1) as peer:
            pool = Pool(peer.remote)
            assert await send(pool, "1.2.1") == 0
            assert await send(pool, "1.2.2") == 0
            assert len(peer.requests) == 1
            await takes(0.15)
            assert await send(pool, "1.2.3") == 0
            assert len(peer.requests) == 2
            await pool.close()

    run(work())


def test_where_the_next_one_goes_is_asked_each_time() -> None:
    """Address and certificates of a node may change while the pool lives."""

    async def work() -> None:
        async with archive() as first, archive() as second:
            where = [first]
            pool = Pool(lambda: where[0].remote(), keep=0)
            assert await send(pool, "1.2.1") == 0
            where[0] = second
            assert await send(pool, "1.2.2") == 0
            assert (first.stored, second.stored) == (["1.2.1"], ["1.2.2"])
            await pool.close()

    run(work())


# --- presentation contexts -------------------------------------------------------------------------------


def test_what_was_sent_before_is_proposed_along() -> None:
    async def work() -> None:
        async with archive(at_once=1) as peer:
            pool = Pool(peer.remote)
            assert await send(pool, "1.2.1", PLAIN) == 0
            assert await send(pool, "1.2.2", OTHER) == 0  # was not proposed: a new one, the idle one goes
            assert await send(pool, "1.2.3", PLAIN) == 0
            assert await send(pool, "1.2.4", JPEG) == 0
            assert [proposed(r) for r in peer.requests] == [[PLAIN], [OTHER, PLAIN], [JPEG, OTHER, PLAIN]]
            for number, pair in enumerate((PLAIN, OTHER, JPEG)):
                assert await send(pool, f"1.3.{number}", pair) == 0
            assert len(peer.requests) == 3
            await pool.close()

    run(work())


def test_no_more_than_128_contexts_and_what_is_needed_comes_first() -> None:
    async def work() -> None:
        async with archive() as peer:
            pool = Pool(peer.remote)
            many = [(CT, f"1.2.840.10008.1.2.4.50.{n}") for n in range(200)]
            async with pool.lease([PLAIN, *many]) as lease:
                assert len(lease.proposed) == 128
                assert lease.proposed == frozenset([PLAIN, *many[:127]])
                assert lease.accepts(PLAIN)
                assert not lease.accepts(many[3])
                assert not lease.accepts(many[150])
            for number in range(140):
                pool._seen[CT, f"1.2.3.{number}"] = None
            async with pool.lease([OTHER]) as lease:
                assert len(lease.proposed) == 128
                assert OTHER in lease.proposed
            assert len(pool._seen) <= 128
            await pool.close()

    run(work())


def test_a_refused_context_stops_only_what_needs_it() -> None:
    async def work() -> None:
        async with archive(at_once=1) as peer:
            pool = Pool(peer.remote, keep=1)
            async with pool.lease([PLAIN, REFUSED]) as lease:
                assert await lease.store(REFUSED, "1.2.1", lambda: b"") is None
                answer = await lease.store(PLAIN, "1.2.2", lambda: b"")
                assert answer is not None
                assert answer.status == 0
            assert await send(pool, "1.2.3", REFUSED) is None  # the answer is known
            assert len(peer.requests) == 1
            for number in range(12):  # in use all the time, so that it stays open
                await takes(0.1)
                assert await send(pool, f"1.3.{number}") == 0
            assert await send(pool, "1.2.4", REFUSED) is None  # by now it is worth another question
            assert len(peer.requests) == 2
            assert await send(pool, "1.2.5") == 0
            assert len(peer.requests) == 2
            await pool.close()

    run(work())


def test_what_goes_instead_is_proposed_beside_and_taken_only_if_need_be() -> None:
    implicit, big = (CT, uids.IMPLICIT_LE), (CT, uids.EXPLICIT_BE)

    async def work() -> None:
        async with archive(at_once=1) as peer:
            pool = Pool(peer.remote, keep=1, instead=instead_of)
            async with pool.lease([big, REFUSED]) as lease:
                assert lease.proposed == frozenset([big, PLAIN, implicit, REFUSED, *instead_of(REFUSED)])
                assert (lease.way(big), lease.way(implicit), lease.way(PLAIN)) == (PLAIN, implicit, PLAIN)
                assert lease.offered(big)
                assert not lease.offered(OTHER)
                # nobody has asked whether it takes deflated objects: that it takes others is no reason to inflate one
                assert lease.way((CT, uids.DEFLATED)) is None
            for _ in range(12):  # that it refuses one is no reason to ask again, as long as it takes another one
                await takes(0.1)
                async with pool.lease([big]) as lease:
                    assert lease.way(big) == PLAIN
            assert len(peer.requests) == 1
            many = [(f"1.2.3.{n}", uids.EXPLICIT_LE) for n in range(100)]
            async with pool.lease(many) as lease:
                assert len(lease.proposed) == 128
                assert [lease.offered(pair) for pair in many] == [True] * 42 + [False] * 58
            await pool.close()

    run(work())


# --- the limit -------------------------------------------------------------------------------------------


def test_never_more_associations_than_the_limit() -> None:
    async def work() -> None:
        async with archive(at_once=2) as peer:

            async def slow(request: Request) -> None:
                await takes(0.02)

            peer.handler = slow
            pool = Pool(peer.remote, limit=2)
            pairs = [PLAIN, OTHER, JPEG, REFUSED]
            statuses = await asyncio.gather(*(send(pool, f"1.2.{n}", pairs[n % 4]) for n in range(24)))
            assert statuses == [0, 0, 0, None] * 6
            assert len(peer.stored) == 18
            assert peer.most == 2
            await pool.close()

    run(work())


def test_one_that_waits_for_its_turn_can_be_cancelled() -> None:
    async def work() -> None:
        async with archive() as peer:
            pool = Pool(peer.remote)
            async with pool.lease([PLAIN]):
                waiting = asyncio.ensure_future(send(pool, "1.2.1"))
                await remains(lambda: not waiting.done())
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting
            assert await send(pool, "1.2.2") == 0
            assert peer.stored == ["1.2.2"]
            await pool.close()

    run(work())


def test_a_block_that_raises_aborts_its_association_and_no_other() -> None:
    async def work() -> None:
        async with archive() as peer:
            pool = Pool(peer.remote, limit=2)
            async with pool.lease([PLAIN]) as kept:
                ended = []

                async def fails() -> None:
                    async with pool.lease([PLAIN]) as lease:
                        ended.append(lease.association)
                        raise KeyError

                with pytest.raises(KeyError):
                    await fails()
                await until(lambda: peer.open == 1, "one is gone")
                assert ended[0] is not kept.association
                assert ended[0].ended_by == "aborted"
                answer = await kept.store(PLAIN, "1.2.1", lambda: b"")
                assert answer is not None
                assert answer.status == 0
            await pool.close()

    run(work())


# --- peers that end it -----------------------------------------------------------------------------------


def test_an_association_that_the_peer_ended_while_idle_is_never_handed_out() -> None:
    async def work() -> None:
        renewed = leases("renewed")
        async with archive(idle=0.2) as peer:  # aborts what is idle
            pool = Pool(peer.remote, keep=30)
            for number in range(3):
                assert await send(pool, f"1.2.{number}") == 0
                await until(lambda: peer.open == 0, "the peer has ended it")
                await remains(lambda: True)
            assert len(peer.requests) == 3
            assert leases("renewed") == renewed
            await pool.close()

    run(work())


@contextmanager
def pynetdicom(on_store: Callable[[Any], int], **more: Any) -> Iterator[Remote]:
    ae = AE(ae_title="PACS")
    for name, value in more.items():
        setattr(ae, name, value)
    ae.add_supported_context(CT, uids.EXPLICIT_LE)
    ae.add_supported_context(MR, uids.EXPLICIT_LE)
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, on_store)])
    try:
        yield Remote("127.0.0.1", server.server_address[1], "PACS", "BROKER", connect_timeout=5, response_timeout=5)
    finally:
        server.shutdown()


def test_a_foreign_peer_that_times_idle_associations_out_after_a_second() -> None:
    uids_seen: list[str] = []

    def on_store(event: Any) -> int:
        uids_seen.append(str(event.request.AffectedSOPInstanceUID))
        return 0

    async def work(remote: Remote) -> None:
        pool = Pool(lambda: remote, keep=30)
        assert await send(pool, "1.2.1") == 0
        line = pool._idle[0]
        await until(lambda: line.association.ended_by, "the peer has ended it")
        assert await send(pool, "1.2.2") == 0
        await pool.close()

    with pynetdicom(on_store, network_timeout=1) as remote:
        run(work(remote))
    assert uids_seen == ["1.2.1", "1.2.2"]


@pytest.mark.parametrize("how", ["abort", "close"])
def test_an_association_that_ends_when_it_is_used_again_costs_no_object(how: str) -> None:
    """The peer timed it out in the moment in which we sent: once more, on a new one, from the first byte."""
    seen: list[tuple[Any, str]] = []

    def on_store(event: Any) -> int:
        first = all(association is not event.assoc for association, _ in seen)
        seen.append((event.assoc, str(event.request.AffectedSOPInstanceUID)))
        if not first and len({id(association) for association, _ in seen}) == 1:
            if how == "abort":
                event.assoc.abort()
            else:
                event.assoc.dul.socket.close()
        return 0

    async def work(remote: Remote) -> None:
        renewed = leases("renewed")
        pool = Pool(lambda: remote)
        assert await send(pool, "1.2.1") == 0
        starts = 0

        async def pieces() -> AsyncIterator[bytes]:
            nonlocal starts
            starts += 1
            yield b"\x08\x00\x18\x00UI"
            yield b"\x04\x001.2\x00"

        async with pool.lease([PLAIN]) as lease:
            answer = await lease.store(PLAIN, "1.2.2", pieces)
            assert answer is not None
            assert answer.status == 0
            assert starts == 2
            lease.association.abort()
            with pytest.raises(PeerFault):  # the second time it is the object's fault or the peer's
                await lease.store(PLAIN, "1.2.3", pieces)
        assert leases("renewed") == renewed + 1
        assert await send(pool, "1.2.4") == 0
        await pool.close()

    with pynetdicom(on_store) as remote:
        run(work(remote))
    assert [uid for _, uid in seen] == ["1.2.1", "1.2.2", "1.2.2", "1.2.4"]


def test_an_object_that_ends_a_fresh_association_is_not_sent_again() -> None:
    seen: list[str] = []

    def on_store(event: Any) -> int:
        seen.append(str(event.request.AffectedSOPInstanceUID))
        event.assoc.abort()
        return 0

    async def work(remote: Remote) -> None:
        pool = Pool(lambda: remote)
        with pytest.raises(PeerFault):
            await send(pool, "1.2.1")
        await pool.close()

    with pynetdicom(on_store) as remote:
        run(work(remote))
    assert seen == ["1.2.1"]


def test_a_peer_that_is_away_is_a_fault_and_the_turn_is_free_again() -> None:
    async def work() -> None:
        async with archive() as peer:
            remote = peer.remote()
            pool = Pool(lambda: remote)
            assert await send(pool, "1.2.1") == 0
            port = peer.provider.port
            await peer.provider.stop(0)
            await until(lambda: pool._idle[0].association.ended_by, "it ended")
            for _ in range(3):
                with pytest.raises(PeerFault) as failure:
                    await send(pool, "1.2.2")
                assert failure.value.code == "connect-failed"
            assert port
            await pool.close()

    run(work())


# --- the end ---------------------------------------------------------------------------------------------


def test_close_releases_what_is_idle_and_what_comes_back() -> None:
    async def work() -> None:
        async with archive() as peer:
            pool = Pool(peer.remote, limit=2)
            async with pool.lease([PLAIN]) as lease:
                assert await send(pool, "1.2.1") == 0
                assert peer.open == 2
                await pool.close()
                await until(lambda: peer.open == 1, "the idle one is gone")
                with pytest.raises(Unavailable):
                    await send(pool, "1.2.2")
                answer = await lease.store(PLAIN, "1.2.3", lambda: b"")
                assert answer is not None
                assert answer.status == 0
            await until(lambda: peer.open == 0, "the other one is gone")
            assert lease.association.ended_by == "released"
            with pytest.raises(Unavailable):
                await send(pool, "1.2.4")
            assert peer.stored == ["1.2.1", "1.2.3"]

    run(work())
