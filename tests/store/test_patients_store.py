"""ADT on both databases: what becomes of patients, visits, and the open and ended steps of their orders."""

from __future__ import annotations

import itertools
import json
from datetime import datetime
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Connection, event, insert, select, update
from support.orders.intake import ZONE, submit, take

from broker.orders.core.context import StoryContext
from broker.orders.inbound import reception
from broker.orders.inbound.reception import Interface
from broker.orders.mapping.book import built_in
from broker.orders.stories import intake
from broker.orders.stories.intake import Outcome
from broker.store.db.database import Database
from broker.store.orders import reading
from broker.store.schema import tables

_numbers = itertools.count(1)
Rows = list[dict[str, Any]]


def order(
    number: str, patient: str = "P1^^^SITE", name: str = "ROE^RICHARD", *, control: str = "NW", visit: str = "",
    start: str = "20260312100000", more: str = "",
) -> bytes:  # fmt: skip
    lines = [
        f"MSH|^~\\&|RIS|SITE|BROKER|RAD|20260312080000||ORM^O01|O{next(_numbers)}|P|2.5",
        f"PID|||{patient}||{name}||19710102|M",
        f"PV1||I|OLD||||||||||||||||{visit}" if visit else "NTE|1",
        *filter(None, [more]),
        f"ORC|{control}|{number}^RIS|||||^^^{start}",
        f"OBR|1|{number}^RIS||CHEST^Chest||||||||||||||A{number}||||||CR",
    ]
    return "".join(line + "\r" for line in lines).encode()


def adt(
    trigger: str, *segments: str, at: str = "20260312080000", patient: str = "P1^^^SITE", name: str = "ROE^RICHARD",
    sender: str = "ADT",
) -> bytes:  # fmt: skip
    lines = [
        f"MSH|^~\\&|{sender}|SITE|BROKER|RAD|{at}||ADT^{trigger}|E{next(_numbers)}|P|2.5",
        f"EVN||{at}",
        f"PID|||{patient}||{name}||19710102|M",
        *segments,
    ]
    return "".join(line + "\r" for line in lines).encode()


def good(database: Database, *messages: bytes) -> Outcome:
    """Hand over messages that must be accepted; the last outcome."""
    outcomes = [take(database, message) for message in messages]
    assert [outcome.code for outcome in outcomes] == ["AA"] * len(messages), outcomes
    return outcomes[-1]


def rows(database: Database, table: str) -> Rows:
    wanted = tables.METADATA.tables[table]

    def read(connection: Connection) -> Rows:
        return [dict(row._mapping) for row in connection.execute(select(wanted).order_by(*wanted.primary_key))]

    return database.read(read).result()


def answers(database: Database) -> dict[str, dict[str, Any]]:
    """The worklist answer of each order, by its placer number."""
    found = [json.loads(step["answer"]) for step in rows(database, "scheduled_step")]
    return {answer["PlacerOrderNumberImagingServiceRequest"]: answer for answer in found}


def audit(database: Database) -> list[str]:
    return [entry["action"] for entry in rows(database, "audit")]


def set_status(database: Database, number: str, status: str) -> None:
    step = tables.scheduled_step
    database.submit(
        lambda c: c.execute(update(step).where(step.c.accession == f"A{number}").values(status=status)) and None
    ).result()


PV1 = "PV1|1|I|CARD^204||||||||||||||||V1^^^SITE"


# --- demographics ------------------------------------------------------------------------------------------------


def test_demographics_reach_open_steps_and_leave_ended_ones(database: Database) -> None:
    good(database, order("1"), order("2"), order("3"), order("9", "P9^^^SITE"))
    set_status(database, "2", "COMPLETED")
    set_status(database, "3", "STARTED")
    good(database, adt("A08", name="ROE-DOE^RICHARD"))
    found = answers(database)
    assert {number: answer["PatientName"] for number, answer in found.items()} == {
        "1": "ROE-DOE^RICHARD", "2": "ROE^RICHARD", "3": "ROE-DOE^RICHARD", "9": "ROE^RICHARD",
    }  # fmt: skip
    names = {step["accession"]: step["patient_name"] for step in rows(database, "scheduled_step")}
    assert (names["A1"], names["A2"]) == ("roe-doe^richard", "roe^richard")
    assert audit(database)[-1] == "patient.updated"


