"""The walk over an encoded data set: what is whole passes, what is not is refused in bounded time."""

from __future__ import annotations

import functools
import struct
import time
import tracemalloc
import zlib
from collections.abc import Container
from contextlib import suppress

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.sequence import Sequence
from support.dicom.elements import ITEM_END, SEQUENCE_END, UNDEFINED, explicit, implicit, item, nested, sequence
from support.dicom.objects import SAMPLES, encode

from broker.dicom import uids
from broker.dicom.dataset import scan as scan_module
from broker.dicom.dataset.scan import scan
from broker.errors import BadContent

JPEG = "1.2.840.10008.1.2.4.50"


class Everything(Container[int]):
    def __contains__(self, tag: object) -> bool:
        return True


EVERYTHING = Everything()


ID = explicit(0x00100020, b"LO", b"12345 ")


def refused(data: bytes, syntax: str = uids.EXPLICIT_LE) -> str:
    with pytest.raises(BadContent) as caught:
        scan(data, syntax, EVERYTHING)
    return caught.value.code


# --- what is whole ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("syntax", [uids.EXPLICIT_LE, uids.IMPLICIT_LE, uids.EXPLICIT_BE, uids.DEFLATED, JPEG])
def test_elements_are_found_in_every_encoding(syntax: str) -> None:
    ds = Dataset()
    ds.SOPClassUID = ds.SOPInstanceUID = "1.2.3"
    ds.PatientID, ds.Rows = "12345", 258
    ds.RequestAttributesSequence = Sequence([Dataset()])
    ds.RequestAttributesSequence[0].AccessionNumber = "INNER"
    buffer = DicomBytesIO()
    buffer.is_little_endian = syntax != uids.EXPLICIT_BE
    buffer.is_implicit_VR = syntax == uids.IMPLICIT_LE
    pydicom.filewriter.write_dataset(buffer, ds)
    data = buffer.getvalue()
    if syntax == uids.DEFLATED:
        engine = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        data = engine.compress(data) + engine.flush()
    found = scan(data, syntax, EVERYTHING)
    assert found.elements[0x00100020].value.rstrip() == b"12345"
    assert found.elements[0x00100020].vr == ("" if syntax == uids.IMPLICIT_LE else "LO")
    assert found.elements[0x00280010].value == (b"\x01\x02" if syntax == uids.EXPLICIT_BE else b"\x02\x01")
    assert found.big_endian is (syntax == uids.EXPLICIT_BE)
    assert 0x00080050 not in found.elements


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")  # the samples are odd on purpose
def test_pydicoms_samples_are_read_like_pydicom_reads_them() -> None:
    damaged, wrong = [], []
    for path in sorted(SAMPLES.glob("*.dcm")):
        raw = path.read_bytes()
        if raw[128:140] != b"DICM\x02\0\0\0UL\x04\0":
            continue  # no file meta information: not what an association carries
        ds = pydicom.dcmread(path, stop_before_pixels=True)
        if "TransferSyntaxUID" not in ds.file_meta:
            continue
        data = raw[144 + struct.unpack("<I", raw[140:144])[0] :]
        try:
            found = scan(data, str(ds.file_meta.TransferSyntaxUID), EVERYTHING).elements
        except BadContent:
            damaged.append(path.name)
            continue
        for keyword, tag in (("SOPInstanceUID", 0x00080018), ("StudyInstanceUID", 0x0020000D)):
            value = found[tag].value.rstrip(b"\0 ").decode() if tag in found else ""
            if value != str(ds.get(keyword) or ""):
                wrong.append((path.name, keyword))
    assert wrong == []
    assert damaged == ["MR_truncated.dcm", "rtplan_truncated.dcm"]


def test_only_wanted_elements_are_kept() -> None:
    data = encode(_dataset(PatientID="1", AccessionNumber="A", StudyDescription="x")).data
    assert set(scan(data, uids.EXPLICIT_LE, {0x00100020}).elements) == {0x00100020}


def test_long_values_are_not_kept() -> None:
    limit = scan_module.MAX_NOTED
    data = explicit(0x00100010, b"UT", bytes(limit)) + explicit(0x00100020, b"UT", bytes(limit + 2))
    assert set(scan(data, uids.EXPLICIT_LE, EVERYTHING).elements) == {0x00100010}


def test_unwanted_elements_cost_no_memory() -> None:
    """A data set of many values below the limit must not be copied into memory (2 GB of them would be)."""
    data = b"".join(explicit(0x00090000 + n, b"UT", bytes(16_000)) for n in range(1000))
    tracemalloc.start()
    try:
        scan(data, uids.EXPLICIT_LE, {0x00100020})
        assert tracemalloc.get_traced_memory()[1] < 500_000
    finally:
        tracemalloc.stop()


