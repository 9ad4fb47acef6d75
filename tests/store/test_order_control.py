"""What each order control code does to an order, on both databases (hl7-orders.md, section 3)."""

from __future__ import annotations

import json
import re
import time
from concurrent.futures import wait
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Connection, select, update
from support.orders.intake import AT, audit, counts, log, steps, submit, take
from support.worklist.worklist import SPS, query

from broker.orders.core.context import StoryContext
from broker.orders.mapping.book import built_in
from broker.orders.mapping.profile import Policy, UnknownCancel
from broker.orders.stories import ending
from broker.orders.stories.ending import NotReopened
from broker.store.db.database import Database
from broker.store.db.pace import Pace
from broker.store.schema import tables
from broker.store.thinning import CANCELS, thin
from broker.store.worklist.candidates import search
from broker.worklist.query.criteria import search_criteria

REFUSING = replace(built_in(), policy=Policy(unknown_order_cancel=UnknownCancel.REFUSE))


def group(control: str, placer: str = "P1", filler: str = "", status: str = "", **more: str) -> list[str]:
    """ORC and OBR of one order."""
    orc = [
        "ORC",
        control,
        placer,
        filler,
        "",
        status,
        "",
        more.get("timing", "^^^20260312100000"),
        more.get("parent", ""),
    ]
    orc.append(more.get("ordered", ""))
    obr = f"OBR|1|{placer}|{filler}|{more.get('code', 'CHEST^Chest')}" + "|" * 14
    return ["|".join(orc), f"{obr}{more.get('accession', '')}||{more.get('step', '')}||||{more.get('modality', 'CR')}"]


def message(*groups: list[str], control_id: str = "", kind: str = "ORM^O01", sender: str = "RIS", **more: str) -> bytes:
    """A message of some orders of one patient."""
    head = f"MSH|^~\\&|{sender}|SITE|BROKER|RAD|{more.get('sent', '202603120800')}||{kind}|"
    lines = [
        f"{head}{control_id or uuid4().hex[:12]}|P|{more.get('version', '2.5')}",
        f"PID|||{more.get('patient', '12345')}||{more.get('name', 'ROE^RICHARD')}",
        *(line for one in groups for line in one),
    ]
    return "".join(line + "\r" for line in lines).encode()


def one(control: str, *arguments: str, **more: str) -> bytes:
    """A message of one order."""
    return message(
        group(control, *arguments, **more), **{k: v for k, v in more.items() if k in {"sent", "sender", "patient"}}
    )


def statuses(database: Database) -> list[object]:
    return [step["status"] for step in database.read(steps).result()]


def held(database: Database) -> list[object]:
    return [step["held"] for step in database.read(steps).result()]


def set_status(connection: Connection, status: str, row: int | None = None) -> None:
    step = tables.scheduled_step
    connection.execute(update(step).where(step.c.id == row if row else step.c.id > 0).values(status=status))


def orders(connection: Connection) -> list[Any]:
    return list(connection.execute(select(tables.service_request).order_by("id")))


def links(connection: Connection) -> list[tuple[int, str, int]]:
    table = tables.order_link.c
    query = select(table.request, table.kind, table.other).order_by(table.request, table.other)
    return [(row[0], row[1], row[2]) for row in connection.execute(query)]


def stones(connection: Connection) -> int:
    return len(connection.execute(select(tables.tombstone.c.id)).all())


def warnings(answer: bytes) -> list[str]:
    """Location and code of each warning."""
    return [
        f"{found[0].decode()}:{found[1].decode()}" for found in re.findall(rb"\rERR\|\|([^|]*)\|(\d+)[^|]*\|W", answer)
    ]


