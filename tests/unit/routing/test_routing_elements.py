"""Fields of rules read from encoded objects: sequences, n-th values, parts of names, private elements."""

from __future__ import annotations

import itertools
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some
from pydicom import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from broker.dicom import uids
from broker.dicom.dataset.scan import scan
from broker.dicom.dimse.message import PeerAE
from broker.errors import BadContent
from broker.routing.header import facts, tags_of

PEER = PeerAE("CT01", "BROKER", "10.0.0.9", tls_subject="CN=ct1,O=Hospital")
NOW = datetime(2026, 12, 10, 18, 30)  # noqa: DTZ001 - the caller's local time
SYNTAXES = {"implicit": uids.IMPLICIT_LE, "explicit": uids.EXPLICIT_LE, "big endian": uids.EXPLICIT_BE}


def encoded(item: Dataset, syntax: str) -> bytes:
    """An object as pydicom writes it."""
    file = DicomBytesIO()
    file.is_little_endian, file.is_implicit_VR = syntax != uids.EXPLICIT_BE, syntax == uids.IMPLICIT_LE
    write_dataset(file, item)
    file.seek(0)
    return bytes(file.read())


def read(data: bytes, syntax: str, *fields: str) -> dict[str, Any]:
    found = facts(scan(data, syntax, tags_of(fields)), PEER, fields, NOW)
    return {name: values for name, values in found.items() if name.startswith("tag.")}


def code(value: str, scheme: str = "LOCAL", meaning: str = "") -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def example(undefined: bool) -> Dataset:
    item = Dataset()
    item.SpecificCharacterSet = "ISO_IR 192"
    item.ImageType = ["ORIGINAL", "", "AXIAL"]
    item.PatientName = "Yamada^Tarou=山田^太郎=やまだ^たろう"
    item.PixelSpacing = ["0.5", "1.5"]
    item.ProcedureCodeSequence = [code("CTTHX", meaning="Schädel"), code("CTABD", "LN")]
    request = Dataset()
    request.AccessionNumber = "A1"
    request.ScheduledProtocolCodeSequence = [code("P1"), code("P2")]
    item.RequestAttributesSequence = [request, Dataset()]
    block = item.private_block(0x0019, "SIEMENS MR HEADER", create=True)
    block.add_new(0x0C, "IS", "1000")
    other = item.private_block(0x0029, "OURS", create=True)
    other.add_new(0x01, "LO", "wärts")
    if undefined:
        for element in item.iterall():
            if element.VR == "SQ":
                element.is_undefined_length = True
                for inner in element.value:
                    inner.is_undefined_length_sequence_item = True
    return item


WANTED = {
    "tag.ImageType": ("ORIGINAL", "AXIAL"),
    "tag.ImageType[3]": ("AXIAL",),
    "tag.ImageType[2]": None,
    "tag.ImageType[9]": None,
    "tag.PixelSpacing[2]": (1.5,),
    "tag.PatientName.family": ("Yamada", "山田", "やまだ"),
    "tag.PatientName.given": ("Tarou", "太郎", "たろう"),
    "tag.PatientName.ideographic": ("山田^太郎",),
    "tag.PatientName.suffix": None,
    "tag.ProcedureCodeSequence": (2.0,),
    "tag.ProcedureCodeSequence.CodeValue": ("CTTHX", "CTABD"),
    "tag.ProcedureCodeSequence[2].CodeValue": ("CTABD",),
    "tag.ProcedureCodeSequence[3].CodeValue": None,
    "tag.ProcedureCodeSequence[1].CodeMeaning": ("Schädel",),
    "tag.RequestAttributesSequence.ScheduledProtocolCodeSequence.CodeValue": ("P1", "P2"),
    "tag.RequestAttributesSequence.ScheduledProtocolCodeSequence[2].CodeValue": ("P2",),
    "tag.RequestAttributesSequence[2].AccessionNumber": None,
    "tag.RequestAttributesSequence": (2.0,),
    'tag.(0019,xx0C,"SIEMENS MR HEADER")': (1000.0,),
    "tag.(0019,xx0C,SIEMENS MR HEADER)": (1000.0,),
    'tag.(0019,xx0C,"GE")': None,
    "tag.(0029,xx01,OURS)": ("wärts",),
    "tag.PerformedProtocolCodeSequence": None,
}


@pytest.mark.parametrize(("syntax", "undefined"), list(itertools.product(SYNTAXES, [False, True])))
def test_fields_of_every_form_in_every_encoding(syntax: str, undefined: bool) -> None:
    data = encoded(example(undefined), SYNTAXES[syntax])
    found = read(data, SYNTAXES[syntax], *WANTED)
    assert found == {name: values for name, values in WANTED.items() if values is not None}


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_each_item_by_itself(syntax: str) -> None:
    data = encoded(example(False), SYNTAXES[syntax])
    found = read(data, SYNTAXES[syntax], "tag.ProcedureCodeSequence[*].CodeValue",
                 "tag.RequestAttributesSequence[*].ScheduledProtocolCodeSequence[*].CodeValue",
                 "tag.RequestAttributesSequence[*].AccessionNumber")  # fmt: skip
    assert found == {
        "tag.ProcedureCodeSequence[1].CodeValue": ("CTTHX",),
        "tag.ProcedureCodeSequence[2].CodeValue": ("CTABD",),
        "tag.RequestAttributesSequence[1].ScheduledProtocolCodeSequence[1].CodeValue": ("P1",),
        "tag.RequestAttributesSequence[1].ScheduledProtocolCodeSequence[2].CodeValue": ("P2",),
        "tag.RequestAttributesSequence[1].AccessionNumber": ("A1",),
    }


def test_a_sequence_that_is_written_as_un_is_read() -> None:
    """PS3.5 6.2.2: UN of undefined length holds items in implicit VR."""
    inner = encoded(code("CTTHX"), uids.IMPLICIT_LE)
    item = b"\xfe\xff\x00\xe0" + len(inner).to_bytes(4, "little") + inner
    data = b"\x08\x00\x32\x10UN\0\0\xff\xff\xff\xff" + item + b"\xfe\xff\xdd\xe0\0\0\0\0"
    field = "tag.ProcedureCodeSequence.CodeValue"
    assert read(data, uids.EXPLICIT_LE, field) == {field: ("CTTHX",)}


def test_a_sequence_of_nonsense_is_not_there() -> None:
    data = b"\x08\x00\x32\x10SQ\0\0\x0c\0\0\0" + b"not an item!"
    assert read(data, uids.EXPLICIT_LE, "tag.ProcedureCodeSequence", "tag.ProcedureCodeSequence.CodeValue") == {}


def test_who_the_certificate_names() -> None:
    assert facts(scan(b"", uids.IMPLICIT_LE, ()), PEER, [], NOW)["assoc.tls_subject"] == ("CN=ct1,O=Hospital",)


@given(some.binary(max_size=200), some.sampled_from(sorted(SYNTAXES.values())))
def test_any_bytes_in_a_sequence_are_read_or_not_there(value: bytes, syntax: str) -> None:
    order = "big" if syntax == uids.EXPLICIT_BE else "little"
    head = (0x0008).to_bytes(2, order) + (0x1032).to_bytes(2, order)
    head += (b"" if syntax == uids.IMPLICIT_LE else b"SQ\0\0") + len(value).to_bytes(4, order)
    try:
        found = read(head + value, syntax, "tag.ProcedureCodeSequence[*].CodeValue", "tag.ProcedureCodeSequence")
    except BadContent:
        return  # the walk refuses the object
    assert all(isinstance(one, str | float) for values in found.values() for one in values)
