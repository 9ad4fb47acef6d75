"""Reads and writes A-ASSOCIATE-RQ and A-ASSOCIATE-AC (PS3.8 9.3.2, 9.3.3).

A codec of our own: pynetdicom's needs 185 ms for a request of 128 contexts with 50 syntaxes each (and works
quadratically), which would stop the event loop for everybody; this one needs about 5 ms. pynetdicom and DCMTK
check it from the other end in the tests.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from broker.dicom import uids
from broker.dicom.wire import pdu, user_information
from broker.dicom.wire.user_information import UserInformation
from broker.errors import ProtocolViolation

MAX_CONTEXTS = 128
# item types (PS3.8 tables 9-12 to 9-19)
_APPLICATION_CONTEXT, _PROPOSED_CONTEXT, _CONTEXT_RESULT, _USER_INFORMATION = 0x10, 0x20, 0x21, 0x50
_ABSTRACT_SYNTAX, _TRANSFER_SYNTAX = 0x30, 0x40
ACCEPTED, USER_REJECTION, NO_REASON, ABSTRACT_NOT_SUPPORTED, TRANSFER_NOT_SUPPORTED = range(5)


@dataclass(frozen=True, slots=True)
class ProposedContext:
    """A presentation context as proposed: odd id 1-255, one abstract syntax, its transfer syntaxes."""

    id: int
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ContextResult:
    """A presentation context as answered."""

    id: int
    result: int
    transfer_syntax: str


@dataclass(frozen=True, slots=True)
class AssociationRequest:
    """A-ASSOCIATE-RQ."""

    called_ae: str
    calling_ae: str
    contexts: tuple[ProposedContext, ...]
    user: UserInformation = field(default_factory=UserInformation)
    application_context: str = uids.APPLICATION_CONTEXT


@dataclass(frozen=True, slots=True)
class AssociationAccept:
    """A-ASSOCIATE-AC."""

    called_ae: str
    calling_ae: str
    contexts: tuple[ContextResult, ...]
    user: UserInformation


def decode_request(body: bytes) -> AssociationRequest:
    """Read the body of an A-ASSOCIATE-RQ. Raises ProtocolViolation for anything malformed."""
    called, calling = _titles(body)
    contexts: list[ProposedContext] = []
    user, application = UserInformation(), ""
    for kind, value in pdu.split_items(body, 68):
        if kind == _APPLICATION_CONTEXT:
            application = pdu.uid_of(value)
        elif kind == _PROPOSED_CONTEXT:
            contexts.append(_proposed(value))
        elif kind == _USER_INFORMATION:
            user = user_information.decode(value)
    ids = [context.id for context in contexts]
    if not contexts or len(set(ids)) != len(ids) or not all(i % 2 for i in ids):
        raise ProtocolViolation("presentation contexts are missing, repeated or have even ids", code="bad-contexts")
    return AssociationRequest(called, calling, tuple(contexts), user, application)


def decode_accept(body: bytes) -> AssociationAccept:
    """Read the body of an A-ASSOCIATE-AC. Raises ProtocolViolation for anything malformed."""
    called, calling = _titles(body, checked=False)
    contexts: list[ContextResult] = []
    user = UserInformation()
    for kind, value in pdu.split_items(body, 68):
        if kind == _CONTEXT_RESULT:
            if len(value) < 4:
                raise ProtocolViolation("presentation context item too short", code="bad-item")
            syntax = next((pdu.uid_of(v) for k, v in pdu.split_items(value, 4) if k == _TRANSFER_SYNTAX), "")
            contexts.append(ContextResult(value[0], value[2], syntax))
        elif kind == _USER_INFORMATION:
            user = user_information.decode(value)
    return AssociationAccept(called, calling, tuple(contexts), user)


def encode_request(request: AssociationRequest) -> bytes:
    """The whole A-ASSOCIATE-RQ PDU."""
    parts = [pdu.pack_item(_APPLICATION_CONTEXT, request.application_context.encode("ascii"))]
    for context in request.contexts:
        syntaxes = b"".join(pdu.pack_item(_TRANSFER_SYNTAX, s.encode("ascii")) for s in context.transfer_syntaxes)
        abstract = pdu.pack_item(_ABSTRACT_SYNTAX, context.abstract_syntax.encode("ascii"))
        parts.append(pdu.pack_item(_PROPOSED_CONTEXT, bytes((context.id, 0, 0, 0)) + abstract + syntaxes))
    parts.append(user_information.encode(request.user))
    return _encode(pdu.ASSOCIATE_RQ, request.called_ae, request.calling_ae, b"".join(parts))


def encode_accept(accept: AssociationAccept) -> bytes:
    """The whole A-ASSOCIATE-AC PDU."""
    parts = [pdu.pack_item(_APPLICATION_CONTEXT, uids.APPLICATION_CONTEXT.encode("ascii"))]
    for context in accept.contexts:
        syntax = pdu.pack_item(_TRANSFER_SYNTAX, context.transfer_syntax.encode("ascii"))
        parts.append(pdu.pack_item(_CONTEXT_RESULT, bytes((context.id, 0, context.result, 0)) + syntax))
    parts.append(user_information.encode(accept.user))
    return _encode(pdu.ASSOCIATE_AC, accept.called_ae, accept.calling_ae, b"".join(parts))


def _encode(kind: int, called: str, calling: str, content: bytes) -> bytes:
    titles = called.encode("ascii", "replace").ljust(16)[:16] + calling.encode("ascii", "replace").ljust(16)[:16]
    body = b"\x00\x01\x00\x00" + titles + bytes(32) + content
    return struct.pack(">BxI", kind, len(body)) + body


def _titles(body: bytes, *, checked: bool = True) -> tuple[str, str]:
    """Called and calling AE title; leading and trailing spaces are not significant."""
    if len(body) < 68:
        raise ProtocolViolation("association PDU too short", code="bad-item")
    if checked and not body[1] & 1:
        raise ProtocolViolation("protocol version 1 is not offered", code="bad-version")
    called, calling = (body[i : i + 16].decode("latin-1").strip(" \0") for i in (4, 20))
    return called, calling


def _proposed(value: bytes) -> ProposedContext:
    if len(value) < 4:
        raise ProtocolViolation("presentation context item too short", code="bad-item")
    abstract, syntaxes = "", []
    for kind, text in pdu.split_items(value, 4):
        if kind == _ABSTRACT_SYNTAX:
            abstract = pdu.uid_of(text)
        elif kind == _TRANSFER_SYNTAX:
            syntaxes.append(pdu.uid_of(text))
    if not abstract or not syntaxes:
        raise ProtocolViolation("presentation context without syntaxes", code="bad-contexts")
    return ProposedContext(value[0], abstract, tuple(syntaxes))