def test_ds06_odd_order_and_repeated_tags() -> None:
    late = explicit(0x00100010, b"PN", b"A ") + explicit(0x00080018, b"UI", b"1.2\0")
    assert scan(late, uids.EXPLICIT_LE, EVERYTHING).elements[0x00080018].value == b"1.2\0"
    twice = explicit(0x00080018, b"UI", b"1.2\0") + explicit(0x00080018, b"UI", b"1.3\0")
    assert scan(twice, uids.EXPLICIT_LE, EVERYTHING).elements[0x00080018].value == b"1.2\0"
    group = explicit(0x00080000, b"UL", b"\xff\xff\xff\xff") + ID
    assert 0x00100020 in scan(group, uids.EXPLICIT_LE, EVERYTHING).elements


def test_an_implicit_data_set_under_an_explicit_name_is_understood() -> None:
    data = implicit(0x00080018, b"1.2\0") + implicit(0x00100020, b"1 ")
    assert scan(data, uids.EXPLICIT_LE, EVERYTHING).elements[0x00100020].value == b"1 "


def test_empty_sequences_items_and_values() -> None:
    data = (
        explicit(0x00080050, b"SH", b"") + explicit(0x00081110, b"SQ", b"") + sequence(b"") + sequence(item(b""))
        + explicit(0x00400276, b"SQ", implicit(0xFFFEE000, b""))
    )  # fmt: skip
    assert scan(data, uids.EXPLICIT_LE, EVERYTHING).elements[0x00080050].value == b""
    assert scan(b"", uids.EXPLICIT_LE, EVERYTHING).elements == {}


def test_ds07_private_sequences_of_unknown_vr_pass() -> None:
    """PS3.5 6.2.2: UN of undefined length is implicit VR inside, at every level below."""
    inner = implicit(0x00100020, b"1 ")
    for _ in range(20):
        inner = implicit(0x00091001, b"", UNDEFINED) + implicit(0xFFFEE000, b"", UNDEFINED) + inner
        inner += ITEM_END + SEQUENCE_END
    data = explicit(0x00091001, b"UN", b"", UNDEFINED) + implicit(0xFFFEE000, b"", UNDEFINED) + inner
    data += ITEM_END + SEQUENCE_END + ID
    assert 0x00100020 in scan(data, uids.EXPLICIT_LE, EVERYTHING).elements


@pytest.mark.parametrize("levels", [1, 3])
def test_un_of_undefined_length_is_little_endian_inside_a_big_endian_data_set(levels: int) -> None:
    """PS3.5 6.2.2: the items of such an element are in Implicit VR Little Endian, whatever the transfer syntax says."""
    inner = implicit(0x00080100, b"CODE")
    for level in range(levels):
        inner = implicit(0xFFFEE000, b"", UNDEFINED) + inner + ITEM_END + SEQUENCE_END
        if level < levels - 1:
            inner = implicit(0x00400275, b"", UNDEFINED) + inner
    head = struct.pack(">HH2sHI", 0x0009, 0x1001, b"UN", 0, UNDEFINED)
    after = struct.pack(">HH2sH", 0x0010, 0x0020, b"LO", 4) + b"1234"
    found = scan(head + inner + after, uids.EXPLICIT_BE, EVERYTHING)
    assert found.elements[0x00100020].value == b"1234"


def test_encapsulated_pixel_data_passes() -> None:
    pixel = explicit(0x7FE00010, b"OB", b"", UNDEFINED)
    data = ID + pixel + implicit(0xFFFEE000, b"") + implicit(0xFFFEE000, b"\xff\xd8\xff\xd9") + SEQUENCE_END
    assert 0x00100020 in scan(data, JPEG, EVERYTHING).elements
    padding = explicit(0xFFFCFFFC, b"OB", bytes(10))
    assert 0x00100020 in scan(data + padding, JPEG, EVERYTHING).elements


# --- what is not -----------------------------------------------------------------------------------------


def test_ds01_pixel_data_shorter_than_it_says() -> None:
    assert refused(ID + explicit(0x7FE00010, b"OW", bytes(10), 1000)) == "truncated"
    assert refused(implicit(0x7FE00010, bytes(10), 1000), uids.IMPLICIT_LE) == "truncated"


@pytest.mark.parametrize("length", [0x7FFFFFF0, 0xFFFFFFFE, 3])
def test_ds02_lengths_beyond_the_data(length: int) -> None:
    assert refused(explicit(0x00091001, b"OB", b"xx", length)) == "truncated"
    assert refused(implicit(0x00091001, b"xx", length), uids.IMPLICIT_LE) == "truncated"


