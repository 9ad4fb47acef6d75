"""Between the syntaxes without compression: pydicom reads what comes out, and finds the same values."""

from __future__ import annotations

import io
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence
from support.dicom.elements import ITEM_END, SEQUENCE_END, UNDEFINED, deflated, explicit, implicit, item, nested
from support.dicom.objects import SAMPLES, from_sample

from broker.dicom.conversion import converting
from broker.dicom.conversion.byte_stream import ByteStream
from broker.dicom.conversion.converting import converted, surveyed
from broker.dicom.conversion.inflating import inflated
from broker.dicom.conversion.syntaxes import instead_of, short_name
from broker.dicom.uids import DEFLATED, EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE, TRANSFER_SYNTAXES, UNCOMPRESSED
from broker.errors import BadContent

SYNTAXES = (EXPLICIT_LE, IMPLICIT_LE, EXPLICIT_BE)
PAIRS = [(source, target) for source in SYNTAXES for target in SYNTAXES if source != target]
ID, CREATOR, PRIVATE, PRIVATE_SEQUENCE = 0x00100020, 0x00090010, 0x00091001, 0x00091002
NESTED, PIXELS, BITS, SIGN, PADDING = 0x00400275, 0x7FE00010, 0x00280100, 0x00280103, 0x00280120


def convert(data: bytes, source: str, target: str, size: int = 1 << 20) -> bytes:
    """As a delivery does it: a survey by place, then pieces of `size` bytes in order."""
    facts = surveyed(ByteStream.of_place(lambda at, count: data[at : at + count], len(data)), source, target)
    pieces = (data[at : at + size] for at in range(0, len(data), size))
    return b"".join(converted(ByteStream.of_pieces(pieces), source, target, facts))


def refused(data: bytes, source: str = EXPLICIT_LE, target: str = IMPLICIT_LE) -> str:
    with pytest.raises(BadContent) as caught:
        convert(data, source, target)
    return caught.value.code


def written(ds: Dataset, syntax: str) -> bytes:
    out = DicomBytesIO()
    out.is_little_endian, out.is_implicit_VR = syntax != EXPLICIT_BE, syntax == IMPLICIT_LE
    write_dataset(out, ds)
    return out.getvalue()


def read(data: bytes, syntax: str) -> Dataset:
    return read_dataset(io.BytesIO(data), syntax == IMPLICIT_LE, syntax != EXPLICIT_BE)


_WORDS = {"OW": "H", "OL": "I", "OF": "I", "OV": "Q", "OD": "Q"}  # pydicom leaves these in the order of the file


def plain(ds: Dataset, syntax: str, *, private: bool) -> list[Any]:
    """Tags and values. `private`: those too whose VR implicit VR does not tell."""
    found: list[Any] = []
    order = ">" if syntax == EXPLICIT_BE else "<"
    for element in ds:
        value = element.value
        if element.VR == "SQ":
            found.append((element.tag, [plain(inner, syntax, private=private) for inner in value]))
        elif private or not element.tag.is_private or element.tag.is_private_creator:
            if (unit := _WORDS.get(element.VR)) and value:
                value = struct.unpack(f"{order}{len(value) // struct.calcsize(unit)}{unit}", value)
            found.append((element.tag, list(value) if hasattr(value, "append") else value))
    return found


# --- random data sets of all VRs -----------------------------------------------------------------------------

