"""Locks the data directory for one broker at a time; keeps its log key and its identity; announces its listeners."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import math
import os
import re
import threading
import time
import uuid
from pathlib import Path
from typing import Any

from broker.errors import ConfigurationError, Unavailable

_IDENTITY = re.compile(r"([0-9a-f]{32}):([0-9]{1,15})\n")
_CLOCK = "last-clock"
MIN_KEY = 16  # bytes of the log key
SEAL_KEY = 32  # bytes of the key of sealed secrets
PATIENCE = 3.0  # seconds that a killed broker's workers may hold the lock: they may wait for the disk for a moment


class DataDirectory:
    """The data directory, opened and locked for this process."""

    def __init__(self, path: Path) -> None:
        """Create if needed and lock. Raises ConfigurationError when it cannot be used or is in use."""
        self.path = path
        self.key_replaced = False  # the log key was empty or too short
        self._key = b""
        self._sealing = threading.Lock()
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = _open_lock(path / "lock")
        except OSError as error:
            raise ConfigurationError(f"service.data_dir: {path}: {error.strerror}") from None
        deadline = time.monotonic() + PATIENCE
        while not _locked(self._lock):
            if time.monotonic() > deadline:
                os.close(self._lock)
                raise ConfigurationError(f"service.data_dir: {path}: in use by another broker: stop it first")
            time.sleep(0.05)

    @property
    def lock(self) -> int:
        """The descriptor that holds the lock. A process that inherits it holds the lock too."""
        return self._lock

    def log_key(self) -> bytes:
        """The key of the hashes of identifiers in logs, made at first use and stable over restarts.

        A shorter one than MIN_KEY is replaced: anybody could guess what a hash stands for. Raises ConfigurationError.
        """
        if not self._key:
            file = self.path / "log.key"
            try:
                self._key = file.read_bytes() if file.exists() else b""
            except OSError as error:
                raise ConfigurationError(f"service.data_dir: {file}: {error.strerror}") from None
            if len(self._key) < MIN_KEY:
                self.key_replaced = file.exists()
                self._key = os.urandom(32)
                with contextlib.suppress(OSError):  # without room for it, hashes change at the next start
                    _keep_key(file, self._key)
        return self._key

    def seal_key(self) -> bytes:
        """The key of secrets in the database that must be read again, made at first use.

        It is never replaced: what it has sealed could not be read any more. Raises Unavailable.
        """
        file = self.path / "seal.key"
        with self._sealing:
            try:
                if not file.exists():
                    _keep_for_ever(file, os.urandom(SEAL_KEY))
                key = file.read_bytes()
            except OSError as error:
                raise Unavailable(f"{file}: {error.strerror}", code="seal-key") from None
        if len(key) != SEAL_KEY:
            raise Unavailable(f"{file}: {SEAL_KEY} bytes are expected, not {len(key)}", code="seal-key")
        return key

    def owner(self) -> str:
        """Name this start in leases, as `IDENTITY:START`: who the data directory is, and how often it was started.

        Another broker on the same host, with the same host name, has another identity: it must not take our work.
        A disk that cannot be written keeps nobody from starting: the start then has a random number.
        """
        file = self.path / "identity"
        try:
            known = _IDENTITY.fullmatch(file.read_text(encoding="ascii"))
        except (OSError, ValueError):
            known = None
        identity, start = (known[1], int(known[2]) + 1) if known else (uuid.uuid4().hex, 1)
        try:
            replace_file(file, f"{identity}:{start}\n")
        except OSError:
            return f"{identity}:{uuid.uuid4().hex[:8]}"
        return f"{identity}:{start}"

    def last_clock(self) -> float | None:
        """The clock when a broker last ran here, in seconds since the epoch; None if that is not known."""
        return kept_clock(self.path)

    def keep_clock(self) -> None:
        """Keep the clock for `last_clock` of the next start, if the disk can be written."""
        part = self.path / f"{_CLOCK}.part"
        with contextlib.suppress(OSError):
            part.write_text(f"{time.time():.0f}\n", encoding="ascii")
            part.replace(self.path / _CLOCK)

    def announce(self, listeners: dict[str, Any]) -> None:
        """Write `listeners.json` once every door is open: scripts and tests read the bound ports there."""
        part = self.path / "listeners.json.part"
        part.write_text(json.dumps(listeners), encoding="utf-8")
        part.replace(self.path / "listeners.json")

    def close(self) -> None:
        """Remove `listeners.json` and release the lock."""
        with contextlib.suppress(OSError):
            (self.path / "listeners.json").unlink(missing_ok=True)
        os.close(self._lock)


def kept_clock(folder: Path) -> float | None:
    """See `DataDirectory.last_clock`; for who does not hold the lock of the folder."""
    try:
        clock = float((folder / _CLOCK).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    return clock if math.isfinite(clock) else None


def _open_lock(file: Path) -> int:
    """Open the file of the lock; one that exists can be locked on a read-only disk too. Raises OSError."""
    try:
        return os.open(file, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.ENOSPC):
            raise
    return os.open(file, os.O_RDONLY | os.O_CLOEXEC)


def _keep_key(file: Path, key: bytes) -> None:
    """Write the log key, whole or not at all. Raises OSError."""
    with os.fdopen(os.open(file, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "wb") as out:
        try:
            out.write(key)
            out.flush()
        except OSError:
            file.unlink(missing_ok=True)
            raise


def _keep_for_ever(file: Path, key: bytes) -> None:
    """Write a key, whole or not at all, so that it outlives a power cut. Raises OSError."""
    fresh = file.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as out:
        out.write(key)
        out.flush()
        os.fsync(out.fileno())
    fresh.rename(file)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def replace_file(file: Path, text: str) -> None:
    """Write a small file so that after a crash it is the old one or the new one. Raises OSError."""
    part = file.with_name(file.name + ".part")
    with part.open("w", encoding="ascii") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    part.replace(file)
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
