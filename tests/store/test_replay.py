"""Stored messages run again by another mapping: what would change, and what does."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Connection, insert, select

from broker.hl7.mllp.server import Peer
from broker.model.message import MessageSelection
from broker.model.order import Document
from broker.orders.core.context import AuditEntry, StoryContext
from broker.orders.core.values import OrderChange
from broker.orders.inbound import reception
from broker.orders.inbound.reception import Interface
from broker.orders.listener import OrderDoor
from broker.orders.mapping import document as profile_document
from broker.orders.mapping.book import ProfileBook, built_in
from broker.orders.stories import intake
from broker.orders.stories.planned import Planned
from broker.orders.trying.replay import Bench, ItemDifference, Replayed, replay
from broker.site.nodes import parse_nodes
from broker.store.db.database import Database
from broker.store.orders import answers, reading
from broker.store.schema import tables

ZONE = ZoneInfo("Europe/Zurich")


def order(
    number: str, control: str = "NW", modality: str = "SPIRAL", sender: str = "RIS", name: str = "DOE^J"
) -> bytes:  # fmt: skip
    lines = [
        f"MSH|^~\\&|{sender}|SITE|BROKER|RAD|202603120800||ORM^O01|{control}{number}|P|2.5",
        f"PID|||1||{name}", f"ORC|{control}|{number}|||||^^^20260312100000",
        f"OBR|1|{number}||CHEST^Chest||||||||||||||A{number}||||||{modality}",
    ]  # fmt: skip
    return "".join(line + "\r" for line in lines).encode()


def receive(database: Database, *messages: bytes) -> None:
    door = OrderDoor(database, Interface(name="test"), lambda _: built_in(), zone=ZONE, default_station="NONE")
    for message in messages:
        asyncio.run(door.handle(message, Peer("127.0.0.1", 1)))


def bench(text: str = "") -> Bench:
    document = profile_document.read(f'name = "x"\nextends = "ihe"\n{text}', "test")
    wanted = ProfileBook({"x": document}).named("x")
    return Bench(lambda _: wanted, ZONE, "NONE", "cli:ann")


def run(database: Database, text: str = "", *, write: bool = False, **selection: object) -> list[Replayed]:
    return replay(database, MessageSelection(**selection), bench(text), write=write)  # type: ignore[arg-type]


def everything(connection: Connection) -> dict[str, list[tuple[object, ...]]]:
    found = {}
    for table in tables.METADATA.sorted_tables:
        key = list(table.primary_key.columns)
        found[table.name] = [tuple(row) for row in connection.execute(select(table).order_by(*key))]
    return found


def all_answers(connection: Connection) -> list[Document]:
    rows = reading.order_rows(connection)
    return [answer for row in rows for _, answer in answers.answers_of(connection, row)]


SPIRAL = '[values.Modality]\nSPIRAL = "CT"\n'


def test_a_dry_run_shows_what_would_come_and_keeps_nothing(database: Database) -> None:
    receive(database, order("1"), order("2", modality="CR"))
    before = database.read(everything).result()
    refused, accepted = run(database, SPIRAL + '[[station]]\nae_title = "S1"')
    assert (refused.answered, refused.code, refused.new_steps, refused.profile) == ("AE", "AA", 1, "x")
    values = {d.keyword: (d.step, d.before, d.after) for d in refused.differences}
    assert values["Modality"] == (0, None, "CT")
    assert values["AccessionNumber"] == (0, None, "A1")
    assert (accepted.answered, accepted.code, accepted.new_steps) == ("AA", "AA", 0)
    (station,) = accepted.differences
    assert (station.keyword, station.before, station.after) == ("ScheduledStationAETitle", ["NONE"], ["S1"])
    assert station.step > 0
    assert database.read(everything).result() == before


def test_a_dry_run_sees_the_cancel_that_was_kept_for_a_refused_order(database: Database) -> None:
    receive(database, order("1"), order("1", "CA"))
    assert [answer["StudyInstanceUID"] for answer in database.read(all_answers).result()] == []
    first, second = run(database, SPIRAL)
    assert (first.code, second.code) == ("AA", "AA")
    assert ("ScheduledProcedureStepStatus", None, "CANCELED") in [
        (d.keyword, d.before, d.after) for d in first.differences
    ]
    assert second.differences == ()  # it sees what the first one wrote: there is nothing left to cancel


def test_with_write_it_is_done_and_told_by_whom(database: Database) -> None:
    receive(database, order("1"), order("2", modality="CR"))
    assert [one.code for one in run(database, SPIRAL, write=True)] == ["AA", "AA"]
    by_accession = {answer["AccessionNumber"]: answer for answer in database.read(all_answers).result()}
    assert by_accession["A1"]["ScheduledProcedureStepSequence"][0]["Modality"] == "CT"
    rows = database.read(everything).result()
    t = tables.audit.c
    by_ann = select(t.action, t.detail).where(t.actor == "cli:ann")
    every = database.read(lambda c: [(r[0], json.loads(r[1])) for r in c.execute(by_ann)]).result()
    found = [(action, d) for action, d in every if action.startswith("order.")]
    assert [action for action, _ in every if not action.startswith("order.")] == ["message.applied"] * 2
    assert [(action, d["message"]) for action, d in found] == [("order.created", 1), ("order.unchanged", 2)]
    assert {d["replayed"] for _, d in found} == {"hl7:RIS|SITE"}
    place = list(tables.message.c.keys()).index("note")
    notes = [str(row[place]) for row in rows["message"]]
    assert notes == ["OBR^1^24:103 replayed", ""]
    assert run(database, SPIRAL, write=True)[0].differences == ()


def test_the_same_mapping_changes_nothing(database: Database) -> None:
    receive(database, order("1", modality="CT"), order("2", modality="CR"))
    assert [(one.code, one.differences) for one in run(database)] == [("AA", ()), ("AA", ())]


def test_demographics_show_in_the_other_orders_of_the_patient(database: Database) -> None:
    receive(database, order("1", modality="CT"), order("2", modality="CT"))
    found = run(database, '[values.Modality]\nSPIRAL = "CT"\n[patient]\nPatientComments = ["ORC-2.1"]', rows=(2,))
    assert [{d.keyword for d in one.differences} for one in found] == [{"PatientComments"}]
    assert len({d.step for d in found[0].differences}) == 2


def test_older_demographics_do_not_come_back(database: Database) -> None:
    receive(database, order("1", modality="CT", name="OLD^NAME"), order("2", modality="CT", name="NEW^NAME"))
    assert [one.differences for one in run(database, write=True)] == [(), ()]
    assert {answer["PatientName"] for answer in database.read(all_answers).result()} == {"NEW^NAME"}
    # of a patient who is known only by this run, the newest message tells
    receive(database, *(order(n, name=f"N^{n}").replace(b"PID|||1|", b"PID|||7|") for n in ("3", "4")))
    found = run(database, SPIRAL, rows=(3, 4))
    assert [(d.before, d.after) for d in found[1].differences if d.keyword == "PatientName"] == [
        ("N^3", "N^4"), (None, "N^4")
    ]  # fmt: skip


def test_what_is_still_refused_says_why(database: Database) -> None:
    receive(database, order("1"))
    (found,) = run(database, write=True)
    assert (found.code, found.differences, found.new_steps) == ("AE", (), 0)
    assert [(finding.location, finding.code) for finding in found.findings] == [("OBR^1^24", "103")]
    assert database.read(all_answers).result() == []


@pytest.mark.parametrize(
    ("selection", "numbers"),
    [
        ({"rows": (1, 3)}, ["1", "3"]), ({"sender": "RIS"}, ["1", "2"]), ({"sender": "OTHER|SITE"}, ["3"]),
        ({"sender": "OTHER|S"}, []), ({"message_type": "ORM"}, ["1", "2", "3"]), ({"message_type": "ORM^O02"}, []),
        ({"answer_code": "AE"}, ["1"]), ({"limit": 2}, ["2", "3"]), ({"since": 4e9}, []), ({"until": 1.0}, []),
        ({"sender": "R%"}, []),
    ],
)  # fmt: skip
def test_messages_are_selected(selection: dict[str, object], numbers: list[str], database: Database) -> None:
    receive(database, order("1"), order("2", modality="CT"), order("3", modality="CT", sender="OTHER"))
    assert [str(one.message) for one in run(database, SPIRAL, **selection)] == numbers


def test_differences_are_told_of_a_known_clock(database: Database) -> None:
    receive(database, order("1"))
    at = datetime(2026, 3, 13, 7, 30, tzinfo=ZONE)
    (found,) = replay(database, MessageSelection(), bench(SPIRAL), write=True, clock=lambda: at)
    assert ItemDifference(0, "Modality", None, "CT") in found.differences
    step = database.read(lambda c: c.execute(select(tables.scheduled_step.c.updated_at)).scalar_one()).result()
    assert step == at.timestamp()


def test_who_sent_the_order_is_told_of_it_as_if_it_had_been_taken_then(database: Database) -> None:
    receive(database, order("1"), order("2", modality="CR"))
    run(database, SPIRAL, write=True)
    query = select(tables.service_request.c.accession, tables.service_request.c.source)
    assert set(database.read(lambda c: [tuple(row) for row in c.execute(query)]).result()) == {
        ("A1", "RIS|SITE"), ("A2", "RIS|SITE")
    }  # fmt: skip


def test_what_a_message_run_again_does_is_told_to_others(database: Database) -> None:
    table = {"name": "his", "kind": "hl7", "application": "HIS", "host": "h", "port": 1, "roles": ["ris"]}
    listeners = tuple(parse_nodes([table | {"feedback": {"events": ["cancelled"]}}]))
    receive(database, order("1"), order("1", "CA"))
    for write, jobs in ((False, 0), (True, 1)):
        replay(database, MessageSelection(), replace(bench(SPIRAL), subscribers=listeners), write=write)
        assert len(database.read(everything).result()["job"]) == jobs


def refused(database: Database, interface: Interface, raw: bytes) -> None:
    door = OrderDoor(database, interface, lambda _: built_in(), zone=ZONE, default_station="NONE")
    answer = asyncio.run(door.handle(raw, Peer("127.0.0.1", 1)))
    assert b"\rMSA|AR|" in (answer or b"")


@pytest.mark.parametrize(
    ("interface", "before", "after"),
    [
        (Interface(name="test"), b"|P|2.5", b"|T|2.5"),
        (Interface(name="test", receiving=frozenset({"RADIS"})), b"", b""),
        (Interface(name="test", known=lambda application, facility: False), b"", b""),
    ],
)
def test_the_checks_of_the_interface_count_unless_forced(
    database: Database, interface: Interface, before: bytes, after: bytes
) -> None:
    refused(database, interface, order("7", modality="CT").replace(before, after))
    asked = replace(bench(), interfaces={"other": Interface(name="other"), "test": interface})
    (found,) = replay(database, MessageSelection(answer_code="AR"), asked, write=True)
    assert (found.code, found.new_steps, len(found.findings)) == ("AR", 0, 1)
    assert database.read(reading.order_rows).result() == []
    forced = replace(asked, forced="patient of the training is real")
    (found,) = replay(database, MessageSelection(answer_code="AR"), forced, write=True)
    assert (found.code, found.new_steps) == ("AA", 1)

    def reasons(connection: Connection) -> list[str]:
        details = connection.execute(select(tables.audit.c.detail)).scalars()
        return [json.loads(detail).get("forced", "") for detail in details]

    assert "patient of the training is real" in database.read(reasons).result()


def test_a_message_of_a_listener_that_is_gone_meets_the_checks_of_the_first(database: Database) -> None:
    refused(database, Interface(name="gone", processing_ids=frozenset({"D"})), order("8", modality="CT"))
    (found,) = replay(
        database, MessageSelection(), replace(bench(), interfaces={"first": Interface(name="first")}), write=False
    )
    assert found.code == "AA"


@pytest.mark.parametrize("write", [False, True])
def test_a_defect_is_shown_as_the_door_answers_it_and_the_next_is_run(
    database: Database, write: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    receive(database, order("21"), order("22"), order("23"))
    story = intake.STORIES[OrderChange]

    def broken(connection: Connection, change: OrderChange, *rest: Any) -> Planned:
        planned = story(connection, change, *rest)
        if change.placer.number != "22":
            return planned

        def write(connection: Connection, context: StoryContext) -> tuple[AuditEntry, ...]:
            planned.write(connection, context)
            connection.execute(insert(tables.order_link), {"request": None, "kind": "parent", "other": None})
            return ()

        return replace(planned, write=write)

    monkeypatch.setattr(intake, "STORIES", {**intake.STORIES, OrderChange: broken})
    before = database.read(everything).result()
    found = run(database, SPIRAL, write=write)
    assert [(one.code, one.new_steps) for one in found] == [("AA", 1), ("AE", 0), ("AA", 1)]
    assert [(one.location, one.code) for one in found[1].findings] == [("MSH^1", "207")]
    assert "reference" in found[1].findings[0].text
    assert len(database.read(reading.order_rows).result()) == (2 if write else 0)
    assert write or database.read(everything).result() == before


def test_a_profile_that_fails_is_shown_too(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    receive(database, order("24", modality="CT"), order("25", modality="CT"))

    def fails(*_: object) -> None:
        raise IndexError

    monkeypatch.setattr(reception, "_converted", fails)
    found = run(database)
    assert [(one.code, [finding.code for finding in one.findings]) for one in found] == [("AE", ["207"])] * 2
