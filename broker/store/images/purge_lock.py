"""Keeps files of the spool while they are copied: nothing is purged between the copy of the database and theirs.

A lock of the file system, so that it ends with the process that holds it, whatever became of that.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from broker.errors import SpoolUnavailable

FILE = "purge.lock"
WAIT = 60.0  # seconds that a purge may take for the objects it looks at together
_LOOK = 0.05  # seconds between two tries


@contextmanager
def purging(root: Path) -> Iterator[bool]:
    """While it lasts files below `root` may be deleted, if it gives True; else they are being copied."""
    descriptor = _opened(root)
    try:
        yield _locked(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


@contextmanager
def kept(root: Path) -> Iterator[None]:
    """While it lasts nothing below `root` is purged. Raises SpoolUnavailable if a purge does not end for WAIT."""
    descriptor = _opened(root)
    try:
        deadline = time.monotonic() + WAIT
        while not _locked(descriptor, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                raise SpoolUnavailable("a purge or another backup does not end", code="spool-locked")
            time.sleep(_LOOK)
        yield
    finally:
        os.close(descriptor)


def _opened(root: Path) -> int:
    try:
        return os.open(root / FILE, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SpoolUnavailable(f"the spool cannot be locked: {error.strerror}", code="spool-locked") from None


def _locked(descriptor: int, how: int) -> bool:
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
