"""Order documents as REST takes them."""

from __future__ import annotations

from typing import Any


def order(
    number: int = 1, *, modality: str = "CT", step: dict[str, Any] | None = None, **request: Any
) -> dict[str, Any]:
    """An order with one procedure of one step; `number` makes its identifiers unique. None leaves out."""
    asked = {"AccessionNumber": f"A{number}", "PlacerOrderNumberImagingServiceRequest": f"PL{number}", **request}
    return {
        "patient": {
            "PatientID": f"QZPAT{number}", "IssuerOfPatientID": "HOSPITAL", "PatientName": "Müller^Käthe",
            "PatientBirthDate": "1976-02-29", "PatientSex": "F",
        },
        "visit": {"CurrentPatientLocation": "W1", "MedicalAlerts": ["PACEMAKER", "MRSA"]},
        "request": {keyword: value for keyword, value in asked.items() if value is not None},
        "procedures": [
            {
                "RequestedProcedureDescription": "Thorax",
                "RequestedProcedureCodeSequence": [
                    {"CodeValue": "THX", "CodingSchemeDesignator": "99LOC", "CodeMeaning": "Thorax"}
                ],
                "steps": [
                    {
                        "Modality": modality, "ScheduledStationAETitle": ["CT01"],
                        "ScheduledProcedureStepStartDate": "20300312", "ScheduledProcedureStepStartTime": "10:30",
                        **(step or {}),
                    }
                ],
            }
        ],
    }  # fmt: skip
