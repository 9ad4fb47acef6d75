"""Lists the attributes of an order that are kept, by section of PS3.4 table K.6-1: what order documents may hold.

Each keyword has its return type in the worklist, with a `-` in front if it is never matched. A sequence has the
attributes of its items too. The table of the standard ends most sections with "all other attributes" of a module of
PS3.3 (C.2.2 to C.2.4, C.3.2 to C.3.4, C.4.11, C.4.12), which are optional keys of return type 3: those that a RIS can
tell of are listed here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Table = Mapping[str, Any]  # keyword: return type, or (return type, table of the items)

CODE: Table = {
    "CodeValue": "1C", "CodingSchemeDesignator": "1C", "CodingSchemeVersion": "1C", "CodeMeaning": "1",
    "LongCodeValue": "1C", "URNCodeValue": "1C",
}  # fmt: skip
_REFERENCE: Table = {"ReferencedSOPClassUID": "1", "ReferencedSOPInstanceUID": "1"}
_ISSUER: Table = {"LocalNamespaceEntityID": "1C", "UniversalEntityID": "1C", "UniversalEntityIDType": "1C"}
_PERSON: Table = {
    "PersonIdentificationCodeSequence": ("1", CODE), "PersonAddress": "3", "PersonTelephoneNumbers": "3",
    "InstitutionName": "1C", "InstitutionAddress": "3", "InstitutionCodeSequence": ("1C", CODE),
}  # fmt: skip
_QUALIFIERS: Table = {
    "UniversalEntityID": "3", "UniversalEntityIDType": "1C", "IdentifierTypeCode": "3",
    "AssigningFacilitySequence": ("3", _ISSUER), "AssigningJurisdictionCodeSequence": ("3", CODE),
    "AssigningAgencyOrDepartmentCodeSequence": ("3", CODE),
}  # fmt: skip
_CONTENT: Table = {
    "ValueType": "1", "ConceptNameCodeSequence": ("1", CODE), "DateTime": "1C", "PersonName": "1C",
    "TextValue": "1C", "ConceptCodeSequence": ("1C", CODE), "NumericValue": "1C",
    "MeasurementUnitsCodeSequence": ("1C", CODE),
}  # fmt: skip
_SPECIMEN: Table = {
    "ContainerIdentifier": "1", "ContainerTypeCodeSequence": ("-2", CODE),
    "SpecimenDescriptionSequence": ("1", {"SpecimenIdentifier": "1", "SpecimenUID": "1"}),
}  # fmt: skip
_DOCUMENT: Table = {**_REFERENCE, "PurposeOfReferenceCodeSequence": ("2", CODE), "DocumentTitle": "2"}

STEP: Table = {
    "ScheduledStationAETitle": "1", "ScheduledProcedureStepStartDate": "1", "ScheduledProcedureStepStartTime": "1",
    "Modality": "1", "ScheduledPerformingPhysicianName": "2", "ScheduledProcedureStepDescription": "1C",
    "ScheduledStationName": "2", "ScheduledProcedureStepLocation": "2",
    "ReferencedDefinedProtocolSequence": ("3", _REFERENCE), "ReferencedPerformedProtocolSequence": ("3", _REFERENCE),
    "ScheduledProtocolCodeSequence": ("1C", {**CODE, "ProtocolContextSequence": ("-3", _CONTENT)}),
    "PreMedication": "2C", "ScheduledProcedureStepID": "1", "RequestedContrastAgent": "2C",
    "ScheduledProcedureStepStatus": "3", "CommentsOnTheScheduledProcedureStep": "3",
    "ScheduledProcedureStepEndDate": "3", "ScheduledProcedureStepEndTime": "3",
    "ScheduledPerformingPhysicianIdentificationSequence": ("3", _PERSON), "AnatomicalOrientationType": "3",
}  # fmt: skip
PROCEDURE: Table = {
    "ScheduledSpecimenSequence": ("3", _SPECIMEN), "BarcodeValue": "3", "RequestedProcedureID": "1",
    "RequestedProcedureDescription": "1C", "RequestedProcedureCodeSequence": ("1C", CODE), "StudyInstanceUID": "1",
    "StudyDate": "3", "StudyTime": "3", "ReferencedStudySequence": ("2", _REFERENCE), "RequestedProcedurePriority": "2",
    "PatientTransportArrangements": "2", "ReasonForTheRequestedProcedure": "3",
    "ReasonForRequestedProcedureCodeSequence": ("3", CODE), "RequestedProcedureComments": "3",
    "RequestedProcedureLocation": "3", "ConfidentialityCode": "3", "ReportingPriority": "3",
    "NamesOfIntendedRecipientsOfResults": "3",
    "IntendedRecipientsOfResultsIdentificationSequence": ("3", _PERSON),
}  # fmt: skip
REQUEST: Table = {
    "WorklistLabel": "3",  # which devices see the order, see `site.device`
    "AccessionNumber": "2", "IssuerOfAccessionNumberSequence": ("3", _ISSUER), "RequestingPhysician": "2",
    "PlacerOrderNumberImagingServiceRequest": "3", "OrderPlacerIdentifierSequence": ("3", _ISSUER),
    "FillerOrderNumberImagingServiceRequest": "3", "OrderFillerIdentifierSequence": ("3", _ISSUER),
    "RequestingService": "3", "RequestingServiceCodeSequence": ("3", CODE),
    "RequestingPhysicianIdentificationSequence": ("3", _PERSON),
    "IssueDateOfImagingServiceRequest": "3", "IssueTimeOfImagingServiceRequest": "3",
    "OrderEnteredBy": "3", "OrderEntererLocation": "3", "OrderCallbackPhoneNumber": "3",
    "ImagingServiceRequestComments": "3", "PertinentDocumentsSequence": ("-3", _DOCUMENT),
    "HL7StructuredDocumentReferenceSequence": ("-1C", {**_REFERENCE, "HL7InstanceIdentifier": "1"}),
}  # fmt: skip
VISIT: Table = {
    "AdmissionID": "2", "IssuerOfAdmissionIDSequence": ("3", _ISSUER), "CurrentPatientLocation": "2",
    "ReferencedPatientSequence": ("2", _REFERENCE), "InstitutionName": "3", "VisitStatusID": "3", "AdmittingDate": "3",
    "AdmittingTime": "3", "RouteOfAdmissions": "3", "ReferringPhysicianName": "2",
    "ConfidentialityConstraintOnPatientDataDescription": "2",
    "PatientState": "2", "PregnancyStatus": "2", "MedicalAlerts": "2", "Allergies": "2", "SpecialNeeds": "2",
    "AdditionalPatientHistory": "3", "LastMenstrualDate": "3", "AdmittingDiagnosesDescription": "3",
    "SmokingStatus": "3", "PatientSexNeutered": "3",
    "AdmittingDiagnosesCodeSequence": ("3", CODE), "InstitutionAddress": "3", "InstitutionCodeSequence": ("3", CODE),
    "InstitutionalDepartmentName": "3", "ServiceEpisodeID": "3", "IssuerOfServiceEpisodeIDSequence": ("3", _ISSUER),
    "ServiceEpisodeDescription": "3", "PatientInstitutionResidence": "3", "VisitComments": "3",
    "ReferringPhysicianAddress": "3", "ReferringPhysicianTelephoneNumbers": "3",
    "ReferringPhysicianIdentificationSequence": ("3", _PERSON), "ConsultingPhysicianName": "3",
    "ConsultingPhysicianIdentificationSequence": ("3", _PERSON),
}  # fmt: skip
PATIENT: Table = {
    "PatientName": "1", "PatientID": "1", "IssuerOfPatientID": "3",
    "IssuerOfPatientIDQualifiersSequence": ("3", _QUALIFIERS),
    "OtherPatientIDsSequence": ("3", {
        "PatientID": "1", "IssuerOfPatientID": "3", "TypeOfPatientID": "3",
        "IssuerOfPatientIDQualifiersSequence": ("3", _QUALIFIERS),
    }),
    "OtherPatientNames": "3", "PatientBirthName": "3", "PatientBirthDate": "2", "PatientSex": "2",
    "PatientPrimaryLanguageCodeSequence": ("3", {
        **CODE, "PatientPrimaryLanguageModifierCodeSequence": ("3", CODE),
    }),
    "PatientWeight": "2", "PatientSize": "3", "EthnicGroup": "3", "PatientComments": "3", "ResponsiblePerson": "3",
    "PatientMotherBirthName": "3", "PatientAge": "3", "TypeOfPatientID": "3",
    "PatientBirthTime": "3", "PatientAlternativeCalendar": "3", "PatientBirthDateInAlternativeCalendar": "3",
    "PatientDeathDateInAlternativeCalendar": "3", "Occupation": "3", "PatientAddress": "3",
    "PatientTelephoneNumbers": "3", "PatientTelecomInformation": "3", "CountryOfResidence": "3",
    "RegionOfResidence": "3", "PatientReligiousPreference": "3", "MilitaryRank": "3", "BranchOfService": "3",
    "EthnicGroupCodeSequence": ("3", CODE), "PatientInsurancePlanCodeSequence": ("3", CODE),
    "PatientSizeCodeSequence": ("3", CODE), "ResponsiblePersonRole": "3", "ResponsibleOrganization": "3",
    "PatientSpeciesDescription": "3", "PatientSpeciesCodeSequence": ("3", CODE), "PatientBreedDescription": "3",
    "PatientBreedCodeSequence": ("3", CODE), "StrainDescription": "3",
}  # fmt: skip
SECTIONS: Mapping[str, Table] = {
    "patient": PATIENT, "visit": VISIT, "request": REQUEST, "procedure": PROCEDURE, "step": STEP,
}  # fmt: skip
