"""Makes the daily backup of `[backup]`, by `broker backup` in a process of its own.

That process has a lower priority and its own memory: a large backup delays nobody. How it went stands in the data
folder (`backup.last`), so that neither a restart nor a backup by hand is forgotten.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from contextlib import suppress
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

from broker import telemetry
from broker.backup.last import LastBackup, last
from broker.service.status.duties import DutyBook
from broker.settings import Settings

LOOK = 30.0  # seconds between two looks whether one is due
AGAIN = 3600.0  # seconds from a failed one to the next try
_END = 10.0  # seconds for a backup to end that was told to


def scheduled(now: float, at: str, zone: tzinfo) -> float:
    """When the clock of the site last showed a time of the day (s since the epoch).

    A time that the clock shows twice counts the first time; one that it leaves out counts by the clock of before.
    """
    hour, minute = map(int, at.split(":"))
    day = datetime.fromtimestamp(now, zone).replace(hour=hour, minute=minute, second=0, microsecond=0, fold=0)
    if day.timestamp() > now:
        day = (day - timedelta(days=1)).replace(fold=0)
    return day.timestamp()


def is_due(now: float, slot: float, known: LastBackup | None) -> bool:
    """No good backup was begun since a time, and none failed just now. The first one is due at once."""
    if known is None:
        return True
    if known.failed_at and 0 <= now - known.failed_at < AGAIN:
        return False
    return not slot <= known.good_at <= now


class BackupDuty:
    """Looks whether a backup is due, and makes it. Does nothing without `[backup] folder`."""

    def __init__(self, settings: Settings, config: Path | None, duties: DutyBook) -> None:
        """`config` is the file of the settings. `duties` remembers how each backup went."""
        self._settings, self._config, self._duties = settings, config, duties
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look."""
        if self._settings.backup.folder is not None:
            self._task = asyncio.create_task(self._run(self._settings.backup.folder))

    async def stop(self) -> None:
        """End; a backup under way is broken off, and is none."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _run(self, folder: Path) -> None:
        section, data = self._settings.backup, self._settings.service.data_dir
        while True:
            now = time.time()
            slot = scheduled(now, section.at, self._settings.zone())
            if is_due(now, slot, await asyncio.to_thread(last, data)):
                await self._back_up(folder)
            await asyncio.sleep(LOOK)

    async def _back_up(self, folder: Path) -> None:
        began = time.monotonic()
        try:
            code = await self._call(folder)
        except OSError as error:
            failed = telemetry.describe(error)
        else:
            known = await asyncio.to_thread(last, self._settings.service.data_dir)
            failed = "" if code == 0 else (known and known.failed) or f"exit code {code}"
        if failed:
            telemetry.logger().warning("housekeeping.failed", kind="backup", error=failed)
        self._duties.ran("backup", time.time(), time.monotonic() - began, failed)

    async def _call(self, folder: Path) -> int:
        """Run `broker backup`; its exit code. It ends when this is cancelled. Raises OSError."""
        section = self._settings.backup
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "broker", "backup", str(folder), "--keep", str(section.keep)),
            *(["--verify"] if section.verify else []),
            *([] if self._config is None else ["--config", str(self._config)]),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        try:
            return await process.wait()
        except asyncio.CancelledError:
            with suppress(ProcessLookupError):
                process.terminate()
            try:
                async with asyncio.timeout(_END):
                    await process.wait()
            except TimeoutError:
                process.kill()
            raise