@pytest.mark.parametrize("trigger", ["A01", "A04", "A05", "A28", "A31", "A08", "A02"])
def test_a_patient_is_created_without_an_order(database: Database, trigger: str) -> None:
    good(database, adt(trigger, PV1))
    (patient,) = rows(database, "patient")
    assert (patient["patient_id"], patient["issuer"]) == ("P1", "SITE")
    assert len(rows(database, "visit")) == (trigger != "A31")
    good(database, adt(trigger, PV1))
    assert len(rows(database, "patient")) == 1
    assert "patient.unchanged" in audit(database)


def test_a_patient_without_a_name_is_not_created_but_may_be_moved(database: Database) -> None:
    outcome = take(database, adt("A02", PV1, name=""))
    assert (outcome.code, b"PID^1^5" in outcome.answer) == ("AE", True)
    assert rows(database, "patient") == rows(database, "visit") == []
    good(database, order("1"), adt("A02", PV1, name=""))
    assert answers(database)["1"]["CurrentPatientLocation"] == "CARD^204"
    assert answers(database)["1"]["PatientName"] == "ROE^RICHARD"


def test_what_is_absent_stays_and_two_quotes_delete(database: Database) -> None:
    good(database, adt("A31"), order("1"))
    good(database, adt("A31").replace(b"19710102|M", b'""'))
    found = answers(database)["1"]
    assert ("PatientBirthDate" in found, found["PatientSex"]) == (False, "M")


@pytest.mark.parametrize("trigger", ["A08", "A31"])
def test_an_older_message_of_the_same_sender_does_not_overwrite(database: Database, trigger: str) -> None:
    good(database, order("1"), adt("A08", PV1, name="NEW^NAME", at="20260312090000"))
    late = good(database, adt(trigger, PV1.replace("CARD", "OLD"), name="OLD^NAME", at="202603120859"))
    assert b"|W|" in late.answer
    assert (audit(database)[-1] in {"patient.late", "visit.late"}) is True
    found = answers(database)["1"]
    assert (found["PatientName"], found["CurrentPatientLocation"]) == ("NEW^NAME", "CARD^204")
    good(database, adt(trigger, name="SAME^MINUTE", at="202603120900"))
    assert answers(database)["1"]["PatientName"] == "SAME^MINUTE"
    good(database, adt(trigger, name="OTHER^SENDER", at="20260312070000", sender="MPI"))
    assert answers(database)["1"]["PatientName"] == "OTHER^SENDER"
    good(database, adt(trigger, name="LATE^AGAIN", at="20260312085959"))
    assert answers(database)["1"]["PatientName"] == "OTHER^SENDER"


def test_the_allergies_of_adt_replace_those_of_orders(database: Database) -> None:
    good(database, order("1", more="AL1|1|DA|PEN^Penicillin"), order("2"))
    set_status(database, "2", "STARTED")
    assert answers(database)["1"]["Allergies"] == ["Penicillin"]
    good(database, adt("A08", "AL1|1|DA|IOD^Iodine", "AL1|2|DA|LAT^Latex"))
    assert [answers(database)[number]["Allergies"] for number in "12"] == [["Iodine", "Latex"]] * 2
    good(database, adt("A31"), order("3"))
    assert answers(database)["3"]["Allergies"] == ["Iodine", "Latex"]


# --- visits ------------------------------------------------------------------------------------------------------


