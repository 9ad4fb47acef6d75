"""Before the disk is full large objects are refused, then all, orders last; all of it ends when there is room again."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Connection

from broker.errors import SpoolUnavailable, StoreFull
from broker.store.db.database import Database
from broker.store.images.spool import Spool
from broker.store.room import LARGE, DiskRoom, Marks, Room, needs_room

MIB = 1024**2
MARKS = Marks(large=400 * MIB, objects=200 * MIB, orders=100 * MIB)


class Disk:
    """A file system of 1 TiB with as much room as the test says."""

    def __init__(self) -> None:
        self.free, self.size, self.inodes = 500 * MIB, 1024**4, 10**6
        self.looks = 0

    def statvfs(self, _: Path) -> Any:
        self.looks += 1
        return SimpleNamespace(
            f_bavail=self.free // 4096, f_frsize=4096, f_blocks=self.size // 4096, f_favail=self.inodes, f_files=10**7
        )


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def room(disk: Disk, tmp_path: Path) -> DiskRoom:
    return DiskRoom(tmp_path, "data", MARKS, disk.statvfs)


@pytest.mark.parametrize(
    ("free", "inodes", "size", "expected"),
    [
        (500, 10**6, 1024**4, Room.EVERYTHING),
        (399, 10**6, 1024**4, Room.NO_LARGE),
        (199, 10**6, 1024**4, Room.NO_OBJECTS),
        (99, 10**6, 1024**4, Room.NOTHING),
        (500, 999, 1024**4, Room.NO_OBJECTS),
        (500, 99, 1024**4, Room.NOTHING),
        (5, 10**6, 12 * MIB, Room.EVERYTHING),  # a small disk has marks by its size
        (0, 10**6, 12 * MIB, Room.NOTHING),
    ],
)
def test_marks(disk: Disk, room: DiskRoom, free: int, inodes: int, size: int, expected: Room) -> None:
    disk.free, disk.inodes, disk.size = free * MIB, inodes, size
    assert room.look() is expected


def test_refusals_in_order_and_an_end_without_delay(disk: Disk, room: DiskRoom) -> None:
    disk.free = 300 * MIB
    room.look()
    room.check_object()
    room.check_object(LARGE)
    with pytest.raises(SpoolUnavailable):
        room.check_object(LARGE + 1)
    disk.free = 150 * MIB
    with pytest.raises(SpoolUnavailable):
        room.check_object()
    room.check_order()
    disk.free = 50 * MIB
    with pytest.raises(StoreFull):
        room.check_order()
    disk.free = 500 * MIB
    room.check_order()
    room.check_object(LARGE + 1)


def test_the_spool_refuses_a_large_object_on_its_way(disk: Disk, room: DiskRoom, tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", room=room)
    disk.free = 300 * MIB
    room.look()
    file = spool.create(b"head")
    file.write(bytes(LARGE))
    with pytest.raises(SpoolUnavailable):
        file.write(b"1")
    file.abandon()
    disk.free = 150 * MIB
    with pytest.raises(SpoolUnavailable):
        spool.create(b"head")
    spool.close()


def test_units_that_need_room_are_refused_and_others_go_on(database: Database, disk: Disk, room: DiskRoom) -> None:
    @needs_room
    def order(connection: Connection) -> str:
        return "taken"

    def upkeep(connection: Connection) -> str:
        return "done"

    database.check_room = room.check_order
    disk.free = 50 * MIB
    room.look()
    with pytest.raises(StoreFull):
        database.submit(order).result()
    with pytest.raises(StoreFull):
        database.execute(order)
    assert database.submit(upkeep).result() == database.execute(upkeep) == "done"
    disk.free = 500 * MIB
    assert database.submit(order).result() == database.execute(order) == "taken"
