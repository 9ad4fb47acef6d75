"""Appointments and results move the worklist: their stories on both databases."""

from __future__ import annotations

from concurrent.futures import wait
from typing import Any

import pytest
from sqlalchemy import Connection, select, update
from support.orders.appointments import profile, siu
from support.orders.intake import audit, log, steps, submit, take

from broker.orders.core.values import StartMissing
from broker.orders.mapping.profile import AppointmentCancel, Policy, Profile, UnknownAppointment
from broker.store.db.database import Database
from broker.store.db.pace import Pace
from broker.store.schema import tables
from broker.store.thinning import appointments, thin
from broker.store.worklist.candidates import Criteria, search

CANCELS = profile(policy=Policy(appointment_cancel=AppointmentCancel.CANCEL))
CREATES = profile(policy=Policy(unknown_appointment=UnknownAppointment.CREATE))
WAITS = profile(policy=Policy(start_missing=StartMissing.UNSCHEDULED, unknown_appointment=UnknownAppointment.CREATE))
COMPLETES = profile(policy=Policy(result_completes=("F",)))
STATIONS = profile(stations={"E1": "CT01", "E2": "CT02"})


def orm(control_id: str = "o", control: str = "NW", placer: str = "P1", filler: str = "", **more: str) -> bytes:
    codes = more.get("codes", "CHEST").split(",")
    lines = [
        f"MSH|^~\\&|RIS|SITE|BROKER|RAD|20260312080000||ORM^O01|{control_id}|P|2.5",
        f"PID|||{more.get('patient', '12345')}||ROE^RICHARD",
    ]
    for number, code in enumerate(codes, 1):
        lines += [
            f"ORC|{control}|{placer}|{filler}||{more.get('status', '')}||^^^{more.get('start', '20260312090000')}",
            f"OBR|{number}|{placer}|{filler}|{code}^Text||||||||||||||A1||SPS{number}||||CT",
        ]
    return "".join(line + "\r" for line in lines).encode()


def oru(control_id: str = "r", placer: str = "P1", filler: str = "", state: str = "F", **more: str) -> bytes:
    lines = [
        f"MSH|^~\\&|RIS|SITE|BROKER|RAD|20260312080000||ORU^R01|{control_id}|P|2.5",
        f"PID|||{more.get('patient', '12345')}||ROE^RICHARD",
        f"OBR|1|{placer}|{filler}|{more.get('code', '')}||||||||||||||{more.get('accession', '')}|||||||{state}",
    ]
    if "uid" in more:
        lines.append(f"OBX|1|ST|113014^DICOM Study^DCM||{more['uid']}||||||O")
    return "".join(line + "\r" for line in lines).encode()


def state(database: Database) -> list[tuple[object, object]]:
    return [(step["status"], step["start_at"]) for step in database.read(steps).result()]


def offered(database: Database) -> int:
    """How many steps a device finds that asks for everything."""
    return len(database.read(search, Criteria(), None, 100).result())


def kept(database: Database) -> list[dict[str, Any]]:
    def rows(connection: Connection) -> list[dict[str, Any]]:
        found = connection.execute(select(tables.appointment).order_by(tables.appointment.c.id))
        return [dict(row._mapping) for row in found]

    return database.read(rows).result()


def set_status(database: Database, status: str) -> None:
    def change(connection: Connection) -> None:
        connection.execute(update(tables.scheduled_step).values(status=status))

    database.submit(change).result()


def causes(database: Database) -> list[tuple[str, str, str]]:
    return [(event.before, event.after, event.cause) for event in log(database)]


@pytest.mark.parametrize("event", ["S12", "S13", "S14"])
def test_an_appointment_moves_the_step(database: Database, event: str) -> None:
    take(database, orm())
    raw = siu(event, groups=["AIS|1||CHEST|20260313110000|||30|min\rAIG|1||E2\rAIL|1||RAD^R7\rAIP|1||9^MARTIN^LEA"])
    outcome = take(database, raw, STATIONS)
    assert (outcome.code, outcome.findings, outcome.accession) == ("AA", 0, "A1")
    assert state(database) == [("SCHEDULED", "20260313110000")]
    (found,) = database.read(search, Criteria(), None, 9).result()
    for text in ('"CT02"', '"R7"', '"MARTIN^LEA"', '"113000"'):
        assert text in found.answer
    assert database.read(audit).result() == ["order.created", "appointment.booked"]
    assert causes(database) == [("", "SCHEDULED", "order:NW")]  # no change of status


