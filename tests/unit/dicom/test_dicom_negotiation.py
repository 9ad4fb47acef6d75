"""A-ASSOCIATE-RQ and -AC: our codec against pynetdicom's from both sides, and against arbitrary bytes."""

from __future__ import annotations

import struct
import time
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from pydicom.uid import UID
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
    SCP_SCU_RoleSelectionNegotiation,
    SOPClassExtendedNegotiation,
    UserIdentityNegotiation,
)
from pynetdicom.presentation import PresentationContext, build_context

from broker.dicom import uids
from broker.dicom.wire import negotiation as neg
from broker.dicom.wire.user_information import Role, UserIdentity
from broker.errors import ProtocolViolation

CT = "1.2.840.10008.5.1.4.1.1.2"
OURS = neg.UserInformation(65536, uids.IMPLEMENTATION_CLASS, uids.IMPLEMENTATION_VERSION)


def foreign_request(contexts: list[PresentationContext], *extra: object, max_length: int = 16382) -> bytes:
    """An A-ASSOCIATE-RQ as pynetdicom writes it."""
    primitive = A_ASSOCIATE()
    primitive.application_context_name = uids.APPLICATION_CONTEXT
    primitive.calling_ae_title, primitive.called_ae_title = "MODALITY 1", "BROKER"
    primitive.presentation_context_definition_list = contexts
    length = MaximumLengthNotification()
    length.maximum_length_received = max_length
    klass = ImplementationClassUIDNotification()
    klass.implementation_class_uid = UID("1.2.3.4")
    version = ImplementationVersionNameNotification()
    version.implementation_version_name = "FOREIGN"
    primitive.user_information = [length, klass, version, *extra]
    pdu = A_ASSOCIATE_RQ()
    pdu.from_primitive(primitive)
    encoded: bytes = pdu.encode()
    return encoded


def context(number: int, abstract: str, *syntaxes: str) -> PresentationContext:
    made = build_context(abstract, list(syntaxes))
    made.context_id = number
    return made


def request(**changes: object) -> neg.AssociationRequest:
    values = {
        "called_ae": "BROKER", "calling_ae": "CT01",
        "contexts": (
            neg.ProposedContext(1, CT, (uids.EXPLICIT_LE, uids.IMPLICIT_LE)),
            neg.ProposedContext(3, uids.VERIFICATION, (uids.IMPLICIT_LE,)),
        ),
        "user": neg.UserInformation(32768, uids.IMPLEMENTATION_CLASS, "V1", roles=(Role(CT, True, False),)),
    }  # fmt: skip
    return neg.AssociationRequest(**(values | changes))  # type: ignore[arg-type]


def items_of(encoded: bytes) -> bytes:
    """Body of a PDU, its length checked."""
    assert struct.unpack(">BxI", encoded[:6])[1] == len(encoded) - 6
    return encoded[6:]


def patched(encoded: bytes, **titles: bytes) -> bytes:
    body = bytearray(items_of(encoded))
    for start, name in ((4, "called"), (20, "calling")):
        if name in titles:
            body[start : start + 16] = titles[name].ljust(16)[:16]
    return bytes(body)


# --- what pynetdicom writes, we read ---------------------------------------------------------------------


def test_a_foreign_request_is_read_whole() -> None:
    role = SCP_SCU_RoleSelectionNegotiation()
    role.sop_class_uid, role.scu_role, role.scp_role = UID(CT), False, True
    identity = UserIdentityNegotiation()
    identity.user_identity_type, identity.primary_field = 1, b"someone"
    extended = SOPClassExtendedNegotiation()
    extended.sop_class_uid, extended.service_class_application_information = UID(CT), b"\x01\x02"
    contexts = [context(1, CT, uids.EXPLICIT_LE, uids.IMPLICIT_LE), context(255, uids.VERIFICATION, uids.IMPLICIT_LE)]
    found = neg.decode_request(items_of(foreign_request(contexts, role, identity, extended)))
    assert (found.called_ae, found.calling_ae) == ("BROKER", "MODALITY 1")
    assert found.application_context == uids.APPLICATION_CONTEXT
    assert found.contexts == (
        neg.ProposedContext(1, CT, (uids.EXPLICIT_LE, uids.IMPLICIT_LE)),
        neg.ProposedContext(255, uids.VERIFICATION, (uids.IMPLICIT_LE,)),
    )
    assert found.user == neg.UserInformation(
        16382,
        "1.2.3.4",
        "FOREIGN",
        roles=(Role(CT, False, True),),
        extended=((CT, b"\x01\x02"),),
        identity=UserIdentity(1, b"someone"),
    )