@pytest.mark.parametrize("cut", range(1, len(ID)))
def test_every_cut_is_seen(cut: int) -> None:
    assert refused(ID[:cut]) == "truncated"
    assert refused(ID + ID[:cut]) == "truncated"
    assert refused(sequence(item(ID[:cut])))


@pytest.mark.parametrize("levels", [65, 300, 5000])
@pytest.mark.parametrize("vr", [True, False])
def test_ds03_deep_nesting_is_refused(levels: int, vr: bool) -> None:
    assert refused(nested(levels, vr=vr), uids.EXPLICIT_LE if vr else uids.IMPLICIT_LE) == "too-deep"


def test_ds03_ordinary_nesting_passes() -> None:
    scan(nested(60), uids.EXPLICIT_LE, EVERYTHING)
    scan(nested(60, vr=False), uids.IMPLICIT_LE, EVERYTHING)


def deflated(plain: bytes) -> bytes:
    engine = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    return engine.compress(plain) + engine.flush()


def test_ds04_a_bomb_is_refused_by_its_ratio_and_its_size() -> None:
    """63 KB that become 64 MiB; and what would become more than the limit."""
    engine = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    bomb = b"".join(engine.compress(bytes(1 << 20)) for _ in range(64)) + engine.flush()
    assert len(bomb) < 66_000
    started = time.process_time()
    assert refused(bomb, uids.DEFLATED) == "bad-deflate"
    assert time.process_time() - started < 2


def test_ds04_size_is_limited_whatever_the_ratio(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan_module, "MAX_INFLATED", 100_000)
    monkeypatch.setattr(scan_module, "_PIECE", 1000)
    half = explicit(0x00091001, b"OB", bytes(range(256)) * 250)
    assert scan(deflated(half), uids.DEFLATED, EVERYTHING).elements == {}
    tracemalloc.start()
    try:
        assert refused(deflated(half * 1000), uids.DEFLATED) == "bad-deflate"
        assert tracemalloc.get_traced_memory()[1] < 65_000_000
    finally:
        tracemalloc.stop()


def test_deflated_data_in_many_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan_module, "_PIECE", 7)
    ds = encode(_dataset(PatientID="12345", StudyDescription="x" * 60)).data
    assert scan(deflated(ds), uids.DEFLATED, EVERYTHING).elements[0x00100020].value == b"12345 "


@pytest.mark.parametrize("syntax", sorted(uids.DEFLATED_SYNTAXES))
def test_ds14_every_deflated_syntax_is_inflated(syntax: str) -> None:
    """PS3.5 A.5, A.7, A.9: those of JPIP are deflated too; a whole object was refused in them."""
    assert scan(deflated(ID), syntax, EVERYTHING).elements[0x00100020].value == b"12345 "
    assert refused(ID, syntax) == "bad-deflate"


def test_deflated_data_padded_or_cut() -> None:
    whole = deflated(ID * 50)
    assert 0x00100020 in scan(whole + b"\0", uids.DEFLATED, EVERYTHING).elements
    assert refused(whole[:-2], uids.DEFLATED) == "bad-deflate"
    assert refused(b"\xff" * 20, uids.DEFLATED) == "bad-deflate"
    assert refused(b"", uids.DEFLATED) == "bad-deflate"
    assert refused(deflated(ID[:-1]), uids.DEFLATED) == "truncated"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (explicit(0x00400275, b"SQ", b"", UNDEFINED) + implicit(0xFFFEE000, b"", UNDEFINED) + ID, "truncated"),
        (explicit(0x00400275, b"SQ", b"", UNDEFINED) + item(ID), "truncated"),
        (explicit(0x00400275, b"SQ", b"", UNDEFINED) + ID + SEQUENCE_END, "bad-delimiter"),
        (explicit(0x00400275, b"SQ", b"", UNDEFINED) + implicit(0xFFFEE000, b"xx", 100), "truncated"),
        (ID + ITEM_END, "bad-delimiter"),
        (SEQUENCE_END, "bad-delimiter"),
        (implicit(0xFFFEE000, b"xx"), "bad-delimiter"),
        (ID + item(ID), "bad-delimiter"),
        (sequence(item(ID + SEQUENCE_END)), "bad-delimiter"),
        (explicit(0x00100010, b"PN", b"", 0xFFFF), "truncated"),
        (explicit(0x00091001, b"UT", b"", UNDEFINED) + SEQUENCE_END, "bad-length"),
        (explicit(0x7FE00010, b"OB", b"", UNDEFINED) + implicit(0xFFFEE000, b"xx"), "truncated"),
        (explicit(0x7FE00010, b"OB", b"", UNDEFINED) + ID + SEQUENCE_END, "truncated"),
        (explicit(0x7FE00010, b"OB", b"", UNDEFINED) + implicit(0xFFFEE000, b"", UNDEFINED), "truncated"),
        (explicit(0x7FE00010, b"OB", b"", UNDEFINED) + implicit(0xFFFEE000, b"xx", 100) + SEQUENCE_END, "truncated"),
        (ID + b"\x10\0\x30\0\0\0\0\0", "bad-vr"),
        (ID + explicit(0x00100030, b"da", b""), "bad-vr"),
    ],
)
def test_ds05_delimiters_out_of_place(data: bytes, code: str) -> None:
    assert refused(data) == code


