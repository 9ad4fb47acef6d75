"""Orders from CSV, dumps and worklist files: values as they stand, errors by row and line."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID
from support.worklist.worklist import EXPLICIT, IMPLICIT, SPS, dataset

from broker.cli.imports import dump, sheet
from broker.cli.imports import worklist_file as data_sets
from broker.cli.imports.items import ImportItem
from broker.dicom.dataset.read import Element
from broker.errors import BadContent
from broker.orders.documents import document
from broker.worklist.source.order_document import order as order_of

HEAD = "accession;patient_id;name;Modality;station;date;time;description"


def rows(*lines: str, head: str = HEAD, encoding: str = "utf-8", skip: bool = False) -> list[ImportItem]:
    data = "\n".join([head, *lines]).encode("latin-1" if encoding == "latin-1" else "utf-8")
    return list(sheet.read("a.csv", data, encoding, skip_unknown=skip))


def test_a_row_is_an_order() -> None:
    (item,) = rows("A1;P1;Müller^Käthe;CT;CT01\\CT02;2030-03-12;10:30;Thorax")
    assert item.place == "a.csv row 2"
    assert item.document == {
        "patient": {"PatientID": "P1", "PatientName": "Müller^Käthe"}, "visit": {},
        "request": {"AccessionNumber": "A1"},
        "procedures": [{"RequestedProcedureDescription": "Thorax", "steps": [{
            "Modality": "CT", "ScheduledStationAETitle": ["CT01", "CT02"],
            "ScheduledProcedureStepStartDate": "2030-03-12", "ScheduledProcedureStepStartTime": "10:30",
        }]}],
    }  # fmt: skip
    assert document.convert(item.document, ()).findings == ()


@pytest.mark.parametrize("mark", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1"])
def test_delimiters_and_encodings(mark: str, encoding: str) -> None:
    text = f'"Accession Number"{mark}PATIENT-ID{mark}PatientName\r\nA1{mark}P1{mark}"Mül{mark}ler^""K"""\r\n'
    (item,) = sheet.read("a", text.encode(encoding), encoding, skip_unknown=False)
    assert item.document is not None
    assert item.document["patient"] == {"PatientID": "P1", "PatientName": f'Mül{mark}ler^"K"'}


def test_rows_with_the_same_accession_number_are_one_order() -> None:
    items = rows(
        "A1;P1;A^B;CT;CT01;20300312;1030;Thorax", "A2;P2;C^D;CT;CT01;20300312;1030;Thorax",
        "A1;P1;;MR;MR01;20300313;1030;Thorax", "A1;P1;A^B;US;US1;20300314;1030;Abdomen", ";;;;;;;",
    )  # fmt: skip
    assert [item.place for item in items] == ["a.csv rows 2, 4, 5", "a.csv row 3"]
    assert items[0].document is not None
    procedures = items[0].document["procedures"]
    assert [(one["RequestedProcedureDescription"], len(one["steps"])) for one in procedures] == [
        ("Thorax", 2), ("Abdomen", 1),
    ]  # fmt: skip


def test_a_row_without_the_accession_number_belongs_to_its_order_number() -> None:
    head = "accession;order_number;patient_id;name;modality;description"
    items = rows(
        "A1;O1;P1;A^B;CT;x", ";O1;P1;A^B;MR;x", "A2;O1;P1;A^B;CT;x", ";O3;P1;A^B;CT;x", "A3;O3;P1;A^B;MR;x", head=head
    )
    assert [item.place for item in items] == ["a.csv rows 2, 3", "a.csv row 4", "a.csv rows 5, 6"]
    found = [item.document["request"]["AccessionNumber"] for item in items if item.document]
    assert found == ["A1", "A2", "A3"]


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (";P1;A^B;CT;;;;x", "an accession or order number is needed"),
        ("A1;P1;A^B;CT;;;;x;y", "9 cells, but 8 columns"),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_used_is_told_by_its_number(line: str, error: str) -> None:
    good, bad = sorted(rows("A9;P1;A^B;CT;;;;x", line), key=lambda item: item.error)
    assert good.document is not None
    assert (bad.place, bad.document) == ("a.csv row 3", None)
    assert bad.error.startswith(error)


