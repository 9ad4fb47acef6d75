"""Damage of the database is an alarm of its own, a statement that does not fit the schema a defect."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from support.store.damage import damage

from broker import telemetry
from broker.errors import StoreUnavailable
from broker.store.db.damage import StoreDamaged, is_damage
from broker.store.db.database import Database


def count(connection: Connection) -> int:
    return int(connection.execute(text("SELECT count(*) FROM scheduled_step WHERE status = 'SCHEDULED'")).scalar_one())


def change(connection: Connection) -> None:
    connection.execute(text("UPDATE scheduled_step SET status = 'SCHEDULED'"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A database that was closed in order."""
    path = tmp_path / "broker.db"
    Database(f"sqlite:///{path}").close()
    return path


def test_a_whole_database_raises_no_alarm(file: Path) -> None:
    database = Database(f"sqlite:///{file}")
    try:
        assert database.check() == []
        assert database.read(count).result() == 0
        assert (database.damage.raised, database.unclean) == (False, False)
        assert telemetry.STORE_DAMAGED.collect()[0].samples[0].value == 0
    finally:
        database.close()


@pytest.mark.parametrize("way", ["read", "submit", "execute", "check"])
def test_a_bad_page_is_damage_whoever_meets_it(file: Path, way: str) -> None:
    damage(file, "scheduled_step")
    database = Database(f"sqlite:///{file}")
    try:
        if way == "check":
            assert database.check()
        else:
            with pytest.raises(StoreDamaged):
                {
                    "read": lambda: database.read(count).result(),
                    "submit": lambda: database.submit(change).result(),
                    "execute": lambda: database.execute(change),
                }[way]()
        assert database.damage.raised
        assert telemetry.STORE_DAMAGED.collect()[0].samples[0].value == 1
    finally:
        database.close()


def test_a_file_of_something_else_is_damage(file: Path) -> None:
    file.write_bytes(b"no database " * 1000)
    with pytest.raises(StoreDamaged):
        Database(f"sqlite:///{file}")


def test_an_end_without_order_is_noticed(file: Path) -> None:
    log = file.with_name("broker.db-wal")
    log.write_bytes(b"\0" * 32)
    database = Database(f"sqlite:///{file}")
    assert database.unclean
    database.close()


def test_damage_of_postgresql_is_known_by_its_code() -> None:
    class Answer(Exception):
        sqlstate = "XX001"

    assert is_damage(DBAPIError("SELECT", None, Answer()))
    Answer.sqlstate = "57014"
    assert not is_damage(DBAPIError("SELECT", None, Answer()))


@pytest.mark.parametrize("wrong", ["SELECT 1 FROM nowhere", "SELECT nowhere FROM scheduled_step"])
def test_what_does_not_fit_the_schema_is_a_defect(database: Database, wrong: str) -> None:
    def ask(connection: Connection) -> None:
        connection.execute(text(wrong))

    for way in (database.read, database.submit):
        with pytest.raises(DBAPIError) as raised:
            way(ask).result()
        assert not isinstance(raised.value, StoreUnavailable)
