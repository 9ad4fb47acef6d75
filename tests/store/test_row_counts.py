"""Rows are counted by table, up to a bound, and nothing is made or brought up to date."""

from __future__ import annotations

import time

import pytest
from sqlalchemy import Connection, create_engine, insert, text

from broker.errors import StoreUnavailable
from broker.store.copies import row_counts
from broker.store.db.database import Database
from broker.store.schema import tables


def test_rows_are_counted_up_to_a_bound(database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def add(connection: Connection) -> None:
        for number in range(5):
            row = {"ae_title": f"CT{number}", "address": "192.0.2.1", "first_at": 1, "last_at": 1, "count": 1}
            connection.execute(insert(tables.knock).values(**row))

    database.execute(add)
    size = row_counts.size_of(database_url)
    assert (size.kind, size.revision.current) == (database.dialect, True)
    assert size.version
    assert (size.rows["knock"], size.rows["patient"]) == (5, 0)
    assert len(size.rows) > 40
    monkeypatch.setattr(row_counts, "MOST", 3)
    assert row_counts.size_of(database_url).rows["knock"] == 4


def test_a_database_of_an_older_version_is_looked_at_and_left(empty_database_url: str) -> None:
    engine = create_engine(empty_database_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE knock (x INTEGER)"))
    size = row_counts.size_of(empty_database_url)
    assert (size.revision.name, size.revision.current) == ("", False)
    assert (size.rows["knock"], size.rows["patient"]) == (0, None)
    with engine.connect() as connection, pytest.raises(Exception, match="patient"):
        connection.execute(text("SELECT 1 FROM patient"))
    engine.dispose()


def test_one_that_is_away_is_told_soon() -> None:
    began = time.monotonic()
    with pytest.raises(StoreUnavailable):
        row_counts.size_of("postgresql+psycopg://nobody@127.0.0.1:1/none")
    assert time.monotonic() - began < row_counts.SECONDS + 5