def test_rows_of_one_order_must_not_contradict_each_other() -> None:
    (item,) = rows("A1;P1;A^B;CT;;;;x", "A1;P2;A^B;CT;;;;x")
    assert item.error == "PatientID differs from row 2, which has the same order number"


def test_codes_and_other_order_numbers() -> None:
    (item,) = rows(
        "PL1;P1;A^B;CT;THX^Thorax^99LOC\\ABD;71.5", head="order_number;patient_id;name;modality;procedure_code;weight"
    )
    assert item.document is not None
    assert item.document["procedures"][0]["RequestedProcedureCodeSequence"] == [
        {"CodeValue": "THX", "CodingSchemeDesignator": "99LOC", "CodeMeaning": "Thorax"},
        {"CodeValue": "ABD", "CodingSchemeDesignator": "99LOCAL", "CodeMeaning": "ABD"},
    ]
    assert document.convert(item.document, ()).findings == ()


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", "no header"), (b"foo,bar\n1,2", r"unknown columns \(see --skip-unknown\): foo, bar"),
        (b"name,PatientName,accession\n", "two columns for PatientName"),
        ("name\nMüller".encode("latin-1"), "not utf-8"),
        (b"ScheduledProcedureStepStatus\nx", "unknown columns"), (b"accession\n" + b"x" * 200_000, "row 2: not CSV"),
        (b"fo\x1b[31mo\n", r"unknown columns \(see --skip-unknown\): fo\[31mo"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_list_of_orders(data: bytes, error: str) -> None:
    with pytest.raises(BadContent, match=error):
        list(sheet.read("a.csv", data, "utf-8", skip_unknown=False))


def test_unknown_columns_can_be_skipped() -> None:
    (item,) = rows("A1;x;P1;A^B", head="accession;foo;patient_id;name", skip=True)
    assert item.document is not None
    assert item.document["patient"] == {"PatientID": "P1", "PatientName": "A^B"}


@given(st.text(max_size=300))
def test_any_text_is_read_or_refused(text: str) -> None:
    for head in ("accession,patient_id,name\n", ""):
        try:
            items = list(sheet.read("a", (head + text).encode("utf-8", "replace"), "utf-8", skip_unknown=False))
        except BadContent:
            continue
        assert all((item.document is None) == bool(item.error) for item in items)


DUMP = b"""
# a comment
(0008,0005) CS [ISO_IR 100]   #  10, 1 SpecificCharacterSet
(0008,0050) SH  00001
(0008,0050) SH  00002
(0010,0010) PN [M\xfcller^K\xe4the]
(0010,0020) LO [a [b] #c]     # 1, 1 PatientID
(0010,0040) CS (no value available)
(0010,2000) LO  ONE\\TWO # 7, 2 MedicalAlerts
(0032,1060) LO  Thorax
(0008,0090) PN [HOUSE^GREG]
(0009,0010) LO [OWN]
(0040,0100) SQ (Sequence with explicit length #=1)
  (fffe,e000) na (ImportItem with explicit length #=12)
    (0008,0060) CS [CT]
    (0040,0001) AE  AA32\\AA33
    (0040,0002) DA  20300312
    (0040,0003) TM  085607.5
    (0008,1110) SQ
    (fffe,e0dd) -
  (fffe,e00d) na (ItemDelimitationItem)
(fffe,e0dd) na (SequenceDelimitationItem)
"""


def test_a_dump_is_an_order() -> None:
    left_out: Counter[str] = Counter()
    order = order_of(dump.read(DUMP), left_out)
    assert order == {
        "patient": {"PatientName": "Müller^Käthe", "PatientID": "a [b] #c"},
        "visit": {"MedicalAlerts": ["ONE", "TWO"], "ReferringPhysicianName": "HOUSE^GREG"},
        "request": {"AccessionNumber": "00001"},
        "procedures": [{"RequestedProcedureDescription": "Thorax", "steps": [{
            "Modality": "CT", "ScheduledStationAETitle": ["AA32", "AA33"],
            "ScheduledProcedureStepStartDate": "20300312", "ScheduledProcedureStepStartTime": "085607.5",
        }]}],
    }  # fmt: skip
    assert left_out == {"(0009,0010)": 1}
    assert document.convert(order, ()).findings == ()
    assert dump.looks_like(DUMP)
    assert not dump.looks_like(HEAD.encode())


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("x", "line 1: not of the form"), ("\n(0010,0010) PN [ABC", "line 2: the value is cut off"),
        ("(0040,0100) SQ\n(fffe,e000) -\n(0008,0060) CS CT", "line 3: a sequence does not end"),
        ("(0040,0100) SQ", "line 1: a sequence does not end"), ("(fffe,e00d) -", "line 1: no item"),
        ("(0040,0100) SQ\n(0008,0060) CS CT", "line 2: an item of the sequence is expected"),
        ("(0040,0100) SQ\n(fffe,e000) -\n" * 9, "line 17: nested deeper than 8"),
        ("(0010,0010) PN A\n" * 5000, "line 4097: more than 4096 elements"),
    ],
)  # fmt: skip
def test_a_dump_that_is_none(text: str, error: str) -> None:
    with pytest.raises(BadContent, match=error):
        dump.read(text.encode())


TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=0xFFFF, exclude_categories=("Cc", "Cs")), max_size=20)


@given(TEXT, TEXT, st.lists(TEXT, max_size=3))
def test_what_stands_in_brackets_is_kept(name: str, patient_id: str, modalities: list[str]) -> None:
    lines = ["(0008,0005) CS [ISO_IR 192]", f"(0010,0010) PN [{name}]", f"(0010,0020) LO [{patient_id}] # 1, 1 X"]
    lines += ["(0040,0100) SQ"]
    for one in modalities:
        lines += ["(fffe,e000) -", f"(0008,1030) LO [{one}]", "(fffe,e00d) -"]
    found = dump.read("\n".join([*lines, "(fffe,e0dd) -"]).encode())
    assert found[0x00100010].text == name
    assert found[0x00100020].text == patient_id
    assert [item[0x00081030].text for item in found[0x00400100].items] == modalities


@given(st.binary(max_size=300) | st.lists(st.sampled_from(DUMP.splitlines(keepends=True)), max_size=12).map(b"".join))
def test_any_bytes_are_a_dump_or_refused(data: bytes) -> None:
    try:
        found = dump.read(data)
    except BadContent:
        return
    assert all(isinstance(element, Element) for element in found.values())
    order_of(found, Counter())


SMALL = {
    0x00080005: ("CS", "ISO_IR 192"), "AccessionNumber": "A1", "PatientName": "山田^太郎", "PatientID": "P1",
    "RequestedProcedureDescription": "Thorax", "StudyID": "7", SPS: [{"Modality": "CT"}],
}  # fmt: skip


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, "1.2.840.10008.1.2.2", ""])
def test_worklist_files_of_any_uncompressed_syntax(syntax: str, tmp_path: Path) -> None:
    found = dataset(SMALL)
    path = tmp_path / "a.wl"
    if syntax:
        found.file_meta = FileMetaDataset()
        found.file_meta.TransferSyntaxUID = UID(syntax)
        found.file_meta.MediaStorageSOPClassUID = UID("1.2.276.0.7230010.3.1.0.1")
        found.file_meta.MediaStorageSOPInstanceUID = UID("1.2.3")
        out = io.BytesIO()
        dcmwrite(out, found, enforce_file_format=True, **_encoding(syntax))
        path.write_bytes(out.getvalue())
    else:
        dcmwrite(path, found, implicit_vr=False, little_endian=True)
    left_out: Counter[str] = Counter()
    order = order_of(data_sets.read(path), left_out)
    assert order["patient"] == {"PatientName": "山田^太郎", "PatientID": "P1"}
    assert order["procedures"] == [{"RequestedProcedureDescription": "Thorax", "steps": [{"Modality": "CT"}]}]
    assert left_out == {"StudyID": 1}


def _encoding(syntax: str) -> dict[str, bool]:
    return {"implicit_vr": syntax == IMPLICIT, "little_endian": syntax != "1.2.840.10008.1.2.2"}


def test_worklist_files_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "a.wl"
    path.write_bytes(b"x" * 300)
    with pytest.raises(BadContent, match="cannot be read"):
        data_sets.read(path)
    with path.open("wb") as large:
        large.truncate(10 * 1024**3)
    with pytest.raises(OSError, match="more than"):
        data_sets.read(path)
