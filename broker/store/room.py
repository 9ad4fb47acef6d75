"""Watches the free room of a file system, and refuses new work before the disk is full: large objects first, then all
objects, orders last. What was accepted before can still be worked off then.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, TypeVar

from broker import telemetry
from broker.errors import SpoolUnavailable, StoreFull

LOOK = 1.0  # seconds between two looks while there is room; without, each intake looks again
LARGE = 32 * 1024**2  # bytes of a large object
SHARES = (0.05, 0.02, 0.005)  # of a file system: no mark is higher, so that a small disk can be used too
RESERVED = 256 * 1024  # bytes: the index of a log of about 128 MiB
PLENTY = 8  # times as much must be free before it is reserved: what was given up is not taken at once
INODES = (0, 1000, 100)  # free ones, for the same three
_Unit = TypeVar("_Unit", bound=Callable[..., Any])


class Room(IntEnum):
    """What is taken in."""

    EVERYTHING = 0
    NO_LARGE = 1
    NO_OBJECTS = 2
    NOTHING = 3


@dataclass(frozen=True, slots=True)
class Marks:
    """Free bytes below which large objects, objects, and orders are refused."""

    large: int
    objects: int
    orders: int


@dataclass(frozen=True, slots=True)
class Disk:
    """What is free of a file system: bytes, inodes (None: it has no number of them), and what is taken in with that.

    `size`: bytes of all of it.
    """

    free: int
    inodes: int | None
    room: Room
    size: int


def measure(folder: Path, marks: Marks, statvfs: Callable[[Path], os.statvfs_result] = os.statvfs) -> Disk:
    """Look at the file system of a folder. Raises OSError."""
    disk = statvfs(folder)
    free, inodes = disk.f_bavail * disk.f_frsize, disk.f_favail if disk.f_files else None
    size = disk.f_blocks * disk.f_frsize
    return Disk(free, inodes, _room(free, size, inodes, marks), size)


def needs_room(unit: _Unit) -> _Unit:
    """Mark a unit that takes in an order: it is refused while there is no room."""
    unit.__dict__["needs_room"] = True
    return unit


class DiskRoom:
    """The room of one file system. Its methods may run in any thread."""

    def __init__(
        self, folder: Path, name: str, marks: Marks, statvfs: Callable[[Path], os.statvfs_result] = os.statvfs
    ) -> None:
        """`name` is the label of the metrics."""
        self._folder = folder
        self.name = name
        self._marks = marks
        self._statvfs = statvfs
        self._lock = threading.Lock()
        self._looked = 0.0
        self.room = Room.EVERYTHING

    def measured(self) -> Disk | None:
        """What is free now; None if the file system cannot be asked: whoever writes there says what is wrong."""
        try:
            return measure(self._folder, self._marks, self._statvfs)
        except OSError:
            return None

    def device(self) -> int | None:
        """The number of the file system; None if it cannot be asked."""
        try:
            return self._folder.stat().st_dev
        except OSError:
            return None

    def mark(self, size: int) -> int:
        """Free bytes below which objects are refused, on a file system of so many bytes."""
        return min(self._marks.objects, int(size * SHARES[1]))

    def look(self) -> Room:
        """Look at the disk now."""
        disk = self.measured()
        if disk is None:
            return self.room
        free, room = disk.free, disk.room
        telemetry.DISK_FREE.labels(self.name).set(free)
        telemetry.DISK_INODES.labels(self.name).set(disk.inodes or 0)
        with self._lock:
            before, self.room, self._looked = self.room, room, time.monotonic()
        if room != before:
            log = telemetry.logger().warning if room > before else telemetry.logger().info
            log("disk.room", kind=self.name, state=room.name.lower(), bytes=free)
        return room

    def check_object(self, size: int = 0) -> None:
        """Raise SpoolUnavailable if no object of so many bytes is taken in."""
        if self._now() >= (Room.NO_LARGE if size > LARGE else Room.NO_OBJECTS):
            telemetry.DISK_REFUSED.labels("object").inc()
            raise SpoolUnavailable("the disk has too little room", code="disk-low")

    def check_order(self) -> None:
        """Raise StoreFull if no order is taken in."""
        if self._now() >= Room.NOTHING:
            telemetry.DISK_REFUSED.labels("order").inc()
            raise StoreFull("the disk has too little room", code="disk-low")

    def _now(self) -> Room:
        fresh = self.room is Room.EVERYTHING and time.monotonic() - self._looked < LOOK
        return self.room if fresh else self.look()


class Reserve:
    """A file that keeps room on the disk of the database, for a start when there is none left.

    After a kill SQLite reads its log by an index in a file beside it. Without room for that it does not open.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / "reserve"

    def keep(self) -> None:
        """Make the file if it is not there; without plenty of room nothing is made."""
        part = self._file.with_suffix(".part")
        try:
            disk = os.statvfs(self._file.parent)
            if self._file.exists() or disk.f_bavail * disk.f_frsize < PLENTY * RESERVED:
                return
            with part.open("wb") as out:
                os.posix_fallocate(out.fileno(), 0, RESERVED)
            part.replace(self._file)
        except OSError:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)

    def give_up(self) -> bool:
        """Make room by removing the file; False if it was not there, or cannot be removed."""
        try:
            self._file.unlink()
        except OSError:
            return False
        telemetry.logger().warning("disk.reserve_used", bytes=RESERVED)
        return True


def _room(free: int, size: int, inodes: int | None, marks: Marks) -> Room:
    wanted = (marks.large, marks.objects, marks.orders)
    for room, mark, share, least in reversed(list(zip(list(Room)[1:], wanted, SHARES, INODES, strict=True))):
        if free < min(mark, int(size * share)) or (inodes is not None and inodes < least):
            return room
    return Room.EVERYTHING
