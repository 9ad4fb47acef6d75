"""From encoded elements to identity and facts: DICOM's quirks end here."""

from __future__ import annotations

import struct
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from broker.dicom.dataset.scan import DataSetScan, RawElement
from broker.dicom.dimse.message import PeerAE
from broker.errors import BadContent
from broker.routing.elements import MAX_TEXT, MAX_VALUES
from broker.routing.header import BASE_FIELDS, facts, identity, tags_of
from broker.routing.rules.fields import kind_of

PEER = PeerAE("CT01", "BROKER", "10.0.0.9")
SUNDAY = datetime(2026, 3, 15, 23, 59)  # noqa: DTZ001 - the caller's local time
CHARSET, MODALITY, NAME, DESCRIPTION = 0x00080005, 0x00080060, 0x00100010, 0x00081030
THICKNESS, ROWS, INSTANCE_NUMBER, IMAGE_TYPE = 0x00180050, 0x00280010, 0x00200013, 0x00080008


def scanned(*elements: tuple[int, str, bytes], big_endian: bool = False) -> DataSetScan:
    return DataSetScan({tag: RawElement(tag, vr, value) for tag, vr, value in elements}, big_endian)


def fact(field: str, *elements: tuple[int, str, bytes], big_endian: bool = False) -> Any:
    return facts(scanned(*elements, big_endian=big_endian), PEER, [field], SUNDAY).get(field)


# --- identity --------------------------------------------------------------------------------------------


def identified(**change: bytes) -> Any:
    values = {"c": b"1.2\0", "i": b"1.3\0", "study": b"1.4 ", "series": b"1.5\0"} | change
    scan = scanned(
        (0x00080016, "UI", values["c"]), (0x00080018, "UI", values["i"]),
        (0x0020000D, "UI", values["study"]), (0x0020000E, "UI", values["series"]),
    )  # fmt: skip
    return identity(scan, "1.2", "1.3")


def test_identity_loses_its_padding() -> None:
    found = identified()
    assert (found.sop_class, found.sop_instance, found.study, found.series) == ("1.2", "1.3", "1.4", "1.5")


@pytest.mark.parametrize("change", [{"c": b"1.9"}, {"i": b"1.9"}, {"i": b""}, {"i": b"1.3.\0"}, {"c": b"\xff"}])
def test_dm07_uids_that_differ_from_the_command(change: dict[str, bytes]) -> None:
    with pytest.raises(BadContent) as caught:
        identified(**change)
    assert caught.value.code == "uid-mismatch"


def test_a_data_set_without_uids_is_a_mismatch() -> None:
    with pytest.raises(BadContent):
        identity(scanned(), "1.2", "1.3")


def test_ds12_study_and_series_may_be_missing_or_nonsense() -> None:
    assert identity(scanned((0x00080016, "UI", b"1"), (0x00080018, "UI", b"2")), "1", "2").study == ""
    found = identified(study=b"x" * 300, series=b"a\0b\0")
    assert len(found.study) == 64
    assert found.series == "ab"


def test_tags_that_are_read() -> None:
    found = tags_of(["tag.Modality", "assoc.calling_ae"])
    assert {0x00080016, 0x00080018, 0x0020000D, 0x0020000E, CHARSET, MODALITY} == found
    assert all(kind_of(field) for field in BASE_FIELDS)


# --- association and time --------------------------------------------------------------------------------


def test_facts_of_association_and_time() -> None:
    assert facts(scanned(), PEER, [], SUNDAY) == {
        "assoc.calling_ae": ("CT01",), "assoc.called_ae": ("BROKER",), "assoc.address": ("10.0.0.9",),
        "time.local": ("2026-03-15T23:59:00",),
    }  # fmt: skip


def test_only_what_is_asked_for_is_read() -> None:
    found = facts(scanned((MODALITY, "CS", b"CT"), (NAME, "PN", b"X")), PEER, ["tag.Modality"], SUNDAY)
    assert "tag.PatientName" not in found


