"""What became of imported items is written item by item, whatever number of them is there."""

from __future__ import annotations

from typing import Any

import pytest

from broker.model.imported import ImportNote
from broker.store.db.database import Database
from broker.store.orders import imported


def note(number: int, outcome: str = "refused") -> ImportNote:
    findings = (("patient/PatientID", "?"),)
    return ImportNote(source="pacs", key=f"k{number:05}", accession=f"A{number}", outcome=outcome, findings=findings)


def test_many_notes_are_written_changed_and_dropped_at_once(database: Database) -> None:
    notes = [note(number) for number in range(700)]
    database.submit(imported.record, "pacs", notes, [], 1000.0).result()
    assert len(database.read(imported.find, "pacs").result()) == 700
    changed = [note(number, "skipped") for number in range(0, 700, 7)]
    in_place = [note(number).key for number in range(1, 700, 7)]
    database.submit(imported.record, "pacs", changed, in_place, 1010.0).result()
    kept = database.read(imported.find, "pacs").result()
    assert len(kept) == 600
    assert {one.key for one in kept if one.outcome == "skipped"} == {one.key for one in changed}
    assert {(one.last_at, one.times) for one in kept if one.outcome == "refused"} == {(1000.0, 1)}


def test_the_same_again_counts_after_an_hour(database: Database) -> None:
    for at in (0.0, 60.0, 4000.0):
        database.submit(imported.record, "pacs", [note(1)], [], at).result()
    [kept] = database.read(imported.find, "pacs").result()
    assert (kept.first_at, kept.last_at, kept.times) == (0.0, 4000.0, 2)


def test_a_note_is_written_without_a_look_at_all_others(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    database.submit(imported.record, "pacs", [note(number) for number in range(700)], [], 1000.0).result()
    read: list[str] = []
    made = imported._note

    def counted(row: Any) -> ImportNote:
        read.append(row.key)
        return made(row)

    monkeypatch.setattr(imported, "_note", counted)
    database.submit(imported.record, "pacs", [note(701)], [note(5).key], 1010.0).result()
    assert read == [note(5).key]