def test_a_visit_from_admission_to_discharge(database: Database) -> None:
    good(database, order("1", visit="V1^^^SITE"), order("2"), order("3", visit="V3"))

    def state() -> tuple[str, str, str]:
        (visit,) = rows(database, "visit")
        return visit["state"], visit["location"], visit["patient_class"]

    def locations() -> list[str | None]:
        return [answers(database)[number].get("CurrentPatientLocation") for number in "123"]

    good(database, adt("A01", PV1))
    assert (state(), locations()) == (("open", "CARD^204", "I"), ["CARD^204", None, "OLD"])
    good(database, adt("A02", PV1.replace("204", "310")))
    assert (state(), locations()) == (("open", "CARD^310", "I"), ["CARD^310", None, "OLD"])
    good(database, adt("A12", PV1))
    assert (state(), locations()) == (("open", "CARD^204", "I"), ["CARD^204", None, "OLD"])
    good(database, adt("A07", PV1.replace("|I|", "|O|")))
    assert (state(), answers(database)["1"]["RouteOfAdmissions"]) == (("open", "CARD^204", "O"), "O")
    good(database, adt("A06", PV1), adt("A03", PV1))
    (closed,) = rows(database, "visit")
    assert (closed["state"], closed["closed_at"] > 0) == ("closed", True)
    assert [step["status"] for step in rows(database, "scheduled_step")] == ["SCHEDULED"] * 3
    good(database, adt("A08", PV1))
    assert state()[0] == "closed"
    good(database, adt("A13", PV1))
    (again,) = rows(database, "visit")
    assert (again["state"], again["closed_at"], again["opened_at"]) == ("open", 0, closed["opened_at"])


def test_orders_without_a_visit_take_the_one_of_the_patient(database: Database) -> None:
    good(database, order("1"), order("2"), adt("A01", PV1 + "|||||||||||||||||||||||||202603120700"))
    set_status(database, "2", "COMPLETED")
    good(database, adt("A02", PV1.replace("204", "310")))
    first, second = answers(database)["1"], answers(database)["2"]
    assert (first["AdmissionID"], first["CurrentPatientLocation"]) == ("V1", "CARD^310")
    assert (second["CurrentPatientLocation"], first["AdmittingDate"]) == ("CARD^204", "20260312")


def test_a_visit_overwrites_no_referring_physician_and_no_pregnancy(database: Database) -> None:
    pv1 = "PV1|1|I|X|||||1^ORDERER^O|||||||B6||||V1"
    good(database, order("1", more=pv1), adt("A08", "PV1|1|I|Y|||||2^WARD^W|||||||A2||||V1"))
    found = answers(database)["1"]
    assert (found["ReferringPhysicianName"], found["PregnancyStatus"]) == ("ORDERER^O", 3)
    assert (found["CurrentPatientLocation"], found["SpecialNeeds"]) == ("Y", "Wheelchair bound")


def test_a_canceled_admission_flags_its_orders_and_deletes_nothing(database: Database) -> None:
    good(database, order("1", visit="V1"), order("2", visit="V2"), adt("A01", PV1), adt("A11", PV1))
    assert rows(database, "visit")[0]["state"] == "canceled"
    assert [step["status"] for step in rows(database, "scheduled_step")] == ["SCHEDULED"] * 2
    flagged = [entry["object_id"] for entry in rows(database, "audit") if entry["action"] == "order.visit-canceled"]
    assert flagged == [rows(database, "service_request")[0]["id"]]


def test_a_late_admission_does_not_reopen_a_visit(database: Database) -> None:
    good(database, adt("A03", PV1, at="20260312100000"), adt("A01", PV1, at="20260312090000"))
    assert rows(database, "visit")[0]["state"] == "closed"
    assert audit(database)[-2:] == ["patient.late", "visit.late"]


# --- arrival -----------------------------------------------------------------------------------------------------


