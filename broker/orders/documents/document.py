"""Reads an order as a JSON document of DICOM keywords: an order change, with all findings at once.

`{"patient": {…}, "visit": {…}, "request": {…}, "procedures": [{…, "steps": [{…}]}]}`. An absent attribute is left as it
is, an empty one (null, "", []) is deleted. A finding's location is the path of the field: `patient/PatientID`.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from broker.hl7.codes import ErrorCode
from broker.hl7.findings import Finding
from broker.model.order import Document, EntityId
from broker.orders.core import attributes
from broker.orders.core.authorities import from_item, universal
from broker.orders.core.values import MAX_STEPS, Conversion, OrderChange, PatientChange, ProcedureChange, StepChange
from broker.orders.documents import validity

FIELDS = {name: validity.fields(table) for name, table in attributes.SECTIONS.items()}
PATH = 300  # characters of the location of a finding
STATUS = "ScheduledProcedureStepStatus"
# what an answer shows and nobody sets: ignored, so that an answer can be sent back changed
READ_ONLY = {"order": frozenset({"id", "revision"}), "step": frozenset({STATUS, "held", "unscheduled", "events"})}


def convert(document: Any, modalities: Collection[str]) -> Conversion:
    """The order change of a document; `modalities` that devices know, empty: any."""
    reading = _Reading(modalities)
    change = reading.order(document)
    return Conversion((change,), tuple(reading.findings))


class _Reading:
    """Reads one document; collects findings on the way."""

    def __init__(self, modalities: Collection[str]) -> None:
        self.findings: list[Finding] = []
        self._modalities = modalities
        self._steps = 0

    def order(self, given: Any) -> OrderChange:
        parts = given if isinstance(given, dict) else {}
        if not isinstance(given, dict):
            self._add("", ErrorCode.DATA_TYPE, "an object is expected")
        for name in parts.keys() - {"patient", "visit", "request", "procedures"} - READ_ONLY["order"]:
            self._add(str(name), ErrorCode.DATA_TYPE, "unknown member")
        patient = self._section("patient", parts.get("patient"), "patient")
        request = self._section("request", parts.get("request"), "request")
        for keyword in ("PatientID", "PatientName"):
            if not patient.get(keyword):
                self._missing(f"patient/{keyword}")
        accession = request.pop("AccessionNumber", "")
        return OrderChange(
            control="NW",
            order_status="",
            control_location="",
            placer=_entity(request, "Placer"),
            filler=_entity(request, "Filler"),
            accession=accession,
            patient=_patient(patient),
            visit=self._section("visit", parts.get("visit"), "visit"),
            request=request,
            procedures=self._procedures(parts.get("procedures")),
        )

    def _add(self, path: str, code: ErrorCode, text: str) -> None:
        if len(self.findings) < 100:
            told = path[:PATH].encode("utf-8", "replace").decode()  # names of members are those of the document
            self.findings.append(Finding(told, code, text))

    def _missing(self, path: str) -> None:
        if not any(finding.location == path for finding in self.findings):
            self._add(path, ErrorCode.REQUIRED_FIELD_MISSING, "missing")

    def _section(self, name: str, given: Any, path: str) -> Document:
        values, wrong = validity.section(FIELDS[name], {} if given is None else given)
        for below, text in wrong:
            self._add(f"{path}/{below}" if below else path, ErrorCode.DATA_TYPE, text)
        return values

    def _list(self, given: Any, path: str) -> list[Any]:
        if isinstance(given, list) and given:
            return given
        self._add(path, ErrorCode.REQUIRED_FIELD_MISSING, "a list with at least one object is expected")
        return []

    def _procedures(self, given: Any) -> tuple[ProcedureChange, ...]:
        if isinstance(given, list) and len(given) > MAX_STEPS:
            self._add("procedures", ErrorCode.DATA_TYPE, f"at most {MAX_STEPS} procedures in one order")
        procedures = [
            self._procedure(one, f"procedures/{number}")
            for number, one in enumerate(self._list(given, "procedures")[:MAX_STEPS])
        ]
        for number, procedure in enumerate(procedures):
            for other in procedures[:number]:
                if procedure.study_instance_uid and procedure.study_instance_uid == other.study_instance_uid:
                    self._add(procedure.uid_location, ErrorCode.DATA_TYPE, "two procedures have the same")
                if procedure.requested_procedure_id and (
                    procedure.requested_procedure_id == other.requested_procedure_id
                ):
                    self._add(
                        f"procedures/{number}/RequestedProcedureID", ErrorCode.DATA_TYPE, "two procedures have the same"
                    )
        return tuple(procedures)

    def _procedure(self, given: Any, path: str) -> ProcedureChange:
        parts = dict(given) if isinstance(given, dict) else given
        steps = parts.pop("steps", None) if isinstance(parts, dict) else None
        values = self._section("procedure", parts, path)
        if not values.get("RequestedProcedureDescription") and not values.get("RequestedProcedureCodeSequence"):
            self._missing(f"{path}/RequestedProcedureDescription")
        below: list[StepChange] = []
        for number, one in enumerate(self._list(steps, f"{path}/steps")):
            self._steps += 1
            if self._steps > MAX_STEPS:
                self._add(f"{path}/steps", ErrorCode.DATA_TYPE, f"at most {MAX_STEPS} steps in one order")
                break
            step = self._step(one, f"{path}/steps/{number}")
            if step.step_id and any(step.step_id == other.step_id for other in below):
                self._add(
                    f"{path}/steps/{number}/ScheduledProcedureStepID", ErrorCode.DATA_TYPE, "two steps have the same"
                )
            below.append(step)
        return ProcedureChange(
            requested_procedure_id=values.get("RequestedProcedureID", ""),
            study_instance_uid=values.pop("StudyInstanceUID", ""),
            attributes=values,
            steps=tuple(below),
            uid_location=f"{path}/StudyInstanceUID",
        )

    def _step(self, given: Any, path: str) -> StepChange:
        parts = given
        if isinstance(given, dict):
            parts = {keyword: value for keyword, value in given.items() if keyword not in READ_ONLY["step"]}
        values = self._section("step", parts, path)
        modality = values.get("Modality", "")
        if not modality:
            self._missing(f"{path}/Modality")
        elif self._modalities and modality not in self._modalities:
            self._add(f"{path}/Modality", ErrorCode.TABLE_VALUE_NOT_FOUND, "not a modality that worklist devices know")
        if values.get("ScheduledProcedureStepStartDate"):
            # a date alone is a start at midnight: the time is type 1 in an answer
            values["ScheduledProcedureStepStartTime"] = values.get("ScheduledProcedureStepStartTime") or "000000"
        elif values.get("ScheduledProcedureStepStartTime"):
            self._missing(f"{path}/ScheduledProcedureStepStartDate")
        else:
            values.pop("ScheduledProcedureStepStartDate", None)
            values.pop("ScheduledProcedureStepStartTime", None)
        return StepChange(
            step_id=values.get("ScheduledProcedureStepID", ""),
            stations=tuple(values.pop("ScheduledStationAETitle", ())),
            attributes=values,
            start_location=f"{path}/ScheduledProcedureStepStartDate",
            modality_location=f"{path}/Modality",
        )


def _entity(request: Document, kind: str) -> EntityId:
    """Placer or filler order number with its issuer, as they stand in the request."""
    number = request.get(f"{kind}OrderNumberImagingServiceRequest", "")
    issuers = request.get(f"Order{kind}IdentifierSequence") or []
    return from_item(number, issuers) if number else EntityId()


def _patient(values: Document) -> PatientChange:
    qualifiers = (values.get("IssuerOfPatientIDQualifiersSequence") or [{}])[0]
    universal_id = universal(*(qualifiers.get(name, "") for name in ("UniversalEntityID", "UniversalEntityIDType")))
    issuer = values.get("IssuerOfPatientID", "") or universal_id
    return PatientChange(values.get("PatientID", ""), issuer, values, universal=universal_id)
