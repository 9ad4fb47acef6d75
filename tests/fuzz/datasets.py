"""Data sets as trees, in every encoding: objects for C-STORE, identifiers for C-FIND; whole ones and broken ones."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random

from fuzz.tree import (
    IMPLICIT,
    IMPLICIT_BIG,
    LONG,
    LONG_BIG,
    SHORT,
    SHORT_BIG,
    UNDEFINED,
    Node,
    encode,
    havoc,
    mutate,
)  # fmt: skip

IMPLICIT_LE, EXPLICIT_LE, EXPLICIT_BE = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
DEFLATED = ("1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205")
COMPRESSED = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.8.1")
SYNTAXES = (IMPLICIT_LE, EXPLICIT_LE, EXPLICIT_LE, EXPLICIT_BE, DEFLATED[0], *DEFLATED, *COMPRESSED)
CT, STUDY = "1.2.840.10008.5.1.4.1.1.2", "2.999.14"
_LONG_VRS = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"})
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
CHARSETS = (
    b"", b"ISO_IR 100", b"ISO_IR 192", b"GB18030", b"GBK", b"ISO_IR 13",
    b"\\ISO 2022 IR 87", b"ISO 2022 IR 13\\ISO 2022 IR 87",
    b"\\ISO 2022 IR 149", b"\\ISO 2022 IR 58", b"ISO_IR 166", b"ISO_IR 144", b"ISO 2022 IR 159",
    b"UNKNOWN", b"ISO_IR 6",
)  # fmt: skip
TEXTS = (
    b"CT", b"Doe^Jane", b"A\\B\\C", b"\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B", b"\xc3\x84nne",
    b"\x83\x36\xc7\x38", b"\x84\x31\xa4\x37",
    b"\x1b$)C\xb1\xe8", b"\xff\xfe\xfd", b"\x00\x00", b"*", b"Do*^?", b"20300101-20301231", b"-120000", b"\\" * 70,
    b"=" * 8,
    b"\xe3\x32\x9a\x35", b"\x1b", b"^" * 40, b"1.5\\nan\\1e999", b" ", b"\xed\xa0\x80", b"\x81\x30\x81",
)  # fmt: skip
_NUMBERS = {"US": "H", "SS": "h", "UL": "I", "FD": "d", "FL": "f"}
FILLING = (
    (0x00080008, "CS"), (0x00080020, "DA"), (0x00080030, "TM"), (0x00080050, "SH"), (0x00080060, "CS"),
    (0x00080070, "LO"), (0x00080080, "LO"), (0x00081010, "SH"), (0x00081030, "LO"), (0x0008103E, "LO"),
    (0x00090010, "LO"), (0x00091001, "UN"), (0x00100010, "PN"), (0x00100020, "LO"), (0x00104000, "LT"),
    (0x00180015, "CS"), (0x00180050, "DS"), (0x00200013, "IS"), (0x00280010, "US"), (0x00280011, "US"),
    (0x00281050, "DS"), (0x00189073, "FD"), (0x00720083, "UV"), (0x00089999, "UT"),
)  # fmt: skip
KEYS = (
    (0x00080005, "CS"), (0x00080050, "SH"), (0x00080090, "PN"), (0x00100010, "PN"), (0x00100020, "LO"),
    (0x00100030, "DA"), (0x00100040, "CS"), (0x0020000D, "UI"), (0x00321060, "LO"), (0x00401001, "SH"),
    (0x00091001, "LO"), (0x00090010, "LO"), (0x00401003, "SH"), (0x00380010, "LO"), (0x00104000, "LT"),
)  # fmt: skip
STEP_KEYS = (
    (0x00080060, "CS"), (0x00400001, "AE"), (0x00400002, "DA"), (0x00400003, "TM"), (0x00400006, "PN"),
    (0x00400007, "LO"), (0x00400009, "SH"), (0x00400020, "CS"), (0x00400010, "SH"),
)  # fmt: skip


@dataclass(frozen=True)
class Sample:
    """A data set for the wire. `whole`: not broken; `cut`: ends inside an element, or is too deep."""

    transfer_syntax: str
    sop_instance: str
    data: bytes
    whole: bool
    cut: bool = False


class Encoding:
    """How elements are written: VR explicit or not, byte order."""

    def __init__(self, transfer_syntax: str) -> None:
        self.explicit = transfer_syntax != IMPLICIT_LE
        self.big = transfer_syntax == EXPLICIT_BE
        self.order = ">" if self.big else "<"

    def element(self, tag: int, vr: str, body: bytes | list[Node], lie: int | None = None) -> Node:
        """An element; without VR for the items and delimiters of sequences."""
        if not self.explicit or not vr:
            return Node(IMPLICIT_BIG if self.big else IMPLICIT, tag, body, lie=lie)
        little, big = (LONG, LONG_BIG) if vr in _LONG_VRS else (SHORT, SHORT_BIG)
        head = big if self.big else little
        return Node(head, tag, body, int.from_bytes(vr.encode(), "big"), lie=lie)

    def sequence(self, tag: int, items: list[list[Node]], open_ended: bool) -> Node:
        """A sequence of defined or undefined length, and its items likewise."""
        if not open_ended:
            return self.element(tag, "SQ", [self.element(_ITEM, "", item) for item in items])
        body: list[Node] = []
        for item in items:
            body.append(self.element(_ITEM, "", [*item, self.element(_ITEM_END, "", b"")], UNDEFINED))
        body.append(self.element(_SEQUENCE_END, "", b""))
        return self.element(tag, "SQ", body, UNDEFINED)

    def fragments(self, parts: list[bytes]) -> Node:
        """Encapsulated pixel data."""
        body = [self.element(_ITEM, "", part) for part in (b"", *parts)]
        return self.element(0x7FE00010, "OB", [*body, self.element(_SEQUENCE_END, "", b"")], UNDEFINED)


def _value(rng: Random, vr: str, order: str) -> bytes:
    if vr in _NUMBERS:
        code = _NUMBERS[vr]
        return struct.pack(order + code, rng.choice((0, 1, 255)))
    if vr == "UI":
        return rng.choice((b"1.2.3\0", b"", b"2.999.1\\2.999.2\0", b"x"))
    if vr == "UV":
        return rng.randbytes(8)
    value = rng.choice(TEXTS)
    if rng.random() < 0.1:
        value = value * rng.choice((3, 100, 700))
    return value + b" " * (len(value) % 2)


def _some(rng: Random, encoding: Encoding, table: tuple[tuple[int, str], ...], most: int) -> list[Node]:
    chosen = rng.sample(table, rng.randint(0, min(most, len(table))))
    return [encoding.element(tag, vr, _value(rng, vr, encoding.order)) for tag, vr in chosen]


def _nested(rng: Random, encoding: Encoding, tag: int, table: tuple[tuple[int, str], ...], depth: int) -> Node:
    items = []
    for _ in range(rng.choice((0, 1, 1, 2))):
        item = _some(rng, encoding, table, 4)
        if depth and rng.random() < 0.4:
            item.append(_nested(rng, encoding, 0x00081140, table, depth - 1))
        items.append(item)
    return encoding.sequence(tag, items, rng.random() < 0.6)


def _uid(text: str) -> bytes:
    return text.encode() + b"\0" * (len(text) % 2)


def object_tree(rng: Random, transfer_syntax: str, sop_class: str, sop_instance: str) -> list[Node]:
    """A whole object: identity, some attributes, sequences, pixels."""
    encoding = Encoding(transfer_syntax)
    nodes = [
        encoding.element(0x00080016, "UI", _uid(sop_class)), encoding.element(0x00080018, "UI", _uid(sop_instance)),
        encoding.element(0x0020000D, "UI", _uid(STUDY)), encoding.element(0x0020000E, "UI", _uid(STUDY + ".1")),
    ]  # fmt: skip
    if rng.random() < 0.5:
        charset = rng.choice(CHARSETS)
        nodes.append(encoding.element(0x00080005, "CS", charset + b" " * (len(charset) % 2)))
    nodes += _some(rng, encoding, FILLING, 8)
    for tag in rng.sample((0x00081111, 0x00400275, 0x00089215), rng.choice((0, 1, 1, 2))):
        nodes.append(_nested(rng, encoding, tag, FILLING, 3))
    nodes.sort(key=lambda node: node.kind)
    if transfer_syntax in COMPRESSED:
        nodes.append(encoding.fragments([rng.randbytes(2 * rng.randint(0, 9)) for _ in range(rng.randint(0, 3))]))
    elif rng.random() < 0.7:
        nodes.append(encoding.element(0x7FE00010, "OW", rng.randbytes(2 * rng.choice((0, 1, 8, 40)))))
    return nodes


def identifier_tree(rng: Random, transfer_syntax: str) -> list[Node]:
    """A worklist query."""
    encoding = Encoding(transfer_syntax)
    nodes = _some(rng, encoding, KEYS, 8)
    if rng.random() < 0.8:
        step = encoding.sequence(0x00400100, [_some(rng, encoding, STEP_KEYS, 6)], rng.random() < 0.5)
        nodes.append(step)
    if rng.random() < 0.3:
        nodes.append(_nested(rng, encoding, rng.choice((0x00081110, 0x00321064, 0x00401008)), KEYS, 3))
    nodes.sort(key=lambda node: node.kind)
    return nodes


PERFORMED = (
    (0x00080005, "CS"), (0x00080060, "CS"), (0x00100010, "PN"), (0x00100020, "LO"), (0x00100040, "CS"),
    (0x00400241, "AE"), (0x00400244, "DA"), (0x00400245, "TM"), (0x00400250, "DA"), (0x00400252, "CS"),
    (0x00400253, "SH"), (0x00400254, "LO"), (0x00400280, "ST"),
)  # fmt: skip


def performed_tree(rng: Random, transfer_syntax: str) -> list[Node]:
    """An N-CREATE or N-SET of a performed procedure step."""
    encoding = Encoding(transfer_syntax)
    nodes = _some(rng, encoding, PERFORMED, 12)
    if rng.random() < 0.8:
        items = [_some(rng, encoding, (*KEYS, *STEP_KEYS), 8) for _ in range(rng.choice((0, 1, 2)))]
        nodes.append(encoding.sequence(0x00400270, items, rng.random() < 0.5))
    for tag in rng.sample((0x00400281, 0x00400340, 0x00081032), rng.choice((0, 1, 2))):
        nodes.append(_nested(rng, encoding, tag, (*PERFORMED, *FILLING), 3))
    nodes.sort(key=lambda node: node.kind)
    return nodes


Tree = Callable[[Random, str], list[Node]]


def _deflate(data: bytes) -> bytes:
    engine = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = engine.compress(data) + engine.flush()
    return packed + b"\0" * (len(packed) % 2)


def _deep(encoding: Encoding, levels: int) -> Node:
    """Sequences inside each other."""
    node = encoding.element(0x00080050, "SH", b"1 ")
    for _ in range(levels):
        node = encoding.sequence(0x00081110, [[node]], True)
    return node


def _broken(rng: Random, nodes: list[Node], encoding: Encoding, deepest: int) -> tuple[bytes, bool]:
    """The bytes of a tree that was broken, and whether they are cut inside an element or nested too deeply."""
    way = rng.randrange(10)
    if way == 3 and rng.randrange(5) == 0:
        levels = rng.choice((deepest, deepest + 1, deepest + 2, 120))
        nodes.insert(0, _deep(encoding, levels))
        return encode(nodes), levels > deepest
    if way == 0:
        ends, whole = {0}, b""
        for node in nodes:
            whole += node.encode()
            ends.add(len(whole))
        stop = rng.randrange(len(whole) + 1)
        return whole[:stop], stop not in ends
    if way < 3:
        return havoc(rng, encode(nodes)), False
    mutate(rng, nodes, rng.choice((1, 1, 2, 3)))
    data = encode(nodes)
    return (havoc(rng, data) if way == 9 else data), False


def sample(rng: Random, number: int, syntaxes: tuple[str, ...] = SYNTAXES) -> Sample:
    """An object to store; one in eight is whole."""
    uid = f"2.999.14.{number}.{rng.getrandbits(40)}"
    return _sample(rng, rng.choice(syntaxes), uid, partial(object_tree, sop_class=CT, sop_instance=uid))


def query(rng: Random, syntaxes: tuple[str, ...] = (IMPLICIT_LE, EXPLICIT_LE)) -> Sample:
    """A worklist identifier; one in eight is whole."""
    return _sample(rng, rng.choice(syntaxes), "", identifier_tree)


def performed(rng: Random, syntaxes: tuple[str, ...] = (IMPLICIT_LE, EXPLICIT_LE)) -> Sample:
    """A data set of a performed procedure step; one in eight is whole."""
    return _sample(rng, rng.choice(syntaxes), "", performed_tree)


def _sample(rng: Random, syntax: str, uid: str, tree: Tree) -> Sample:
    nodes = tree(rng, syntax)
    whole = rng.randrange(8) == 0
    data, cut = (encode(nodes), False) if whole else _broken(rng, nodes, Encoding(syntax), 64 if uid else 8)
    if syntax in DEFLATED:
        data = _deflate(data)
        if not whole and rng.randrange(4) == 0:
            data, cut = havoc(rng, data), False
    return Sample(syntax, uid, data, whole, cut)
