"""Collects what a support bundle holds. PARTS is the list; each part is a file of the bundle.

A part raises what kept it from being collected; the others go on. Nothing is changed, and nothing is asked that needs
the database but where it says so.
"""

from __future__ import annotations

import os
import platform
import re
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from broker import __version__
from broker.cli.asking import control
from broker.cli.asking.running import NOT_RUNNING
from broker.cli.common import CommandRefused
from broker.cli.support.hiding import HIDDEN, Hiding
from broker.errors import ConfigurationError
from broker.routing.site import NODES, RULES
from broker.service.doctor import machine, threads
from broker.service.doctor.checks import examine
from broker.service.doctor.inventory import inventory
from broker.settings import Settings
from broker.store import configurations
from broker.store.copies import row_counts
from broker.store.copies.database_copy import SQLITE, kind_of
from broker.store.db import migrate

MOST_FILES = 200_000  # of the spool that are counted
SECONDS = 8.0  # for them
PATIENCE = 60.0  # seconds for all parts: a broker with much to do answers late, and that is when it matters
OF_STATE, TRIES = "broker_health", 3  # in metrics that are whole, and how often they are asked for
LEFT = 2.0  # of them, in which it is told that the broker does not answer
LOG = 5 * 1024**2  # bytes of the end of a log file
_LINE = re.compile(r'\[(debug|info|warning|error|critical) *\]|^\{.*"event": ')  # as the broker writes them
_LIMITS = ("RLIMIT_NOFILE", "RLIMIT_NPROC", "RLIMIT_AS", "RLIMIT_CORE", "RLIMIT_FSIZE")
_CGROUP = ("memory.max", "memory.current", "memory.events", "cpu.max", "cpu.stat", "pids.max", "pids.current")
_STATUS = re.compile(
    r"^(State|Threads|VmPeak|VmSize|VmRSS|VmSwap|RssAnon|FDSize|voluntary_\w+|nonvoluntary_\w+):", re.M
)


@dataclass(frozen=True)
class Incomplete:
    """A part of which something is missing, and what."""

    found: Any
    why: str


@dataclass(frozen=True)
class Surroundings:
    """What the parts look at. `config`: the file of the settings; `log`: a log file that a person names.

    `patience`: seconds to wait for all of it.
    """

    settings: Settings
    config: Path | None
    hiding: Hiding
    log: Path | None
    patience: float = PATIENCE

    @property
    def data(self) -> Path:
        """The data folder."""
        return self.settings.service.data_dir

    @cached_property
    def process(self) -> int | None:
        """The process of the running broker."""
        return machine.running_broker(self.data)

    @property
    def running(self) -> int:
        """The process of the running broker. Raises CommandRefused if none runs."""
        if self.process is None:
            raise CommandRefused(NOT_RUNNING)
        return self.process

    def ask(self, path: str) -> Any:
        """What the running broker answers, whatever its HTTP status. Raises CommandRefused, PeerFault, BadContent."""
        answer = control.call(self.settings, "GET", path, timeout=max(self.patience - LEFT, 0.1))
        if answer is None:
            raise CommandRefused(NOT_RUNNING)
        return self.hiding.answer(answer.body)


def _versions(place: Surroundings) -> Any:
    return {
        "broker": __version__,
        "python": sys.version,
        "made_at": time.time(),
        "schema_of_this_version": migrate.newest(),
        "running": place.process is not None,
    }


def _settings(place: Surroundings) -> Any:
    return [
        {"key": one.key, "value": place.hiding.setting(one.key, one.value), "source": one.source}
        for one in place.settings.in_force()
    ]


def _machine(place: Surroundings) -> Any:
    system = platform.uname()
    return {
        "system": f"{system.system} {system.release} {system.machine}",
        "host": system.node if place.hiding.addresses else HIDDEN,
        "distribution": _first_line(Path("/etc/os-release")),
        "processors": os.cpu_count(),
        "processors_of_this_process": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "load": os.getloadavg(),
        "memory": machine.memory(),
        "limits": {name: resource.getrlimit(getattr(resource, name)) for name in _LIMITS},
        "container": {name: _text(Path("/sys/fs/cgroup") / name) for name in _CGROUP},
        "clock_steered": machine.synchronised(),
        "zone": str(place.settings.zone()),
    }


def _processes(place: Surroundings) -> Any:
    """The first process, and the workers that have come so far that they tell where they stand."""
    seats = threads.seats(place.data, place.running)
    others = [(seat.number, seat.process) for seat in seats if seat.process != place.running]
    found = [{"worker": 1} | _process(place.running)]
    for number, process in others:
        with suppress(OSError):  # it has ended since
            found.append({"worker": number} | _process(process))
    return found


def _process(process: int) -> dict[str, Any]:
    folder = Path(f"/proc/{process}")
    status = folder.joinpath("status").read_text(encoding="utf-8", errors="replace")
    return {
        "process": process,
        "open_files": len(os.listdir(folder / "fd")),
        "limits": folder.joinpath("limits").read_text(encoding="ascii", errors="replace").splitlines(),
        "status": [line for line in status.splitlines() if _STATUS.match(line)],
        "threads": sorted(_text(task / "comm") for task in folder.joinpath("task").iterdir()),
    }


