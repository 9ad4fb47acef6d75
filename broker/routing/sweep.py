"""Keeps the spool and the database in step: files nobody was promised, objects delivered long ago."""

from __future__ import annotations

import contextlib
import math
import time
from pathlib import Path

from broker import telemetry
from broker.store.db.database import Database
from broker.store.images import instances
from broker.store.images.spool import Spool

BATCH = 500
YOUNG = 3600.0  # seconds; a younger file may belong to a reception under way


def set_aside_unclaimed(database: Database, spool: Spool, *, before: float) -> int:
    """Move files without a row, last written before `before`, to `unclaimed/`; how many.

    They come from a process that died between spool and commit: the sender was not told yes and has its copy.
    """
    moved = 0
    for folder in spool.folders():
        prefix = folder.relative_to(spool.root).as_posix() + "/"
        old = [path for path in folder.iterdir() if _modified(path) < before]
        if not old:
            continue
        known = database.read(instances.known_paths, prefix).result()
        for path in old:
            if prefix + path.name not in known:
                with contextlib.suppress(FileNotFoundError):  # its reception failed and removed it just now
                    if not path.stat().st_size:  # made ahead and never used
                        path.unlink()
                        continue
                    spool.set_aside(path)
                    moved += 1
    if moved:
        telemetry.logger().warning("spool.unclaimed", count=moved)
    return moved


def _modified(path: Path) -> float:
    """Time of the last write; never, for a file that is gone."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return math.inf


def purge_delivered(database: Database, spool: Spool, keep_days: float) -> int:
    """Delete the files of objects that every destination has had for `keep_days`; how many. Rows stay."""
    before = time.time() - keep_days * 86_400
    total = 0
    while batch := database.read(instances.purgeable, before, BATCH).result():
        gone = database.submit(instances.mark_purged, batch, before).result()
        for path in filter(None, gone):
            spool.remove(path)
        total += len(gone)
        if len(gone) < len(batch):
            break  # some came again meanwhile; the next run looks once more
    if total:
        telemetry.logger().info("spool.purged", count=total)
    return total
