"""Small objects stand in the database: no file, one commit, the same promises."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Connection, delete, select
from support.dicom.objects import Encoded, ct_slice
from support.store.spool import spool_files

from broker.dicom.dimse.message import PeerAE
from broker.errors import BadContent
from broker.model.lane import JobState
from broker.routing import sweep
from broker.routing.reception import IncomingObject, Reception
from broker.routing.rules.parsing import parse_rules
from broker.store import jobs
from broker.store.db.database import Database
from broker.store.db.pace import Pace
from broker.store.images import instances
from broker.store.images.spool import Spool
from broker.store.schema import tables

RULES = parse_rules({"default": {"action": "send", "send": ["pacs"]}}, {"pacs"})
LIMIT = 4096


@pytest.fixture
def opened(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    yield database
    database.close()


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    made = Spool(tmp_path / "spool")
    yield made
    made.close()


@pytest.fixture
def reception(opened: Database, spool: Spool) -> Reception:
    def empty(connection: Connection) -> None:
        for table in (tables.job, tables.content, tables.instance):
            connection.execute(delete(table))

    opened.execute(empty)
    return Reception(opened, spool, lambda: RULES, ZoneInfo("UTC"), lambda: None, small=LIMIT)


def arrival(item: Encoded) -> IncomingObject:
    return IncomingObject(item.sop_class, item.sop_instance, item.transfer_syntax, PeerAE("CT", "BROKER", "127.0.0.1"))


def contents(database: Database) -> list[bytes]:
    query = select(tables.content.c.data).order_by(tables.content.c.instance)
    return [bytes(row[0]) for row in database.read(lambda c: c.execute(query).all()).result(10)]


def only(database: Database) -> instances.StoredObject:
    rows = database.read(lambda c: c.execute(select(tables.instance.c.id)).scalars().all()).result(10)
    return database.read(instances.stored, list(rows)).result(10)[rows[0]]


def test_the_limit_decides_between_database_and_file(opened: Database, reception: Reception, spool: Spool) -> None:
    overhead = len(ct_slice(0).data)
    exactly = ct_slice(LIMIT - overhead)
    assert len(exactly.data) == LIMIT
    assert reception.whole(arrival(exactly), exactly.data) == "new"
    stored = only(opened)
    assert (stored.path, stored.data_offset, stored.data_length) == ("", 0, LIMIT)
    assert stored.content is not None
    assert bytes(stored.content) == exactly.data
    assert not spool_files(spool.root)
    larger = ct_slice(LIMIT + 2 - overhead)
    assert reception.whole(arrival(larger), larger.data) == "new"
    assert len(spool_files(spool.root)) == 1
    assert contents(opened) == [exactly.data]


def test_the_same_bytes_again_and_other_bytes(opened: Database, reception: Reception) -> None:
    item = ct_slice(100)
    assert [reception.whole(arrival(item), item.data) for _ in range(2)] == ["new", "duplicate"]
    other = item.data[:-1] + bytes([item.data[-1] ^ 1])
    assert reception.whole(arrival(item), other) == "version"
    assert contents(opened) == [item.data, other]


def test_a_refused_object_leaves_nothing(opened: Database, reception: Reception) -> None:
    item = ct_slice(100)
    for data in (item.data[:-7], b""):
        with pytest.raises(BadContent):
            reception.whole(arrival(item), data)
    assert contents(opened) == []


def test_a_lost_file_is_mended_by_a_small_object_too(opened: Database, spool: Spool, reception: Reception) -> None:
    """The limit was raised between the two arrivals."""
    item = ct_slice(100)
    by_file = Reception(opened, spool, lambda: RULES, ZoneInfo("UTC"), lambda: None, small=0)
    assert by_file.whole(arrival(item), item.data) == "new"
    spool.remove(only(opened).path)
    assert reception.whole(arrival(item), item.data) == "repaired"
    assert (only(opened).path, contents(opened)) == ("", [item.data])


def test_delivered_content_is_purged_and_comes_again_as_new(
    opened: Database, spool: Spool, reception: Reception
) -> None:
    item = ct_slice(100)
    reception.whole(arrival(item), item.data)
    (job,) = opened.execute(jobs.claim, "deliver:pacs", "me", time.time(), 60.0, 10)
    assert opened.execute(jobs.finish, job, JobState.DONE, time.time() - 10)
    assert sweep.purge_delivered(Pace(opened), spool, 0) == 1
    assert contents(opened) == []
    assert reception.whole(arrival(item), item.data) == "duplicate"  # its destination has had these bytes
