"""`broker fsck`: reads the bytes of all objects again, a part at a time, and mends what can be mended.

What is spoiled holds its deliveries, as the sender would have found it. What is right again lets them go.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Connection

from broker.model.lane import JobKind
from broker.routing import left_over
from broker.store import jobs
from broker.store.audit.adding import add_audit
from broker.store.db.database import Database
from broker.store.db.pace import padded
from broker.store.images import soundness

PAGE = 32  # objects read together; small ones come with their bytes
SECONDS = 5.0  # of one part: whoever asked is answered then
LEFT_SECONDS = 20.0  # for files of purged objects; the daily sweep has no bound
SPOILED_TOLD = 1000  # of one part


@dataclass(frozen=True, slots=True)
class SpoiledBytes:
    """An object (row) whose bytes are not those that were received, and what is wrong with them."""

    row: int
    fault: str


@dataclass(slots=True)
class SpoolCheck:
    """What a part of the check found. `last` is the row it ended at, `over` whether none is behind it.

    `held` and `released` are deliveries; both are 0 where nothing was to be mended. `left` are files of purged objects,
    which the last part looks for, and `removed` those of them that were deleted.
    """

    last: int
    objects: int = 0
    size: int = 0  # bytes
    spoiled: list[SpoiledBytes] = field(default_factory=list)
    held: int = 0
    released: int = 0
    left: int = 0
    removed: int = 0
    over: bool = False


def check_part(database: Database, files: Path, after: int, mending: Sequence[str] = ()) -> SpoolCheck:
    """Check the objects behind a row, for SECONDS or until SPOILED_TOLD are spoiled. Raises StoreUnavailable.

    `files` is the spool folder. `mending` is who mends, their address and the reason; nothing is changed without.
    """
    until = time.monotonic() + SECONDS
    found = SpoolCheck(after)
    while time.monotonic() < until and len(found.spoiled) < SPOILED_TOLD:
        page = database.read(soundness.stored_bytes, found.last, PAGE).result()
        faults = [SpoiledBytes(item.id, fault) for item in page if (fault := _fault(files, item))]
        if mending:
            spoiled = {one.row for one in faults}
            sound = [item.id for item in page if item.id not in spoiled]
            mended = sorted(database.read(_kept_back, sound).result()) if sound else []
            if faults or mended:
                held, released = database.execute(_mend, faults, mended, mending)
                found.held += held
                found.released += released
        found.objects += len(page)
        found.size += sum(item.data_length for item in page)
        found.spoiled += faults
        if len(page) < PAGE:
            found.over = True
            _look_for_left(database, files, found, remove=bool(mending))
            break
        found.last = page[-1].id
    return found


def _look_for_left(database: Database, files: Path, found: SpoolCheck, *, remove: bool) -> None:
    for names in left_over.find(database, files, LEFT_SECONDS):
        found.left += len(names)
        found.removed += left_over.remove(files, names) if remove else 0


def _fault(files: Path, item: soundness.StoredBytes) -> str:
    try:
        return soundness.fault_of(files, item)
    except OSError:  # the disk does not give it
        return soundness.DAMAGED


def _kept_back(connection: Connection, rows: Sequence[int]) -> set[int]:
    """Those of some objects whose deliveries are held since their bytes were not right."""
    return jobs.held_subjects(connection, JobKind.DELIVER, padded(rows), soundness.FILE_FAULTS)


def _mend(
    connection: Connection, faults: Sequence[SpoiledBytes], mended: Sequence[int], mending: Sequence[str]
) -> tuple[int, int]:
    now, (actor, address, reason) = time.time(), mending
    held = soundness.hold_spoiled(connection, [(one.row, one.fault) for one in faults])
    released = jobs.release_held(connection, JobKind.DELIVER, padded(mended), soundness.FILE_FAULTS, now)
    if held or released:
        detail = {"held": held, "released": released, "reason": reason}
        add_audit(connection, now, actor, "objects.checked", "objects", 0, detail, address=address)
    return held, released
