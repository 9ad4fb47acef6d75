"""No audit row is lost at an orderly stop: not with a full book, and not while the database is away. On both."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from broker.audit import book as books
from broker.audit import kept
from broker.audit.book import AuditBook
from broker.errors import StoreUnavailable
from broker.model.audit import AuditRecord, AuditSelection
from broker.store.audit import trail
from broker.store.db.database import Database


def record(number: int, **more: Any) -> AuditRecord:
    return AuditRecord(
        at=time.time(), actor="user:änna", action="order.viewed", kind="order", object_id=number, detail={"n": number},
        address="10.0.0.7", **more,
    )  # fmt: skip


def written(database: Database) -> list[int]:
    """The objects of all rows, in the order in which they were written."""
    page: trail.AuditPage = database.read(trail.page, AuditSelection(), None, 1000).result()
    return [row.object_id for row in sorted(page.rows, key=lambda row: row.row)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The data directory."""
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The database is away until this is undone."""

    def fail(*_: Any, **__: Any) -> None:
        raise StoreUnavailable

    monkeypatch.setattr(books, "add_audit", fail)
    return monkeypatch


def test_what_cannot_be_written_at_the_stop_is_written_after_the_next_start(
    database: Database, away: pytest.MonkeyPatch, folder: Path
) -> None:
    book = AuditBook(database)
    for number in range(40):
        book.add(record(number))
    book.tally.repeated("x", lambda: record(40))
    book.close(folder)
    (file,) = folder.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    away.undo()
    following = AuditBook(database)
    following.take_up(folder)
    following.add(record(41))
    following.flush()
    assert written(database) == list(range(42))
    assert list(folder.iterdir()) == []
    page: trail.AuditPage = database.read(trail.page, AuditSelection(), None, 1).result()
    assert (page.rows[0].actor, page.rows[0].address, page.rows[0].detail) == ("user:änna", "10.0.0.7", {"n": 41})


def test_rows_that_were_kept_are_kept_again(database: Database, away: pytest.MonkeyPatch, folder: Path) -> None:
    for number in range(3):  # three starts without a database
        book = AuditBook(database)
        book.take_up(folder)
        book.add(record(number))
        book.close(folder)
        assert len(list(folder.iterdir())) == 1
    away.undo()
    book = AuditBook(database)
    book.take_up(folder)
    book.close(folder)
    assert written(database) == [0, 1, 2]
    assert list(folder.iterdir()) == []


def test_an_orderly_stop_with_a_database_keeps_no_file(database: Database, folder: Path) -> None:
    book = AuditBook(database)
    book.add(record(1))
    book.close(folder)
    assert written(database) == [1]
    assert list(folder.iterdir()) == []


def test_a_full_book_leaves_nothing_uncounted_at_the_stop(
    database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(books, "MOST", 5)
    book = AuditBook(database)
    for number in range(5):
        book.add(record(number))
    for _ in range(3):
        book.tally.repeated("x", lambda: record(5))
    book.close(folder)
    assert written(database) == [0, 1, 2, 3, 4, 5, 5]  # the first, and how often it came again


@pytest.mark.parametrize("content", [b"", b"{", b'{"at": 1}\n', b"\xff\xff", b"[]\n", b"null\n"])
def test_a_file_that_cannot_be_understood_stays(database: Database, folder: Path, content: bytes) -> None:
    kept.keep(folder, [record(1)])
    bad = folder / "audit-waiting-0"
    bad.write_bytes(content)
    book = AuditBook(database)
    book.take_up(folder)
    book.close(folder)
    assert written(database) == [1]
    assert list(folder.iterdir()) == ([bad] if content else [])


def test_half_a_file_is_none(database: Database, folder: Path) -> None:
    """The broker was killed while it kept rows."""
    (folder / "audit-waiting-7.part").write_text("{")
    book = AuditBook(database)
    book.take_up(folder)
    book.close(folder)
    assert written(database) == []


def test_without_room_for_a_file_the_stop_goes_on(database: Database, away: pytest.MonkeyPatch, folder: Path) -> None:
    book = AuditBook(database)
    book.add(record(1))
    book.close(folder / "nowhere")
