"""DS-06 to DS-11: data sets that are odd but whole. They are kept and forwarded byte by byte; nothing chokes."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import httpx
import pytest
from support.dicom import raw as wire
from support.dicom.elements import SEQUENCE_END, UNDEFINED, explicit, implicit, item, thing
from support.dicom.objects import Encoded
from support.dicom.raw import CT, RawScu
from support.scale import scaled
from support.service.abuse import MIB, State, echo_time
from support.service.forwarding import Archive
from support.store.spool import spool_files

JPEG = "1.2.840.10008.1.2.4.50"
PIXELS = 0x7FE00010


def patient(name: bytes, charset: bytes = b"") -> bytes:
    """Specific Character Set and Patient's Name."""
    first = explicit(0x00080005, b"CS", charset + b" " * (len(charset) % 2)) if charset else b""
    return first + explicit(0x00100010, b"PN", name + b" " * (len(name) % 2))


# --- DS-06, DS-07 ----------------------------------------------------------------------------------------

ODD = {
    "repeated tags": explicit(0x00100020, b"LO", b"1 ") + explicit(0x00100020, b"LO", b"2 "),
    "unsorted": explicit(0x00200013, b"IS", b"1 ") + explicit(0x00100020, b"LO", b"1 "),
    "group length wrong": explicit(0x00100000, b"UL", b"\xff\xff\0\0") + explicit(0x00100020, b"LO", b"1 "),
    "odd length": explicit(0x00100020, b"LO", b"123") + explicit(0x00100030, b"DA", b"2030010"),
    "padding": explicit(0xFFFCFFFC, b"OB", bytes(100)),
    "wrong VR": explicit(0x00100020, b"DS", b"abc ") + explicit(0x00280010, b"LO", b"many"),
}  # fmt: skip


@pytest.mark.parametrize("kind", ODD)
def test_ds06_odd_order_is_kept_as_it_came(archive: Archive, kind: str) -> None:
    archive.passes(thing(ODD[kind]))


def test_ds06_file_meta_elements_inside_a_data_set_are_kept_as_they_came(archive: Archive) -> None:
    """A file written as it is into the network. It is no meta information here, and lends no identity."""
    meta = explicit(0x00020000, b"UL", b"\xff\0\0\0") + explicit(0x00020010, b"UI", b"1.2.840.10008.1.2\0")
    archive.passes(thing(first=meta))
    archive.passes(thing(meta))


def test_ds06_the_same_bytes_again_are_no_new_work(archive: Archive) -> None:
    odd = thing(*ODD.values())
    archive.passes(odd)
    archive.passes(odd)
    rows = archive.site.rows("select count(*) from instance where sop_instance_uid = ?", odd.sop_instance)
    assert rows == [(1,)]


def test_ds07_private_sequences_under_an_unknown_vr_pass_untouched(archive: Archive) -> None:
    inner = explicit(0x00091002, b"UN", b"\1\2\3\4")[:0] + implicit(0x00091003, b"abcd")
    for _ in range(20):
        inner = implicit(0x00091002, b"", UNDEFINED) + item(inner) + SEQUENCE_END
    unknown = explicit(0x00091001, b"UN", b"", UNDEFINED) + item(inner) + SEQUENCE_END
    defined = explicit(0x00091010, b"UN", implicit(0xFFFEE000, inner))
    archive.passes(thing(explicit(0x00090010, b"LO", b"PRIVATE "), unknown, defined))


# --- DS-08, DS-09 ----------------------------------------------------------------------------------------

TEXTS = {
    "unknown set": (b"ISO_IR 999", b"Canary^\xe4\xf6"),
    "no such thing": (b"utf-8; drop", b"Canary^\xe4\xf6"),
    "name of a codec": (b"zlib_codec", b"Canary^\xe4\xf6"),
    "Japanese, bad escapes": (b"ISO 2022 IR 6\\ISO 2022 IR 87", b"Yamada^\x1b$B;3ED\x1b(\x1b$\x1b(ZZ\x1b"),
    "Korean, cut": (b"\\ISO 2022 IR 149", b"Hong^\x1b$)C\xfb"),
    "UTF-8, invalid": (b"ISO_IR 192", b"Canary^\xff\xfe\xc3\x28\xed\xa0\x80"),
    "GB18030, cut": (b"GB18030", b"Wang^\x81\x30\x81"),
    "100 sets": (b"\\".join([b"ISO 2022 IR 87"] * 100), b"Canary^\x1b$B;3"),
    "not declared": (b"", b"Canary^K\xe4the"),
    "control characters": (b"ISO_IR 100", b"Can\0ary^\x1b[31m\r\n\x07"),
}


@pytest.mark.parametrize("kind", TEXTS)
def test_ds08_text_that_cannot_be_decoded_is_forwarded_as_it_came(archive: Archive, kind: str) -> None:
    charset, name = TEXTS[kind]
    comments = explicit(0x00104000, b"LT", name + b" " * (len(name) % 2))
    archive.passes(thing(patient(name, charset), comments))
    assert archive.site.asked("/").status_code == 200


VALUES = [
    (0x00080020, b"DA", b"../../x "), (0x00080020, b"DA", b"99999999"), (0x00200013, b"IS", b"1e999999"),
    (0x00200013, b"IS", b"9" * 4000), (0x00180050, b"DS", b"NaN "), (0x00180050, b"DS", b"-Infinity "),
    (0x00180050, b"DS", b"1e9999"), (0x00180050, b"DS", b"1_000 "), (0x00080030, b"TM", b"256199"),
    (0x00080030, b"TM", b"\xff\xff"), (0x00280010, b"US", b"\1"), (0x00280010, b"US", b""),
    (0x0020000D, b"UI", b"../../etc/passwd"), (0x0020000D, b"UI", b"1." * 500), (0x00080060, b"CS", b"\0\0"),
    (0x00101010, b"AS", b"-01Y"), (0x00080005, b"CS", b"\\\\\\\\"), (0x00081190, b"UR", b"javascript:alert(1)"),
]  # fmt: skip


