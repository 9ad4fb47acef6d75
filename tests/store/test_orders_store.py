from __future__ import annotations

import asyncio
import json
from concurrent.futures import wait
from pathlib import Path
from types import ModuleType

import pytest
from sqlalchemy import Connection, select, update
from support.orders.intake import PEER, ZONE, counts, steps, submit, take

from broker import faults
from broker.orders.inbound.reception import Interface
from broker.orders.listener import OrderDoor
from broker.orders.mapping.book import built_in
from broker.store.db.database import Database
from broker.store.db.prepared import Prepared
from broker.store.orders import messages, reading, saving, waiting
from broker.store.schema import tables


def orm(control_id: str, control: str = "NW", order: str = "P1", patient: str = "12345", **more: str) -> bytes:
    obr = f"OBR|1|{order}||CHEST^Chest||||||||||||||{more.get('accession', '')}||||||{more.get('modality', 'CR')}"
    lines = [
        f"MSH|^~\\&|RIS|SITE|BROKER|RAD|202603120800||ORM^O01|{control_id}|P|2.5",
        f"PID|||{patient}||{more.get('name', 'ROE^RICHARD')}",
        f"ORC|{control}|{order}|{more.get('filler', '')}||||^^^20260312100000",
        obr,
    ]
    if "uid" in more:
        lines.append(f"ZDS|{more['uid']}")
    return "".join(line + "\r" for line in lines).encode()


def set_status(connection: Connection, status: str) -> None:
    connection.execute(update(tables.scheduled_step).values(status=status))


def test_new_order_fills_every_table_and_search_column(database: Database) -> None:
    assert take(database, orm("1", accession="A1", name="MÜLLER^Käthe")).code == "AA"
    assert database.read(counts).result() == {
        "message": 1, "patient": 1, "service_request": 1, "requested_procedure": 1, "scheduled_step": 1,
        "step_station": 1, "audit": 1,
    }  # fmt: skip
    step = database.read(steps).result()[0]
    assert (step["status"], step["start_at"], step["modality"]) == ("SCHEDULED", "20260312100000", "CR")
    assert (step["patient_id"], step["patient_name"], step["accession"]) == ("12345", "muller^kathe", "A1")
    assert step["revision"] == 1


def test_repeat_has_one_effect_and_the_same_answer(database: Database) -> None:
    first = take(database, orm("1"))
    again = take(database, orm("1"))
    assert (again.answer, again.repeated) == (first.answer, True)
    assert database.read(counts).result()["message"] == 1


def test_parallel_repeats_and_orders_make_one_order(database: Database) -> None:
    futures = [submit(database, orm("1")) for _ in range(8)] + [submit(database, orm(f"n{i}")) for i in range(8)]
    futures += [submit(database, orm(f"p{i}", order=f"P{i}", name=f"NAME{i}")) for i in range(2, 8)]
    wait(futures)
    assert {future.result().code for future in futures} == {"AA"}
    assert len({future.result().answer for future in futures[:8]}) == 1
    found = database.read(counts).result()
    assert (found["service_request"], found["patient"], found["scheduled_step"]) == (7, 1, 7)
    assert found["message"] == 1 + 8 + 6


def test_same_control_id_with_other_bytes_is_processed(database: Database) -> None:
    take(database, orm("1"))
    assert not take(database, orm("1", order="P2")).repeated
    notes = database.read(lambda c: list(c.execute(select(tables.message.c.note).order_by("id")).scalars())).result()
    assert notes == ["", "control-id-reused"]


def test_refused_message_changes_nothing_and_is_processed_again(database: Database) -> None:
    hold = orm("c", control="HD")
    assert take(database, hold).code == "AE"
    assert database.read(counts).result() == {
        "message": 1, "patient": 0, "service_request": 0, "requested_procedure": 0, "scheduled_step": 0,
        "step_station": 0, "audit": 0,
    }  # fmt: skip
    take(database, orm("1"))
    assert take(database, hold).code == "AA"
    assert database.read(steps).result()[0]["held"]


def test_refused_update_leaves_demographics(database: Database) -> None:
    take(database, orm("1", uid="2.999.1"))
    assert take(database, orm("2", order="P2", uid="2.999.1", name="OTHER^NAME")).code == "AE"
    assert database.read(steps).result()[0]["patient_name"] == "roe^richard"


def test_cancel_of_a_started_step_is_refused(database: Database) -> None:
    take(database, orm("1"))
    database.submit(set_status, "STARTED").result()
    outcome = take(database, orm("2", control="CA"))
    assert outcome.code == "AE"
    assert b"|204^" in outcome.answer
    assert database.read(steps).result()[0]["status"] == "STARTED"


