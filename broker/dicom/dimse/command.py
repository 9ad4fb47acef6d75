"""Reads and writes DIMSE command sets: group 0000 in Implicit VR Little Endian (PS3.7 6.3, annex E)."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from broker.errors import ProtocolViolation

C_STORE_RQ, C_GET_RQ, C_FIND_RQ, C_MOVE_RQ, C_ECHO_RQ, C_CANCEL_RQ = 0x0001, 0x0010, 0x0020, 0x0021, 0x0030, 0x0FFF
N_EVENT_REPORT_RQ, N_GET_RQ, N_SET_RQ, N_ACTION_RQ, N_CREATE_RQ, N_DELETE_RQ = range(0x0100, 0x0151, 0x0010)
RESPONSE = 0x8000
NO_DATA = 0x0101
NAMES = {
    C_STORE_RQ: "C-STORE", C_GET_RQ: "C-GET", C_FIND_RQ: "C-FIND", C_MOVE_RQ: "C-MOVE", C_ECHO_RQ: "C-ECHO",
    C_CANCEL_RQ: "C-CANCEL", N_EVENT_REPORT_RQ: "N-EVENT-REPORT", N_GET_RQ: "N-GET", N_SET_RQ: "N-SET",
    N_ACTION_RQ: "N-ACTION", N_CREATE_RQ: "N-CREATE", N_DELETE_RQ: "N-DELETE",
}  # fmt: skip
QUERIES = frozenset({C_FIND_RQ, C_GET_RQ, C_MOVE_RQ})  # services with pending responses
MAX_COMMAND = 64 * 1024

AFFECTED_SOP_CLASS, REQUESTED_SOP_CLASS = 0x0002, 0x0003
COMMAND_FIELD, MESSAGE_ID, MESSAGE_ID_RESPONDED = 0x0100, 0x0110, 0x0120
MOVE_DESTINATION, PRIORITY, DATA_SET_TYPE = 0x0600, 0x0700, 0x0800
STATUS, OFFENDING_ELEMENT, ERROR_COMMENT, ERROR_ID = 0x0900, 0x0901, 0x0902, 0x0903
AFFECTED_SOP_INSTANCE, REQUESTED_SOP_INSTANCE = 0x1000, 0x1001
EVENT_TYPE, ATTRIBUTES, ACTION_TYPE = 0x1002, 0x1005, 0x1008
REMAINING, COMPLETED, FAILED, WARNING = 0x1020, 0x1021, 0x1022, 0x1023  # numbers of sub-operations
MOVE_ORIGINATOR_AE, MOVE_ORIGINATOR_MESSAGE_ID = 0x1030, 0x1031

_VR = {
    AFFECTED_SOP_CLASS: "UI", REQUESTED_SOP_CLASS: "UI", COMMAND_FIELD: "US", MESSAGE_ID: "US",
    MESSAGE_ID_RESPONDED: "US", MOVE_DESTINATION: "AE", PRIORITY: "US", DATA_SET_TYPE: "US", STATUS: "US",
    OFFENDING_ELEMENT: "AT", ERROR_COMMENT: "LO", ERROR_ID: "US", AFFECTED_SOP_INSTANCE: "UI",
    REQUESTED_SOP_INSTANCE: "UI", EVENT_TYPE: "US", ATTRIBUTES: "AT", ACTION_TYPE: "US", REMAINING: "US",
    COMPLETED: "US", FAILED: "US", WARNING: "US", MOVE_ORIGINATOR_AE: "AE", MOVE_ORIGINATOR_MESSAGE_ID: "US",
}  # fmt: skip
_element = struct.Struct("<HHI")


Value = int | str | tuple[int, ...]


class Command:
    """A command set: elements of group 0000 by element number. Text is stripped of padding."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[int, Value]) -> None:
        self._values = dict(values)

    def number(self, element: int, default: int = 0) -> int:
        """Value of a US element, `default` if absent."""
        value = self._values.get(element, default)
        return value if isinstance(value, int) else default

    def text(self, element: int) -> str:
        """Value of a UI, AE or LO element, empty if absent."""
        value = self._values.get(element, "")
        return value if isinstance(value, str) else ""

    def tags(self, element: int) -> tuple[int, ...]:
        """Values of an AT element, each tag as one number."""
        value = self._values.get(element, ())
        return value if isinstance(value, tuple) else ()

    @property
    def field(self) -> int:
        """Command Field (0000,0100)."""
        return self.number(COMMAND_FIELD)

    @property
    def message_id(self) -> int:
        """Message ID (0000,0110)."""
        return self.number(MESSAGE_ID)

    @property
    def responded_to(self) -> int:
        """Message ID Being Responded To (0000,0120)."""
        return self.number(MESSAGE_ID_RESPONDED)

    @property
    def status(self) -> int:
        """Status (0000,0900)."""
        return self.number(STATUS)

    @property
    def sop_class(self) -> str:
        """Affected or Requested SOP Class UID."""
        return self.text(AFFECTED_SOP_CLASS) or self.text(REQUESTED_SOP_CLASS)

    @property
    def sop_instance(self) -> str:
        """Affected or Requested SOP Instance UID."""
        return self.text(AFFECTED_SOP_INSTANCE) or self.text(REQUESTED_SOP_INSTANCE)

    @property
    def has_data(self) -> bool:
        """A data set follows the command (Command Data Set Type (0000,0800))."""
        return self.number(DATA_SET_TYPE, NO_DATA) != NO_DATA

    @property
    def is_response(self) -> bool:
        """The command is an answer."""
        return bool(self.field & RESPONSE)


def encode(values: Mapping[int, Value]) -> bytes:
    """Encode a command set with its group length. Values: int for US, numbers for AT, str for UI, AE and LO."""
    parts = []
    for element in sorted(values):
        value, vr = values[element], _VR[element]
        if isinstance(value, tuple):
            data = b"".join(struct.pack("<HH", tag >> 16, tag & 0xFFFF) for tag in value)
        elif isinstance(value, int):
            data = struct.pack("<H", value)
        else:
            data = value.encode("ascii", "replace")
            if len(data) % 2:
                data += b"\0" if vr == "UI" else b" "
        parts.append(_element.pack(0, element, len(data)) + data)
    body = b"".join(parts)
    return _element.pack(0, 0, 4) + struct.pack("<I", len(body)) + body


def decode(data: bytes) -> Command:
    """Decode a command set. Raises ProtocolViolation for anything malformed or without a command field."""
    values: dict[int, Value] = {}
    position, end = 0, len(data)
    while position < end:
        if end - position < 8:
            raise ProtocolViolation("command element shorter than its header", code="bad-command")
        group, element, length = _element.unpack_from(data, position)
        position += 8
        if group != 0 or position + length > end:
            raise ProtocolViolation("command element does not fit", code="bad-command")
        raw = data[position : position + length]
        position += length
        vr = _VR.get(element)
        if vr == "US" and length >= 2:
            values[element] = int.from_bytes(raw[:2], "little")
        elif vr == "AT":
            numbers = struct.unpack(f"<{length // 4 * 2}H", raw[: length // 4 * 4])
            values[element] = tuple(a << 16 | b for a, b in zip(numbers[::2], numbers[1::2], strict=True))
        elif vr in ("UI", "AE", "LO"):
            values[element] = raw.decode("latin-1").strip(" \0")
    if COMMAND_FIELD not in values:
        raise ProtocolViolation("command set without command field", code="bad-command")
    return Command(values)
