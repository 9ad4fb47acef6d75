"""Puts a backup back into an empty data folder and an empty database.

Nothing is changed if the backup cannot be used. Files come first and the database last: a restore that was killed is
begun again. What waits to be sent may have been sent after the backup was made, so its nodes are paused until a person
resumes them.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection

from broker.backup import manifest as manifests
from broker.backup.making import KEYS
from broker.backup.manifest import Manifest
from broker.backup.spool_copy import SPOOL, spoiled
from broker.errors import BadContent, ConfigurationError, Unavailable
from broker.model.audit import LOCAL
from broker.model.lane import JobState
from broker.queue.breakers import known
from broker.settings import Settings
from broker.store import jobs, lanes, senders
from broker.store.audit.adding import add_audit
from broker.store.copies import database_copy
from broker.store.db import migrate
from broker.store.db.database import Database
from broker.store.high_water import MARKS
from broker.store.images import spool_owner
from broker.store.queued import pauses
from broker.store.senders import SenderRecord

REASON = "restored from a backup"
_PART = ".restoring"
# what stands in the data folder and is of the database that goes
_REPLACED = ("broker.db", "broker.db-wal", "broker.db-shm", "worklist-copy.db", SPOOL, *KEYS)


@dataclass(frozen=True, slots=True)
class BackupCheck:
    """A backup that can be restored, and its objects (row, fault) whose files are not as they were received."""

    folder: Path
    manifest: Manifest
    spoiled: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What was restored: the nodes that were paused, who sent messages before, and where the data before it are."""

    backup: BackupCheck
    paused: tuple[str, ...]
    senders: tuple[SenderRecord, ...]
    aside: Path | None


def check(folder: Path) -> BackupCheck:
    """Read a backup as a whole, or the newest in a folder of them. Raises BadContent for one that cannot be restored.

    Raises StoreUnavailable, ConfigurationError.
    """
    backup = manifests.newest(folder)
    found = manifests.read(backup)
    file = backup / database_copy.FILES.get(found.database, "")
    try:
        same = file.is_file() and manifests.digest_of(file) == found.sha256
    except OSError:
        same = False
    if not same:
        raise BadContent(f"{backup}: the copy of the database is damaged")
    database_copy.check(found.database, file)
    migrate.check_known(found.revision)
    return BackupCheck(backup, found, tuple(spoiled(backup)))


def restore(settings: Settings, backup: BackupCheck, actor: str, *, replace: bool, resume: bool) -> Restored:
    """Restore what `check` found. The lock of the data folder must be held: no broker runs.

    `replace`: what is there is moved aside, but for the content of PostgreSQL. `resume`: no node is paused. Raises
    ConfigurationError, StoreUnavailable, Unavailable.
    """
    url, data = settings.database_url(), settings.service.data_dir
    kind = database_copy.kind_of(url)
    if kind != backup.manifest.database:
        raise ConfigurationError(f"the backup is of {backup.manifest.database}, and database.url says {kind}")
    there = [name for name in _REPLACED if _is_used(data / name)]
    if there and not replace:
        raise ConfigurationError(f"{data} has data already ({', '.join(there)}): --replace moves them aside")
    if kind == database_copy.POSTGRESQL and not database_copy.is_empty(url):
        raise ConfigurationError("the database is not empty: create an empty one, and name it in database.url")
    try:
        _copy_files(backup.folder, data)
        aside = _set_aside(data, there)
        _put_files(data)
        os.sync()  # before a database says that they are there
        (data / MARKS).unlink(missing_ok=True)  # a person knows that rows are missing
        (data / spool_owner.COPY).unlink(missing_ok=True)  # of the spool that was there
        database_copy.put_in(url, backup.folder / database_copy.FILES[kind])
    except OSError as error:
        raise Unavailable(f"{error.filename or data}: {error.strerror}", code="restore-disk") from None
    database = Database(url)
    try:
        paused = database.execute(_begin_again, backup.manifest.made_at, actor, resume)
        known = database.read(senders.all_of).result()
    finally:
        database.close()
    return Restored(backup=backup, paused=tuple(paused), senders=tuple(known), aside=aside)


def _is_used(path: Path) -> bool:
    return any(path.iterdir()) if path.is_dir() else path.exists()


def _copy_files(backup: Path, data: Path) -> None:
    """Copy what is to stand in the data folder beside what is there. Raises OSError."""
    part = data / f"{SPOOL}{_PART}"
    shutil.rmtree(part, ignore_errors=True)
    if os.path.ismount(data / SPOOL) and not any((data / SPOOL).iterdir()):
        part = data / SPOOL  # nothing can be put in the place of a disk of its own
    shutil.copytree(backup / SPOOL, part, dirs_exist_ok=True)
    part.chmod(0o700)
    for key in KEYS:
        (data / f"{key}{_PART}").unlink(missing_ok=True)
        if (backup / key).exists():
            shutil.copyfile(backup / key, data / f"{key}{_PART}")
            (data / f"{key}{_PART}").chmod(0o600)


def _set_aside(data: Path, names: Sequence[str]) -> Path | None:
    """Move what is in the data folder into a folder of its own. Raises OSError."""
    if not names:
        return None
    aside = data / f"before-restore-{manifests.name_of(time.time())}"
    aside.mkdir(mode=0o700)
    for name in names:
        (data / name).rename(aside / name)
    return aside


def _put_files(data: Path) -> None:
    for name in (SPOOL, *KEYS):
        part = data / f"{name}{_PART}"
        if part.exists():
            if name == SPOOL and (data / name).exists():
                (data / name).rmdir()  # it is empty
            part.rename(data / name)


def _begin_again(connection: Connection, made_at: float, actor: str, resume: bool) -> list[str]:
    """Give back the work of the broker that was copied, and pause the nodes for which something waits; their names."""
    now = time.time()
    jobs.free_leases(connection, now, owner_prefix="")
    lanes.end_waits(connection, now)
    names = sorted({lane.node for lane in known(list(lanes.having(connection, JobState.READY)))})
    paused = [] if resume else [node for node in names if pauses.pause(connection, node, now, actor, REASON)]
    detail = {"made_at": made_at, "paused": paused}
    add_audit(connection, now, actor, "service.restored", "service", 0, detail, address=LOCAL)
    return paused
