"""The writer's promise: a future is done when the commit is, whatever happens to the database meanwhile."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, func, insert, select, text, update
from sqlalchemy.exc import IntegrityError, OperationalError
from support.peers.tools import wait_until

from broker import faults, telemetry
from broker.errors import BadContent, ConfigurationError, StoreFull, StoreUnavailable
from broker.store import jobs
from broker.store.db import writer
from broker.store.db.database import Database
from broker.store.db.engine import open_engine
from broker.store.schema import tables

_knock = tables.knock


def knock(connection: Connection, name: str, address: str = "a") -> str:
    connection.execute(insert(_knock).values(ae_title=name, address=address, first_at=1.0, last_at=1.0, count=1))
    return name


def knock_then(connection: Connection, name: str, error: BaseException) -> None:
    knock(connection, name)
    raise error


def names(database: Database) -> set[str]:
    def query(connection: Connection) -> set[str]:
        return set(connection.execute(select(_knock.c.ae_title)).scalars())

    return database.read(query).result(10)


@contextmanager
def gate(database: Database) -> Iterator[None]:
    """Hold the one SQLite writer inside a unit, so that what is submitted meanwhile becomes one batch."""
    entered, go = threading.Event(), threading.Event()

    def hold(connection: Connection) -> None:
        entered.set()
        assert go.wait(10)

    held = database.submit(hold)
    assert entered.wait(10)
    try:
        yield
    finally:
        go.set()
    held.result(10)


@pytest.fixture
def fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that the broker's fault points obey; empty."""
    file = tmp_path / "faults"
    file.touch()
    monkeypatch.setattr(faults, "_FILE", str(file))
    return file


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Database]:
    opened = Database(f"sqlite:///{tmp_path / 'only.db'}")
    yield opened
    opened.close()


def test_the_result_is_there_when_the_commit_is(database: Database) -> None:
    assert database.submit(knock, "A").result(10) == "A"
    assert names(database) == {"A"}
    assert database.writable


def test_keyword_arguments_reach_the_unit(database: Database) -> None:
    assert database.submit(knock, "A", address="b").result(10) == "A"


def test_a_failing_unit_is_rolled_back_alone(database: Database) -> None:
    database.submit(knock, "twice").result(10)
    good = [database.submit(knock, f"good{n}") for n in range(5)]
    bad = database.submit(knock, "twice")
    refused = database.submit(knock_then, "half", BadContent("no"))
    defect = database.submit(knock_then, "half", KeyError("x"))
    more = [database.submit(knock, f"more{n}") for n in range(5)]
    wait([*good, bad, refused, defect, *more], 10)
    assert isinstance(bad.exception(), IntegrityError)
    assert isinstance(refused.exception(), BadContent)
    assert isinstance(defect.exception(), KeyError)
    assert names(database) == {"twice", *(f.result() for f in good + more)}
    assert database.writable


def test_one_commit_serves_many_units(sqlite: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "LONGEST", 60)
    commits: list[str] = []

    def on_commit(statement: str) -> None:
        if statement == "COMMIT":
            commits.append(statement)

    def spy(connection: Connection) -> None:
        connection.connection.dbapi_connection.set_trace_callback(on_commit)  # type: ignore[union-attr]

    sqlite.submit(spy).result(10)
    commits.clear()
    with gate(sqlite):
        waiting = [sqlite.submit(knock, f"N{n}") for n in range(200)]
    assert {future.result(10) for future in waiting} == names(sqlite)
    assert len(commits) == 2  # the gate's own, and one for all