# --- text ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        (b"CT", ("CT",)), (b"CT ", ("CT",)), (b" CT\0", ("CT",)), (b"", None), (b"  ", None), (b"\0\0", None),
        (b"A\\B", ("A", "B")), (b"A\\\\ B ", ("A", "B")), (b"\\", None), (b"C\0T", ("CT",)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("vr", ["CS", ""])
def test_text_values(value: bytes, seen: Any, vr: str) -> None:
    assert fact("tag.Modality", (MODALITY, vr, value)) == seen


def test_texts_that_have_one_value_keep_their_backslash() -> None:
    assert fact("tag.AdditionalPatientHistory", (0x001021B0, "LT", b"a\\b")) == ("a\\b",)
    assert fact("tag.ImageComments", (0x00204000, "", b"a\\b")) == ("a\\b",)


def test_many_and_long_values_are_bounded() -> None:
    assert len(fact("tag.ImageType", (IMAGE_TYPE, "CS", b"A\\" * 1000))) == MAX_VALUES
    assert len(fact("tag.StudyDescription", (DESCRIPTION, "LO", b"x" * 10_000))[0]) == MAX_TEXT
    assert len(fact("tag.SmallestImagePixelValue", (0x00280106, "US", bytes(10_000)))) == MAX_VALUES


@pytest.mark.parametrize(
    ("charset", "raw", "seen"),
    [
        (b"", b"M\xfcller", "Müller"),
        (b"ISO_IR 100", b"M\xfcller", "Müller"),
        (b"ISO_IR 192", "Müller^Käthe".encode(), "Müller^Käthe"),
        (b"ISO_IR 144", "Люкceмбypг".encode("iso8859_5"), "Люкceмбypг"),
        (b"GB18030", "王小东".encode("gb18030"), "王小东"),
        (b"GBK", "王小东".encode("gbk"), "王小东"),
        (b"ISO_IR 13", b"\xd4\xcf\xc0\xde", "ﾔﾏﾀﾞ"),
        (b"\\ISO 2022 IR 87", b"Yamada=\x1b$B;3ED\x1b(B", "Yamada=山田"),
        (b"\\ISO 2022 IR 149", b"Hong=\x1b$)C\xfb\xf3", "Hong=洪"),
        (b"ISO_IR 192 ", "é".encode(), "é"),
    ],
)  # fmt: skip
def test_character_sets(charset: bytes, raw: bytes, seen: str) -> None:
    assert fact("tag.PatientName", (CHARSET, "CS", charset), (NAME, "PN", raw)) == (seen,)


@pytest.mark.parametrize(
    ("charset", "raw"),
    [(b"NONSENSE", b"\xff\xfe"), (b"ISO_IR 192", b"M\xfcller\xff"), (b"\\ISO 2022 IR 87", b"\x1b$B;3ED\xff\x1b(Z"),
     (b"GB18030", b"\x81"), (b"ISO_IR 192\\" * 100, b"\xc3"), (b"\xff", b"x")],
)  # fmt: skip
def test_ds08_text_that_cannot_be_decoded_is_no_error(charset: bytes, raw: bytes) -> None:
    (seen,) = fact("tag.PatientName", (CHARSET, "CS", charset), (NAME, "PN", raw))
    assert isinstance(seen, str)
    assert "\0" not in seen


def test_a_character_set_is_no_name_of_a_codec() -> None:
    """The header must not choose Python codecs by name."""
    (seen,) = fact("tag.PatientName", (CHARSET, "CS", b"rot13"), (NAME, "PN", b"abc"))
    assert seen == "abc"
    (seen,) = fact("tag.PatientName", (CHARSET, "CS", b"utf_16"), (NAME, "PN", b"abcd"))
    assert seen == "abcd"


def test_values_of_fixed_repertoire_are_not_decoded_by_the_character_set() -> None:
    assert fact("tag.Modality", (CHARSET, "CS", b"ISO_IR 192"), (MODALITY, "CS", b"\xc3\xa9")) == ("Ã©",)


# --- numbers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "seen"),
    [
        (b"5", (5.0,)), (b" 5.0 ", (5.0,)), (b"-1.5E2", (-150.0,)), (b"+3", (3.0,)), (b"1\\2.5", (1.0, 2.5)),
        (b"", None), (b"NaN", None), (b"nan\\1", (1.0,)), (b"inf", None), (b"1e999999", None), (b"1_000", None),
        (b"five", None), (b"1" * 25, None), (b"0x10", None), (b"1,5", None), (b"\xb2", None), (b"1 2", None),
    ],
)  # fmt: skip
@pytest.mark.parametrize("vr", ["DS", ""])
def test_ds09_decimal_strings(raw: bytes, seen: Any, vr: str) -> None:
    assert fact("tag.SliceThickness", (THICKNESS, vr, raw)) == seen


