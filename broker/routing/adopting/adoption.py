"""Finds files that no row of the database knows, and adopts them, a part at a time: `broker fsck --adopt`.

A database that was put back from a backup does not know what was acknowledged after it. Its bytes stand in the old
spool. Each file goes through reception (`one_file.py`), and what cannot be taken in is told with the reason and stays.
"""

from __future__ import annotations

import math
import os
import re
import stat
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from broker.errors import SpoolUnavailable
from broker.routing.adopting import places
from broker.routing.adopting.one_file import GONE, AdoptingDoor, FileLeft, StrayFile, adopt
from broker.routing.adopting.places import StrayPlace
from broker.routing.adopting.walk import FoundFile, Steps, files_below, shown
from broker.routing.held_work import BytesBusy
from broker.routing.recording import ReceptionOutcome
from broker.routing.sweep import YOUNG
from broker.store.audit.adding import add_audit
from broker.store.db.database import Database
from broker.store.images import instances
from broker.store.images.spool_clock import SpoolClock

PAGE = 200  # files looked at together
SECONDS = 5.0  # of one part: whoever asked is answered then
LEFT_TOLD = 1000  # of one part
KNOWN, YOUNG_FILE, NEVER_USED, UNKNOWN = "known", "young", "never-used", "unknown"
_STORED = re.compile(r"\d{8}/\d\d/[0-9a-f]{32}\.dcm")  # as `Spool` names its files


class LeftFile(NamedTuple):
    """A file that stays where it is: its path below the folder, and why."""

    path: str
    code: str
    text: str


class Adopting(NamedTuple):
    """Who wants files to be adopted, from where, and why."""

    actor: str
    address: str
    reason: str


@dataclass(slots=True)
class StrayPart:
    """What a part of the walk has found. `last`: where it ended; `over`: whether nothing is behind that.

    `unknown`: files and bytes that no row knows, by their folder, if nothing was to be done with them. `counts`: files
    by what they were; those adopted by the outcome of their reception.
    """

    last: Steps
    counts: Counter[str] = field(default_factory=Counter)
    unknown: dict[str, tuple[int, int]] = field(default_factory=dict)
    left: list[LeftFile] = field(default_factory=list)
    over: bool = False


class _Looked(NamedTuple):
    file: FoundFile
    standing: str
    size: int
    stored: str = ""  # its path as a reception names its file
    lost: bool = False  # a row knows this path, and its file is not in the spool