def test_arrival_marks_what_is_scheduled_today(database: Database) -> None:
    good(
        database, order("1"), order("2", start="20260313100000"), order("3"), order("4"), order("5"),
        order("6", "P2^^^SITE"), order("7", start="20260311100000"),
    )  # fmt: skip
    for number, status in (("3", "READY"), ("4", "STARTED"), ("5", "COMPLETED")):
        set_status(database, number, status)
    good(database, adt("A10"), adt("A10"))
    found = {step["accession"]: step for step in rows(database, "scheduled_step")}
    assert {accession: step["status"] for accession, step in found.items()} == {
        "A1": "ARRIVED", "A2": "SCHEDULED", "A3": "READY", "A4": "STARTED", "A5": "COMPLETED", "A6": "SCHEDULED",
        "A7": "SCHEDULED",
    }  # fmt: skip
    item = answers(database)["1"]["ScheduledProcedureStepSequence"][0]
    assert item["ScheduledProcedureStepStatus"] == "ARRIVED"
    log = database.read(reading.events_of_step, found["A1"]["id"]).result()
    assert [(e.before, e.after, e.cause, e.actor) for e in log[1:]] == [
        ("SCHEDULED", "ARRIVED", "adt:A10", "hl7:ADT|SITE")
    ]
    assert audit(database).count("order.arrived") == 1


def test_arrival_for_a_visit(database: Database) -> None:
    good(database, order("1", visit="V1"), order("2", visit="V2"), order("3"), adt("A10", PV1))
    assert [step["status"] for step in rows(database, "scheduled_step")] == ["ARRIVED", "SCHEDULED", "SCHEDULED"]


# --- merge -------------------------------------------------------------------------------------------------------

MERGE = "MRG|TMP^^^SITE"


def test_a_merge_moves_everything(database: Database) -> None:
    unknown = {"patient": "TMP^^^SITE", "name": "UNKNOWN^EMERGENCY"}
    good(
        database, order("1", **unknown), order("2", **unknown), order("3", **unknown), order("4"),
        adt("A04", PV1, **unknown), adt("A04", "AL1|1|DA|IOD^Iodine", **unknown),
    )  # fmt: skip
    set_status(database, "2", "COMPLETED")
    set_status(database, "3", "STARTED")
    good(database, adt("A40", MERGE, name="ROE^RICHARD^M"))
    (patient,) = rows(database, "patient")
    assert {request["patient"] for request in rows(database, "service_request")} == {patient["id"]}
    assert {visit["patient"] for visit in rows(database, "visit")} == {patient["id"]}
    found = answers(database)
    assert {n: (a["PatientID"], a["PatientName"]) for n, a in found.items()} == {
        "1": ("P1", "ROE^RICHARD^M"), "2": ("TMP", "UNKNOWN^EMERGENCY"), "3": ("P1", "ROE^RICHARD^M"),
        "4": ("P1", "ROE^RICHARD^M"),
    }  # fmt: skip
    other = {"PatientID": "TMP", "TypeOfPatientID": "TEXT", "IssuerOfPatientID": "SITE"}
    assert all(found[number]["OtherPatientIDsSequence"] == [other] for number in "134")
    assert found["1"]["Allergies"] == ["Iodine"]
    columns = {
        step["accession"]: (step["patient_id"], step["patient_name"]) for step in rows(database, "scheduled_step")
    }
    assert columns["A1"] == columns["A3"] == ("P1", "roe^richard^m")
    (entry,) = [entry for entry in rows(database, "audit") if entry["action"] == "patient.merged"]
    detail = json.loads(entry["detail"])
    assert (len(detail["orders"]), len(detail["visits"]), detail["studies"]) == (3, 1, 0)
    assert entry["object_id"] == patient["id"]


def test_what_comes_later_for_a_retired_identifier_is_redirected(database: Database) -> None:
    unknown = {"patient": "TMP^^^SITE", "name": "UNKNOWN^EMERGENCY"}
    good(database, order("1", **unknown), adt("A40", MERGE))
    for message in (
        order("2", **unknown), order("1", control="XO", start="20260312110000", **unknown),
        order("1", control="XO", start="20260312110000", patient="TMP", name="UNKNOWN"), adt("A31", **unknown),
        adt("A08", PV1, **unknown),
    ):  # fmt: skip
        outcome = good(database, message)
        assert outcome.answer.count(b"\rERR||PID^1^3|0^Message accepted^HL70357|W|") == 1
    assert len(rows(database, "patient")) == 1
    found = answers(database)
    assert {(a["PatientID"], a["PatientName"]) for a in found.values()} == {("P1", "ROE^RICHARD")}
    assert found["1"]["ScheduledProcedureStepSequence"][0]["ScheduledProcedureStepStartTime"] == "110000"
    assert found["2"]["CurrentPatientLocation"] == "CARD^204"
    good(database, adt("A31", name="NEW^NAME"))
    assert {(a["PatientName"], len(a["OtherPatientIDsSequence"])) for a in answers(database).values()} == {
        ("NEW^NAME", 1)
    }
    assert take(database, order("1", patient="TMP^^^OTHER", control="XO")).code == "AE"


