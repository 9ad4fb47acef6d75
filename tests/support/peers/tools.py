"""Foreign programs. A missing one skips the test with its name on a user's machine and fails it in CI."""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import psutil
import pytest

# DCMTK waits 40 ms for the peer's delayed acknowledgement unless told otherwise
ENVIRONMENT = {**{k: v for k, v in os.environ.items() if not k.startswith("BROKER_")}, "TCP_NODELAY": "1"}


def tool(name: str) -> str:
    """Path of a foreign program."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if found is None:
        missing(name)
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
    """A port that was free a moment ago, for foreign programs that cannot bind at 0 and tell.

    Below the range from which Linux takes ports at 0 and for outgoing connections, so that none of these takes it.
    """
    while True:
        port = random.randrange(12_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def listens(port: int) -> bool:
    """Something accepts on this loopback port."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def waits(port: int) -> bool:
    """Something listens on this port; found out without connecting, for programs that serve one peer at a time."""
    return any(c.status == psutil.CONN_LISTEN and c.laddr.port == port for c in psutil.net_connections("tcp"))


def node_modules(package: str) -> str:
    """What NODE_PATH must be for an npm package: `$BROKER_TEST_NODE_MODULES`, or where .ci/run installs it."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = Path(os.environ.get("BROKER_TEST_NODE_MODULES") or cache / "worklist-broker-tests" / "node_modules")
    if not (folder / package).is_dir():
        missing(f"the npm package {package}")
    return str(folder)


def missing(what: str) -> NoReturn:
    """Skip the test by the name of what it needs; in CI it fails."""
    if os.environ.get("CI"):
        pytest.fail(f"{what} is missing")
    pytest.skip(f"needs {what}")


def java_classes(*libraries: str) -> str:
    """The class path of Debian's Java libraries."""
    paths = [Path("/usr/share/java") / f"{name}.jar" for name in libraries]
    for path in paths:
        if not path.exists():
            missing(str(path))
    return os.pathsep.join(map(str, paths))