@pytest.mark.parametrize("event", ["S15", "S16", "S17"])
def test_a_cancelled_appointment_takes_the_step_from_the_worklist_until_it_is_booked_again(
    database: Database, event: str
) -> None:
    take(database, orm())
    assert take(database, siu("S12", control_id="1")).code == "AA"
    assert take(database, siu(event, control_id="2")).code == "AA"
    assert (state(database), offered(database)) == ([("SCHEDULED", "")], 0)
    take(database, orm("o2", control="XO", start=""))
    assert (state(database), offered(database)) == ([("SCHEDULED", "")], 0)
    take(database, siu("S12", control_id="3", sch_2="SF2", sch_11="^^^20260314100000"))
    assert (state(database), offered(database)) == ([("SCHEDULED", "20260314100000")], 1)
    take(database, siu(event, control_id="4", sch_2="SF2"))
    take(database, orm("o3", control="XO", start="20260315100000"))
    assert (state(database), offered(database)) == ([("SCHEDULED", "20260315100000")], 1)


def test_a_cancelled_appointment_cancels_the_step_where_the_mapping_says_so(database: Database) -> None:
    take(database, orm())
    take(database, siu("S15"), CANCELS)
    assert state(database) == [("CANCELED", "20260312090000")]
    assert causes(database)[-1] == ("SCHEDULED", "CANCELED", "appointment:S15")
    outcome = take(database, siu("S12", control_id="2"))
    assert (outcome.code, outcome.findings) == ("AA", 1)
    assert state(database) == [("CANCELED", "20260312090000")]


def test_a_no_show_is_out_and_comes_back_by_a_reschedule_only(database: Database) -> None:
    take(database, orm())
    take(database, siu("S12", control_id="1"))
    take(database, siu("S26", control_id="2", status="Noshow"))
    assert state(database) == [("DISCONTINUED", "20260312100000")]
    assert causes(database)[-1] == ("SCHEDULED", "DISCONTINUED", "appointment:S26")
    for number, raw in enumerate((siu("S12", control_id="3"), siu("S14", control_id="4"), orm("o2", control="XO"))):
        assert take(database, raw).code == "AA", number
        assert state(database)[0][0] == "DISCONTINUED"
    take(database, siu("S13", control_id="5", sch_11="^^^20260320100000"))
    assert state(database) == [("SCHEDULED", "20260320100000")]
    assert causes(database)[-1] == ("DISCONTINUED", "SCHEDULED", "appointment:S13")
    (found,) = database.read(search, Criteria(), None, 9).result()
    assert '"ScheduledProcedureStepStatus":"SCHEDULED"' in found.answer
    assert '"20260320"' in found.answer


def test_what_others_ended_is_not_scheduled_again(database: Database) -> None:
    take(database, orm())
    take(database, orm("o2", control="DC"))
    assert take(database, siu("S13")).code == "AA"
    assert state(database) == [("DISCONTINUED", "20260312090000")]
    assert database.read(audit).result()[-1] == "appointment.late"


@pytest.mark.parametrize("event", ["S12", "S13", "S14", "S15", "S17", "S26"])
@pytest.mark.parametrize("status", ["STARTED", "COMPLETED"])
def test_what_has_begun_is_not_moved(database: Database, event: str, status: str) -> None:
    take(database, orm())
    set_status(database, status)
    outcome = take(database, siu(event))
    assert (outcome.code, outcome.findings) == ("AA", 1)
    assert state(database) == [(status, "20260312090000")]
    assert database.read(audit).result()[-1] == "appointment.late"


def test_status_of_an_appointment_moves_forward_only(database: Database) -> None:
    take(database, orm())
    take(database, siu("S14", control_id="1", status="Started"))
    take(database, siu("S14", control_id="2", status="Complete"))
    take(database, siu("S14", control_id="3", status="Started"))
    take(database, siu("S14", control_id="4", status="Booked"))
    assert [event[1] for event in causes(database)] == ["SCHEDULED", "STARTED", "COMPLETED"]