def test_an_unknown_retired_identifier_leaves_a_tombstone(database: Database) -> None:
    good(database, adt("A31"), adt("A40", MERGE), order("1", "TMP^^^SITE", "UNKNOWN"))
    assert len(rows(database, "patient")) == 1
    assert answers(database)["1"]["PatientID"] == "P1"
    good(database, adt("A40", "MRG|T2^^^SITE", patient="P2^^^SITE"))  # nobody was known
    assert [patient["patient_id"] for patient in rows(database, "patient")] == ["P1", "P2"]


def test_an_unknown_survivor_is_created(database: Database) -> None:
    assert take(database, adt("A40", MERGE, name="")).code == "AE"
    good(database, order("1", "TMP^^^SITE", "UNKNOWN"))
    good(database, adt("A40", MERGE))
    assert answers(database)["1"]["PatientName"] == "ROE^RICHARD"


def test_chains_lead_to_the_end_and_circles_are_refused(database: Database) -> None:
    for patient in "ABCD":
        good(database, order(patient, f"{patient}^^^SITE", f"NAME^{patient}"))
    good(database, adt("A40", "MRG|A^^^SITE", patient="B^^^SITE", name="NAME^B"))
    good(database, adt("A40", "MRG|B^^^SITE", patient="C^^^SITE", name="NAME^C"))
    assert {n: a["PatientID"] for n, a in answers(database).items()} == {"A": "C", "B": "C", "C": "C", "D": "D"}
    for retired, survivor in (("C", "A"), ("C", "B"), ("A", "D")):
        before = answers(database), rows(database, "patient_alias"), rows(database, "patient")
        outcome = take(database, adt("A40", f"MRG|{retired}^^^SITE", patient=f"{survivor}^^^SITE"))
        assert (outcome.code, b"|205^" in outcome.answer) == ("AE", True)
        assert (answers(database), rows(database, "patient_alias"), rows(database, "patient")) == before
    again = good(database, adt("A40", "MRG|A^^^SITE", patient="B^^^SITE", name="NAME^B"))
    assert b"|W|" in again.answer
    # the survivor of a merge may itself be named by a retired identifier
    good(database, adt("A40", "MRG|D^^^SITE", patient="A^^^SITE", name="NAME^A"))
    assert {a["PatientID"] for a in answers(database).values()} == {"C"}
    assert {a["PatientName"] for a in answers(database).values()} == {"NAME^C"}
    good(database, order("E", "A^^^SITE", "NAME^A"))
    assert answers(database)["E"]["PatientID"] == "C"


def test_several_pairs_are_one_message(database: Database) -> None:
    good(database, order("1", "T1^^^SITE"), order("2", "T2^^^SITE"))
    pairs = ("MRG|T1^^^SITE", "PID|||P2^^^SITE||DOE^JANE", "MRG|T2^^^SITE")
    good(database, adt("A40", *pairs))
    assert {n: a["PatientID"] for n, a in answers(database).items()} == {"1": "P1", "2": "P2"}
    bad = ("MRG|T3^^^SITE", "PID|||P4^^^SITE||DOE^JANE", "MRG|P4^^^SITE")
    good(database, order("3", "T3^^^SITE"))
    assert take(database, adt("A40", *bad)).code == "AE"
    assert answers(database)["3"]["PatientID"] == "T3"
    # refused by a story, after the first pair has been written
    bad = ("MRG|T3^^^SITE", "PID|||T1^^^SITE||DOE^JANE", "MRG|P1^^^SITE")
    assert take(database, adt("A40", *bad)).code == "AE"
    assert answers(database)["3"]["PatientID"] == "T3"