TEXT = some.text("ABC^ 12", max_size=12).map(str.strip)
WORDS = some.binary(max_size=40).map(lambda value: value + bytes(-len(value) % 8))
_VALUES: dict[str, some.SearchStrategy[Any]] = {
    "AE": TEXT, "AS": some.just("042Y"), "CS": some.just("CT"), "DA": some.just("20300312"),
    "DT": some.just("20300312010203"),
    "LO": TEXT, "LT": TEXT, "PN": TEXT, "SH": TEXT, "ST": TEXT, "TM": some.just("010203"), "UC": TEXT, "UT": TEXT,
    "UR": some.just("urn:a"), "UI": some.just("1.2.3"), "DS": some.just("1.5"), "IS": some.just("12"),
    "AT": some.integers(0, 0xFFFFFFFF), "US": some.integers(0, 0xFFFF), "SS": some.integers(-0x8000, 0x7FFF),
    "UL": some.integers(0, 0xFFFFFFFF), "SL": some.integers(-(2**31), 2**31 - 1), "UV": some.integers(0, 2**64 - 1),
    "SV": some.integers(-(2**63), 2**63 - 1), "FL": some.floats(width=32, allow_nan=False),
    "FD": some.floats(allow_nan=False),
    **dict.fromkeys(("OB", "OD", "OF", "OL", "OV", "OW", "UN"), WORDS),
}  # fmt: skip
# one public attribute of each VR; UN has none
_PUBLIC = {
    "AE": "RetrieveAETitle", "AS": "PatientAge", "CS": "Modality", "DA": "StudyDate", "DT": "AcquisitionDateTime",
    "LO": "StudyDescription", "LT": "PatientComments", "PN": "PatientName", "SH": "AccessionNumber",
    "ST": "InstitutionAddress", "TM": "StudyTime", "UC": "LongCodeValue", "UT": "TextValue", "UR": "RetrieveURL",
    "UI": "StudyInstanceUID", "DS": "PatientSize", "IS": "SeriesNumber", "AT": "OffendingElement", "US": "Rows",
    "SS": "TagAngleSecondAxis", "UL": "RegionFlags", "SL": "ReferencePixelX0", "FL": "ExaminedBodyThickness",
    "FD": "EventTimeOffset", "SV": "SelectorSVValue", "UV": "SelectorUVValue", "OB": "EncapsulatedDocument",
    "OD": "DoubleFloatPixelData", "OF": "FloatPixelData", "OL": "TrackPointIndexList", "OV": "ExtendedOffsetTable",
    "OW": "RedPaletteColorLookupTableData",
}  # fmt: skip


@some.composite
def data_sets(draw: Any, depth: int = 2) -> Dataset:
    ds = Dataset()
    for vr in draw(some.lists(some.sampled_from(sorted(_PUBLIC)), unique=True, max_size=8)):
        setattr(ds, _PUBLIC[vr], draw(_VALUES[vr]))
    if draw(some.booleans()):
        block = ds.private_block(9, "MAKER", create=True)
        for number, vr in enumerate(draw(some.lists(some.sampled_from(sorted(_VALUES)), max_size=4))):
            block.add_new(number, vr, draw(_VALUES[vr]))
        if depth and draw(some.booleans()):
            block.add_new(0x80, "SQ", Sequence([draw(data_sets(depth - 1))]))
            ds[block.get_tag(0x80)].is_undefined_length = True
    if draw(some.booleans()):
        ds.PixelRepresentation = draw(some.integers(0, 1))
        ds.add_new(PADDING, "SS" if ds.PixelRepresentation else "US", 7)
    if depth and draw(some.booleans()):
        ds.ContentSequence = Sequence(draw(some.lists(data_sets(depth - 1), max_size=2)))
        ds["ContentSequence"].is_undefined_length = draw(some.booleans())
        for inner in ds.ContentSequence:
            inner.is_undefined_length_sequence_item = draw(some.booleans())
    return ds


@settings(max_examples=60, deadline=None)
@given(ds=data_sets(), pair=some.sampled_from(PAIRS), size=some.sampled_from([1, 7, 1 << 20]))
def test_pydicom_finds_the_same_values_in_the_other_syntax_and_back(
    ds: Dataset, pair: tuple[str, str], size: int
) -> None:
    source, target = pair
    data = written(ds, source)
    there = convert(data, source, target, size)
    back = convert(there, target, source, size)
    told = IMPLICIT_LE not in pair  # else the VR of private elements is lost, not their bytes
    expected = plain(read(data, source), source, private=told)
    assert plain(read(there, target), target, private=told) == expected
    assert plain(read(back, source), source, private=told) == expected
    if not told and EXPLICIT_BE not in pair:
        assert convert(back, source, target, size) == there  # every byte of a private value, too


@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom about what devices write
def test_objects_of_real_devices() -> None:
    found = [from_sample(path) for path in sorted(SAMPLES.glob("*.dcm")) if "truncated" not in path.name]
    objects = [one for one in found if one is not None and one.transfer_syntax in SYNTAXES]
    assert len(objects) > 15
    for one in objects:
        source = one.transfer_syntax
        before = {e.tag: e for e in read(one.data, source)}
        for target in set(SYNTAXES) - {source}:
            turned = convert(one.data, source, target)
            after = {e.tag: e for e in read(turned, target)}
            assert after.keys() == {tag for tag in before if tag.element}  # all but group lengths
            known = [tag for tag in after if not {after[tag].VR, before[tag].VR} & {"SQ", "UN", "OW", "OB or OW"}]
            assert len(known) > 5
            assert {tag: after[tag].value for tag in known} == {tag: before[tag].value for tag in known}
            # a second time nothing is left to change: the same bytes
            assert convert(convert(turned, target, source), source, target) == turned


