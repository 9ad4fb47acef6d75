"""The DICOM file header around a data set (PS3.10 7.1): written and measured by us, read from files of others."""

from __future__ import annotations

import os
import stat
import struct
from pathlib import Path
from typing import NamedTuple

from broker.dicom import uids
from broker.errors import BadContent

FIRST = 4096  # bytes; nearly every header fits
MAX_META = 1024 * 1024  # bytes of file meta information; private ones may be long
_LONG = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
_UIDS = {0x0002: "SOP class", 0x0003: "SOP instance", 0x0010: "transfer syntax"}


class FileHeader(NamedTuple):
    """What a file says of its data set, and where that stands. Bytes."""

    sop_class: str
    sop_instance: str
    transfer_syntax: str
    offset: int
    length: int


def header(sop_class: str, sop_instance: str, transfer_syntax: str, source_ae: str) -> bytes:
    """Zeroed preamble, prefix and file meta information; the data set follows right behind."""
    body = b"".join(
        (
            struct.pack("<HH2sHI", 2, 1, b"OB", 0, 2) + b"\x00\x01",
            _text(2, "UI", sop_class),
            _text(3, "UI", sop_instance),
            _text(0x10, "UI", transfer_syntax),
            _text(0x12, "UI", uids.IMPLEMENTATION_CLASS),
            _text(0x13, "SH", uids.IMPLEMENTATION_VERSION),
            _text(0x16, "AE", source_ae),
        )
    )
    return bytes(128) + b"DICM" + struct.pack("<HH2sHI", 2, 0, b"UL", 4, len(body)) + body


def _text(element: int, vr: str, value: str) -> bytes:
    data = value.encode("ascii", "replace")
    if len(data) % 2:
        data += b"\0" if vr == "UI" else b" "
    return struct.pack("<HH2sH", 2, element, vr.encode("ascii"), len(data)) + data


def read(path: Path | str) -> FileHeader | None:
    """The header of a file; None for one that is no DICOM file (PS3.10 7.1: preamble and prefix).

    Reads at most MAX_META bytes whatever the file claims. Raises BadContent with the reason; OSError.
    """
    with open(path, "rb", buffering=0, opener=_open_at_once) as file:
        info = os.fstat(file.fileno())
        if not stat.S_ISREG(info.st_mode):
            return None
        head = file.read(FIRST)
        if head[128:132] != b"DICM":
            return None
        end = 0
        if head[132:140] == b"\x02\x00\x00\x00UL\x04\x00" and len(head) >= 144:
            end = 144 + int.from_bytes(head[140:144], "little")
        if len(head) == FIRST and (end > FIRST or not end):  # without a length the walk finds the end
            head += file.read(min(end or MAX_META, MAX_META) - FIRST)
    values, offset = _meta(head, end)
    for element, what in _UIDS.items():
        if not uids.is_uid(values.get(element, "")):
            raise BadContent(f"the file header has no usable {what}", code="file-header")
    if offset >= info.st_size:
        raise BadContent("the file ends with its header", code="file-header")
    return FileHeader(values[0x0002], values[0x0003], values[0x0010], offset, info.st_size - offset)


def _open_at_once(path: str, flags: int) -> int:
    """A named pipe must not make us wait for its writer."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _meta(head: bytes, end: int) -> tuple[dict[int, str], int]:
    """UIDs of group 0002 by element, and where the group ends; `end` is where it should, 0 for unknown.

    Group lengths in files are sometimes wrong, so the walk decides; but deflated bytes may look like group 0002.
    """
    values: dict[int, str] = {}
    position = 132
    while head[position : position + 2] == b"\x02\x00":
        if position == end and values.get(0x0010) in uids.DEFLATED_SYNTAXES:
            break
        if position + 12 > len(head):
            raise BadContent("the file header is cut off or too long", code="file-header")
        _, element, vr, length = struct.unpack_from("<HH2sH", head, position)
        start = position + 8
        if vr in _LONG:
            length, start = int.from_bytes(head[start : start + 4], "little"), start + 4
        position = start + length
        if position > len(head):
            raise BadContent("the file header is cut off or too long", code="file-header")
        if element in _UIDS:
            values[element] = head[start:position].rstrip(b"\0 ").decode("ascii", "replace")
    return values, position
