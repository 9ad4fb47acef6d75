"""Says what a backup holds, and finds backups in a folder of them.

A backup without its manifest is none: the manifest is written last.
"""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from hashlib import file_digest
from pathlib import Path
from typing import TextIO

from pydantic import BaseModel, ConfigDict, ValidationError

from broker.errors import BadContent

FILE = "manifest.json"
MISSING_TOLD = 1000  # objects without a file that are named
MAX_MANIFEST = 1 << 20  # bytes
_NAME = re.compile(r"([0-9]{8}T[0-9]{6}Z)(?:-([0-9]{1,9}))?")


class Manifest(BaseModel):
    """What a backup holds. Times in s since the epoch, sizes in bytes; `missing` are rows of objects without a file.

    `revision` is that of the database's schema, `sha256` that of the copied database.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int = 1
    made_at: float
    seconds: float
    broker: str
    database: str
    revision: str
    size: int
    sha256: str
    files: int
    file_bytes: int
    linked: int
    missing: tuple[int, ...] = ()
    more_missing: int = 0
    configuration: tuple[str, ...] = ()

    @property
    def lacking(self) -> int:
        """How many objects had no file."""
        return len(self.missing) + self.more_missing


def name_of(at: float) -> str:
    """The name of a backup made at a time (s since the epoch)."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y%m%dT%H%M%SZ")


def write(manifest: Manifest, folder: Path) -> None:
    """Put the manifest into a backup, on stable storage. Raises OSError."""
    with private(folder / FILE) as out:
        out.write(manifest.model_dump_json(indent=2))
        out.flush()
        os.fsync(out.fileno())


def private(file: Path) -> TextIO:
    """A new file of text that its owner alone may read. Raises OSError."""
    return os.fdopen(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600), "w", encoding="utf-8")


def read(folder: Path) -> Manifest:
    """The manifest of a backup. Raises BadContent."""
    try:
        with (folder / FILE).open("rb") as file:
            found = Manifest.model_validate_json(file.read(MAX_MANIFEST))
    except (OSError, ValidationError):
        raise BadContent(f"{folder}: no backup of a broker, or not a whole one") from None
    if found.format != 1:
        raise BadContent(f"{folder}: made by a newer version of the broker")
    return found


def backups(folder: Path) -> list[Path]:
    """The whole backups in a folder, the oldest first. Raises OSError."""
    whole = [path for path in folder.iterdir() if _NAME.fullmatch(path.name) and (path / FILE).is_file()]
    return sorted(whole, key=_when)


def _when(folder: Path) -> tuple[str, int]:
    """The second of a backup and its number in it: the tenth comes behind the ninth."""
    named = _NAME.fullmatch(folder.name)
    return (named[1], int(named[2] or 1)) if named else ("", 0)


def newest(folder: Path) -> Path:
    """A backup: the folder itself, or the newest one in it. Raises BadContent."""
    if (folder / FILE).is_file():
        return folder
    try:
        return backups(folder)[-1]
    except (OSError, IndexError):
        raise BadContent(f"{folder}: there is no backup of a broker") from None


def digest_of(file: Path) -> str:
    """The SHA-256 of a file as hex digits. Raises OSError."""
    with file.open("rb") as content:
        return file_digest(content, "sha256").hexdigest()
