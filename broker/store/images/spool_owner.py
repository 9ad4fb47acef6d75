"""Makes sure at the start that the spool folder is the one whose files the database knows.

A volume that is mounted late leaves an empty folder. What would be written there is hidden once the volume comes, and
each object that waits would be held because its file is missing. So a spool carries a mark, and the data directory the
same one. A person who has lost a spool for good says so by an empty mark.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Sequence
from pathlib import Path

from broker import telemetry
from broker.errors import BrokerError, SpoolUnavailable
from broker.store.db.database import Database
from broker.store.images import instances

MARK = ".spool-id"  # in the spool folder
COPY = "spool-id"  # in the data directory
WORDS_MISSING = (
    "this is not the spool folder that the broker has used: if it is a volume, mount it. If its files are lost for"
    f" good, make an empty file {MARK} in it and start again"
)
WORDS_FOREIGN = (
    "this spool folder belongs to another broker: mount the right volume. If it is the right one,"
    f" empty the file {MARK} in it and start again"
)
LOOKED_AT = 50  # newest files of the database; one that is there is enough


def check(database: Database, data: Path, spool: Path) -> None:
    """Mark the spool folder of a data directory as its own. Blocking.

    Raises SpoolUnavailable if it is another folder than the one whose files the database knows. A disk that cannot be
    written keeps nobody from starting, nor does a database that cannot be read: both are told elsewhere.
    """
    ours, theirs = _read(data / COPY), _read(spool / MARK)
    if ours and ours == theirs:
        return
    known = _known(database)
    there = any((spool / name).is_file() for name in known)
    if theirs == "" or there or (ours is None and not known):  # accepted, proved by a file, or new
        own = (theirs if there else ours) or uuid.uuid4().hex
        _write(data / COPY, own)
        _write(spool / MARK, own)
        return
    if theirs is None:
        raise _refused("spool-missing", spool, WORDS_MISSING)
    if known or ours is not None:
        raise _refused("spool-foreign", spool, WORDS_FOREIGN)
    _write(data / COPY, theirs)


def _refused(code: str, spool: Path, words: str) -> SpoolUnavailable:
    telemetry.logger().error("spool.refused", path=str(spool), reason=words)
    return SpoolUnavailable(f"{spool}: {words}", code=code)


def _known(database: Database) -> Sequence[str]:
    try:
        return database.read(instances.newest_files, LOOKED_AT).result()
    except BrokerError as error:
        telemetry.logger().warning("spool.not_compared", error=telemetry.describe(error))
        return ()


def _read(file: Path) -> str | None:
    """The mark; empty for an empty one, None if there is none."""
    try:
        return file.read_text(encoding="ascii", errors="replace")[:100].strip()
    except OSError:
        return None


def _write(file: Path, mark: str) -> None:
    part = file.with_name(f"{file.name}.part")
    with contextlib.suppress(OSError):
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(part, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "w") as out:
            out.write(f"{mark}\n")
            out.flush()
            os.fsync(out.fileno())
        part.replace(file)
