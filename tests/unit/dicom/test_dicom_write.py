"""Encoding of elements and of whole documents, re-read by our own reader and compared with pydicom's bytes."""

from __future__ import annotations

from io import BytesIO

import pytest
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset

from broker.dicom.dataset.charset import DEFAULT, LATIN_1, UTF_8
from broker.dicom.dataset.encoding import LONG_VRS, NAMES, SHORT_VRS, dictionary_vr, element, header
from broker.dicom.dataset.read import decode_data_set
from broker.dicom.dataset.write import DataSetWriter, ElementSpec, cut
from broker.dicom.uids import EXPLICIT_LE, IMPLICIT_LE

NAME = ElementSpec(tag=0x00100010, vr="PN", keyword="PatientName")
ROWS = ElementSpec(tag=0x00280010, vr="US", keyword="Rows")
CODE = ElementSpec(tag=0x00080100, vr="SH", keyword="CodeValue")
CODES = ElementSpec(tag=0x00081032, vr="SQ", keyword="ProcedureCodeSequence", children=(CODE,))


@pytest.mark.parametrize("implicit", [True, False])
@pytest.mark.parametrize("vr", ["UI", "LO", "UT", "OB", "UN"])
@pytest.mark.parametrize("value", [b"", b"1.2", b"1.23"])
def test_an_element_is_what_pydicom_writes(vr: str, value: bytes, implicit: bool) -> None:
    padded = value + (b"\0" if vr in {"UI", "OB", "UN"} else b" ") * (len(value) % 2)
    out = DicomBytesIO()
    out.is_little_endian, out.is_implicit_VR = True, implicit
    found = Dataset()
    found.add(DataElement(0x00091001, vr, padded if vr in {"OB", "UN"} else value.decode()))
    write_dataset(out, found)
    assert element(0x00091001, vr.encode(), value, implicit=implicit) == out.getvalue()


def test_a_value_too_long_for_its_vr_becomes_un() -> None:
    assert header(0x00100020, b"LO", 0xFFFE, implicit=False) == b"\x10\0\x20\0LO\xfe\xff"
    assert header(0x00100020, b"LO", 0x10000, implicit=False) == b"\x10\0\x20\0UN\0\0\0\0\x01\0"


def test_every_vr_has_one_form_of_header() -> None:
    assert not LONG_VRS & SHORT_VRS
    assert set(NAMES.values()) == LONG_VRS | SHORT_VRS


@pytest.mark.parametrize(
    ("tag", "vr"),
    [(0x00100010, "PN"), (0x00280106, "US or SS"), (0x00091001, ""), (0x00090010, "LO"), (0x00019998, "")],
)
def test_vrs_of_the_dictionary(tag: int, vr: str) -> None:
    assert dictionary_vr(tag) == vr


@pytest.mark.parametrize("syntax", [IMPLICIT_LE, EXPLICIT_LE])
def test_a_document_is_written_in_the_order_of_tags_and_read_back(syntax: str) -> None:
    implicit = syntax == IMPLICIT_LE
    writer = DataSetWriter([ROWS, NAME, CODES], [UTF_8], implicit=implicit)
    data = writer.encode({"PatientName": "Müller^Jürg", "Rows": 258, "ProcedureCodeSequence": [{"CodeValue": "A"}, {}]})
    found = decode_data_set(data, syntax)
    assert list(found.elements) == [0x00080005, 0x00081032, 0x00100010, 0x00280010]
    assert found.charset == ("ISO_IR 192",)
    assert found.elements[0x00100010].text.strip() == "Müller^Jürg"
    assert found.elements[0x00280010].text == "258"
    assert [item[0x00080100].text for item in found.elements[0x00081032].items] == ["A ", ""]
    again = read_dataset(BytesIO(data), implicit, True)
    assert str(again.PatientName) == "Müller^Jürg"


def test_flags_of_a_spec() -> None:
    document = {"ProcedureCodeSequence": [{"CodeValue": "A"}, {"CodeValue": "B"}]}
    specs = [CODES._replace(one_item=True), NAME._replace(optional=True), ElementSpec(tag=0x00091001, vr="LO")]
    found = decode_data_set(DataSetWriter(specs, [DEFAULT], implicit=True).encode(document), IMPLICIT_LE).elements
    assert set(found) == {0x00081032, 0x00091001}
    assert [item[0x00080100].text for item in found[0x00081032].items] == ["A "]


def test_the_first_character_set_that_holds_a_document_is_taken_and_the_last_holds_what_it_can() -> None:
    writer = DataSetWriter([NAME], [LATIN_1, UTF_8], implicit=True)
    assert decode_data_set(writer.encode({"PatientName": "A"}), IMPLICIT_LE).charset == ()
    assert decode_data_set(writer.encode({"PatientName": "Ä"}), IMPLICIT_LE).charset == ("ISO_IR 100",)
    assert decode_data_set(writer.encode({"PatientName": "山"}), IMPLICIT_LE).charset == ("ISO_IR 192",)
    lossy = decode_data_set(DataSetWriter([NAME], [DEFAULT], implicit=True).encode({"PatientName": "Ä"}), IMPLICIT_LE)
    assert (lossy.charset, lossy.elements[0x00100010].text) == ((), "A ")


def test_cutting_keeps_marks_with_their_letters() -> None:
    assert cut("LO", "abcdef", 3) == "abc"
    assert cut("PN", "abcdef=xyz", 3) == "abc=xyz"
    assert cut("LO", "ae\u0301x", 2) == "a"
