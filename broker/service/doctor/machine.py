"""Reads what the system tells about this machine and its processes. What it does not tell is None."""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import re
import resource
from dataclasses import dataclass
from pathlib import Path

_CGROUP_MEMORY = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
_OPEN_FILES = re.compile(r"^Max open files\s+(\d+|unlimited)\s+(\d+|unlimited)", re.MULTILINE)
_UNLIMITED = 2**31
_NO_NTP = 5  # TIME_ERROR of adjtimex(2): the clock is not synchronised


@dataclass(frozen=True, slots=True)
class OpenFiles:
    """Limits of open files of a process: the one in force, and how far the process may raise it."""

    soft: int
    hard: int


def memory() -> int | None:
    """Bytes that this process may use: those of the machine, or of its container."""
    try:
        most = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return None
    for file in _CGROUP_MEMORY:
        try:
            most = min(most, int(file.read_text(encoding="ascii")))
        except (OSError, ValueError):  # "max", or not there
            continue
    return most


def running_broker(data: Path) -> int | None:
    """The process of the broker that runs on a data folder; None if none runs there."""
    try:
        with (data / "lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return None
    except BlockingIOError:
        pass
    except OSError:
        return None
    try:
        return int(json.loads((data / "listeners.json").read_text(encoding="utf-8"))["pid"])
    except (OSError, ValueError, KeyError, TypeError):
        return None  # it is starting


def open_files(process: int | None = None) -> OpenFiles:
    """The limits of a process; of this one where the system does not tell those of the other."""
    if process is not None:
        try:
            limits = _OPEN_FILES.search(Path(f"/proc/{process}/limits").read_text(encoding="ascii"))
        except OSError:
            limits = None
        if limits:
            return OpenFiles(*(int(value) if value.isdigit() else _UNLIMITED for value in limits.groups()))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return OpenFiles(*(_UNLIMITED if value == resource.RLIM_INFINITY else value for value in (soft, hard)))


def synchronised() -> bool | None:
    """Whether a time service steers the clock."""
    adjtimex = getattr(ctypes.CDLL(None), "adjtimex", None)
    if adjtimex is None:
        return None
    state = adjtimex(ctypes.create_string_buffer(512))  # `struct timex`; modes 0 only reads
    return None if state < 0 else state != _NO_NTP