def test_a_foreign_accept_is_read_whole() -> None:
    primitive = A_ASSOCIATE()
    primitive.application_context_name = uids.APPLICATION_CONTEXT
    primitive.calling_ae_title, primitive.called_ae_title = "CT01", "BROKER"
    primitive.result, primitive.result_source = 0, 1
    good, bad = context(1, CT, uids.EXPLICIT_LE), context(3, uids.VERIFICATION, uids.IMPLICIT_LE)
    good.result, bad.result = 0, 3
    primitive.presentation_context_definition_results_list = [good, bad]
    length = MaximumLengthNotification()
    length.maximum_length_received = 0
    klass = ImplementationClassUIDNotification()
    klass.implementation_class_uid = UID("1.2.3.4")
    primitive.user_information = [length, klass]
    pdu = A_ASSOCIATE_AC()
    pdu.from_primitive(primitive)
    found = neg.decode_accept(items_of(pdu.encode()))
    assert found.contexts[0] == neg.ContextResult(1, neg.ACCEPTED, uids.EXPLICIT_LE)
    assert (found.contexts[1].id, found.contexts[1].result) == (3, neg.ABSTRACT_NOT_SUPPORTED)
    assert found.user.max_length == 0


# --- what we write, pynetdicom reads ---------------------------------------------------------------------


def test_our_request_is_read_by_pynetdicom() -> None:
    pdu = A_ASSOCIATE_RQ()
    pdu.decode(neg.encode_request(request()))
    assert (pdu.called_ae_title, pdu.calling_ae_title) == ("BROKER", "CT01")
    first, second = pdu.presentation_context
    assert (first.context_id, first.abstract_syntax, first.transfer_syntax) == (
        1, CT, [uids.EXPLICIT_LE, uids.IMPLICIT_LE],
    )  # fmt: skip
    assert second.context_id == 3
    assert pdu.user_information.maximum_length == 32768
    assert pdu.user_information.implementation_class_uid == uids.IMPLEMENTATION_CLASS
    assert pdu.user_information.implementation_version_name == "V1"
    assert pdu.user_information.role_selection[UID(CT)].scu_role == 1


def test_our_accept_is_read_by_pynetdicom() -> None:
    accept = neg.AssociationAccept(
        "BROKER", "CT01",
        (neg.ContextResult(1, 0, uids.EXPLICIT_LE), neg.ContextResult(3, 4, uids.IMPLICIT_LE)),
        neg.UserInformation(65536, uids.IMPLEMENTATION_CLASS, uids.IMPLEMENTATION_VERSION),
    )  # fmt: skip
    pdu = A_ASSOCIATE_AC()
    pdu.decode(neg.encode_accept(accept))
    assert (pdu.called_ae_title, pdu.calling_ae_title) == ("BROKER", "CT01")
    assert [(c.context_id, c.result) for c in pdu.presentation_context] == [(1, 0), (3, 4)]
    assert pdu.presentation_context[0].transfer_syntax == uids.EXPLICIT_LE
    assert pdu.user_information.maximum_length == 65536


_uid = some.lists(some.integers(0, 10**6), min_size=1, max_size=8).map(lambda parts: ".".join(map(str, [2, *parts])))
_title = some.from_regex(r"[A-Z0-9_]([ -\[\]-~]{0,14}[A-Z0-9_])?", fullmatch=True)
_proposals = some.lists(some.tuples(_uid, some.lists(_uid, min_size=1, max_size=3)), min_size=1, max_size=8)


@settings(max_examples=50)
@given(_title, _title, _proposals, some.integers(1024, 2**32 - 1) | some.just(0))
def test_every_request_survives_the_round_trip(
    called: str, calling: str, proposals: list[tuple[str, list[str]]], length: int
) -> None:
    contexts = tuple(neg.ProposedContext(2 * n + 1, a, tuple(t)) for n, (a, t) in enumerate(proposals))
    sent = neg.AssociationRequest(called, calling, contexts, neg.UserInformation(length, "1.2", "V"))
    assert neg.decode_request(items_of(neg.encode_request(sent))) == sent