def test_integer_strings() -> None:
    assert fact("tag.InstanceNumber", (INSTANCE_NUMBER, "IS", b"12 ")) == (12.0,)
    assert fact("tag.InstanceNumber", (INSTANCE_NUMBER, "IS", b"1e999999")) is None


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize(
    ("vr", "code", "values"),
    [("US", "H", (1, 65535)), ("SS", "h", (-1, 2)), ("UL", "I", (1, 2**32 - 1)), ("SL", "i", (-5, 5)),
     ("FL", "f", (0.5, -2.0)), ("FD", "d", (1e300, -1e-300)), ("UV", "Q", (1, 2**40)), ("SV", "q", (-1, 2**40))],
)  # fmt: skip
def test_binary_numbers_in_both_byte_orders(vr: str, code: str, values: tuple[float, ...], big_endian: bool) -> None:
    raw = struct.pack((">" if big_endian else "<") + code * len(values), *values)
    assert fact("tag.Rows", (ROWS, vr, raw), big_endian=big_endian) == tuple(map(float, values))


def test_the_vr_of_the_dictionary_stands_in_for_a_missing_one() -> None:
    for vr in ("", "UN"):
        assert fact("tag.Rows", (ROWS, vr, b"\x02\x01")) == (258.0,)
    assert fact("tag.SmallestImagePixelValue", (0x00280106, "", b"\x02\x01")) == (258.0,)


def test_binary_numbers_that_are_none() -> None:
    assert fact("tag.Rows", (ROWS, "FL", struct.pack("<f", float("nan")))) is None
    assert fact("tag.Rows", (ROWS, "FD", struct.pack("<d", float("inf")))) is None
    assert fact("tag.Rows", (ROWS, "US", b"\x01")) is None
    assert fact("tag.Rows", (ROWS, "US", b"\x01\0\x02")) == (1.0,)


def test_a_fact_is_always_of_the_kind_of_its_field() -> None:
    """A device that writes Slice Thickness as SH, or Modality as US, must not turn a comparison round."""
    assert fact("tag.SliceThickness", (THICKNESS, "SH", b"4.5 ")) == (4.5,)
    assert fact("tag.SliceThickness", (THICKNESS, "LO", b"thin")) is None
    assert fact("tag.Rows", (ROWS, "IS", b"512")) == (512.0,)
    assert fact("tag.Modality", (MODALITY, "US", b"CT")) is None
    assert fact("tag.SliceThickness", (THICKNESS, "FD", struct.pack("<d", 2.5))) == (2.5,)


_FIELDS = ["tag.Modality", "tag.PatientName", "tag.SliceThickness", "tag.Rows", "tag.StudyDescription", "tag.StudyDate"]
_TAGS = [CHARSET, MODALITY, NAME, DESCRIPTION, THICKNESS, ROWS, 0x00080020]
_VRS = ["", "UN", "CS", "LO", "PN", "DS", "IS", "US", "FD", "SQ", "OB", "AT", "UT", "DA", "xx"]


@given(
    some.lists(some.tuples(some.sampled_from(_TAGS), some.sampled_from(_VRS), some.binary(max_size=40)), max_size=6),
    some.booleans(),
)
def test_any_bytes_make_facts_of_the_right_kind(elements: list[tuple[int, str, bytes]], big_endian: bool) -> None:
    found = facts(scanned(*elements, big_endian=big_endian), PEER, _FIELDS, SUNDAY)
    for field, values in found.items():
        assert values
        wanted = float if kind_of(field) == "number" else str
        assert all(type(value) is wanted for value in values)
        assert not any("\0" in value for value in values if isinstance(value, str))
