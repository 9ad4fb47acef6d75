"""Ends what a run of the fuzzer has started as soon as the run is gone, however it ended.

A run that is killed cannot end its processes: those of its cases would go on for an hour, a broker for ever. `guard`
starts this program. It waits for the end of a pipe that the run alone holds, and finds the processes by a variable of
their environment.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil

MARK = "FUZZ_RUN"


def guard() -> dict[str, str]:
    """From now on whatever this process starts ends with it; the variable, for children with another environment."""
    mark = f"{os.getpid()}-{os.urandom(8).hex()}"
    read, _ = os.pipe()  # its other end is closed by the system when this process is gone
    subprocess.Popen([sys.executable, Path(__file__), str(read), mark], pass_fds=(read,), start_new_session=True)
    os.close(read)
    os.environ[MARK] = mark
    return {MARK: mark}


def marked(mark: str) -> list[psutil.Process]:
    """The processes of a run, but this one."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid != os.getpid() and process.environ().get(MARK) == mark:
                found.append(process)
    return found


def main(descriptor: int, mark: str) -> None:
    """Wait for the end of the run, and end what is left of it."""
    os.read(descriptor, 1)
    while left := marked(mark):  # one of them may have started another one meanwhile
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.send_signal(signal.SIGKILL)
        psutil.wait_procs(left, 5)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