def test_orders_with_the_same_accession_stay_two(database: Database) -> None:
    good(database, order("1"), order("2", "TMP^^^SITE").replace(b"A2", b"A1"), adt("A40", MERGE))
    assert [request["accession"] for request in rows(database, "service_request")] == ["A1", "A1"]
    good(database, order("2", control="CA").replace(b"A2", b"A1"))
    assert [step["status"] for step in rows(database, "scheduled_step")] == ["SCHEDULED", "CANCELED"]


def test_minimal_dialects_name_no_authority(database: Database) -> None:
    good(database, order("1", "99881", "DOE^JANE"), order("2", "TMP"), order("3", "SPUR^^^SITE"))
    good(database, adt("A34", "MRG|TMP", patient="99881", name="DOE^JANE"))
    assert answers(database)["2"]["PatientID"] == "99881"
    # stored without an authority, merged with one: later messages are redirected in both forms
    good(database, order("4", "T4"), adt("A40", "MRG|T4^^^SITE"))
    good(database, order("5", "T4"), order("6", "T4^^^SITE"))
    assert [answers(database)[number]["PatientID"] for number in "456"] == ["P1"] * 3
    good(database, adt("A40", "MRG|SPUR"))
    assert answers(database)["3"]["PatientID"] == "P1"


def test_the_same_visit_under_both_identifiers_stays_once(database: Database) -> None:
    good(database, adt("A01", PV1), adt("A01", PV1.replace("CARD", "URG"), patient="TMP^^^SITE"))
    good(database, adt("A40", MERGE))
    assert [visit["location"] for visit in rows(database, "visit")] == ["CARD^204"]
    assert [row["kind"] for row in rows(database, "heard")] == ["patient", "visit"]


# --- identifiers and visits that change hands --------------------------------------------------------------------


def test_a_change_of_identifier_keeps_the_patient(database: Database) -> None:
    good(database, order("1", "OLD^^^SITE"), order("2", "OLD^^^SITE"))
    set_status(database, "2", "COMPLETED")
    (before,) = rows(database, "patient")
    good(database, adt("A47", "MRG|OLD^^^SITE"))
    (after,) = rows(database, "patient")
    assert (after["id"], after["patient_id"]) == (before["id"], "P1")
    assert {n: a["PatientID"] for n, a in answers(database).items()} == {"1": "P1", "2": "OLD"}
    good(database, order("3", "OLD^^^SITE"))
    assert answers(database)["3"]["PatientID"] == "P1"
    assert b"|W|" in good(database, adt("A47", "MRG|OLD^^^SITE")).answer
    good(database, adt("A47", "MRG|P1^^^SITE", patient="OLD^^^SITE"))  # and back again
    found = answers(database)["3"]
    assert (found["PatientID"], found["OtherPatientIDsSequence"][0]["PatientID"]) == ("OLD", "P1")
    assert len(rows(database, "patient")) == 1


def test_a_change_of_identifier_to_one_in_use_is_refused(database: Database) -> None:
    good(database, order("1", "OLD^^^SITE"), order("2"), adt("A40", "MRG|T1^^^SITE"))
    for new in ("P1", "T1"):
        outcome = take(database, adt("A47", "MRG|OLD^^^SITE", patient=f"{new}^^^SITE"))
        assert (outcome.code, b"|205^" in outcome.answer) == ("AE", True)
    assert take(database, adt("A47", "MRG|T1^^^SITE", patient="NEW^^^SITE")).code == "AE"
    assert answers(database)["1"]["PatientID"] == "OLD"
    good(database, adt("A47", "MRG|NOBODY^^^SITE", patient="NEW^^^SITE"), order("3", "NOBODY^^^SITE"))
    assert answers(database)["3"]["PatientID"] == "NEW"
    assert take(database, adt("A47", "MRG|X^^^SITE", patient="Y^^^SITE", name="")).code == "AE"


