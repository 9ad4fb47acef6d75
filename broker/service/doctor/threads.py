"""Lets a person see where the threads of a running broker stand, also of one whose event loop hangs.

Each process of the broker keeps a file in the data folder and writes where each of its threads stands to it, on
SIGUSR1. The signal interrupts nothing: it is held back in all threads, and one waits for it, which looks at the others
while it holds the interpreter lock. To look without that lock reads frames that others change, and may crash.
Files, lines and functions are told, no values. All processes are asked at once. One that does not answer (it is
stopped, or C code does not give the lock back) keeps no other one away.
"""

from __future__ import annotations

import errno
import faulthandler
import os
import re
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

NAME, OF_WORKER = "threads.txt", "threads.{}.txt"
MOST = 4 * 1024**2  # bytes that are read of all processes; each has its share, and none more than MOST_OF_ONE
MOST_OF_ONE = 1024**2
PATIENCE, LOOK = 3.0, 0.05  # seconds for the answers, and between two looks
LEAVING = 1.0  # seconds for the end of the thread that answers, which may hang in the disk
HEAD = "process {}\n"  # who asks sends no signal to a process that has not said that it takes it
_HEAD = re.compile(rb"process (\d{1,10})\n")
_NUMBER = re.compile(r"threads\.(\d{1,5})\.txt")
_PARENT = re.compile(r"^PPid:\s*(\d+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Seat:
    """A process of the broker: 1 is the first one, 2 to N are its workers, as in the log and in metrics."""

    number: int
    process: int
    path: Path

    def __str__(self) -> str:
        return (
            f"first process ({self.process})" if self.number == 1 else f"worker {self.number} (process {self.process})"
        )


@dataclass(frozen=True, slots=True)
class Dump:
    """Where threads stand, and who has not told it."""

    text: str
    silent: tuple[Seat, ...]


def file_of(folder: Path, number: int) -> Path:
    """The file of a process of the broker."""
    return folder / (NAME if number == 1 else OF_WORKER.format(number))


def hold_back() -> None:
    """Let SIGUSR1 wait until a thread takes it. Call it before any other thread is: new ones do as who began them.

    Without it the signal ends a process that starts or ends. Programs that are started may inherit it, to no harm.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})


@contextmanager
def dumping(folder: Path, number: int = 1) -> Iterator[None]:
    """Answer SIGUSR1 of the user of this broker while the context is open. A disk that is full is no hindrance.

    `hold_back` was called before. What comes when the context has closed is never delivered.
    The first process takes away what killed workers left, so it enters before it starts others.
    """
    if number == 1:
        for left in folder.glob(OF_WORKER.format("*")):
            left.unlink(missing_ok=True)
    path = file_of(folder, number)
    over = threading.Event()
    with ExitStack() as stack:
        try:
            out = stack.enter_context(open(path, "wb", buffering=0, opener=_private))
            stack.callback(path.unlink, missing_ok=True)
            seen = stack.enter_context(_in_memory())
            thread = threading.Thread(target=_answer, args=(out, seen, over), name="threads", daemon=True)
            thread.start()
            stack.callback(_end, thread, over)
            out.write(HEAD.format(os.getpid()).encode())  # from here on the signal is sent
        except (OSError, RuntimeError):  # no room, no descriptor, no thread
            stack.close()
        yield


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_APPEND, 0o600)


def _in_memory() -> IO[bytes]:
    if sys.platform == "linux":
        return open(os.memfd_create("threads"), "w+b", buffering=0)
    return tempfile.TemporaryFile(buffering=0)


def _answer(out: IO[bytes], seen: IO[bytes], over: threading.Event) -> None:
    """Write where all threads stand at each signal; by way of memory, since none runs meanwhile and a disk may hang."""
    while signal.sigwait({signal.SIGUSR1}) and not over.is_set():
        seen.seek(0)
        seen.truncate()
        faulthandler.dump_traceback(seen, all_threads=True)
        seen.seek(0)
        with suppress(OSError):
            out.write(seen.read())


def _end(thread: threading.Thread, over: threading.Event) -> None:
    """End the thread that answers, and wait for it as long as it does not hang in the disk."""
    over.set()
    if thread.ident is not None and thread.is_alive():
        signal.pthread_kill(thread.ident, signal.SIGUSR1)
    thread.join(LEAVING)


def seats(folder: Path, process: int) -> list[Seat]:
    """The processes that take the signal: the first one, which is `process`, and its children of now."""
    found = []
    for path in (folder / NAME, *folder.glob(OF_WORKER.format("*"))):
        matched = _NUMBER.fullmatch(path.name)
        number = int(matched[1]) if matched else 1
        with suppress(OSError):
            with path.open("rb") as file:
                head = _HEAD.match(file.read(64))
            if head and (int(head[1]) == process if number == 1 else _parent(int(head[1])) == process):
                found.append(Seat(number, int(head[1]), path))
    return sorted(found, key=lambda seat: seat.number)


def dump(folder: Path, process: int) -> Dump:
    """Where the threads of all processes of the running broker stand now. `process`: the first of them.

    Raises OSError: ENOENT for a broker that takes no signal, ETIMEDOUT where no process answers.
    """
    asked = seats(folder, process)
    if not asked:
        raise FileNotFoundError(errno.ENOENT, f"no {NAME} is of process {process}")
    before = {seat: _begin(seat) for seat in asked}
    for seat in asked:
        with suppress(ProcessLookupError):  # it has ended since
            os.kill(seat.process, signal.SIGUSR1)
    answered = _await(before)
    share = min(MOST_OF_ONE, MOST // len(asked))
    parts = [
        f"=== {seat}\n{_read(seat, before[seat], share) if seat in answered else _silence(seat)}" for seat in asked
    ]
    silent = tuple(seat for seat in asked if seat not in answered)
    if len(silent) == len(asked):
        raise TimeoutError(errno.ETIMEDOUT, "; ".join(map(_silence, silent)))
    return Dump("\n".join(parts), silent)


def _await(before: dict[Seat, int]) -> set[Seat]:
    """Who has written something, and nothing more for a look; those who do not are waited for for PATIENCE seconds."""
    deadline, last = time.monotonic() + PATIENCE, dict.fromkeys(before, -1)
    while True:
        sizes = {seat: _size(seat) for seat in before}
        written = {seat for seat, size in sizes.items() if size > before[seat]}
        if time.monotonic() > deadline or all(seat in written and sizes[seat] == last[seat] for seat in before):
            return written
        last = sizes
        time.sleep(LOOK)


def _begin(seat: Seat) -> int:
    """How long its file is; what earlier answers left is cut off where it is much."""
    size = _size(seat)
    if size <= MOST_OF_ONE:
        return size
    head = len(HEAD.format(seat.process))
    with suppress(OSError):
        os.truncate(seat.path, head)  # a process writes at the end, wherever that is
    return _size(seat)


def _size(seat: Seat) -> int:
    try:
        return seat.path.stat().st_size
    except OSError:
        return 0


def _read(seat: Seat, begin: int, most: int) -> str:
    with suppress(OSError), seat.path.open("rb") as file:
        file.seek(begin)
        text = file.read(most + 1).decode("utf-8", "replace")
        return text if len(text) <= most else f"{text[:most]}\n(there is more)\n"
    return "it has ended\n"


def _silence(seat: Seat) -> str:
    return f"{seat} has not answered within {PATIENCE:.0f} s"


def _parent(process: int) -> int | None:
    """Whose child a process is, so that no number of a process that is gone names a stranger."""
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    found = _PARENT.search(status)
    return int(found[1]) if found else None
