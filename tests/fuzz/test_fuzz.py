"""DS-14 and its like of HL7 and HTTP, the short run, with one seed.

The long one: `python tests/fuzz/run.py --cases 1000000 --seed N`.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from support.peers.tools import wait_until

from fuzz import harness, sockets, streams, warden
from fuzz.http_cases import Requests

SEED = 20260101
BUDGET = {  # cases, seconds at most
    "pdu": (2000, 6.0), "command": (2000, 4.0), "dataset": (4000, 4.0), "hl7": (800, 4.0), "http": (200, 4.0),
}  # fmt: skip
FEWEST = 100


@pytest.fixture
def mine() -> Iterator[harness.Harness]:
    made = harness.Harness()
    try:
        yield made
    finally:
        made.close()


@pytest.mark.parametrize("kind", harness.KINDS)
def test_ds14_a_short_run(kind: str, mine: harness.Harness, tmp_path: Path) -> None:
    """No crash, no hang, no task or descriptor left, no growth."""
    cases, seconds = BUDGET[kind]
    print(f"seed {SEED}")
    mine.settle()
    until = time.monotonic() + seconds
    warm = number = 0
    while number < cases and (time.monotonic() < until or number < FEWEST):
        payload = harness.generate(kind, SEED, number)
        try:
            mine.run(payload)
        except harness.Failure as failure:
            name = f"{kind}:{SEED}:{number}"
            harness.dump(tmp_path / "case.json", payload, failure, name)
            pytest.fail(f"run.py --case {name}: {failure}\n{(tmp_path / 'case.json').read_text()[:4000]}")
        number += 1
        if number % 500 == 0:
            memory = mine.settle()
            warm = warm or memory
            assert memory - warm < harness.GROWTH
    mine.settle()
    print(f"{number} cases, slowest {1000 * mine.slowest[0]:.0f} ms")


def test_ds14_over_sockets() -> None:
    """A provider and a real broker: what the walk refuses is not answered 0000, and both live on."""
    assert sockets.run(SEED, 250) == 0


def test_hl7_and_http_over_sockets() -> None:
    """A real broker answers, forgets the peers, logs no value, and goes on."""
    assert streams.run(SEED, 12) == 0


@settings(
    max_examples=200, deadline=None, database=None, derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(kind=some.sampled_from(harness.KINDS), rng=some.randoms(use_true_random=False))
def test_ds14_cases_that_shrink(mine: harness.Harness, kind: str, rng: Random) -> None:
    """Hypothesis makes the choices, so that what it finds comes out small."""
    mine.run(harness.generate(kind, 0, 0, rng))


@pytest.mark.parametrize("kind", harness.KINDS)
def test_a_case_comes_again_from_its_name_and_from_its_file(kind: str, tmp_path: Path) -> None:
    for number in range(20):
        payload = harness.generate(kind, 5, number)
        assert harness.generate(kind, 5, number) == payload
        harness.dump(tmp_path / "case.json", payload, harness.Failure("none"), "")
        assert harness.load(tmp_path / "case.json") == payload


def test_what_a_run_has_started_ends_with_it() -> None:
    """Also when the run is killed: its processes went on for an hour, and a broker for ever."""
    program = (
        "import subprocess, sys\nfrom fuzz import warden\nwarden.guard()\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()'])\n"
        "print(child.pid, flush=True)\nchild.wait()"
    )
    command = [sys.executable, "-c", program]
    folder = Path(__file__).parents[1]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        child = psutil.Process(int(run.stdout.readline()))
        wait_until(lambda: warden.MARK in child.environ(), 30, "the child runs its own program")
        mark = child.environ()[warden.MARK]
        run.kill()
    wait_until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, 30, "the child is gone")
    wait_until(lambda: warden.marked(mark) == [], 30, "all is gone")


def test_lines_of_the_web_server_are_counted(mine: harness.Harness, capsys: pytest.CaptureFixture[str]) -> None:
    """They hid the progress of a run by thousands."""
    mine.run(("http", Requests((b"no HTTP at all\r\n\r\n",), "close", 1, False)))
    assert mine.ended["web: Invalid HTTP request received."] == 1
    assert capsys.readouterr() == ("", "")


def test_the_harness_sees_what_goes_wrong(mine: harness.Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash in a decoder, a handler's defect that was answered politely, a hang that a jumping clock would hide."""
    from broker.dicom.dimse import command
    from broker.dicom.wire import connection
    from fuzz import command_cases
    from fuzz.acceptor_cases import ECHO

    def broken(data: bytes) -> command.Command:
        raise IndexError("of the test")

    with monkeypatch.context() as patch:
        patch.setattr(command, "decode", broken)
        with pytest.raises(harness.Failure, match="IndexError"):
            mine.run(("command", command_cases.generate(Random(1))))
        with pytest.raises(harness.Failure, match="final answers"):
            mine.run(("acceptor", ECHO))
    with monkeypatch.context() as patch:
        patch.setattr(connection.PduConnection, "connection_lost", lambda self, error: None)
        with pytest.raises(harness.Failure, match="TimeoutError"):
            mine.run(("acceptor", ECHO))
