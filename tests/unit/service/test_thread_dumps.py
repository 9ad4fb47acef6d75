"""Where the threads of a process stand, told on a signal; nobody is signalled who has not said that he takes it."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from broker.service.doctor import threads


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
                told = threads.dump(tmp_path, os.getpid())
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
    with pytest.raises(FileNotFoundError, match="is not of process"):
        threads.dump(tmp_path, os.getpid())  # SIGUSR1 would end this process


def test_a_folder_that_cannot_be_written_hinders_nothing(tmp_path: Path) -> None:
    with threads.dumping(tmp_path / "nowhere"):
        assert not (tmp_path / "nowhere").exists()
