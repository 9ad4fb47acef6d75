"""The copy of the worklist for an outage: what the database would answer, never older than allowed."""

from __future__ import annotations

import sqlite3
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from support.hl7.messages import group, message
from support.orders.intake import take

from broker.errors import StoreUnavailable
from broker.orders.core import lifecycle
from broker.store.db.database import Database
from broker.store.worklist.candidates import Criteria, Words, search
from broker.store.worklist.outage import Clock, WorklistCopy
from broker.store.worklist.outage_keeper import CopyKeeper, CopyTrouble

CRITERIA = [
    Criteria(),
    Criteria(statuses=("SCHEDULED", "ARRIVED", "READY")),
    Criteria(statuses=("SCHEDULED",), stations=Words(("CT01",)), start_from="20300101000000"),
    Criteria(stations=Words((), ("CT",)), start_from="20300312000000", start_until="20300312235959.999999"),
    Criteria(accession=Words(("A2",))),
    Criteria(patient_id=Words(("QZPAT1",)), modality=Words(("CT",))),
    Criteria(name_groups=("mu",)),
]


@dataclass
class _Time:
    """Clocks that a test sets."""

    wall: float = 1000.0
    running: float = 50.0

    def clock(self, boot: str = "b1") -> Clock:
        return Clock(lambda: self.wall, lambda: self.running, boot)

    def passes(self, seconds: float) -> None:
        self.wall += seconds
        self.running += seconds


@pytest.fixture
def clocks() -> _Time:
    return _Time()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "copy" / "worklist.db"


@pytest.fixture
def keeper(database: Database, path: Path, clocks: _Time) -> Iterator[CopyKeeper]:
    path.parent.mkdir()
    made = CopyKeeper(database, path, lifecycle.OPEN, clocks.clock())
    yield made
    made.close()


@pytest.fixture
def copy(path: Path, clocks: _Time) -> WorklistCopy:
    return WorklistCopy(path, 60, clocks.clock())


# what concerns the file alone is the same whatever the database is
one_database = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def tell(database: Database, *groups: str) -> None:
    assert take(database, message(*groups).encode()).code == "AA"


def assert_same(database: Database, copy: WorklistCopy, opened: int) -> None:
    """Each search finds in the copy what it finds in the database, page by page."""
    for criteria in CRITERIA:
        wanted = criteria if criteria.statuses else replace(criteria, statuses=lifecycle.OPEN)
        for after, limit in ((None, 100), (None, 1), (("20300312103000", 1), 100)):
            there = database.read(search, wanted, after, limit).result()
            assert copy.search(criteria, after, limit) == there, (criteria, after, limit)
    assert len(copy.search(Criteria(), None, 100)) == opened


def test_answers_as_the_database(database: Database, keeper: CopyKeeper, copy: WorklistCopy) -> None:
    for number in range(1, 4):
        tell(database, group("NW", str(number)))
    assert keeper.refresh() == 3
    assert_same(database, copy, 3)
    assert keeper.refresh() == 0  # nothing was read again, nothing written

    tell(database, group("XO", "1", start="20300401090000"))  # rescheduled
    tell(database, group("CA", "2"))
    tell(database, group("HD", "3"))
    tell(database, group("NW", "4", modality="MR"))
    assert keeper.refresh() == 4
    assert_same(database, copy, 2)
    tell(database, group("RL", "3"))
    assert keeper.refresh() == 1
    assert_same(database, copy, 3)


