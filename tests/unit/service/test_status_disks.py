"""How full the disks get: looked at cheaply, kept over a restart, bounded, and never in the way of a full disk."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from broker.service.status.disks import FILE, DiskWatch
from broker.store.room import DiskRoom, Marks, Room

GB = 1_000_000_000
MARKS = Marks(large=2 * GB, objects=GB, orders=GB // 10)


class Machine:
    """A disk of 100 GB and a clock."""

    def __init__(self) -> None:
        self.free, self.now = 50 * GB, 1_900_000_000.0

    def statvfs(self, path: Path) -> os.statvfs_result:
        found = SimpleNamespace(f_bavail=self.free, f_frsize=1, f_blocks=100 * GB, f_files=0, f_favail=0)
        return found  # type: ignore[return-value]


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def watch(machine: Machine, tmp_path: Path) -> Callable[[], DiskWatch]:
    """Makes a watch, as each start of a broker does."""
    (tmp_path / "spool").mkdir()

    def start() -> DiskWatch:
        rooms = [
            DiskRoom(tmp_path / part, name, MARKS, machine.statvfs) for part, name in (("", "data"), ("spool", "spool"))
        ]
        return DiskWatch(tmp_path, rooms, lambda: machine.now)

    return start


def fill(machine: Machine, watch: DiskWatch, hours: float, rate: int) -> None:
    for _ in range(int(hours * 6)):
        watch.look()
        machine.now += 600
        machine.free -= rate // 6
    watch.look()


def test_one_file_system_is_told_once(machine: Machine, watch: Callable[[], DiskWatch]) -> None:
    disks = watch()
    assert disks.facts() == ()
    disks.look()
    [fact] = disks.facts()
    assert (fact.holds, fact.size, fact.free, fact.mark) == (("data", "spool"), 100 * GB, 50 * GB, GB)
    assert not fact.forecast.known


def test_the_forecast_goes_on_after_a_restart(machine: Machine, watch: Callable[[], DiskWatch], tmp_path: Path) -> None:
    fill(machine, watch(), 3, 4 * GB)
    after = watch()
    after.look()
    [fact] = after.facts()
    assert fact.forecast.full_at == pytest.approx(machine.now + (fact.free - GB) / (4 * GB) * 3600, abs=300)
    assert (tmp_path / FILE).stat().st_size < 10_000


@pytest.mark.parametrize("text", ["", "[]", "{", '{"data": 5}', '{"data": {"fine": [[1]], "coarse": []}}', "\udcff"])
def test_a_damaged_history_is_forgotten(
    machine: Machine, watch: Callable[[], DiskWatch], tmp_path: Path, text: str
) -> None:
    (tmp_path / FILE).write_bytes(text.encode("utf-8", "surrogateescape"))
    disks = watch()
    disks.look()
    assert len(disks.facts()) == 1


def test_a_disk_that_cannot_be_written_or_asked_ends_nothing(
    machine: Machine, watch: Callable[[], DiskWatch], tmp_path: Path
) -> None:
    (tmp_path / "disk-history.part").mkdir()
    disks = watch()
    disks.look()
    assert len(disks.facts()) == 1
    (tmp_path / "spool").rmdir()
    disks.look()
    [fact] = disks.facts()
    assert fact.holds == ("data",)


def test_what_is_refused_just_now_is_told_at_once(machine: Machine, tmp_path: Path) -> None:
    room = DiskRoom(tmp_path, "data", MARKS, machine.statvfs)
    disks = DiskWatch(tmp_path, [room], lambda: machine.now)
    disks.look()
    machine.free = GB // 2
    room.look()
    [fact] = disks.facts()
    assert fact.room is Room.NO_OBJECTS
