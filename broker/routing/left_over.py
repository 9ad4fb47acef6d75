"""Finds and removes files of purged objects. A process that dies between a purge's commit and the deletion leaves one.

Its row says that the bytes are gone: nobody reads them any more, and they must not stay for ever.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from itertools import islice
from pathlib import Path

from broker import telemetry
from broker.store.db.database import Database
from broker.store.images import instances
from broker.store.images.purge_lock import purging

PAGE = 200  # files looked at together


def remove(root: Path, names: Collection[str]) -> int:
    """Delete files of purged objects below the spool folder; how many. None while a backup copies them.

    Raises SpoolUnavailable.
    """
    if not names:
        return 0
    with purging(root) as free:
        if not free:
            return 0
        for name in names:
            (root / name).unlink(missing_ok=True)
    telemetry.logger().warning("spool.left_over", count=len(names))
    return len(names)


def find(database: Database, root: Path, seconds: float) -> Iterator[set[str]]:
    """The names of such files, page by page, for so many seconds at most. Raises StoreUnavailable."""
    until = time.monotonic() + seconds
    for folder in sorted(path for path in root.glob("*/*") if path.is_dir() and path.parent.name.isdigit()):
        prefix = folder.relative_to(root).as_posix()
        names = (f"{prefix}/{path.name}" for path in folder.iterdir())
        while page := list(islice(names, PAGE)):
            if time.monotonic() > until:
                return
            if left := database.read(instances.purged_paths, page).result():
                yield left
