"""Forks `broker` programs from a process that has imported all of it: `python -m support.service.nursery SOCKET`.

It is of one thread. A request names arguments, folder, environment, and brings four descriptors: the program's standard
input, output and error, and a pipe to which the process number goes first and the exit status at the end.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import selectors
import signal
import socket
import sys
import threading
import traceback
import warnings
from collections.abc import Callable
from datetime import UTC
from functools import cache
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Any, NoReturn

import typer.main
from fastapi import FastAPI

from support.service.later import hurry

LATE = ("httpx", "uvicorn.protocols.http.auto", "uvicorn.lifespan.on", "pynetdicom.sop_class", "psycopg", "sqlite3")


def load() -> None:
    """Import every module of the broker, and what its libraries import late."""
    import broker

    for found in pkgutil.walk_packages(broker.__path__, "broker."):
        if not found.name.endswith(("__main__", "migrations.env")) and ".versions.v0" not in found.name:
            importlib.import_module(found.name)
    for name in LATE:
        importlib.import_module(name)
    from broker.admin.web import words
    from broker.admin.web.shell import Shell
    from broker.cli.main import app
    from broker.orders.mapping.book import built_in
    from broker.store.db.migrate import newest

    typer.main.get_command = cache(typer.main.get_command)  # a fifth of the processor time of a program
    typer.main.get_command(app)
    FastAPI().get("/")(lambda: None)  # the first route imports more
    built_in()
    newest()
    words.read_po = _remembering(words.read_po)
    Shell([], UTC)
    hurry()


def _remembering(read: Callable[..., Any]) -> Callable[..., Any]:
    """Reads each file once."""
    known: dict[str, Any] = {}

    def remembering(file: IO[bytes], **how: Any) -> Any:
        if file.name not in known:
            known[file.name] = read(file, **how)
        return known[file.name]

    return remembering


def _stream(number: int, errors: str) -> TextIOWrapper:
    return TextIOWrapper(open(number, "wb", closefd=False), "utf-8", errors, line_buffering=number == 2)


def _become(request: dict[str, Any], descriptors: list[int]) -> NoReturn:
    """Be the program: run it and exit as an interpreter does."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
    os.closerange(3, max(descriptors) + 10)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = ["broker", *request["arguments"]]
    sys.stdin = TextIOWrapper(open(0, "rb", closefd=False), "utf-8")  # noqa: SIM115
    sys.stdout, sys.stderr = _stream(1, "strict"), _stream(2, "backslashreplace")
    if action := os.environ.get("PYTHONWARNINGS"):
        warnings.simplefilter(action)  # type: ignore[arg-type]
    sys.modules["__main__"].__package__ = ""  # for the usage
    from broker import faults
    from broker.cli.main import app

    faults._FILE = os.environ.get("BROKER_FAULTS", "")
    code = 0
    try:
        app()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            code = code or 120  # as an interpreter that cannot write
    os._exit(code)


class Nursery:
    """Takes requests at a socket until its other end is closed."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.connect(path)
        self._pipes: dict[int, int] = {}  # by process
        self._read, self._write = os.pipe()
        for end in (self._read, self._write):
            os.set_blocking(end, False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)

    def run(self) -> None:
        """Fork and reap."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._socket, selectors.EVENT_READ)
            selector.register(self._read, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fileobj is self._socket and not self._take():
                        return
                self._reap()

    def _take(self) -> bool:
        data, descriptors, _, _ = socket.recv_fds(self._socket, 1 << 18, 4)
        if not data:
            return False
        *standard, pipe = descriptors
        number = os.fork()
        if number == 0:
            _become(json.loads(data), standard)
        self._pipes[number] = pipe
        os.write(pipe, f"{number}\n".encode())
        for descriptor in standard:
            os.close(descriptor)
        return True

    def _reap(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._read, 4096)
        for number in list(self._pipes):
            found, status = os.waitpid(number, os.WNOHANG)
            if found:
                pipe = self._pipes.pop(number)
                os.write(pipe, f"{os.waitstatus_to_exitcode(status)}\n".encode())
                os.close(pipe)


def main() -> None:
    """Load, then serve."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    load()
    threads = len(list(Path("/proc/self/task").iterdir()))
    assert threads == 1, f"{threads} threads: not safe to fork"
    gc.collect()
    gc.freeze()
    Nursery(sys.argv[1]).run()


if __name__ == "__main__":
    main()