def test_an_older_message_does_not_overwrite_a_newer_one(database: Database) -> None:
    take(database, orm())
    take(database, siu("S13", control_id="1", at="20260312080500", sch_11="^^^20260314100000"))
    outcome = take(database, siu("S12", control_id="2", at="20260312080400", sch_11="^^^20260313100000"))
    assert (outcome.code, outcome.findings) == ("AA", 1)
    assert state(database) == [("SCHEDULED", "20260314100000")]
    take(database, siu("S15", control_id="3", at="20260312080600"))
    take(database, siu("S13", control_id="4", at="20260312080500"))
    assert state(database) == [("SCHEDULED", "")]
    # without seconds the minute of the last message may be this one's
    take(database, siu("S13", control_id="5", at="202603120806", sch_11="^^^20260315100000"))
    assert state(database) == [("SCHEDULED", "20260315100000")]


def test_clocks_of_two_senders_are_not_compared(database: Database) -> None:
    take(database, orm())
    take(database, siu("S13", control_id="1", at="20260312080500", sch_11="^^^20260314100000"))
    take(database, siu("S13", control_id="1", at="20260312070500", sch_11="^^^20260316100000", sender="OTHER"))
    assert state(database) == [("SCHEDULED", "20260316100000")]


def test_a_replaced_appointment_ends_nothing(database: Database) -> None:
    take(database, orm())
    take(database, siu("S12", control_id="1", sch_2="OLD"))
    take(database, siu("S12", control_id="2", sch_2="NEW", sch_11="^^^20260314100000"))
    outcome = take(database, siu("S15", control_id="3", sch_2="OLD"))
    assert (outcome.code, outcome.findings) == ("AA", 1)
    assert state(database) == [("SCHEDULED", "20260314100000")]
    take(database, siu("S15", control_id="4", sch_2="NEW"))
    assert state(database) == [("SCHEDULED", "")]


def test_two_appointments_of_one_order(database: Database) -> None:
    take(database, orm(codes="CHEST,ABD"))
    take(database, siu("S12", control_id="1", sch_2="X1", groups=["AIS|1||ABD|20260313100000"]))
    take(database, siu("S12", control_id="2", sch_2="X2", groups=["AIS|1||CHEST|20260314100000"]))
    assert [start for _, start in state(database)] == ["20260314100000", "20260313100000"]
    take(database, siu("S15", control_id="3", sch_2="X1"))
    assert [start for _, start in state(database)] == ["20260314100000", ""]


def test_several_services_of_an_appointment(database: Database) -> None:
    take(database, orm(codes="CHEST,ABD"))
    groups = ["AIS|1||ABD|20260313100000\rAIG|1||E1", "AIS|2||CHEST|20260313103000\rAIG|2||E2", "AIS|3||OTHER"]
    outcome = take(database, siu("S12", groups=groups), STATIONS)
    assert (outcome.code, outcome.findings) == ("AA", 1)
    assert [start for _, start in state(database)] == ["20260313103000", "20260313100000"]


def test_several_orders_of_an_appointment(database: Database) -> None:
    take(database, orm("o1"))
    take(database, orm("o2", placer="P2"))
    groups = ["AIS|1||A|20260313100000", "AIS|2||B|20260313103000"]
    assert take(database, siu("S12", placer="P1~P2", groups=groups)).code == "AA"
    assert [start for _, start in state(database)] == ["20260313100000", "20260313103000"]


def test_an_order_number_in_the_appointment_number(database: Database) -> None:
    take(database, orm(filler="F1"))
    take(database, siu("S13", placer="", filler="", sch_1="", sch_2="F1", sch_11="^^^20260314100000"))
    assert state(database) == [("SCHEDULED", "20260314100000")]


def test_an_order_of_another_patient_is_not_touched(database: Database) -> None:
    take(database, orm())
    outcome = take(database, siu("S13", pid="999"))
    assert outcome.code == "AE"
    assert b"|205^" in outcome.answer
    # a number of an appointment may be that of another patient's order
    assert take(database, siu("S13", control_id="2", placer="", sch_1="P1", pid="999")).code == "AA"
    assert state(database) == [("SCHEDULED", "20260312090000")]
    assert [row["patient_id"] for row in kept(database)] == ["999"]


