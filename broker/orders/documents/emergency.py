"""Makes emergency orders that are typed by hand: a patient nobody knows yet, a temporary identity, start now.

The temporary patient is merged into the real one when that is known (HL7 ADT^A40).
"""

from __future__ import annotations

from dataclasses import dataclass

from broker.model.order import Document
from broker.orders.core import names
from broker.orders.core.identifiers import TEMPORARY, Minter


@dataclass(frozen=True, slots=True)
class Emergency:
    """What is known: at least what is to be done. `age` as DICOM AS (`040Y`); all texts but these may be empty."""

    modality: str
    description: str
    station: str = ""
    sex: str = ""
    age: str = ""
    family_name: str = ""
    given_name: str = ""


def document(emergency: Emergency, received: str, issuer: str, mint: Minter) -> Document:
    """The order as `orders.documents.document` reads it. `received`: the site's wall clock, `YYYYMMDDHHMMSS`.

    Unknown people must be told apart in the worklist: their name ends in the last four characters of the identifier.
    """
    patient_id = mint.short(TEMPORARY)
    family = emergency.family_name or "UNKNOWN"
    given = emergency.given_name or f"EMERGENCY {patient_id[-4:]}"
    step = {
        "Modality": emergency.modality,
        "ScheduledStationAETitle": [emergency.station] if emergency.station else [],
        "ScheduledProcedureStepDescription": emergency.description,
        "ScheduledProcedureStepStartDate": received[:8],
        "ScheduledProcedureStepStartTime": received[8:],
    }
    return {
        "patient": {
            "PatientID": patient_id,
            "IssuerOfPatientID": issuer,
            "PatientName": names.from_components((family, given)),
            "PatientSex": emergency.sex,
            "PatientAge": emergency.age,
        },
        "procedures": [
            {
                "RequestedProcedureDescription": emergency.description,
                "RequestedProcedurePriority": "STAT",
                "steps": [step],
            }
        ],
    }
