"""Encodings as trees whose lengths can lie: PDUs, items, PDVs, command and data elements; and how trees go wrong.

Written from the byte tables of PS3.5, PS3.7 and PS3.8, sharing nothing with the codecs under test.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from random import Random

UNDEFINED = 0xFFFFFFFF
Head = Callable[[int, tuple[int, ...], int], bytes]


def _masked(text: str, *widths: int) -> Head:
    """A header `text` of key fields, then the length; both cut to the width of their fields (bits)."""
    layout = struct.Struct(text)
    masks = [(1 << width) - 1 for width in widths]

    def head(kind: int, key: tuple[int, ...], length: int) -> bytes:
        values = (kind, *key, length)
        return layout.pack(*(value & mask for value, mask in zip(values, masks, strict=True)))

    return head


def _pdv(kind: int, key: tuple[int, ...], length: int) -> bytes:
    return struct.pack(">IBB", (length + 2) & UNDEFINED, kind & 0xFF, key[0] & 0xFF)


def _explicit(order: str, long: bool) -> Head:
    layout = struct.Struct(order + ("HHHHI" if long else "HHHH"))
    mask = UNDEFINED if long else 0xFFFF

    def head(kind: int, key: tuple[int, ...], length: int) -> bytes:
        vr = key[0] if order == ">" else (key[0] & 0xFF) << 8 | key[0] >> 8
        names = (kind >> 16 & 0xFFFF, kind & 0xFFFF, vr & 0xFFFF)
        return layout.pack(*names, 0, length & mask) if long else layout.pack(*names, length & mask)

    return head


def _implicit(order: str) -> Head:
    layout = struct.Struct(order + "HHI")
    return lambda kind, key, length: layout.pack(kind >> 16 & 0xFFFF, kind & 0xFFFF, length & UNDEFINED)


PDU = _masked(">BxI", 8, 32)
ITEM = _masked(">BxH", 8, 16)
IMPLICIT, IMPLICIT_BIG = _implicit("<"), _implicit(">")
SHORT, SHORT_BIG = _explicit("<", False), _explicit(">", False)
LONG, LONG_BIG = _explicit("<", True), _explicit(">", True)
PDV = _pdv


def counted(kind: int, key: tuple[int, ...], length: int) -> bytes:
    """A field behind its two length bytes."""
    return struct.pack(">H", length & 0xFFFF)


def bare(kind: int, key: tuple[int, ...], length: int) -> bytes:
    """No header: bytes, or a place to hold children."""
    return b""


class Node:
    """Something with a header and a body; `lie` is a length that is not the body's."""

    __slots__ = ("body", "head", "key", "kind", "lie")

    def __init__(
        self, head: Head, kind: int, body: bytes | list[Node], *key: int, lie: int | None = None
    ) -> None:  # fmt: skip
        self.head, self.kind, self.body, self.key, self.lie = head, kind, body, key, lie

    def encode(self) -> bytes:
        """The bytes."""
        body = self.body if isinstance(self.body, bytes) else b"".join([child.encode() for child in self.body])
        return self.head(self.kind, self.key, len(body) if self.lie is None else self.lie) + body


def encode(nodes: list[Node]) -> bytes:
    """The bytes of nodes one after the other."""
    return b"".join([node.encode() for node in nodes])


def places(nodes: list[Node]) -> Iterator[tuple[list[Node], int]]:
    """Every node of a forest as (list that holds it, index)."""
    for index, node in enumerate(nodes):
        yield nodes, index
        if not isinstance(node.body, bytes):
            yield from places(node.body)


LENGTHS = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0x7F, 0xFF, 0x100, 0x3FF, 0x400, 0x7FFF, 0x8000, 0xFFFE, 0xFFFF, 0x10000,
           0x40000, 0x40001, 0x7FFFFFFF, 0x80000000, 0xFFFFFFF8, 0xFFFFFFFE, 0xFFFFFFFF)  # fmt: skip


def _lie(rng: Random, holder: list[Node], index: int) -> None:
    node = holder[index]
    true = len(node.body) if isinstance(node.body, bytes) else len(encode(node.body))
    node.lie = rng.choice((rng.choice(LENGTHS), true + rng.choice((-9, -2, -1, 1, 2, 9)), rng.getrandbits(32)))


