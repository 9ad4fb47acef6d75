"""Whether two orders with one number can be one exam."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from broker.model.order import EntityId, Order, Patient, Procedure, Step, StepStatus
from broker.orders.lookup import several

CHEST = {"RequestedProcedureDescription": "Chest"}


def order(**more: Any) -> Order:
    step = Step(None, "S1", 0, StepStatus.SCHEDULED, {"Modality": more.pop("modality", "CT"), **more.pop("step", {})})
    study, named = more.pop("study", "2.25.1"), more.pop("named", CHEST)
    procedure = Procedure(None, "R1", study, named, (step,) * more.pop("steps", 1))
    made = Order(
        row=1,
        patient=Patient(1, "P1", "HOSP", {}),
        placer=EntityId("1", "RIS"),
        filler=EntityId(),
        accession="1",
        attributes={},
        procedures=(procedure,),
    )
    return replace(made, **more)


@pytest.mark.parametrize(
    ("other", "can"),
    [
        ({}, True),
        ({"patient": Patient(2, "P2", "HOSP", {})}, False),
        ({"filler": EntityId("F1", "RAD")}, True),
        ({"filler": EntityId("F1", "RAD"), "accession": "F1"}, True),
        ({"placer": EntityId("2", "RIS")}, False),
        ({"accession": "ABCDEFGHIJKLMN23"}, True),
        ({"modality": "MR"}, False),
        ({"study": "2.25.2"}, True),
        ({"study": "2.999.2"}, True),
        ({"named": {"RequestedProcedureDescription": "head"}}, False),
        ({"named": {"RequestedProcedureDescription": " CHEST"}}, True),
        ({"named": {}}, True),
        ({"steps": 2}, False),
        ({"procedures": ()}, False),
        ({"step": {"ScheduledProcedureStepStartDate": "20300101"}}, True),
    ],
)
def test_nothing_that_both_say_may_differ(other: dict[str, Any], can: bool) -> None:
    assert several.one_exam(order(), order(**other)) is can
    assert several.one_exam(order(**other), order()) is can


@pytest.mark.parametrize("key", ["accession", "study"])
def test_numbers_of_senders_that_differ(key: str) -> None:
    assert not several.one_exam(order(**{key: "2.999.1"}), order(**{key: "2.999.2"}))
    assert several.one_exam(order(**{key: "2.999.1"}), order(**{key: "2.999.1"}))


def test_steps_that_senders_name_otherwise() -> None:
    one, other = ({"ScheduledProcedureStepID": name} for name in ("S1", "S2"))
    assert not several.one_exam(order(step=one), order(step=other))
    assert several.one_exam(order(step=one), order())
