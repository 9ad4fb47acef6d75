"""What a RIS is to be told stands in the queue in the transaction that makes it true, on both databases."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Connection, select, update
from support.dicom.objects import ct_slice
from support.orders.intake import received
from support.service.site import order

from broker.dicom.dimse.message import PeerAE
from broker.model.lane import JobState
from broker.orders.core.context import StoryContext
from broker.orders.inbound import reception
from broker.orders.inbound.reception import Interface
from broker.orders.mapping.book import built_in
from broker.orders.stories import intake, writing
from broker.orders.stories.writing import Changed
from broker.queue import holds
from broker.routing.arrivals.news import News
from broker.routing.reception import IncomingObject, Reception
from broker.routing.rules.parsing import parse_rules
from broker.site.nodes import Node, parse_nodes
from broker.store import jobs
from broker.store.db.database import Database
from broker.store.holds import held_jobs
from broker.store.holds.held_jobs import HeldFilter
from broker.store.images.spool import Spool
from broker.store.schema import tables

ZONE = ZoneInfo("Europe/Zurich")
NOW = datetime(2026, 3, 12, 8, tzinfo=ZONE)
EVERYTHING = [
    "arrived", "started", "partial", "completed", "discontinued", "cancelled", "reopened", "images",
]  # fmt: skip


def ris(name: str = "ris", application: str = "RIS", **feedback: Any) -> Node:
    table = {"name": name, "kind": "hl7", "application": application, "host": "h", "port": 1, "roles": ["ris"]}
    return parse_nodes([table | {"feedback": {"events": EVERYTHING} | feedback}])[0]


class House:
    """Orders, a spool and nodes that listen."""

    def __init__(self, database: Database, folder: Path, *nodes: Node) -> None:
        self.database, self.nodes = database, nodes
        self.spool = Spool(folder / "spool")

    def context(self, **more: Any) -> StoryContext:
        return StoryContext(uuid4(), NOW, "UNASSIGNED", subscribers=self.nodes, **more)

    def say(self, message: str) -> str:
        """A message through intake; MSA-1."""
        raw = message.encode()
        examined = reception.examine(raw, Interface(name="test"), lambda _: built_in(), ZONE)
        assert examined is not None
        header = examined.header
        done = self.database.submit(intake.take, received(raw, header), header, examined.conversion, self.context())
        return str(done.result(20).code)

    def change(self, *statuses: str, **more: Any) -> None:
        """The steps of the only order get these statuses, by something that is no message."""

        def unit(connection: Connection) -> None:
            step = tables.scheduled_step.c
            rows = connection.execute(select(step.id, step.status).order_by(step.id)).all()
            changed = [Changed(row, old, new) for (row, old), new in zip(rows, statuses, strict=True) if old != new]
            for change in changed:
                connection.execute(update(tables.scheduled_step).where(step.id == change.step).values(
                    status=change.after
                ))  # fmt: skip
            writing.record(connection, 1, changed, "test", self.context(**more))

        self.database.submit(unit).result(20)

    def receive(self, at: Reception | None = None, **attributes: str) -> str:
        thing = ct_slice(64, **attributes)
        arrival = IncomingObject(
            thing.sop_class, thing.sop_instance, thing.transfer_syntax, PeerAE("CT", "BROKER", "10.0.0.9")
        )
        return (at or self.reception()).whole(arrival, thing.data)

    def reception(self) -> Reception:
        rules = parse_rules({"default": {"action": "hold"}}, set(), 1)
        return Reception(self.database, self.spool, lambda: rules, ZONE, lambda: None, subscribers=lambda: self.nodes)

    def told(self, node: str = "ris") -> list[str]:
        """Event and ORC-5 of everything that is to be told to a node, in the order of the queue."""
        return [f"{job['event']} {job['status']}" for job in self.details(node)]

    def details(self, node: str = "ris") -> list[dict[str, Any]]:
        def query(connection: Connection) -> list[str]:
            job = tables.job.c
            found = select(job.detail).where(job.lane == f"feedback:{node}").order_by(job.id)
            return list(connection.execute(found).scalars())

        return [json.loads(text) for text in self.database.read(query).result(20)]


@pytest.fixture
def house(database: Database, tmp_path: Path) -> Iterator[House]:
    made = House(database, tmp_path, ris())
    yield made
    made.spool.close()


def two_steps(number: int = 1, **more: Any) -> str:
    first = order(number, **more)
    ipc = next(line for line in first.split("\r") if line.startswith("IPC"))
    return first + ipc.replace(f"SPS{number}", f"SPS{number}B") + "\r"


def from_other(message: str, application: str = "MPPS") -> str:
    return message.replace("|RIS|HOSPITAL|", f"|{application}|HOSPITAL|", 1)


def test_a_new_order_is_no_news(house: House) -> None:
    assert house.say(order(1)) == "AA"
    assert house.told() == []


def test_the_whole_way_of_an_order(house: House) -> None:
    house.say(order(1))
    for status in ("ARRIVED", "READY", "STARTED", "SCHEDULED", "STARTED", "COMPLETED"):
        house.change(status)
    assert house.told() == ["arrived SC", "started IP", "reopened SC", "started IP", "completed CM"]
    details = house.details()
    assert len({detail["control_id"] for detail in details}) == 5
    assert all(detail["order"] == 1 and detail["at"] == NOW.timestamp() for detail in details)


def test_steps_that_change_together_are_one_event(house: House) -> None:
    house.say(two_steps())
    house.change("STARTED", "STARTED")
    house.change("COMPLETED", "DISCONTINUED")
    assert house.told() == ["started IP", "completed CM"]


def test_a_message_about_all_steps_is_one_event(house: House) -> None:
    house.say(two_steps())
    assert house.say(from_other(two_steps(control="CA", status="CA"))) == "AA"
    assert house.told() == ["cancelled CA"]
    assert house.details()[0]["ended"] is None


def test_steps_one_after_the_other(house: House) -> None:
    house.say(two_steps())
    for statuses in (("STARTED", "SCHEDULED"), ("COMPLETED", "SCHEDULED"), ("COMPLETED", "STARTED")):
        house.change(*statuses)
    house.change("COMPLETED", "COMPLETED")
    assert house.told() == ["started IP", "partial A", "started IP", "completed CM"]


def test_times_of_work(house: House) -> None:
    house.say(order(1))
    house.change("STARTED")
    house.change("COMPLETED")
    began, completed = house.details()
    assert (began["began"], began["ended"]) == (NOW.timestamp(), None)
    assert (completed["began"], completed["ended"]) == (NOW.timestamp(), NOW.timestamp())


def test_a_ris_does_not_hear_its_own_words(house: House) -> None:
    house.say(order(1))
    house.say(order(1, control="SC", status="IP"))
    assert house.told() == []
    house.say(from_other(order(1, control="SC", status="CM", control_id="X")))
    assert house.told() == ["completed CM"]


def test_each_node_by_its_own_wishes(database: Database, tmp_path: Path) -> None:
    house = House(
        database, tmp_path, ris("all"), ris("echo", echo=True), ris("other", senders=["KIS"]),
        ris("mine", senders=["RIS|HOSPITAL"]), ris("end", application="KIS", events=["completed"]),
    )  # fmt: skip
    house.say(order(1))
    house.say(order(1, control="SC", status="IP"))
    house.say(from_other(order(1, control="SC", status="CM", control_id="X")))
    assert {node: house.told(node) for node in ("all", "echo", "other", "mine", "end")} == {
        "all": ["completed CM"], "echo": ["started IP", "completed CM"], "other": [], "mine": ["completed CM"],
        "end": ["completed CM"],
    }  # fmt: skip
    house.spool.close()


def test_what_is_undone_is_not_told(house: House) -> None:
    house.say(order(1))

    def unit(connection: Connection) -> None:
        connection.execute(update(tables.scheduled_step).values(status="STARTED"))
        writing.record(connection, 1, [Changed(1, "SCHEDULED", "STARTED")], "test", house.context())
        raise ValueError

    with pytest.raises(ValueError):
        house.database.submit(unit).result(20)
    assert house.told() == []


def test_images_are_told_once_per_study(house: House) -> None:
    house.say(order(1))
    house.say(order(2))
    for _ in range(3):
        assert house.receive() == "new"
    house.receive(StudyInstanceUID="2.999.7.2")
    assert house.told() == ["images SC", "images SC"]
    assert [detail["order"] for detail in house.details()] == [1, 2]


def test_images_at_once_are_told_once(house: House) -> None:
    house.say(order(1))
    receptions = [house.reception() for _ in range(4)]  # as many processes

    with ThreadPoolExecutor(8) as threads:
        outcomes = list(threads.map(lambda n: house.receive(receptions[n % 4]), range(16)))
    assert outcomes == ["new"] * 16
    assert house.told() == ["images SC"]


def test_images_of_a_study_nobody_ordered(house: House) -> None:
    reception = house.reception()
    house.receive(reception)
    house.say(order(1))
    house.receive(reception)
    assert house.told() == ["images SC"]


def test_images_say_where_the_order_is(house: House) -> None:
    house.say(order(1))
    house.change("STARTED")
    house.receive()
    assert house.told() == ["started IP", "images IP"]


def test_nobody_who_wants_images_costs_no_question() -> None:
    assert News(lambda: (ris(events=["completed"]),)).of("2.999.7.1", 1.0) is None
    assert News(lambda: (ris(events=["images"]),)).of("2.999.7.1", 1.0) is not None


# --- the queue: in order per order, and what a person does ------------------------------------------------


def claim(database: Database) -> list[jobs.Job]:
    return database.submit(jobs.claim, "feedback:ris", "host:1", NOW.timestamp() + 1, 60.0, 64).result(20)


def hold(database: Database, job: jobs.Job) -> None:
    assert database.submit(jobs.finish, job, JobState.HELD, 1.0, "AR-207").result(20)


def audit(connection: Connection) -> list[tuple[str, str, int, str]]:
    table = tables.audit.c
    found = connection.execute(
        select(table.actor, table.action, table.object_id, table.detail).where(table.object_kind == "job")
    )
    return [tuple(row) for row in found]


def test_a_held_message_keeps_back_its_order_and_no_other(house: House) -> None:
    house.say(order(1))
    house.say(order(2))
    for number in (1, 2):
        for status in ("IP", "CM"):
            house.say(from_other(order(number, control="SC", status=status, control_id=f"{number}{status}")))
    first, other = claim(house.database)
    assert (first.detail["order"], first.detail["status"]) == (1, "IP")
    assert (other.detail["order"], other.detail["status"]) == (2, "IP")
    hold(house.database, first)
    house.database.submit(jobs.finish, other, JobState.DONE, 1.0).result(20)
    (then,) = claim(house.database)
    assert (then.detail["order"], then.detail["status"]) == (2, "CM")
    assert claim(house.database) == []


@pytest.mark.parametrize(("decision", "next_status"), [("release", "IP"), ("discard", "CM")])
def test_a_person_ends_a_hold(house: House, decision: str, next_status: str) -> None:
    house.say(order(1))
    house.change("STARTED")
    house.change("COMPLETED")
    (job,) = claim(house.database)
    hold(house.database, job)
    (held,) = house.database.read(held_jobs.find, HeldFilter(lane="feedback:ris"), 0, 100).result(20)
    assert (held.id, held.error, held.detail) == (job.id, "AR-207", job.detail)
    assert house.database.read(held_jobs.find, HeldFilter(lane="feedback:other"), 0, 100).result(20) == []
    at = NOW.timestamp()
    if decision == "release":
        ended, entry = house.database.submit(holds.release, job.id, "cli:anna", at), ("job.released", "{}")
    else:
        ended = house.database.submit(holds.discard, job.id, "cli:anna", "told by telephone", at)
        entry = ("job.discarded", '{"reason":"told by telephone"}')
    assert ended.result(20)
    assert house.database.read(audit).result(20) == [("cli:anna", entry[0], job.id, entry[1])]
    (following,) = claim(house.database)
    assert following.detail["status"] == next_status
    if decision == "release":
        assert following.detail["control_id"] == job.detail["control_id"]
        assert following.failures == 0


def test_only_what_is_held_is_released(house: House) -> None:
    house.say(order(1))
    house.change("STARTED")
    assert not house.database.submit(holds.release, 1, "a", 1.0).result(20)
    assert not house.database.submit(holds.discard, 1, "a", "b", 1.0).result(20)
    assert house.database.read(audit).result(20) == []
