"""A database file that is deleted or replaced while the broker runs: nothing is acknowledged that would be lost."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Connection, func, select

from broker.store import jobs
from broker.store.db.database import Database
from broker.store.db.own_file import StoreReplaced
from broker.store.jobs import NewJob
from broker.store.schema import tables


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "broker.db"


@pytest.fixture
def opened(file: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{file}")
    yield database
    database.close()


def put(database: Database, number: int) -> None:
    new = NewJob(kind="deliver", lane="deliver:pacs", subject=number, detail={})
    database.submit(jobs.enqueue, [new], 0.0).result(10)


def count(connection: Connection) -> int:
    return int(connection.execute(select(func.count()).select_from(tables.job)).scalar_one())


def delete(file: Path) -> None:
    for one in file.parent.glob("broker.db*"):
        one.unlink()


def replace(file: Path) -> None:
    other = file.with_name("other.db")
    with sqlite3.connect(other) as connection:
        connection.execute("create table x (y)")
    connection.close()
    other.replace(file)


def delete_log(file: Path) -> None:
    file.with_name("broker.db-wal").unlink()


def replace_log(file: Path) -> None:
    other = file.with_name("other")
    other.touch()
    os.replace(other, file.with_name("broker.db-wal"))


@pytest.mark.parametrize("act", [delete, replace])
def test_nothing_is_acknowledged_that_would_be_lost(opened: Database, file: Path, act: Callable[[Path], None]) -> None:
    """It was, as long as the broker ran: the next start found another database, or none."""
    put(opened, 1)
    act(file)
    for number in (2, 3):
        with pytest.raises(StoreReplaced):
            put(opened, number)
        assert not opened.writable
    assert opened.damage.raised
    assert file.exists() == (act is replace)  # no empty one is made in its place


@pytest.mark.parametrize("act", [delete_log, replace_log])
def test_without_its_log_all_stands_in_the_database(opened: Database, file: Path, act: Callable[[Path], None]) -> None:
    """A broker that is killed then has lost nothing that it acknowledged."""
    put(opened, 1)
    act(file)
    put(opened, 2)
    assert opened.damage.raised  # a person should start it again
    assert opened.read(count).result(10) == 2
    copy = file.with_name("copy.db")
    copy.write_bytes(file.read_bytes())
    with closing(sqlite3.connect(copy)) as killed:
        assert killed.execute("select count(*) from job").fetchone() == (2,)


def test_a_log_that_is_made_anew_is_ours(opened: Database, file: Path) -> None:
    """SQLite does so when the last connection has ended."""
    put(opened, 1)
    opened._writer._drop()  # type: ignore[attr-defined]
    opened._read_engine.dispose()
    put(opened, 2)
    assert opened.read(count).result(10) == 2
    assert opened.writable
