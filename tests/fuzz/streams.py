"""The conversations of HL7 and HTTP over real sockets, to a broker in a process of its own.

After each the health page answers, after some an order is taken. The log tells whether the loop stood still.
"""

from __future__ import annotations

import socket
import struct
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from random import Random
from urllib.request import urlopen

import psutil
import pytest
from support.peers.tools import wait_until
from support.service.rest import TOKEN
from support.service.site import Site

from fuzz import hl7_cases, hl7_door, hl7_messages, http_cases, http_door, rest_cases
from fuzz.harness import GROWTH
from fuzz.hl7_cases import Talk
from fuzz.http_cases import Requests
from fuzz.sockets import progress

QUIET = 0.5  # seconds after which nothing more is answered
HANG = 20.0  # seconds of the clock, on a machine that does other things too
STALLED = 1.0  # seconds of the clock: the processor time of a turn is measured by `harness`
BATCH = 200
PEERS = 8  # at once: each waits for its peer most of the time
LIMITS = {
    "hl7_message": hl7_cases.LIMIT, "hl7_frame_timeout": 3, "hl7_idle_timeout": 3, "hl7_first_message_timeout": 3,
    "hl7_connections_per_address": 400,
    "web_head_timeout": 2, "web_idle_timeout": 2,
}  # fmt: skip


def say(port: int, case: Talk | Requests, answered: Callable[[bytes], bool] = lambda _: True) -> bytes:
    """Say everything, close our direction, reset, or wait; what the other side said until it closed.

    `answered`: whether what it said so far is all. A pause alone says little on a machine that does other things too.
    """
    said = bytearray()
    with socket.create_connection(("127.0.0.1", port), HANG) as peer, suppress(ConnectionError):
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in case.says:
            peer.sendall(piece)
        if case.end == "reset":
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return b""
        pauses = case.end == "close"
        while piece := _heard(peer, pauses, said, answered):
            said += piece
    return bytes(said)


def _heard(peer: socket.socket, pauses: bool, said: bytearray, answered: Callable[[bytes], bool]) -> bytes:
    """What comes next; if it `pauses` after all was answered, our direction is closed. Raises TimeoutError."""
    until = time.monotonic() + HANG
    while pauses and time.monotonic() < until:
        peer.settimeout(QUIET)
        with suppress(TimeoutError):
            return peer.recv(65536)
        if answered(bytes(said)):
            peer.shutdown(socket.SHUT_WR)
            break
    peer.settimeout(HANG)
    return peer.recv(65536)


class Stood:
    """The broker, and how it was when it was warm."""

    def __init__(self, site: Site) -> None:
        self._site = site
        assert site.process is not None
        self._process = psutil.Process(site.process.pid)
        self._warm = self._read = 0
        self.hl7, self.web = site.hl7, int(site.listeners["web"][0][1])
        self.grown = 0

    def settled(self) -> None:
        """It forgot the peers, grew by little, logged no defect, no value and no long stall. Raises AssertionError."""
        doors = {self.hl7, self.web}
        wait_until(lambda: not self._peers(doors), HANG, "connections are given back")
        memory = self._process.memory_info().rss
        self._warm = self._warm or memory
        self.grown = memory - self._warm
        assert self.grown < 2 * GROWTH, f"memory grew by {self.grown >> 20} MiB"
        logged = self._site.logged()
        fresh, self._read = logged[self._read :], len(logged)
        for line in fresh.splitlines():
            assert not any(word in line for word in ("Traceback", "internal_error", "[error", "[critical")), line
            assert hl7_messages.CANARY.casefold() not in line.casefold(), "a value in the log"
            if "loop.stalled" in line:
                assert float(line.partition("seconds=")[2].split()[0]) < STALLED, line
        assert len(fresh) < 400 * 1000, "a long log"

    def _peers(self, doors: set[int]) -> list[object]:
        found = self._process.net_connections("tcp")
        return [one for one in found if one.laddr.port in doors and one.status != psutil.CONN_LISTEN]


def _answers(said: bytes) -> list[http_door.Answer]:
    return http_door.answers(said, head=False) if said else []


def _complete(said: bytes, count: int) -> bool:
    """All requests are answered; half an answer is none yet."""
    try:
        return http_door.complete(_answers(said), count)
    except AssertionError:
        return False


def one(broker: Stood, seed: int, number: int) -> None:
    """One case, by its number. Raises AssertionError or OSError."""
    rng = Random(f"{seed}:stream:{number}")
    if rng.randrange(2):
        requests = http_cases.talk(rng, number)
        found = _answers(say(broker.web, requests, lambda said: not requests.sound or _complete(said, requests.count)))
        if requests.sound and requests.end != "reset":
            assert http_door.complete(found, requests.count), f"{len(found)} answers to {requests.count} requests"
        for answer in found:
            http_door.judge(answer, documents=True)
    else:
        talk = hl7_cases.talk(rng, number)
        named = [pair for answer in hl7_cases.answered(say(broker.hl7, talk)) for pair in hl7_cases.codes(answer)]
        assert not [pair for pair in named if pair[1] in talk.taken and pair[0] != b"AA"], "a right order is refused"
    with urlopen(f"http://127.0.0.1:{broker.web}/health/live", timeout=HANG) as answer:
        assert answer.read() == b"ok\n", "no health any more"
    if number % 10 == 0:
        said = say(broker.hl7, Talk((hl7_door.probe(number),), "close", (), (), True))
        assert hl7_cases.codes(said) == [(b"AA", hl7_door.PROBE.encode())], "a right order is refused"


@contextmanager
def _broker() -> Iterator[Stood]:
    with tempfile.TemporaryDirectory() as folder:
        config = {"log": {"level": "info"}, "limits": LIMITS, "web": {"port": 0, "admin_token": TOKEN}}
        with Site(Path(folder), config=config) as site:
            yield Stood(site)


def run(seed: int, cases: int) -> int:
    """That many cases, PEERS at once; prints what went wrong and the rate; number of failures."""
    failures, slowest = 0, (0.0, 0)
    started = time.monotonic()

    def attempt(name: str, work: Callable[[], None]) -> float:
        """Seconds of the clock; negative if it went wrong."""
        before = time.monotonic()
        try:
            work()
        except (AssertionError, OSError, pytest.fail.Exception) as error:
            print(f"FAILED stream:{seed}:{name}: {type(error).__name__}: {error}", flush=True)
            return -1.0
        return time.monotonic() - before

    rest_cases.operations()  # made once, before threads ask for it
    with _broker() as broker, ThreadPoolExecutor(PEERS) as peers:
        for first in range(0, cases, BATCH):
            numbers = range(first, min(first + BATCH, cases))
            took = list(peers.map(lambda number: attempt(str(number), partial(one, broker, seed, number)), numbers))
            slowest = max(slowest, *zip(took, numbers, strict=True))
            failures += sum(seconds < 0 for seconds in (*took, attempt(f"{first} and on", broker.settled)))
            progress("HL7 and HTTP", numbers.stop, cases, time.monotonic() - started)
        print(
            f"{cases:>9} of HL7 and HTTP over sockets  {cases / (time.monotonic() - started):.1f}/s"
            f"  slowest {1000 * slowest[0]:.0f} ms (number {slowest[1]})  broker's memory {broker.grown >> 20:+d} MiB"
        )
    return failures
