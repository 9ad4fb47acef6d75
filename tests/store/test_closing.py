"""Steps end whose devices do not say so: by images, by time, by nobody coming. On both databases."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Connection, event, select
from structlog.testing import capture_logs
from support.mpps.mpps import add_mpps
from support.orders.appointments import siu
from support.orders.closing import House, device
from support.orders.intake import AT, audit, log, steps, take
from support.service.site import order

from broker.model.order import EntityId
from broker.mpps import overdue
from broker.orders.core.context import StoryContext
from broker.orders.core.identifiers import Minter
from broker.orders.core.values import OrderKeys
from broker.orders.inbound.results import ResultChange
from broker.orders.stories import ending, resulting
from broker.store.db.database import Database
from broker.store.mpps import objects, passing
from broker.store.mpps import overdue as silent
from broker.store.orders import closing as store
from broker.store.schema import tables

IMAGES = {"by": ["images"], "images_quiet": 900, "images_minimum": 2}


def statuses(house: House) -> list[str]:
    return [str(step["status"]) for step in house.database.read(steps).result()]


def starts(house: House) -> list[str]:
    return [str(step["start_at"]) for step in house.database.read(steps).result()]


def causes(house: House, step: int = 1) -> list[tuple[str, str]]:
    return [(one.after, one.cause) for one in log(house.database, step)][1:]


def told(house: House) -> list[str]:
    """What the RIS is told, in its order (ORC-5)."""
    job = tables.job.c
    query = select(job.detail).where(job.kind == "feedback").order_by(job.id)
    rows = house.database.read(lambda c: c.execute(query).scalars().all()).result()
    return [json.loads(row).get("status", "") for row in rows]


def test_images_start_a_step_and_their_end_completes_it(database: Database) -> None:
    house = House(database, device(**IMAGES))
    house.place()
    house.place(2, station="MR01")  # of another device
    house.later(minutes=5)
    house.image()
    assert house.close() == 0
    house.image(after=60)
    house.image(2)
    house.later(minutes=2)
    assert house.close() == 1
    assert statuses(house) == ["STARTED", "SCHEDULED"]
    house.later(minutes=10)
    house.image()
    assert house.later(minutes=14).close() == 0
    assert house.later(minutes=1).close() == 1
    assert house.close() == 0
    assert statuses(house) == ["COMPLETED", "SCHEDULED"]
    assert causes(house) == [("STARTED", "images"), ("COMPLETED", "images")]
    assert told(house) == ["IP", "CM"]
    assert house.woken == 2
    assert database.read(audit).result()[-2:] == ["step.images", "step.images"]


def test_images_of_a_study_with_several_steps_count_where_they_can_be_of_no_other(database: Database) -> None:
    raw = order(1, start="20260312080000").encode()
    again = raw.replace(b"SPS1|CT", b"SPS2|MR").replace(b"|CT01\r", b"|MR01\r").split(b"\r")[-2]
    house = House(database, device(**IMAGES), device("MR01", **IMAGES), device("MR02", **IMAGES))
    assert take(database, raw + again + b"\r").code == "AA"
    for _ in range(2):
        house.image(after=60)
        house.image(calling="GATEWAY", after=60)
    house.later(minutes=2)
    assert house.close() == 1
    assert statuses(house) == ["STARTED", "SCHEDULED"]

    both = raw.replace(b"A1|", b"A2|").replace(b"RP1|2.999.7.1|", b"RP2|2.999.7.2|").replace(b"I1^", b"I2^")
    both = both.replace(b"L1^", b"L2^").replace(b"M000001NW", b"M000002NW")
    second = both.split(b"\r")[-2].replace(b"SPS1", b"SPS9")
    assert take(database, both + second + b"\r").code == "AA"  # two steps of one study on one device
    for _ in range(2):
        house.image(2, after=60)
    house.later(minutes=30)
    house.close()
    assert statuses(house) == ["COMPLETED", "SCHEDULED", "SCHEDULED", "SCHEDULED"]


def test_a_reopened_step_is_not_ended_by_the_images_it_had(database: Database) -> None:
    house = House(database, device(**IMAGES))
    house.place()
    house.image(after=1)
    house.image(after=1)
    assert house.later(hours=1).close() == 1
    assert statuses(house) == ["COMPLETED"]
    context = StoryContext(uuid4(), house.now, "NONE", "test")
    database.submit(ending.reopen, 1, 1, "to be repeated", context).result()
    assert house.later(hours=1).close() == 0
    assert statuses(house) == ["SCHEDULED"]
    for _ in range(2):
        house.image()
    assert house.later(minutes=1).close() == 1
    assert statuses(house) == ["STARTED"]


def test_a_device_at_work_by_its_own_word_is_left_alone(database: Database) -> None:
    house = House(database, device(by=["images", "time"], after=1, images_quiet=60))
    house.place()
    database.submit(add_mpps).result()
    house.performs(1, 1)
    house.image(after=1)
    assert house.later(days=2).close() == 0
    assert statuses(house) == ["SCHEDULED"]


@pytest.mark.parametrize(
    ("rules", "arrives", "status", "cause", "orc"),
    [
        ({"by": ["time"], "after": 4}, False, "COMPLETED", "time", "CM"),
        ({"by": ["time"], "after": 4, "unseen": "no-show"}, False, "DISCONTINUED", "no-show", "DC"),
        ({"by": ["time"], "after": 4, "unseen": "no-show"}, True, "COMPLETED", "time", "CM"),
        ({"no_show_after": 4}, False, "DISCONTINUED", "no-show", "DC"),
    ],
)
def test_time(database: Database, rules: dict[str, Any], arrives: bool, status: str, cause: str, orc: str) -> None:
    house = House(database, device(**rules))
    house.place()
    if arrives:
        house.image(calling="GATEWAY", after=1)
    house.place(2, start="20260312110000")
    house.place(3, station="MR01")
    assert house.later(hours=3, minutes=59).close() == 0
    assert house.later(minutes=1).close() == 1
    assert statuses(house) == [status, "SCHEDULED", "SCHEDULED"]
    assert causes(house) == [(status, cause)]
    assert told(house) == [orc]


def test_who_did_not_come_can_be_given_a_new_time_or_be_reopened_but_no_order_message_does_it(
    database: Database,
) -> None:
    house = House(database, no_show_after=4)
    house.place()
    assert house.later(hours=4).close() == 1
    house.say(1, "XO", start="20260313080000")
    assert statuses(house) == ["DISCONTINUED"]
    raw = siu(
        "S13", placer="PL1^RIS", filler="FI1^RIS", pid="QZPAT1^^^HOSPITAL", sch_11="^^^20260314090000",
        groups=["AIS|1||THX|20260314090000"],
    )  # fmt: skip
    assert take(database, raw).code == "AA"
    assert statuses(house) == ["SCHEDULED"]
    assert starts(house) == ["20260314090000"]


def test_what_is_long_over_leaves_the_worklist_until_it_has_a_new_start(database: Database) -> None:
    house = House(database, device("US01", expire_after=0), expire_after=24)
    house.place()
    house.place(2, station="US01")
    house.place(3)
    house.say(3, "HD")
    assert house.later(hours=23).close() == 0
    assert house.later(hours=1).close() == 1
    assert house.close() == 0
    assert statuses(house) == ["SCHEDULED"] * 3
    assert starts(house) == ["", "20260312080000", "20260312080000"]
    assert causes(house) == [("SCHEDULED", "expired")]
    assert told(house) == []  # it is still to be done
    house.say(1, "XO", start="20260315100000")
    assert starts(house)[0] == "20260315100000"
    assert house.close() == 0


def test_what_a_message_ended_meanwhile_stays_as_the_message_said(database: Database) -> None:
    house = House(database, no_show_after=1)
    house.place()
    house.later(hours=2)
    found = house.walk.closings
    context = StoryContext(uuid4(), house.now, "NONE", "broker")
    assert database.read(ending.plan, 1, found, context).result()
    house.say(1, "CA")
    assert database.submit(ending.end, 1, found, context).result() == {}
    assert statuses(house) == ["CANCELED"]
    assert database.submit(ending.end, 77, found, context).result() == {}  # no such order


def test_one_order_that_cannot_be_handled_does_not_keep_the_others(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = House(database, no_show_after=1)
    for number in (1, 2, 3):
        house.place(number)
    end = ending.end

    def broken(connection: Connection, order: int, *more: Any) -> Any:
        if order == 2:
            raise ValueError("Müller")
        return end(connection, order, *more)

    monkeypatch.setattr(ending, "end", broken)
    monkeypatch.setattr("broker.orders.step_walk.PAGE", 2)
    with capture_logs() as lines:
        assert house.later(hours=2).close() == 2
    assert statuses(house) == ["DISCONTINUED", "SCHEDULED", "DISCONTINUED"]
    assert [line["event"] for line in lines].count("closing.failed") == 1
    assert "Müller" not in str(lines)


def test_a_result_ends_no_step_of_a_device_that_forbids_it(database: Database) -> None:
    house = House(database, device(by=["images"]))
    house.place()
    keys = OrderKeys(EntityId("PL1", "RIS"), EntityId("FI1", "RIS"))
    change = ResultChange("F", True, keys, "", "", "", "", None, "OBR^1", "OBR^1^2")

    def taken(connection: Connection, without: frozenset[str]) -> tuple[str, list[str]]:
        context = StoryContext(uuid4(), AT, "NONE", without_results=without)
        planned = resulting.story(connection, change, context, Minter(context.token))
        (entry,) = planned.write(connection, context)
        return entry.action, [finding.text for finding in planned.findings]

    spared = database.submit(taken, house.walk.closings.without_results()).result()
    assert spared == ("result.recorded", ["Results end no step of this device: recorded without effect"])
    assert statuses(house) == ["SCHEDULED"]
    assert database.submit(taken, frozenset()).result() == ("result.completed", [])
    assert statuses(house) == ["COMPLETED"]


# --- performed procedure steps that stay in progress -----------------------------------------------------


def performed(house: House) -> list[tuple[Any, ...]]:
    m = tables.mpps.c
    query = select(m.status, m.findings, m.revision, m.ended_at).order_by(m.id)
    return [tuple(row) for row in house.database.read(lambda c: c.execute(query).all()).result()]


def in_progress(house: House, *, others: tuple[str, ...] = ()) -> None:
    """A step that an MPPS has started, and further MPPS of it."""
    house.place()
    house.say(1, "SC", "IP")
    for number, status in enumerate(("IN PROGRESS", *others), 1):
        row = house.database.submit(add_mpps, number, at=house.now.timestamp()).result()
        house.performs(row, 1, status)


def test_an_mpps_that_stays_in_progress_is_noted_once_for_a_person(database: Database) -> None:
    house = House(database)
    in_progress(house)
    assert house.later(hours=23, minutes=59).overdue() == 0
    assert house.later(minutes=1).overdue() == 1
    assert house.overdue() == 0
    assert performed(house) == [("IN PROGRESS", '["overdue"]', 1, None)]
    assert statuses(house) == ["STARTED"]
    assert database.read(audit).result()[-1] == "mpps.overdue"


@pytest.mark.parametrize(
    ("image", "others", "status"),
    [
        (False, (), "DISCONTINUED"),
        (True, (), "COMPLETED"),
        (False, ("COMPLETED",), "COMPLETED"),
        (True, ("IN PROGRESS",), "STARTED"),
    ],
)
def test_an_mpps_that_stays_in_progress_is_ended_if_the_rules_say_so(
    database: Database, image: bool, others: tuple[str, ...], status: str
) -> None:
    subscriber = {
        "name": "board", "kind": "dicom", "ae_title": "BOARD", "host": "h", "port": 1, "roles": ["mpps-notification"],
    }  # fmt: skip
    house = House(database, device(mpps_after=2, mpps_overdue="discontinue"), subscriber, mpps_after=0)
    in_progress(house, others=others)
    if image:
        house.image(after=60)
    if "IN PROGRESS" in others:  # of which something was heard lately
        with_sign = tables.mpps.update().where(tables.mpps.c.id == 2).values(updated_at=AT.timestamp() + 7000)
        database.submit(lambda c: c.execute(with_sign) and None).result()
    assert house.later(hours=1, minutes=59).overdue() == 0
    assert house.later(minutes=1).overdue() == 1
    assert house.overdue() == 0
    assert performed(house)[0] == ("DISCONTINUED", '["overdue"]', 2, house.now.timestamp())
    assert statuses(house) == [status]
    job = tables.job.c
    query = select(job.lane, job.detail).where(job.kind.startswith("mpps"))
    assert database.read(lambda c: c.execute(query).all()).result() == [("mpps-event:board", '{"mpps":1,"event":3}')]
    assert told(house) == ({"DISCONTINUED": ["DC"], "COMPLETED": ["CM"]}.get(status, []))


def test_an_mpps_that_was_heard_of_meanwhile_is_left_alone(database: Database) -> None:
    house = House(database)
    in_progress(house)
    context = StoryContext(uuid4(), house.now, "NONE", "broker")
    before = house.now.timestamp() - 1
    assert database.submit(overdue.note, 1, before, context).result() is False
    assert database.submit(overdue.discontinue, 1, before, (), context).result() is False
    assert performed(house) == [("IN PROGRESS", "[]", 1, None)]
    assert statuses(house) == ["STARTED"]


def test_no_look_reads_a_whole_table(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'broker.db'}")
    seen: list[tuple[str, Any]] = []

    def look(connection: Connection) -> list[str]:
        def note(_: Any, __: Any, text: str, values: Any, *___: Any) -> None:
            seen.append((text, values))

        event.listen(connection, "before_cursor_execute", note)
        store.by_start(connection, "SCHEDULED", "2030", ["CT01", "CT02"], ("", 0), 5)
        store.by_start(connection, "SCHEDULED", "2030", None, ("", 0), 5)
        store.with_images(connection, "CT01", ("SCHEDULED", "STARTED"), "2030", ("", 0), 5)
        store.traces(connection, 1, ("SCHEDULED",))
        silent.silent(connection, 1.0, 0, 5)
        silent.steps_of(connection, 1)
        passing.messages(connection, [1, 2])
        passing.creation(connection, 1)
        objects.to_compare(connection, 1.0, (0.0, 0), 5)
        objects.lacking(connection, (0.0, 0), 5)
        objects.count(connection, {"1.2"}, {"1.3"}, {"1.4"})
        event.remove(connection, "before_cursor_execute", note)
        plans = [connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", values).all() for text, values in seen]
        return [row[3] for plan in plans for row in plan]

    found = database.read(look).result()
    database.close()
    assert len(seen) == 15
    assert [line for line in found if line.startswith("SCAN")] == []
