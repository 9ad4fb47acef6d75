"""Numbers that another order or exam has too, as tables."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from broker.hl7.codes import ErrorCode, Severity
from broker.model.order import AccessionHolder, EntityId, Order, Patient, Procedure, Step, StepStatus
from broker.orders.core import uniqueness
from broker.orders.core.identifiers import Identifiers, Minter
from broker.orders.core.values import AccessionPolicy, OrderChange, PatientChange, ProcedureChange, StepChange

MINE, OTHER = 1, 2  # rows of patients
PLACER, FILLER, NONE = EntityId("P1", "RIS"), EntityId("F1", "RIS"), EntityId()


def change(**values: Any) -> OrderChange:
    step = {
        "Modality": "CT",
        "ScheduledProcedureStepStartDate": "20300115",
        "ScheduledProcedureStepStartTime": "090000",
    }
    step |= {keyword: values.pop(keyword) for keyword in list(values) if keyword in step}
    procedure = ProcedureChange(
        values.pop("procedure_id", ""),
        values.pop("study", ""),
        {"RequestedProcedureCodeSequence": [{"CodeValue": values.pop("code", "CHEST")}]},
        (StepChange(values.pop("step_id", ""), (), step),),
    )
    given = {"control": "NW", "order_status": "", "control_location": "ORC^2^1", "placer": PLACER, "filler": FILLER}
    given |= {"accession": "", "patient": PatientChange("1", "", {}), "visit": {}, "request": {}}
    return OrderChange(**{**given, "procedures": (procedure,), **values})


def holder(accession: str, patient: int = OTHER, issuer: str = "", placer: EntityId = NONE) -> AccessionHolder:
    return AccessionHolder(
        order=9, patient=patient, accession=accession, issuer=EntityId(accession, issuer), placer=placer,
        filler=EntityId(), procedures=frozenset(),
    )  # fmt: skip


def decided(asked: OrderChange, *holders: AccessionHolder) -> tuple[str, list[tuple[str, str, Severity]]]:
    number, found = uniqueness.accession(asked, None, (asked.placer, asked.filler), MINE, holders, Minter(UUID(int=1)))
    assert all(finding.code == ErrorCode.DUPLICATE_KEY for finding in found)
    return number, [(finding.location, finding.text.split(":")[0], finding.severity) for finding in found]


OF_ANOTHER = "The accession number is that of another patient's order"


@pytest.mark.parametrize(
    ("issuer", "others", "found"),
    [
        ("", [], []),
        ("", [holder("A1", MINE)], []),
        ("", [holder("A1")], [("OBR^1^18", OF_ANOTHER, Severity.WARNING)]),
        ("X", [holder("A1", issuer="X")], [("OBR^1^18", OF_ANOTHER, Severity.WARNING)]),
        ("X", [holder("A1", issuer="")], [("OBR^1^18", OF_ANOTHER, Severity.WARNING)]),
        ("X", [holder("A1", issuer="Y")], []),
    ],
)
def test_an_accession_number_of_the_message(issuer: str, others: list[AccessionHolder], found: list[Any]) -> None:
    asked = change(accession="A1", accession_issuer=issuer)
    assert decided(asked, *others) == ("A1", found)
    strict = replace(asked, accession_of_another_patient=AccessionPolicy.REFUSE)
    assert decided(strict, *others) == ("A1", [(*one[:2], Severity.ERROR) for one in found])


MADE = "The order number is the accession number of another order"


@pytest.mark.parametrize(
    ("others", "number", "places"),
    [
        ([], "F1", []),
        ([holder("F1")], "P1", ["ORC^2^3"]),
        ([holder("F1"), holder("P1")], "A", ["ORC^2^3"]),
        ([holder("P1")], "F1", []),
        ([holder("F1", MINE)], "P1", ["ORC^2^3"]),
    ],
)
def test_an_accession_number_that_we_make(others: list[AccessionHolder], number: str, places: list[str]) -> None:
    made, found = decided(change(), *others)
    assert made == number or (number == "A" and len(made) == 16)
    assert found == [(place, MADE, Severity.WARNING) for place in places]


def test_children_share_the_number_of_their_parent() -> None:
    asked = change(filler=EntityId())
    assert decided(asked, holder("P1", MINE, placer=PLACER)) == ("P1", [])
    made, found = decided(asked, holder("P1", MINE, placer=EntityId("P1", "OTHER")))
    assert (len(made), found) == (16, [("ORC^2^2", MADE, Severity.WARNING)])


def test_a_mapping_that_makes_none_refuses() -> None:
    asked = change(identifiers=Identifiers(accession=("message", "filler", "refuse")))
    assert decided(asked, holder("F1")) == ("", [("ORC^2^3", MADE, Severity.ERROR)])


def stored(**values: Any) -> Order:
    attributes = {"RequestedProcedureCodeSequence": [{"CodeValue": "CHEST"}], "RequestedProcedureDescription": "Chest"}
    step = {
        "Modality": "CT",
        "ScheduledProcedureStepStartDate": "20300115",
        "ScheduledProcedureStepStartTime": "090000",
    }
    procedure = Procedure(
        1, "R1", values.pop("study", "2.999.1"), attributes, (Step(1, "S1", 0, StepStatus.SCHEDULED, step),)
    )
    return Order(1, Patient(1, "1", "", {}), PLACER, FILLER, values.pop("accession", "A1"), {}, (procedure,))


@pytest.mark.parametrize(
    ("asked", "different"),
    [
        ({}, []),
        ({"Modality": "MR", "ScheduledProcedureStepStartTime": "100000"}, []),  # the same procedure
        ({"code": "HEAD"}, []),  # a correction: nothing else differs
        ({"code": "HEAD", "accession": "A1", "Modality": "MR"}, []),
        ({"code": "HEAD", "study": "2.999.1", "Modality": "MR"}, []),
        ({"code": "HEAD", "procedure_id": "R1", "Modality": "MR"}, []),
        ({"code": "HEAD", "step_id": "S1", "Modality": "MR"}, []),
        ({"code": "chest ", "Modality": "MR"}, []),
        ({"code": "HEAD", "Modality": "MR"}, ["procedure", "modality"]),
        ({"code": "HEAD", "accession": "A2", "study": "2.999.2"}, ["procedure", "accession number", "study"]),
        ({"code": "HEAD", "ScheduledProcedureStepStartTime": "100000"}, ["procedure", "start"]),
    ],
)
def test_what_tells_two_exams_apart(asked: dict[str, Any], different: list[str]) -> None:
    assert uniqueness.differences(change(**asked), stored()) == different


def test_what_we_made_says_nothing() -> None:
    ours = stored(accession="F1", study="2.25.17")
    assert uniqueness.differences(change(code="HEAD", accession="A2", study="2.999.2"), ours) == []


def test_the_repeated_number_is_named() -> None:
    found = uniqueness.repeated_number(change(code="HEAD", Modality="MR"), stored())
    assert found is not None
    assert (found.location, found.code, found.is_error) == ("ORC^2^3", ErrorCode.DUPLICATE_KEY, True)
    assert found.text == "The filler order number is that of another exam: procedure, modality differ"
    placer = uniqueness.repeated_number(change(code="HEAD", Modality="MR", filler=EntityId()), stored())
    assert placer is not None
    assert placer.location == "ORC^2^2"
    assert uniqueness.repeated_number(change(code="HEAD", Modality="MR", control="XO"), stored()) is None
