"""Puts a file that lies beside the spool into it, by a second name for the same bytes: nothing is copied.

The old name stays until the row of the new one is committed. A crash in between leaves both, and no row: the old file
is still to be found, and the new name is one that nobody was promised.
"""

from __future__ import annotations

import os
from contextlib import suppress

from broker.store.images.spool import Spool, SpoolFile, StartedFile

_PIECE = 1 << 20  # bytes read at once


class LinkedFile(SpoolFile):
    """A spool file that is not written but read: its bytes were there before."""

    def __init__(self, spool: Spool, started: StartedFile, offset: int, length: int, times: tuple[int, int]) -> None:
        """The data set begins at `offset`. `times` (ns) of the last access and write come back if it is abandoned.

        Raises OSError if the file cannot be read, or is not as long as it was.
        """
        self._times = times
        super().__init__(spool.root, started, b"")
        self.data_offset = offset
        try:
            while self.data_length < length:
                piece = os.pread(self._descriptor, min(_PIECE, length - self.data_length), offset + self.data_length)
                if not piece:
                    raise OSError("the file has become shorter")
                self._digest.update(piece)
                self.data_length += len(piece)
        except OSError:
            self.abandon()
            raise

    def abandon(self) -> None:
        """Close, and remove the second name; the first one stays as it was."""
        if self._descriptor >= 0:
            with suppress(OSError):
                os.utime(self._descriptor, ns=self._times)
        super().abandon()


def may_link(spool: Spool, descriptor: int) -> bool:
    """The spool may keep an open file under a name of its own: same disk, no other name, and nobody else's."""
    info = os.fstat(descriptor)
    same_disk = info.st_dev == os.stat(spool.root).st_dev
    return same_disk and info.st_nlink == 1 and info.st_uid == os.geteuid()


def link(spool: Spool, folder: int, name: str, descriptor: int, offset: int, length: int) -> LinkedFile | None:
    """A second name in the spool for a file of an open folder, which is open too; None if the disk gives none.

    It looks young from now on, so that the sweep leaves it alone until its row is there. Raises OSError,
    SpoolUnavailable.
    """
    info = os.fstat(descriptor)
    path = spool.new_path()
    own = os.dup(descriptor)
    times = info.st_atime_ns, info.st_mtime_ns
    try:
        os.utime(own)
        os.fchmod(own, 0o600)
        os.link(name, path, src_dir_fd=folder, follow_symlinks=False)
    except OSError:  # a disk without links, or a system that forbids them
        os.utime(own, ns=times)
        os.close(own)
        return None
    file = LinkedFile(spool, StartedFile(path, own, folder_synced=False, born=0.0), offset, length, times)
    if os.stat(path, follow_symlinks=False).st_ino != info.st_ino:
        file.abandon()
        raise OSError("the name of the file belongs to another one now")
    return file