class Adoption:
    """Looks for files that no row knows, and adopts them. Its methods block."""

    def __init__(self, database: Database, data: Path, door: Callable[[], AdoptingDoor]) -> None:
        """`data` is the data folder. `door` is asked when a file is to be adopted."""
        self._database = database
        self._data = data
        self._door = door
        self._born = time.monotonic()  # what is older than this process belongs to no reception under way
        self._working = Lock()

    def set_aside(self) -> list[str]:
        """The old spools that restores have set aside."""
        return places.set_aside(self._data)

    def look(self, folder: str, after: Steps, *, local: bool) -> StrayPart:
        """Count what no row knows, behind a place. Raises BadFolder, BytesBusy, StoreUnavailable."""
        place = places.find(self._data, folder, local=local)
        part = StrayPart(after)

        def counted(one: _Looked, _: int) -> None:
            if one.file.fault or one.standing != UNKNOWN:
                part.counts[one.file.fault or one.standing] += 1
                return
            unclaimed = place.spool and one.file.steps[0] == places.UNCLAIMED
            name = f"{places.SPOOL}/{places.UNCLAIMED}" if unclaimed else place.name
            files, size = part.unknown.get(name, (0, 0))
            part.unknown[name] = files + 1, size + one.size

        self._walk(place, part, counted)
        return part

    def adopt(self, folder: str, after: Steps, who: Adopting, *, local: bool) -> StrayPart:
        """Adopt what no row knows, behind a place. Raises BadFolder, BytesBusy, SpoolUnavailable, StoreUnavailable."""
        place = places.find(self._data, folder, local=local)
        door, part, done = self._door(), StrayPart(after), Counter[str]()

        def taken(one: _Looked, root: int) -> None:
            if one.file.fault:
                _leave(part, one.file.steps, FileLeft(one.file.fault))
            elif one.standing != UNKNOWN:
                part.counts[one.standing] += 1
            else:
                try:
                    done[_adopted(door, root, one, place)] += 1
                except FileLeft as left:
                    done.update([left.outcome] if left.outcome else [])
                    _leave(part, one.file.steps, left)

        try:
            self._walk(place, part, taken)
        finally:
            self._note(place, done, who)
        part.counts += done
        return part

    def _note(self, place: StrayPlace, done: Counter[str], who: Adopting) -> None:
        counts = {outcome.value: done[outcome] for outcome in ReceptionOutcome if done[outcome]}
        if counts:
            detail = {"from": place.name, **counts, "reason": who.reason}
            now, (actor, address, _) = time.time(), who
            self._database.execute(add_audit, now, actor, "objects.adopted", "objects", 0, detail, address=address)

    def _walk(self, place: StrayPlace, part: StrayPart, each: Callable[[_Looked, int], None]) -> None:
        """Look at files for SECONDS, or until LEFT_TOLD cannot be taken in; at one at least."""
        if not self._working.acquire(blocking=False):
            raise BytesBusy
        try:
            if place.spool and not (self._data / places.SPOOL).is_dir():
                part.over = True  # nothing has come yet
                return
            root = place.open()
            try:
                self._look_at(place, root, part, each)
            finally:
                os.close(root)
        except OSError as error:
            raise places.BadFolder(f"the folder cannot be read: {error.strerror}", code="adopt-folder") from None
        finally:
            self._working.release()

    def _look_at(self, place: StrayPlace, root: int, part: StrayPart, each: Callable[[_Looked, int], None]) -> None:
        until = time.monotonic() + SECONDS
        files = (one for one in files_below(root, part.last) if _counts(place, one))
        while page := list(islice(files, PAGE)):
            for one in self._standing(place, root, page):
                each(one, root)
                part.last = one.file.steps
                if time.monotonic() > until or len(part.left) >= LEFT_TOLD:
                    return
        part.over = True

    def _standing(self, place: StrayPlace, root: int, page: list[FoundFile]) -> Iterator[_Looked]:
        """What the database knows of some files."""
        names = {one.steps: name for one in page if _STORED.fullmatch(name := "/".join(one.steps[-3:]))}
        known = self._database.read(instances.known_paths, list(names.values())).result() if names else set()
        purged = self._database.read(instances.purged_paths, sorted(known)).result() if known else set()
        before = self._before() if place.spool else math.inf
        for one in page:
            name = names.get(one.steps, "")
            try:
                info = os.stat("/".join(one.steps), dir_fd=root, follow_symlinks=False)
            except OSError:
                yield _Looked(one, UNKNOWN, 0)  # whoever opens it is told
                continue
            if name in purged:
                standing = "purged"
            elif name in known and (place.spool or self._has(name, info.st_size)):
                standing = KNOWN
            elif place.spool and one.steps[0] != places.UNCLAIMED and not one.fault:
                standing = _age(info, before)
            else:
                standing = UNKNOWN
            yield _Looked(one, standing, info.st_size, name, name in known)

    def _has(self, name: str, size: int) -> bool:
        """The spool has the file of a row; one that was lost is mended by what was found elsewhere."""
        try:
            return (self._data / places.SPOOL / name).stat().st_size == size
        except OSError:
            return False

    def _before(self) -> float:
        """When a file must have been written last to belong to no reception under way, by the clock of its disk."""
        try:
            now = SpoolClock(self._data / places.SPOOL).now()
        except SpoolUnavailable:
            return -math.inf
        return now - min(time.monotonic() - self._born, YOUNG)


def _leave(part: StrayPart, steps: Steps, left: FileLeft) -> None:
    part.left.append(LeftFile(shown(steps), left.code, left.text))


def _age(info: os.stat_result, before: float) -> str:
    if info.st_mtime >= before:
        return YOUNG_FILE
    return UNKNOWN if info.st_size or not stat.S_ISREG(info.st_mode) else NEVER_USED


def _counts(place: StrayPlace, one: FoundFile) -> bool:
    """Not a file that a spool has beside its objects."""
    if place.spool:
        return len(one.steps) > 1 and (one.steps[0].isdigit() or one.steps[0] == places.UNCLAIMED)
    spool_itself = len(one.steps) == 1 or one.steps[-2] == places.SPOOL
    return not (spool_itself and one.steps[-1] in places.OWN)


def _adopted(door: AdoptingDoor, root: int, one: _Looked, place: StrayPlace) -> str:
    steps = one.file.steps
    try:
        folder = places.below(root, steps[:-1])
    except FileNotFoundError:
        return GONE
    except OSError as error:
        raise FileLeft("unreadable", f"its folder cannot be read: {error.strerror}") from None
    row, spooled = one.stored if one.lost else "", one.stored if place.spool and steps[0] != places.UNCLAIMED else ""
    try:
        return adopt(door, StrayFile(folder, steps[-1], place.ours, row, spooled))
    finally:
        os.close(folder)