@pytest.mark.parametrize(
    ("control", "status", "before", "after"),
    [
        ("CA", "CA", "SCHEDULED", "CANCELED"), ("CA", "", "ARRIVED", "CANCELED"), ("OC", "", "READY", "CANCELED"),
        ("DC", "CA", "SCHEDULED", "DISCONTINUED"), ("OD", "", "SCHEDULED", "DISCONTINUED"),
        ("DC", "", "STARTED", "STARTED"), ("SC", "IP", "SCHEDULED", "STARTED"), ("SC", "CM", "STARTED", "COMPLETED"),
        ("SC", "A", "SCHEDULED", "COMPLETED"), ("XO", "CM", "STARTED", "COMPLETED"),
        ("XX", "CA", "SCHEDULED", "CANCELED"), ("SC", "DC", "STARTED", "DISCONTINUED"),
        ("SC", "CA", "SCHEDULED", "CANCELED"), ("SC", "SC", "STARTED", "STARTED"), ("SC", "SC", "ARRIVED", "ARRIVED"),
        ("RP", "", "SCHEDULED", "CANCELED"), ("RU", "", "SCHEDULED", "CANCELED"), ("SS", "", "ARRIVED", "ARRIVED"),
        ("PA", "", "SCHEDULED", "SCHEDULED"), ("RE", "", "STARTED", "STARTED"), ("DE", "", "SCHEDULED", "SCHEDULED"),
        ("CR", "CA", "SCHEDULED", "SCHEDULED"), ("OK", "", "SCHEDULED", "SCHEDULED"), ("UA", "", "READY", "READY"),
        ("XO", "SC", "STARTED", "STARTED"), ("XO", "SC", "COMPLETED", "COMPLETED"), ("NW", "", "CANCELED", "CANCELED"),
    ],
)  # fmt: skip
def test_status(database: Database, control: str, status: str, before: str, after: str) -> None:
    take(database, one("NW"))
    database.submit(set_status, before).result()
    assert take(database, one(control, status=status)).code == "AA"
    assert statuses(database) == [after]
    assert database.read(counts).result()["service_request"] == 1
    if before != after:
        event = log(database)[-1]
        assert (event.before, event.after, event.cause) == (before, after, f"order:{control}")


@pytest.mark.parametrize("control", ["CA", "OC", "RP", "HD", "OH"])
def test_what_has_started_is_neither_cancelled_nor_held(database: Database, control: str) -> None:
    take(database, one("NW"))
    database.submit(set_status, "STARTED").result()
    outcome = take(database, one(control))
    assert outcome.code == "AE"
    assert b"\rERR||ORC^1^1|204^" in outcome.answer
    assert statuses(database) == ["STARTED"]
    assert database.read(audit).result() == ["order.created", "order.refused"]


@pytest.mark.parametrize("control", ["XO", "XX", "NW", "SN", "RO", "CH"])
def test_an_unknown_order_is_created(database: Database, control: str) -> None:
    assert take(database, one(control)).code == "AA"
    assert statuses(database) == ["SCHEDULED"]


@pytest.mark.parametrize("control", ["HD", "RL", "NA", "SS", "SC"])
def test_of_an_unknown_order_nothing_else_is_possible(database: Database, control: str) -> None:
    outcome = take(database, one(control, filler="F1", status="IP" if control == "SC" else ""))
    assert outcome.code == "AE"
    assert b"\rERR||ORC^1^2|204^" in outcome.answer


def test_unknown_control(database: Database) -> None:
    outcome = take(database, one("ZZ"))
    assert outcome.code == "AE"
    assert b"\rERR||ORC^1^1|103^" in outcome.answer


def test_a_response_needs_no_patient_and_no_number(database: Database) -> None:
    lines = [b"MSH|^~\\&|RIS|SITE|BROKER|RAD|202603120800||ORM^O01|r1|P|2.5", b"ORC|OK"]
    outcome = take(database, b"\r".join(lines) + b"\r")
    assert outcome.code == "AA"
    assert warnings(outcome.answer) == ["ORC^1^1:0"]


def test_a_new_order_again_with_other_content_is_a_change_with_a_warning(database: Database) -> None:
    take(database, one("NW"))
    assert warnings(take(database, one("NW")).answer) == []
    outcome = take(database, one("NW", modality="MR"))
    assert (outcome.code, warnings(outcome.answer)) == ("AA", ["ORC^1^1:205"])
    assert [step["modality"] for step in database.read(steps).result()] == ["MR"]


# --- holding -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("hold", "release"), [("HD", "RL"), ("OH", "OE")])
def test_hold_and_release(database: Database, hold: str, release: str) -> None:
    take(database, one("NW"))
    database.submit(set_status, "ARRIVED").result()
    assert take(database, one(hold)).code == "AA"
    assert (held(database), statuses(database)) == ([True], ["ARRIVED"])
    take(database, one("XO", modality="MR"))
    assert held(database) == [True]
    assert warnings(take(database, one(hold)).answer) == []
    assert take(database, one(release)).code == "AA"
    assert (held(database), statuses(database)) == ([False], ["ARRIVED"])
    assert [event.cause for event in log(database)] == ["order:NW", f"order:{hold}", f"order:{release}"]
    assert database.read(audit).result() == [
        "order.created", "order.held", "order.updated", "order.unchanged", "order.released",
    ]  # fmt: skip


