"""Orders by REST on both databases: placed once, changed only as they were seen, cancelled by the rules."""

from __future__ import annotations

from concurrent.futures import wait
from typing import Any

import pytest
from sqlalchemy import select
from support.orders.caller import Caller
from support.orders.documents import order
from support.orders.intake import take

from broker.orders.direct import placing
from broker.orders.direct.placing import OrderRefused, Placed
from broker.orders.documents.emergency import Emergency
from broker.settings import Settings
from broker.store import idempotency
from broker.store.db.database import Database
from broker.store.db.pace import Pace
from broker.store.idempotency import Key
from broker.store.orders import reading
from broker.store.schema import tables
from broker.store.thinning import ANSWERS, thin
from broker.store.worklist.candidates import Criteria, Words, search


@pytest.fixture
def caller(database: Database) -> Caller:
    return Caller(database, Settings())


def place(caller: Caller, given: dict[str, Any], key: Key | None = None, *, dry: bool = False) -> Placed:
    return caller.place(placing.usable(caller.convert(given)), "api", key, dry=dry).result()


def refusal(future: Any) -> OrderRefused:
    with pytest.raises(OrderRefused) as refused:
        future.result()
    return refused.value


def amend(caller: Caller, row: int, given: dict[str, Any], revision: str) -> Any:
    return caller.amend(row, placing.usable(caller.convert(given)), revision, "api")


def statuses(document: dict[str, Any]) -> list[str]:
    return [step["ScheduledProcedureStepStatus"] for one in document["procedures"] for step in one["steps"]]


def set_status(database: Database, step: str, status: str) -> None:
    table = tables.scheduled_step
    database.submit(
        lambda c: c.execute(table.update().where(table.c.step_id == step).values(status=status)) and None
    ).result()


def orders_of(database: Database) -> int:
    return len(database.read(reading.order_rows).result())


def test_created_unchanged_updated(caller: Caller, database: Database) -> None:
    first = place(caller, order())
    assert (first.action, first.row) == ("created", 1)
    again = place(caller, order())
    assert (again.action, again.document) == ("unchanged", first.document)
    changed = place(caller, order(step={"Modality": "MR"}))
    assert changed.action == "updated"
    assert changed.document["procedures"][0]["StudyInstanceUID"] == first.document["procedures"][0]["StudyInstanceUID"]
    assert orders_of(database) == 1
    audit = database.read(lambda c: c.execute(select(tables.audit.c.actor, tables.audit.c.action)).all()).result()
    assert [tuple(row) for row in audit] == [("api", f"order.{x}") for x in ("created", "unchanged", "updated")]


def test_numbers_that_are_missing_are_given_once(caller: Caller) -> None:
    without = order(AccessionNumber=None)
    placed = place(caller, without)
    assert placed.document["request"]["AccessionNumber"] == "PL1"  # an order number that can be one
    long = order(2, AccessionNumber=None, PlacerOrderNumberImagingServiceRequest="P" * 20)
    first = place(caller, long).document
    assert first["request"]["AccessionNumber"].startswith("ACC")
    assert len(first["request"]["AccessionNumber"]) == 16
    assert place(caller, long).document == first
    bare = order(3, AccessionNumber=None, PlacerOrderNumberImagingServiceRequest=None)
    one, other = place(caller, bare), place(caller, bare)  # nothing says that these are the same
    assert one.row != other.row
    assert one.document["request"]["AccessionNumber"] != other.document["request"]["AccessionNumber"]


def test_what_is_refused_changes_nothing(caller: Caller, database: Database) -> None:
    mine = place(caller, order())
    other = order()
    other["patient"]["PatientID"] = "QZPAT9"
    other["patient"]["PatientName"] = "Other^Name"
    error = refusal(caller.place(placing.usable(caller.convert(other)), "api"))
    assert (error.kind, [f.location for f in error.findings]) == ("conflict", ["PID^1^3"])
    stolen = order(2)
    stolen["procedures"][0]["StudyInstanceUID"] = mine.document["procedures"][0]["StudyInstanceUID"]
    error = refusal(caller.place(placing.usable(caller.convert(stolen)), "api"))
    assert (error.kind, [f.location for f in error.findings]) == ("conflict", ["procedures/0/StudyInstanceUID"])
    assert orders_of(database) == 1
    patients = database.read(lambda c: list(c.execute(select(tables.patient.c.patient_id)).scalars())).result()
    assert patients == ["QZPAT1"]


def test_a_dry_run_writes_nothing_and_says_the_same(caller: Caller, database: Database) -> None:
    assert place(caller, order(), dry=True).action == "created"
    assert orders_of(database) == 0
    row = place(caller, order()).row
    assert place(caller, order(), dry=True).action == "unchanged"
    assert place(caller, order(modality="MR"), dry=True).action == "updated"
    assert caller.read(row).result()["procedures"][0]["steps"][0]["Modality"] == "CT"  # type: ignore[index]