def test_many_steps(
    database: Database, keeper: CopyKeeper, copy: WorklistCopy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.store.worklist.outage_keeper._CHUNK", 2)
    for number in range(1, 6):
        tell(database, group("NW", str(number), start=f"2030031210{number:02d}00"))
    assert keeper.refresh() == 5
    assert_same(database, copy, 5)
    monkeypatch.setattr("broker.store.worklist.outage_keeper.MAX_STEPS", 3)  # bounded: those that start last stay
    assert keeper.refresh() == 2
    assert [one.start_at for one in copy.search(Criteria(), None, 9)] == [f"2030031210{n:02d}00" for n in (3, 4, 5)]


@one_database
def test_private_and_gone_with_its_keeper(database: Database, keeper: CopyKeeper, path: Path) -> None:
    tell(database, group("NW", "1"))
    keeper.refresh()
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert path.name in modes
    assert set(modes.values()) == {0o600}
    keeper.close()
    assert list(path.parent.iterdir()) == []


@one_database
def test_what_an_earlier_broker_left_is_not_answered_from(
    database: Database, keeper: CopyKeeper, copy: WorklistCopy, path: Path
) -> None:
    tell(database, group("NW", "1"))
    keeper.refresh()
    CopyKeeper(database, path, lifecycle.OPEN)
    with pytest.raises(StoreUnavailable):
        copy.search(Criteria(), None, 1)
    assert copy.age() is None


@one_database
def test_never_older_than_allowed(
    database: Database, keeper: CopyKeeper, copy: WorklistCopy, path: Path, clocks: _Time
) -> None:
    tell(database, group("NW", "1"))
    keeper.refresh()
    clocks.passes(59)
    assert copy.age() == 59
    assert len(copy.search(Criteria(), None, 9)) == 1
    clocks.passes(2)
    assert copy.age() is None
    with pytest.raises(StoreUnavailable, match="too old"):
        copy.search(Criteria(), None, 9)
    keeper.refresh()
    assert copy.age() == 0
    clocks.wall -= 3600  # set back: the clock that runs on tells the truth
    assert copy.age() == 0
    clocks.passes(61)
    assert copy.age() is None
    keeper.refresh()
    clocks.wall += 3600  # set forward: what the wall says counts, to be on the safe side
    assert copy.age() is None
    clocks.wall -= 3600
    rebooted = WorklistCopy(path, 60, clocks.clock("b2"))
    assert rebooted.age() == 0
    clocks.wall -= 10  # from the future, and nothing else to go by
    assert rebooted.age() is None
    assert copy.age() == 0


@one_database
@pytest.mark.parametrize("what", ["garbage", "cut", "empty", "no table"])
def test_damaged(database: Database, keeper: CopyKeeper, copy: WorklistCopy, path: Path, what: str) -> None:
    tell(database, group("NW", "1"))
    keeper.refresh()
    good = path.read_bytes()
    keeper.close()
    left = {"garbage": b"\xa5" * 8192, "cut": good[:3000], "empty": b"", "no table": good[:4096]}[what]
    path.write_bytes(left)
    with pytest.raises(StoreUnavailable):
        copy.search(Criteria(), None, 9)
    assert copy.age() is None
    assert keeper.refresh() == 1
    assert_same(database, copy, 1)


@one_database
def test_cannot_be_written(database: Database, keeper: CopyKeeper, copy: WorklistCopy, path: Path) -> None:
    tell(database, group("NW", "1"))
    for file in path.parent.iterdir():
        file.unlink()
    path.parent.rmdir()
    with pytest.raises(CopyTrouble):
        keeper.refresh()
    path.parent.mkdir()
    assert keeper.refresh() == 1
    assert_same(database, copy, 1)


def test_stays_while_the_database_is_away(
    database: Database, keeper: CopyKeeper, copy: WorklistCopy, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell(database, group("NW", "1"))
    keeper.refresh()

    def away(point: str) -> None:
        raise OSError(5, point)

    with monkeypatch.context() as patch:
        patch.setattr("broker.faults.point", away)
        with pytest.raises(StoreUnavailable):
            keeper.refresh()
    assert len(copy.search(Criteria(), None, 9)) == 1
    assert_same(database, copy, 1)


def test_a_refresh_that_breaks_off_changes_nothing(
    database: Database, keeper: CopyKeeper, copy: WorklistCopy, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell(database, group("NW", "1"))
    keeper.refresh()
    before = copy.search(Criteria(), None, 9)
    tell(database, group("NW", "2"))
    tell(database, group("CA", "1"))
    with monkeypatch.context() as patch:
        for source in ("_AttachedFile", "_Elsewhere"):
            patch.setattr(
                f"broker.store.worklist.outage_keeper.{source}.add",
                lambda *_: (_ for _ in ()).throw(StoreUnavailable()),
            )
        with pytest.raises(StoreUnavailable):
            keeper.refresh()
    assert copy.search(Criteria(), None, 9) == before
    assert keeper.refresh() == 2
    assert_same(database, copy, 1)


@one_database
def test_a_database_that_cannot_be_read_leaves_the_copy(
    database: Database, keeper: CopyKeeper, copy: WorklistCopy, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell(database, group("NW", "1"))
    keeper.refresh()
    tell(database, group("NW", "2"))
    with monkeypatch.context() as patch:
        broken = sqlite3.OperationalError("disk I/O error")
        patch.setattr("broker.store.worklist.outage_keeper._AttachedFile.add", lambda *_: (_ for _ in ()).throw(broken))
        with pytest.raises(StoreUnavailable):
            keeper.refresh()
    assert len(copy.search(Criteria(), None, 9)) == 1
    assert keeper.refresh() == 1
    assert_same(database, copy, 2)


@one_database
def test_a_copy_that_breaks_is_made_anew(
    database: Database, keeper: CopyKeeper, copy: WorklistCopy, path: Path
) -> None:
    tell(database, group("NW", "1"))
    keeper.refresh()
    sqlite3.connect(path).execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with path.open("r+b") as file:
        file.write(b"\xa5" * 40_960)
    tell(database, group("NW", "2"))
    with pytest.raises(CopyTrouble):
        keeper.refresh()
    assert keeper.refresh() == 2
    assert_same(database, copy, 2)


def test_clock_of_this_machine() -> None:
    clock = Clock()
    assert clock.boot
    assert clock.since(time.time() - 5, clock.running() - 5, clock.boot) == pytest.approx(5, abs=1)
