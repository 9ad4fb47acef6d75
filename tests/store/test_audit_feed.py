"""The audit trail is handed to the queue, each row once for each repository, on both databases."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import Connection, text
from support.queue.lanes import Queue

from broker.audit import feeding
from broker.audit.feeding import AuditFeeder
from broker.store.audit.adding import add_audit
from broker.store.db.database import Database

LANE = "audit:arr"


def begun(database: Database) -> AuditFeeder:
    """A feeder that knows the repository: it hands over what comes from now on."""
    feeder = AuditFeeder(database)
    assert not feeder.feed(["arr"])
    return feeder


def add(database: Database, *numbers: int) -> None:
    def write(connection: Connection) -> None:
        for number in numbers:
            add_audit(connection, float(number), "cli:anna", "order.viewed", "order", number, {})

    database.execute(write)


def runs(database: Database) -> list[tuple[int, int]]:
    """The jobs: behind which row each begins, and its last row."""
    return [(json.loads(row["detail"])["after"], row["subject"]) for row in Queue(database).rows(LANE)]


def test_a_new_repository_begins_with_what_comes(database: Database) -> None:
    trail = begun(database)
    add(database, *range(3))
    assert trail.feed(["arr", "second"])
    add(database, 7)
    assert trail.feed(["arr", "second"])
    assert runs(database) == [(0, 3), (3, 4)]
    assert [row["subject"] for row in Queue(database).rows("audit:second")] == [4]


def test_two_feeders_hand_over_once(database: Database) -> None:
    trail = begun(database)
    add(database, *range(5))
    other = AuditFeeder(database)
    assert trail.feed(["arr"])
    assert not other.feed(["arr"])
    assert runs(database) == [(0, 5)]


def test_a_row_that_appears_late_is_waited_for(database: Database) -> None:
    """Its number was given before; when its transaction is undone, it never comes."""
    if database.dialect == "sqlite":
        pytest.skip("SQLite numbers rows in the order of their commits")
    now = [0.0]
    begun(database)
    feeder = AuditFeeder(database, lambda: now[0])
    add(database, 1)

    def burn(connection: Connection) -> None:
        connection.execute(text("SELECT nextval(pg_get_serial_sequence('audit', 'id'))"))

    database.execute(burn)
    add(database, 3)
    assert feeder.feed(["arr"])
    assert runs(database) == [(0, 1)]
    now[0] = feeding.GRACE - 1
    assert not feeder.feed(["arr"])

    def late(connection: Connection) -> None:
        connection.execute(
            text(
                "INSERT INTO audit (id, at, actor, action, object_kind, object_id, detail)"
                " VALUES (2, 2, 'a', 'order.viewed', 'order', 2, '{}')"
            )
        )

    database.execute(late)
    assert feeder.feed(["arr"])
    assert runs(database) == [(0, 1), (1, 3)]
    database.execute(burn)
    add(database, 5)
    assert not feeder.feed(["arr"])
    now[0] += feeding.GRACE + 1
    assert feeder.feed(["arr"])
    assert runs(database)[-1] == (3, 5)


def test_one_look_hands_over_so_much_and_no_more(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeding, "RUN", 4)
    monkeypatch.setattr(feeding, "RUNS", 2)
    trail = begun(database)
    add(database, *range(18))
    assert trail.feed(["arr"])
    assert runs(database) == [(0, 4), (4, 8)]
    assert trail.feed(["arr"])
    assert trail.feed(["arr"])
    assert runs(database)[-1] == (16, 18)
