"""The DICOM file header around a received data set (PS3.10 7.1), written and measured by us."""

from __future__ import annotations

import struct

from broker.dicom import uids


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
