"""Files of received objects. Names are ours, never from the network; folders are made by time.

`keep` means: file fsynced, its folder fsynced, and for a new folder its parents too. Making a file and syncing its
folder takes as long as writing a slice, so once objects flow some empty files are made and synced ahead. The disk
begins with each piece as it is written, so that the sync at the end finds little left to do. After any
error the file is abandoned and fsync is never tried on it again, since the kernel may have dropped the dirty pages.
A file without a database row is no object: the row is the marker that it was acknowledged.
"""

from __future__ import annotations

import ctypes
import errno
import os
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import cast

from broker import faults
from broker.errors import SpoolUnavailable
from broker.store.images.fresh_bytes import FreshBytes, MemoryBudget
from broker.store.images.spool_clock import SpoolClock
from broker.store.room import LARGE, DiskRoom

AHEAD = 16  # empty files made ahead
AHEAD_AGE = 600.0  # seconds after which they are not used any more
_WRITE = 2  # SYNC_FILE_RANGE_WRITE: begin, wait for nothing
FLOWING = 1.0  # seconds between two objects of a stream of them, at most


def _unavailable(error: OSError) -> SpoolUnavailable:
    return SpoolUnavailable(
        "the spool cannot be written", code=f"spool-{errno.errorcode.get(error.errno or 0, 'error')}"
    )


def _loaded() -> Callable[[int, int, int, int], int]:
    """sync_file_range(2): descriptor, offset, bytes, flags. Only a hint; where there is none the fsync does it all."""
    function = getattr(ctypes.CDLL(None), "sync_file_range", None)
    if function is None:
        return lambda descriptor, offset, size, flags: 0
    function.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return cast(Callable[[int, int, int, int], int], function)


_sync_file_range = _loaded()


def sync_folder(folder: Path) -> None:
    """Put the names in a folder on stable storage. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@dataclass(frozen=True, slots=True)
class StartedFile:
    """A file without content yet, open for writing. `born`: monotonic seconds."""

    path: Path
    descriptor: int
    folder_synced: bool
    born: float

    @classmethod
    def make(cls, folder: Path) -> StartedFile:
        """Create one in a folder under a name that nobody has. Raises OSError."""
        path = folder / f"{uuid.uuid4().hex}.dcm"
        flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
        return cls(path, os.open(path, flags, 0o600), False, time.monotonic())

    def discard(self) -> None:
        """Close and remove it: it is not needed."""
        os.close(self.descriptor)
        self.path.unlink(missing_ok=True)


class SpoolFile:
    """One file being written. Not thread-safe; one writer uses it from one thread at a time."""

    def __init__(
        self,
        root: Path,
        blank: StartedFile,
        head: bytes,
        check_room: Callable[[int], None] = lambda size: None,
        fresh: FreshBytes | None = None,
    ) -> None:
        """`fresh` keeps what is written besides, as long as it is short."""
        self.fresh = fresh
        self._check_room = check_room
        self._root = root
        self.path = blank.path
        self._descriptor = blank.descriptor
        self._folder_synced = blank.folder_synced
        self._digest = sha256()
        self.data_offset = len(head)
        self.data_length = 0
        try:
            self._write(head)
        except SpoolUnavailable:
            self.abandon()
            raise

    @property
    def name(self) -> str:
        """Path below the spool, as it is stored in the database."""
        return str(self.path)[len(str(self._root)) + 1 :]  # pathlib takes ten times as long

    @property
    def descriptor(self) -> int:
        """The open file."""
        return self._descriptor

    @property
    def digest(self) -> bytes:
        """SHA-256 of the data set bytes written so far."""
        return self._digest.digest()

    def write(self, *parts: bytes) -> None:
        """Append data set bytes. Raises SpoolUnavailable."""
        for part in parts:
            self._write(part)
        size = sum(map(len, parts))
        _sync_file_range(self._descriptor, self.data_offset + self.data_length, size, _WRITE)
        for part in parts:
            self._digest.update(part)
            if self.fresh is not None:
                self.fresh.add(part)
        self.data_length += size
        if self.data_length - size <= LARGE < self.data_length:
            self._check_room(self.data_length)

    def keep(self) -> None:
        """Put file and folder on stable storage. Raises SpoolUnavailable; then call abandon."""
        try:
            faults.point("spool.sync")
            os.fsync(self._descriptor)
            if not os.fstat(self._descriptor).st_nlink:
                raise FileNotFoundError(errno.ENOENT, "somebody removed the file")
            if not self._folder_synced:
                sync_folder(self.path.parent)
        except OSError as error:
            raise _unavailable(error) from None
        faults.point("spool.synced")

    def close(self) -> None:
        """Give back the descriptor; the file stays."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)

    def abandon(self) -> None:
        """Close and remove; what was not acknowledged need not stay."""
        self.close()
        self.path.unlink(missing_ok=True)

    def _write(self, data: bytes) -> None:
        try:
            faults.point("spool.write")
            view = memoryview(data)
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError as error:
            raise _unavailable(error) from None