@settings(max_examples=150, deadline=None)
@given(ds=data_sets(), pair=some.sampled_from(PAIRS), data=some.data())
def test_whatever_is_broken_is_refused_or_goes_as_it_was_surveyed(
    ds: Dataset, pair: tuple[str, str], data: Any
) -> None:
    """No other error comes out of hostile bytes, and the second walk finds what the first one found."""
    source, target = pair
    raw = bytearray(written(ds, source))
    for _ in range(data.draw(some.integers(1, 4))):
        if raw:
            raw[data.draw(some.integers(0, len(raw) - 1))] = data.draw(
                some.sampled_from([0, 1, 8, 0x7F, 0xE0, 0xFE, 0xFF])
            )
    hostile = bytes(raw[: data.draw(some.integers(0, len(raw)))])
    try:
        facts = surveyed(ByteStream.of_place(lambda at, n: hostile[at : at + n], len(hostile)), source, target)
    except BadContent:
        return
    assert (
        len(b"".join(converted(ByteStream.of_pieces(iter([hostile])), source, target, facts))) < 4 * len(hostile) + 64
    )


# --- byte by byte ------------------------------------------------------------------------------------------------


def be(tag: int, vr: bytes, value: bytes) -> bytes:
    return explicit(tag, vr, value, order=">")


@pytest.mark.parametrize(
    ("vr", "little", "big"),
    [
        (b"OB", b"abcdefgh", b"abcdefgh"), (b"UN", b"abcdefgh", b"abcdefgh"), (b"UT", b"abcdefgh", b"abcdefgh"),
        *((vr, b"abcdefgh", b"badcfehg") for vr in (b"AT", b"OW", b"US", b"SS")),
        *((vr, b"abcdefgh", b"dcbahgfe") for vr in (b"UL", b"SL", b"FL", b"OF", b"OL")),
        *((vr, b"abcdefgh", b"hgfedcba") for vr in (b"FD", b"OD", b"OV", b"SV", b"UV")),
    ],
)  # fmt: skip
def test_bytes_turn_by_the_unit_of_the_vr(vr: bytes, little: bytes, big: bytes) -> None:
    data, turned = explicit(PRIVATE, vr, little), be(PRIVATE, vr, big)
    assert convert(data, EXPLICIT_LE, EXPLICIT_BE) == turned
    assert convert(turned, EXPLICIT_BE, EXPLICIT_LE) == data
    assert (
        convert(turned, EXPLICIT_BE, IMPLICIT_LE)
        == convert(data, EXPLICIT_LE, IMPLICIT_LE)
        == implicit(PRIVATE, little)
    )
    if vr not in (b"OB", b"UN", b"UT"):
        assert refused(explicit(PRIVATE, vr, b"abc"), target=EXPLICIT_BE) == "bad-length"


def signed(value: int) -> bytes:
    return implicit(SIGN, struct.pack("<H", value))


def sq(*items: bytes, tag: int = NESTED) -> bytes:
    return implicit(tag, b"", UNDEFINED) + b"".join(map(item, items)) + SEQUENCE_END


def vrs(data: bytes) -> dict[int, str]:
    """VR by tag, of the first element of each tag on the way down."""
    found: dict[int, str] = {}

    def walk(ds: Dataset) -> None:
        for element in ds:
            found.setdefault(int(element.tag), element.VR)
            if element.VR == "SQ":
                for inner in element.value:
                    walk(inner)

    walk(read(convert(data, IMPLICIT_LE, EXPLICIT_LE), EXPLICIT_LE))
    return found


