"""The WAL of SQLite is taken over while nobody waits, so that no commit waits for thousands of pages."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest
from sqlalchemy import Connection, text
from support.peers.tools import wait_until

from broker.store.db import checkpoint
from broker.store.db.checkpoint import EVERY, PATIENCE, Checkpointer
from broker.store.db.database import Database

LANE = text("INSERT INTO lane (name, failures, open_until, last_error) VALUES (:name, 0, 0, '')")


def add(connection: Connection, name: str) -> None:
    connection.execute(LANE, {"name": name})


def taken_over(file: Path) -> set[str]:
    """Lanes in the database file itself, without its WAL."""
    connection = sqlite3.connect(f"file:{file}?immutable=1", uri=True)
    try:
        return {name for (name,) in connection.execute("SELECT name FROM lane")}
    finally:
        connection.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "broker.db"
    Database(f"sqlite:///{path}").close()
    return path


def test_what_was_committed_is_soon_in_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "EVERY", 0.0)
    database = Database(f"sqlite:///{file}")
    database.execute(add, "by a thread that waits")
    wait_until(lambda: taken_over(file) == {"by a thread that waits"}, 20, "it is in the file")
    database.submit(add, "by a future").result(20)
    wait_until(lambda: len(taken_over(file)) == 2, 20, "the other one is")
    database.close()


def test_who_waits_for_the_writer_goes_first(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "EVERY", 0.0)
    database = Database(f"sqlite:///{file}")
    held, release, seen = threading.Event(), threading.Event(), list[set[str]]()

    def hold(connection: Connection) -> None:
        add(connection, "first")
        held.set()
        release.wait(20)

    def look(connection: Connection) -> None:
        seen.append(taken_over(file))

    first = database.submit(hold)
    assert held.wait(20)
    second = database.submit(look)  # it waits when the first is committed
    release.set()
    first.result(20)
    second.result(20)
    assert seen == [set()]
    wait_until(lambda: taken_over(file) == {"first"}, 20, "it is in the file")
    database.close()


def test_a_checkpoint_that_fails_harms_nobody(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "EVERY", 0.0)
    tried = threading.Event()

    class Refusing:
        def execute(self, _: str) -> None:
            tried.set()
            raise sqlite3.OperationalError("disk I/O error")

    run = Checkpointer.run
    monkeypatch.setattr(Checkpointer, "run", lambda self, _: run(self, Refusing()))  # type: ignore[arg-type]
    database = Database(f"sqlite:///{file}")
    database.execute(add, "one")
    assert tried.wait(20)
    database.execute(add, "two")
    count = database.read(lambda c: c.execute(text("SELECT count(*) FROM lane")).scalar_one()).result(20)
    assert count == 2
    assert database.writable
    database.close()


def test_checkpoints_are_due_after_some_time_and_only_for_something() -> None:
    now = [0.0]
    connection = sqlite3.connect(":memory:")
    due = Checkpointer(lambda: now[0])
    now[0] = EVERY
    assert not due.due  # nothing was written
    due.committed()
    assert due.due
    due.run(connection)
    due.committed()
    assert not due.due
    now[0] = 2 * EVERY
    assert due.due
    assert not due.pressing
    now[0] += PATIENCE
    assert due.pressing
    connection.close()