class Spool:
    """The folder of all received objects."""

    def __init__(self, root: Path, *, ahead: int = AHEAD, room: DiskRoom | None = None) -> None:
        """Create the folder if needed; `ahead`: empty files kept ready; `room` of its disk. Raises SpoolUnavailable."""
        self.root = root
        self.clock = SpoolClock(root)
        self._room = room
        self.memory = MemoryBudget()  # of the bytes of objects that are being received
        self._count = ahead
        self._known: set[Path] = set()
        self._ahead: deque[StartedFile] = deque()
        self._created = 0.0
        self._making = threading.Lock()
        self._maker = ThreadPoolExecutor(1, thread_name_prefix="spool-ahead")
        self._closed = False
        self._make(root)

    def create(self, head: bytes, fresh: bool = False) -> SpoolFile:
        """A new file that begins with `head`. `fresh`: its bytes will soon be wanted. Raises SpoolUnavailable."""
        self.check_room(0)
        blank = self._take()
        before, self._created = self._created, time.monotonic()
        flowing = self._created - before < FLOWING
        if flowing and len(self._ahead) < self._count // 2 and not self._making.locked() and not self._closed:
            self._maker.submit(self._make_ahead)
        if blank is None:
            folder = self._folder()
            try:
                blank = StartedFile.make(folder)
            except OSError as error:
                self._known.discard(folder)  # perhaps somebody tidied it away
                raise _unavailable(error) from None
        return SpoolFile(self.root, blank, head, self.check_room, FreshBytes(self.memory) if fresh else None)

    def new_path(self) -> Path:
        """A name in the folder of this hour that nobody has. Raises SpoolUnavailable."""
        return self._folder() / f"{uuid.uuid4().hex}.dcm"

    def check_room(self, size: int) -> None:
        """Raise SpoolUnavailable if the disk has no room for an object of so many bytes."""
        if self._room is not None:
            self._room.check_object(size)

    def read(self, name: str, offset: int, size: int) -> bytes:
        """Bytes of a file, fewer at its end. Raises OSError."""
        with self.locate(name).open("rb") as file:
            file.seek(offset)
            return file.read(size)

    def close(self) -> None:
        """Remove the files that were made ahead."""
        self._closed = True
        self._maker.shutdown(wait=True)
        while self._ahead:
            self._ahead.popleft().discard()

    def _take(self) -> StartedFile | None:
        """A file made ahead. An old one is left out, since the sweep may take it for a forgotten one."""
        while True:
            try:
                blank = self._ahead.popleft()
            except IndexError:
                return None
            if time.monotonic() - blank.born < AHEAD_AGE:
                return blank
            blank.discard()

    def _make_ahead(self) -> None:
        """Make empty files and sync their folder once for all of them. Failing costs nothing but the advantage."""
        if not self._making.acquire(blocking=False):
            return
        blanks: list[StartedFile] = []
        try:
            folder = self._folder()
            blanks = [StartedFile.make(folder) for _ in range(self._count - len(self._ahead))]
            sync_folder(folder)
            self._ahead.extend(replace(blank, folder_synced=True) for blank in blanks)
        except (OSError, SpoolUnavailable):
            self._known.clear()
            for blank in blanks:
                blank.discard()
        finally:
            self._making.release()

    def _folder(self) -> Path:
        folder = self.root / time.strftime("%Y%m%d/%H", time.gmtime())
        if folder not in self._known:
            self._make(folder.parent)
            self._make(folder)
            self._known.add(folder)
        return folder

    def locate(self, name: str) -> Path:
        """The file of a stored name. Names come from our own database."""
        return self.root / name

    def remove(self, name: str) -> None:
        """Delete a file; one that is gone already is fine."""
        self.locate(name).unlink(missing_ok=True)

    def folders(self) -> list[Path]:
        """All hour folders, oldest first."""
        return sorted(path for path in self.root.glob("*/*") if path.is_dir() and path.parent.name.isdigit())

    def set_aside(self, path: Path) -> None:
        """Move a file without a row to `unclaimed/`: nobody was promised it, but nothing is deleted unseen."""
        folder = self.root / "unclaimed"
        self._make(folder)
        path.rename(folder / path.name)

    def _make(self, folder: Path) -> None:
        try:
            if not folder.is_dir():
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                sync_folder(folder.parent)
        except OSError as error:
            raise _unavailable(error) from None