def test_an_identifier_of_another_authority_leaves_no_trace_of_the_old_one(database: Database) -> None:
    good(database, order("1", "OLD^^^SITE&1.2.3&ISO^MR"), adt("A47", "MRG|OLD^^^SITE", patient="P1^^^REGION"))
    found = answers(database)["1"]
    assert (found["IssuerOfPatientID"], "IssuerOfPatientIDQualifiersSequence" in found) == ("REGION", False)


def test_a_visit_moves_with_its_orders(database: Database) -> None:
    good(
        database, order("1", "P9^^^SITE", "DOE^JANE", visit="V9"), order("2", "P9^^^SITE", "DOE^JANE", visit="V8"),
        order("3", "P9^^^SITE", "DOE^JANE", visit="V9"),
        adt("A08", PV1.replace("V1^", "V9^"), patient="P9^^^SITE", name="DOE^JANE"),
    )  # fmt: skip
    set_status(database, "3", "COMPLETED")
    good(database, adt("A45", "MRG|P9^^^SITE||||V9", "PV1|||||||||||||||||||V1"))
    patients = {row["id"]: row["patient_id"] for row in rows(database, "patient")}
    assert [patients[request["patient"]] for request in rows(database, "service_request")] == ["P1", "P9", "P1"]
    found = answers(database)
    assert (found["1"]["PatientID"], found["1"]["PatientName"]) == ("P1", "ROE^RICHARD")
    assert found["1"]["AdmissionID"] == "V1"
    assert (found["3"]["PatientID"], found["3"]["AdmissionID"]) == ("P9", "V9")
    (visit,) = rows(database, "visit")
    assert (patients[visit["patient"]], visit["admission_id"]) == ("P1", "V1")
    assert b"|W|" in good(database, adt("A45", "MRG|P9^^^SITE||||V9")).answer
    assert b"|W|" in good(database, adt("A45", "MRG|P1^^^SITE||||V1")).answer
    assert b"|W|" in good(database, adt("A45", "MRG|NOBODY^^^SITE||||V9")).answer


# --- all at once -------------------------------------------------------------------------------------------------


def test_a_merge_races_orders_of_the_retired_identifier(database: Database) -> None:
    """Whoever comes first: every order is the survivor's in the end, and every open step shows the survivor."""
    for round_ in range(6):
        retired, survivor = f"T{round_}^^^SITE", f"S{round_}^^^SITE"
        good(database, order(f"{round_}a", survivor))
        messages = [order(f"{round_}n{n}", retired, "UNKNOWN") for n in range(4)]
        messages.insert(round_ % 5, adt("A40", f"MRG|{retired}", patient=survivor, name=f"FINAL^{round_}"))
        messages += [
            order(f"{round_}a", survivor, control="XO", start="20260312120000"),
            adt("A08", PV1, patient=retired),
        ]
        futures = [submit(database, message) for message in messages]
        assert {future.result(30).code for future in futures} == {"AA"}
    assert [row["patient_id"] for row in rows(database, "patient")] == [f"S{n}" for n in range(6)]
    found = answers(database)
    assert len(found) == 6 * 5
    shown = {n: (a["PatientID"], a["IssuerOfPatientID"]) for n, a in found.items()}
    assert shown == {number: (f"S{number[0]}", "SITE") for number in found}
    by_patient = {row["id"]: row for row in rows(database, "patient")}
    for request in rows(database, "service_request"):
        patient = by_patient[request["patient"]]
        answer = found[request["placer_number"]]
        assert answer["PatientName"] == json.loads(patient["attributes"])["PatientName"]
        assert [item["PatientID"] for item in answer["OtherPatientIDsSequence"]] == [f"T{patient['patient_id'][1:]}"]


