"""Measures of a running broker before and after somebody misbehaved at its doors."""

from __future__ import annotations

import contextlib
import os
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil

from support.dicom.raw import IMPLICIT, VERIFICATION, RawScu
from support.peers.tools import wait_until
from support.service.site import CANARIES, Site
from support.store.spool import spool_files

MIB = 1024**2


def echo_time(port: int, *, source: str = "127.0.0.1", calling: bytes = b"GOOD") -> float:
    """Seconds that a whole C-ECHO takes, from the connection to the release; it must succeed."""
    started = time.monotonic()
    with RawScu(port, source=source) as modality:
        assert modality.associate([(VERIFICATION, IMPLICIT)], calling=calling)[0] == 2
        assert modality.echo() == 0
        assert modality.release() == 6
    return time.monotonic() - started


@dataclass
class State:
    """What a broker process holds."""

    process: psutil.Process
    rss: int  # bytes
    sockets: int
    files: int
    threads: int
    log: int  # characters

    @classmethod
    def of(cls, site: Site) -> Self:
        """Measure now."""
        assert site.process is not None
        process = psutil.Process(site.process.pid)
        return cls(
            process, process.memory_info().rss, sockets(process, site), process.num_fds(), process.num_threads(),
            len(site.logged()),
        )  # fmt: skip

    def growth(self) -> int:
        """Bytes of resident memory more than at this state."""
        return int(self.process.memory_info().rss) - self.rss

    def assert_unharmed(self, site: Site, *, growth: int = 48 * MIB) -> None:
        """The broker is the same process, answers at once, has forgotten the peers, kept no orphan, told no secret."""
        assert site.alive(), site.logged()[-3000:]
        assert max(echo_time(site.dicom, source=f"127.0.0.{n}") for n in (1, 9)) < 2
        wait_until(lambda: sockets(self.process, site) <= self.sockets, 10, "connections are given back")
        assert self.process.num_threads() <= self.threads + 16  # the spool's threads start when first needed
        assert self.process.num_fds() <= self.files + 80  # and have a database connection of their own
        assert self.growth() < growth
        wait_until(lambda: orphans(site) == [], 5, "the spool holds what the database knows")
        logged = site.logged()[self.log :]
        assert [word for word in ("Traceback", "defect", "never awaited") if word in logged] == []
        said = logged + fetched(site, "/metrics") + fetched(site, "/health/ready")
        assert [canary for canary in CANARIES if canary in said.casefold()] == []


def fetched(site: Site, path: str) -> str:
    """What the web answers, soon and without an error."""
    with urllib.request.urlopen(site.web + path, timeout=2) as answer:
        return str(answer.read(), "utf-8")


def metric(site: Site, series: str) -> float:
    """Value of a series of `/metrics`, 0 for one that is not there yet."""
    lines = fetched(site, "/metrics").splitlines()
    return next((float(line.rsplit(" ", 1)[1]) for line in lines if line.rsplit(" ", 1)[0] == series), 0.0)


def sockets(process: psutil.Process, site: Site) -> int:
    """Network connections at our doors, also half-closed ones; those to destinations are kept warm for a while."""
    doors = {f"{port:04X}" for name in ("dicom", "hl7", "web") for _, port in site.listeners[name]}
    mine = set()
    for file in Path(f"/proc/{process.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed since
            mine.add(os.readlink(file).removeprefix("socket:[").removesuffix("]"))
    # of each line: its number, the local address in hexadecimal digits, …, the inode
    lines = [line.split() for table in ("tcp", "tcp6") for line in Path(f"/proc/net/{table}").read_text().splitlines()]
    return sum(line[1][-4:] in doors and line[9] in mine for line in lines)


def orphans(site: Site) -> list[str]:
    """Files of the spool that no row names."""
    spool = site.data / "spool"
    found = {path.relative_to(spool).as_posix() for path in spool_files(spool)}
    return sorted(found - {str(row[0]) for row in site.rows("select path from instance")})
