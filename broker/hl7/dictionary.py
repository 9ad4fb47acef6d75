"""Names segments and their fields as HL7 2.5.1 does (chapters 2, 3, 4, 7 and 10), for people who read a message.

The names of a segment stand in the order of its fields. Z segments and fields behind the last name have none.
"""

from __future__ import annotations

from collections.abc import Mapping

_TITLES: Mapping[str, str] = {
    "MSH": "Message Header",
    "MSA": "Message Acknowledgment",
    "ERR": "Error",
    "EVN": "Event Type",
    "PID": "Patient Identification",
    "PD1": "Patient Additional Demographic",
    "NK1": "Next of Kin / Associated Parties",
    "PV1": "Patient Visit",
    "PV2": "Patient Visit - Additional Information",
    "MRG": "Merge Patient Information",
    "AL1": "Patient Allergy Information",
    "DG1": "Diagnosis",
    "NTE": "Notes and Comments",
    "ORC": "Common Order",
    "TQ1": "Timing/Quantity",
    "OBR": "Observation Request",
    "OBX": "Observation/Result",
    "IPC": "Imaging Procedure Control",
    "ZDS": "Study Instance UID (IHE RAD-4)",
    "SCH": "Scheduling Activity Information",
    "RGS": "Resource Group",
    "AIS": "Appointment Information",
    "AIG": "Appointment Information - General Resource",
    "AIL": "Appointment Information - Location Resource",
    "AIP": "Appointment Information - Personnel Resource",
}
_FIELDS: Mapping[str, tuple[str, ...]] = {
    segment: tuple(names.split("|"))
    for segment, names in {
        "MSH": (
            "Field Separator|Encoding Characters|Sending Application|Sending Facility|Receiving Application|"
            "Receiving Facility|Date/Time Of Message|Security|Message Type|Message Control ID|Processing ID|"
            "Version ID|Sequence Number|Continuation Pointer|Accept Acknowledgment Type|"
            "Application Acknowledgment Type|Country Code|Character Set|Principal Language Of Message|"
            "Alternate Character Set Handling Scheme|Message Profile Identifier"
        ),
        "MSA": (
            "Acknowledgment Code|Message Control ID|Text Message|Expected Sequence Number|"
            "Delayed Acknowledgment Type|Error Condition"
        ),
        "ERR": (
            "Error Code and Location|Error Location|HL7 Error Code|Severity|Application Error Code|"
            "Application Error Parameter|Diagnostic Information|User Message|Inform Person Indicator|"
            "Override Type|Override Reason Code|Help Desk Contact Point"
        ),
        "EVN": (
            "Event Type Code|Recorded Date/Time|Date/Time Planned Event|Event Reason Code|Operator ID|"
            "Event Occurred|Event Facility"
        ),
        "PID": (
            "Set ID - PID|Patient ID|Patient Identifier List|Alternate Patient ID - PID|Patient Name|"
            "Mother's Maiden Name|Date/Time of Birth|Administrative Sex|Patient Alias|Race|Patient Address|"
            "County Code|Phone Number - Home|Phone Number - Business|Primary Language|Marital Status|Religion|"
            "Patient Account Number|SSN Number - Patient|Driver's License Number - Patient|Mother's Identifier|"
            "Ethnic Group|Birth Place|Multiple Birth Indicator|Birth Order|Citizenship|Veterans Military Status|"
            "Nationality|Patient Death Date and Time|Patient Death Indicator|Identity Unknown Indicator|"
            "Identity Reliability Code|Last Update Date/Time|Last Update Facility|Species Code|Breed Code|Strain|"
            "Production Class Code|Tribal Citizenship"
        ),
        "PD1": (
            "Living Dependency|Living Arrangement|Patient Primary Facility|"
            "Patient Primary Care Provider Name & ID No.|Student Indicator|Handicap|Living Will Code|"
            "Organ Donor Code|Separate Bill|Duplicate Patient|Publicity Code|Protection Indicator|"
            "Protection Indicator Effective Date"
        ),
        "NK1": "Set ID - NK1|Name|Relationship|Address|Phone Number|Business Phone Number|Contact Role",
        "PV1": (
            "Set ID - PV1|Patient Class|Assigned Patient Location|Admission Type|Preadmit Number|"
            "Prior Patient Location|Attending Doctor|Referring Doctor|Consulting Doctor|Hospital Service|"
            "Temporary Location|Preadmit Test Indicator|Re-admission Indicator|Admit Source|Ambulatory Status|"
            "VIP Indicator|Admitting Doctor|Patient Type|Visit Number|Financial Class|Charge Price Indicator|"
            "Courtesy Code|Credit Rating|Contract Code|Contract Effective Date|Contract Amount|Contract Period|"
            "Interest Code|Transfer to Bad Debt Code|Transfer to Bad Debt Date|Bad Debt Agency Code|"
            "Bad Debt Transfer Amount|Bad Debt Recovery Amount|Delete Account Indicator|Delete Account Date|"
            "Discharge Disposition|Discharged to Location|Diet Type|Servicing Facility|Bed Status|Account Status|"
            "Pending Location|Prior Temporary Location|Admit Date/Time|Discharge Date/Time|"
            "Current Patient Balance|Total Charges|Total Adjustments|Total Payments|Alternate Visit ID|"
            "Visit Indicator|Other Healthcare Provider"
        ),
        "PV2": (
            "Prior Pending Location|Accommodation Code|Admit Reason|Transfer Reason|Patient Valuables|"
            "Patient Valuables Location|Visit User Code|Expected Admit Date/Time|Expected Discharge Date/Time"
        ),
        "MRG": (
            "Prior Patient Identifier List|Prior Alternate Patient ID|Prior Patient Account Number|"
            "Prior Patient ID|Prior Visit Number|Prior Alternate Visit ID|Prior Patient Name"
        ),
        "AL1": (
            "Set ID - AL1|Allergen Type Code|Allergen Code/Mnemonic/Description|Allergy Severity Code|"
            "Allergy Reaction Code|Identification Date"
        ),
        "DG1": (
            "Set ID - DG1|Diagnosis Coding Method|Diagnosis Code - DG1|Diagnosis Description|Diagnosis Date/Time|"
            "Diagnosis Type"
        ),
        "NTE": "Set ID - NTE|Source of Comment|Comment|Comment Type",
        "ORC": (
            "Order Control|Placer Order Number|Filler Order Number|Placer Group Number|Order Status|"
            "Response Flag|Quantity/Timing|Parent|Date/Time of Transaction|Entered By|Verified By|"
            "Ordering Provider|Enterer's Location|Call Back Phone Number|Order Effective Date/Time|"
            "Order Control Code Reason|Entering Organization|Entering Device|Action By|"
            "Advanced Beneficiary Notice Code|Ordering Facility Name|Ordering Facility Address|"
            "Ordering Facility Phone Number|Ordering Provider Address|Order Status Modifier|"
            "Advanced Beneficiary Notice Override Reason|Filler's Expected Availability Date/Time|"
            "Confidentiality Code|Order Type|Enterer Authorization Mode"
        ),
        "TQ1": (
            "Set ID - TQ1|Quantity|Repeat Pattern|Explicit Time|Relative Time and Units|Service Duration|"
            "Start Date/Time|End Date/Time|Priority|Condition Text|Text Instruction|Conjunction|"
            "Occurrence Duration|Total Occurrences"
        ),
        "OBR": (
            "Set ID - OBR|Placer Order Number|Filler Order Number|Universal Service Identifier|Priority - OBR|"
            "Requested Date/Time|Observation Date/Time|Observation End Date/Time|Collection Volume|"
            "Collector Identifier|Specimen Action Code|Danger Code|Relevant Clinical Information|"
            "Specimen Received Date/Time|Specimen Source|Ordering Provider|Order Callback Phone Number|"
            "Placer Field 1|Placer Field 2|Filler Field 1|Filler Field 2|Results Rpt/Status Chng - Date/Time|"
            "Charge to Practice|Diagnostic Serv Sect ID|Result Status|Parent Result|Quantity/Timing|"
            "Result Copies To|Parent|Transportation Mode|Reason for Study|Principal Result Interpreter|"
            "Assistant Result Interpreter|Technician|Transcriptionist|Scheduled Date/Time|"
            "Number of Sample Containers|Transport Logistics of Collected Sample|Collector's Comment|"
            "Transport Arrangement Responsibility|Transport Arranged|Escort Required|"
            "Planned Patient Transport Comment|Procedure Code|Procedure Code Modifier|"
            "Placer Supplemental Service Information|Filler Supplemental Service Information|"
            "Medically Necessary Duplicate Procedure Reason|Result Handling"
        ),
        "OBX": (
            "Set ID - OBX|Value Type|Observation Identifier|Observation Sub-ID|Observation Value|Units|"
            "References Range|Abnormal Flags|Probability|Nature of Abnormal Test|Observation Result Status|"
            "Effective Date of Reference Range|User Defined Access Checks|Date/Time of the Observation|"
            "Producer's ID|Responsible Observer|Observation Method|Equipment Instance Identifier|"
            "Date/Time of the Analysis"
        ),
        "IPC": (
            "Accession Identifier|Requested Procedure ID|Study Instance UID|Scheduled Procedure Step ID|Modality|"
            "Protocol Code|Scheduled Station Name|Scheduled Procedure Step Location|Scheduled AE Title"
        ),
        "ZDS": "Study Instance UID",
        "SCH": (
            "Placer Appointment ID|Filler Appointment ID|Occurrence Number|Placer Group Number|Schedule ID|"
            "Event Reason|Appointment Reason|Appointment Type|Appointment Duration|Appointment Duration Units|"
            "Appointment Timing Quantity|Placer Contact Person|Placer Contact Phone Number|"
            "Placer Contact Address|Placer Contact Location|Filler Contact Person|Filler Contact Phone Number|"
            "Filler Contact Address|Filler Contact Location|Entered by Person|Entered by Phone Number|"
            "Entered by Location|Parent Placer Appointment ID|Parent Filler Appointment ID|Filler Status Code|"
            "Placer Order Number|Filler Order Number"
        ),
        "RGS": "Set ID - RGS|Segment Action Code|Resource Group ID",
        "AIS": (
            "Set ID - AIS|Segment Action Code|Universal Service Identifier|Start Date/Time|"
            "Start Date/Time Offset|Start Date/Time Offset Units|Duration|Duration Units|Allow Substitution Code|"
            "Filler Status Code|Placer Supplemental Service Information|Filler Supplemental Service Information"
        ),
        "AIG": (
            "Set ID - AIG|Segment Action Code|Resource ID|Resource Type|Resource Group|Resource Quantity|"
            "Resource Quantity Units|Start Date/Time|Start Date/Time Offset|Start Date/Time Offset Units|"
            "Duration|Duration Units|Allow Substitution Code|Filler Status Code"
        ),
        "AIL": (
            "Set ID - AIL|Segment Action Code|Location Resource ID|Location Type - AIL|Location Group|"
            "Start Date/Time|Start Date/Time Offset|Start Date/Time Offset Units|Duration|Duration Units|"
            "Allow Substitution Code|Filler Status Code"
        ),
        "AIP": (
            "Set ID - AIP|Segment Action Code|Personnel Resource ID|Resource Type|Resource Group|Start Date/Time|"
            "Start Date/Time Offset|Start Date/Time Offset Units|Duration|Duration Units|Allow Substitution Code|"
            "Filler Status Code"
        ),
    }.items()
}


def title_of(segment: str) -> str:
    """The name of a segment: `Patient Identification`; empty for one that has none here."""
    return _TITLES.get(segment, "")


def titles() -> Mapping[str, str]:
    """All segments that have a name, by their codes."""
    return _TITLES


def names_of(segment: str) -> tuple[str, ...]:
    """The names of the fields of a segment, in their order; none for one that has none here."""
    return _FIELDS.get(segment, ())


def name_of(segment: str, field: int) -> str:
    """The name of a field, counted from 1: `Patient Name`; empty for one that has none here."""
    names = _FIELDS.get(segment, ())
    return names[field - 1] if 0 < field <= len(names) else ""