def test_an_appointment_waits_for_its_order(database: Database) -> None:
    outcome = take(database, siu("S12", placer="P1^KIS", filler="F1"))
    assert (outcome.code, outcome.findings) == ("AA", 1)
    assert b"|204^" in outcome.answer
    take(database, siu("S13", control_id="2", placer="P1^KIS", filler="F1", sch_11="^^^20260314100000"))
    assert [row["event"] for row in kept(database)] == ["S13"]
    take(database, orm(filler="F1"))
    assert (state(database), offered(database)) == ([("SCHEDULED", "20260314100000")], 1)
    assert database.read(audit).result() == [
        "appointment.kept", "appointment.kept", "order.created", "appointment.booked",
    ]  # fmt: skip
    assert [row["request"] for row in kept(database)] == [1]
    take(database, siu("S15", control_id="3", placer="P1^KIS", filler="F1"))
    assert state(database) == [("SCHEDULED", "")]


def test_a_number_that_comes_later_finds_the_appointment(database: Database) -> None:
    take(database, siu("S12", placer="", filler="F1"))
    take(database, orm())
    assert state(database) == [("SCHEDULED", "20260312090000")]
    take(database, orm("o2", control="XO", filler="F1"))
    assert state(database) == [("SCHEDULED", "20260312100000")]


def test_an_appointment_called_off_before_its_order_does_nothing_to_it(database: Database) -> None:
    take(database, siu("S12", control_id="1"))
    take(database, siu("S15", control_id="2"))
    take(database, orm())
    assert state(database) == [("SCHEDULED", "20260312090000")]


def test_a_kept_appointment_of_another_patient_waits_on(database: Database) -> None:
    take(database, siu("S12", pid="999"))
    take(database, orm())
    assert state(database) == [("SCHEDULED", "20260312090000")]
    assert [row["request"] for row in kept(database)] == [None]


def test_an_order_refused_takes_no_appointment(database: Database) -> None:
    take(database, siu("S12"))
    assert take(database, orm().replace(b"|CT\r", b"|NONSENSE\r")).code == "AE"
    assert [row["request"] for row in kept(database)] == [None]


def test_an_appointment_makes_its_order_where_the_mapping_says_so(database: Database) -> None:
    raw = siu("S12", filler="F1", groups=["AIS|1||CTTHX^CT thorax|20260313110000\rAIG|1||E9|CT"])
    outcome = take(database, raw, CREATES)
    assert outcome.code == "AA"
    assert (state(database), offered(database)) == ([("SCHEDULED", "20260313110000")], 1)
    take(database, siu("S15", control_id="2", filler="F1"), CREATES)
    assert state(database) == [("SCHEDULED", "")]
    take(database, orm("o", filler="F1", start="20260314120000"))
    assert state(database) == [("SCHEDULED", "20260314120000")]


def test_an_appointment_that_says_too_little_makes_no_order(database: Database) -> None:
    outcome = take(database, siu("S12", groups=["AIS|1||CTTHX^CT thorax|20260313110000"]), CREATES)
    assert outcome.code == "AE"
    assert b"|101^" in outcome.answer
    assert (state(database), kept(database)) == ([], [])


def test_kept_appointments_expire(database: Database) -> None:
    take(database, siu("S12", control_id="1", placer="P9"))
    take(database, orm())
    take(database, siu("S12", control_id="2", sch_11="^^^20260501100000"))
    at = kept(database)[0]["at"]
    assert thin(Pace(database), appointments("20260412080000"), at) == 0
    assert thin(Pace(database), appointments("20260412080000"), at + 1) == 1
    assert [row["placer_number"] for row in kept(database)] == ["P1"]
    assert thin(Pace(database), appointments("20260502080000"), at + 1) == 1


def test_order_and_appointment_at_once(database: Database) -> None:
    """Whichever comes first, the appointment counts."""
    futures = []
    for number in range(20):
        placer = f"P{number}"
        book = siu("S12", control_id=f"a{number}", placer=placer, sch_2=f"S{number}", sch_11="^^^20260314100000")
        futures += [submit(database, orm(f"o{number}", placer=placer)), submit(database, book)]
    wait(futures)
    assert {future.result().code for future in futures} == {"AA"}
    assert state(database) == [("SCHEDULED", "20260314100000")] * 20
    assert all(row["request"] for row in kept(database))


def test_a_repeated_appointment_has_one_effect(database: Database) -> None:
    take(database, orm())
    first = take(database, siu("S13"))
    assert take(database, siu("S13")).answer == first.answer
    assert database.read(audit).result().count("appointment.booked") == 1
    take(database, siu("S13", control_id="2"))
    assert database.read(audit).result()[-1] == "appointment.unchanged"


