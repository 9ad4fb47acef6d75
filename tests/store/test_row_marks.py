"""How far the rows of a database have come is kept beside it: a database that has fewer is another one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from broker.model.order import Document
from broker.service.status.row_marks import RowMarks
from broker.store.db.database import Database
from broker.store.high_water import MARKS as FILE

SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


class Marks:
    """A data folder and its database, which grows or is another one."""

    def __init__(self, folder: Path, database: Database) -> None:
        self.folder, self.database = folder, database

    def begin(self) -> RowMarks:
        """A broker starts."""
        made = RowMarks(self.folder, self.database)
        made.keep()
        return made

    def kept(self) -> Document:
        found: Document = json.loads((self.folder / FILE).read_text())
        return found


@pytest.fixture
def marks(tmp_path: Path, database: Database) -> Marks:
    return Marks(tmp_path, database)


def write(marks: Marks, behind: bool = False, **rows: int) -> None:
    (marks.folder / FILE).write_text(json.dumps({"rows": rows, "behind": behind}))


@SQLITE
@pytest.mark.parametrize("kind", ["messages", "orders", "objects", "users", "versions"])
def test_each_kind_of_row_that_is_missing_is_noticed_and_stays(marks: Marks, kind: str) -> None:
    write(marks, **{kind: 5})
    assert marks.begin().behind
    assert marks.kept()["rows"] == {kind: 5}
    assert marks.begin().behind
    assert marks.kept() == {"rows": {kind: 5}, "behind": True}


@SQLITE
def test_the_alarm_ends_when_a_person_removes_the_file(marks: Marks) -> None:
    write(marks, orders=5)
    running = marks.begin()
    running.keep()
    assert running.behind
    (marks.folder / FILE).unlink()
    running.keep()
    assert not running.behind
    assert marks.kept() == {
        "rows": dict.fromkeys(("messages", "orders", "objects", "users", "versions"), 0),
        "behind": False,
    }
    assert not marks.begin().behind


@SQLITE
def test_rows_that_have_grown_again_do_not_end_it(marks: Marks) -> None:
    write(marks, behind=True, orders=0)
    assert marks.begin().behind


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"rows": []}', '{"rows": {"orders": "x"}, "behind": 0}', "\x00" * 9000]
)
def test_a_file_that_is_none_is_said_and_replaced(marks: Marks, text: str) -> None:
    (marks.folder / FILE).write_text(text)
    assert not marks.begin().behind
    assert set(marks.kept()["rows"]) >= {"orders", "messages"}


def test_a_first_start_and_what_was_set_aside_are_no_loss(marks: Marks) -> None:
    (marks.folder / "spool" / "unclaimed").mkdir(parents=True)
    (marks.folder / "spool" / "unclaimed" / "a.dcm").write_bytes(b"x")
    (marks.folder / "spool" / "2030").mkdir()
    (marks.folder / "spool" / "2030" / "blank.dcm").touch()  # made ahead
    assert not marks.begin().behind
