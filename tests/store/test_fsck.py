"""`broker fsck` reads all bytes again: it says what is spoiled, holds its deliveries, and lets go what came right."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from support.delivery.receiving import ReceptionPlace
from support.store.altering import flip_bit

from broker.routing import spool_check, sweep
from broker.routing.held_work import BytesBusy
from broker.routing.spool_check import SpoiledBytes
from broker.store.db.database import Database
from broker.store.db.pace import Pace
from broker.store.images.purge_lock import kept

TO_BOTH = {"default": {"action": "send", "send": ["pacs", "cad"]}}
WHO = ("anna", "10.0.0.1", "the disk was replaced")


@pytest.fixture
def place(database: Database, tmp_path: Path) -> Iterator[ReceptionPlace]:
    made = ReceptionPlace(database, tmp_path / "broker-data" / "spool")
    made.in_force(TO_BOTH, 1)
    yield made
    made.spool.close()


def spoil(place: ReceptionPlace) -> dict[int, tuple[Path, bytes]]:
    """Five objects in files and two in the database, of which five are spoiled; the bytes of the files before."""
    for number in range(1, 8):
        place.take(number, small=1 << 20 if number > 5 else 0)
    files = {row["id"]: place.spool.locate(row["path"]) for row in place.rows() if row["path"]}
    before = {row: (file, file.read_bytes()) for row, file in files.items()}
    files[1].unlink()
    files[2].write_bytes(files[2].read_bytes()[:-2])
    files[3].unlink()
    files[3].mkdir()  # the system gives an error for it
    flip_bit(place.database, place.spool, 4, -1)
    flip_bit(place.database, place.spool, 6, 0)
    return before


SPOILED = [
    SpoiledBytes(1, "file-missing"), SpoiledBytes(2, "file-damaged"), SpoiledBytes(3, "file-damaged"),
    SpoiledBytes(4, "file-altered"), SpoiledBytes(6, "file-altered"),
]  # fmt: skip


def states(place: ReceptionPlace) -> dict[int, list[str]]:
    """The states of the two deliveries of each object."""
    found: dict[int, list[str]] = {}
    for _, row, state, _ in sorted(place.jobs()):
        found.setdefault(row, []).append(state)
    return found


def test_what_is_spoiled_is_told_and_nothing_is_changed(place: ReceptionPlace) -> None:
    spoil(place)
    found = place.work.check_bytes(0)
    assert found.spoiled == SPOILED
    assert (found.objects, found.over, found.held, found.released) == (7, True, 0, 0)
    assert found.size == sum(row["data_length"] for row in place.rows())
    assert states(place) == {row: ["ready"] * 2 for row in range(1, 8)}
    assert place.audit() == []


def test_deliveries_of_what_is_spoiled_wait_until_its_bytes_are_back(place: ReceptionPlace) -> None:
    before = spoil(place)
    found = place.work.check_bytes(0, WHO)
    assert (found.held, found.released) == (10, 0)
    bad = {one.row for one in SPOILED}
    assert states(place) == {row: ["held" if row in bad else "ready"] * 2 for row in range(1, 8)}
    assert place.audit()[0] == ("objects.checked", 0, {"held": 10, "released": 0, "reason": WHO[2]})
    assert place.woken == 0

    place.spool.locate(place.rows()[2]["path"]).rmdir()
    for file, data in before.values():
        file.write_bytes(data)
    flip_bit(place.database, place.spool, 6, 0)
    found = place.work.check_bytes(0, WHO)
    assert (found.spoiled, found.held, found.released) == ([], 0, 10)
    assert states(place) == {row: ["ready"] * 2 for row in range(1, 8)}
    assert place.woken == 1
    assert len(place.audit()) == 2
    assert place.work.check_bytes(0, WHO).released == 0
    assert len(place.audit()) == 2  # nothing was done, nothing is noted


def test_what_waits_for_another_reason_stays(place: ReceptionPlace) -> None:
    place.in_force({"rule": [{"name": "r", "when": {"field": "tag.Modality", "value": "CT"}, "action": "hold",
                              "send": ["pacs"]}]}, 2)  # fmt: skip
    place.take(1)
    assert states(place) == {1: ["held"]}
    assert place.work.check_bytes(0, WHO).released == 0
    assert states(place) == {1: ["held"]}


def test_a_large_spool_is_checked_in_parts(place: ReceptionPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(1, 6):
        place.take(number)
    flip_bit(place.database, place.spool, 5, 3)
    monkeypatch.setattr(spool_check, "PAGE", 2)
    monkeypatch.setattr(spool_check, "SECONDS", 0)
    assert place.work.check_bytes(0).objects == 0  # no time is no progress, and no claim to be over
    ticks = iter(range(100))
    monkeypatch.setattr(spool_check.time, "monotonic", lambda: next(ticks))
    monkeypatch.setattr(spool_check, "SECONDS", 2)
    parts: list[Any] = [place.work.check_bytes(0)]
    while not parts[-1].over:
        parts.append(place.work.check_bytes(parts[-1].last))
    assert [part.objects for part in parts] == [2, 2, 1]
    assert [one.row for part in parts for one in part.spoiled] == [5]


def test_one_check_at_a_time(place: ReceptionPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    place.take(1)
    seen: list[type[BaseException]] = []

    def second(*_: Any) -> str:
        with pytest.raises(BytesBusy) as caught:
            place.work.check_bytes(0)
        seen.append(caught.type)
        return ""

    monkeypatch.setattr(spool_check, "_fault", second)
    place.work.check_bytes(0)
    assert seen == [BytesBusy]
    place.work.check_bytes(0)  # it is free again


def purged_by_a_killed_broker(place: ReceptionPlace, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two objects, of which one was purged by a broker that died before it deleted the file; that file."""
    place.take(1)
    place.take(2)
    for statement in (
        "UPDATE job SET state = 'done', done_at = 1 WHERE subject = 1",
        "UPDATE instance SET received_at = 1",
    ):
        place.database.execute(lambda connection, it=statement: connection.execute(text(it)))
    with monkeypatch.context() as dying:
        dying.setattr(place.spool, "remove", lambda _: None)
        assert sweep.purge_delivered(Pace(place.database), place.spool, 1) == 1
    return place.spool.locate(place.rows()[0]["path"])


def test_a_file_of_a_purged_object_is_found_and_removed(place: ReceptionPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    file = purged_by_a_killed_broker(place, monkeypatch)
    found = place.work.check_bytes(0)
    assert (found.objects, found.left, found.removed, file.exists()) == (1, 1, 0, True)
    with kept(place.spool.root):  # a backup copies it
        assert place.work.check_bytes(0, WHO).removed == 0
    found = place.work.check_bytes(0, WHO)
    assert (found.left, found.removed, file.exists()) == (1, 1, False)
    assert place.work.check_bytes(0).left == 0
    assert place.spool.locate(place.rows()[1]["path"]).exists()


def test_the_sweep_of_a_start_removes_it_too(place: ReceptionPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    file = purged_by_a_killed_broker(place, monkeypatch)
    assert sweep.set_aside_unclaimed(Pace(place.database), place.spool, age=3600) == 0
    assert file.exists()  # too young: its purge may be under way
    assert sweep.set_aside_unclaimed(Pace(place.database), place.spool, age=-1) == 0
    assert not file.exists()
    assert place.spool.locate(place.rows()[1]["path"]).exists()
