"""Reads the text form of data sets that DCMTK's dcmdump writes and dump2dcm reads. Bounded; values stay as they are.

One element a line: `(0010,0010) PN [DOE^JOHN]  # 8, 1 PatientName`; brackets and comment may be missing. Items of a
sequence stand between `(fffe,e000)` and `(fffe,e00d)`, the sequence ends with `(fffe,e0dd)`. Of an element that stands
twice the first counts, as for dump2dcm.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from broker.dicom.dataset.charset import DEFAULT, LATIN_1, Charset, lookup
from broker.dicom.dataset.encoding import ITEM, ITEM_END, SEQUENCE_END, SPECIFIC_CHARACTER_SET, TEXT_VRS
from broker.dicom.dataset.read import MAX_DEPTH, MAX_ELEMENTS, Element
from broker.errors import BadContent

_LINE = re.compile(rb"\s*\(\s*([0-9a-fA-F]{4})\s*,\s*([0-9a-fA-F]{4})\s*\)\s*([A-Za-z?-]{0,2})(.*)", re.DOTALL)

Elements = dict[int, Element]


def looks_like(data: bytes) -> bool:
    """True if the first line that says something is one of a dump."""
    for line in data[:4096].splitlines():
        if line.strip() and not line.lstrip().startswith(b"#"):
            return _LINE.match(line) is not None
    return False


def read(data: bytes) -> Elements:
    """The elements of a dump by tag. Raises BadContent with the line."""
    return _Reader(data).elements(0, None)


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._lines = enumerate(data.splitlines(), 1)
        self._number = 0
        self._count = 0
        self._charset: Charset | None = None  # that of the file, once it is known

    def _bad(self, text: str) -> BadContent:
        return BadContent(f"line {self._number}: {text}", code="dump")

    def _next(self) -> Iterator[tuple[int, str, bytes]]:
        """Tag, VR and what follows, of each line that has them."""
        for number, line in self._lines:
            self._number = number
            if not line.strip() or line.lstrip().startswith(b"#"):
                continue
            found = _LINE.match(line)
            if found is None:
                raise self._bad("not of the form (gggg,eeee) VR value")
            self._count += 1
            if self._count > MAX_ELEMENTS:
                raise self._bad(f"more than {MAX_ELEMENTS} elements")
            yield int(found[1] + found[2], 16), found[3].decode("ascii").upper(), found[4].strip()

    def elements(self, depth: int, end: int | None) -> Elements:
        """Elements up to the delimiter `end`, None: to the end of the file."""
        found: Elements = {}
        for tag, vr, rest in self._next():
            if tag in {ITEM_END, SEQUENCE_END, ITEM}:
                if tag != end:
                    raise self._bad("no item of a sequence can stand or end here")
                return found
            if vr == "SQ":
                found.setdefault(tag, Element(tag, vr, "", tuple(self._items(depth + 1))))
                continue
            value = self._value(rest)
            if tag == SPECIFIC_CHARACTER_SET:
                self._charset = lookup(value.decode("latin_1").split("\\")) or LATIN_1
            found.setdefault(tag, Element(tag, vr, self._decoded(vr, value)))
        if end is not None:
            raise self._bad("a sequence does not end")
        return found

    def _items(self, depth: int) -> Iterator[Elements]:
        if depth > MAX_DEPTH:
            raise self._bad(f"nested deeper than {MAX_DEPTH}")
        for tag, _, _ in self._next():
            if tag == SEQUENCE_END:
                return
            if tag != ITEM:
                raise self._bad("an item of the sequence is expected")
            yield self.elements(depth, ITEM_END)
        raise self._bad("a sequence does not end")

    def _value(self, rest: bytes) -> bytes:
        """The value of an element: in brackets, bare, or none."""
        if rest.startswith(b"["):
            close = rest.rfind(b"]")
            if close < 0:
                raise self._bad("the value is cut off or goes over several lines (dcmdump +L writes whole ones)")
            return rest[1:close]
        if rest.startswith((b"(", b"=")):  # (no value available), =NameOfAUID
            return b""
        return rest.partition(b"#")[0].rstrip()

    def _decoded(self, vr: str, value: bytes) -> str:
        if vr not in TEXT_VRS:
            return value.decode("latin_1")
        if self._charset is None:  # none is named: what an editor wrote
            try:
                return value.decode("utf-8")
            except UnicodeDecodeError:
                return DEFAULT.decode(value)
        return self._charset.decode(value, name=vr == "PN")