def test_a_value_that_looks_like_a_delimiter_closes_nothing() -> None:
    trick = explicit(0x00100020, b"LO", ITEM_END)
    assert refused(explicit(0x00400275, b"SQ", b"", UNDEFINED) + implicit(0xFFFEE000, b"", UNDEFINED) + trick)


def test_ds10_too_many_elements_are_refused_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan_module, "MAX_ELEMENTS", 1000)
    assert refused(ID * 1001) == "too-many-elements"
    assert refused(sequence(item(b"") * 600)) == "too-many-elements"
    pixel = explicit(0x7FE00010, b"OB", b"", UNDEFINED)
    assert refused(pixel + implicit(0xFFFEE000, b"") * 2000 + SEQUENCE_END) == "too-many-elements"
    scan(ID * 1000, uids.EXPLICIT_LE, EVERYTHING)


def test_a_long_walk_lets_go_of_what_it_has_seen() -> None:
    """A file of 4 GB in 50,000 fragments would stand in memory page by page otherwise."""
    for data in (ID * 2000, sequence(item(b"") * 1000), b""):
        rests: list[int] = []
        scan(data, uids.EXPLICIT_LE, EVERYTHING, functools.partial(rests.append, 1))
        assert len(rests) == (3 if data else 0)


def test_a_walk_is_linear() -> None:
    data = ID * 50_000
    started = time.process_time()
    scan(data, uids.EXPLICIT_LE, EVERYTHING)
    assert time.process_time() - started < 1


# --- anything --------------------------------------------------------------------------------------------


def _dataset(**attributes: object) -> Dataset:
    ds = Dataset()
    ds.SOPClassUID = ds.SOPInstanceUID = "1.2.3"
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    return ds


_SYNTAXES = some.sampled_from([uids.EXPLICIT_LE, uids.IMPLICIT_LE, uids.EXPLICIT_BE, uids.DEFLATED, JPEG, "1.2.3"])
_RICH = (
    ID + sequence(item(ID + sequence(item(ID))) + item(b"")) + explicit(0x00091001, b"UN", b"", UNDEFINED)
    + item(implicit(0x00100020, b"1 ")) + SEQUENCE_END + explicit(0x00400276, b"SQ", item(ID))
    + explicit(0x7FE00010, b"OB", b"", UNDEFINED) + implicit(0xFFFEE000, b"") + implicit(0xFFFEE000, b"abcd")
    + SEQUENCE_END
)  # fmt: skip


@settings(max_examples=200)
@given(some.binary(max_size=300), _SYNTAXES)
def test_random_bytes_raise_nothing_but_bad_content(data: bytes, syntax: str) -> None:
    with suppress(BadContent):
        scan(data, syntax, EVERYTHING)


@settings(max_examples=400)
@given(some.data())
def test_ds14_mutations_raise_nothing_but_bad_content(data: some.DataObject) -> None:
    raw = bytearray(_RICH)
    for _ in range(data.draw(some.integers(1, 5))):
        kind = data.draw(some.sampled_from(["flip", "cut", "insert", "ff"]))
        at = data.draw(some.integers(0, max(len(raw) - 1, 0)))
        if kind == "flip" and raw:
            raw[at] = data.draw(some.integers(0, 255))
        elif kind == "ff":
            raw[at : at + 4] = b"\xff\xff\xff\xff"
        elif kind == "cut":
            del raw[at : at + data.draw(some.integers(1, 40))]
        else:
            raw[at:at] = data.draw(some.sampled_from([ITEM_END, SEQUENCE_END, ID, b"\0"]))
    with suppress(BadContent):
        found = scan(bytes(raw), uids.EXPLICIT_LE, EVERYTHING)
        assert all(len(element.value) <= len(raw) for element in found.elements.values())