# --- titles ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "title"),
    [(b"CT01", "CT01"), (b"  CT01", "CT01"), (b"CT01\0\0", "CT01"), (b" " * 16, ""), (b"\0" * 16, ""),
     (b"A" * 16, "A" * 16), (b"A B", "A B"), (b"<b>\x1b[1m", "<b>\x1b[1m"), (b"M\xfcnchen", "München")],
)  # fmt: skip
def test_titles_lose_only_their_padding(raw: bytes, title: str) -> None:
    assert neg.decode_request(patched(neg.encode_request(request()), calling=raw)).calling_ae == title


def test_a_title_that_is_no_ascii_can_still_be_answered() -> None:
    """The rejection of such a caller, or its acceptance with `accept = any`, must not end in a defect."""
    neg.encode_accept(neg.AssociationAccept("MÜNCHEN", "ÇT", (), neg.UserInformation(0, "1.2", "V")))


# --- refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [0, 2, 254])
def test_even_context_ids_are_refused(number: int) -> None:
    odd = request(contexts=(neg.ProposedContext(number, CT, (uids.IMPLICIT_LE,)),))
    with pytest.raises(ProtocolViolation):
        neg.decode_request(items_of(neg.encode_request(odd)))


def test_repeated_and_missing_contexts_are_refused() -> None:
    one = neg.ProposedContext(1, CT, (uids.IMPLICIT_LE,))
    for contexts in ((one, one), ()):
        with pytest.raises(ProtocolViolation):
            neg.decode_request(items_of(neg.encode_request(request(contexts=contexts))))


@pytest.mark.parametrize("bad", [neg.ProposedContext(1, "", ("1.2",)), neg.ProposedContext(1, CT, ())])
def test_contexts_without_syntaxes_are_refused(bad: neg.ProposedContext) -> None:
    with pytest.raises(ProtocolViolation):
        neg.decode_request(items_of(neg.encode_request(request(contexts=(bad,)))))


def test_a_syntax_that_is_no_ascii_is_refused() -> None:
    """It would come back in our answer, which cannot be encoded then."""
    body = items_of(neg.encode_request(request())).replace(uids.IMPLICIT_LE.encode(), b"1.2.840.10008.1.\xfc")
    with pytest.raises(ProtocolViolation):
        neg.decode_request(body)


@pytest.mark.parametrize("length", [1, 6, 1023])
def test_a_maximum_length_that_fits_nothing_is_refused(length: int) -> None:
    tiny = request(user=neg.UserInformation(length, "1.2", "V"))
    with pytest.raises(ProtocolViolation):
        neg.decode_request(items_of(neg.encode_request(tiny)))


def test_another_protocol_version_is_refused() -> None:
    body = bytearray(items_of(neg.encode_request(request())))
    body[1] = 2
    with pytest.raises(ProtocolViolation):
        neg.decode_request(bytes(body))
    body[1] = 3  # version 1 is among those offered
    neg.decode_request(bytes(body))


def test_another_application_context_is_reported_not_judged() -> None:
    body = items_of(neg.encode_request(request(application_context="1.2.3")))
    assert neg.decode_request(body).application_context == "1.2.3"


@given(some.binary(max_size=400))
def test_random_bytes_raise_nothing_but_a_violation(data: bytes) -> None:
    for decode in (neg.decode_request, neg.decode_accept):
        with suppress(ProtocolViolation):
            decode(data)
        with suppress(ProtocolViolation):
            decode(b"\0\1" + bytes(66) + data)


@settings(max_examples=150)
@given(some.data())
def test_mutated_requests_raise_nothing_but_a_violation_and_can_be_answered(data: some.DataObject) -> None:
    body = bytearray(items_of(neg.encode_request(request())))
    for _ in range(data.draw(some.integers(1, 6))):
        body[data.draw(some.integers(0, len(body) - 1))] = data.draw(some.integers(0, 255))
    cut = data.draw(some.integers(0, len(body)))
    for variant in (bytes(body), bytes(body[:cut])):
        with suppress(ProtocolViolation):
            found = neg.decode_request(variant)
            results = tuple(neg.ContextResult(c.id, 3, c.transfer_syntaxes[0]) for c in found.contexts)
            neg.encode_accept(neg.AssociationAccept(found.called_ae, found.calling_ae, results, OURS))


def test_ul05_the_largest_request_is_read_in_bounded_time() -> None:
    contexts = tuple(
        neg.ProposedContext(2 * n + 1, CT, tuple(f"1.2.840.10008.1.2.4.{t}" for t in range(50))) for n in range(128)
    )
    body = items_of(neg.encode_request(request(contexts=contexts)))
    started = time.process_time()
    assert len(neg.decode_request(body).contexts) == 128
    assert time.process_time() - started < 0.2
