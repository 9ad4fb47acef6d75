"""Nobody waits for ever for the database: what is bounded from our side, on both kinds."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager

import psycopg
import pytest
from sqlalchemy import Connection, text

from broker.errors import StoreUnavailable
from broker.store.db import deadlines
from broker.store.db.database import Database
from broker.store.db.deadlines import NoAnswer, OneAsks, Watchdog, limited, unhurried

FAR = 60  # seconds that no test may take


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """The promise in a tenth of its time."""
    monkeypatch.setattr(deadlines, "WRITE", 0.5)
    monkeypatch.setattr(deadlines, "WATCH", 1.0)


@contextmanager
def stuck(database: Database) -> Iterator[threading.Event]:
    """All threads that write are inside of units that do not end; the event lets them go."""
    go, entered = threading.Event(), threading.Semaphore(0)

    def hold(connection: Connection) -> str:
        entered.release()
        assert go.wait(FAR)
        return "late"

    count = 1 if database.dialect == "sqlite" else 8
    held = [database.submit(hold) for _ in range(count)]
    for _ in held:
        assert entered.acquire(timeout=FAR)
    try:
        yield go
        for future in held:
            with pytest.raises(StoreUnavailable):  # answered already: the late commit changes nothing of that
                future.result(FAR)
    finally:
        go.set()


@pytest.mark.usefixtures("short")
def test_a_write_behind_one_that_is_stuck_is_answered_and_not_done_later(database: Database) -> None:
    ran: list[int] = []
    with stuck(database) as go:
        future = database.submit(lambda connection: ran.append(1))
        with pytest.raises(StoreUnavailable, match="does not answer"):
            future.result(FAR)
        assert not go.is_set()
        if database.dialect == "sqlite":  # on PostgreSQL a waiting thread has a connection of its own
            with pytest.raises(StoreUnavailable, match="does not answer"):
                database.execute(lambda connection: ran.append(2))
        go.set()
    assert database.submit(lambda connection: "well").result(FAR) == "well"
    assert ran == []


def sleep(connection: Connection) -> None:
    connection.execute(text("SELECT pg_sleep(600)"))


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_statement_without_an_answer_ends_with_the_time_of_its_unit(database: Database) -> None:
    for work in (database.execute, lambda unit: database.submit(unit).result(FAR)):
        with pytest.raises(StoreUnavailable):
            work(sleep)
        assert not database.writable
        assert database.execute(lambda connection: connection.execute(text("SELECT 1")).scalar()) == 1
        assert database.writable


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_what_may_take_long_is_not_ended(database: Database) -> None:
    @unhurried
    def long(connection: Connection) -> str:
        connection.execute(text("SELECT pg_sleep(0.8)"))
        return "done"

    assert database.submit(long).result(FAR) == "done"
    assert database.execute(long) == "done"


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_commit_without_an_answer_is_no_success(database: Database) -> None:
    """A deferred constraint makes the commit itself take its time, as a standby that is away does."""

    def unit(connection: Connection) -> None:
        connection.execute(text("INSERT INTO slow VALUES (1)"))

    def prepare(connection: Connection) -> None:
        connection.execute(text("CREATE TABLE slow (n int)"))
        connection.execute(
            text(
                "CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS"
                " 'BEGIN PERFORM pg_sleep(600); RETURN NEW; END'"
            )
        )
        connection.execute(
            text(
                "CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON slow DEFERRABLE INITIALLY DEFERRED"
                " FOR EACH ROW EXECUTE FUNCTION slowly()"
            )
        )

    database.execute(prepare)
    with pytest.raises(StoreUnavailable):
        database.execute(unit)
    assert (
        database.read(lambda connection: connection.execute(text("SELECT count(*) FROM slow")).scalar()).result(FAR)
        == 0
    )


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_connection_that_was_given_up_is_closed(database_url: str) -> None:
    url = database_url.replace("postgresql+psycopg", "postgresql")
    with deadlines.BoundedConnection.connect(url, autocommit=True) as connection:
        with limited(time.monotonic() + FAR):
            assert connection.execute("SELECT 1").fetchone() == (1,)
            with pytest.raises(psycopg.ProgrammingError):  # errors of the server stay what they are
                connection.execute("SELECT nothing")
        with limited(time.monotonic() + 0.2), pytest.raises(NoAnswer):
            connection.execute("SELECT pg_sleep(600)")
        assert connection.closed


def test_a_ping_does_not_wait_for_those_who_read(database: Database) -> None:
    go, entered = threading.Event(), threading.Semaphore(0)

    def hold(connection: Connection) -> None:
        entered.release()
        assert go.wait(FAR)

    reading = [database.read(hold) for _ in range(8)]
    for _ in range(4):
        assert entered.acquire(timeout=FAR)
    try:
        assert database.ping().result(FAR) is None
    finally:
        go.set()
    for future in reading:
        future.result(FAR)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_at_the_end_nobody_waits_for_a_database_that_is_silent(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = database.read(sleep)
    database.hasten()  # it answers others: the reader may go on
    assert not reading.done()
    monkeypatch.setattr(deadlines, "STOPPING", 0.1)
    monkeypatch.setattr("broker.store.db.database._ask", sleep)
    database.hasten()
    with pytest.raises(StoreUnavailable):
        reading.result(FAR)
    with pytest.raises(StoreUnavailable):
        database.execute(lambda connection: None)


def test_one_asks_while_the_database_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadlines, "HURRY", 0.01)
    gate = OneAsks()
    with gate.passing(), gate.passing():  # as many as like
        pass
    gate.failed(psycopg.OperationalError("refused: it has answered"))
    with gate.passing(), gate.passing():
        pass
    gate.failed(NoAnswer())
    with gate.passing():
        with pytest.raises(StoreUnavailable), gate.passing():
            pass
        gate.answered()
        with gate.passing():
            pass


def test_the_watchdog_and_the_work_give_a_future_one_outcome() -> None:
    watchdog = Watchdog()
    try:
        late: Future[str] = Future()
        watchdog.watch(late, 0.0)
        with pytest.raises(StoreUnavailable):
            late.result(FAR)
        assert not watchdog.begin(late)
        watchdog.settle(late, "yes", None)
        with pytest.raises(StoreUnavailable):
            late.result(0)
        soon: Future[str] = Future()
        watchdog.watch(soon, FAR)
        assert watchdog.begin(soon)
        watchdog.settle(soon, "yes", None)
        assert soon.result(0) == "yes"
    finally:
        watchdog.close()