@pytest.mark.parametrize(("tag", "vr", "value"), VALUES)
def test_ds09_values_that_cannot_be_are_forwarded_as_they_came(
    archive: Archive, tag: int, vr: bytes, value: bytes
) -> None:
    """To the rules such a field is invalid, that is unknown: no rule matches by it, and no exception comes of it."""
    even = [explicit(0x00104000, b"LT", b"y")] * (len(value) % 2)  # an odd number of bytes in all is refused
    odd = thing(explicit(tag, vr, value), *even)
    archive.passes(odd)
    rows = archive.site.rows("select state from instance where sop_instance_uid = ?", odd.sop_instance)
    assert rows == [("routed",)]
    assert archive.site.rows("select count(*) from job where lane = 'deliver:wrong'") == [(0,)]


# --- DS-10 -----------------------------------------------------------------------------------------------


def test_ds10_a_name_of_100_kb_passes(archive: Archive) -> None:
    """Longer than its VR allows, and longer than a short length can say; kept, and of no use to rules."""
    long = explicit(0x00100010, b"UT", b"Canary^" + b"x" * 100_001)
    archive.passes(thing(long))
    archive.passes(thing(explicit(0x00100010, b"PN", b"Canary^" + b"x" * 60_001)))


def test_ds10_a_million_elements_pass_while_others_are_served(archive: Archive) -> None:
    count = scaled(300_000, 1_000_000)
    many = thing(explicit(0x00091001, b"SH", b"") * count)
    before, times = State.of(archive.site), []
    sending = threading.Thread(target=archive.passes, args=(many,))
    sending.start()
    while sending.is_alive():
        times.append(echo_time(archive.site.dicom))
        sending.join(0.02)
    assert max(times) < 1
    assert before.growth() < 64 * MIB
    assert archive.site.rows("select state from instance where sop_instance_uid = ?", many.sop_instance) == [
        ("routed",)
    ]


def test_ds10_more_elements_than_anything_has_are_refused(archive: Archive) -> None:
    count = 5_000_001
    started = time.monotonic()
    archive.refuses(thing(explicit(0x00091001, b"SH", b"") * count))
    assert time.monotonic() - started < 60


def test_ds10_50_000_frames_stream_through(archive: Archive) -> None:
    """Of 1 KiB each here and 84 KiB in full (4 GB); in and out, with memory flat."""
    frames, size = 50_000, scaled(1024, 84 * 1024)
    frame = implicit(0xFFFEE000, os.urandom(size))
    site = archive.site
    head = thing(explicit(0x00280008, b"IS", b"50000 "), explicit(PIXELS, b"OB", b"", UNDEFINED), syntax=JPEG)
    before, most, over = State.of(site), [0], threading.Event()

    def watch() -> None:
        while not over.wait(0.05):
            most[0] = max(most[0], before.growth())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        with RawScu(site.dicom, timeout=600) as modality:
            assert modality.associate([(CT, JPEG)])[0] == 2
            modality.send(wire.p_data(1, wire.c_store_rq(CT, head.sop_instance), is_command=True))
            modality.send(wire.p_data(1, head.data + implicit(0xFFFEE000, b""), is_command=False, last=False))
            part = wire.p_data(1, frame, is_command=False, last=False)
            for _ in range(frames):
                assert modality.send(part)
            modality.send(wire.p_data(1, SEQUENCE_END, is_command=False))
            assert modality.status() == 0
    finally:
        over.set()
        watcher.join()
    assert most[0] < 200 * MIB
    assert site.rows("select data_length from instance where sop_instance_uid = ?", head.sop_instance) == [
        (len(head.data) + 8 + frames * len(frame) + 8,)
    ]


# --- DS-11 -----------------------------------------------------------------------------------------------

EXECUTABLE = {
    "PE": b"MZ\x90\0" + bytes(56) + b"\x80\0\0\0" + b"PE\0\0", "ELF": b"\x7fELF\2\1\1" + bytes(57),
    "HTML": b"<html><script>alert(1)</script></html>", "script": b"#!/bin/sh\nid\n",
}  # fmt: skip


@pytest.mark.parametrize("kind", EXECUTABLE)
def test_ds11_no_file_of_ours_begins_with_what_a_peer_sent(archive: Archive, kind: str) -> None:
    """A C-STORE carries no preamble: ours is zeros. A peer that sends a whole file instead of its data set is refused,
    with all that its preamble holds; inside a value it is bytes like any others. Nothing is served by the web."""
    words = EXECUTABLE[kind].ljust(128, b"\0")
    inside = thing(explicit(0x00091001, b"OB", words * 400))
    archive.passes(inside)
    whole = Encoded(inside.sop_class, thing().sop_instance, inside.transfer_syntax, words + b"DICM" + inside.data)
    assert archive.store(whole) in (0xC000, 0xA900)
    site = archive.site
    for file in spool_files(site.data / "spool"):
        with file.open("rb") as opened:
            assert opened.read(132) == bytes(128) + b"DICM"
    kept = Path(site.rows("select path from instance where sop_instance_uid = ?", inside.sop_instance)[0][0])
    for path in (f"/{kept}", f"/spool/{kept}", f"/../spool/{kept}"):
        for answer, allowed in (
            (httpx.get(site.web + path, timeout=20), (303, 400, 401)),  # a stranger may only sign in
            (site.asked(path), (400, 404)),
        ):
            assert answer.status_code in allowed
            assert EXECUTABLE[kind] not in answer.content