@pytest.mark.parametrize(
    ("data", "tag", "vr"),
    [
        (signed(1) + implicit(PADDING, b"ab"), PADDING, "SS"),
        (signed(0) + implicit(PADDING, b"ab"), PADDING, "US"),
        (implicit(PADDING, b"ab"), PADDING, "US"),
        (implicit(0x00280071, b"ab") + signed(1), 0x00280071, "SS"),  # what decides comes later
        (implicit(0x00180001, b"") + signed(1) + sq(implicit(PADDING, b"ab")), PADDING, "SS"),  # of the enclosing one
        (sq(implicit(0x00189810, b"ab")) + signed(0), 0x00189810, "US"),
        (sq(implicit(0x00189810, b"ab"), tag=0x00081140) + signed(1), 0x00189810, "SS"),
        (signed(1) + sq(signed(0) + implicit(PADDING, b"ab")), PADDING, "US"),  # the innermost
        (implicit(BITS, b"\x08\0") + implicit(PIXELS, b"abcd"), PIXELS, "OB"),
        (implicit(BITS, b"\x10\0") + implicit(PIXELS, b"abcd"), PIXELS, "OW"),
        (implicit(PIXELS, b"abcd"), PIXELS, "OW"),
        (implicit(0x60003000, b"abcd"), 0x60003000, "OW"),  # overlay data
        (implicit(0x00283006, b"abcd"), 0x00283006, "OW"),  # LUT data
        (implicit(0x54001010, b"abcd"), 0x54001010, "OW"),  # waveform data
        (implicit(PRIVATE, b"abcd"), PRIVATE, "UN"),
        (implicit(CREATOR, b"abcd"), CREATOR, "LO"),
        (implicit(0x00189999, b"abcd"), 0x00189999, "UN"),
        (implicit(0xFFFCFFFC, bytes(6)), 0xFFFCFFFC, "OB"),
    ],
)  # fmt: skip
def test_the_vr_that_implicit_vr_hides(data: bytes, tag: int, vr: str) -> None:
    assert vrs(data)[tag] == vr


def test_what_is_too_long_for_explicit_vr_is_un_and_stays_little_endian() -> None:
    """PS3.5 6.2.2."""
    for tag, value in ((ID, b"x" * 70_000), (0x00281201 - 0xF0, b"ab" * 40_000), (0x00280009, b"abcd" * 20_000)):
        for target, order in ((EXPLICIT_LE, "<"), (EXPLICIT_BE, ">")):
            turned = convert(implicit(tag, value), IMPLICIT_LE, target)
            assert turned == explicit(tag, b"UN", value, order=order)
            assert convert(turned, target, IMPLICIT_LE) == implicit(tag, value)


def test_sequences_get_undefined_lengths_whatever_they_had() -> None:
    inner = item(implicit(ID, b"AB"))
    whole = implicit(NESTED, b"", UNDEFINED) + inner + inner + SEQUENCE_END
    both = implicit(0xFFFEE000, implicit(ID, b"AB")) * 2
    mixed = implicit(0xFFFEE000, implicit(ID, b"AB")) + inner
    head = struct.pack("<HH2sHI", NESTED >> 16, NESTED & 0xFFFF, b"SQ", 0, UNDEFINED)
    expected = head + item(explicit(ID, b"LO", b"AB")) * 2 + SEQUENCE_END
    for form in (whole, implicit(NESTED, both), implicit(NESTED, mixed), implicit(NESTED, inner * 2)):
        assert convert(form, IMPLICIT_LE, EXPLICIT_LE) == expected
    assert convert(expected, EXPLICIT_LE, IMPLICIT_LE) == whole
    empty = implicit(NESTED, b"") + implicit(0x00400500, implicit(0xFFFEE000, b""))
    assert [len(e.value) for e in read(convert(empty, IMPLICIT_LE, EXPLICIT_BE), EXPLICIT_BE)] == [0, 1]


