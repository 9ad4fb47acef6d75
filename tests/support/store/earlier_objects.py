"""The values in rows of an earlier database that are no literals: moments, and the data sets of objects."""

from __future__ import annotations

import struct
from dataclasses import dataclass

CT = "1.2.840.10008.5.1.4.1.1.2"


@dataclass(frozen=True, slots=True)
class At:
    """A moment, in seconds after the start of the recording."""

    seconds: float


def _element(group: int, number: int, vr: str, value: bytes) -> bytes:
    value += (b"\0" if vr in {"UI", "OW"} else b" ") * (len(value) % 2)
    length = struct.pack("<HI", 0, len(value)) if vr == "OW" else struct.pack("<H", len(value))
    return struct.pack("<HH", group, number) + vr.encode() + length + value


def data_set(number: int, size: int, modality: str) -> bytes:
    """The data set of object `number` with `size` bytes of pixel data, Explicit VR Little Endian."""
    texts = (
        (0x0008, 0x0005, "CS", "ISO_IR 192"),
        (0x0008, 0x0016, "UI", CT),
        (0x0008, 0x0018, "UI", f"2.999.7.1.1.{number}"),
        (0x0008, 0x0020, "DA", "20300312"),
        (0x0008, 0x0050, "SH", "A1"),
        (0x0008, 0x0060, "CS", modality),
        (0x0010, 0x0010, "PN", "Müller^Käthe"),
        (0x0010, 0x0020, "LO", "QZPAT1"),
        (0x0020, 0x000D, "UI", "2.999.7.1"),
        (0x0020, 0x000E, "UI", "2.999.7.1.1"),
    )
    elements = [_element(group, element, vr, value.encode()) for group, element, vr, value in texts]
    return b"".join((*elements, _element(0x7FE0, 0x0010, "OW", bytes(size))))
