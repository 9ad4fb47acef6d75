"""The attributes of the Modality Worklist as PS3.4 table K.6-1 has them, and a value for each to test with.

A line: keyword (indented below its sequence), tag, VR, VM, matching (R required, O optional, never), return type.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

TABLE = """\
ScheduledProcedureStepSequence 0040,0100 SQ 1 R 1
  ScheduledStationAETitle 0040,0001 AE 1-n R 1
  ScheduledProcedureStepStartDate 0040,0002 DA 1 R 1
  ScheduledProcedureStepStartTime 0040,0003 TM 1 R 1
  Modality 0008,0060 CS 1 R 1
  ScheduledPerformingPhysicianName 0040,0006 PN 1 R 2
  ScheduledProcedureStepDescription 0040,0007 LO 1 O 1C
  ScheduledStationName 0040,0010 SH 1-n O 2
  ScheduledProcedureStepLocation 0040,0011 SH 1 O 2
  ReferencedDefinedProtocolSequence 0018,990C SQ 1 O 3
  ReferencedPerformedProtocolSequence 0018,990D SQ 1 O 3
  ScheduledProtocolCodeSequence 0040,0008 SQ 1 O 1C
    CodeValue 0008,0100 SH 1 O 1C
    CodingSchemeDesignator 0008,0102 SH 1 O 1C
    CodingSchemeVersion 0008,0103 SH 1 O 1C
    CodeMeaning 0008,0104 LO 1 O 1
    ProtocolContextSequence 0040,0440 SQ 1 never 3
  PreMedication 0040,0012 LO 1 O 2C
  ScheduledProcedureStepID 0040,0009 SH 1 O 1
  RequestedContrastAgent 0032,1070 LO 1 O 2C
  ScheduledProcedureStepStatus 0040,0020 CS 1 O 3
  CommentsOnTheScheduledProcedureStep 0040,0400 LT 1 O 3
  ScheduledProcedureStepEndDate 0040,0004 DA 1 O 3
  ScheduledProcedureStepEndTime 0040,0005 TM 1 O 3
  ScheduledPerformingPhysicianIdentificationSequence 0040,000B SQ 1 O 3
  AnatomicalOrientationType 0010,2210 CS 1 O 3
ScheduledSpecimenSequence 0040,0500 SQ 1 O 3
  ContainerIdentifier 0040,0512 LO 1 O 1
  ContainerTypeCodeSequence 0040,0518 SQ 1 never 2
  SpecimenDescriptionSequence 0040,0560 SQ 1 O 1
    SpecimenIdentifier 0040,0551 LO 1 O 1
    SpecimenUID 0040,0554 UI 1 O 1
