"""Locks the data directory for one broker at a time; keeps its log key and announces its listeners there."""

from __future__ import annotations

import fcntl
import json
import os
import time
from pathlib import Path
from typing import Any

from broker.errors import ConfigurationError

PATIENCE = 3.0  # seconds that a killed broker's workers may hold the lock: they may wait for the disk for a moment


class DataDirectory:
    """The data directory, opened and locked for this process."""

    def __init__(self, path: Path) -> None:
        """Create if needed and lock. Raises ConfigurationError when it cannot be used or is in use."""
        self.path = path
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(path / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
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
        """The key of the hashes of identifiers in logs, made at first use and stable over restarts."""
        file = self.path / "log.key"
        try:
            return file.read_bytes()
        except FileNotFoundError:
            key = os.urandom(32)
            with os.fdopen(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as out:
                out.write(key)
            return key

    def announce(self, listeners: dict[str, Any]) -> None:
        """Write `listeners.json` once every door is open: scripts and tests read the bound ports there."""
        part = self.path / "listeners.json.part"
        part.write_text(json.dumps(listeners), encoding="utf-8")
        part.replace(self.path / "listeners.json")

    def close(self) -> None:
        """Remove `listeners.json` and release the lock."""
        (self.path / "listeners.json").unlink(missing_ok=True)
        os.close(self._lock)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