# --- results -----------------------------------------------------------------------------------------------------


def test_a_result_has_no_effect_unless_the_mapping_says_so(database: Database) -> None:
    take(database, orm())
    outcome = take(database, oru())
    assert (outcome.code, outcome.findings) == ("AA", 0)
    assert state(database)[0][0] == "SCHEDULED"
    assert database.read(audit).result()[-1] == "result.recorded"


@pytest.mark.parametrize("keys", [{"placer": "P1"}, {"filler": "F1"}, {"accession": "A1"}, {"uid": "study"}])
def test_a_final_result_completes(database: Database, keys: dict[str, str]) -> None:
    take(database, orm(filler="F1"))
    if "uid" in keys:
        keys = {"uid": str(database.read(steps).result()[0]["study_instance_uid"])}
    assert take(database, oru("r1", state="P", **{"placer": "", **keys}), COMPLETES).code == "AA"
    assert state(database)[0][0] == "SCHEDULED"
    assert take(database, oru("r2", **{"placer": "", **keys}), COMPLETES).code == "AA"
    assert causes(database)[-1] == ("SCHEDULED", "COMPLETED", "result:F")
    outcome = take(database, oru("r3", **{"placer": "", **keys}), COMPLETES)
    assert (outcome.code, outcome.findings) == ("AA", 1)
    assert len(causes(database)) == 2


@pytest.mark.parametrize("status", ["CANCELED", "DISCONTINUED"])
def test_a_result_begins_nothing_again(database: Database, status: str) -> None:
    take(database, orm())
    set_status(database, status)
    assert take(database, oru(), COMPLETES).code == "AA"
    assert state(database)[0][0] == status


@pytest.mark.parametrize("used", [COMPLETES, None])
def test_a_result_of_an_unknown_order_is_recorded(database: Database, used: Profile | None) -> None:
    outcome = take(database, oru(), used)
    assert (outcome.code, outcome.findings) == ("AA", 1 if used else 0)
    assert (state(database), database.read(audit).result()) == ([], [])


def test_a_result_of_another_patient_is_refused(database: Database) -> None:
    take(database, orm())
    assert take(database, oru(patient="999"), COMPLETES).code == "AE"
    assert state(database)[0][0] == "SCHEDULED"


@pytest.mark.parametrize("later", ["SIU", "XO", "S12 before"])
def test_an_order_without_a_start_waits_for_one(database: Database, later: str) -> None:
    if later == "S12 before":  # the appointment waits for its order, which has a start at once then
        take(database, siu(sch_11="^^^20260313101500"), profile())
    answer = take(database, orm(start=""), WAITS)
    assert answer.code == "AA"
    assert b"\rERR|" in answer.answer
    assert b"101" in answer.answer
    if later != "S12 before":
        assert (state(database), offered(database)) == ([("SCHEDULED", "")], 0)
        assert take(database, orm("o2", "XO", start=""), WAITS).code == "AA"
        assert (state(database), offered(database)) == ([("SCHEDULED", "")], 0)
        raw = orm("o3", "XO", start="20260313101500") if later == "XO" else siu(sch_11="^^^20260313101500")
        assert take(database, raw, WAITS).code == "AA"
    assert (state(database), offered(database)) == ([("SCHEDULED", "20260313101500")], 1)


def test_an_appointment_without_a_start_makes_an_order_that_waits(database: Database) -> None:
    raw = siu("S14", sch_11="", groups=["AIS|1||CTTHX^CT thorax^L\rAIG|1||E1^^L|CT"])
    assert take(database, raw, WAITS).code == "AA"
    assert (state(database), offered(database)) == ([("SCHEDULED", "")], 0)


def test_what_waits_for_a_start_can_be_cancelled_and_done(database: Database) -> None:
    assert take(database, orm(start=""), WAITS).code == "AA"
    assert take(database, orm("o4", "SC", status="IP"), WAITS).code == "AA"
    assert state(database) == [("STARTED", "")]
    assert take(database, orm("o5", "SC", status="CM"), WAITS).code == "AA"
    assert take(database, orm("o6", placer="P2", start="").replace(b"A1", b"A2"), WAITS).code == "AA"
    assert take(database, orm("o7", "CA", placer="P2").replace(b"A1", b"A2"), WAITS).code == "AA"
    assert [status for status, _ in state(database)] == ["COMPLETED", "CANCELED"]