@pytest.mark.parametrize("status", [None, "", "SCHEDULED", "S*", "*"])
def test_a_held_step_is_in_no_worklist(database: Database, status: str | None) -> None:
    take(database, message(group("NW", "P1"), group("NW", "P2")))
    take(database, one("HD", "P1"))
    item = {"Modality": ""} if status is None else {"Modality": "", "ScheduledProcedureStepStatus": status}
    for keys in ({}, {"PatientID": "12345"}, {"AccessionNumber": "P1"}, {"AccessionNumber": "P2"}):
        asked = query({**keys, SPS: [item]})
        rows = database.read(search, search_criteria(asked), None, 10).result()
        found = [json.loads(row.answer)["AccessionNumber"] for row in rows]
        assert found == ([] if keys.get("AccessionNumber") == "P1" else ["P2"])


def test_what_is_held_ends_or_starts_unheld(database: Database) -> None:
    take(database, one("NW", status="HD"))
    assert held(database) == [True]
    take(database, one("SC", status="IP"))
    assert (held(database), statuses(database)) == ([False], ["STARTED"])


def test_only_the_step_named_is_held(database: Database) -> None:
    take(database, message(group("NW", step="S1"), group("NW", step="S2")))
    take(database, one("HD", step="S2"))
    assert held(database) == [False, True]


# --- numbers, parents, replacement -----------------------------------------------------------------------------


def test_an_order_that_asks_for_a_number_gets_one_and_keeps_it(database: Database) -> None:
    first = take(database, one("SN"), order_answers=True)
    (row,) = database.read(orders).result()
    assert len(row.filler_number) == 16
    assert f"\rORC|NA|P1|{row.filler_number}||SC\r".encode() in first.answer
    answer = json.loads(str(database.read(steps).result()[0]["answer"]))
    assert answer["FillerOrderNumberImagingServiceRequest"] == row.filler_number
    take(database, one("SN"))
    assert database.read(orders).result()[0].filler_number == row.filler_number
    assert take(database, one("XO", "", row.filler_number)).code == "AA"
    assert database.read(counts).result()["service_request"] == 1


def test_an_assigned_filler_number_is_stored_with_the_placers_order(database: Database) -> None:
    take(database, one("NW", "P1^KIS"))
    assert take(database, one("NA", "P1^KIS", "F9^RIS")).code == "AA"
    (row,) = database.read(orders).result()
    assert (row.filler_number, row.filler_issuer) == ("F9", "RIS")
    answer = json.loads(str(database.read(steps).result()[0]["answer"]))
    assert answer["FillerOrderNumberImagingServiceRequest"] == "F9"
    assert answer["AccessionNumber"] == "P1"
    assert take(database, one("CA", "", "F9^RIS")).code == "AA"
    assert statuses(database) == ["CANCELED"]


def test_a_number_of_another_order_is_not_assigned(database: Database) -> None:
    take(database, one("NW", "P1", "F1"))
    take(database, one("NW", "P2"))
    outcome = take(database, one("NA", "P2", "F1"))
    assert outcome.code == "AE"
    assert b"\rERR||ORC^1^3|205^" in outcome.answer
    assert take(database, one("NA", "P2")).code == "AE"


def test_children_are_orders_of_their_own_with_a_link(database: Database) -> None:
    family = message(
        group("PA", "P1", "F1"), group("CH", "P1", "F2", parent="P1&KIS^F1"), group("CH", "P1", "F3", parent="P1^F1")
    )
    take(database, one("NW", "P1", "F1"))
    assert take(database, family).code == "AA"
    assert database.read(links).result() == [(2, "parent", 1), (3, "parent", 1)]
    assert statuses(database) == ["SCHEDULED"] * 3
    take(database, one("CA", "P1", "F2"))
    take(database, one("CA", "P1"))  # the placer's number alone means the parent
    assert statuses(database) == ["CANCELED", "CANCELED", "SCHEDULED"]


def test_a_child_of_an_unknown_parent_has_no_link(database: Database) -> None:
    outcome = take(database, one("CH", "P1", "F2", parent="P0^F0"))
    assert (outcome.code, warnings(outcome.answer)) == ("AA", ["ORC^1^8:204"])
    assert take(database, one("CH", "P0", parent="P0^F0")).code == "AE"


@pytest.mark.parametrize("old", ["RP", "RU"])
def test_replacement(database: Database, old: str) -> None:
    take(database, one("NW", "P1", "F1", accession="A1"))
    exchange = message(group(old, "P1", "F1"), group("RO", "P1", "F2", accession="A1", modality="MR"))
    assert take(database, exchange).code == "AA"
    assert statuses(database) == ["CANCELED", "SCHEDULED"]
    assert database.read(links).result() == [(2, "replaces", 1)]
    assert "order.replaces" in database.read(audit).result()
    take(database, one("XO", "P1", modality="US"))  # the number both share means the new one
    assert [step["modality"] for step in database.read(steps).result()] == ["CR", "US"]
    again = take(database, message(group(old, "P1", "F1"), group("RO", "P1", "F2", accession="A1", modality="US")))
    assert again.code == "AA"
    assert statuses(database) == ["CANCELED", "SCHEDULED"]


