"""Remembers in the data folder how the last backup went, so that a broker beside it can tell."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

FILE = "last-backup.json"
_MOST = 10_000  # bytes


class LastBackup(BaseModel):
    """When the last good backup began and how long it took (s), and the code of what went wrong since, if anything.

    Times in s since the epoch, 0 for never.
    """

    model_config = ConfigDict(frozen=True)

    good_at: float = 0.0
    seconds: float = 0.0
    failed_at: float = 0.0
    failed: str = ""


def last(data: Path) -> LastBackup | None:
    """How the last backup of a data folder went, None if there was none or that is not known."""
    try:
        with (data / FILE).open("rb") as file:
            return LastBackup.model_validate_json(file.read(_MOST))
    except (OSError, ValidationError):
        return None


def note(data: Path, began: float, seconds: float, *, failed: str = "") -> None:
    """Remember that a backup ended; `failed`: the code of what went wrong. On a full disk nothing is remembered."""
    before = last(data) or LastBackup()
    changed: dict[str, Any] = {"failed_at": began, "failed": failed} if failed else {"good_at": began}
    if not failed:
        changed |= {"seconds": seconds, "failed_at": 0.0, "failed": ""}
    part = data / f"{FILE}.part"
    with suppress(OSError):
        part.write_text(json.dumps(before.model_dump() | changed), encoding="ascii")
        os.chmod(part, 0o640)
        part.replace(data / FILE)
