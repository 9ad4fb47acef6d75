"""Reads and writes the user information item of association negotiation (PS3.8 annex D.1, PS3.7 annex D.3.3)."""

from __future__ import annotations

import struct
from dataclasses import KW_ONLY, dataclass, field
from enum import IntEnum

from broker.dicom.wire import pdu
from broker.errors import ProtocolViolation

_USER_INFORMATION = 0x50
_MAX_LENGTH, _CLASS, _WINDOW, _ROLE, _VERSION, _EXTENDED, _COMMON, _IDENTITY, _IDENTITY_ANSWER = range(0x51, 0x5A)
_window = struct.Struct(">HH")


@dataclass(frozen=True, slots=True)
class Role:
    """SCP/SCU role selection of the association requestor for one SOP class (PS3.7 D.3.3.4)."""

    sop_class: str
    scu: bool
    scp: bool


@dataclass(frozen=True, slots=True)
class CommonExtended:
    """SOP class common extended negotiation: what an unknown SOP class is akin to (PS3.7 D.3.3.6)."""

    sop_class: str
    service_class: str
    related: tuple[str, ...] = ()


class IdentityKind(IntEnum):
    """Forms of a user identity (PS3.7 table D.3-14). A peer may send other numbers."""

    USER_NAME = 1
    USER_NAME_AND_PASSCODE = 2
    KERBEROS = 3
    SAML = 4
    JWT = 5


@dataclass(frozen=True, slots=True)
class UserIdentity:
    """User identity (PS3.7 D.3.3.7); `kind` is one of IdentityKind or what a peer has sent."""

    kind: int
    primary: bytes = field(repr=False)
    secondary: bytes = field(default=b"", repr=False)
    positive_response: bool = False


@dataclass(frozen=True, slots=True)
class UserInformation:
    """`window` is (operations invoked, performed) asynchronously, None if not spoken of: 1:1."""

    max_length: int = 16384
    implementation_class: str = ""
    implementation_version: str = ""
    _: KW_ONLY
    window: tuple[int, int] | None = None
    roles: tuple[Role, ...] = ()
    extended: tuple[tuple[str, bytes], ...] = ()
    common: tuple[CommonExtended, ...] = ()
    identity: UserIdentity | None = None
    identity_answer: bytes | None = field(default=None, repr=False)


def decode(value: bytes) -> UserInformation:
    """Read the value of a user information item. Raises ProtocolViolation for anything malformed."""
    single: dict[int, bytes] = {}
    roles: list[Role] = []
    extended: list[tuple[str, bytes]] = []
    common: list[CommonExtended] = []
    for kind, data in pdu.split_items(value):
        if kind == _ROLE:
            roles.append(_role(data))
        elif kind == _EXTENDED:
            name, rest = pdu.counted_field(data, 0)
            extended.append((pdu.uid_of(name), data[rest:]))
        elif kind == _COMMON:
            common.append(_common(data))
        else:
            single[kind] = data
    identity, answer = single.get(_IDENTITY), single.get(_IDENTITY_ANSWER)
    return UserInformation(
        _max_length(single.get(_MAX_LENGTH)),
        pdu.uid_of(single.get(_CLASS, b"")),
        single.get(_VERSION, b"").decode("latin-1").strip(" \0"),
        window=_operations(single.get(_WINDOW)),
        roles=tuple(roles),
        extended=tuple(extended),
        common=tuple(common),
        identity=None if identity is None else _identity(identity),
        identity_answer=None if answer is None else pdu.counted_field(answer, 0)[0],
    )


def encode(user: UserInformation) -> bytes:
    """The whole item."""
    parts = [
        pdu.pack_item(_MAX_LENGTH, struct.pack(">I", user.max_length)),
        pdu.pack_item(_CLASS, user.implementation_class.encode("ascii")),
    ]
    if user.window is not None:
        parts.append(pdu.pack_item(_WINDOW, _window.pack(*user.window)))
    for role in user.roles:
        parts.append(
            pdu.pack_item(_ROLE, pdu.count_field(role.sop_class.encode("ascii")) + bytes((role.scu, role.scp)))
        )
    parts.append(pdu.pack_item(_VERSION, user.implementation_version.encode("ascii")))
    for sop_class, information in user.extended:
        parts.append(pdu.pack_item(_EXTENDED, pdu.count_field(sop_class.encode("ascii")) + information))
    for entry in user.common:
        related = b"".join(pdu.count_field(uid.encode("ascii")) for uid in entry.related)
        names = pdu.count_field(entry.sop_class.encode("ascii")) + pdu.count_field(entry.service_class.encode("ascii"))
        parts.append(pdu.pack_item(_COMMON, names + pdu.count_field(related)))
    if user.identity is not None:
        who = user.identity
        head = bytes((who.kind, who.positive_response))
        parts.append(pdu.pack_item(_IDENTITY, head + pdu.count_field(who.primary) + pdu.count_field(who.secondary)))
    if user.identity_answer is not None:
        parts.append(pdu.pack_item(_IDENTITY_ANSWER, pdu.count_field(user.identity_answer)))
    return pdu.pack_item(_USER_INFORMATION, b"".join(parts))


def _max_length(data: bytes | None) -> int:
    if data is None:
        return 16384
    length = int.from_bytes(data, "big")
    if len(data) != 4 or 0 < length < 1024:
        raise ProtocolViolation("maximum PDU length below 1024", code="bad-max-length")
    return length


def _operations(data: bytes | None) -> tuple[int, int] | None:
    if data is None:
        return None
    if len(data) != 4:
        raise ProtocolViolation("asynchronous operations window of wrong length", code="bad-item")
    invoked, performed = _window.unpack(data)
    return invoked, performed


def _role(data: bytes) -> Role:
    name, rest = pdu.counted_field(data, 0)
    if len(data) != rest + 2:
        raise ProtocolViolation("role selection of wrong length", code="bad-item")
    return Role(pdu.uid_of(name), bool(data[rest]), bool(data[rest + 1]))


def _common(data: bytes) -> CommonExtended:
    sop_class, position = pdu.counted_field(data, 0)
    service_class, position = pdu.counted_field(data, position)
    names, _ = pdu.counted_field(data, position)
    related, position = [], 0
    while position < len(names):
        name, position = pdu.counted_field(names, position)
        related.append(pdu.uid_of(name))
    return CommonExtended(pdu.uid_of(sop_class), pdu.uid_of(service_class), tuple(related))


def _identity(data: bytes) -> UserIdentity:
    if len(data) < 2:
        raise ProtocolViolation("user identity too short", code="bad-item")
    primary, position = pdu.counted_field(data, 2)
    secondary, _ = pdu.counted_field(data, position)
    return UserIdentity(data[0], primary, secondary, bool(data[1]))
