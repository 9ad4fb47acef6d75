"""Copies the files of all objects that the database keeps, lists them, and reads such a copy again.

What an earlier backup has is linked and not copied: a file is written once, under a name that is never used again, so
one of the same name and length is the same.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from sqlalchemy import Engine

from broker.backup.manifest import MISSING_TOLD, private
from broker.errors import BadContent
from broker.store.images import soundness
from broker.store.images.soundness import StoredBytes

SPOOL = "spool"
LIST = "files.jsonl"  # row, path, offset and length of the data set (bytes), its SHA-256
PAGE = 500  # objects
_LINE = 10_000  # characters


@dataclass(slots=True)
class CopiedFiles:
    """How many files were copied and linked, their bytes together, and the objects (rows) without one."""

    files: int = 0
    size: int = 0
    linked: int = 0
    missing: list[int] = field(default_factory=list)
    more_missing: int = 0


def copy_files(engine: Engine, source: Path, backup: Path, earlier: Path | None) -> CopiedFiles:
    """Copy into a backup what stands below `source`; `earlier` is another backup. Nothing may be purged meanwhile.

    Raises OSError, SQLAlchemyError.
    """
    done = CopiedFiles()
    last, folders = 0, set[Path]()
    (backup / SPOOL).mkdir(mode=0o700)
    with private(backup / LIST) as told:
        while True:
            with engine.connect() as connection:
                page = soundness.kept_files(connection, last, PAGE)
            for item in page:
                place = backup / SPOOL / item.path
                if place.parent not in folders:
                    place.parent.parent.mkdir(mode=0o700, exist_ok=True)  # of the day, then of the hour
                    place.parent.mkdir(mode=0o700, exist_ok=True)
                    folders.add(place.parent)
                if _copy(item, source / item.path, place, earlier and earlier / SPOOL / item.path, done):
                    _list(item, told)
            if len(page) < PAGE:
                return done
            last = page[-1].id


def _copy(item: StoredBytes, source: Path, place: Path, earlier: Path | None, done: CopiedFiles) -> bool:
    """Copy or link one file; False if it is missing."""
    size = item.data_offset + item.data_length
    if earlier is not None and _linked(earlier, place, size):
        done.linked += 1
    else:
        try:
            shutil.copyfile(source, place, follow_symlinks=False)
        except FileNotFoundError:
            if len(done.missing) < MISSING_TOLD:
                done.missing.append(item.id)
            else:
                done.more_missing += 1
            return False
        place.chmod(0o600)
    done.files += 1
    done.size += size
    return True


def _linked(earlier: Path, place: Path, size: int) -> bool:
    """The earlier backup has the file, and this one has it now too."""
    try:
        if earlier.stat().st_size != size:
            return False
        os.link(earlier, place)
    except OSError:  # it has no such file, or the file system knows no links
        return False
    return True


def _list(item: StoredBytes, told: TextIO) -> None:
    told.write(json.dumps([item.id, item.path, item.data_offset, item.data_length, item.digest.hex()]) + "\n")


def listed(backup: Path) -> Iterator[StoredBytes]:
    """The objects whose files a backup has. Raises BadContent for a list that cannot be read."""
    try:
        with (backup / LIST).open(encoding="utf-8") as told:
            while line := told.readline(_LINE):
                row, path, offset, length, digest = json.loads(line)
                if Path(path).is_absolute() or ".." in Path(path).parts:
                    raise ValueError
                yield StoredBytes(
                    id=int(row),
                    path=path,
                    data_offset=int(offset),
                    data_length=int(length),
                    digest=bytes.fromhex(digest),
                    content=None,
                )
    except (OSError, TypeError, ValueError):
        raise BadContent(f"{backup / LIST}: the list of files is damaged") from None


def spoiled(backup: Path) -> Iterator[tuple[int, str]]:
    """The objects (row) of a backup whose bytes are not as received, and what is wrong. Raises BadContent."""
    for item in listed(backup):
        try:
            fault = soundness.fault_of(backup / SPOOL, item)
        except OSError:  # the disk does not give it
            fault = soundness.DAMAGED
        if fault:
            yield item.id, fault
