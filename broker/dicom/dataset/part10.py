"""Writes the DICOM file header around a data set, and reads it from files of others (PS3.10 7.1)."""

from __future__ import annotations

import ipaddress
import os
import re
import stat
import struct
from pathlib import Path
from typing import BinaryIO, NamedTuple

from broker.dicom import uids
from broker.dicom.dataset.encoding import LONG, element
from broker.errors import BadContent

FIRST = 4096  # bytes; nearly every header fits
MAX_META = 1024 * 1024  # bytes of file meta information; private ones may be long
_BARE_META = re.compile(rb"\x02\x00..[A-Z]{2}", re.DOTALL)
_UIDS = {0x0002: "SOP class", 0x0003: "SOP instance", 0x0010: "transfer syntax"}
_SOURCE, _RECEIVER, _ADDRESS = 0x0016, 0x0018, 0x0026
_NOTED = frozenset({*_UIDS, _SOURCE, _RECEIVER, _ADDRESS})
_SCHEME = "dicom://"  # of an address (PS3.10 7.1.1)


class FileHeader(NamedTuple):
    """What a file says of its data set, and where that stands. Bytes.

    Who sent it to whom, and from where, is empty if the file does not say so.
    """

    sop_class: str
    sop_instance: str
    transfer_syntax: str
    offset: int
    length: int
    source_ae: str = ""
    receiving_ae: str = ""
    source_address: str = ""


def header(
    sop_class: str,
    sop_instance: str,
    transfer_syntax: str,
    source_ae: str,
    receiving_ae: str = "",
    source_address: str = "",
) -> bytes:
    """Zeroed preamble, prefix and file meta information; the data set follows right behind."""
    more = b""
    if receiving_ae:
        more += _meta_element(_RECEIVER, b"AE", receiving_ae.encode("ascii", "replace"))
    if source_address:
        host = f"[{source_address}]" if ":" in source_address else source_address
        more += _meta_element(_ADDRESS, b"UR", f"{_SCHEME}{host}".encode("ascii", "replace"))
    body = b"".join(
        (
            _meta_element(1, b"OB", b"\x00\x01"),
            _meta_element(2, b"UI", sop_class.encode("ascii", "replace")),
            _meta_element(3, b"UI", sop_instance.encode("ascii", "replace")),
            _meta_element(0x10, b"UI", transfer_syntax.encode("ascii", "replace")),
            _meta_element(0x12, b"UI", uids.IMPLEMENTATION_CLASS.encode("ascii")),
            _meta_element(0x13, b"SH", uids.IMPLEMENTATION_VERSION.encode("ascii")),
            _meta_element(_SOURCE, b"AE", source_ae.encode("ascii", "replace")),
            more,
        )
    )
    return bytes(128) + b"DICM" + _meta_element(0, b"UL", struct.pack("<I", len(body))) + body


def _meta_element(number: int, vr: bytes, value: bytes) -> bytes:
    return element(2 << 16 | number, vr, value, implicit=False)


def read(path: Path | str, *, instance: bool = True) -> FileHeader | None:
    """The header of a file; None for one that is no DICOM file (PS3.10 7.1: preamble and prefix).

    A file that is no SOP `instance` needs the transfer syntax alone, and no preamble before its meta information.
    Reads at most MAX_META bytes whatever the file claims. Raises BadContent with the reason; OSError.
    """
    with open(path, "rb", buffering=0, opener=_open_at_once) as file:
        return read_open(file, instance=instance)


def read_open(file: BinaryIO, *, instance: bool = True) -> FileHeader | None:
    """As `read`, of a file that is open and stands at its beginning. Raises BadContent, OSError."""
    info = os.fstat(file.fileno())
    if not stat.S_ISREG(info.st_mode):
        return None
    head = file.read(FIRST)
    begin = 132
    if head[128:132] != b"DICM":
        if instance or not _BARE_META.match(head):
            return None
        begin = 0
    end = 0
    if head[begin : begin + 8] == b"\x02\x00\x00\x00UL\x04\x00" and len(head) >= begin + 12:
        end = begin + 12 + int.from_bytes(head[begin + 8 : begin + 12], "little")
    if len(head) == FIRST and (end > FIRST or not end):  # without a length the walk finds the end
        head += file.read(min(end or MAX_META, MAX_META) - FIRST)
    values, offset = _meta(head, begin, end)
    for number, name in _UIDS.items():
        if (instance or number == 0x0010) and not uids.is_uid(values.get(number, "")):
            raise BadContent(f"the file header has no usable {name}", code="file-header")
    if offset >= info.st_size:
        raise BadContent("the file ends with its header", code="file-header")
    return FileHeader(
        values.get(0x0002, ""),
        values.get(0x0003, ""),
        values[0x0010],
        offset,
        info.st_size - offset,
        _title(values.get(_SOURCE, "")),
        _title(values.get(_RECEIVER, "")),
        _host(values.get(_ADDRESS, "")),
    )


def _title(text: str) -> str:
    """An AE title (PS3.5 6.2: up to 16 characters without backslash and control characters), or nothing."""
    title = text.strip(" ")
    return title if len(title) <= 16 and title.isascii() and title.isprintable() and "\\" not in title else ""


def _host(text: str) -> str:
    """The numeric address in a Presentation Address as `header` writes it, or nothing."""
    host = text.removeprefix(_SCHEME).strip("[]")
    try:
        return str(ipaddress.ip_address(host)) if text.startswith(_SCHEME) else ""
    except ValueError:
        return ""


def _open_at_once(path: str, flags: int) -> int:
    """A named pipe must not make us wait for its writer."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _meta(head: bytes, begin: int, end: int) -> tuple[dict[int, str], int]:
    """What is noted of group 0002 by element, and where the group ends; `end` is where it should, 0 for unknown.

    Group lengths in files are sometimes wrong, so the walk decides; but deflated bytes may look like group 0002.
    """
    values: dict[int, str] = {}
    position = begin
    while head[position : position + 2] == b"\x02\x00":
        if position == end and values.get(0x0010) in uids.DEFLATED_SYNTAXES:
            break
        if position + 12 > len(head):
            raise BadContent("the file header is cut off or too long", code="file-header")
        _, number, vr, length = struct.unpack_from("<HH2sH", head, position)
        start = position + 8
        if vr in LONG:
            length, start = int.from_bytes(head[start : start + 4], "little"), start + 4
        position = start + length
        if position > len(head):
            raise BadContent("the file header is cut off or too long", code="file-header")
        if number in _NOTED:
            values[number] = head[start:position].rstrip(b"\0 ").decode("ascii", "replace")
    return values, position
