"""Which steps an appointment means, and what becomes of them."""

from __future__ import annotations

import pytest

from broker.model.order import Document, EntityId, Order, Patient, Procedure, Step
from broker.orders.core import booking
from broker.orders.core.appointments import AppointmentAction, Slot
from broker.orders.core.booking import Wish
from broker.orders.core.values import OrderKeys
from broker.orders.inbound.results import ResultChange
from broker.orders.stories import resulting

DATE, TIME = "ScheduledProcedureStepStartDate", "ScheduledProcedureStepStartTime"
NEW = {DATE: "20260313", TIME: "110000", "ScheduledProcedureStepEndDate": "", "ScheduledProcedureStepEndTime": ""}


def code(text: str) -> list[Document]:
    return [{"CodeValue": text, "CodingSchemeDesignator": "99LOCAL", "CodeMeaning": text}]


def order(*procedures: tuple[str, list[tuple[str, str]]]) -> Order:
    """An order of procedures: code, and code and status of each step; rows count from 1."""
    made, row = [], 0
    for number, (requested, steps) in enumerate(procedures, 1):
        below = []
        for protocol, status in steps:
            row += 1
            attributes = {
                DATE: "20260312", TIME: "100000", "ScheduledProcedureStepEndDate": "20260312",
                "ScheduledStationAETitle": ["CT01"], "ScheduledProtocolCodeSequence": code(protocol),
            }  # fmt: skip
            below.append(Step(row, f"S{row}", row, status, attributes))
        attributes = {"RequestedProcedureCodeSequence": code(requested)}
        made.append(Procedure(number, f"RP{number}", f"2.999.{number}", attributes, tuple(below)))
    return Order(1, Patient(1, "1", "", {}), EntityId("P1"), EntityId("F1"), "A1", {}, tuple(made))


def slot(*codes: str, **attributes: str) -> Slot:
    return Slot(frozenset(codes), {**NEW, **attributes})


def booked(stored: Order, wish: Wish) -> booking.Booked:
    return booking.booked(stored, wish, "UNASSIGNED")


TWO = order(("RP", [("A", "SCHEDULED"), ("B", "SCHEDULED")]))


@pytest.mark.parametrize(
    ("slots", "found"),
    [
        ([slot()], {0: 0, 1: 0}),
        ([slot("x")], {0: 0, 1: 0}),
        ([slot("rp")], {0: 0, 1: 0}),
        ([slot("b")], {1: 0}),
        ([slot("b"), slot("a")], {1: 0, 0: 1}),
        ([slot("x"), slot("y")], {0: 0, 1: 1}),
        ([slot("x"), slot("a")], {0: 1, 1: 0}),
        ([slot("rp"), slot("rp")], {0: 0, 1: 1}),
        ([slot("a"), slot("b"), slot("x")], {0: 0, 1: 1}),
    ],
)
def test_services_find_their_steps(slots: list[Slot], found: dict[int, int]) -> None:
    assert booking.assigned(TWO, slots) == found


def test_a_service_that_fits_nothing_is_counted() -> None:
    made = booked(TWO, Wish(AppointmentAction.BOOK, "S12", (slot("a"), slot("b"), slot("x"))))
    assert (made.moved, made.unmatched) == ({1, 2}, 1)


def test_a_procedure_of_several() -> None:
    stored = order(("R1", [("A", "SCHEDULED")]), ("R2", [("B", "SCHEDULED"), ("C", "SCHEDULED")]))
    assert booking.assigned(stored, [slot("r2")]) == {1: 0, 2: 0}
    assert booking.assigned(stored, [slot("r2"), slot("r1")]) == {1: 0, 2: 0, 0: 1}


@pytest.mark.parametrize("status", ["SCHEDULED", "ARRIVED", "READY"])
def test_what_waits_is_moved_in_its_status(status: str) -> None:
    made = booked(order(("RP", [("A", status)])), Wish(AppointmentAction.BOOK, "S13", (slot(),)))
    (step,) = made.order.steps()
    assert (step.status, step.start_at, step.stations) == (status, "20260313110000", ("CT01",))
    assert "ScheduledProcedureStepEndDate" not in step.attributes
    assert (made.moved, made.late, made.reopened) == ({1}, frozenset(), frozenset())


@pytest.mark.parametrize("status", ["STARTED", "COMPLETED", "DISCONTINUED", "CANCELED"])
@pytest.mark.parametrize(
    ("asked", "event"),
    [(AppointmentAction.BOOK, "S13"), (AppointmentAction.UNBOOK, "S15"), (AppointmentAction.NO_SHOW, "S26")],
)
def test_what_has_started_or_ended_stays(status: str, asked: AppointmentAction, event: str) -> None:
    stored = order(("RP", [("A", status)]))
    made = booked(stored, Wish(asked, event, (slot(),)))
    assert (made.order, made.moved, made.late) == (stored, frozenset(), {1})


def test_a_removed_station_gives_way_to_the_default() -> None:
    made = booked(TWO, Wish(AppointmentAction.BOOK, "S20", (Slot(frozenset({"a"}), {"ScheduledStationAETitle": []}),)))
    assert [step.stations for step in made.order.steps()] == [("UNASSIGNED",), ("CT01",)]


