"""Builds the worklist answer of a step: patient, visit, request and procedure at the root, the step in its sequence."""

from __future__ import annotations

from broker.dicom.dataset.folding import fold_for_search
from broker.model.order import Document, EntityId, Order, Patient, Procedure, Step, StepIndex
from broker.orders.core import authorities

HELD = "Held"  # no DICOM keyword: the step of this answer is held, nobody is shown it
_OTHER_IDS = "OtherPatientIDsSequence"


def build(order: Order, procedure: Procedure, step: Step) -> Document:
    """Attributes of PS3.4 table K.6-1 that are known; identifiers always. A held step has the mark `HELD`."""
    item: Document = {
        **step.attributes,
        "ScheduledProcedureStepID": step.step_id,
        "ScheduledProcedureStepStatus": step.status,
    }
    held: Document = {HELD: 1} if step.held else {}
    return {
        **held,
        **patient_part(order.patient),
        **order.attributes,
        **procedure.attributes,
        "AccessionNumber": order.accession,
        "RequestedProcedureID": procedure.requested_procedure_id,
        "StudyInstanceUID": procedure.study_instance_uid,
        "ScheduledProcedureStepSequence": [item],
    }


def patient_part(patient: Patient) -> Document:
    """The patient's attributes in an answer; retired identifiers are among the other ones (PS3.3 C.2.3)."""
    part = {**patient.attributes, "PatientID": patient.patient_id}
    issuer = shown_issuer(patient)
    if issuer:
        part["IssuerOfPatientID"] = issuer
    others = part.get(_OTHER_IDS, [])
    said = {(item.get("PatientID"), item.get("IssuerOfPatientID", "")) for item in others}
    retired = [_other_id(alias) for alias in patient.aliases if (alias.number, alias.issuer) not in said]
    return {**part, _OTHER_IDS: [*others, *retired]} if retired else part


def shown_issuer(patient: Patient) -> str:
    """The key of the patient's authority; its namespace where that is known for another authority too."""
    said = patient.attributes.get("IssuerOfPatientID", "")
    return said if said and authorities.is_oid(patient.issuer) and not authorities.is_oid(said) else patient.issuer


def _other_id(identifier: EntityId) -> Document:
    item = {"PatientID": identifier.number, "TypeOfPatientID": "TEXT"}
    return {**item, "IssuerOfPatientID": identifier.issuer} if identifier.issuer else item


def with_patient(answer: Document, before: Patient, after: Patient) -> Document:
    """An answer with other demographics."""
    rest = {keyword: value for keyword, value in answer.items() if keyword not in patient_part(before)}
    return {**patient_part(after), **rest}


def index(patient: Patient, answer: Document) -> StepIndex:
    """An answer with the columns it is searched by."""
    return StepIndex(patient.patient_id, fold_for_search(patient.attributes.get("PatientName", "")), answer)
