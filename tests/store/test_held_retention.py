"""Discarded objects are kept for so long and then deleted; who comes too late with an undo is told the truth."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, select, update
from support.delivery.receiving import ReceptionPlace
from support.dicom.objects import Encoded
from support.store.spool import spool_files

from broker.queue import holds
from broker.routing import sweep
from broker.routing.holding import Deciding, Ending
from broker.store.db.database import Database
from broker.store.db.pace import Pace
from broker.store.queued import steering
from broker.store.schema import tables

DAY = 86_400.0
DISCARD = {"rule": [{
    "name": "no phantoms", "when": {"field": "tag.Modality", "value": "CT"}, "action": "discard", "reason": "phantom",
}]}  # fmt: skip


@pytest.fixture
def place(database: Database, tmp_path: Path) -> Iterator[ReceptionPlace]:
    made = ReceptionPlace(database, tmp_path / "broker-data" / "spool")
    yield made
    made.spool.close()


@pytest.fixture
def pace(database: Database) -> Pace:
    return Pace(database, stopping=threading.Event())


def who() -> Deciding:
    return Deciding(actor="anna", at=time.time(), reason="a test image")


def states(place: ReceptionPlace) -> list[str]:
    return [row["state"] for row in place.rows()]


def older(place: ReceptionPlace, row: int, column: str, seconds: float) -> None:
    table = tables.instance

    def change(connection: Connection) -> None:
        connection.execute(update(table).where(table.c.id == row).values({column: table.c[column] - seconds}))

    place.database.execute(change)


def files(place: ReceptionPlace) -> int:
    return len(list(spool_files(place.spool.root)))


def contents(place: ReceptionPlace) -> list[Any]:
    return place.read(select(tables.content.c.instance))


def test_what_was_discarded_long_ago_is_deleted_and_nothing_else(place: ReceptionPlace, pace: Pace) -> None:
    place.take(1)  # held, in a file
    place.in_force(DISCARD, 2)
    place.take(2)
    place.take(3, small=1 << 20)
    place.take(4)
    assert [row["discarded_at"] == row["received_at"] for row in place.rows()] == [False, True, True, True]
    for row in (1, 2, 3):
        older(place, row, "received_at", 40 * DAY)
        older(place, row, "discarded_at", 0 if row == 1 else 40 * DAY)
    assert sweep.purge_discarded(pace, place.spool, 0) == 0  # for ever
    assert sweep.purge_discarded(pace, place.spool, 50) == 0
    assert sweep.purge_discarded(pace, place.spool, 30) == 2
    assert states(place) == ["held", "purged", "purged", "discarded"]
    assert (files(place), contents(place)) == (2, [])
    assert [action for action, _, _ in place.audit()] == ["objects.purged"]
    assert sweep.purge_discarded(pace, place.spool, 30) == 0


def test_the_time_counts_from_the_discard(place: ReceptionPlace, pace: Pace) -> None:
    place.take(1)
    older(place, 1, "received_at", 400 * DAY)
    assert place.work.discard([1], who()) == {Ending.DISCARDED: 1}
    assert sweep.purge_discarded(pace, place.spool, 30) == 0
    assert place.work.undo([1], who()) == {Ending.HELD: 1}
    assert place.rows()[0]["discarded_at"] == 0


def test_an_undo_or_a_route_that_comes_too_late_says_so(place: ReceptionPlace) -> None:
    place.take(1)
    assert place.work.purge([1], who()) == {Ending.CHANGED: 1}  # it is held: first somebody discards it
    assert states(place) == ["held"]
    place.work.discard([1], who())
    assert place.work.purge([1, 99], who()) == {Ending.PURGED: 1, Ending.CHANGED: 1}
    assert (files(place), place.audit()[-1]) == (0, ("objects.purged", 1, {"reason": "a test image"}))
    for act in (place.work.undo, place.work.route, place.work.discard, place.work.purge):
        assert act([1], who()) == {Ending.GONE: 1}
    assert place.work.send([1], ["pacs"], who()) == {Ending.GONE: 1}
    assert place.jobs() == []


@pytest.mark.parametrize("small", [0, 1 << 20])
@pytest.mark.parametrize(
    ("document", "state"),
    [
        ({}, "held"),
        (DISCARD, "discarded"),
        ({"rule": [DISCARD["rule"][0] | {"action": "send", "send": ["pacs"], "reason": ""}]}, "routed"),
    ],
)
def test_what_is_deleted_and_comes_again_is_judged_as_new(
    place: ReceptionPlace, small: int, document: dict[str, Any], state: str
) -> None:
    """A positive answer to it must not rest on bytes that are gone."""
    item: Encoded = place.take(1, small=small)
    place.work.discard([1], who())
    place.work.purge([1], who())
    place.in_force(document, 2)
    place.receive(item, small=small)
    assert states(place) == ["purged", state]
    assert files(place) + len(contents(place)) == 1
    assert len(place.jobs()) == (state == "routed")


def test_what_waits_for_too_long_is_discarded_and_can_be_taken_back(place: ReceptionPlace, pace: Pace) -> None:
    place.take(1)
    place.take(2)
    older(place, 1, "received_at", 100 * DAY)
    assert sweep.discard_held(pace, 0) == 0  # never
    assert sweep.discard_held(pace, 90) == 1
    assert states(place) == ["discarded", "held"]
    assert place.rows()[0]["reason"] == "held-too-long"
    assert place.audit() == [("objects.discarded", 1, {"reason": "held-too-long"})]
    assert sweep.purge_discarded(pace, place.spool, 30) == 0
    assert place.work.undo([1], who()) == {Ending.HELD: 1}


# --- objects with a delivery that was given up ---------------------------------------------------------------

BOTH = {"default": {"action": "send", "send": ["pacs", "cad"]}}


def changed(place: ReceptionPlace, lane: str, **values: Any) -> None:
    table = tables.job
    place.database.execute(lambda c: c.execute(update(table).where(table.c.lane == lane).values(**values)) and None)


def jobs_of(place: ReceptionPlace) -> dict[str, int]:
    return {row["lane"]: row["id"] for row in place.read(select(tables.job.c.lane, tables.job.c.id))}


def test_an_object_with_a_delivery_that_was_given_up_is_kept_as_a_discarded_one(
    place: ReceptionPlace, pace: Pace
) -> None:
    place.in_force(BOTH, 1)
    place.take(1)
    older(place, 1, "received_at", 100 * DAY)
    changed(place, "deliver:cad", state="done", done_at=time.time() - 90 * DAY)
    assert sweep.purge_delivered(pace, place.spool, 7, 30) == 0  # the other one waits
    row = jobs_of(place)["deliver:pacs"]
    assert place.database.execute(steering.give_up, row, steering.DISCARDED_BY_PERSON, time.time() - 20 * DAY)
    assert sweep.purge_delivered(pace, place.spool, 7, 30) == 0
    assert sweep.purge_delivered(pace, place.spool, 7, 0) == 0  # for ever
    assert sweep.purge_delivered(pace, place.spool, 7, 10) == 1
    assert (states(place), files(place)) == (["purged"], 0)


def test_a_held_delivery_that_a_person_discards_is_kept_from_then_on(place: ReceptionPlace, pace: Pace) -> None:
    place.in_force({"default": {"action": "send", "send": ["pacs"]}}, 1)
    place.take(1)
    older(place, 1, "received_at", 100 * DAY)
    changed(place, "deliver:pacs", state="held", last_error="status-C000", due_at=5.0)
    assert place.database.execute(holds.discard, 1, "user:anna", "no need", time.time())
    assert sweep.purge_delivered(pace, place.spool, 7, 30) == 0
    changed(place, "deliver:pacs", due_at=time.time() - 31 * DAY)
    assert sweep.purge_delivered(pace, place.spool, 7, 30) == 1


def test_deliveries_that_are_held_for_too_long_are_given_up(
    place: ReceptionPlace, pace: Pace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "PAGE", 2)
    place.in_force(BOTH, 1)
    for number in range(1, 6):
        place.take(number)
    changed(place, "deliver:pacs", state="held", last_error="status-C000", created_at=time.time() - 100 * DAY)
    changed(place, "deliver:cad", state="held", last_error="status-C000")
    assert sweep.discard_held(pace, 0) == 0  # never
    assert sweep.discard_held(pace, 90) == 5
    assert sweep.discard_held(pace, 90) == 0
    found = place.read(select(tables.job.c.lane, tables.job.c.state, tables.job.c.last_error).distinct())
    assert {tuple(row.values()) for row in found} == {
        ("deliver:pacs", "discarded", "held-too-long"),
        ("deliver:cad", "held", "status-C000"),
    }
    assert place.audit() == [("job.discarded", row, {"reason": "held-too-long"}) for row in place_of_jobs(place)]


def place_of_jobs(place: ReceptionPlace) -> list[int]:
    query = select(tables.job.c.id).where(tables.job.c.lane == "deliver:pacs").order_by(tables.job.c.id)
    return [row["id"] for row in place.read(query)]
