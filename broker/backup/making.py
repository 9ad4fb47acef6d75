"""Makes a backup of all that the broker keeps, while it works.

The database comes first and the spool second, and nothing is purged between: so each file that the copied database
names was there. The backup gets its name when it is whole and on stable storage. What a killed backup leaves has
another one, and the next backup removes it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from broker import __version__
from broker.backup import manifest as manifests
from broker.backup.last import note_failed, note_good
from broker.backup.manifest import Manifest
from broker.backup.spool_copy import SPOOL, copy_files
from broker.errors import BrokerError, ConfigurationError, StoreUnavailable, Unavailable
from broker.settings import Settings
from broker.store.copies import database_copy
from broker.store.copies.database_copy import Revision
from broker.store.db.engine import open_engine
from broker.store.images.purge_lock import kept
from broker.store.images.spool import sync_folder

KEYS = ("log.key", "seal.key")
CONFIGURATION = "configuration"
_PART = ".part"


def make(settings: Settings, config: Path | None, into: Path) -> tuple[Path, Manifest]:
    """Copy into a new folder below `into`. Its end is noted in the data folder.

    Raises Unavailable, ConfigurationError.
    """
    began, data = time.time(), settings.service.data_dir
    try:
        done = _made(settings, config, into, began)
    except (BrokerError, OSError, SQLAlchemyError) as error:
        told = error if isinstance(error, BrokerError) else _worded(error)
        note_failed(data, began, told.code)
        raise told from None
    note_good(data, began, time.time() - began, str(done[0].absolute()))
    return done


def prune(into: Path, keep: int) -> None:
    """Remove the oldest backups in a folder beyond `keep`. Raises Unavailable."""
    try:
        with alone(into):
            for old in manifests.backups(into)[:-keep]:
                _remove(old)
    except OSError as error:
        raise _worded(error) from None


def _worded(error: OSError | SQLAlchemyError) -> Unavailable:
    if isinstance(error, OSError):
        return Unavailable(f"{error.filename or 'the backup'}: {error.strerror}", code="backup-disk")
    return StoreUnavailable(f"the database cannot be read: {type(error).__name__}")


def _made(settings: Settings, config: Path | None, into: Path, began: float) -> tuple[Path, Manifest]:
    into.mkdir(mode=0o700, parents=True, exist_ok=True)
    with alone(into):
        for left in into.glob(f"*{_PART}"):
            _remove(left)
        earlier = manifests.backups(into)[-1:]
        name = _free(into, manifests.name_of(began))
        part = into / f"{name}{_PART}"
        part.mkdir(mode=0o700)
        try:
            found = _copied(settings, config, part, earlier[0] if earlier else None, began)
            os.sync()  # all files at once, before the manifest says that they are there
            manifests.write(found, part)
            sync_folder(part)
            part.rename(into / name)
        except BaseException:
            _remove(part)
            raise
        sync_folder(into)
    return into / name, found


def _copied(settings: Settings, config: Path | None, part: Path, earlier: Path | None, began: float) -> Manifest:
    url, data = settings.database_url(), settings.service.data_dir
    kind = database_copy.kind_of(url)
    file = part / database_copy.FILES[kind]
    engine = open_engine(url, readers=1)
    try:
        with kept(data / SPOOL):
            revision = _usable(database_copy.revision_of(engine))
            database_copy.copy_out(url, file)
            files = copy_files(engine, data / SPOOL, part, earlier)
    finally:
        engine.dispose()
    file.chmod(0o600)
    database_copy.check(kind, file)
    for key in KEYS:
        if (data / key).exists():
            shutil.copyfile(data / key, part / key)
            (part / key).chmod(0o600)
    return Manifest(
        made_at=began,
        seconds=time.time() - began,
        broker=__version__,
        database=kind,
        revision=revision,
        size=file.stat().st_size,
        sha256=manifests.digest_of(file),
        files=files.files,
        file_bytes=files.size,
        linked=files.linked,
        missing=tuple(files.missing),
        more_missing=files.more_missing,
        configuration=tuple(_configuration(settings, config, part)),
    )


def _usable(revision: Revision) -> str:
    """Raises ConfigurationError for a database that another version of the broker works with."""
    if not revision.current:
        raise ConfigurationError("the database is not that of this version of the broker: use the one that runs")
    return revision.name


def _configuration(settings: Settings, config: Path | None, part: Path) -> Iterator[str]:
    """Copy the files of the configuration; their names. Certificates and keys of doors stay where they are."""
    folder = part / CONFIGURATION
    folder.mkdir(mode=0o700)
    for file in (config, settings.service.site):
        if file is not None and file.is_file():
            shutil.copyfile(file, folder / file.name)
            (folder / file.name).chmod(0o600)
            yield file.name


@contextmanager
def alone(into: Path) -> Iterator[None]:
    """Nobody else makes a backup in this folder, or tries one out. Raises Unavailable, OSError."""
    descriptor = os.open(into / ".lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Unavailable(f"{into}: another backup is under way", code="backup-locked") from None
        yield
    finally:
        os.close(descriptor)


def _free(into: Path, name: str) -> str:
    """The name, with a number behind it if a backup of the same second has it."""
    number, free = 1, name
    while (into / free).exists():
        number += 1
        free = f"{name}-{number}"
    return free


def _remove(folder: Path) -> None:
    """Remove a backup. Without its manifest, which goes first, it is none. Raises OSError."""
    (folder / manifests.FILE).unlink(missing_ok=True)
    shutil.rmtree(folder)
