"""From identifier bytes to a query: reading, liberties of devices, hostile input."""

from __future__ import annotations

import struct
import time

import pytest
from support.worklist.worklist import DATE, DEVICES, EXPLICIT, IMPLICIT, SPS, STATION, TIME, encoded, query

from broker.dicom.dataset.read import MAX_BYTES, BadElement, decode_data_set
from broker.errors import BadContent
from broker.worklist.query.criteria import search_criteria
from broker.worklist.query.keys import StartKey
from broker.worklist.query.parse import parse


def _element(tag: int, value: bytes) -> bytes:
    return struct.pack("<HHI", tag >> 16, tag & 0xFFFF, len(value)) + value


@pytest.mark.parametrize(
    ("device", "named", "supported"),
    [
        ("ct broad", {STATION, DATE, "Modality"}, True),
        ("mr range", {STATION, DATE, TIME}, False),  # a private block
        ("ultrasound by name", {"PatientName", "Modality"}, True),
        ("barcode", {"AccessionNumber"}, True),
        ("mammography", {"Modality"}, True),
        ("c-arm", {DATE}, True),  # a lone * is no key
        ("old device", {DATE, TIME}, True),
    ],
)
@pytest.mark.parametrize("implicit", [True, False])
def test_keys_of_real_devices(device: str, named: set[str], supported: bool, implicit: bool) -> None:
    keys, charset, _ = DEVICES[device]
    found = query(keys, implicit=implicit, charset=charset)
    assert (set(found.named), found.supported) == (named, supported)


def test_list_on_a_single_value_key_is_remarked() -> None:
    keys, charset, implicit = DEVICES["mammography"]
    assert query(keys, charset=charset, implicit=implicit).remarks == ("list-of-values",)


def test_only_the_first_of_several_items_counts() -> None:
    found = query({SPS: [{"Modality": "CT"}, {"Modality": "MR"}]})
    assert found.remarks == ("several-items",)
    assert search_criteria(found).modality.exact == ("CT",)


@pytest.mark.parametrize("sent", [True, False])
def test_other_vr_encoding_than_negotiated_is_read(sent: bool) -> None:
    data = encoded({"PatientID": "P1", SPS: [{"Modality": "CT"}]}, implicit=sent)
    found = parse(decode_data_set(data, EXPLICIT if sent else IMPLICIT))
    assert set(found.named) == {"PatientID", "Modality"}


@pytest.mark.parametrize(
    ("keys", "supported"),
    [
        ({"StationName": ""}, False),
        ({"StationName": "5"}, False),
        ({SPS: [{"StationName": ""}]}, False),
        ({0x00190010: ("LO", "VENDOR")}, True),
        ({"PertinentDocumentsSequence": [{"DocumentTitle": ""}]}, True),
        ({"PertinentDocumentsSequence": [{"DocumentTitle": "X"}]}, False),
        ({"TimezoneOffsetFromUTC": "+0100", "QueryRetrieveLevel": "PATIENT"}, True),
    ],
)
def test_unsupported_keys_are_noted_and_not_matched(keys: dict[object, object], supported: bool) -> None:
    found = query(keys)
    assert (found.supported, found.keys) == (supported, ())


