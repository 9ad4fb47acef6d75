"""Where the threads of a process stand, told on a signal; nobody is signalled who has not said that he takes it.

The signal is held back in all threads of a process from its start, so those who answer are processes of their own.
"""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from broker.service.doctor import threads

PROCESS = """
import subprocess, sys, threading
from contextlib import ExitStack
from pathlib import Path
from broker.service.doctor.threads import dumping, hold_back

def standing_here():
    done.wait()

def waiting_for_the_end(pids):
    print(*pids, flush=True)
    sys.stdin.read()

hold_back()
code, folder, number, workers = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
done, children = threading.Event(), []
other = threading.Thread(target=standing_here)
other.start()
with dumping(folder, number):
    for one in range(2, 2 + workers):
        command = [sys.executable, "-c", code, code, str(folder), str(one), "0"]
        children.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        children[-1].stdout.readline()
    waiting_for_the_end([child.pid for child in children])
    for child in children:
        child.stdin.close()
        assert child.wait(30) == 0
done.set()
other.join()
assert [one.name for one in threading.enumerate()] == ["MainThread"]
"""
STORM = """
import os, signal, sys, threading
from pathlib import Path
from broker.service.doctor.threads import dumping, hold_back

def deeper(count):
    return deeper(count - 1) + 1 if count else 0

hold_back()
print("held back", flush=True)
for _ in range(40):
    with dumping(Path(sys.argv[1])):
        for _ in range(40):
            others = [threading.Thread(target=deeper, args=(60,)) for _ in range(8)]
            for one in others:
                one.start()
            for one in others:
                one.join()
os.kill(os.getpid(), signal.SIGUSR1)
print("alive", flush=True)
"""


@dataclass(frozen=True)
class Answering:
    """A process that answers, and its workers."""

    pid: int
    workers: list[int]


@contextmanager
def answering(folder: Path, workers: int = 0) -> Iterator[Answering]:
    command = [sys.executable, "-c", PROCESS, PROCESS, str(folder), "1", str(workers)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        pids = [int(word) for word in process.stdout.readline().split()]
        assert len(pids) == workers
        try:
            yield Answering(process.pid, pids)
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
            process.stdin.close()
            assert process.wait(60) == 0


def test_a_process_tells_where_its_threads_stand(tmp_path: Path) -> None:
    with answering(tmp_path) as first:
        assert stat.S_IMODE((tmp_path / threads.NAME).stat().st_mode) == 0o600
        for _ in range(2):  # the second one has no more than the first
            told = threads.dump(tmp_path, first.pid).text
            assert told.startswith(f"=== first process ({first.pid})\n")
            assert told.count("in standing_here") == 1
            assert told.count("in waiting_for_the_end") == 1
    assert not (tmp_path / threads.NAME).exists()


def test_who_has_not_said_so_gets_no_signal(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        threads.dump(tmp_path, os.getpid())
    (tmp_path / threads.NAME).write_text(threads.HEAD.format(os.getpid() + 1), encoding="utf-8")
    with pytest.raises(FileNotFoundError, match="is of process"):
        threads.dump(tmp_path, os.getpid())  # SIGUSR1 would end this process


def test_a_folder_that_cannot_be_written_hinders_nothing(tmp_path: Path) -> None:
    with answering(tmp_path / "nowhere") as first, pytest.raises(FileNotFoundError):
        threads.dump(tmp_path / "nowhere", first.pid)
    assert not (tmp_path / "nowhere").exists()


def test_all_processes_tell_and_a_stopped_one_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(tmp_path, workers=2) as first:
        second, third = first.workers
        assert [seat.process for seat in threads.seats(tmp_path, first.pid)] == [first.pid, second, third]
        told = threads.dump(tmp_path, first.pid)
        assert told.silent == ()
        assert told.text.count("in waiting_for_the_end") == 3
        os.kill(second, signal.SIGSTOP)
        monkeypatch.setattr(threads, "PATIENCE", 1.0)
        told = threads.dump(tmp_path, first.pid)
        assert [str(seat) for seat in told.silent] == [f"worker 2 (process {second})"]
        one, two, three = told.text.split("=== ")[1:]
        assert "in waiting_for_the_end" in one
        assert two == f"worker 2 (process {second})\nworker 2 (process {second}) has not answered within 1 s\n"
        assert "in waiting_for_the_end" in three
        monkeypatch.setattr(threads, "MOST", 90)
        assert len(threads.dump(tmp_path, first.pid).text) < 600  # 30 bytes of each, and who it is
    assert list(tmp_path.iterdir()) == []


def test_signals_without_end_crash_no_process_that_is_busy(tmp_path: Path) -> None:
    """While threads begin and end and frames come and go, and while it answers, does not yet and does no more."""
    with subprocess.Popen([sys.executable, "-c", STORM, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held back\n"
        sent = 0
        while process.poll() is None:
            process.send_signal(signal.SIGUSR1)
            sent += 1
            os.sched_yield()
        assert (process.returncode, process.stdout.read()) == (0, b"alive\n")
    assert sent > 100


def test_what_was_told_before_is_cut_off(tmp_path: Path) -> None:
    with answering(tmp_path) as first:
        with (tmp_path / threads.NAME).open("ab") as file:
            file.write(b"x" * threads.MOST_OF_ONE)
        for _ in range(2):
            told = threads.dump(tmp_path, first.pid).text
            assert "in waiting_for_the_end" in told
            assert "xx" not in told
        assert (tmp_path / threads.NAME).stat().st_size < threads.MOST_OF_ONE


def test_what_killed_workers_left_is_taken_away_and_names_no_stranger(tmp_path: Path) -> None:
    left = threads.file_of(tmp_path, 2)
    with answering(tmp_path) as first:
        for process in (os.getpid(), 1, 2**22 + 1):  # none is a child of the first process
            left.write_text(threads.HEAD.format(process), encoding="ascii")
            assert [seat.number for seat in threads.seats(tmp_path, first.pid)] == [1]
        left.write_text("process of nobody\n", encoding="ascii")
        assert threads.dump(tmp_path, first.pid).text.count("===") == 1
    with answering(tmp_path):
        assert not left.exists()