def _drop(rng: Random, holder: list[Node], index: int) -> None:
    del holder[index]


def _again(rng: Random, holder: list[Node], index: int) -> None:
    small = len(holder[index].encode()) < 2000
    for _ in range(rng.choice((1, 1, 1, 2, 5, 40) if small else (1, 2))):
        holder.insert(rng.randint(0, len(holder)), holder[index])


def _swap(rng: Random, holder: list[Node], index: int) -> None:
    other = rng.randrange(len(holder))
    holder[index], holder[other] = holder[other], holder[index]


def _nest(rng: Random, holder: list[Node], index: int) -> None:
    node = holder[index]
    for _ in range(rng.choice((1, 2, 8, 9, 63, 64, 65, 200))):
        node = Node(node.head, node.kind, [node], *node.key)
    holder[index] = node


def _kind(rng: Random, holder: list[Node], index: int) -> None:
    node = holder[index]
    node.kind = rng.choice((node.kind ^ 1 << rng.randrange(32), node.kind + 1, node.kind - 1, rng.getrandbits(32)))


def _key(rng: Random, holder: list[Node], index: int) -> None:
    node = holder[index]
    if node.key:
        changed = list(node.key)
        changed[rng.randrange(len(changed))] = rng.choice((0, 1, 2, 3, 4, 255, rng.getrandbits(16)))
        node.key = tuple(changed)


def _body(rng: Random, holder: list[Node], index: int) -> None:
    node = holder[index]
    plain = node.body if isinstance(node.body, bytes) else encode(node.body)
    node.body = havoc(rng, plain)


def _huge(rng: Random, holder: list[Node], index: int) -> None:
    node = holder[index]
    plain = node.body if isinstance(node.body, bytes) else encode(node.body)
    node.body = (plain or b"1") * rng.choice((2, 3, 17, 256)) if len(plain) < 512 else plain * 2


MUTATIONS = (_lie, _lie, _lie, _drop, _again, _swap, _nest, _kind, _key, _body, _body, _huge)


MAX_NODES = 2000


def mutate(rng: Random, nodes: list[Node], times: int) -> None:
    """Break a forest in place, `times` times at random places."""
    for _ in range(times):
        found = list(places(nodes))
        if not 0 < len(found) < MAX_NODES:
            return
        holder, index = rng.choice(found)
        rng.choice(MUTATIONS)(rng, holder, index)


BYTES = (0, 1, 2, 3, 4, 5, 6, 7, 0x20, 0x21, 0x30, 0x40, 0x50, 0x5C, 0x1B, 0x7F, 0x80, 0xFE, 0xFF)
MAX_HAVOC = 1 << 20


def havoc(rng: Random, data: bytes, times: int = 0) -> bytes:
    """Break bytes without knowing what they mean."""
    plain = bytearray(data)
    for _ in range(times or rng.choice((1, 1, 2, 4, 16))):
        size = len(plain)
        at = rng.randrange(size) if size else 0
        act = rng.randrange(7)
        if act == 0 and size:
            plain[at] ^= 1 << rng.randrange(8)
        elif act == 1 and size:
            plain[at] = rng.choice(BYTES)
        elif act == 2:
            plain[at:at] = rng.randbytes(rng.choice((1, 2, 4, 9)))
        elif act == 3:
            del plain[at : at + rng.choice((1, 2, 4, 64))]
        elif act == 4 and size:
            del plain[at:]
        elif act == 5 and size < MAX_HAVOC:
            plain[at:at] = plain[at : at + rng.choice((4, 8, 64, 1024))]
        else:
            plain[at : at + 4] = struct.pack(rng.choice("<>") + "I", rng.choice(LENGTHS))
    return bytes(plain)


def pieces(rng: Random, data: bytes) -> list[bytes]:
    """The bytes cut at random places, as TCP may do: one piece, some, or byte by byte at the front."""
    way = rng.randrange(4)
    if way < 2 or len(data) < 2:
        return [data]
    if way == 2:
        cuts = sorted(rng.sample(range(1, len(data)), min(rng.choice((1, 2, 5)), len(data) - 1)))
    else:
        cuts = list(range(1, min(len(data), rng.choice((8, 16, 80)))))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
