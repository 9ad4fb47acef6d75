"""Worklist documents, and identifiers encoded and read by pydicom as the foreign side."""

from __future__ import annotations

import struct
from io import BytesIO
from typing import Any

from pydicom import config
from pydicom.charset import convert_encodings, python_encoding
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence

from broker.dicom.dataset.read import decode_data_set
from broker.worklist.query.keys import Query
from broker.worklist.query.negotiation import BASELINE, Agreed
from broker.worklist.query.parse import parse

IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
SPS = "ScheduledProcedureStepSequence"
DATE = "ScheduledProcedureStepStartDate"
TIME = "ScheduledProcedureStepStartTime"
STATION = "ScheduledStationAETitle"


def document(*, step: dict[str, Any] | None = None, **root: Any) -> dict[str, Any]:
    """A full worklist document; arguments replace its values."""
    code = {"CodeValue": "CTABD", "CodingSchemeDesignator": "99RIS", "CodeMeaning": "CT abdomen"}
    item = {
        "ScheduledStationAETitle": ["CT01"], DATE: "20260312", TIME: "100000", "Modality": "CT",
        "ScheduledProcedureStepID": "S1", "ScheduledProcedureStepDescription": "CT abdomen",
        "ScheduledProcedureStepStatus": "SCHEDULED", "ScheduledPerformingPhysicianName": "HOUSE^GREG",
        "ScheduledProtocolCodeSequence": [code], **(step or {}),
    }  # fmt: skip
    return {
        "PatientName": "DOE^JOHN", "PatientID": "P1", "PatientBirthDate": "19700101", "PatientSex": "M",
        "AccessionNumber": "A1", "RequestedProcedureID": "R1", "StudyInstanceUID": "1.2.3.4",
        "RequestedProcedureDescription": "Abdomen", "RequestedProcedureCodeSequence": [code],
        "MedicalAlerts": ["PACEMAKER", "MRSA"], "PregnancyStatus": 4, SPS: [item], **root,
    }  # fmt: skip


def dataset(keys: dict[Any, Any]) -> Dataset:
    """A pydicom data set of keywords or tags; a list of dicts is a sequence. Values are not validated."""
    found = Dataset()
    for key, value in keys.items():
        tag = tag_for_keyword(key) if isinstance(key, str) else key
        assert tag is not None, key
        if isinstance(value, tuple):
            vr, value = value
        elif isinstance(value, list) and all(isinstance(item, dict) for item in value):
            vr, value = "SQ", Sequence([dataset(item) for item in value])
        else:
            vr = dictionary_VR(tag)
        found.add(DataElement(tag, vr, value, validation_mode=config.IGNORE))
    return found


def encoded(keys: dict[Any, Any], *, implicit: bool = True, charset: list[str] | None = None) -> bytes:
    """The identifier as pydicom encodes it; a character set unknown to pydicom is put in front as bytes."""
    found, head = dataset(keys), b""
    if charset is not None and all(term in python_encoding for term in charset):
        found.SpecificCharacterSet = charset
    elif charset is not None:
        value = "\\".join(charset).encode().ljust(10)
        head = struct.pack("<HHI", 0x0008, 0x0005, len(value)) + value
        assert implicit
        charset = None
    out = DicomBytesIO()
    out.is_little_endian, out.is_implicit_VR = True, implicit
    write_dataset(out, found, parent_encoding=convert_encodings(charset or [""]))
    return head + out.getvalue()


def query(
    keys: dict[Any, Any], *, implicit: bool = True, charset: list[str] | None = None, options: Agreed = BASELINE
) -> Query:
    """The query of an identifier, through the wire form."""
    data = encoded(keys, implicit=implicit, charset=charset)
    return parse(decode_data_set(data, IMPLICIT if implicit else EXPLICIT), options)


def read(data: bytes, *, implicit: bool = True) -> Dataset:
    """An answer as pydicom reads it, with text decoded by its own character set."""
    found = read_dataset(BytesIO(data), implicit, True)
    with config.disable_value_validation():  # it counts the padding of a value as a character
        found.decode()
    return found


CODES: dict[str, Any] = {"CodeValue": "", "CodingSchemeDesignator": "", "CodeMeaning": ""}
# the queries of real devices: keys, character set, implicit VR
DEVICES: dict[str, tuple[dict[Any, Any], list[str] | None, bool]] = {
    "ct broad": (
        {
            "PatientName": "", "PatientID": "", "PatientBirthDate": "", "PatientSex": "", "PatientWeight": "",
            "AccessionNumber": "", "RequestedProcedureID": "", "StudyInstanceUID": "",
            "RequestedProcedureDescription": "", "RequestedProcedureCodeSequence": [],
            "ReferencedStudySequence": [], "ReferencedPatientSequence": [], "MedicalAlerts": "", "Allergies": "",
            "PregnancyStatus": None,
            SPS: [{
                STATION: "CT01 ", DATE: "20260312", TIME: "", "Modality": "CT", "ScheduledProcedureStepID": "",
                "ScheduledProcedureStepDescription": "", "ScheduledProtocolCodeSequence": [{}],
            }],
        }, ["ISO_IR 100"], True,
    ),
    "mr range": (
        {
            "PatientName": "", "PatientID": "", 0x00190010: ("LO", "VENDOR"), 0x00191001: ("LO", ""),
            SPS: [{STATION: "CT01", DATE: "20260311-20260313", TIME: "0000-2359"}],
        }, ["ISO_IR 192"], False,
    ),
    "ultrasound by name": (
        {
            "PatientName": "LEF*", "AdmissionID": "", "CurrentPatientLocation": "", "RequestingPhysician": "",
            "ReferringPhysicianName": "", SPS: [{"Modality": "US", DATE: ""}],
        }, None, True,
    ),
    "barcode": ({"AccessionNumber": "A26031200451", SPS: [{}]}, ["ISO_IR 100"], True),
    "mammography": ({SPS: [{"Modality": ["MG", "US"], STATION: ""}]}, ["ISO_IR 100"], True),
    "c-arm": (
        {"PatientName": "", "PatientID": "", SPS: [{STATION: "*", DATE: "20260312-"}]}, ["", "ISO 2022 IR 87"], True,
    ),
    "old device": (
        {
            0x00080000: ("UL", 10), "QueryRetrieveLevel": "WORKLIST", 0x00100000: ("UL", 10), "PatientName": "",
            SPS: [{TIME: "08:00:00-18:00:00", DATE: "2026.03.12"}],
        }, None, True,
    ),
}  # fmt: skip
