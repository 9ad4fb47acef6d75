"""Lets a person see where the threads of a running broker stand, also of one whose event loop hangs.

The broker keeps the file `threads.txt` in its data folder and writes where each thread stands to it, on SIGUSR1. The
main thread does that between two instructions, also while the loop hangs: other threads stand still then. (Outside of
the interpreter lock they do not, and a look at their frames may end the process.) A broker that keeps the lock in one
call does not answer. Files, lines and functions are told, and no values.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

NAME = "threads.txt"
MOST = 1024**2  # bytes that are read
PATIENCE, LOOK = 3.0, 0.05  # seconds for the answer, and between two looks
HEAD = "process {}\n"  # who asks sends no signal to a process that has not said that it takes it


@contextmanager
def dumping(folder: Path) -> Iterator[None]:
    """Answer SIGUSR1 of the user of this broker while the context is open. A disk that is full is no hindrance.

    For the main thread.
    """
    path = folder / NAME
    try:
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
    except OSError:
        yield
        return

    def write(_signal: int, _frame: FrameType | None) -> None:
        with suppress(OSError):
            faulthandler.dump_traceback(number, all_threads=True)

    before = signal.signal(signal.SIGUSR1, write)
    try:
        with suppress(OSError):
            os.write(number, HEAD.format(os.getpid()).encode())  # from here on it is sent
        yield
    finally:
        path.unlink(missing_ok=True)
        signal.signal(signal.SIGUSR1, before)
        os.close(number)


def dump(folder: Path, process: int) -> str:
    """Where the threads of the running broker stand now.

    Raises OSError: ENOENT for a broker that takes no signal, ESRCH for none, ETIMEDOUT for one that does not answer.
    """
    path = folder / NAME
    if not path.read_bytes().startswith(HEAD.format(process).encode()):
        raise FileNotFoundError(f"{NAME} is not of process {process}")
    before, deadline, last = path.stat().st_size, time.monotonic() + PATIENCE, -1
    os.kill(process, signal.SIGUSR1)
    while time.monotonic() < deadline:
        size = path.stat().st_size
        if size > before and size == last:  # it has been still for a look
            break
        last = size
        time.sleep(LOOK)
    with path.open("rb") as file:
        file.seek(before)
        text = file.read(MOST).decode("utf-8", "replace")
    if not text:
        raise TimeoutError(f"process {process} has not answered within {PATIENCE:.0f} s")
    return text
