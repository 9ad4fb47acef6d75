"""What systemd is told: ready, alive at a third of its time, stopping; and nothing without it."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from support.loops import SOON

from broker.supervisor import FEEDS, Supervisor


def told(environment: dict[str, str], door: socket.socket, signs: int) -> list[str]:
    """The first `signs` datagrams of a running broker, and all that come as it stops."""
    door.setblocking(False)

    async def main() -> list[str]:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(SOON):
            with Supervisor(environment):
                lines = [(await loop.sock_recv(door, 100)).decode() for _ in range(signs)]
            while lines[-1] != "STOPPING=1":
                lines.append((await loop.sock_recv(door, 100)).decode())
        return lines

    return asyncio.run(main())


@pytest.mark.parametrize("abstract", [False, True])
def test_ready_alive_stopping(tmp_path: Path, abstract: bool) -> None:
    name = f"broker-test-{os.getpid()}-{tmp_path.name}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
        door.bind("\0" + name if abstract else str(tmp_path / "notify"))
        environment = {
            "NOTIFY_SOCKET": "@" + name if abstract else str(tmp_path / "notify"),
            "WATCHDOG_USEC": str(FEEDS * 20_000),
            "WATCHDOG_PID": str(os.getpid()),
        }
        lines = told(environment, door, 4)
    assert lines[:4] == ["READY=1", "WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1"]
    assert lines[-1] == "STOPPING=1"


@pytest.mark.parametrize("changed", [{"WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "no number"}, {"WATCHDOG_USEC": "0"}])
def test_a_watchdog_that_is_not_for_this_process_is_not_fed(tmp_path: Path, changed: dict[str, str]) -> None:
    environment = {"WATCHDOG_USEC": "60000", "WATCHDOG_PID": str(os.getpid())} | changed
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
        door.bind(str(tmp_path / "notify"))
        lines = told({"NOTIFY_SOCKET": str(tmp_path / "notify"), **environment}, door, 1)
    assert lines == ["READY=1", "STOPPING=1"]


def test_a_socket_that_is_gone_is_logged_once_and_harms_nobody(tmp_path: Path) -> None:
    async def main() -> None:
        with Supervisor({"NOTIFY_SOCKET": str(tmp_path / "gone"), "WATCHDOG_USEC": "3000000"}):
            pass

    with capture_logs() as logs:
        asyncio.run(main())
    assert [log["event"] for log in logs] == ["supervisor.not_told"]


def test_without_systemd_nobody_is_told() -> None:
    async def main() -> None:
        with Supervisor({}):
            pass

    with capture_logs() as logs:
        asyncio.run(main())
    assert logs == []
