"""A whole document in place of a stored order: which changes that takes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from support.orders.documents import order

from broker.model.order import EntityId, Order, Patient, Procedure, Step, StepEvent
from broker.orders.core.identifiers import Minter
from broker.orders.core.values import OrderChange
from broker.orders.documents import document, emergency, outline, replacing, validity
from broker.orders.documents.emergency import Emergency

PATIENT = Patient(1, "QZPAT1", "HOSPITAL", {"PatientID": "QZPAT1", "PatientName": "A^B", "PatientComments": "old"})


def step(row: int, step_id: str, status: str = "SCHEDULED", **more: Any) -> Step:
    return Step(row, step_id, row, status, {"Modality": "CT", **more})


STORED = Order(
    7, PATIENT, EntityId("PL1", "RIS"), EntityId("FI1"), "A1",
    {"CurrentPatientLocation": "W9", "RequestingService": "X"},
    (
        Procedure(1, "R1", "1.2.1", {"ConfidentialityCode": "V"}, (step(1, "S1", PreMedication="old"), step(2, "S2"))),
        Procedure(2, "R2", "1.2.2", {}, (step(3, "S3"), step(4, "S4", "COMPLETED"))),
    ),
)  # fmt: skip


def changes(given: dict[str, Any]) -> list[OrderChange]:
    change = document.convert(given, ()).changes[0]
    assert isinstance(change, OrderChange)
    return replacing.changes(change, STORED)


def test_what_is_left_out_is_deleted_but_for_numbers_and_the_patient() -> None:
    given = order(PlacerOrderNumberImagingServiceRequest=None, AccessionNumber=None)
    whole, rest = changes(given)
    assert (whole.control, whole.placer, whole.filler, whole.accession) == ("XO", *(
        STORED.placer, STORED.filler, STORED.accession,
    ))  # fmt: skip
    assert whole.request["RequestingService"] == ""
    assert whole.visit["CurrentPatientLocation"] == "W1"
    assert "PatientComments" not in whole.patient.attributes
    procedure = whole.procedures[0]
    assert procedure.requested_procedure_id == "R1"  # the first that the document does not name
    assert procedure.attributes["ConfidentialityCode"] == ""
    assert procedure.steps[0].step_id == "S1"
    assert procedure.steps[0].attributes["PreMedication"] == ""
    assert rest.control == "CA"
    assert rest.procedures[0].steps[0].step_id == "S2"
    assert [one.step_id for one in rest.procedures[0].steps] == ["S2", "S3"]  # what has ended stays


def test_named_procedures_and_steps_are_those_and_the_rest_is_new() -> None:
    given = order()
    given["procedures"][0]["RequestedProcedureID"] = "R2"
    given["procedures"][0]["steps"] += [{"Modality": "CT", "ScheduledProcedureStepID": "S3"}, {"Modality": "MR"}]
    given["procedures"].append({**order()["procedures"][0], "RequestedProcedureID": "R9"})
    whole, rest = changes(given)
    first, second = whole.procedures
    assert [one.step_id for one in first.steps] == ["S4", "S3", ""]
    assert second.requested_procedure_id == "R9"
    assert second.steps[0].step_id == ""
    assert {one.step_id for one in rest.procedures[0].steps} == {"S1", "S2"}


def test_an_answer_sent_back_changes_nothing_but_what_was_changed_in_it() -> None:
    body = outline.document(STORED)
    zone = ZoneInfo("Europe/Zurich")
    events = {1: [StepEvent(1, 1_900_000_000.5, "", "SCHEDULED", "order:NW", "hl7:R|A")]}
    shown = outline.with_events(body, STORED, events, zone)
    assert shown["procedures"][0]["steps"][0]["events"] == [
        {
            "at": "2030-03-17T18:46:40+01:00",
            "before": "",
            "after": "SCHEDULED",
            "cause": "order:NW",
            "actor": "hl7:R|A",
        }
    ]
    for procedure in shown["procedures"]:
        procedure["RequestedProcedureDescription"] = "Thorax"
    made = document.convert(shown, ())
    assert made.findings == ()
    assert isinstance(made.changes[0], OrderChange)
    (whole,) = replacing.changes(made.changes[0], STORED)
    assert (whole.visit, whole.request) == ({"CurrentPatientLocation": "W9"}, {"RequestingService": "X"})
    assert [one.step_id for one in whole.procedures[0].steps] == ["S1", "S2"]


def test_every_change_makes_another_revision() -> None:
    def revision(one: Order) -> str:
        return str(outline.document(one)["revision"])

    others = [
        replace(STORED, accession="A2"), replace(STORED, attributes={}),
        replace(STORED, patient=replace(PATIENT, attributes={**PATIENT.attributes, "PatientSex": "M"})),
        replace(STORED, procedures=STORED.procedures[:1]),
        replace(STORED, procedures=(replace(STORED.procedures[0], steps=(step(1, "S1", "CANCELED"), step(2, "S2"))),
                                    STORED.procedures[1])),
        replace(STORED, procedures=(replace(STORED.procedures[0], steps=(replace(step(1, "S1", PreMedication="old"),
                                    held=True), step(2, "S2"))), STORED.procedures[1])),
    ]  # fmt: skip
    revisions = [revision(STORED), *map(revision, others)]
    assert len(set(revisions)) == len(revisions)
    assert revision(STORED) == revision(replace(STORED, patient=replace(PATIENT, attributes=dict(PATIENT.attributes))))


def test_an_emergency_order_is_complete_and_people_can_be_told_apart() -> None:
    mint = Minter(UUID(int=7))
    one, other = (
        emergency.document(Emergency("CT", "polytrauma", "CT01", "M", "040Y"), "20260312083000", "ER", mint)
        for _ in range(2)
    )
    made = document.convert(one, ())
    assert made.findings == ()
    change = made.changes[0]
    assert isinstance(change, OrderChange)
    patient = change.patient
    assert patient.issuer == "ER"
    assert patient.patient_id.startswith("TMP")
    assert len(patient.patient_id) == 16
    assert patient.attributes["PatientName"] == f"UNKNOWN^EMERGENCY {patient.patient_id[-4:]}"
    assert one["patient"]["PatientID"] != other["patient"]["PatientID"]
    procedure = change.procedures[0]
    assert procedure.attributes["RequestedProcedurePriority"] == "STAT"
    assert procedure.steps[0].attributes["ScheduledProcedureStepStartTime"] == "083000"
    assert procedure.steps[0].stations == ("CT01",)
    named = emergency.document(Emergency("CT", "x", family_name="A^B=C", given_name="D"), "20260312083000", "", mint)
    assert named["patient"]["PatientName"] == "A B C^D"
    assert validity.checked("PatientName", "PN", named["patient"]["PatientName"]) == "A B C^D"
