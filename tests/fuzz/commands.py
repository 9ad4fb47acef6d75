"""Command sets as trees: all eleven services and C-CANCEL as requests, and their responses (PS3.7 9.3, 10.3)."""

from __future__ import annotations

import struct
from random import Random

from fuzz.tree import IMPLICIT, Node, encode

NO_DATA = 0x0101
STORE, GET, FIND, MOVE, ECHO, CANCEL = 0x0001, 0x0010, 0x0020, 0x0021, 0x0030, 0x0FFF
EVENT, N_GET, N_SET, ACTION, CREATE, DELETE = 0x0100, 0x0110, 0x0120, 0x0130, 0x0140, 0x0150
SERVICES = (STORE, GET, FIND, MOVE, ECHO, EVENT, N_GET, N_SET, ACTION, CREATE, DELETE)
WITH_DATA = frozenset({STORE, GET, FIND, MOVE, EVENT, N_SET, ACTION, CREATE})
STATUSES = (0, 0, 0, 0xFF00, 0xFF00, 0xFF01, 0xFE00, 0x0110, 0x0122, 0xA700, 0xA900, 0xB000, 0xB007, 0xC000, 0xFFFF, 1)
PLACES = (
    0x0000,
    0x0001,
    0x0002,
    0x0003,
    0x0100,
    0x0110,
    0x0120,
    0x0600,
    0x0700,
    0x0800,
    0x0900,
    0x0901,
    0x0902,
    0x0903,
    0x1000,
    0x1001,
    0x1002,
    0x1005,
    0x1008,
    0x1020,
    0x1021,
    0x1022,
    0x1023,
    0x1030,
    0x1031,
    0x5010,
)


def us(element: int, value: int) -> Node:
    """An element of VR US."""
    return Node(IMPLICIT, element, struct.pack("<H", value & 0xFFFF))


def text(element: int, value: str) -> Node:
    """A UI, AE or LO element."""
    return Node(IMPLICIT, element, value.encode("latin-1") + b"\0" * (len(value) % 2))


def command(*elements: Node) -> list[Node]:
    """A command set in order, with its group length."""
    ordered = sorted(elements, key=lambda node: node.kind)
    length = len(encode(ordered))
    return [Node(IMPLICIT, 0, struct.pack("<I", length)), *ordered]


def request(
    field: int, sop_class: str, sop_instance: str, message_id: int, *, data: bool, type_id: int = 1, priority: int = 0
) -> list[Node]:
    """A valid request of any service; `type_id` of an event or action, `priority` of a C-service."""
    requested = field in (N_GET, N_SET, ACTION, DELETE)
    elements = [
        text(0x0003 if requested else 0x0002, sop_class), us(0x0100, field), us(0x0110, message_id),
        us(0x0800, 1 if data else NO_DATA),
    ]  # fmt: skip
    if requested:
        elements.append(text(0x1001, sop_instance))
    elif field in (STORE, EVENT, CREATE):
        elements.append(text(0x1000, sop_instance))
    if field in (STORE, GET, FIND, MOVE):
        elements.append(us(0x0700, priority))
    if field == MOVE:
        elements.append(text(0x0600, "STORESCP"))
    if field == EVENT:
        elements.append(us(0x1002, type_id))
    if field == ACTION:
        elements.append(us(0x1008, type_id))
    if field == N_GET:
        elements.append(Node(IMPLICIT, 0x1005, struct.pack("<HHHH", 0x10, 0x10, 0x10, 0x20)))
    return command(*elements)


def cancel(message_id: int) -> list[Node]:
    """A C-CANCEL-RQ."""
    return command(us(0x0100, CANCEL), us(0x0120, message_id), us(0x0800, NO_DATA))


def response(field: int, message_id: int, status: int, *, data: bool) -> list[Node]:
    """A response, with counts where the service has them."""
    elements = [
        us(0x0100, field | 0x8000),
        us(0x0120, message_id),
        us(0x0800, 1 if data else NO_DATA),
        us(0x0900, status),
    ]
    if field in (GET, MOVE):
        elements += [us(0x1020, 1), us(0x1021, 0), us(0x1022, 0), us(0x1023, 0)]
    if status not in (0, 0xFF00):
        elements.append(text(0x0902, "of the fuzzer"))
    return command(*elements)


def odd(rng: Random) -> Node:
    """An element of the command group as no service has it."""
    kind = rng.choice(PLACES) | (0 if rng.randrange(6) else rng.getrandbits(16) << 16)
    return Node(IMPLICIT, kind, rng.randbytes(rng.choice((0, 1, 2, 3, 4, 7, 16, 64, 5000))))
