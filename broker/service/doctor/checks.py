"""The checks of `broker doctor`: CHECKS is the list. Each tells what is there, its verdict, and the next step.

They need no running broker, and look at the process of one that runs. Nothing is changed.
"""

from __future__ import annotations

import os
import shlex
import stat
import time
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path

from broker.dicom.wire.limits import AssociationLimits
from broker.errors import BrokerError
from broker.model.check import CheckFinding, CheckVerdict
from broker.queue.clock import STEP
from broker.queue.clock_watch import AWAY
from broker.seats import BACKLOG
from broker.service.datadir import kept_clock
from broker.service.doctor import machine
from broker.service.doors import descriptors
from broker.service.doors.backlog import system_backlog
from broker.service.doors.open_files import open_secrets
from broker.settings import Settings
from broker.settings.hl7 import Hl7Listener
from broker.settings.sections import DicomSection
from broker.store.db.question import DatabaseAnswer, question
from broker.store.room import Marks, Room, measure
from broker.traces import exporting

PROCESS = 250 * 1024**2  # bytes of a broker without guests
FEW_FILES = 256  # descriptors with which a small site gets by
_MIB = 1024**2


OK, WARN, BAD = CheckVerdict


class Installation:
    """What the checks look at: the settings, the file they came from, and the broker that runs with them."""

    def __init__(self, settings: Settings, config: Path | None) -> None:
        self.settings, self.config = settings, config
        self.data = settings.service.data_dir

    @cached_property
    def process(self) -> int | None:
        """The process of the running broker."""
        return machine.running_broker(self.data)

    @property
    def doors(self) -> tuple[int, int]:
        """How many DICOM and HL7 listeners the settings open."""
        sections = self.settings.hl7.listeners()
        return _listeners(self.settings.dicom), sum(map(_listeners, sections))


def _listeners(section: DicomSection | Hl7Listener) -> int:
    return section.plain + (section.tls is not None)


def examine(settings: Settings, config: Path | None) -> list[CheckFinding]:
    """Run all checks. `config` is the file of the settings."""
    place = Installation(settings, config)
    return [finding for check in CHECKS for finding in check(place)]


def _descriptors(place: Installation) -> Iterator[CheckFinding]:
    files = machine.open_files(place.process)
    who = f"the running broker (process {place.process})" if place.process else "a broker started from here"
    needed = descriptors.needed(place.settings.limits, *place.doors) + descriptors.RESERVE
    text = f"{who} may open {files.soft} files, at most {files.hard}; the doors may need {needed} by [limits]"
    if files.hard >= needed:
        yield CheckFinding("descriptors", OK, text)
        return
    verdict = WARN if files.hard >= FEW_FILES else BAD
    yield CheckFinding(
        "descriptors",
        verdict,
        text,
        f"raise the hard limit to {needed} (systemd: LimitNOFILE={needed}; a shell: ulimit -Hn {needed}), or lower "
        "`associations` and `hl7_connections` in [limits]",
    )


def _memory(place: Installation) -> Iterator[CheckFinding]:
    limits, (dicom, hl7) = place.settings.limits, place.doors
    doors = dicom * (limits.dicom_open_pdus + limits.associations * AssociationLimits().max_pdu)
    doors += hl7 * limits.hl7_open_frames + limits.web_bodies
    needed = place.settings.service.workers * PROCESS + doors
    there = machine.memory()
    if there is None:
        yield CheckFinding("memory", OK, "the system does not tell how much memory there is")
        return
    text = f"{there // _MIB} MiB are there; the limits allow the broker about {needed // _MIB} MiB"
    if needed <= there // 2:
        yield CheckFinding("memory", OK, text)
    else:
        yield CheckFinding(
            "memory",
            WARN if needed <= there else BAD,
            text,
            "give the machine or the container more memory, or lower `hl7_open_frames`, `dicom_open_pdus`, "
            "`associations` and `web_bodies` in [limits]",
        )


def _backlog(place: Installation) -> Iterator[CheckFinding]:
    most = system_backlog()
    if most is None:
        yield CheckFinding("somaxconn", OK, "the system does not tell how many connections may wait at a door")
        return
    text = f"{most} connections may wait at a door; the broker asks for {BACKLOG}"
    if most >= BACKLOG:
        yield CheckFinding("somaxconn", OK, text)
    else:
        step = f"sysctl -w net.core.somaxconn={BACKLOG} (and in /etc/sysctl.d), then start the broker again"
        yield CheckFinding("somaxconn", WARN, text, step)


_ROOM = {
    Room.EVERYTHING: (OK, "everything is taken in"),
    Room.NO_LARGE: (WARN, "objects over 32 MiB are refused"),
    Room.NO_OBJECTS: (BAD, "objects are refused"),
    Room.NOTHING: (BAD, "objects and, with SQLite, orders are refused"),
}