def _files(place: Surroundings) -> Any:
    """Room of the disks, the files of the data folder, and how many the spool has."""
    spool = place.data / "spool"
    rooms = {str(folder): _room(folder) for folder in (place.data, spool) if folder.exists()}
    entries = {entry.name: [entry.stat().st_size, entry.stat().st_mtime] for entry in os.scandir(place.data)}
    return {"disks": rooms, "data_folder": entries, "spool": _spool(spool)}


def _room(folder: Path) -> dict[str, int]:
    """Bytes and inodes of the file system of a folder."""
    disk = os.statvfs(folder)
    return {
        "size": disk.f_blocks * disk.f_frsize,
        "free": disk.f_bavail * disk.f_frsize,
        "inodes": disk.f_files,
        "free_inodes": disk.f_favail,
    }


def _spool(root: Path) -> dict[str, Any]:
    """Files and bytes by day, or by the name of another folder; up to a number of files and a time."""
    until, files = time.monotonic() + SECONDS, 0
    found: dict[str, list[int]] = {}
    for folder, _, names in os.walk(root):
        day = os.path.relpath(folder, root).split(os.sep)[0]
        for name in names:
            with suppress(OSError):
                numbers = found.setdefault(day, [0, 0])
                numbers[0] += 1
                numbers[1] += os.stat(os.path.join(folder, name)).st_size
            files += 1
        if files > MOST_FILES or time.monotonic() > until:
            return {"files_and_bytes": found, "more": True}
    return {"files_and_bytes": found, "more": False}


def _database(place: Surroundings) -> Any:
    url = place.settings.database_url()
    if kind_of(url) == SQLITE and not (place.data / "broker.db").exists():
        raise ConfigurationError("there is no database yet")
    return asdict(row_counts.size_of(url))


def _documents(kind: str) -> Callable[[Surroundings], Any]:
    def collect(place: Surroundings) -> Any:
        url = place.settings.database_url()
        version = configurations.look(url, lambda connection: configurations.current(connection, kind))
        if version is None:
            return None
        return {"version": version.version, kind: place.hiding.document(version.document)}

    return collect


def _doctor(place: Surroundings) -> Any:
    return [asdict(finding) for finding in examine(place.settings, place.config)]


def _threads(place: Surroundings) -> Incomplete | str:
    """Of all processes; one that does not answer is named, and the others stay."""
    dump = threads.dump(place.data, place.running)
    if not dump.silent:
        return dump.text
    silent = ", ".join(map(str, dump.silent))
    return Incomplete(dump.text, f"no answer within {threads.PATIENCE:.0f} s of {silent}")


def _log(place: Surroundings) -> str:
    """The end of a log file: lines of the broker alone, which name no patient."""
    if place.log is None:
        raise CommandRefused("no log file was named: --log FILE")
    if place.settings.log.identifiers:
        raise CommandRefused("[log] identifiers = true writes accession numbers and UIDs to it: look at it yourself")
    with place.log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - LOG))
        lines = file.read(LOG).decode("utf-8", "replace").splitlines()[size > LOG :]
    kept = [line for line in lines if _LINE.search(line)]
    return "\n".join([*kept, f"({len(lines) - len(kept)} lines that are not the broker's were left out)", ""])


def _inventory(place: Surroundings) -> Any:
    return inventory()


def _metrics(place: Surroundings) -> Any:
    """With those of the state. A busy broker leaves them out where it takes longer than a scrape waits."""
    found = place.ask("/metrics")
    for _ in range(TRIES - 1):
        if OF_STATE in str(found):
            break
        found = place.ask("/metrics")
    return found


def _asks(path: str) -> Callable[[Surroundings], Any]:
    return lambda place: place.ask(path)


PARTS: dict[str, Callable[[Surroundings], Any]] = {
    "versions.json": _versions,
    "packages.json": _inventory,
    "settings.json": _settings,
    "doctor.json": _doctor,
    "machine.json": _machine,
    "processes.json": _processes,
    "files.json": _files,
    "database.json": _database,
    "nodes.json": _documents(NODES),
    "rules.json": _documents(RULES),
    "status.json": _asks("/api/v1/status"),
    "health.json": _asks("/health/ready"),
    "retention.json": _asks("/api/v1/retention"),
    "metrics.txt": _metrics,
    "threads.txt": _threads,
    "log.txt": _log,
}
UNHIDDEN = frozenset({"packages.json", "versions.json"})  # numbers of versions look like addresses


def hosts(settings: Settings) -> Iterator[str]:
    """Names of machines in the nodes in force; none while they cannot be read."""
    url = settings.database_url()
    version = configurations.look(url, lambda connection: configurations.current(connection, NODES))
    for node in version.document if version is not None else ():
        yield from (str(node[key]) for key in ("host", "server_name") if node.get(key))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()[:4096]
    except OSError:
        return ""


def _first_line(path: Path) -> str:
    return _text(path).partition("\n")[0]