@pytest.mark.parametrize("status", ["COMPLETED", "DISCONTINUED", "CANCELED"])
@pytest.mark.parametrize("control", ["NW", "XO", "CA", "OC", "DC", "OD"])
def test_late_messages_are_recorded_without_effect(database: Database, status: str, control: str) -> None:
    take(database, orm("1"))
    database.submit(set_status, status).result()
    before = database.read(steps).result()
    outcome = take(database, orm("2", control=control, name="NEW^NAME", modality="MR"))
    assert outcome.code == "AA"
    assert b"\rERR||ORC^1^1|0^Message accepted^HL70357|W|" in outcome.answer
    assert database.read(steps).result() == before
    assert database.read(counts).result()["audit"] == 2


def test_update_keeps_identifiers_and_started_status(database: Database) -> None:
    take(database, orm("1"))
    database.submit(set_status, "STARTED").result()
    before = database.read(steps).result()[0]
    assert take(database, orm("2", control="XO", modality="MR")).code == "AA"
    after = database.read(steps).result()[0]
    for column in ("id", "step_id", "study_instance_uid", "requested_procedure_id", "status", "status_at"):
        assert after[column] == before[column]
    assert (after["modality"], after["revision"]) == ("MR", 2)


def test_same_content_under_a_new_id_writes_no_step(database: Database) -> None:
    take(database, orm("1"))
    before = database.read(steps).result()
    assert take(database, orm("2")).code == "AA"
    assert database.read(steps).result() == before


def test_demographics_reach_open_steps_of_other_orders_only(database: Database) -> None:
    take(database, orm("1"))
    database.submit(set_status, "COMPLETED").result()
    take(database, orm("2", order="P2"))
    take(database, orm("3", order="P3", name="ROE-DOE^RICHARD"))
    assert [s["patient_name"] for s in database.read(steps).result()] == [
        "roe^richard", "roe-doe^richard", "roe-doe^richard",
    ]  # fmt: skip


def test_orders_are_found_by_filler_placer_and_accession(database: Database) -> None:
    take(database, orm("1", order="P1^KIS", filler="F1^RIS", accession="A1"))
    for number, keys in enumerate(
        [{"order": "", "filler": "F1^RIS"}, {"order": "P1"}, {"order": "P1^KIS"}, {"order": "", "filler": "F1"}]
    ):
        assert take(database, orm(f"x{number}", control="XO", **keys)).code == "AA"
    assert database.read(counts).result()["service_request"] == 1
    take(database, orm("y", order="P1^OTHER", patient="9"))
    take(database, orm("z", order="P1^KIS", filler="F2^RIS", accession="A1"))
    assert len(database.read(reading.order_rows).result()) == 3


def door(database: Database, **changes: object) -> OrderDoor:
    interface = Interface(name="test", **changes)  # type: ignore[arg-type]
    return OrderDoor(database, interface, lambda _: built_in(), zone=ZONE, default_station="UNASSIGNED")


def test_door_refuses_unknown_senders(database: Database) -> None:
    closed = door(database, known=lambda a, f: (a, f) == ("RIS", "OTHER"))
    answer = asyncio.run(closed.handle(orm("1"), PEER))
    assert b"\rMSA|AR|1" in (answer or b"")
    assert b"ERR||MSH^1^3|103^" in (answer or b"")
    known = door(database, known=lambda a, f: (a, f) == ("RIS", "SITE"))
    assert b"\rMSA|AA|1" in (asyncio.run(known.handle(orm("1"), PEER)) or b"")


def test_door_large_message_in_a_thread_and_acknowledgements_in_silence(database: Database) -> None:
    large = orm("1") + b"".join(b"NTE|%d||%s\r" % (i, b"x" * 60) for i in range(20_000))
    assert b"\rMSA|AA|1" in (asyncio.run(door(database).handle(large, PEER)) or b"")
    ack = b"MSH|^~\\&|RIS|S|B|R|2026||ACK^O01|9|P|2.5\rMSA|AA|1\r"
    assert asyncio.run(door(database).handle(ack, PEER)) == b""
    assert asyncio.run(door(database).handle(b"GET / HTTP/1.1", PEER)) is None
    assert b"\rMSA|AR|" in (asyncio.run(door(database).handle(b"MSH?", PEER)) or b"")


@pytest.mark.parametrize(("on_transient", "code"), [("close", None), ("AE", b"AE"), ("AR", b"AR")])
def test_door_while_the_database_is_away(
    tmp_path_factory: pytest.TempPathFactory, on_transient: str, code: bytes | None
) -> None:
    database = Database(f"sqlite:///{tmp_path_factory.mktemp('d') / 'broker.db'}")
    database.close()
    answer = asyncio.run(door(database, on_transient=on_transient).handle(orm("1"), PEER))
    if code is None:
        assert answer is None
    else:
        assert b"\rMSA|" + code + b"|1" in (answer or b"")
        assert b"|207^" in (answer or b"")