def test_a_cancelled_appointment_leaves_steps_to_be_scheduled() -> None:
    made = booked(TWO, Wish(AppointmentAction.UNBOOK, "S15", (slot(),)))
    assert [(step.status, step.start_at, step.stations) for step in made.order.steps()] == [
        ("SCHEDULED", "", ("CT01",))
    ] * 2  # fmt: skip
    assert booked(made.order, Wish(AppointmentAction.UNBOOK, "S15", (slot(),))).order == made.order
    again = booked(made.order, Wish(AppointmentAction.BOOK, "S12", (slot(),)))
    assert [step.start_at for step in again.order.steps()] == ["20260313110000"] * 2


def test_a_cancelled_appointment_cancels_where_the_mapping_says_so() -> None:
    made = booked(TWO, Wish(AppointmentAction.UNBOOK, "S15", (slot("a"),), cancels=True))
    assert [step.status for step in made.order.steps()] == ["CANCELED", "SCHEDULED"]
    removed = Slot(frozenset({"a"}), {}, removed=True)
    made = booked(TWO, Wish(AppointmentAction.BOOK, "S22", (removed,), cancels=True))
    assert [(step.status, step.start_at) for step in made.order.steps()] == [
        ("SCHEDULED", ""), ("SCHEDULED", "20260312100000"),
    ]  # fmt: skip


def test_the_end_of_an_appointment_means_what_it_has_booked() -> None:
    wish = Wish(AppointmentAction.UNBOOK, "S15", (slot(),), own=frozenset({2}), others=frozenset({1}))
    assert [step.start_at for step in booked(TWO, wish).order.steps()] == ["20260312100000", ""]
    wish = Wish(AppointmentAction.UNBOOK, "S15", (slot(),), others=frozenset({1, 2}))
    made = booked(TWO, wish)
    assert (made.order, made.moved, made.late) == (TWO, frozenset(), frozenset())


@pytest.mark.parametrize(
    ("event", "no_shows", "status"),
    [("S13", {1}, "SCHEDULED"), ("S12", {1}, ""), ("S14", {1}, ""), ("S13", set(), "")],
)
def test_only_a_no_show_is_scheduled_again_and_only_by_s13(event: str, no_shows: set[int], status: str) -> None:
    stored = order(("RP", [("A", "DISCONTINUED")]))
    made = booked(stored, Wish(AppointmentAction.BOOK, event, (slot(),), no_shows=frozenset(no_shows)))
    if status:
        assert [step.status for step in made.order.steps()] == [status]
        assert made.reopened == {1}
    else:
        assert (made.order, made.reopened, made.late) == (stored, frozenset(), {1})


@pytest.mark.parametrize(
    ("asked", "before", "after"),
    [
        (AppointmentAction.NO_SHOW, "ARRIVED", "DISCONTINUED"), (AppointmentAction.START, "READY", "STARTED"),
        (AppointmentAction.COMPLETE, "STARTED", "COMPLETED"), (AppointmentAction.COMPLETE, "SCHEDULED", "COMPLETED"),
        (AppointmentAction.START, "STARTED", "STARTED"), (AppointmentAction.COMPLETE, "COMPLETED", "COMPLETED"),
    ],
)  # fmt: skip
def test_status_by_appointment(asked: AppointmentAction, before: str, after: str) -> None:
    made = booked(order(("RP", [("A", before)])), Wish(asked, "S14", (slot(),)))
    assert ([step.status for step in made.order.steps()], made.late) == ([after], frozenset())


@pytest.mark.parametrize(
    ("asked", "before"), [(AppointmentAction.START, "COMPLETED"), (AppointmentAction.COMPLETE, "CANCELED")]
)
def test_status_by_appointment_never_moves_backwards(asked: AppointmentAction, before: str) -> None:
    made = booked(order(("RP", [("A", before)])), Wish(asked, "S14", (slot(),)))
    assert ([step.status for step in made.order.steps()], made.late) == ([before], {1})


def result(**more: str) -> ResultChange:
    keys = OrderKeys(EntityId("P1"), EntityId("F1"))
    given = {"study_instance_uid": "", "procedure_id": "", "code": "", **more}
    return ResultChange("F", True, keys, "", patient=None, location="OBR^1^25", number_location="OBR^1^3", **given)


@pytest.mark.parametrize(
    ("change", "statuses"),
    [
        (result(), ["COMPLETED", "COMPLETED", "CANCELED"]),
        (result(code="r2"), ["SCHEDULED", "COMPLETED", "CANCELED"]),
        (result(procedure_id="RP1", code="r2"), ["COMPLETED", "STARTED", "CANCELED"]),
        (result(study_instance_uid="2.999.2", procedure_id="RP1"), ["SCHEDULED", "COMPLETED", "CANCELED"]),
        (result(code="unknown"), ["COMPLETED", "COMPLETED", "CANCELED"]),
    ],
)
def test_a_result_completes_the_procedure_it_names(change: ResultChange, statuses: list[str]) -> None:
    stored = order(("R1", [("A", "SCHEDULED")]), ("R2", [("B", "STARTED"), ("C", "CANCELED")]))
    assert [step.status for step in resulting.completed(stored, change).steps()] == statuses
