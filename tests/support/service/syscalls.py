"""Watches the system calls of a running broker, to see what was on stable storage before it answered."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.peers.tools import tool, wait_until

CALLS = "openat,write,pwrite64,writev,fsync,fdatasync,rename,sendto,sendmsg,recvfrom"
_LINE = re.compile(r"(\d+) +(.*)")
_RESUMED = re.compile(r"<\.\.\. (\w+) resumed>(.*)")
_CALL = re.compile(r"(\w+)\((.*)")


@dataclass(slots=True)
class Call:
    """A system call: its name, its arguments and result as strace shows them, the lines where it began and ended."""

    name: str
    text: str
    began: int
    ended: int

    def on(self, part: str) -> bool:
        """Its descriptor is of a file or connection whose name has this part."""
        return part in self.path

    @property
    def path(self) -> str:
        """The file or connection of its descriptor."""
        descriptor = re.match(r"\d+<(.*?)>(?=[,)])", self.text)
        return descriptor[1] if descriptor else ""


class Trace:
    """What strace has written so far."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def calls(self) -> Sequence[Call]:
        """All calls that have ended, in the order in which they began."""
        found: list[Call] = []
        running: dict[str, Call] = {}
        for number, line in enumerate(self.file.read_text(encoding="latin_1").splitlines()):
            if (match := _LINE.fullmatch(line)) is None:
                continue
            thread, text = match.groups()
            if resumed := _RESUMED.match(text):
                if (begun := running.pop(thread, None)) is not None:
                    begun.text += resumed[2]
                    begun.ended = number
            elif call := _CALL.match(text):
                one = Call(call[1], call[2].removesuffix(" <unfinished ...>"), number, number)
                found.append(one)
                if text.endswith("<unfinished ...>"):
                    one.ended = -1
                    running[thread] = one
        return [one for one in found if one.ended >= 0]

    def answer(self, port: int, part: str, before: int) -> Call:
        """The next write with this in it to a connection of a door, after so many lines."""
        place = f"TCP:[127.0.0.1:{port}->"

        def found() -> list[Call]:
            return [
                call
                for call in self.calls()
                if call.began >= before
                and call.name.startswith(("write", "send"))
                and call.on(place)
                and part in call.text
            ]

        wait_until(found, 20, f"the answer on port {port} is traced")
        return found()[0]

    @property
    def lines(self) -> int:
        """So many are written."""
        return self.file.read_bytes().count(b"\n")


@contextmanager
def traced(pid: int, folder: Path) -> Iterator[Trace]:
    """Trace a process and its threads; skips where this machine forbids it."""
    file = folder / "strace.txt"
    command = [tool("strace"), "-f", "-yy", "-s", "65536", "-e", f"trace={CALLS}", "-o", str(file), "-p", str(pid)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        said = process.stderr.readline()  # "Process … attached", once for all threads that are there
        if "attach" not in said or "not permitted" in said:
            pytest.skip(f"strace may not attach here: {said.strip()}")
        yield Trace(file)
    finally:
        process.terminate()
        deadline = time.monotonic() + 10
        while process.poll() is None and time.monotonic() < deadline:
            try:
                process.wait(0.1)
            except subprocess.TimeoutExpired:
                continue
        process.stderr.close() if process.stderr else None