def _disks(place: Installation) -> Iterator[CheckFinding]:
    limits = place.settings.limits
    marks = Marks(limits.disk_for_large, limits.disk_for_objects, limits.disk_for_orders)
    seen: set[int] = set()
    for folder in (place.data, place.data / "spool"):
        existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        if (device := existing.stat().st_dev) in seen:
            continue
        seen.add(device)
        disk = measure(existing, marks)
        inodes = f", {disk.inodes} inodes" if disk.inodes is not None else ""
        verdict, meaning = _ROOM[disk.room]
        text = f"{existing}: {disk.free // _MIB} MiB{inodes} free: {meaning}"
        step = "make room, or move the data folder to a larger disk" if verdict is not OK else ""
        yield CheckFinding("disk", verdict, text, step)


def _clock(place: Installation) -> Iterator[CheckFinding]:
    last = kept_clock(place.data)
    step = 0.0 if last is None or place.process else time.time() - last
    if not -STEP <= step <= AWAY:
        yield CheckFinding(
            "clock",
            WARN,
            f"the clock is {abs(step):.0f} s {'ahead of' if step > 0 else 'behind'} the one of the last run",
            "see whether date and time are right before you start the broker: it goes on working by this clock",
        )
    elif machine.synchronised() is False:
        step_to_take = "let a time service (chrony, systemd-timesyncd) set the clock"
        yield CheckFinding("clock", WARN, "no time service steers the clock", step_to_take)
    else:
        yield CheckFinding("clock", OK, "nothing speaks against the clock")


def _rights(place: Installation) -> Iterator[CheckFinding]:
    found = False
    for file, key in open_secrets(place.settings, place.config):
        found = True
        text = f"{file} holds {key}, and every user of this machine can read it"
        yield CheckFinding("rights", WARN, text, f"chmod o-rwx {shlex.quote(str(file))}")
    if place.data.exists():
        if place.data.stat().st_mode & stat.S_IRWXO:
            found = True
            text = f"{place.data}: other users of this machine can look into the data folder"
            yield CheckFinding("rights", WARN, text, f"chmod o-rwx {shlex.quote(str(place.data))}")
        if not os.access(place.data, os.W_OK | os.X_OK):
            found = True
            text = f"{place.data}: this user cannot write the data folder"
            yield CheckFinding("rights", BAD, text, "run this as the user of the broker, or give it the folder")
    if not found:
        yield CheckFinding("rights", OK, "files with secrets and the data folder are closed to other users")


def _database(place: Installation) -> Iterator[CheckFinding]:
    url = place.settings.database_url()
    file = place.data / "broker.db" if not place.settings.database.url else None
    if file is not None and not file.exists():
        yield CheckFinding("database", OK, f"{file} is not there yet: the first start makes it")
        return
    try:
        answer = question(url)
    except BrokerError as error:
        where = f"of {file}" if file is not None else "that [database] url names"
        step = "see `config/operate.md`, `A damaged database`" if file is not None else "start it, or correct the URL"
        yield CheckFinding("database", BAD, f"the database {where} does not answer: {error}", step)
    else:
        text = f"the database answers ({answer.seconds * 1000:.0f} ms with the connection)"
        yield CheckFinding("database", OK, text)
        if file is None:
            yield _clock_of(answer)


def _clock_of(answer: DatabaseAnswer) -> CheckFinding:
    """The clock of PostgreSQL, by which leases and due times go, beside that of this machine."""
    if abs(answer.ahead) <= STEP + answer.blur:
        text = f"the clocks of the database and of this machine differ by less than {STEP + answer.blur:.0f} s"
        return CheckFinding("database clock", OK, text)
    way = "ahead of" if answer.ahead > 0 else "behind"
    text = f"the clock of the database is {abs(answer.ahead):.0f} s {way} the one of this machine"
    step = "let time services set both clocks, and see which of them is wrong"
    return CheckFinding("database clock", WARN, text, step)


def _traces(place: Installation) -> Iterator[CheckFinding]:
    if not place.settings.traces.endpoint:
        return
    if exporting.installed():
        yield CheckFinding("traces", OK, "what [traces] endpoint needs is installed")
    else:
        step = f"pip install '{exporting.EXTRA}' into the environment of the broker, or empty the endpoint"
        yield CheckFinding(
            "traces", BAD, "packages that [traces] endpoint needs are missing: no start is possible", step
        )


CHECKS: tuple[Callable[[Installation], Iterator[CheckFinding]], ...] = (
    _descriptors,
    _memory,
    _backlog,
    _disks,
    _clock,
    _rights,
    _database,
    _traces,
)
