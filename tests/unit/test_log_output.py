"""Log lines that cannot be written are dropped and counted, and nobody waits for who should read them: RL-05."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import socket
import termios
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from prometheus_client import REGISTRY

from broker import telemetry
from broker.log_output import LogOutput


def dropped() -> float:
    return REGISTRY.get_sample_value("broker_log_lines_dropped_total") or 0


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            continue  # the test has closed it


@pytest.fixture
def configured() -> Iterator[Any]:
    """Sets up logging, and that of before afterwards."""
    before = structlog.get_config()
    yield lambda stream: telemetry.configure("info", "json", False, stream=stream)
    structlog.configure(**before)


def test_rl_05_a_full_disk_stops_nobody(configured: Any) -> None:
    with open("/dev/full", "w", buffering=1, encoding="utf-8") as disk:
        configured(disk)
        before = dropped()
        telemetry.logger().info("a.line")
        telemetry.logger().info("a.line")
        assert dropped() - before == 2


def test_rl_05_a_collector_that_has_died_stops_nobody(configured: Any, pipe: tuple[int, int]) -> None:
    read, write = pipe
    configured(open(write, "w", buffering=1, encoding="utf-8", closefd=False))  # noqa: SIM115
    os.close(read)
    before = dropped()
    telemetry.logger().info("a.line")
    assert dropped() - before == 1


@pytest.mark.timeout(60)
def test_rl_05_a_collector_that_stands_still_holds_up_nobody(configured: Any, pipe: tuple[int, int]) -> None:
    """It is told afterwards how many lines it does not have."""
    read, write = pipe
    configured(open(write, "w", buffering=1, encoding="utf-8", closefd=False))  # noqa: SIM115
    before = dropped()
    for _ in range(2000):  # of about 100 bytes; a pipe has room for 64 KiB
        telemetry.logger().info("a.line", where="here" * 10)
    missing = int(dropped() - before)
    assert missing > 500
    assert os.read(read, 1 << 17).endswith(b"}\n")
    telemetry.logger().info("the.next")
    telemetry.logger().info("the.last")
    first, second = os.read(read, 1 << 17).splitlines()
    assert f'"dropped": {missing}'.encode() in first
    assert b"dropped" not in second


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_a_line_longer_than_the_room_holds_up_nobody(pipe: tuple[int, int], kind: str) -> None:
    ends = [end.detach() for end in socket.socketpair()] if kind == "socket" else []
    read, write = ends or pipe
    missed: list[bool] = []
    with open(write, "w", encoding="utf-8", closefd=False) as stream:
        out = LogOutput(stream, lambda: missed.append(True))
        out.write("x" * 1_000_000 + "\n")
        assert missed == [True]
        assert set(os.read(read, 1 << 20)) == {ord("x")}  # as much as there was room for
        out.write("next\n")
        assert os.read(read, 1 << 20).endswith(b"\nnext\n")
    for end in ends:
        os.close(end)


@pytest.mark.timeout(60)
def test_a_terminal_that_is_stopped_holds_up_nobody() -> None:
    """Somebody has pressed Ctrl-S, or nobody reads what it shows."""
    shown, terminal = pty.openpty()
    missed: list[bool] = []
    try:
        before = fcntl.fcntl(terminal, fcntl.F_GETFL)
        with open(terminal, "w", encoding="utf-8", closefd=False) as stream:
            out = LogOutput(stream, lambda: missed.append(True))
            termios.tcflow(terminal, termios.TCOOFF)
            for _ in range(1000):
                out.write("line\n" * 20)
            assert len(missed) == 1000
            termios.tcflow(terminal, termios.TCOON)
            out.write("again\n")
            assert os.read(shown, 100).strip() == b"again"
            for _ in range(1000):
                out.write("line\n" * 20)
            assert len(missed) > 1001
        assert fcntl.fcntl(terminal, fcntl.F_GETFL) == before  # others write there, and may wait
    finally:
        os.close(shown)
        os.close(terminal)


def test_lines_in_memory_are_written_as_they_come() -> None:
    kept = io.StringIO()
    out = LogOutput(kept, lambda: pytest.fail("nothing is dropped"))
    out.write("line\n")
    out.flush()
    assert kept.getvalue() == "line\n"