def test_un_of_undefined_length_holds_implicit_vr() -> None:
    """PS3.5 6.2.2; deeper ones of every length are passed over as they are."""
    deep = implicit(NESTED, b"", UNDEFINED) + implicit(0xFFFEE000, implicit(ID, b"AB")) + SEQUENCE_END
    content = item(implicit(ID, b"AB") + deep) + implicit(0xFFFEE000, implicit(0x00100000, b"abcd")) + SEQUENCE_END
    un = struct.pack("<HH2sHI", 9, 0x1002, b"UN", 0, UNDEFINED)
    behind = explicit(0x00100040, b"CS", b"F ")
    there = convert(un + content + behind, EXPLICIT_LE, IMPLICIT_LE)
    assert there == implicit(PRIVATE_SEQUENCE, b"", UNDEFINED) + content + implicit(0x00100040, b"F ")
    big = read(convert(un + content + behind, EXPLICIT_LE, EXPLICIT_BE), EXPLICIT_BE)
    assert big[PRIVATE_SEQUENCE].VR == "SQ"
    assert [inner.get(ID).value for inner in big[PRIVATE_SEQUENCE].value[:1]] == ["AB"]
    big_un = struct.pack(">HH2sHI", 9, 0x1002, b"UN", 0, UNDEFINED) + content + be(0x00100040, b"CS", b"F ")
    assert convert(big_un, EXPLICIT_BE, EXPLICIT_LE) == un + content + behind


def test_an_unknown_sequence_of_implicit_vr_is_a_sequence() -> None:
    data = (
        implicit(PRIVATE_SEQUENCE, b"", UNDEFINED) + item(implicit(ID, b"AB") + implicit(PRIVATE, b"cd")) + SEQUENCE_END
    )
    found = read(convert(data, IMPLICIT_LE, EXPLICIT_LE), EXPLICIT_LE)[PRIVATE_SEQUENCE]
    assert (found.VR, found.value[0][ID].value, found.value[0][PRIVATE].value) == ("SQ", "AB", b"cd")
    assert convert(convert(data, IMPLICIT_LE, EXPLICIT_LE), EXPLICIT_LE, IMPLICIT_LE) == data


def test_what_the_dictionary_takes_for_a_sequence_and_is_none_goes_as_un() -> None:
    for value in (b"", b"text", b"twelve bytes"):
        turned = convert(implicit(NESTED, value) + implicit(ID + 0x300000, b""), IMPLICIT_LE, EXPLICIT_LE)
        assert explicit(NESTED, b"UN", value) in turned or not value


def test_lengths_that_would_be_wrong_are_left_out() -> None:
    lengths = implicit(0x00080000, bytes(4)) + implicit(0x00080001, bytes(4)) + implicit(0x00090000, bytes(4))
    assert convert(lengths + implicit(ID, b"AB"), IMPLICIT_LE, EXPLICIT_LE) == explicit(ID, b"LO", b"AB")


def test_implicit_vr_that_is_declared_explicit_is_seen() -> None:
    data = implicit(0x00080060, b"CT") + implicit(ID, b"AB")
    assert convert(data, EXPLICIT_LE, IMPLICIT_LE) == data
    assert refused(data, EXPLICIT_BE) == "bad-vr"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (explicit(PIXELS, b"OB", b"", UNDEFINED) + implicit(0xFFFEE000, b"") + SEQUENCE_END, "bad-length"),
        (explicit(PIXELS, b"UN", b"", UNDEFINED) + implicit(0xFFFEE000, b"") + SEQUENCE_END, "bad-length"),
        (explicit(0x60003000, b"OW", b"", UNDEFINED) + implicit(0xFFFEE000, b"") + SEQUENCE_END, "bad-length"),
        (explicit(PRIVATE, b"ZZ", b"ab"), "bad-vr"),
        (explicit(ID, b"LO", b"AB", 8), "truncated"),
        (explicit(ID, b"LO", b"AB")[:6], "truncated"),
        (explicit(NESTED, b"SQ", b"", UNDEFINED), "truncated"),
        (explicit(NESTED, b"SQ", b"", UNDEFINED) + implicit(0xFFFEE000, b"", UNDEFINED), "truncated"),
        (explicit(NESTED, b"SQ", implicit(0xFFFEE000, b"", 100)) + explicit(ID, b"LO", b"x" * 200), "truncated"),
        (explicit(NESTED, b"SQ", implicit(0xFFFEE000, b"", UNDEFINED)) + ITEM_END + SEQUENCE_END, "truncated"),
        (explicit(NESTED, b"SQ", explicit(ID, b"LO", b"AB")), "bad-delimiter"),
        (explicit(NESTED, b"SQ", b"", UNDEFINED) + ITEM_END, "bad-delimiter"),
        (ITEM_END, "bad-delimiter"),
        (SEQUENCE_END, "bad-delimiter"),
        (nested(70), "too-deep"),
        (explicit(PRIVATE, b"UN", b"", UNDEFINED) + nested(70, vr=False), "too-deep"),
    ],
)  # fmt: skip
def test_what_cannot_be_converted_is_refused_by_the_survey(data: bytes, code: str) -> None:
    if data.startswith(b"\x09\0") and code == "too-deep":
        data = data[:12] + b"".join((implicit(0xFFFEE000, b"", UNDEFINED), data[12:], ITEM_END, SEQUENCE_END))
    stream = ByteStream.of_place(lambda at, count: data[at : at + count], len(data))
    with pytest.raises(BadContent) as caught:
        surveyed(stream, EXPLICIT_LE, IMPLICIT_LE)
    assert caught.value.code == code


