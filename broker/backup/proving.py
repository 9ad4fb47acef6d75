"""Makes a backup and proves that it is good: reads all of it again, and restores its database into a temporary place.

A backup that is not good counts as failed, and no earlier one is removed for it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from broker.backup import last, making, restoring
from broker.backup.manifest import Manifest
from broker.backup.restoring import BackupCheck
from broker.backup.spool_copy import listed
from broker.errors import BadContent, BrokerError, StoreUnavailable, Unavailable
from broker.settings import Settings
from broker.store.copies import database_copy, trial
from broker.store.db import migrate
from broker.store.images import soundness

DAMAGED = "backup-damaged"
PAGE = 500  # objects


@dataclass(frozen=True, slots=True)
class ProvenBackup:
    """A backup that was made. `check`: what was found in it, None if nobody looked.

    `restored`: its database was restored for a trial; the role of PostgreSQL may not be allowed to make one.
    """

    folder: Path
    manifest: Manifest
    check: BackupCheck | None = None
    restored: bool = False

    @property
    def good(self) -> bool:
        """Nobody found damage."""
        return self.check is None or not self.check.spoiled


def make(settings: Settings, config: Path | None, into: Path, *, keep: int, verify: bool) -> ProvenBackup:
    """Make a backup in a new folder below `into`, prove it, then remove the oldest there beyond `keep`, 0: none.

    How it went is noted in the data folder. Raises BrokerError.
    """
    data = settings.service.data_dir
    before = last.last(data) or last.LastBackup()
    folder, manifest = making.make(settings, config, into)
    done = ProvenBackup(folder, manifest)
    if verify:
        try:
            done = prove(settings, done)
        except BrokerError:
            last.note_damaged(data, before, manifest.made_at, DAMAGED)
            raise
        if not done.good:
            last.note_damaged(data, before, manifest.made_at, DAMAGED)
            return done
        last.note_proven(data, time.time(), restored=done.restored)
    if keep:
        making.prune(into, keep)
    return done


def prove(settings: Settings, made: ProvenBackup) -> ProvenBackup:
    """Read a backup as a whole and try its database out. Raises BadContent, StoreUnavailable, Unavailable."""
    found = restoring.check(made.folder)
    url = settings.database_url()
    copy = made.folder / database_copy.FILES[found.manifest.database]
    try:
        with making.alone(made.folder.parent), trial.restored(url, copy, made.folder.parent) as engine:
            if engine is not None:
                nameless = tuple((row, soundness.MISSING) for row in _without_file(engine, found))
                found = replace(found, spoiled=found.spoiled + nameless)
            return replace(made, check=found, restored=engine is not None)
    except OSError as error:
        raise Unavailable(f"{error.filename or made.folder}: {error.strerror}", code="backup-disk") from None
    except SQLAlchemyError as error:
        raise StoreUnavailable(f"the restored database cannot be read: {type(error).__name__}") from None


def _without_file(engine: Engine, found: BackupCheck) -> Iterator[int]:
    """Objects (rows) of a restored database whose files the backup does not have. Raises BadContent."""
    if migrate.revision(engine) != found.manifest.revision:
        raise BadContent(f"{found.folder}: the copy of the database is not that of the backup")
    if found.manifest.more_missing:
        return  # the backup itself says that many were missing when it was made, and not which
    have = listed(found.folder)
    there = next(have, None)
    after = 0
    while True:
        with engine.connect() as connection:
            page = soundness.kept_files(connection, after, PAGE)
        for item in page:
            while there is not None and there.id < item.id:
                there = next(have, None)
            if (there is None or there.id != item.id) and item.id not in found.manifest.missing:
                yield item.id
        if len(page) < PAGE:
            return
        after = page[-1].id
