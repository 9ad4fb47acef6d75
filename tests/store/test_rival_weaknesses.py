"""What a widely used archive does wrong with orders, read in its sources, and ours does not: one test for each.

An appointment that is ignored belongs to SIU and is tested there.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, select, update
from support.hl7.messages import group, message
from support.orders.intake import PEER, ZONE, counts, steps, take
from support.service.site import order
from support.worklist.worklist import SPS, query

from broker.orders.inbound.reception import Interface
from broker.orders.listener import OrderDoor
from broker.orders.mapping.book import built_in
from broker.store.db.database import Database
from broker.store.schema import tables
from broker.store.worklist.candidates import search
from broker.worklist.query.criteria import search_criteria
from broker.worklist.query.matcher import matches


def worklist(database: Database, **keys: Any) -> list[dict[str, Any]]:
    """What a modality sees."""
    asked = query({"PatientID": "", **keys, SPS: [{"Modality": "", "ScheduledStationAETitle": ""}]})
    found = database.read(search, search_criteria(asked), None, 100).result()
    documents = [json.loads(row.answer) for row in found]
    return [document for document in documents if matches(document, asked)]


def complete(connection: Connection) -> None:
    connection.execute(update(tables.scheduled_step).values(status="COMPLETED"))


def patient_name(database: Database) -> str:
    (text,) = database.read(lambda c: list(c.execute(select(tables.patient.c.attributes)).scalars())).result()
    return str(json.loads(text)["PatientName"])


def two_steps(control: str, *, first: str = "MG01", second: str = "US02", name: str = "Müller^Käthe") -> bytes:
    """OMI of one procedure with two steps at two stations."""
    raw = order(7, control=control, modality="MG", station=first, name=name, control_id=f"{control}{first}{second}")
    return (raw + f"IPC|A7|RP7|2.999.7.7|SPS7B|US|P2^Protocol^99LOC|||{second}\r").encode()


@pytest.mark.parametrize("kind", ["ORM^O01", "OMI^O23^OMI_O23", "OMG^O19^OMG_O19"])
def test_an_order_without_zds_and_ipc_is_in_the_worklist(database: Database, kind: str) -> None:
    assert take(database, message(group("NW", "P1"), kind=kind).encode()).code == "AA"
    (found,) = worklist(database)
    assert found["StudyInstanceUID"].startswith("2.25.")
    assert found[SPS][0]["ScheduledProcedureStepID"]


@pytest.mark.parametrize("on_transient", ["close", "AE"])
def test_a_database_outage_is_not_answered_with_a_rejection(tmp_path: Path, on_transient: str) -> None:
    """A sender drops what was rejected; `tests/system/test_outage.py` has it with the real broker."""
    database = Database(f"sqlite:///{tmp_path / 'broker.db'}")
    database.close()
    interface = Interface(name="test", on_transient=on_transient)  # type: ignore[arg-type]
    door = OrderDoor(database, interface, lambda _: built_in(), zone=ZONE, default_station="UNASSIGNED")
    answer = asyncio.run(door.handle(message(group("NW", "P1")).encode(), PEER))
    assert b"MSA|AR" not in (answer or b"")
    assert (answer is None) == (on_transient == "close")


def test_order_status_may_be_empty(database: Database) -> None:
    assert take(database, message(group("NW", "P1")).encode()).code == "AA"
    assert len(worklist(database)) == 1
    assert take(database, message(group("CA", "P1")).encode()).code == "AA"
    assert worklist(database) == []


@pytest.mark.parametrize("control", ["XO", "NW", "XX"])
def test_a_change_after_completion_reopens_nothing(database: Database, control: str) -> None:
    take(database, message(group("NW", "P1", status="SC")).encode())
    database.submit(complete).result()
    assert take(database, message(group(control, "P1", status="SC", modality="MR")).encode()).code == "AA"
    assert [step["status"] for step in database.read(steps).result()] == ["COMPLETED"]
    assert worklist(database) == []


def test_every_group_of_a_message_is_an_order(database: Database) -> None:
    several = message(group("NW", "P1"), group("NW", "P2", modality="MR"), group("NW", "P3", modality="US"))
    assert take(database, several.encode()).code == "AA"
    assert {found["AccessionNumber"] for found in worklist(database)} == {"P1", "P2", "P3"}


def test_the_requested_procedure_comes_from_obr_4_where_obr_44_is_absent(database: Database) -> None:
    take(database, message(group("NW", "P1")).encode())
    (found,) = worklist(database)
    assert found["RequestedProcedureDescription"] == "Thorax"
    assert found["RequestedProcedureCodeSequence"][0]["CodeValue"] == "THX"


def test_a_step_that_a_message_does_not_repeat_stays(database: Database) -> None:
    take(database, two_steps("NW"))
    once = order(7, control="XO", modality="MG", station="MG09", control_id="once").encode()
    assert take(database, once).code == "AA"
    stations = [found[SPS][0]["ScheduledStationAETitle"] for found in worklist(database)]
    assert sorted(stations) == [["MG09"], ["US02"]]


def test_an_unchanged_step_does_not_hide_changes_of_later_ones(database: Database) -> None:
    take(database, two_steps("NW"))
    assert take(database, two_steps("XO", second="US09")).code == "AA"
    stations = [found[SPS][0]["ScheduledStationAETitle"] for found in worklist(database)]
    assert sorted(stations) == [["MG01"], ["US09"]]


def test_a_refused_order_changes_no_demographics(database: Database) -> None:
    take(database, two_steps("NW"))
    bad = message(group("NW", "P9", modality="NOPE"), patient="QZPAT7").replace("SITE||Müller", "HOSPITAL||Other")
    refused = two_steps("XO", name="Other^Name").replace(b"|SPS7B|US|", b"|SPS7B|NOPE|")
    for raw in (bad.encode(), refused):
        assert take(database, raw).code == "AE"
        assert patient_name(database) == "Müller^Käthe"
    assert {found["PatientName"] for found in worklist(database)} == {"Müller^Käthe"}


@pytest.mark.parametrize("uid", ["", "2.999.1234567890123456789012345678901234567890.1.2.3.4.5"])
def test_a_requested_procedure_id_is_never_a_uid(database: Database, uid: str) -> None:
    for number in ("P1", "P" + "9" * 20):
        take(database, (message(group("NW", number)) + (f"ZDS|{uid}{number[1]}\r" if uid else "")).encode())
    for found in worklist(database):
        assert 0 < len(found["RequestedProcedureID"]) <= 16
        assert found["RequestedProcedureID"] not in found["StudyInstanceUID"]


def test_two_ipcs_without_a_step_id_are_two_steps(database: Database) -> None:
    raw = two_steps("NW").replace(b"|SPS7B|", b"||").replace(b"|SPS7|", b"||")
    for _ in range(2):
        assert take(database, raw).code == "AA"
        raw = raw.replace(b"NWMG01", b"XOMG01").replace(b"ORC|NW", b"ORC|XO")
    identifiers = {found[SPS][0]["ScheduledProcedureStepID"] for found in worklist(database)}
    assert len(identifiers) == 2


def test_another_patient_is_an_error_of_content_and_not_ours(database: Database) -> None:
    take(database, message(group("NW", "P1")).encode())
    before = database.read(counts).result()
    outcome = take(database, message(group("XO", "P1"), patient="QZOTHER").encode())
    assert outcome.code == "AE"
    assert b"\rERR||PID^1^3|205^" in outcome.answer
    assert b"207" not in outcome.answer
    assert database.read(counts).result()["patient"] == before["patient"]
