"""Keeps the spool and the database in step: files nobody was promised, objects delivered long ago.

Both read and write in small steps (`store.db.pace`), since they walk all that came in a day, beside what comes now.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import Connection

from broker import telemetry
from broker.model.lane import LaneKind
from broker.routing import left_over
from broker.store.audit.adding import add_audit
from broker.store.db.pace import Pace
from broker.store.holds.held_jobs import HeldFilter
from broker.store.images import held_objects, instances
from broker.store.images.instances import InstanceState
from broker.store.images.purge_lock import purging
from broker.store.images.spool import Spool
from broker.store.queued import steering, waiting_jobs

PAGE = 200  # objects or files looked at together
HELD_TOO_LONG = "held-too-long"  # why an object was discarded
YOUNG = 3600.0  # seconds; a younger file may belong to a reception under way


def set_aside_unclaimed(pace: Pace, spool: Spool, *, age: float) -> int:
    """Move files without a row, last written more than `age` seconds ago, to `unclaimed/`; how many.

    They come from a process that died between spool and commit: the sender was not told yes and has its copy. Files of
    purged objects, left by one that died between commit and deletion, are removed. The age
    is told by the clock that dated the files: by ours, those of receptions under way could look old.

    Raises SpoolUnavailable.
    """
    moved = 0
    before = spool.clock.now() - age
    for folder in spool.folders():
        prefix = folder.relative_to(spool.root).as_posix() + "/"
        old = [path for path in folder.iterdir() if _modified(path) < before]
        for start in range(0, len(old), PAGE):
            if pace.stopped:
                return moved
            names = {prefix + path.name: path for path in old[start : start + PAGE]}
            known = pace.read(instances.known_paths, list(names))
            moved += sum(_set_aside(spool, path) for name, path in names.items() if name not in known)
            left_over.remove(spool.root, pace.read(instances.purged_paths, sorted(known)) if known else ())
    if moved:
        telemetry.logger().warning("spool.unclaimed", count=moved)
    return moved


def _set_aside(spool: Spool, path: Path) -> bool:
    """Move a file without a row; False for one that is gone, or empty and removed."""
    with contextlib.suppress(FileNotFoundError):  # its reception failed and removed it just now
        if path.stat().st_size:
            spool.set_aside(path)
            return True
        path.unlink()  # made ahead and never used
    return False


def _modified(path: Path) -> float:
    """Time of the last write; never, for a file that is gone."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return math.inf


def purge_discarded(pace: Pace, spool: Spool, keep_days: float) -> int:
    """Delete the bytes of objects that were discarded `keep_days` ago; how many. Rows stay. 0 keeps them for ever."""
    if not keep_days:
        return 0
    before = time.time() - keep_days * 86_400
    place: instances.Place = held_objects.FIRST
    total = 0

    def purge(connection: Connection, rows: Sequence[int]) -> list[tuple[int, str]]:
        return held_objects.purge(connection, rows, before)

    while not pace.stopped and (page := pace.read(held_objects.walk, InstanceState.DISCARDED, place, PAGE)):
        place = page[-1][0]
        with purging(spool.root) as free:
            if not free:
                break
            for gone in pace.write(purge, [row for (_, row), since in page if since < before]):
                total += len(gone)
                for _, path in gone:
                    if path:
                        spool.remove(path)
    if total:
        telemetry.logger().info("spool.purged", count=total)
        list(pace.write(lambda connection, counts: _note(connection, counts[0], before), [total]))
    return total


def discard_held(pace: Pace, keep_days: float) -> int:
    """Give up objects and deliveries of objects that nobody decided on for `keep_days`; how many. 0: never."""
    return _discard_held_objects(pace, keep_days) + _discard_held_deliveries(pace, keep_days) if keep_days else 0


def _discard_held_objects(pace: Pace, keep_days: float) -> int:
    """Discard objects.

    They are kept as long as other discarded ones are, so that a person can still take it back.
    """
    now = time.time()
    before = now - keep_days * 86_400
    place: instances.Place = held_objects.FIRST
    total = 0

    def discard(connection: Connection, rows: Sequence[int]) -> int:
        done = held_objects.discard_old(connection, rows, before, now, HELD_TOO_LONG)
        for row in done:
            add_audit(connection, now, "broker", "objects.discarded", "objects", row, {"reason": HELD_TOO_LONG})
        return len(done)

    while not pace.stopped and (page := pace.read(held_objects.walk, InstanceState.HELD, place, PAGE)):
        place = page[-1][0]
        total += sum(pace.write(discard, [row for (since, row), _ in page if since < before]))
        if place[0] >= before:
            break
    if total:
        telemetry.logger().warning("objects.held_too_long", count=total)
    return total


def _note(connection: Connection, count: int, before: float) -> None:
    detail = {"count": count, "before": before}
    add_audit(connection, time.time(), "broker", "objects.purged", "objects", 0, detail)


def _discard_held_deliveries(pace: Pace, keep_days: float) -> int:
    """Give up deliveries. Their objects are kept as long as other discarded ones are."""
    now = time.time()
    before = now - keep_days * 86_400
    total = 0

    def discard(connection: Connection, rows: Sequence[int]) -> int:
        done = [row for row in rows if steering.give_up_held(connection, row, HELD_TOO_LONG, now)]
        for row in done:
            add_audit(connection, now, "broker", "job.discarded", "job", row, {"reason": HELD_TOO_LONG})
        return len(done)

    for lane in pace.read(waiting_jobs.held_lanes, LaneKind.DELIVER):
        wanted = HeldFilter(lane=lane, before=before)
        while not pace.stopped and (rows := pace.read(waiting_jobs.rows, wanted, "held", 0, PAGE)):
            total += sum(pace.write(discard, rows))
    if total:
        telemetry.logger().warning("deliveries.held_too_long", count=total)
    return total


def purge_delivered(pace: Pace, spool: Spool, keep_days: float, keep_discarded_days: float = 0) -> int:
    """Delete the files of objects that every destination has had for `keep_days`; how many. Rows stay.

    Or that a person gave up for it `keep_discarded_days` ago; 0 keeps such objects for ever.
    """
    before = time.time() - keep_days * 86_400
    given_up = time.time() - keep_discarded_days * 86_400 if keep_discarded_days else instances.NEVER
    place: instances.Place = (-1.0, 0)
    total = 0

    def mark(connection: Connection, rows: Sequence[int]) -> list[str]:
        return instances.mark_purged(connection, rows, before, given_up)

    while not pace.stopped and (page := pace.read(instances.purgeable, before, place, PAGE, given_up)):
        place = page[-1].place
        with purging(spool.root) as free:
            if not free:
                break
            for gone in pace.write(mark, [candidate.place[1] for candidate in page if candidate.delivered]):
                total += len(gone)
                for path in filter(None, gone):
                    spool.remove(path)
    if total:
        telemetry.logger().info("spool.purged", count=total)
        list(pace.write(lambda connection, counts: _note(connection, counts[0], before), [total]))
    return total