def test_merges_in_a_ring_at_once_leave_one_patient_or_refuse(database: Database) -> None:
    ring = "ABC"
    for patient in ring:
        good(database, order(patient, f"{patient}^^^SITE", f"NAME^{patient}"))
    pairs = list(zip(ring, ring[1:] + ring[:1], strict=True))
    futures = [
        submit(database, adt("A40", f"MRG|{retired}^^^SITE", patient=f"{survivor}^^^SITE", name=f"NAME^{survivor}"))
        for retired, survivor in pairs
    ]
    assert sorted(future.result(30).code for future in futures) == ["AA", "AA", "AE"]
    (last,) = rows(database, "patient")
    assert {a["PatientID"] for a in answers(database).values()} == {last["patient_id"]}
    assert len(rows(database, "patient_alias")) == 2


def test_the_lock_of_a_retired_identifier_is_that_of_its_patient(database: Database) -> None:
    good(database, adt("A40", MERGE))

    def held(connection: Connection, names: list[str]) -> int:
        reading.lock(connection, names)
        count = "select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()"
        return 0 if connection.dialect.name == "sqlite" else int(connection.exec_driver_sql(count).scalar_one())

    on_postgresql = database.submit(held, ["patient|OTHER"]).result() == 1
    assert database.submit(held, ["patient|TMP"]).result() == (2 if on_postgresql else 0)
    assert database.submit(held, ["patient|TMP", "patient|P1", "order|1"]).result() == (3 if on_postgresql else 0)


def test_received_studies_are_counted(database: Database) -> None:
    good(database, order("1", "TMP^^^SITE", more=""), order("2", "TMP^^^SITE"))
    uid = answers(database)["1"]["StudyInstanceUID"]
    empty = {column.name: "" for column in tables.instance.columns if column.name != "id"}
    empty |= {"version": 1, "data_offset": 0, "data_length": 0, "digest": b"", "received_at": 1.0, "rules_version": 1}
    empty["discarded_at"] = 0.0
    for number in "12":
        values = {**empty, "sop_instance_uid": f"2.999.{number}", "study_instance_uid": uid}
        database.submit(lambda c, values=values: c.execute(insert(tables.instance).values(values)) and None).result()
    good(database, adt("A40", MERGE))
    (entry,) = [entry for entry in rows(database, "audit") if entry["action"] == "patient.merged"]
    assert json.loads(entry["detail"])["studies"] == 1
    assert len(rows(database, "instance")) == 2


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_no_statement_about_a_patient_goes_through_the_orders_of_all(database: Database) -> None:
    """SQLite says beforehand how it looks things up; the index of open steps by start holds those of the whole site."""
    good(database, order("1", "TMP^^^SITE"), order("2"), adt("A01", PV1))
    plans: list[str] = []

    def explained(connection: Connection) -> None:
        def note(_: Any, cursor: Any, statement: str, values: Any, *more: Any) -> None:
            plan = cursor.connection.execute(f"EXPLAIN QUERY PLAN {statement}", values)
            plans.extend(row[3] for row in plan if statement.startswith(("SELECT", "UPDATE", "DELETE")))

        event.listen(connection, "before_cursor_execute", note)
        for message in (adt("A08", PV1, name="X^Y"), adt("A10"), adt("A45", "MRG|TMP^^^SITE||||V1"), adt("A40", MERGE)):
            examined = reception.examine(message, Interface(name="test"), lambda _: built_in(), ZONE)
            assert examined is not None
            context = StoryContext(uuid4(), datetime(2026, 3, 12, 8, tzinfo=ZONE), "UNASSIGNED")
            assert intake.apply(connection, examined.conversion.changes, context)[1]

    database.submit(explained).result()
    assert len(plans) > 50
    assert [plan for plan in plans if plan.startswith("SCAN") or "ix_scheduled_step_start" in plan] == []


def test_a_cancel_that_waits_for_its_order_follows_its_patient(database: Database) -> None:
    good(database, order("9", "OLD^^^SITE", control="CA"))
    good(database, adt("A40", "MRG|OLD^^^SITE", patient="NEW^^^SITE"))
    good(database, order("9", "NEW^^^SITE"))
    assert [row["status"] for row in rows(database, "scheduled_step")] == ["CANCELED"]
