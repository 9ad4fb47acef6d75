"""Some time after an MPPS was completed: are the objects that it lists here? On both databases."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Connection, select
from structlog.testing import capture_logs
from support.mpps.mpps import add_mpps
from support.orders.closing import House
from support.orders.intake import audit

from broker.mpps import comparing, deciding
from broker.orders.core.context import StoryContext
from broker.store.db.database import Database
from broker.store.mpps import objects
from broker.store.mpps.objects import ListedObjects
from broker.store.schema import tables

SERIES = "2.999.9.1"


def completed(house: House, images: Sequence[str], number: int = 1, **changes: Any) -> int:
    """An MPPS of the study of an order that lists these objects in one series; its row."""
    document = {
        "PerformedProcedureStepStatus": "COMPLETED",
        "ScheduledStepAttributesSequence": [{"StudyInstanceUID": f"2.999.7.{number}"}],
        "PerformedSeriesSequence": [
            {
                "SeriesInstanceUID": SERIES,
                "ReferencedImageSequence": [{"ReferencedSOPInstanceUID": uid} for uid in images[:-1]],
                "ReferencedNonImageCompositeSOPInstanceSequence": [
                    {"ReferencedSOPInstanceUID": uid} for uid in images[-1:]
                ],
            }
        ],
    }

    def unit(connection: Connection) -> int:
        row = add_mpps(connection, number, status="COMPLETED", at=house.now.timestamp())
        values = {"document": json.dumps(document), **changes}
        connection.execute(tables.mpps.update().where(tables.mpps.c.id == row).values(values))
        return row

    return house.database.submit(unit).result(10)


def state(house: House) -> list[tuple[str, str]]:
    """Attention and findings of each."""
    query = select(tables.mpps.c.attention, tables.mpps.c.findings).order_by(tables.mpps.c.id)
    return [tuple(row) for row in house.database.read(lambda c: c.execute(query).all()).result(10)]


def test_all_objects_are_here(database: Database) -> None:
    house = House(database)
    completed(house, ["1.2.1", "1.2.2"])
    for uid in ("1.2.1", "1.2.2"):
        house.image(uid=uid, series=SERIES)
    assert house.later(hours=2).compare() == 0
    assert state(house) == [("", "[]")]


def test_what_is_missing_is_for_a_person_until_it_comes(database: Database) -> None:
    house = House(database)
    completed(house, ["1.2.1", "1.2.2", "1.2.3"])
    house.image(uid="1.2.1", series=SERIES)
    assert house.later(minutes=59).compare() == 0
    with capture_logs() as logs:
        assert house.later(minutes=1).compare() == 1
    assert [(one["event"], one["state"]) for one in logs] == [("mpps.images", "missing")]
    assert state(house) == [("images-missing", '["images-missing"]')]
    assert house.compare() == 0
    house.image(uid="1.2.2", series=SERIES)
    assert house.later(hours=1).compare() == 0
    house.image(uid="1.2.3", series=SERIES)
    assert house.later(hours=1).compare() == 1
    assert state(house) == [("", '["images-missing"]')]
    assert database.read(audit).result()[-2:] == ["mpps.images-missing", "mpps.images-found"]
    assert house.compare() == 0


def test_more_than_is_listed_is_a_finding(database: Database) -> None:
    house = House(database)
    completed(house, ["1.2.1"])
    for uid, series in (("1.2.1", SERIES), ("1.2.2", SERIES), ("1.2.3", "2.999.9.2")):
        house.image(uid=uid, series=series)
    assert house.later(hours=1).compare() == 0
    assert state(house) == [("", '["images-more"]')]


def test_a_study_that_goes_elsewhere_and_a_list_left_empty_say_nothing(database: Database) -> None:
    house = House(database)
    completed(house, ["1.2.1"])
    completed(house, [], 2)
    house.image(2, uid="1.2.9", series=SERIES)
    assert house.later(hours=1).compare() == 0
    assert state(house) == [("", "[]"), ("", "[]")]


def test_a_person_s_decision_stands(database: Database) -> None:
    house = House(database)
    row = completed(house, ["1.2.1", "1.2.2"])
    house.image(uid="1.2.1", series=SERIES)
    assert house.later(hours=1).compare() == 1
    context = StoryContext(uuid4(), house.now, "NONE", "person")
    database.submit(deciding.set_aside, row, "sent from the console", context).result(10)
    assert house.later(hours=5).compare() == 0
    seen = database.read(comparing.look, row).result(10)
    assert seen is not None
    assert database.submit(comparing.note, row, seen, context).result(10) == ""
    assert state(house)[0][0] == ""


def test_another_reason_to_look_is_not_overwritten(database: Database) -> None:
    house = House(database)
    completed(house, ["1.2.1", "1.2.2"], attention="mismatch")
    house.image(uid="1.2.1", series=SERIES)
    assert house.later(hours=1).compare() == 1
    assert state(house) == [("mismatch", '["images-missing"]')]
    assert house.compare() == 0


def test_never_if_the_site_says_so(database: Database) -> None:
    house = House(database, mpps_compare_after=0)
    completed(house, ["1.2.1", "1.2.2"])
    house.image(uid="1.2.1", series=SERIES)
    assert house.later(hours=50).compare() == 0


@pytest.mark.parametrize("many", [1200])
def test_long_lists(database: Database, many: int) -> None:
    house = House(database)
    completed(house, [f"1.2.{number}" for number in range(many)])
    house.image(uid="1.2.700", series=SERIES)
    found = database.read(objects.count, {f"1.2.{number}" for number in range(many)}, {SERIES}, {"2.999.7.1"}).result(
        10
    )
    assert (found.listed, found.here, found.missing, found.more) == (many, 1, many - 1, 0)


def test_the_writer_does_not_wait_while_objects_are_looked_for(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    house, count = House(database), objects.count
    row = completed(house, ["1.2.1", "1.2.2"])
    house.image(uid="1.2.1", series=SERIES)
    threads = set()

    def counted(connection: Connection, *listed: set[str]) -> ListedObjects:
        threads.add(threading.current_thread().name.rpartition("_")[0])
        return count(connection, *listed)

    monkeypatch.setattr(objects, "count", counted)
    assert house.later(hours=1).compare() == 1
    house.image(uid="1.2.2", series=SERIES)
    assert house.later(hours=1).compare() == 1
    assert threads == {"store-reader"}
    seen = database.read(comparing.look, row).result(10)
    assert seen is not None
    context = StoryContext(uuid4(), house.now, "NONE", "broker")
    changed = replace(seen, revision=seen.revision - 1)  # the MPPS was changed since
    assert database.submit(comparing.note, row, changed, context).result(10) == ""


def test_nothing_is_compared_once_the_broker_stops(database: Database) -> None:
    house = House(database)
    completed(house, ["1.2.1", "1.2.2"])
    house.image(uid="1.2.1", series=SERIES)
    house.stopping.set()
    assert house.later(hours=1).compare() == 0
    assert state(house) == [("", "[]")]
