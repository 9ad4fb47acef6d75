"""Remembers in the data folder how the last backup went, so that a broker beside it can tell."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

FILE = "last-backup.json"
_MOST = 10_000  # bytes


class LastBackup(BaseModel):
    """When the last good backup began, how long it took (s), where it is, and the code of what went wrong since.

    `proven_at`: when that backup was read again as a whole and found good. `restored`: its database was also restored
    into a temporary place. Times in s since the epoch, 0 for never.
    """

    model_config = ConfigDict(frozen=True)

    good_at: float = 0.0
    seconds: float = 0.0
    folder: str = ""
    proven_at: float = 0.0
    restored: bool = False
    failed_at: float = 0.0
    failed: str = ""


def last(data: Path) -> LastBackup | None:
    """How the last backup of a data folder went, None if there was none or that is not known."""
    try:
        with (data / FILE).open("rb") as file:
            return LastBackup.model_validate_json(file.read(_MOST))
    except (OSError, ValidationError):
        return None


def note_good(data: Path, began: float, seconds: float, folder: str) -> None:
    """Remember a backup that was made. On a full disk nothing is remembered; so it is with the others below."""
    _keep(data, LastBackup(good_at=began, seconds=seconds, folder=folder))


def note_proven(data: Path, at: float, *, restored: bool) -> None:
    """Remember that the last backup was found good."""
    _keep(data, (last(data) or LastBackup()).model_copy(update={"proven_at": at, "restored": restored}))


def note_failed(data: Path, began: float, code: str) -> None:
    """Remember that a backup failed, and why."""
    note_damaged(data, last(data) or LastBackup(), began, code)


def note_damaged(data: Path, before: LastBackup, began: float, code: str) -> None:
    """Remember that a backup is not good: the last good one is that of before."""
    _keep(data, before.model_copy(update={"failed_at": began, "failed": code}))


def _keep(data: Path, known: LastBackup) -> None:
    part = data / f"{FILE}.part"
    with suppress(OSError):
        part.write_text(known.model_dump_json(), encoding="utf-8")
        os.chmod(part, 0o640)
        part.replace(data / FILE)