def test_the_old_order_comes_after_its_replacement(database: Database) -> None:
    early = take(database, message(group("RP", "", "F1", accession="A1"), group("RO", "P2", accession="A1")))
    assert (early.code, warnings(early.answer)) == ("AA", ["ORC^1^2:204"])
    assert statuses(database) == ["SCHEDULED"]
    take(database, one("NW", "P1", "F1", accession="A1"))
    assert statuses(database) == ["SCHEDULED", "CANCELED"]


def test_a_started_order_is_not_replaced_and_the_new_one_not_created(database: Database) -> None:
    take(database, one("NW", "P1", "F1"))
    database.submit(set_status, "STARTED").result()
    assert take(database, message(group("RP", "P1", "F1"), group("RO", "P2", "F2"))).code == "AE"
    assert database.read(counts).result()["service_request"] == 1
    assert take(database, message(group("RP", "P1"), group("RO", "P1"))).code == "AE"  # no number of its own


def test_several_orders_with_codes_of_their_own_and_one_bad_group(database: Database) -> None:
    take(database, one("NW", "P1"))
    take(database, one("NW", "P2"))
    mixed = [group("CA", "P1"), group("HD", "P2"), group("NW", "P3")]
    assert take(database, message(*mixed)).code == "AA"
    assert (statuses(database), held(database)) == (["CANCELED", "SCHEDULED", "SCHEDULED"], [False, True, False])
    before = database.read(steps).result()
    assert take(database, message(group("RL", "P2"), group("CA", "P3"), group("SS", "P9"))).code == "AE"
    assert database.read(steps).result() == before


# --- out of order ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("control", "after"), [("CA", "CANCELED"), ("OC", "CANCELED"), ("DC", "DISCONTINUED")])
def test_a_cancel_before_its_order_is_kept_for_it(database: Database, control: str, after: str) -> None:
    early = take(database, one(control, "P1^KIS", "F1"))
    assert (early.code, warnings(early.answer)) == ("AA", ["ORC^1^2:204"])
    take(database, one(control, "P1^KIS", "F1"))
    assert database.read(stones).result() == 1
    assert take(database, one("NW", "P1^OTHER", "F2")).code == "AA"
    created = take(database, one("NW", "P1^KIS", "F1"))
    assert (created.code, warnings(created.answer)) == ("AA", ["ORC^1^1:204"])
    assert statuses(database) == ["SCHEDULED", after]
    assert [(e.before, e.after, e.cause) for e in log(database, 2)] == [("", after, f"overtaken:{control}")]
    assert database.read(stones).result() == 0
    assert take(database, one("NW", "P1^KIS", "F1")).code == "AA"
    assert statuses(database) == ["SCHEDULED", after]


def test_a_cancel_before_its_order_means_that_patient_only(database: Database) -> None:
    take(database, one("CA", "P1^KIS"))
    take(database, one("NW", "P1^KIS", patient="999"))
    assert statuses(database) == ["SCHEDULED"]


def test_a_cancel_before_its_order_may_be_refused_by_the_profile(database: Database) -> None:
    assert take(database, one("CA"), REFUSING).code == "AE"
    assert database.read(stones).result() == 0


def test_a_cancel_of_one_step_before_its_order(database: Database) -> None:
    take(database, one("CA", step="S2"))
    take(database, message(group("NW", step="S1"), group("NW", step="S2")))
    assert statuses(database) == ["SCHEDULED", "CANCELED"]


def test_cancels_without_an_order_are_forgotten(database: Database) -> None:
    take(database, one("CA"))
    assert thin(Pace(database), CANCELS, AT.timestamp()) == 0
    assert thin(Pace(database), CANCELS, time.time() + 1e9) == 1
    take(database, one("NW"))
    assert statuses(database) == ["SCHEDULED"]


def test_a_cancel_and_its_order_at_once_end_as_cancelled(database: Database) -> None:
    futures = []
    for number in range(8):
        pair = [one("NW", f"P{number}"), one("CA", f"P{number}")]
        futures += [submit(database, raw) for raw in (pair if number % 2 else reversed(pair))]
    wait(futures)
    assert {future.result().code for future in futures} == {"AA"}
    assert statuses(database) == ["CANCELED"] * 8