def test_an_idempotency_key_has_one_effect(caller: Caller, database: Database) -> None:
    bare = order(AccessionNumber=None, PlacerOrderNumberImagingServiceRequest=None)
    key = Key("api", "k1", b"digest")
    first = place(caller, bare, key)
    again = place(caller, bare, key)
    assert (again.row, again.action, again.document) == (first.row, "created", first.document)
    assert place(caller, bare, Key("cli:x", "k1", b"digest")).row != first.row  # keys are each caller's own
    assert refusal(caller.place(placing.usable(caller.convert(bare)), "api", Key("api", "k1", b"other"))).kind == (
        "key-reused"
    )
    refused = order()
    refused["patient"]["PatientID"] = "QZPAT9"
    place(caller, order())
    kept = Key("api", "k2", b"digest")
    assert refusal(caller.place(placing.usable(caller.convert(refused)), "api", kept)).kind == "conflict"
    assert place(caller, order(), kept).action == "unchanged"  # what was refused is asked again
    later = first_at(database) + idempotency.KEPT + 1
    assert database.read(idempotency.find, key, later).result() is None
    assert thin(Pace(database), ANSWERS, later - idempotency.KEPT) >= 3
    assert place(caller, bare, key).row != first.row


def first_at(database: Database) -> float:
    found = database.read(lambda c: c.execute(select(tables.idempotency.c.at)).scalars().first()).result()
    return float(found or 0)


def test_the_same_request_at_the_same_time_is_one_order(caller: Caller, database: Database) -> None:
    bare = placing.usable(caller.convert(order(AccessionNumber=None, PlacerOrderNumberImagingServiceRequest=None)))
    futures = [caller.place(bare, "api", Key("api", "k", b"d")) for _ in range(16)]
    wait(futures, 60)
    assert {future.result().row for future in futures} == {futures[0].result().row}
    assert orders_of(database) == 1


def test_a_change_needs_the_revision_it_is_based_on(caller: Caller) -> None:
    first = place(caller, order())
    other = order(step={"ScheduledProcedureStepLocation": "Room 2"})
    changed = amend(caller, 1, other, first.document["revision"]).result()
    assert changed.action == "updated"
    assert refusal(amend(caller, 1, other, first.document["revision"])).kind == "changed"
    assert amend(caller, 1, other, changed.document["revision"]).result().action == "unchanged"
    assert refusal(amend(caller, 2, other, "x")).kind == "missing"
    assert refusal(caller.cancel(1, first.document["revision"], "api")).kind == "changed"
    futures = [
        amend(caller, 1, order(step={"ScheduledProcedureStepLocation": str(n)}), changed.document["revision"])
        for n in range(8)
    ]
    wait(futures, 60)
    assert sum(future.exception() is None for future in futures) == 1


def test_a_whole_change_deletes_and_cancels_what_it_leaves_out(caller: Caller) -> None:
    given = order(RequestingService="Ward 9")
    given["procedures"][0]["steps"].append({**given["procedures"][0]["steps"][0], "Modality": "MR"})
    first = place(caller, given).document
    assert statuses(first) == ["SCHEDULED", "SCHEDULED"]
    given = order()
    given["procedures"][0]["steps"][0]["ScheduledProcedureStepID"] = (
        first["procedures"][0]["steps"][1]["ScheduledProcedureStepID"]
    )  # fmt: skip
    changed = amend(caller, 1, given, first["revision"]).result().document
    assert statuses(changed) == ["CANCELED", "SCHEDULED"]
    assert "RequestingService" not in changed["request"]
    assert changed["procedures"][0]["steps"][1]["Modality"] == "CT"
    assert changed["procedures"][0]["StudyInstanceUID"] == first["procedures"][0]["StudyInstanceUID"]


def test_a_change_never_moves_to_another_order(caller: Caller) -> None:
    first = place(caller, order(1)).document
    place(caller, order(2))
    moved = order(1, PlacerOrderNumberImagingServiceRequest="PL2", AccessionNumber="A2")
    assert refusal(amend(caller, 1, moved, first["revision"])).kind == "conflict"
    renamed = order(1)
    renamed["patient"]["PatientID"] = "QZPAT9"
    assert refusal(amend(caller, 1, renamed, first["revision"])).kind == "conflict"
    assert caller.read(1).result()["revision"] == first["revision"]  # type: ignore[index]


def test_a_cancel_follows_the_life_cycle(caller: Caller, database: Database) -> None:
    first = place(caller, order()).document
    step = first["procedures"][0]["steps"][0]["ScheduledProcedureStepID"]
    set_status(database, step, "STARTED")
    assert refusal(caller.cancel(1, None, "api")).kind == "conflict"
    left_out = order()
    left_out["procedures"][0]["steps"][0]["ScheduledProcedureStepID"] = "NEW"
    revision = caller.read(1).result()["revision"]  # type: ignore[index]
    assert refusal(amend(caller, 1, left_out, revision)).kind == "conflict"  # its step has started
    assert statuses(caller.read(1).result() or {}) == ["STARTED"]
    set_status(database, step, "COMPLETED")
    assert refusal(caller.cancel(1, None, "api")).kind == "conflict"
    assert refusal(caller.place(placing.usable(caller.convert(order(modality="MR"))), "api")).kind == "conflict"
    place(caller, order(2))
    canceled = caller.cancel(2, None, "cli:me").result()
    assert (canceled.action, statuses(canceled.document)) == ("canceled", ["CANCELED"])
    assert caller.cancel(2, None, "cli:me").result().action == "unchanged"
    assert refusal(caller.cancel(3, None, "api")).kind == "missing"
    events = caller.read(2).result()["procedures"][0]["steps"][0]["events"]  # type: ignore[index]
    assert [(one["before"], one["after"], one["actor"]) for one in events] == [
        ("", "SCHEDULED", "api"), ("SCHEDULED", "CANCELED", "cli:me"),
    ]  # fmt: skip


