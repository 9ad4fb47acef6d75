"""Our requestor and our acceptor against each other: every DIMSE service, roles, windows, extended negotiation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from support.loops import run, until

from broker.dicom import uids
from broker.dicom.association.association import Association
from broker.dicom.association.provider import Provider
from broker.dicom.association.user import Proposal, Remote, associate
from broker.dicom.dimse import command as cmd
from broker.dicom.dimse import status as st
from broker.dicom.dimse.request import Request, Service
from broker.dicom.wire.admission import ConnectionOrigin, Grant, Rejection
from broker.dicom.wire.limits import AssociationLimits
from broker.dicom.wire.negotiation import AssociationRequest
from broker.dicom.wire.user_information import CommonExtended, UserIdentity
from broker.errors import BadContent, PeerFault, StoreUnavailable

CT = "1.2.840.10008.5.1.4.1.1.2"
PRIVATE = "1.2.826.0.1.3680043.9.9999.1"
STUDY_GET = "1.2.840.10008.5.1.4.1.2.2.3"
STUDY_MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
COMMITMENT, COMMITMENT_INSTANCE = "1.2.840.10008.1.20.1", "1.2.840.10008.1.20.1.1"
FILM_SESSION, PRINT_META = "1.2.840.10008.5.1.1.1", "1.2.840.10008.5.1.1.9"
MPPS = "1.2.840.10008.3.1.2.3.3"
PLAIN = uids.first_of(uids.IMPLICIT_LE)


class Everybody:
    """Admits all and remembers what they said of themselves."""

    def __init__(self) -> None:
        self.requests: list[AssociationRequest] = []
        self.grant: Grant | None = Grant(identity_checked=True)

    def admit(self, request: AssociationRequest, origin: ConnectionOrigin) -> Rejection | Grant | None:
        self.requests.append(request)
        return self.grant


async def done(request: Request) -> None:
    await request.data.drain()
    await request.respond(st.SUCCESS)


def service(sop_class: str, handlers: dict[int, Any], **more: Any) -> Service:
    return Service(frozenset({sop_class}), PLAIN, handlers, **more)


def propose(*sop_classes: str, **more: Any) -> list[Proposal]:
    return [Proposal(uid, (uids.IMPLICIT_LE,), **more) for uid in sop_classes]


@asynccontextmanager
async def pair(
    provided: list[Service], proposals: list[Proposal], ours: list[Service] | None = None, *,
    admission: Everybody | None = None, operations: int = 1, identity: UserIdentity | None = None, **limits: Any,
) -> AsyncIterator[Association]:  # fmt: skip
    """An association to a provider of these services."""
    made = AssociationLimits(**{"association_request_timeout": 5, "pdu_timeout": 5, "operations": operations, **limits})
    provider = Provider("127.0.0.1", 0, admission=admission or Everybody(), services=provided, limits=made)
    await provider.start()
    remote = Remote(
        "127.0.0.1", provider.port, "PROVIDER", "USER", response_timeout=5, operations=operations, identity=identity
    )
    try:
        async with associate(remote, proposals, ours or []) as association:
            yield association
    finally:
        await provider.stop(1)


# --- the eleven services -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "call"),
    [
        (cmd.N_GET_RQ, lambda a: a.n_get(MPPS, "1.2.3", (0x00100020, 0x00400252))),
        (cmd.N_SET_RQ, lambda a: a.n_set(MPPS, "1.2.3", b"set")),
        (cmd.N_ACTION_RQ, lambda a: a.n_action(MPPS, "1.2.3", 7, b"act")),
        (cmd.N_CREATE_RQ, lambda a: a.n_create(MPPS, "1.2.3", b"new")),
        (cmd.N_DELETE_RQ, lambda a: a.n_delete(MPPS, "1.2.3")),
    ],
)
def test_normalized_services_carry_their_parameters_both_ways(field: int, call: Any) -> None:
    seen: list[tuple[cmd.Command, bytes]] = []

    async def handler(request: Request) -> None:
        seen.append((request.command, await request.data.read_all(100)))
        await request.respond(st.SUCCESS, b"answer!!")

    async def work() -> None:
        async with pair([service(MPPS, {field: handler})], propose(MPPS)) as association:
            response = await call(association)
            assert (response.status, response.data) == (st.SUCCESS, b"answer!!")
            assert response.command.field == field | cmd.RESPONSE
            assert (response.command.sop_class, response.command.sop_instance) == (MPPS, "1.2.3")

    run(work())
    command, data = seen[0]
    assert (command.sop_class, command.sop_instance) == (MPPS, "1.2.3")
    named = {cmd.N_SET_RQ: b"set", cmd.N_ACTION_RQ: b"act", cmd.N_CREATE_RQ: b"new"}
    assert data == named.get(field, b"")
    assert command.tags(cmd.ATTRIBUTES) == ((0x00100020, 0x00400252) if field == cmd.N_GET_RQ else ())
    assert command.number(cmd.ACTION_TYPE) == (7 if field == cmd.N_ACTION_RQ else 0)


def test_an_scp_names_the_instance_that_it_made() -> None:
    async def create(request: Request) -> None:
        await request.respond(st.SUCCESS, more={cmd.AFFECTED_SOP_INSTANCE: "1.2.840.99"})

    async def work() -> None:
        async with pair([service(MPPS, {cmd.N_CREATE_RQ: create})], propose(MPPS)) as association:
            assert (await association.n_create(MPPS)).command.sop_instance == "1.2.840.99"

    run(work())


def test_an_scp_reports_an_event_on_the_association_that_asked() -> None:
    """Storage commitment: N-ACTION one way, N-EVENT-REPORT the other, before and after the answer."""
    reported: list[tuple[int, bytes]] = []
    answers: list[int] = []

    async def action(request: Request) -> None:
        response = await request.association.event_report(COMMITMENT, COMMITMENT_INSTANCE, 1, b"list")
        answers.append(response.status)
        await request.respond(st.SUCCESS)

    async def event(request: Request) -> None:
        reported.append((request.command.number(cmd.EVENT_TYPE), await request.data.read_all(100)))
        await request.respond(st.SUCCESS)

    async def work() -> None:
        provided = [service(COMMITMENT, {cmd.N_ACTION_RQ: action})]
        ours = [service(COMMITMENT, {cmd.N_EVENT_REPORT_RQ: event})]
        async with pair(provided, propose(COMMITMENT), ours) as association:
            response = await association.n_action(COMMITMENT, COMMITMENT_INSTANCE, 1, b"ask!")
            assert response.status == st.SUCCESS

    run(work())
    assert reported == [(1, b"list")]
    assert answers == [st.SUCCESS]


def test_c_move_answers_with_counts_and_names_its_destination() -> None:
    async def move(request: Request) -> None:
        assert request.command.text(cmd.MOVE_DESTINATION) == "ELSEWHERE"
        await request.data.drain()
        for left in (2, 1):
            counts = {cmd.REMAINING: left, cmd.COMPLETED: 3 - left, cmd.FAILED: 0, cmd.WARNING: 0}
            await request.respond(st.PENDING, more=counts)
        await request.respond(st.SUCCESS, more={cmd.COMPLETED: 3})

    async def work() -> None:
        async with pair([service(STUDY_MOVE, {cmd.C_MOVE_RQ: move})], propose(STUDY_MOVE)) as association:
            seen = [
                (r.status, r.command.number(cmd.REMAINING), r.command.number(cmd.COMPLETED))
                async for r in association.move(STUDY_MOVE, b"keys", "ELSEWHERE")
            ]
            assert seen == [(st.PENDING, 2, 1), (st.PENDING, 1, 2), (st.SUCCESS, 0, 3)]

    run(work())


@pytest.mark.parametrize("size", [10, 3_000_000])
def test_c_get_brings_objects_over_the_same_association(size: int) -> None:
    kept: dict[str, int] = {}

    async def get(request: Request) -> None:
        await request.data.drain()
        context = request.association.context(CT)
        assert context is not None
        for number in range(3):
            response = await request.association.store(context, f"1.2.{number}", bytes(size))
            assert response.status == st.SUCCESS
            await request.respond(st.PENDING, more={cmd.REMAINING: 2 - number, cmd.COMPLETED: number + 1})
        await request.respond(st.SUCCESS, more={cmd.COMPLETED: 3})

    async def store(request: Request) -> None:
        kept[request.command.sop_instance] = len(await request.data.read_all(1 << 23))
        await request.respond(st.SUCCESS)

    async def work() -> None:
        provided = [service(STUDY_GET, {cmd.C_GET_RQ: get}), service(CT, {cmd.C_STORE_RQ: done}, also_user=True)]
        proposals = propose(STUDY_GET) + propose(CT, scu=False, scp=True)
        async with pair(provided, proposals, [service(CT, {cmd.C_STORE_RQ: store})]) as association:
            assert [r.status async for r in association.get(STUDY_GET, b"keys")] == [st.PENDING] * 3 + [st.SUCCESS]
            assert association.context(CT) is None  # we are its SCP alone

    run(work())
    assert kept == {f"1.2.{number}": size for number in range(3)}


@pytest.mark.parametrize("pending", [3, 5000])
def test_leaving_a_query_early_cancels_it_and_the_association_goes_on(pending: int) -> None:
    cancelled = asyncio.Event()

    async def find(request: Request) -> None:
        await request.data.drain()
        for _ in range(pending):
            await request.respond(st.PENDING, bytes(100))
        await until(lambda: request.cancelled, "the cancel has come")
        cancelled.set()
        await request.respond(st.CANCEL)

    async def work() -> None:
        echo = service(uids.VERIFICATION, {cmd.C_ECHO_RQ: done})
        provided = [service(uids.MODALITY_WORKLIST, {cmd.C_FIND_RQ: find}), echo]
        async with pair(provided, propose(uids.MODALITY_WORKLIST, uids.VERIFICATION)) as association:
            answers = association.find(uids.MODALITY_WORKLIST, b"keys")
            assert (await anext(answers)).status == st.PENDING
            await answers.aclose()  # type: ignore[attr-defined]
            async with asyncio.timeout(5):
                await cancelled.wait()
            assert await association.echo() == st.SUCCESS

    run(work())


# --- failures of handlers ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "error", "status"),
    [
        (cmd.C_STORE_RQ, StoreUnavailable(), 0xA700),
        (cmd.C_STORE_RQ, ZeroDivisionError(), 0xA700),
        (cmd.C_STORE_RQ, BadContent(), 0xC000),
        (cmd.C_FIND_RQ, StoreUnavailable(), 0xA700),
        (cmd.C_MOVE_RQ, ZeroDivisionError(), 0xA700),
        (cmd.C_GET_RQ, StoreUnavailable(), 0xA700),
        (cmd.C_ECHO_RQ, StoreUnavailable(), 0x0110),
        (cmd.N_CREATE_RQ, StoreUnavailable(), 0x0213),
        (cmd.N_SET_RQ, ZeroDivisionError(), 0x0213),
        (cmd.N_SET_RQ, BadContent(), 0x0110),
        (cmd.N_EVENT_REPORT_RQ, StoreUnavailable(), 0x0213),
    ],
)
def test_an_exception_becomes_a_failure_of_its_service(field: int, error: Exception, status: int) -> None:
    async def handler(request: Request) -> None:
        raise error

    async def work() -> None:
        async with pair([service(MPPS, {field: handler}, also_user=True)], propose(MPPS, scp=True)) as association:
            context = association.context(MPPS)
            assert context is not None
            values: dict[int, cmd.Value] = {cmd.COMMAND_FIELD: field, cmd.AFFECTED_SOP_CLASS: MPPS}
            response = await association.response(await association.invoke(context, values, b"data"))
            assert response.status == status
            assert response.command.field == field | cmd.RESPONSE

    run(work())


def test_sop_classes_of_a_meta_class_are_served_and_no_others() -> None:
    async def work() -> None:
        printing = service(PRINT_META, {cmd.N_CREATE_RQ: done}, members=frozenset({FILM_SESSION}))
        async with pair([printing], propose(PRINT_META)) as association:
            context = association.context(PRINT_META)
            assert (await association.n_create(FILM_SESSION, "1.2", b"", context=context)).status == st.SUCCESS
            assert (await association.n_create(MPPS, "1.2", b"", context=context)).status == 0x0122
            assert (await association.n_delete(FILM_SESSION, "1.2", context=context)).status == 0x0211

    run(work())


# --- roles -----------------------------------------------------------------------------------------------------


def test_a_role_that_is_not_agreed_is_not_ours() -> None:
    """The acceptor is no SCU of this class: a requestor that only wants to be its SCP gets no context."""

    async def work() -> None:
        provided = [service(CT, {cmd.C_STORE_RQ: done}), service(uids.VERIFICATION, {cmd.C_ECHO_RQ: done})]
        async with pair(provided, propose(CT, scu=False, scp=True) + propose(uids.VERIFICATION)) as association:
            assert association.context(CT) is None
            assert [c.abstract_syntax for c in association.contexts.values()] == [uids.VERIFICATION]
        async with pair(provided, propose(CT, scu=True, scp=True)) as association:
            context = association.context(CT)
            assert context is not None
            assert (context.uses, context.serves) == (True, False)
            assert (await association.store(context, "1.2", b"data")).status == st.SUCCESS

    run(work())


def test_requests_in_a_role_that_was_not_agreed_are_refused() -> None:
    async def work() -> None:
        provided = [service(CT, {cmd.C_STORE_RQ: done}, also_user=True)]
        async with pair(provided, propose(CT, scu=False, scp=True)) as association:
            context = next(iter(association.contexts.values()))
            assert (await association.store(context, "1.2", b"data")).status == 0x0211

    run(work())


# --- window of asynchronous operations ---------------------------------------------------------------------


def test_a_window_of_operations_is_used_when_both_want_it() -> None:
    running: list[int] = []
    most: list[int] = []
    go = asyncio.Event()

    async def store(request: Request) -> None:
        running.append(request.command.message_id)
        most.append(len(running))
        await request.data.drain()
        if len(running) == 4:
            go.set()
        await go.wait()
        running.remove(request.command.message_id)
        await request.respond(st.SUCCESS)

    async def work() -> None:
        async with pair([service(CT, {cmd.C_STORE_RQ: store})], propose(CT), operations=4) as association:
            context = association.context(CT)
            assert context is not None
            stores = [association.store(context, f"1.2.{n}", bytes(100_000)) for n in range(12)]
            assert [r.status for r in await asyncio.gather(*stores)] == [st.SUCCESS] * 12

    run(work())
    assert max(most) == 4


def test_without_a_window_requests_go_one_by_one() -> None:
    most = [0]
    running = [0]

    async def store(request: Request) -> None:
        running[0] += 1
        most[0] = max(most[0], running[0])
        await request.data.drain()
        running[0] -= 1
        await request.respond(st.SUCCESS)

    async def work() -> None:
        async with pair([service(CT, {cmd.C_STORE_RQ: store})], propose(CT)) as association:
            context = association.context(CT)
            assert context is not None
            stores = [association.store(context, f"1.2.{n}", b"data") for n in range(5)]
            assert [r.status for r in await asyncio.gather(*stores)] == [st.SUCCESS] * 5

    run(work())
    assert most == [1]


# --- extended negotiation, identity --------------------------------------------------------------------------


def test_extended_negotiation_reaches_both_sides() -> None:
    seen: list[bytes] = []

    async def find(request: Request) -> None:
        seen.append(request.peer.extended[uids.MODALITY_WORKLIST])
        await request.data.drain()
        await request.respond(st.SUCCESS)

    def negotiate(sop_class: str, information: bytes) -> bytes:
        return bytes(min(byte, 1) for byte in information)

    async def work() -> None:
        provided = [service(uids.MODALITY_WORKLIST, {cmd.C_FIND_RQ: find}, negotiate=negotiate)]
        proposals = propose(uids.MODALITY_WORKLIST, extended=b"\x01\x05\x00")
        async with pair(provided, proposals) as association:
            assert association.peer.extended == {uids.MODALITY_WORKLIST: b"\x01\x01\x00"}
            assert [r.status async for r in association.find(uids.MODALITY_WORKLIST, b"keys")] == [st.SUCCESS]

    run(work())
    assert seen == [b"\x01\x05\x00"]


@pytest.mark.parametrize(
    ("common", "accepted"),
    [
        (CommonExtended(PRIVATE, uids.STORAGE_SERVICE), True),
        (CommonExtended(PRIVATE, "1.2.3", ("1.2.4", CT)), True),
        (CommonExtended(PRIVATE, "1.2.3", ("1.2.4",)), False),
        (None, False),
    ],
)
def test_an_unknown_sop_class_is_served_by_what_it_is_akin_to(common: CommonExtended | None, accepted: bool) -> None:
    async def work() -> None:
        provided = [service(CT, {cmd.C_STORE_RQ: done}, service_class=uids.STORAGE_SERVICE)]
        async with pair(provided, propose(PRIVATE, common=common)) as association:
            context = association.context(PRIVATE)
            assert (context is not None) == accepted
            if context is not None:
                assert (await association.store(context, "1.2", b"data")).status == st.SUCCESS

    run(work())


def test_identity_is_handed_to_admission_and_answered() -> None:
    admission = Everybody()
    identity = UserIdentity(2, b"ct1", b"secret", positive_response=True)

    async def work() -> None:
        provided = [service(CT, {cmd.C_STORE_RQ: done})]
        async with pair(provided, propose(CT), admission=admission, identity=identity) as association:
            assert association.context(CT) is not None
        admission.grant = None  # lets the peer in, and has checked nothing
        with pytest.raises(PeerFault) as caught:
            async with pair(provided, propose(CT), admission=admission, identity=identity):
                pass
        assert caught.value.code == "identity-unanswered"

    run(work())
    assert admission.requests[0].user.identity == identity
    assert "secret" not in repr(admission.requests[0])


# --- ends -------------------------------------------------------------------------------------------------------


def test_both_sides_may_ask_for_release_at_once() -> None:
    ends: list[str] = []

    async def echo(request: Request) -> None:
        await request.respond(st.SUCCESS)
        other = request.association
        assert isinstance(other, Association)
        release = asyncio.get_running_loop().create_task(other.release())
        await asyncio.sleep(0)
        release.add_done_callback(lambda _: ends.append(other.ended_by))

    async def work() -> None:
        async with pair([service(uids.VERIFICATION, {cmd.C_ECHO_RQ: echo})], propose(uids.VERIFICATION)) as association:
            assert await association.echo() == st.SUCCESS
            await association.release()
            assert association.ended_by == "released"
            await until(lambda: ends, "the acceptor has released too")

    run(work())
    assert ends == ["released"]


def test_after_the_end_requests_fail_and_nothing_hangs() -> None:
    async def work() -> None:
        async with pair([service(uids.VERIFICATION, {cmd.C_ECHO_RQ: done})], propose(uids.VERIFICATION)) as association:
            await association.release()
            with pytest.raises(PeerFault):
                await association.echo()
            await association.release()  # once more is harmless

    run(work())