@pytest.mark.parametrize(
    ("keys", "code"),
    [
        ({SPS: [{DATE: "20260230"}]}, "bad-date"),
        ({SPS: [{DATE: "2026-03-12"}]}, "bad-date"),
        ({SPS: [{DATE: "-"}]}, "bad-date"),
        ({SPS: [{DATE: "2026*"}]}, "bad-date"),
        ({SPS: [{DATE: "202603\xb9\xb2"}]}, "bad-date"),
        ({SPS: [{TIME: "2500"}]}, "bad-time"),
        ({SPS: [{TIME: "10:0"}]}, "bad-time"),
        ({SPS: [{TIME: "10.5"}]}, "bad-time"),
        ({"AccessionNumber": [f"{i}*" for i in range(65)]}, "too-many-values"),
    ],
)
def test_keys_that_cannot_be_read(keys: dict[object, object], code: str) -> None:
    with pytest.raises(BadContent) as caught:
        query(keys, charset=["ISO_IR 192"])
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("data", "syntax", "code"),
    [
        (b"\x10\x00\x10", IMPLICIT, "identifier-unreadable"),
        (_element(0x00100010, b"DOE")[:-1], IMPLICIT, "identifier-unreadable"),
        (struct.pack("<HHI", 0x0040, 0x0100, 0xFFFFFFFF), IMPLICIT, "identifier-unreadable"),
        (_element(0x00400100, b"no items here "), IMPLICIT, "identifier-unreadable"),
        (b"\x40\x00\x00\x01LO\x02\x00AB", EXPLICIT, "sequence-expected"),
        (b"\x10\x00\x10\x00SQ\x00\x00" + struct.pack("<I", 8) + _element(0xFFFEE000, b""), EXPLICIT,
         "sequence-not-expected"),
        (b"\x10\x00\x20\x00LO\x00\x00\x10\x00\x30\x00??\x00\x00", EXPLICIT, "identifier-unreadable"),
        (b"\xfe\xff\x00\xe0\x00\x00\x00\x00", IMPLICIT, "identifier-unreadable"),
        (bytes(MAX_BYTES + 1), IMPLICIT, "identifier-too-large"),
        (_element(0x00400100, _element(0xFFFEE000, b"") * 5000), IMPLICIT, "identifier-too-large"),
        (struct.pack("<HHIHHI", 0x0040, 0x0100, 0xFFFFFFFF, 0xFFFE, 0xE000, 0xFFFFFFFF) * 2000, IMPLICIT,
         "identifier-too-deep"),
    ],
)  # fmt: skip
def test_hostile_bytes_are_refused(data: bytes, syntax: str, code: str) -> None:
    with pytest.raises(BadContent) as caught:
        decode_data_set(data, syntax)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("data", "syntax"),
    [
        (_element(0x00081156, b"TESTTEXT"), IMPLICIT),  # a sequence by the dictionary, of no use here
        (_element(0x00081156, b"TEXT"), IMPLICIT),
        (_element(0x00321064, b"THORAX"), IMPLICIT),  # one that is answered
        (
            _element(0x00321064, _element(0xFFFEE000, b"")[:-2] + b"\x10\0"),
            IMPLICIT,
        ),  # an item longer than its sequence
        (b"\x08\x00\x56\x11LO\x04\x00TEXT", EXPLICIT),
        (b"\x08\x00\x56\x11SQ\x00\x00\x04\x00\x00\x00TEXT", EXPLICIT),
        (b"\x08\x00\x50\x00SQ\x00\x00" + struct.pack("<I", 8) + _element(0xFFFEE000, b""), EXPLICIT),
    ],
)
def test_a_misfit_among_the_optional_keys_is_left_out(data: bytes, syntax: str) -> None:
    """PS3.4 C.2.2.1.3: an optional key that is not supported never fails a query."""
    patient = encoded({"PatientID": "P1"}, implicit=syntax == IMPLICIT)
    found = parse(decode_data_set(data + patient, syntax, passes_misfits=True))
    assert (found.named, found.supported) == (("PatientID",), False)
    spec = next(spec for spec in found.return_keys if spec.keyword != "PatientID")
    assert spec.vr == ("SH" if spec.tag == 0x00080050 else "SQ")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (_element(0x00400100, b"no items here "), "sequence-expected"),
        (_element(0x00400100, b"CT"), "sequence-expected"),
    ],
)
def test_a_misfit_that_a_query_stands_on_is_refused(data: bytes, code: str) -> None:
    with pytest.raises(BadElement) as caught:
        parse(decode_data_set(data, IMPLICIT, passes_misfits=True))
    assert (caught.value.code, caught.value.tag) == (code, 0x00400100)
    items = b"\x10\x00\x20\x00SQ\x00\x00" + struct.pack("<I", 8) + _element(0xFFFEE000, b"")
    with pytest.raises(BadElement) as caught:
        parse(decode_data_set(items, EXPLICIT, passes_misfits=True))
    assert (caught.value.code, caught.value.tag) == ("sequence-not-expected", 0x00100020)