def test_a_batch_is_bounded_by_time(sqlite: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever came first is answered when its own units are committed, however many wait behind."""
    now = 0.0
    monkeypatch.setattr(writer.time, "monotonic", lambda: now)
    before = telemetry.WRITER_COMMITS.labels("done")._value.get()
    done: list[set[str]] = []

    def slow(connection: Connection, number: int) -> None:
        nonlocal now
        knock(connection, f"K{number}")
        now += writer.LONGEST / 2
        done.append({name for name, future in futures.items() if future.done()})

    with gate(sqlite):
        futures = {f"K{number}": sqlite.submit(slow, number) for number in range(6)}
    assert all(future.result(10) is None for future in futures.values())
    assert names(sqlite) == set(futures)
    assert [len(names) for names in done] == [0, 0, 2, 2, 4, 4]
    assert telemetry.WRITER_COMMITS.labels("done")._value.get() - before == 1 + 3


def test_units_of_one_batch_see_what_earlier_ones_wrote(sqlite: Database) -> None:
    def count(connection: Connection) -> int:
        return int(connection.execute(select(func.count()).select_from(_knock)).scalar_one())

    with gate(sqlite):
        sqlite.submit(knock, "A")
        sqlite.submit(knock_then, "B", ValueError("no"))
        seen = sqlite.submit(count)
    assert seen.result(10) == 1


@pytest.mark.parametrize("position", [0, 3, 6])
def test_a_disk_full_inside_a_unit_makes_nothing_before_it_succeed(sqlite: Database, position: int) -> None:
    """SQLITE_FULL inside a SAVEPOINT rolls back the whole transaction; the rest must not run in autocommit."""

    def fill(connection: Connection) -> None:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
        for number in range(2000):
            knock(connection, f"filler{number}", "x" * 500)

    sqlite.submit(knock, "before").result(10)
    with gate(sqlite):
        batch: list[Future[Any]] = [
            sqlite.submit(fill) if n == position else sqlite.submit(knock, f"V{n}") for n in range(7)
        ]
    wait(batch, 10)
    assert isinstance(batch[position].exception(), StoreFull)
    there = names(sqlite)
    for number, future in enumerate(batch):
        if number != position:
            assert (future.exception() is None) == (f"V{number}" in there)
    assert all(isinstance(future.exception(), StoreFull) for future in batch[:position])
    assert not any(name.startswith("filler") for name in there)
    assert sqlite.submit(knock, "after").result(10) == "after"
    assert sqlite.writable


def test_a_unit_that_hides_a_full_disk_still_fails_its_batch(sqlite: Database) -> None:
    """The unit swallows the error; the transaction around it is gone all the same."""

    def swallow(connection: Connection) -> str:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
        try:
            for number in range(2000):
                knock(connection, f"filler{number}", "x" * 500)
        except Exception:
            return "all is well"
        return "not full"

    with gate(sqlite):
        batch: list[Future[Any]] = [sqlite.submit(knock, "A"), sqlite.submit(swallow), sqlite.submit(knock, "B")]
    wait(batch, 10)
    assert [isinstance(future.exception(), StoreUnavailable) for future in batch[:2]] == [True, True]
    assert names(sqlite) <= {"B"}
    assert (batch[2].exception() is None) == ("B" in names(sqlite))
    assert sqlite.submit(knock, "after").result(10) == "after"


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_postgresql_says_that_its_disk_is_full(database: Database) -> None:
    def fill(connection: Connection) -> None:
        connection.exec_driver_sql("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = 'disk_full'; END $$")

    assert isinstance(database.submit(fill).exception(10), StoreFull)
    assert database.submit(knock, "after").result(10) == "after"


def test_a_failing_commit_fails_every_unit_and_passes(database: Database, fault: Path) -> None:
    fault.write_text("store.commit ENOSPC\n")
    failed = [database.submit(knock, f"N{n}") for n in range(3)]
    for future in failed:
        with pytest.raises(StoreUnavailable):
            future.result(10)
    assert not database.writable
    assert names(database) == set()
    fault.write_text("")
    assert database.submit(knock, "after").result(10) == "after"
    assert database.writable
    assert names(database) == {"after"}


def test_a_failing_commit_keeps_the_error_of_a_unit_that_had_its_own(sqlite: Database, fault: Path) -> None:
    with gate(sqlite):
        fault.write_text("store.commit EIO\n")
        refused = sqlite.submit(knock_then, "A", BadContent("no"))
        good = sqlite.submit(knock, "B")
        # the gate's own commit must not fail
        fault_now = fault.read_text()
        fault.write_text("")
        sqlite.submit(lambda connection: fault.write_text(fault_now))
    assert isinstance(refused.exception(10), BadContent)
    assert isinstance(good.exception(10), StoreUnavailable)
    fault.write_text("")


def test_an_error_after_the_commit_is_no_success(database: Database, fault: Path) -> None:
    """Nobody was told; the sender comes again and finds its first try."""
    fault.write_text("store.committed EIO\n")
    with pytest.raises(StoreUnavailable):
        database.submit(knock, "A").result(10)
    fault.write_text("")
    assert names(database) == {"A"}


def test_health_sees_a_disk_that_writes_again_by_the_probe(database: Database, fault: Path) -> None:
    fault.write_text("store.commit ENOSPC\n")
    assert isinstance(database.submit(jobs.probe_write, 1.0).exception(10), StoreUnavailable)
    assert not database.writable
    fault.write_text("")
    database.submit(jobs.probe_write, 1.0).result(10)
    assert database.writable
    assert database.read(jobs.breakers).result(10) == {}


def test_a_writer_locked_out_by_another_process_recovers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database(f"sqlite:///{tmp_path / 'busy.db'}")
    database.submit(lambda connection: connection.exec_driver_sql("PRAGMA busy_timeout=50")).result(10)
    other = open_engine(f"sqlite:///{tmp_path / 'busy.db'}")
    with other.connect() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable):
            database.submit(knock, "A").result(10)
        assert not database.writable
        assert names(database) == set()  # readers are not disturbed
        connection.exec_driver_sql("ROLLBACK")
    assert database.submit(knock, "A").result(20) == "A"
    database.close()
    other.dispose()


def test_closing_commits_what_was_submitted_and_refuses_the_rest(database_url: str) -> None:
    database = Database(database_url)
    waiting = [database.submit(knock, f"N{n}") for n in range(300)]
    database.close()
    assert all(future.done() for future in waiting)
    late = database.submit(knock, "late")
    assert isinstance(late.exception(1), StoreUnavailable)
    assert isinstance(database.read(jobs.breakers).exception(1), StoreUnavailable)
    database.close()  # twice is fine
    again = Database(database_url)
    assert names(again) == {f"N{n}" for n in range(300)}
    again.close()


def test_a_caller_that_no_longer_waits_harms_nobody(sqlite: Database) -> None:
    with gate(sqlite):
        abandoned = sqlite.submit(knock, "A")
        assert abandoned.cancel()
        after = sqlite.submit(knock, "B")
    assert after.result(10) == "B"
    assert "B" in names(sqlite)


def test_threads_submit_side_by_side(database: Database) -> None:
    futures: list[Future[str]] = []

    def work(thread: int) -> None:
        futures.extend(database.submit(knock, f"T{thread}.{n}") for n in range(25))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert {future.result(20) for future in futures} == names(database)
    assert len(futures) == 200


def test_readers_of_sqlite_cannot_write(sqlite: Database) -> None:
    assert isinstance(sqlite.read(knock, "A").exception(10), StoreUnavailable)
    assert names(sqlite) == set()


def test_ping_answers(database: Database) -> None:
    assert database.ping().result(10) is None


# --- PostgreSQL ------------------------------------------------------------------------------------------


only_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


@pytest.fixture
def postgres(database_url: str) -> Iterator[tuple[Database, str]]:
    opened = Database(database_url)
    yield opened, database_url
    opened.close()


def terminate_all(url: str) -> None:
    """End every other connection of the database, as a failover does."""
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


@only_postgresql
def test_a_lost_deadlock_is_run_again(postgres: tuple[Database, str]) -> None:
    database, _ = postgres
    for name in ("A", "B"):
        database.submit(knock, name).result(10)
    runs = {"A": 0, "B": 0}
    met = threading.Barrier(2)

    def cross(connection: Connection, first: str, second: str) -> str:
        runs[first] += 1
        for position, name in enumerate((first, second)):
            connection.execute(update(_knock).where(_knock.c.ae_title == name).values(count=_knock.c.count + 1))
            if position == 0 and sum(runs.values()) <= 2:
                met.wait(10)
        return first

    futures = [database.submit(cross, "A", "B"), database.submit(cross, "B", "A")]
    assert [future.result(30) for future in futures] == ["A", "B"]
    assert sum(runs.values()) >= 3  # the two may meet again
    counts = database.read(lambda connection: connection.execute(select(_knock.c.count)).scalars().all()).result(10)
    assert sorted(counts) == [3, 3]


@only_postgresql
def test_endless_serialisation_conflicts_are_passing_trouble(postgres: tuple[Database, str]) -> None:
    database, _ = postgres
    runs = []

    def conflict(connection: Connection) -> None:
        runs.append(1)
        connection.execute(text("DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '40001'; END $$"))

    with pytest.raises(StoreUnavailable):
        database.submit(conflict).result(10)
    assert len(runs) == 4


@only_postgresql
def test_a_connection_lost_inside_a_unit_is_passing_trouble(postgres: tuple[Database, str]) -> None:
    database, url = postgres
    entered, cut = threading.Event(), threading.Event()

    def interrupted(connection: Connection) -> None:
        knock(connection, "half")
        entered.set()
        assert cut.wait(10)
        knock(connection, "other half")

    running = database.submit(interrupted)
    assert entered.wait(10)
    terminate_all(url)
    cut.set()
    with pytest.raises(StoreUnavailable):
        running.result(10)
    assert not database.writable
    assert database.submit(knock, "after").result(10) == "after"
    assert database.writable
    assert names(database) == {"after"}


@only_postgresql
def test_idle_connections_that_died_are_replaced_unnoticed(postgres: tuple[Database, str]) -> None:
    database, url = postgres
    wait([database.submit(knock, f"N{n}") for n in range(20)], 10)
    wait([database.ping() for _ in range(20)], 10)
    terminate_all(url)
    after = [database.submit(knock, f"M{n}") for n in range(20)]
    assert [future.result(20) for future in after] == [f"M{n}" for n in range(20)]
    assert len(names(database)) == 40


@only_postgresql
def test_a_value_too_long_for_an_index_is_no_trouble_of_the_database(postgres: tuple[Database, str]) -> None:
    database, _ = postgres
    long = random.Random(1).randbytes(10_000).hex()
    with pytest.raises(OperationalError):
        database.submit(knock, long).result(20)
    assert database.writable


@only_postgresql
def test_a_standby_is_passing_trouble(postgres: tuple[Database, str]) -> None:
    """Just after a failover the connection may reach a server that only reads: 25006, no defect of ours."""
    database, url = postgres
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        name = connection.info.dbname
        connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    terminate_all(url)
    with pytest.raises(StoreUnavailable):
        database.submit(knock, "A").result(10)
    assert not database.writable
    assert names(database) == set()
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("SET default_transaction_read_only = off")
        connection.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    terminate_all(url)
    assert database.submit(knock, "A").result(10) == "A"


@only_postgresql
def test_a_server_without_fsync_is_refused(database_url: str) -> None:
    with psycopg.connect(database_url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {connection.info.dbname} SET synchronous_commit = off")
    with pytest.raises(ConfigurationError, match="synchronous_commit"):
        Database(database_url)


def test_a_server_that_is_away_is_passing_trouble() -> None:
    with pytest.raises(StoreUnavailable):
        Database("postgresql+psycopg://nobody@127.0.0.1:1/none")


def test_writer_recovers_after_the_connection_died(sqlite: Database) -> None:
    """Closing the driver's connection under the writer stands for every error that SQLite cannot explain."""

    def cut(connection: Connection) -> None:
        connection.connection.dbapi_connection.close()  # type: ignore[union-attr]

    broken = sqlite.submit(cut)
    assert broken.exception(10) is not None
    wait_until(lambda: sqlite.submit(knock, "after").exception(10) is None, 10, "the writer writes again")
    assert names(sqlite) == {"after"}


def test_a_malformed_url_is_a_configuration_error_without_the_password() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Database("postgresql+psycopg://user:hunter2@host:notaport/x")
    assert "database.url" in str(caught.value)
    assert "hunter2" not in str(caught.value)
