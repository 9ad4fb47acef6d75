"""Whoever names a joined order, or works from its worklist item, means the order in force. On both databases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from store.test_authorities import order, rows
from store.test_orders_doubled import NS, OID, P, cancel, left, new, send, take, told
from support.orders.appointments import siu
from support.orders.intake import take as take_as

from broker.model.order import EntityId
from broker.orders.core.values import PatientChange
from broker.orders.lookup import matching, several
from broker.orders.lookup.matching import Keys, Match
from broker.orders.mapping.book import built_in
from broker.orders.mapping.profile import Policy, Profile
from broker.store.db.database import Database
from broker.store.orders import by_number

MEANT = PatientChange("P1", "HOSP", {})


@pytest.fixture
def joined(database: Database) -> Database:
    """Two orders that turned out to be one: the first was joined into the second, each has its own accession number."""
    send(database, new(NS, filler="F1^RAD"), new(OID, accession="1"))
    told(database)
    assert [(row["request"], row["kind"], row["other"]) for row in rows(database, "order_link")] == [(2, "joined", 1)]
    assert [row["accession"] for row in rows(database, "service_request")][:2] == ["F1", "1"]
    assert left(database) == ["P1"]
    return database


def completes() -> Profile:
    return replace(built_in(), policy=Policy(result_completes=("F",)))


def step_of(database: Database, order_row: int) -> dict[str, Any]:
    procedures = {row["id"] for row in rows(database, "requested_procedure") if row["request"] == order_row}
    (found,) = [row for row in rows(database, "scheduled_step") if row["procedure"] in procedures]
    return found


def performed(database: Database, step: dict[str, Any], *without: str) -> Match:
    """What an item means that a modality made of a step of its worklist."""
    names = ("step_id", "study_instance_uid", "accession", "requested_procedure_id")
    keys = Keys(**{name: "" if name in without else step[name] for name in names})
    found: Match = database.read(matching.find, keys, MEANT).result()
    return found


def result(placer: str, filler: str = "", patient: str = P, uid: str = "") -> bytes:
    lines = [
        f"MSH|^~\\&|RIS|SITE|BROKER|RAD|20300101080000||ORU^R01|R{placer}{filler}{patient}{uid}|P|2.5",
        f"PID|||{patient}||ROE^ANNA",
        f"OBR|1|{placer}|{filler}|" + "|" * 21 + "F",
    ]
    lines += [f"OBX|1|ST|113014^DICOM Study^DCM||{uid}||||||O"] if uid else []
    return "".join(line + "\r" for line in lines).encode()


def findings(told_: Sequence[Any]) -> list[str]:
    return [f"{one.location}:{one.code}{one.severity} {one.text}" for one in told_]


@pytest.mark.parametrize("control", ["CA", "XO"])
@pytest.mark.parametrize("of", [1, 2])
def test_an_accession_number_of_either_means_the_order_in_force(database: Database, control: str, of: int) -> None:
    send(database, new("", filler="F1^RAD"), new("", filler="F1^^2.999.8^ISO"))
    send(database, new("", filler="F9^RAD^2.999.8^ISO", patient="P9^^^HOSP"))
    accession = rows(database, "service_request")[of - 1]["accession"]
    assert len(left(database)) == 1
    assert send(database, order(control, patient=P, placer="77^RIS", accession=accession, start="20300117090000")) == ""
    steps = [step_of(database, row) for row in (1, 2)]
    assert [step["status"] for step in steps] == ["CANCELED", "CANCELED" if control == "CA" else "SCHEDULED"]
    assert steps[1]["start_at"][:8] == ("20300115" if control == "CA" else "20300117")


@pytest.mark.parametrize("without", [(), ("step_id",), ("study_instance_uid",), ("step_id", "study_instance_uid")])
def test_what_a_modality_made_of_the_joined_item_is_linked_to_the_order_in_force(
    joined: Database, without: tuple[str, ...]
) -> None:
    found = performed(joined, step_of(joined, 1), *without)
    assert (found.step, found.order) == (step_of(joined, 2)["id"], 2)
    # images have a study that the order in force does not have
    assert found.doubts == (() if "study_instance_uid" in without else (matching.OTHER_STUDY,))
    own = performed(joined, step_of(joined, 2), *without)
    assert (own.step, own.doubts) == (found.step, ())


def test_a_result_that_names_the_study_of_the_joined_order_ends_the_one_in_force(joined: Database) -> None:
    uid = step_of(joined, 1)["study_instance_uid"]
    outcome = take_as(joined, result("", uid=uid), completes())
    assert (outcome.code, findings(outcome.told)) == ("AA", [])
    assert (step_of(joined, 1)["status"], step_of(joined, 2)["status"]) == ("CANCELED", "COMPLETED")


def test_a_study_that_the_joined_order_has_is_no_other_exam(joined: Database) -> None:
    uid = step_of(joined, 1)["study_instance_uid"]
    change = order("XO", patient=P, placer=NS).replace(b"IPC|||", f"IPC|||{uid}".encode())
    outcome = take(joined, change)
    assert (outcome.code, [one.code for one in outcome.told]) == ("AA", ["205"])


def test_appointments_go_over_to_the_order_in_force(database: Database) -> None:
    send(
        database,
        new(NS, filler="F1^RAD"),
        siu("S12", control_id="s1", placer="1^RIS", pid=P, sch_11="^^^20300118090000"),
    )
    send(database, new(OID))
    told(database)
    assert [row["request"] for row in rows(database, "appointment")] == [2]
    send(database, siu("S15", control_id="s2", placer="", filler="F1^RAD", pid=P, at="20300102080000"))
    assert step_of(database, 2)["start_at"] == ""


def test_orders_that_were_joined_one_after_the_other_are_one(database: Database) -> None:
    """The first is joined into the second by its placer number, that into the third by its filler number."""
    send(database, new(NS), new(OID, filler="F1^RAD"))
    told(database)
    send(database, new("", filler="F1^^2.999.8^ISO"), new("", filler="F9^RAD^2.999.8^ISO", patient="P9^^^HOSP"))
    assert left(database) == ["P1"]
    links = {(row["request"], row["other"]) for row in rows(database, "order_link")}
    assert links == {(2, 1), (4, 2)}
    assert database.read(by_number.find_orders, EntityId(), EntityId("1", "RIS"), "").result() == [4]
    assert cancel(database, NS) == ("AA", "")
    assert left(database) == []


def test_a_late_cancel_of_what_was_replaced_does_not_end_what_took_its_place(database: Database) -> None:
    send(database, new("1^RIS"))
    both = order("RP", patient=P, placer="1^RIS") + order("RO", patient=P, placer="7^RIS").split(b"\r", 3)[3]
    send(database, both)
    assert len(left(database)) == 1
    assert cancel(database, "1^RIS") == ("AA", "ORC^1^1:0")
    assert len(left(database)) == 1


@pytest.fixture
def two(database: Database) -> Database:
    """Two orders of one patient that have one placer order number."""
    send(database, new(NS, filler="F1^RAD", accession="A1"), new(NS, filler="F2^RAD", accession="A2"))
    return database


def test_an_appointment_that_names_a_number_of_several_orders_says_so(two: Database) -> None:
    outcome = take(two, siu("S12", placer="1^RIS", pid=P))
    assert outcome.code == "AA"
    assert findings(outcome.told) == [f"SCH^1^26:205W {several.HAVE_IT}: recorded without effect"]


def test_a_result_that_names_a_number_of_several_orders_says_so(two: Database) -> None:
    outcome = take_as(two, result("1^RIS"), completes())
    assert outcome.code == "AA"
    assert findings(outcome.told) == [f"OBR^1^2:205W {several.HAVE_IT}: recorded without effect"]
    outcome = take_as(two, result("1^RIS", uid=step_of(two, 2)["study_instance_uid"]), completes())
    assert (findings(outcome.told), step_of(two, 2)["status"]) == ([], "COMPLETED")


def test_the_patient_tells_which_of_several_orders_an_appointment_and_a_result_mean(database: Database) -> None:
    other = "P2^^^HOSP"
    send(database, new(NS), new(OID, patient=other))
    told(database)
    assert send(database, siu("S12", placer=NS, pid=other, sch_11="^^^20300118090000")) == ""
    assert [step_of(database, row)["start_at"][:8] for row in (1, 2)] == ["20300115", "20300118"]
    assert take_as(database, result(NS, patient=other), completes()).told == ()
    assert [step_of(database, row)["status"] for row in (1, 2)] == ["SCHEDULED", "COMPLETED"]