def test_a_person_reopens_with_a_reason(caller: Caller) -> None:
    step = place(caller, order()).document["procedures"][0]["steps"][0]["ScheduledProcedureStepID"]
    assert refusal(caller.reopen(1, step, "too early", "api")).kind == "conflict"
    caller.cancel(1, None, "api").result()
    assert refusal(caller.reopen(1, "S?", "why", "api")).kind == "missing"
    assert refusal(caller.reopen(9, step, "why", "api")).kind == "missing"
    reopened = caller.reopen(1, step, "cancelled by mistake", "api").result()
    assert (reopened.action, statuses(reopened.document)) == ("reopened", ["SCHEDULED"])


def test_orders_are_found_by_what_people_know(caller: Caller) -> None:
    for number in range(1, 8):
        place(caller, order(number))
    third = caller.read(3).result()
    assert third is not None
    uid = third["procedures"][0]["StudyInstanceUID"]
    for wanted in (
        {"AccessionNumber": "A3"}, {"PlacerOrderNumberImagingServiceRequest": "PL3"}, {"StudyInstanceUID": uid},
        {"PatientID": "QZPAT3", "IssuerOfPatientID": "HOSPITAL"}, {"PatientID": "QZPAT3", "AccessionNumber": "A3"},
    ):  # fmt: skip
        assert [one["id"] for one in caller.find(wanted, 0, 10).result()] == [3], wanted
    for nothing in (
        {"AccessionNumber": "A%"},
        {"AccessionNumber": "a3"},
        {"PatientID": "QZPAT3", "StudyInstanceUID": "1"},
    ):
        assert caller.find(nothing, 0, 10).result() == []
    assert [one["id"] for one in caller.find({"IssuerOfPatientID": "HOSPITAL"}, 2, 3).result()] == [3, 4, 5]
    assert caller.read(99).result() is None


def test_an_emergency_order_is_in_the_worklist_at_once_and_takes_a_plain_change(
    caller: Caller, database: Database
) -> None:
    placed = place(caller, caller.emergency(Emergency("CT", "polytrauma", "CT01", "F")))
    shown = placed.document
    assert shown["patient"]["IssuerOfPatientID"] == Settings().dicom.ae_title
    found = database.read(search, Criteria(stations=Words(("CT01",))), None, 10).result()
    assert len(found) == 1
    assert shown["patient"]["PatientID"] in found[0].answer
    known = {key: shown[key] for key in ("patient", "visit", "request", "procedures")}
    known["patient"] = {**known["patient"], "PatientBirthDate": "19800101", "PatientName": "Roe^Jane"}
    changed = place(caller, known)
    assert (changed.action, changed.row) == ("updated", placed.row)
    assert changed.document["patient"]["PatientName"] == "Roe^Jane"


@pytest.mark.parametrize("prior", ["{}^^^BROKER", "{}", "{}^^^SITE", "{}^^^&2.999.3&ISO"])
@pytest.mark.parametrize("known", [True, False])
def test_an_emergency_patient_is_merged_whatever_authority_is_named(
    caller: Caller, database: Database, prior: str, known: bool
) -> None:
    if known:
        place(caller, order())
    emergency = place(caller, caller.emergency(Emergency(modality="CT", description="Head")))
    temporary = emergency.document["patient"]["PatientID"]
    patient = "P1^^^SITE"
    lines = (
        "MSH|^~\\&|ADT|SITE|BROKER|RAD|20300101090000||ADT^A40^ADT_A39|E1|P|2.5.1",
        "EVN||20300101090000",
        f"PID|||{patient}||ROE^ANNA||19700101|F",
        f"MRG|{prior.format(temporary)}",
    )
    outcome = take(database, "".join(f"{line}\r" for line in lines).encode())
    assert (outcome.code, outcome.findings) == ("AA", 0), outcome.answer
    after = caller.read(emergency.row).result()
    assert after is not None
    assert [after["patient"][keyword] for keyword in ("PatientID", "IssuerOfPatientID", "PatientName")] == [
        "P1", "SITE", "ROE^ANNA",
    ]  # fmt: skip
    assert "PatientAge" not in after["patient"]
    again = take(database, "".join(f"{line}\r" for line in lines).replace("|E1|", "|E2|").encode())
    assert (again.code, again.findings) == ("AA", 1)  # done before
