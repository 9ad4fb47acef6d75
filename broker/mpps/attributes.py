"""Lists the attributes of a Modality Performed Procedure Step as data (PS3.4 table F.7.2-1).

Each line: keyword, type in N-CREATE, then `set` where an N-SET may have it, and the type in the final state.
Those of items are indented below their sequence. `CODE` and its like stand for items described once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pydicom.datadict import dictionary_VM, dictionary_VR, tag_for_keyword

_CODE = """
CodeValue 1C
CodingSchemeDesignator 1C
CodingSchemeVersion 3
LongCodeValue 1C
URNCodeValue 1C
CodeMeaning 1"""
_LOOSE = _CODE.replace("CodeMeaning 1", "CodeMeaning 3")
_ISSUER = """
LocalNamespaceEntityID 1C
UniversalEntityID 1C
UniversalEntityIDType 1C"""
_REFERENCE = """
ReferencedSOPClassUID 1
ReferencedSOPInstanceUID 1"""
_ITEMS = {"CODE": _CODE, "LOOSE": _LOOSE, "ISSUER": _ISSUER, "REFERENCE": _REFERENCE}

_TABLE = """
SpecificCharacterSet 1C set
ScheduledStepAttributesSequence 1
  StudyInstanceUID 1
  ReferencedStudySequence 2 REFERENCE
  AccessionNumber 2
  IssuerOfAccessionNumberSequence 3 ISSUER
  PlacerOrderNumberImagingServiceRequest 3
  OrderPlacerIdentifierSequence 3 ISSUER
  FillerOrderNumberImagingServiceRequest 3
  OrderFillerIdentifierSequence 3 ISSUER
  RequestedProcedureID 2
  RequestedProcedureCodeSequence 3 CODE
  RequestedProcedureDescription 2
  ScheduledProcedureStepID 2
  ScheduledProcedureStepDescription 2
  ScheduledProtocolCodeSequence 2 LOOSE
PatientName 2
PatientID 2
IssuerOfPatientID 3
IssuerOfPatientIDQualifiersSequence 3 ISSUER
OtherPatientIDsSequence 3
  PatientID 1
  IssuerOfPatientID 3
  TypeOfPatientID 3
PatientBirthDate 2
PatientSex 2
ReferencedPatientSequence 2 REFERENCE
AdmissionID 3
IssuerOfAdmissionIDSequence 3 ISSUER
ServiceEpisodeID 3
IssuerOfServiceEpisodeIDSequence 3 ISSUER
ServiceEpisodeDescription 3
PerformedProcedureStepID 1
PerformedStationAETitle 1
PerformedStationName 2
PerformedLocation 2
PerformedProcedureStepStartDate 1
PerformedProcedureStepStartTime 1
PerformedProcedureStepStatus 1 set 1
PerformedProcedureStepDescription 2 set
PerformedProcedureTypeDescription 2 set
ProcedureCodeSequence 2 set LOOSE
ReasonForPerformedProcedureCodeSequence 3 set CODE
PerformedProcedureStepEndDate 2 set 1
PerformedProcedureStepEndTime 2 set 1
CommentsOnThePerformedProcedureStep 3 set
PerformedProcedureStepDiscontinuationReasonCodeSequence 3 set CODE
Modality 1
StudyID 2
PerformedProtocolCodeSequence 2 set LOOSE
PerformedSeriesSequence 2 set 1
  PerformingPhysicianName 2
  ProtocolName 1
  OperatorsName 2
  SeriesInstanceUID 1
  SeriesDescription 2
  RetrieveAETitle 2
  ArchiveRequested 3
  ReferencedImageSequence 2 REFERENCE
  ReferencedNonImageCompositeSOPInstanceSequence 2 REFERENCE
"""


@dataclass(frozen=True, slots=True)
class MppsAttribute:
    """An attribute: `type` in N-CREATE, whether an N-SET may have it, whether the final state needs a value of it."""

    keyword: str
    tag: int
    vr: str
    many: bool
    type: str
    settable: bool
    final: bool
    items: Mapping[int, MppsAttribute]


def _parsed(lines: Iterator[str]) -> dict[int, MppsAttribute]:
    """Attributes by tag, in the order of the table."""
    attributes: dict[int, MppsAttribute] = {}
    below: dict[str, list[str]] = {}
    heads: list[str] = []
    for line in lines:
        if line.startswith("  "):
            below.setdefault(heads[-1], []).append(line[2:])
        elif line:
            heads.append(line)
    for head in heads:
        keyword, kind, *more = head.split()
        tag = tag_for_keyword(keyword)
        assert tag is not None, keyword
        shared = next((_ITEMS[word] for word in more if word in _ITEMS), "")
        items = _parsed(iter(below.get(head) or shared.split("\n")))
        many = dictionary_VM(tag) != "1"
        attributes[tag] = MppsAttribute(keyword, tag, dictionary_VR(tag), many, kind, "set" in more, "1" in more, items)
    return attributes


MPPS = _parsed(iter(_TABLE.split("\n")))
TAGS = {attribute.keyword: tag for tag, attribute in MPPS.items()}

STATUS = "PerformedProcedureStepStatus"
SERIES = "PerformedSeriesSequence"
ITEMS = "ScheduledStepAttributesSequence"
REASON = "PerformedProcedureStepDiscontinuationReasonCodeSequence"
END = ("PerformedProcedureStepEndDate", "PerformedProcedureStepEndTime")
# what careless devices set without having created it
FORGIVEN = frozenset({STATUS, SERIES, REASON, *END, "SpecificCharacterSet"})
ENUMERATED = {"ArchiveRequested": frozenset({"YES", "NO"})}
IMAGES = ("ReferencedImageSequence", "ReferencedNonImageCompositeSOPInstanceSequence")
