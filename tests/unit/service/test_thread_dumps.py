"""Where the threads of a process stand, told on a signal; nobody is signalled who has not said that he takes it."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from broker.service.doctor import threads
from broker.service.workers import starting


def test_a_process_tells_where_its_threads_stand(tmp_path: Path) -> None:
    done = threading.Event()

    def standing_here() -> None:
        done.wait(60)

    worker = threading.Thread(target=standing_here)
    worker.start()
    try:
        with threads.dumping(tmp_path):
            assert stat.S_IMODE((tmp_path / threads.NAME).stat().st_mode) == 0o600
            for _ in range(2):  # the second one has no more than the first
                told = threads.dump(tmp_path, os.getpid()).text
                assert told.startswith(f"=== first process ({os.getpid()})\n")
                assert told.count("in standing_here") == 1
                assert told.count("in test_a_process_tells_where_its_threads_stand") == 1
    finally:
        done.set()
        worker.join()
    assert not (tmp_path / threads.NAME).exists()


def test_who_has_not_said_so_gets_no_signal(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        threads.dump(tmp_path, os.getpid())
    (tmp_path / threads.NAME).write_text(threads.HEAD.format(os.getpid() + 1), encoding="utf-8")
    with pytest.raises(FileNotFoundError, match="is of process"):
        threads.dump(tmp_path, os.getpid())  # SIGUSR1 would end this process


def test_a_folder_that_cannot_be_written_hinders_nothing(tmp_path: Path) -> None:
    with threads.dumping(tmp_path / "nowhere"):
        assert not (tmp_path / "nowhere").exists()


WORKER = """
import sys, threading
from pathlib import Path
from broker.service.doctor.threads import dumping

def waiting_for_the_end():
    print("ready", flush=True)
    sys.stdin.read()

with dumping(Path(sys.argv[1]), int(sys.argv[2])):
    waiting_for_the_end()
"""


@contextmanager
def worker(folder: Path, number: int) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", WORKER, str(folder), str(number)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        try:
            yield process
        finally:
            process.send_signal(signal.SIGCONT)
            process.stdin.close()  # type: ignore[union-attr]
            assert process.wait(30) == 0


def test_all_processes_tell_and_a_stopped_one_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with threads.dumping(tmp_path), worker(tmp_path, 2) as second, worker(tmp_path, 3) as third:
        assert [seat.process for seat in threads.seats(tmp_path, os.getpid())] == [os.getpid(), second.pid, third.pid]
        told = threads.dump(tmp_path, os.getpid())
        assert told.silent == ()
        assert told.text.count("in waiting_for_the_end") == 2
        second.send_signal(signal.SIGSTOP)
        monkeypatch.setattr(threads, "PATIENCE", 1.0)
        told = threads.dump(tmp_path, os.getpid())
        assert [str(seat) for seat in told.silent] == [f"worker 2 (process {second.pid})"]
        first, two, three = told.text.split("=== ")[1:]
        assert "in test_all_processes_tell" in first
        assert two == f"worker 2 (process {second.pid})\nworker 2 (process {second.pid}) has not answered within 1 s\n"
        assert "in waiting_for_the_end" in three
        monkeypatch.setattr(threads, "MOST", 90)
        assert len(threads.dump(tmp_path, os.getpid()).text) < 600  # 30 bytes of each, and who it is
    assert list(tmp_path.iterdir()) == []


def test_a_signal_that_comes_too_early_or_too_late_ends_nobody(tmp_path: Path) -> None:
    code = """
import os, signal, sys
from pathlib import Path
from broker.service.doctor.threads import dumping, not_ended_by_it

not_ended_by_it()
for folder in (Path(sys.argv[1]), Path(sys.argv[1]) / "nowhere"):
    os.kill(os.getpid(), signal.SIGUSR1)
    with dumping(folder):
        os.kill(os.getpid(), signal.SIGUSR1)
    os.kill(os.getpid(), signal.SIGUSR1)
print("alive")
"""
    ran = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stdout) == (0, "alive\n")


def test_a_worker_ignores_it_before_it_imports_what_takes_long() -> None:
    code = f"import sys, {starting.__name__}; print([name for name in sys.modules if name.startswith('broker.')])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert "broker.service.doctor.threads" in ran.stdout
    assert "broker.service.workers.worker" not in ran.stdout
    assert "broker.store" not in ran.stdout


def test_what_was_told_before_is_cut_off(tmp_path: Path) -> None:
    with threads.dumping(tmp_path):
        with (tmp_path / threads.NAME).open("ab") as file:
            file.write(b"x" * threads.MOST_OF_ONE)
        for _ in range(2):
            told = threads.dump(tmp_path, os.getpid()).text
            assert "in test_what_was_told_before_is_cut_off" in told
            assert "xx" not in told
        assert (tmp_path / threads.NAME).stat().st_size < threads.MOST_OF_ONE


def test_what_killed_workers_left_is_taken_away_and_names_no_stranger(tmp_path: Path) -> None:
    left = threads.file_of(tmp_path, 2)
    with threads.dumping(tmp_path):
        for process in (os.getppid(), 1, 2**22 + 1):  # none is a child of this process
            left.write_text(threads.HEAD.format(process), encoding="ascii")
            assert [seat.number for seat in threads.seats(tmp_path, os.getpid())] == [1]
        left.write_text("process of nobody\n", encoding="ascii")
        assert threads.dump(tmp_path, os.getpid()).text.count("===") == 1
    with threads.dumping(tmp_path):
        assert not left.exists()
