"""The attributes of the worklist that we support, as data (PS3.4 table K.6-1).

Each has its return type; a type that starts with `-` is never used for matching. Everything that does not
stand here is an unsupported key: it is returned empty and the answers carry the warning FF01.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydicom.datadict import dictionary_VR, tag_for_keyword

SPECIFIC_CHARACTER_SET = 0x00080005
STEP_SEQUENCE = "ScheduledProcedureStepSequence"
STATIONS = "ScheduledStationAETitle"
START_DATE = "ScheduledProcedureStepStartDate"
START_TIME = "ScheduledProcedureStepStartTime"
STATUS = "ScheduledProcedureStepStatus"
VISIBLE = ("SCHEDULED", "ARRIVED", "READY")  # what a query sees that asks for no status

# Recognition code, Query/Retrieve level, time zone: neither matched nor returned, and no reason for a warning.
# The time zone must never be sent empty, and our times are the local wall clock of the site.
IGNORED = frozenset({0x00080001, 0x00080052, 0x00080201, SPECIFIC_CHARACTER_SET})


@dataclass(frozen=True, slots=True)
class Attribute:
    """One supported attribute; `children` of a sequence by tag."""

    keyword: str
    tag: int
    vr: str
    returned: str  # return type: 1, 1C, 2, 2C, 3
    matched: bool
    children: Mapping[int, Attribute]


_CODE: dict[str, Any] = {
    "CodeValue": "1C", "CodingSchemeDesignator": "1C", "CodingSchemeVersion": "1C", "CodeMeaning": "1",
    "LongCodeValue": "1C", "URNCodeValue": "1C",
}  # fmt: skip
_REFERENCE: dict[str, Any] = {"ReferencedSOPClassUID": "1", "ReferencedSOPInstanceUID": "1"}
_ISSUER: dict[str, Any] = {"LocalNamespaceEntityID": "1C", "UniversalEntityID": "1C", "UniversalEntityIDType": "1C"}
_PERSON: dict[str, Any] = {
    "PersonIdentificationCodeSequence": ("1", _CODE), "PersonAddress": "3", "PersonTelephoneNumbers": "3",
    "InstitutionName": "1C", "InstitutionAddress": "3", "InstitutionCodeSequence": ("1C", _CODE),
}  # fmt: skip
_QUALIFIERS: dict[str, Any] = {
    "UniversalEntityID": "3", "UniversalEntityIDType": "1C", "IdentifierTypeCode": "3",
    "AssigningFacilitySequence": ("3", _ISSUER), "AssigningJurisdictionCodeSequence": ("3", _CODE),
    "AssigningAgencyOrDepartmentCodeSequence": ("3", _CODE),
}  # fmt: skip
_CONTENT: dict[str, Any] = {
    "ValueType": "1", "ConceptNameCodeSequence": ("1", _CODE), "DateTime": "1C", "PersonName": "1C",
    "TextValue": "1C", "ConceptCodeSequence": ("1C", _CODE), "NumericValue": "1C",
    "MeasurementUnitsCodeSequence": ("1C", _CODE),
}  # fmt: skip

_STEP: dict[str, Any] = {
    "ScheduledStationAETitle": "1", "ScheduledProcedureStepStartDate": "1", "ScheduledProcedureStepStartTime": "1",
    "Modality": "1", "ScheduledPerformingPhysicianName": "2", "ScheduledProcedureStepDescription": "1C",
    "ScheduledStationName": "2", "ScheduledProcedureStepLocation": "2",
    "ReferencedDefinedProtocolSequence": ("3", _REFERENCE), "ReferencedPerformedProtocolSequence": ("3", _REFERENCE),
    "ScheduledProtocolCodeSequence": ("1C", {**_CODE, "ProtocolContextSequence": ("-3", _CONTENT)}),
    "PreMedication": "2C", "ScheduledProcedureStepID": "1", "RequestedContrastAgent": "2C",
    "ScheduledProcedureStepStatus": "3", "CommentsOnTheScheduledProcedureStep": "3",
    "ScheduledProcedureStepEndDate": "3", "ScheduledProcedureStepEndTime": "3",
    "ScheduledPerformingPhysicianIdentificationSequence": ("3", _PERSON), "AnatomicalOrientationType": "3",
}  # fmt: skip
_SPECIMEN: dict[str, Any] = {
    "ContainerIdentifier": "1", "ContainerTypeCodeSequence": ("-2", _CODE),
    "SpecimenDescriptionSequence": ("1", {"SpecimenIdentifier": "1", "SpecimenUID": "1"}),
}  # fmt: skip
_DOCUMENT: dict[str, Any] = {**_REFERENCE, "PurposeOfReferenceCodeSequence": ("2", _CODE), "DocumentTitle": "2"}

_TABLE: dict[str, Any] = {
    # Scheduled Procedure Step
    STEP_SEQUENCE: ("1", _STEP), "ScheduledSpecimenSequence": ("3", _SPECIMEN), "BarcodeValue": "3",
    # Requested Procedure
    "RequestedProcedureID": "1", "RequestedProcedureDescription": "1C", "RequestedProcedureCodeSequence": ("1C", _CODE),
    "StudyInstanceUID": "1", "StudyDate": "3", "StudyTime": "3", "ReferencedStudySequence": ("2", _REFERENCE),
    "RequestedProcedurePriority": "2", "PatientTransportArrangements": "2", "ReasonForTheRequestedProcedure": "3",
    "ReasonForRequestedProcedureCodeSequence": ("3", _CODE), "RequestedProcedureComments": "3",
    "RequestedProcedureLocation": "3", "ConfidentialityCode": "3", "ReportingPriority": "3",
    "NamesOfIntendedRecipientsOfResults": "3",
    # Imaging Service Request
    "AccessionNumber": "2", "IssuerOfAccessionNumberSequence": ("3", _ISSUER), "RequestingPhysician": "2",
    "ReferringPhysicianName": "2", "PlacerOrderNumberImagingServiceRequest": "3",
    "OrderPlacerIdentifierSequence": ("3", _ISSUER), "FillerOrderNumberImagingServiceRequest": "3",
    "OrderFillerIdentifierSequence": ("3", _ISSUER), "RequestingService": "3", "IssueDateOfImagingServiceRequest": "3",
    "IssueTimeOfImagingServiceRequest": "3", "OrderEnteredBy": "3", "OrderEntererLocation": "3",
    "OrderCallbackPhoneNumber": "3", "ImagingServiceRequestComments": "3",
    # Visit
    "AdmissionID": "2", "IssuerOfAdmissionIDSequence": ("3", _ISSUER), "CurrentPatientLocation": "2",
    "ReferencedPatientSequence": ("2", _REFERENCE), "InstitutionName": "3", "VisitStatusID": "3",
    "AdmittingDiagnosesDescription": "3", "AdmittingDate": "3", "AdmittingTime": "3",
    # Patient
    "PatientName": "1", "PatientID": "1", "IssuerOfPatientID": "3",
    "IssuerOfPatientIDQualifiersSequence": ("3", _QUALIFIERS),
    "OtherPatientIDsSequence": ("3", {
        "PatientID": "1", "IssuerOfPatientID": "3", "TypeOfPatientID": "3",
        "IssuerOfPatientIDQualifiersSequence": ("3", _QUALIFIERS),
    }),
    "OtherPatientNames": "3", "PatientBirthName": "3", "PatientBirthDate": "2", "PatientSex": "2",
    "PatientPrimaryLanguageCodeSequence": ("3", {
        **_CODE, "PatientPrimaryLanguageModifierCodeSequence": ("3", _CODE),
    }),
    "PatientWeight": "2", "PatientSize": "3", "ConfidentialityConstraintOnPatientDataDescription": "2",
    "PatientAge": "3", "EthnicGroup": "3", "PatientComments": "3", "ResponsiblePerson": "3", "PatientState": "2",
    "PregnancyStatus": "2", "MedicalAlerts": "2", "Allergies": "2", "SpecialNeeds": "2",
    "AdditionalPatientHistory": "3", "LastMenstrualDate": "3", "SmokingStatus": "3",
    "PertinentDocumentsSequence": ("-3", _DOCUMENT),
    "HL7StructuredDocumentReferenceSequence": ("-1C", {**_REFERENCE, "HL7InstanceIdentifier": "1"}),
}  # fmt: skip


def _tree(table: Mapping[str, Any]) -> dict[int, Attribute]:
    found: dict[int, Attribute] = {}
    for keyword, entry in table.items():
        kind, children = entry if isinstance(entry, tuple) else (entry, {})
        tag = tag_for_keyword(keyword)
        assert tag is not None, keyword
        matched = not kind.startswith("-")
        found[tag] = Attribute(keyword, tag, dictionary_VR(tag), kind.lstrip("-"), matched, _tree(children))
    return dict(sorted(found.items()))


WORKLIST: Mapping[int, Attribute] = _tree(_TABLE)
