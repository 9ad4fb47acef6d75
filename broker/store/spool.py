"""Files of received objects. Names are ours, never from the network; folders are made by time.

`keep` means: file fsynced, its folder fsynced, and for a new folder its parents too. After any error the file is
abandoned and fsync is never tried on it again, since the kernel may have dropped the dirty pages. A file without a
database row is no object: the row is the marker that it was acknowledged.
"""

from __future__ import annotations

import errno
import os
import time
import uuid
from hashlib import sha256
from pathlib import Path

from broker import faults
from broker.errors import SpoolUnavailable


def _unavailable(error: OSError) -> SpoolUnavailable:
    return SpoolUnavailable(
        "the spool cannot be written", code=f"spool-{errno.errorcode.get(error.errno or 0, 'error')}"
    )


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class SpoolFile:
    """One file being written. Not thread-safe; one writer uses it from one thread at a time."""

    def __init__(self, root: Path, folder: Path, head: bytes) -> None:
        self._root = root
        self.path = folder / f"{uuid.uuid4().hex}.dcm"
        self._digest = sha256()
        self._unhashed = b""
        self.data_offset = len(head)
        self.data_length = 0
        try:
            flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
            self._descriptor = os.open(self.path, flags, 0o600)
        except OSError as error:
            raise _unavailable(error) from None
        try:
            self._write(head)
        except SpoolUnavailable:
            self.abandon()
            raise

    @property
    def name(self) -> str:
        """Path below the spool, as it is stored in the database."""
        return self.path.relative_to(self._root).as_posix()

    @property
    def digest(self) -> bytes:
        """SHA-256 of the data set bytes written so far."""
        self._hash()
        return self._digest.digest()

    def write(self, data: bytes) -> None:
        """Append data set bytes. Raises SpoolUnavailable."""
        self._hash()
        self._write(data)
        self._unhashed = data
        self.data_length += len(data)

    def keep(self) -> None:
        """Put file and folder on stable storage; may run beside a reader.

        Raises SpoolUnavailable; then call abandon.
        """
        try:
            faults.point("spool.sync")
            os.fsync(self._descriptor)
            _sync_folder(self.path.parent)
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

    def _hash(self) -> None:
        """Bytes are hashed one step late, so that the last and mostly only piece is hashed while the disk syncs."""
        data, self._unhashed = self._unhashed, b""
        self._digest.update(data)

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

    def __init__(self, root: Path) -> None:
        """Create the folder if needed. Raises SpoolUnavailable."""
        self.root = root
        self._known: set[Path] = set()
        self._make(root)

    def create(self, head: bytes) -> SpoolFile:
        """A new file that begins with `head`. Raises SpoolUnavailable."""
        folder = self.root / time.strftime("%Y%m%d/%H", time.gmtime())
        if folder not in self._known:
            self._make(folder.parent)
            self._make(folder)
            self._known.add(folder)
        try:
            return SpoolFile(self.root, folder, head)
        except SpoolUnavailable:
            self._known.discard(folder)  # perhaps somebody tidied it away
            raise

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
                _sync_folder(folder.parent)
        except OSError as error:
            raise _unavailable(error) from None
