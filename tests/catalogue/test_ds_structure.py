"""DS-01 to DS-05: data sets whose lengths, nesting and delimiters lie. They are refused, never stored as good.

The walk that finds it is tested closer in `tests/unit/test_dicom_elements.py`; here it stands behind the door.
"""

from __future__ import annotations

import struct
import threading
import time
from functools import cache

import pytest
from support.dicom.elements import (
    ITEM_END,
    SEQUENCE_END,
    UNDEFINED,
    deflated,
    explicit,
    implicit,
    item,
    nested,
    sequence,
    thing,
)
from support.dicom.objects import SAMPLES, Encoded, ct_slice, from_sample
from support.dicom.raw import CT, DEFLATED, IMPLICIT
from support.loops import SOON
from support.scale import scaled
from support.service.abuse import MIB, State, echo_time
from support.service.forwarding import Archive

ID = explicit(0x00100020, b"LO", b"CANARY")
PIXELS = 0x7FE00010


@pytest.mark.parametrize("vr", [b"OW", b"OB"])
@pytest.mark.parametrize("there", [10, 998])
def test_ds01_pixel_data_shorter_than_it_says(archive: Archive, vr: bytes, there: int) -> None:
    archive.refuses(thing(ID, explicit(PIXELS, vr, bytes(there), length=1000)))
    whole = ct_slice(3_000_000)
    archive.refuses(Encoded(CT, whole.sop_instance, whole.transfer_syntax, whole.data[:-100]))
    archive.passes(whole)  # welcome afterwards


def test_ds01_a_truncated_sample(archive: Archive) -> None:
    damaged = from_sample(SAMPLES / "MR_truncated.dcm")
    assert damaged is not None
    archive.refuses(damaged)


@pytest.mark.parametrize("length", [0x7FFFFFF0, 0xFFFFFFFE, 0x80000000, 0x10000])
def test_ds02_lengths_beyond_the_data(archive: Archive, length: int) -> None:
    archive.refuses(thing(explicit(0x00091001, b"UN", b"ab", length=length)))
    archive.refuses(thing(sequence(item(explicit(0x00091001, b"UT", b"ab", length=length)))))
    plain = thing()
    fields = struct.pack("<HHI", 0x0009, 0x1001, length) + b"ab"
    data = implicit(0x00080016, CT.encode() + b"\0") + implicit(0x00080018, plain.sop_instance.encode()) + fields
    archive.refuses(Encoded(CT, plain.sop_instance, IMPLICIT, data))


def test_ds02_a_sequence_of_defined_length_is_bounded_by_that_and_not_entered(archive: Archive) -> None:
    """What is inside cannot reach beyond it, and is forwarded as it came."""
    archive.passes(thing(explicit(0x00400275, b"SQ", implicit(0xFFFEE000, b"ab", 0x7FFFFFF0)), ID))
    archive.refuses(thing(explicit(0x00400275, b"SQ", implicit(0xFFFEE000, b"ab"), length=12), b"x"))


@pytest.mark.parametrize("levels", [65, 300, 5000, scaled(20_000, 500_000)])
@pytest.mark.parametrize("vr", [True, False])
def test_ds03_nesting_beyond_64_is_refused(archive: Archive, levels: int, vr: bool) -> None:
    inner = nested(levels) if vr else explicit(0x00400275, b"UN", b"", UNDEFINED) + implicit(
        0xFFFEE000, b"", UNDEFINED
    ) + nested(levels, vr=False) + ITEM_END + SEQUENCE_END  # fmt: skip
    started = time.monotonic()
    archive.refuses(thing(ID, inner))
    assert time.monotonic() - started < SOON


def test_ds03_nesting_of_64_passes(archive: Archive) -> None:
    archive.passes(thing(ID, nested(64)))


@cache
def bomb(plain: int, fill: bytes = b"\0") -> Encoded:
    """A deflated object that inflates to `plain` bytes of pixel data."""
    head, block = thing(ID, explicit(PIXELS, b"OB", b"", length=plain)), fill * (MIB // len(fill))
    return Encoded(CT, head.sop_instance, DEFLATED, deflated(head.data, *[block] * (plain // MIB)))


@pytest.mark.parametrize("size", [64, 1024])
def test_ds04_a_deflated_bomb_is_refused_before_it_unfolds(archive: Archive, size: int) -> None:
    """63 KB that become 64 MiB, 1 MB that become 1 GiB. The cap is 256 MiB, and a thousand times what was sent."""
    packed = bomb(size * MIB)
    assert len(packed.data) < size * 1100
    before, most, over = State.of(archive.site), [0], threading.Event()

    def watch() -> None:
        while not over.wait(0.01):
            most[0] = max(most[0], before.growth())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        started = time.monotonic()
        archive.refuses(packed)
        assert time.monotonic() - started < 10
    finally:
        over.set()
        watcher.join()
    assert most[0] < (size + 32) * MIB if size < 256 else most[0] < 320 * MIB


def test_ds04_several_bombs_at_once_unfold_one_after_the_other(archive: Archive) -> None:
    packed = bomb(1024 * MIB)
    before, most = State.of(archive.site), 0
    crowd = [threading.Thread(target=archive.refuses, args=(packed,)) for _ in range(4)]
    for each in crowd:
        each.start()
    slowest = 0.0
    while any(each.is_alive() for each in crowd):
        slowest = max(slowest, echo_time(archive.site.dicom))
        most = max(most, before.growth())
    assert most < 320 * MIB
    assert slowest < 2


def test_ds04_an_honest_deflated_object_passes(archive: Archive) -> None:
    archive.passes(bomb(3 * MIB, fill=bytes(range(256))))


OPEN_ITEM = implicit(0xFFFEE000, b"", UNDEFINED)
OPEN_SEQUENCE = explicit(0x00400275, b"SQ", b"", UNDEFINED)
OPEN_PIXELS = explicit(PIXELS, b"OB", b"", UNDEFINED)
BAD = {
    "item never closed": OPEN_SEQUENCE + OPEN_ITEM + ID,
    "sequence never closed": OPEN_SEQUENCE + item(ID),
    "pixel data never closed": OPEN_PIXELS + implicit(0xFFFEE000, b"") + implicit(0xFFFEE000, b"abcd"),
    "fragment of undefined length": OPEN_PIXELS + OPEN_ITEM + ITEM_END + SEQUENCE_END,
    "fragment too long": OPEN_PIXELS + implicit(0xFFFEE000, b"xx", 100) + SEQUENCE_END,
    "no item in a sequence": OPEN_SEQUENCE + ID + SEQUENCE_END,
    "item end outside": ID + ITEM_END,
    "sequence end outside": ID + SEQUENCE_END,
    "item outside": ID + item(ID),
    "item in a text": explicit(0x00091001, b"UT", b"", UNDEFINED) + item(ID) + SEQUENCE_END,
    "sequence end in an item": sequence(item(ID + SEQUENCE_END)),
    "no VR": ID + b"\x10\0\x30\0\0\0\0\0",
    "half a header": ID + b"\x10\0\x30",
}


@pytest.mark.parametrize("kind", BAD)
def test_ds05_delimiters_that_are_missing_or_out_of_place(archive: Archive, kind: str) -> None:
    archive.refuses(thing(ID, BAD[kind]))
