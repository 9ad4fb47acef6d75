"""Runs the `broker` program: as one of its own, or, in tests, forked from a process that has imported it.

A fork costs a twentieth of a second of processor time where an interpreter needs one or two to import everything. With
`BROKER_EXEC=1` or `BROKER_FULL=1`, and where nobody turns it on, each program is an interpreter of its own.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from support.peers.tools import ENVIRONMENT

FORKED = False  # `conftest.py` and `bench/kills.py` turn it on
HARMLESS = ("PYTHONWARNINGS", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE")
TESTS = Path(__file__).parents[2]
PRELOADED = ("LD_", "FAKETIME", "NO_FAKE")  # variables that a program must find when it is loaded
_nurseries: dict[frozenset[tuple[str, str]], tuple[socket.socket, subprocess.Popen[bytes]]] = {}


class Forked:
    """A running program, as a `subprocess.Popen` shows it."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self.returncode: int | None = None
        self.pid = int(self._line(60))

    def _line(self, seconds: float | None) -> str:
        text = b""
        deadline = None if seconds is None else time.monotonic() + seconds
        while not text.endswith(b"\n"):
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not select.select([self._pipe], [], [], left)[0]:
                raise subprocess.TimeoutExpired("broker", seconds or 0)
            byte = os.read(self._pipe, 1)
            if not byte:
                raise RuntimeError("the nursery has ended")
            text += byte
        return text.decode()

    def poll(self) -> int | None:
        """The exit code, None while it runs."""
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, minus the number of the signal that ended it. Raises TimeoutExpired."""
        if self.returncode is None:
            self.returncode = int(self._line(timeout))
            os.close(self._pipe)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal if it runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


Program = Forked | subprocess.Popen[bytes]


def start(
    *arguments: str | Path,
    folder: Path,
    environment: Mapping[str, str],
    stdout: IO[Any],
    stderr: IO[Any],
    stdin: IO[Any] | None = None,
    interpreter: str = sys.executable,
) -> Program:
    """Start `broker ARGUMENTS`."""
    words, set_up = [str(word) for word in arguments], _environment(environment)
    if not _forks(set_up, interpreter):
        command = [interpreter, "-m", "broker", *words]
        return subprocess.Popen(command, cwd=folder, env=set_up, stdin=stdin, stdout=stdout, stderr=stderr)
    with open(os.devnull, "rb") as nothing:
        read, write = os.pipe()
        request = {"arguments": words, "folder": str(folder), "environment": set_up}
        descriptors = [(stdin or nothing).fileno(), stdout.fileno(), stderr.fileno(), write]
        socket.send_fds(_started(set_up), [json.dumps(request).encode()], descriptors)
        os.close(write)
    return Forked(read)


def run(
    *arguments: str | Path,
    folder: Path,
    environment: Mapping[str, str] | None = None,
    text: str = "",
    merge: bool = False,
    timeout: float = 120,
) -> subprocess.CompletedProcess[str]:
    """Run `broker ARGUMENTS` to its end. `environment` is added to that of all tests, `text` is its standard input.

    `merge`: what it says on standard error stands in its output. Raises TimeoutExpired after `timeout` seconds.
    """
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as told:
        given.write(text.encode())
        given.seek(0)
        process = start(
            *arguments, folder=folder, environment={**ENVIRONMENT, **(environment or {})}, stdin=given, stdout=said,
            stderr=said if merge else told,
        )  # fmt: skip
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        texts = []
        for file in (said, told):
            file.seek(0)
            texts.append(file.read().decode("utf-8", "replace"))
    return subprocess.CompletedProcess(["broker", *map(str, arguments)], code, *texts)


def _environment(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if not name.startswith("PYTEST_")}


def _forks(environment: Mapping[str, str], interpreter: str) -> bool:
    """False where the interpreter itself is set up otherwise."""
    asked = os.environ.get("BROKER_EXEC") or os.environ.get("BROKER_FULL")
    special = any(name.startswith("PYTHON") and name not in HARMLESS for name in environment)
    return FORKED and not asked and not special and interpreter == sys.executable and sys.platform == "linux"


@atexit.register
def _end_nurseries() -> None:
    """Each ends when its socket is closed."""
    for connection, process in _nurseries.values():
        connection.close()
        process.wait(60)


def _started(environment: Mapping[str, str]) -> socket.socket:
    """The socket of the nursery of this test process for programs that are loaded with such an environment."""
    preloaded = {name: value for name, value in environment.items() if name.startswith(PRELOADED)}
    key = frozenset(preloaded.items())
    if key not in _nurseries or _nurseries[key][1].poll() is not None:
        with (
            tempfile.TemporaryDirectory(prefix="nursery-") as folder,
            socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as door,
        ):
            door.bind(f"{folder}/socket")
            door.listen(1)
            door.settimeout(60)
            command = [sys.executable, "-m", "support.service.nursery", f"{folder}/socket"]
            process = subprocess.Popen(
                command, cwd=TESTS, env=_environment(ENVIRONMENT) | preloaded, stdout=subprocess.DEVNULL
            )
            connection = door.accept()[0]
            connection.setblocking(True)
            _nurseries[key] = connection, process
    return _nurseries[key][0]