BarcodeValue 2200,0005 LT 1 O 3
RequestedProcedureID 0040,1001 SH 1 O 1
RequestedProcedureDescription 0032,1060 LO 1 O 1C
RequestedProcedureCodeSequence 0032,1064 SQ 1 O 1C
StudyInstanceUID 0020,000D UI 1 O 1
StudyDate 0008,0020 DA 1 O 3
StudyTime 0008,0030 TM 1 O 3
ReferencedStudySequence 0008,1110 SQ 1 O 2
RequestedProcedurePriority 0040,1003 SH 1 O 2
PatientTransportArrangements 0040,1004 LO 1 O 2
ReasonForTheRequestedProcedure 0040,1002 LO 1 O 3
ReasonForRequestedProcedureCodeSequence 0040,100A SQ 1 O 3
RequestedProcedureComments 0040,1400 LT 1 O 3
RequestedProcedureLocation 0040,1005 LO 1 O 3
ConfidentialityCode 0040,1008 LO 1 O 3
ReportingPriority 0040,1009 SH 1 O 3
NamesOfIntendedRecipientsOfResults 0040,1010 PN 1-n O 3
AccessionNumber 0008,0050 SH 1 O 2
IssuerOfAccessionNumberSequence 0008,0051 SQ 1 O 3
RequestingPhysician 0032,1032 PN 1 O 2
ReferringPhysicianName 0008,0090 PN 1 O 2
PlacerOrderNumberImagingServiceRequest 0040,2016 LO 1 O 3
OrderPlacerIdentifierSequence 0040,0026 SQ 1 O 3
FillerOrderNumberImagingServiceRequest 0040,2017 LO 1 O 3
OrderFillerIdentifierSequence 0040,0027 SQ 1 O 3
RequestingService 0032,1033 LO 1 O 3
IssueDateOfImagingServiceRequest 0040,2004 DA 1 O 3
IssueTimeOfImagingServiceRequest 0040,2005 TM 1 O 3
OrderEnteredBy 0040,2008 PN 1 O 3
OrderEntererLocation 0040,2009 SH 1 O 3
OrderCallbackPhoneNumber 0040,2010 SH 1 O 3
ImagingServiceRequestComments 0040,2400 LT 1 O 3
AdmissionID 0038,0010 LO 1 O 2
IssuerOfAdmissionIDSequence 0038,0014 SQ 1 O 3
CurrentPatientLocation 0038,0300 LO 1 O 2
ReferencedPatientSequence 0008,1120 SQ 1 O 2
InstitutionName 0008,0080 LO 1 O 3
VisitStatusID 0038,0008 CS 1 O 3
AdmittingDiagnosesDescription 0008,1080 LO 1-n O 3
AdmittingDate 0038,0020 DA 1 O 3
AdmittingTime 0038,0021 TM 1 O 3
PatientName 0010,0010 PN 1 R 1
PatientID 0010,0020 LO 1 R 1
IssuerOfPatientID 0010,0021 LO 1 O 3
IssuerOfPatientIDQualifiersSequence 0010,0024 SQ 1 O 3
OtherPatientIDsSequence 0010,1002 SQ 1 O 3
OtherPatientNames 0010,1001 PN 1-n O 3
PatientBirthName 0010,1005 PN 1 O 3
PatientBirthDate 0010,0030 DA 1 O 2
PatientSex 0010,0040 CS 1 O 2
PatientPrimaryLanguageCodeSequence 0010,0101 SQ 1 O 3
PatientWeight 0010,1030 DS 1 O 2
PatientSize 0010,1020 DS 1 O 3
ConfidentialityConstraintOnPatientDataDescription 0040,3001 LO 1 O 2
PatientAge 0010,1010 AS 1 O 3
EthnicGroup 0010,2160 SH 1 O 3
PatientComments 0010,4000 LT 1 O 3
ResponsiblePerson 0010,2297 PN 1 O 3
PatientState 0038,0500 LO 1 O 2
PregnancyStatus 0010,21C0 US 1 O 2
MedicalAlerts 0010,2000 LO 1-n O 2
Allergies 0010,2110 LO 1-n O 2
SpecialNeeds 0038,0050 LO 1 O 2
AdditionalPatientHistory 0010,21B0 LT 1 O 3
LastMenstrualDate 0010,21D0 DA 1 O 3
SmokingStatus 0010,21A0 CS 1 O 3
PertinentDocumentsSequence 0038,0100 SQ 1 never 3
HL7StructuredDocumentReferenceSequence 0040,A390 SQ 1 never 1C
"""

# "all other attributes" of the modules that the table names (PS3.3 C.2.2 to C.2.4, C.3.2 to C.3.4, C.4.11, C.4.12)
OTHERS = """\
PatientMotherBirthName 0010,1060 PN 1 O 3
TypeOfPatientID 0010,0022 CS 1 O 3
PatientBirthTime 0010,0032 TM 1 O 3
PatientAlternativeCalendar 0010,0035 CS 1 O 3
PatientBirthDateInAlternativeCalendar 0010,0033 LO 1 O 3
PatientDeathDateInAlternativeCalendar 0010,0034 LO 1 O 3
Occupation 0010,2180 SH 1 O 3
PatientAddress 0010,1040 LO 1 O 3
PatientTelephoneNumbers 0010,2154 SH 1-n O 3
PatientTelecomInformation 0010,2155 LT 1 O 3
CountryOfResidence 0010,2150 LO 1 O 3
RegionOfResidence 0010,2152 LO 1 O 3
PatientReligiousPreference 0010,21F0 LO 1 O 3
MilitaryRank 0010,1080 LO 1 O 3
BranchOfService 0010,1081 LO 1 O 3
EthnicGroupCodeSequence 0010,2161 SQ 1 O 3
PatientInsurancePlanCodeSequence 0010,0050 SQ 1 O 3
PatientSizeCodeSequence 0010,1021 SQ 1 O 3
ResponsiblePersonRole 0010,2298 CS 1 O 3
ResponsibleOrganization 0010,2299 LO 1 O 3
PatientSpeciesDescription 0010,2201 LO 1 O 3
PatientSpeciesCodeSequence 0010,2202 SQ 1 O 3
PatientBreedDescription 0010,2292 LO 1 O 3
PatientBreedCodeSequence 0010,2293 SQ 1 O 3
StrainDescription 0010,0212 UC 1 O 3
RouteOfAdmissions 0038,0016 LO 1 O 3
PatientSexNeutered 0010,2203 CS 1 O 3
AdmittingDiagnosesCodeSequence 0008,1084 SQ 1 O 3
InstitutionAddress 0008,0081 ST 1 O 3
InstitutionCodeSequence 0008,0082 SQ 1 O 3
InstitutionalDepartmentName 0008,1040 LO 1 O 3
ServiceEpisodeID 0038,0060 LO 1 O 3
IssuerOfServiceEpisodeIDSequence 0038,0064 SQ 1 O 3
ServiceEpisodeDescription 0038,0062 LO 1 O 3
PatientInstitutionResidence 0038,0400 LO 1 O 3
VisitComments 0038,4000 LT 1 O 3
ReferringPhysicianAddress 0008,0092 ST 1 O 3
ReferringPhysicianTelephoneNumbers 0008,0094 SH 1-n O 3
ReferringPhysicianIdentificationSequence 0008,0096 SQ 1 O 3
ConsultingPhysicianName 0008,009C PN 1-n O 3
ConsultingPhysicianIdentificationSequence 0008,009D SQ 1 O 3
RequestingServiceCodeSequence 0032,1034 SQ 1 O 3
RequestingPhysicianIdentificationSequence 0032,1031 SQ 1 O 3
IntendedRecipientsOfResultsIdentificationSequence 0040,1011 SQ 1 O 3
"""

# an attribute of the items of those sequences whose items the table does not list
INSIDE = {
    "ReferencedDefinedProtocolSequence": "ReferencedSOPInstanceUID",
    "ReferencedPerformedProtocolSequence": "ReferencedSOPInstanceUID",
    "ScheduledPerformingPhysicianIdentificationSequence": "InstitutionName", "ProtocolContextSequence": "TextValue",
    "ContainerTypeCodeSequence": "CodeValue", "RequestedProcedureCodeSequence": "CodeValue",
    "ReferencedStudySequence": "ReferencedSOPInstanceUID", "ReasonForRequestedProcedureCodeSequence": "CodeValue",
    "IssuerOfAccessionNumberSequence": "UniversalEntityID", "OrderPlacerIdentifierSequence": "LocalNamespaceEntityID",
    "OrderFillerIdentifierSequence": "LocalNamespaceEntityID", "IssuerOfAdmissionIDSequence": "UniversalEntityID",
    "ReferencedPatientSequence": "ReferencedSOPInstanceUID",
    "IssuerOfPatientIDQualifiersSequence": "UniversalEntityID", "OtherPatientIDsSequence": "PatientID",
    "PatientPrimaryLanguageCodeSequence": "CodeValue", "PertinentDocumentsSequence": "DocumentTitle",
    "HL7StructuredDocumentReferenceSequence": "HL7InstanceIdentifier",
    "EthnicGroupCodeSequence": "CodeValue",
    "PatientInsurancePlanCodeSequence": "CodeValue",
    "PatientSizeCodeSequence": "CodeValue",
    "PatientSpeciesCodeSequence": "CodeValue",
    "PatientBreedCodeSequence": "CodeValue",
    "AdmittingDiagnosesCodeSequence": "CodeValue",
    "InstitutionCodeSequence": "CodeValue",
    "IssuerOfServiceEpisodeIDSequence": "UniversalEntityID",
    "ReferringPhysicianIdentificationSequence": "InstitutionName",
    "ConsultingPhysicianIdentificationSequence": "InstitutionName",
    "RequestingServiceCodeSequence": "CodeValue",
    "RequestingPhysicianIdentificationSequence": "InstitutionName",
    "IntendedRecipientsOfResultsIdentificationSequence": "InstitutionName",
}  # fmt: skip
VALUES: dict[str, tuple[Any, Any]] = {
    "AE": ("CT01", "CT02"), "AS": ("034Y", "035Y"), "CS": ("ONE", "TWO"), "DA": ("20260312", "20260313"),
    "DS": ("70.5", "71"), "LO": ("Text one", "Text two"), "LT": ("Long text", "Other text"),
    "PN": ("DOE^JOHN", "ROE^JANE"), "SH": ("S1", "S2"), "TM": ("101500", "111500"), "UI": ("1.2.3", "1.2.4"),
    "US": (4, 3), "ST": ("Road 1", "Road 2"), "UC": ("Text one", "Text two"),
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One line; `path` are keywords from the root of the identifier."""

    path: tuple[str, ...]
    tag: int
    vr: str
    several: bool
    matched: bool
    required: bool
    returned: str

    @property
    def keyword(self) -> str:
        """Of the attribute itself."""
        return self.path[-1]

    def value(self, which: int = 0) -> Any:
        """One of two values: of the attribute, or the items of a sequence."""
        if self.vr == "SQ":
            inside = INSIDE.get(self.keyword) or next(
                row.keyword for row in ROWS if row.path[:-1] == self.path and row.vr != "SQ"
            )
            return [{inside: f"1.2.{which + 3}" if inside.endswith("UID") else f"X{which}"}]
        return VALUES[self.vr][which]

    def at(self, value: Any) -> dict[str, Any]:
        """Attributes, for a document or a query, with this value at its place and nothing else."""
        for keyword in reversed(self.path[1:]):
            value = [{keyword: value}]
        return {self.path[0]: value}


def _rows() -> list[Row]:
    found: list[Row] = []
    path: tuple[str, ...] = ()
    for line in (TABLE + OTHERS).splitlines():
        keyword, tag, vr, several, matched, returned = line.split()
        path = (*path[: (len(line) - len(line.lstrip())) // 2], keyword)
        number = int(tag.replace(",", ""), 16)
        found.append(Row(path, number, vr, several != "1", matched != "never", matched == "R", returned))
    return found


ROWS = _rows()