@pytest.mark.parametrize("time", ["ordered", "sent"])
def test_an_older_change_of_the_same_sender_does_not_overwrite(database: Database, time: str) -> None:
    take(database, one("NW", sent="", modality="CR"))
    take(database, one("XO", modality="MR", **{"sent": "", time: "20260312100000"}))
    outcome = take(database, one("XO", modality="US", **{"sent": "", time: "20260312095959"}))
    assert (outcome.code, warnings(outcome.answer)) == ("AA", ["ORC^1^1:0"])
    assert [step["modality"] for step in database.read(steps).result()] == ["MR"]
    assert log(database)[-1].cause == "late:XO"
    assert database.read(audit).result()[-1] == "order.late"


def test_a_change_to_what_it_was_makes_those_in_between_late(database: Database) -> None:
    take(database, one("NW", ordered="20260312100000"))
    assert take(database, one("XO", ordered="20260312101000")).code == "AA"
    assert warnings(take(database, one("XO", ordered="20260312100500", modality="MR")).answer) == ["ORC^1^1:0"]
    assert [step["modality"] for step in database.read(steps).result()] == ["CR"]


@pytest.mark.parametrize(
    "change",
    [
        {"sender": "OTHER", "ordered": "20260312090000"},  # clocks of two senders cannot be compared
        {"ordered": "202603121000"}, {"ordered": "20260312"}, {"ordered": "2026"},  # may be later
        {"ordered": "20260312100000"}, {"ordered": "20260312100000.5"}, {"ordered": "20260312090000-0100"},
        {"ordered": "", "sent": ""}, {"ordered": "nonsense"},
    ],
)  # fmt: skip
def test_what_may_be_newer_is_written(database: Database, change: dict[str, str]) -> None:
    take(database, one("NW", ordered="20260312100000", sent="20260312100000"))
    assert take(database, one("XO", modality="MR", **{"sent": "20260312100000", **change})).code == "AA"
    assert [step["modality"] for step in database.read(steps).result()] == ["MR"]


def test_an_hour_that_comes_twice_makes_nobody_late(database: Database) -> None:
    take(database, one("NW", ordered="20251026025900"))
    take(database, one("XO", ordered="20251026021000", modality="MR"))
    assert [step["modality"] for step in database.read(steps).result()] == ["MR"]


def test_a_time_in_the_far_future_makes_nobody_late(database: Database) -> None:
    take(database, one("NW", ordered="20360312100000", sent=""))
    take(database, one("XO", ordered="20260312090000", sent="", modality="MR"))
    assert [step["modality"] for step in database.read(steps).result()] == ["MR"]


def test_an_older_cancel_cancels(database: Database) -> None:
    """A cancel overwrites no values: that its time is that of the order must not keep the patient on the list."""
    take(database, one("NW", ordered="20260312100000"))
    take(database, one("CA", ordered="20260312090000"))
    assert statuses(database) == ["CANCELED"]


# --- reopening ---------------------------------------------------------------------------------------------------


def context() -> StoryContext:
    return StoryContext(uuid4(), AT, "UNASSIGNED", actor="user:desk")


@pytest.mark.parametrize("ended", ["COMPLETED", "DISCONTINUED", "CANCELED"])
def test_a_person_reopens_a_step_with_a_reason(database: Database, ended: str) -> None:
    take(database, one("NW"))
    database.submit(set_status, ended).result()
    database.submit(ending.reopen, 1, 1, " wrong patient called ", context()).result()
    assert statuses(database) == ["SCHEDULED"]
    answer = json.loads(str(database.read(steps).result()[0]["answer"]))
    assert answer["ScheduledProcedureStepSequence"][0]["ScheduledProcedureStepStatus"] == "SCHEDULED"
    event = log(database)[-1]
    assert (event.before, event.after, event.cause, event.actor) == (ended, "SCHEDULED", "reopened", "user:desk")
    query = select(tables.audit.c.action, tables.audit.c.actor, tables.audit.c.detail).order_by(
        tables.audit.c.id.desc()
    )
    row = database.read(lambda connection: connection.execute(query).first()).result()
    assert row is not None
    assert (row[0], row[1], json.loads(row[2])["reason"]) == ("order.reopened", "user:desk", "wrong patient called")
    assert take(database, one("CA")).code == "AA"
    assert statuses(database) == ["CANCELED"]


def test_what_is_not_reopened(database: Database) -> None:
    take(database, one("NW"))
    for order, step, reason in ((1, 1, "why"), (9, 1, "why"), (1, 9, "why"), (1, 1, " "), (1, 1, "x" * 1001)):
        with pytest.raises(NotReopened):
            database.submit(ending.reopen, order, step, reason, context()).result()
    assert database.read(audit).result() == ["order.created"]