def test_elements_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(converting, "MAX_ELEMENTS", 10)
    monkeypatch.setattr(converting, "MAX_FACTS", 2)
    assert refused(explicit(ID, b"LO", b"") * 11) == "too-many-elements"
    assert refused(sq(*[signed(1)] * 3), IMPLICIT_LE, EXPLICIT_LE) == "too-many-elements"


def test_an_object_that_is_another_one_than_was_surveyed_is_refused() -> None:
    first, second = (signed(value) + implicit(PADDING, b"ab") for value in (0, 1))
    facts = surveyed(ByteStream.of_pieces(iter([first])), IMPLICIT_LE, EXPLICIT_LE)
    with pytest.raises(BadContent, match="another one"):
        list(converted(ByteStream.of_pieces(iter([second])), IMPLICIT_LE, EXPLICIT_LE, facts))


def test_big_values_come_in_pieces_and_are_passed_over_by_the_survey() -> None:
    size = 8 * converting.PIECE
    data = implicit(BITS, b"\x10\0") + implicit(PIXELS, b"abcdefgh" * (size // 8)) + implicit(0xFFFCFFFC, bytes(2))
    read_bytes = 0

    def place(at: int, count: int) -> bytes:
        nonlocal read_bytes
        read_bytes += count
        return data[at : at + count]

    facts = surveyed(ByteStream.of_place(place, len(data)), IMPLICIT_LE, EXPLICIT_BE)
    assert read_bytes < size / 8
    pieces = list(converted(ByteStream.of_pieces(data[at : at + 1000] for at in range(0, len(data), 1000)),
                            IMPLICIT_LE, EXPLICIT_BE, facts))  # fmt: skip
    assert max(map(len, pieces)) <= 2 * converting.PIECE
    expected = (
        be(BITS, b"US", b"\0\x10") + be(PIXELS, b"OW", b"badcfehg" * (size // 8)) + be(0xFFFCFFFC, b"OB", bytes(2))
    )
    assert b"".join(pieces) == expected


def test_a_deflated_object_is_inflated_within_bounds() -> None:
    data = explicit(ID, b"LO", b"AB") + explicit(PIXELS, b"OW", b"ab" * 500_000)
    packed = deflated(data)
    for target in SYNTAXES:
        streams = [ByteStream.of_pieces(inflated(iter([packed]), len(packed))) for _ in range(2)]
        facts = surveyed(streams[0], DEFLATED, target)
        assert b"".join(converted(streams[1], DEFLATED, target, facts)) == (
            data if target == EXPLICIT_LE else convert(data, EXPLICIT_LE, target)
        )
    for broken in (packed[: len(packed) // 2], b"\xff" * 20, deflated(bytes(10_000_000))):
        assert_bounded = inflated(iter([broken]), len(broken) if broken[:1] == b"\xff" else 10)
        with pytest.raises(BadContent) as caught:
            list(assert_bounded)
        assert caught.value.code == "bad-deflate"


def test_every_syntax_without_compression_is_offered_as_implicit_vr_and_no_other() -> None:
    """PS3.5 10.1."""
    for syntax in TRANSFER_SYNTAXES:
        offered = {other for _, other in instead_of(("1.2", syntax))} | {syntax}
        assert (IMPLICIT_LE in offered) is (syntax in UNCOMPRESSED)
        assert offered == ({syntax, *SYNTAXES} if syntax in UNCOMPRESSED else {syntax})
    assert instead_of(("1.2", EXPLICIT_BE))[0] == ("1.2", EXPLICIT_LE)  # keeps the VRs of private elements
    assert {short_name(syntax) for syntax in UNCOMPRESSED} == {"explicit-le", "implicit-le", "explicit-be", "deflated"}