def test_no_answer_without_a_commit(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(name: str) -> None:
        if name == "store.commit":
            raise OSError(28, "no space")

    monkeypatch.setattr(faults, "point", full)
    assert asyncio.run(door(database).handle(orm("1"), PEER)) is None
    monkeypatch.undo()
    assert database.read(counts).result()["message"] == 0
    assert b"\rMSA|AA|1" in (asyncio.run(door(database).handle(orm("1"), PEER)) or b"")


def test_oversize_and_truncated_are_refused(database: Database) -> None:
    oversize = asyncio.run(door(database).on_oversize(orm("1")[:100], PEER))
    assert b"\rMSA|AE|1" in (oversize or b"")
    cut = asyncio.run(door(database).on_truncated(orm("1"), PEER))
    assert b"\rMSA|AE|1" in (cut or b"")
    assert database.read(counts).result()["service_request"] == 0


def test_each_change_of_a_status_is_in_the_event_log_with_its_cause(database: Database) -> None:
    take(database, orm("1"))
    take(database, orm("2", control="XO"))
    take(database, orm("3", control="CA"))
    (row,) = [int(str(step["id"])) for step in database.read(steps).result()]
    found = database.read(reading.events_of_step, row).result()
    assert [(e.before, e.after, e.cause, e.actor) for e in found] == [
        ("", "SCHEDULED", "order:NW", "hl7:RIS|SITE"), ("SCHEDULED", "CANCELED", "order:CA", "hl7:RIS|SITE"),
    ]  # fmt: skip


def test_a_refused_group_undoes_the_groups_before_it(database: Database) -> None:
    take(database, orm("1", order="P2", patient="999"))
    before = database.read(counts).result()
    refused = orm("2") + b"ORC|NW|P2|||||^^^20260312100000\rOBR|2|P2||CHEST^Chest||||||||||||||||||||CR\r"
    assert take(database, refused).code == "AE"
    # the order that refuses it has that in its audit trail
    assert database.read(counts).result() == {
        **before, "message": before["message"] + 1, "audit": before["audit"] + 1,
    }  # fmt: skip


@pytest.mark.parametrize("module", [messages, waiting, saving, reading])
def test_no_statement_of_intake_scans_a_table(module: ModuleType, tmp_path: Path) -> None:
    """With a million orders a scan of one table is a minute; SQLite says beforehand how it will look things up."""
    database = Database(f"sqlite:///{tmp_path / 'broker.db'}")

    def plans(connection: Connection) -> list[str]:
        found: list[str] = []
        for value in vars(module).values():
            for statement in value if isinstance(value, list) else [value]:
                if isinstance(statement, Prepared):
                    text, names, _ = statement.compiled(connection)
                    explained = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", (None,) * len(names or ()))
                    found += [row[3] for row in explained]
        return found

    found = database.submit(plans).result()
    database.close()
    # what is being joined is a row or two, and most of the time none
    small = ("SCAN CONSTANT ROW", "SCAN authority_join ")
    assert not [plan for plan in found if plan.startswith("SCAN") and not f"{plan} ".startswith(small)]
    assert found


@pytest.mark.parametrize(("old", "field"), [("|RIS|", 3), ("|SITE|", 4), ("|long|", 10)])
def test_names_and_ids_too_long_for_an_index_are_refused_not_tried_for_ever(
    database: Database, old: str, field: int
) -> None:
    long = "".join(f"{number:x}" for number in range(2000))
    outcome = take(database, orm("long").replace(old.encode(), f"|{long}|".encode()))
    assert outcome.code == "AE"
    assert f"ERR||MSH^1^{field}|102^".encode() in outcome.answer
    assert database.read(counts).result()["message"] == 1


def test_an_identifier_made_for_one_procedure_is_not_that_of_another(database: Database) -> None:
    raw = orm("1").replace(b"ORM^O01", b"OMI^O23") + b"IPC|A1||2.999.1|S1|CT\rIPC|A1|A1|2.999.2|S2|MR\r"
    assert take(database, raw).code == "AA"
    made, given = (str(step["requested_procedure_id"]) for step in database.read(steps).result())
    assert made.startswith("RP")
    assert given == "A1"


def test_an_end_before_the_start_is_no_end(database: Database) -> None:
    def shown() -> tuple[object, ...]:
        item = json.loads(str(database.read(steps).result()[0]["answer"]))["ScheduledProcedureStepSequence"][0]
        return tuple(item.get(f"ScheduledProcedureStep{name}") for name in ("StartDate", "EndDate", "EndTime"))

    timed = orm("1").replace(b"20260312100000", b"20260312100000^20260312103000")
    assert take(database, timed).findings == 0
    assert shown() == ("20260312", "20260312", "103000")
    moved = take(database, orm("2", "XO").replace(b"20260312100000", b"20260313100000"))
    assert (moved.code, moved.findings, shown()) == ("AA", 0, ("20260313", None, None))
    early = orm("3", "XO").replace(b"20260312100000", b"20260313100000^20260313093000")
    assert (take(database, early).findings, shown()) == (1, ("20260313", None, None))
