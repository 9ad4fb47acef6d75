"""Foreign programs. A missing one skips the test with its name on a user's machine and fails it in CI."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

# DCMTK waits 40 ms for the peer's delayed acknowledgement unless told otherwise
ENVIRONMENT = {**{k: v for k, v in os.environ.items() if not k.startswith("BROKER_")}, "TCP_NODELAY": "1"}


def tool(name: str) -> str:
    """Path of a foreign program."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if found is None:
        if os.environ.get("CI"):
            pytest.fail(f"{name} is missing")
        pytest.skip(f"needs {name}")
    return found


def run(name: str, *args: str | Path, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """Run a foreign program to its end; its output is returned, whatever its exit code."""
    command = [tool(name), *map(str, args)]
    done = subprocess.run(
        command, env=ENVIRONMENT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout,
        check=False, errors="replace",
    )  # fmt: skip
    done.stdout = done.stdout.replace("\0", "")  # findscu prints the padding of a UID
    return done


@contextmanager
def background(name: str, *args: str | Path, ready: Callable[[], bool], cwd: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a foreign program beside the test until `ready`, and end it afterwards."""
    log = (cwd / f"{Path(name).name}.log").open("wb")
    process = subprocess.Popen([tool(name), *map(str, args)], cwd=cwd, env=ENVIRONMENT, stdout=log, stderr=log)
    try:
        wait_until(lambda: ready() or process.poll() is not None, 30, f"{name} is ready")
        assert process.poll() is None, (cwd / f"{Path(name).name}.log").read_text(errors="replace")
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()


def wait_until(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Wait for a condition with a deadline; fails naming `what`."""
    deadline = time.monotonic() + seconds
    pause = 0.005
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds} s: {what}")
        time.sleep(pause)  # between two looks at the condition, never instead of one
        pause = min(pause * 1.5, 0.1)


def free_port() -> int:
    """A port that was free a moment ago, for foreign programs that cannot bind at 0 and tell."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    """Something accepts on this loopback port."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