def test_ten_kilobytes_of_stars_cost_nothing() -> None:
    started = time.process_time()
    found = query({"PatientName": "*" * 10_000, "AccessionNumber": "*?" * 5_000, "PatientID": "a*" * 5_000})
    assert set(found.named) == {"AccessionNumber", "PatientID"}
    assert time.process_time() - started < 1


def test_values_are_decoded_by_the_character_set_of_the_query() -> None:
    for charset, name in ((["ISO_IR 126"], "ΠΑΠΑΣ"), (["ISO_IR 192"], "山田"), (["", "ISO 2022 IR 87"], "山田^太郎")):
        found = query({"PatientID": "", "RequestingService": name}, charset=charset)
        (key,) = found.keys
        assert key.exact == {name}


@pytest.mark.parametrize("charset", [b"ISO_IR 999", b""])
def test_unknown_or_missing_character_set_is_read_as_latin_1(charset: bytes) -> None:
    data = _element(0x00080005, charset) + _element(0x00321033, "Hôpital".encode("latin_1") + b" ")
    (key,) = parse(decode_data_set(data, IMPLICIT)).keys
    assert key.exact == {"Hôpital"}


def test_combined_range_is_one_key_and_bounds_the_search() -> None:
    found = query({SPS: [{DATE: "20260705-20260707", TIME: "1000-1800"}]})
    (sequence,) = found.keys
    assert [type(key) for key in sequence.keys] == [StartKey]
    criteria = search_criteria(found)
    assert (criteria.start_from, criteria.start_until) == ("20260705100000", "20260707180059.999999")


@pytest.mark.parametrize(
    ("keys", "field", "exact", "prefixes"),
    [
        ({"AccessionNumber": "A%_1"}, "accession", ("A%_1",), ()),
        ({"PatientID": ["P1", "Q*"]}, "patient_id", ("P1",), ("Q",)),
        ({SPS: [{STATION: "CT0?"}]}, "stations", (), ("CT0",)),
        ({"StudyInstanceUID": ["1.2", "1.3"]}, "study_instance_uid", ("1.2", "1.3"), ()),
    ],
)
def test_plan_takes_exact_values_and_literal_prefixes(
    keys: dict[object, object], field: str, exact: tuple[str, ...], prefixes: tuple[str, ...]
) -> None:
    words = getattr(search_criteria(query(keys)), field)
    assert (words.exact, words.prefixes) == (exact, prefixes)


def test_plan_leaves_what_sql_cannot_do() -> None:
    criteria = search_criteria(query({"PatientID": "*1", "AccessionNumber": "A\0B", SPS: [{TIME: "0800-1200"}]}))
    assert (criteria.patient_id, criteria.accession, criteria.start_from) == (None, None, None)
    assert criteria.statuses == ("SCHEDULED", "ARRIVED", "READY")
    assert search_criteria(query({SPS: [{"ScheduledProcedureStepStatus": "STARTED"}]})).statuses == ("STARTED",)
    assert search_criteria(query({SPS: [{"ScheduledProcedureStepStatus": "S*"}]})).statuses is None


@pytest.mark.parametrize(
    ("terms", "data", "text"),
    [
        ("\\ISO 2022 IR 58", b"Wang=\xcd\xf5^\xd0\xa1\xb6\xab", "Wang=王^小东"),
        ("\\ISO 2022 IR 149", b"Hong=\xfb\xf3^\xd1\xce\xd4\xd7", "Hong=洪^吉洞"),
        ("\\ISO 2022 IR 149", b"\x1b$)C\xfb\xf3^\xd1\xce\xd4\xd7", "洪^吉洞"),
        ("\\ISO 2022 IR 149", b"\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7", "洪^吉洞"),
        ("ISO_IR 100", b"M\xfcller", "Müller"),
        ("", b"M\xfcller", "Müller"),
    ],
)
def test_escapes_that_a_peer_left_out_are_understood(terms: str, data: bytes, text: str) -> None:
    found = decode_data_set(_element(0x00080005, terms.encode()) + _element(0x00100010, data), IMPLICIT)
    assert found.elements[0x00100010].text == text
