"""Reads results (ORU^R01): each says that its order has one, and whether that ends the examination.

Which states of a result (OBR-25, table 0123) do is the mapping's `result_completes`: none unless it says so.
What cannot be used is told as of an order; it refuses a message that ends examinations, as that might end others.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import tzinfo

from broker.hl7.codes import ErrorCode, Severity
from broker.hl7.message import Message, Segments
from broker.orders.core.authorities import Settle
from broker.orders.core.identifiers import by_authority
from broker.orders.core.values import MAX_STEPS, Conversion, OrderKeys, PatientChange
from broker.orders.inbound.doubts import Findings
from broker.orders.inbound.numbers import order_keys
from broker.orders.inbound.orm import patient_change
from broker.orders.inbound.reader import Reader
from broker.orders.mapping import data_types as values
from broker.orders.mapping.profile import Profile

_STUDY_CODES = frozenset({"113014", "110180"})  # DICOM Study, Study Instance UID (DCM), in OBX-3


@dataclass(frozen=True, slots=True)
class ResultChange:
    """A result of one order, whose number stands at `number_location`.

    `code` and `procedure_id` say which of its procedures, `completes` that they are done.
    """

    status: str  # OBR-25
    completes: bool
    keys: OrderKeys
    accession: str
    study_instance_uid: str
    procedure_id: str
    code: str
    patient: PatientChange | None
    location: str
    number_location: str

    def names(self) -> tuple[str, ...]:
        """Texts that name the order and its patient, for locks."""
        named = (("accession", self.accession), ("study", self.study_instance_uid))
        patient = (f"patient|{self.patient.patient_id}",) if self.patient else ()
        return (*self.keys.names(), *(f"{kind}|{text}" for kind, text in named if text), *patient)

    def settled(self, settle: Settle) -> ResultChange:
        """The same under the keys of its authorities."""
        patient = self.patient.settled(settle) if self.patient else None
        return replace(self, keys=self.keys.settled(settle), patient=patient)


def convert(message: Message, profile: Profile, zone: tzinfo) -> Conversion:
    """One change for each result (OBR) of a message."""
    message = by_authority(message, profile.identifiers.patient_authorities)
    findings = Findings()
    _, runs = message.groups("ORC", alone="OBR")
    runs = [run for run in runs if run.first("OBR")]
    if not runs:
        findings.add("OBR^1", ErrorCode.SEGMENT_SEQUENCE, "Result segment is missing")
    if len(runs) > MAX_STEPS:
        findings.add("OBR^1", ErrorCode.SEGMENT_SEQUENCE, "Too many results in one message")
        runs = []
    doubts = Findings()
    attributes = Reader(message, profile, zone, doubts).section("patient")
    patient = patient_change(message, attributes, {}) if attributes.get("PatientID") else None
    studies = message.all("ZDS")
    shared = studies if len(runs) == 1 else []
    changes = tuple(_result(Segments([*run, *shared]), patient, profile, zone, doubts) for run in runs)
    ends = any(change.completes for change in changes)
    for finding in doubts.all():
        findings.add(finding.location, finding.code, finding.text, finding.severity if ends else Severity.WARNING)
    return Conversion(changes, findings.all())


def _result(
    view: Segments, patient: PatientChange | None, profile: Profile, zone: tzinfo, doubts: Findings
) -> ResultChange:
    status = view.get("OBR-25").strip()
    reader = Reader(view, profile, zone, doubts)
    request, procedure = reader.section("request"), reader.section("procedure")
    keys = order_keys(reader)
    return ResultChange(
        status=status,
        completes=status in profile.policy.result_completes,
        keys=keys,
        accession=request.get("AccessionNumber", ""),
        study_instance_uid=procedure.get("StudyInstanceUID") or _study(view),
        procedure_id=procedure.get("RequestedProcedureID", ""),
        code=view.get("OBR-4.1").strip().casefold(),
        patient=patient,
        location=view.at("OBR-25"),
        number_location=view.at("OBR-3" if keys.filler.number else "OBR-2"),
    )


def _study(view: Segments) -> str:
    """Study Instance UID of an OBX about the study; empty for none and for what is none."""
    found = [obx.get(5, 1) for obx in view.all("OBX") if obx.get(3, 1).strip() in _STUDY_CODES]
    for text in found:
        try:
            if uid := values.text(text, "UI", exact=True):
                return uid
        except values.Unusable:
            continue
    return ""
