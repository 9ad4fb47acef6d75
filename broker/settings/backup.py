"""The keys of `[backup]`: the backups that a running broker makes by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, WithJsonSchema

from broker.settings.sections import Section


def _time_of_day(value: str) -> str:
    """Check a time of the day, HH:MM."""
    hour, _, minute = value.partition(":")
    if not (len(hour) == len(minute) == 2 and (hour + minute).isascii() and (hour + minute).isdigit()):
        raise ValueError("a time of the day, such as 02:30")
    if int(hour) > 23 or int(minute) > 59:
        raise ValueError("a time of the day, such as 02:30")
    return value


TimeOfDay = Annotated[
    str, AfterValidator(_time_of_day), WithJsonSchema({"type": "string", "format": "time of the day, like `02:30`"})
]


class BackupSection(Section):
    """`[backup]`: the backup that the broker makes each day, as `broker backup` makes it."""

    folder: Path | None = Field(
        default=None,
        description="Folder of the backups, on another disk than the data folder. Left out: none are made by itself.",
    )
    at: TimeOfDay = Field(default="02:30", description="When it is made, on the clock of the site.")
    keep: int = Field(default=14, ge=0, le=10_000, description="Backups that are kept, the newest ones. 0: all.")
    verify: bool = Field(
        default=True,
        description="Each is read again as a whole, and its database is restored into a temporary place.",
    )
