"""The same conversations over real sockets: to a provider in this process, and to a broker in a process of its own.

The broker's answers are compared with what its own parts say of the same bytes here: an object that the walk refuses
is never answered 0000, one that it takes always is, and exactly those are in the database.
"""

from __future__ import annotations

import asyncio
import gc
import socket
import struct
import tempfile
import threading
import time
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Self

import psutil
import pytest
import structlog
import uvloop
from support.dicom import raw
from support.peers.tools import wait_until
from support.service.site import Site

from broker.dicom.association.provider import Provider
from broker.dicom.wire.limits import AssociationLimits
from broker.errors import BadContent
from fuzz import commands as c
from fuzz import conversations, datasets
from fuzz.acceptor_cases import ECHO, Anybody, answers, retrieve, services
from fuzz.conversations import RELEASE_RQ, WORKLIST, Case
from fuzz.dataset_cases import read_query, verdict
from fuzz.harness import GROWTH
from fuzz.tree import encode

HANG = 5.0  # seconds of the clock, on a machine that does other things too
LATE = 1.0  # seconds of the clock that a case may take, beyond the second after which the provider's timers strike
QUIET = 0.05  # seconds after which a peer waits for us
PILED = 30.0  # seconds; requests behind each other in one association wait for slow handlers before its end is seen
BATCH = 100
LIMITS = AssociationLimits(
    association_request_timeout=1,
    pdu_timeout=1,
    idle_timeout=2,
    response_timeout=1,
    operations=2,
    associations_per_second=1e9,
)
HANDLED = services(partial(retrieve, never=0.3))
TAKEN, MISMATCH, REFUSED = 0x0000, 0xA900, 0xC000


def say(port: int, case: Case, quiet: float = QUIET) -> bytes:
    """Say everything, close our direction or reset; what the other side said until it closed."""
    said = bytearray()
    with socket.create_connection(("127.0.0.1", port), HANG) as peer, suppress(ConnectionError):
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for turn in case.says:
            for piece in turn:
                peer.sendall(piece)
        if case.end == "reset":
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return b""
        while piece := _heard(peer, quiet):
            said += piece
        answers(bytes(said))  # raises for bytes that are no PDUs; after a reset some are missing
    return bytes(said)


def _heard(peer: socket.socket, quiet: float) -> bytes:
    """What comes next; a peer that is quiet is told that we have said all. Raises TimeoutError for a hang."""
    peer.settimeout(quiet)
    try:
        return peer.recv(65536)
    except TimeoutError:
        peer.shutdown(socket.SHUT_WR)
        peer.settimeout(HANG)
        return peer.recv(65536)


def exchange(port: int, sop_class: str, syntax: str, kind: int, instance: str, data: bytes) -> list[int]:
    """One request with its data set, over an association of its own, waiting for the answer; final statuses."""
    with raw.RawScu(port, HANG) as scu:
        answer, _ = scu.associate([(sop_class, syntax)])
        assert answer == conversations.AC, "no association"
        elements = c.request(kind, sop_class, instance, 1, data=True)
        scu.socket.sendall(raw.p_data(1, encode(elements), is_command=True))
        size = 16_000
        for start in range(0, len(data) or 1, size):
            last = start + size >= len(data)
            scu.socket.sendall(raw.p_data(1, data[start : start + size], is_command=False, last=last))
        scu.socket.sendall(struct.pack(">BxI", RELEASE_RQ, 4) + bytes(4))
        said = b""
        while True:
            number, body = scu.pdu()
            if number == 0:
                break
            said += struct.pack(">BxI", number, len(body)) + body
    return answers(b"".join((struct.pack(">BxI", conversations.AC, 0), said)))


class InProcess:
    """A provider of all eleven services on a real socket, in a thread with its own loop."""

    def __enter__(self) -> Self:
        self.wrong: list[str] = []
        self._before = structlog.get_config()
        structlog.configure(processors=[self._keep])
        self._loop = uvloop.new_event_loop()
        self._loop.set_exception_handler(lambda _, context: self.wrong.append(repr(context)))
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._provider = Provider("127.0.0.1", 0, admission=Anybody(), services=HANDLED, limits=LIMITS)
        self._call(self._provider.start)
        self.port = self._provider.port
        gc.collect()
        self._descriptors = psutil.Process().num_fds()
        return self

    def __exit__(self, *_: object) -> None:
        self._call(lambda: self._provider.stop(1))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        structlog.configure(**self._before)

    def _keep(self, _: Any, level: str, event: MutableMapping[str, Any]) -> Any:
        if level in ("error", "critical"):
            self.wrong.append(f"{event['event']} {event.get('error')}")
        raise structlog.DropEvent

    def _call(self, work: Callable[[], object]) -> None:
        asyncio.run_coroutine_threadsafe(work(), self._loop).result(HANG)  # type: ignore[arg-type]

    def settled(self) -> None:
        """Nothing is open any more, nothing went wrong, and it answers. Raises AssertionError."""
        assert not self.wrong, self.wrong
        wait_until(lambda: not self._provider._sessions, PILED, "all sessions have ended")
        wait_until(lambda: psutil.Process().num_fds() <= self._descriptors, HANG, "all descriptors are closed")
        assert answers(say(self.port, ECHO, HANG)) == [0]


class Broker:
    """The real one, on SQLite."""

    def __init__(self, folder: Path) -> None:
        limits = {"associations_per_address": 200, "half_open_per_address": 200, "associations_per_second": 1e6}
        self._site = Site(folder, config={"log": {"level": "info"}, "limits": limits})
        self._warm = self._read = 0
        self.stored = 0
        self.grown = 0

    def __enter__(self) -> Self:
        self._site.start()
        self.port = self._site.dicom
        assert self._site.process is not None
        self._process = psutil.Process(self._site.process.pid)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._site.stop() == 0, "the broker did not stop in order"

    def settled(self) -> None:
        """It lives, answers, has logged no defect and keeps its memory. Raises AssertionError."""
        assert self._site.alive(), self._site.logged()[-3000:]
        assert answers(say(self.port, ECHO, HANG)) == [0]
        text = self._site.logged()
        fresh, self._read = text[self._read :], len(text)
        wrong = [line for line in fresh.splitlines() if "[error" in line or "Traceback" in line or "internal" in line]
        assert not wrong, wrong[:3]
        memory = self._process.memory_info().rss
        self._warm = self._warm or memory
        self.grown = memory - self._warm

    def finished(self) -> None:
        """Every object that was taken is there, and no other; no connection is left. Raises AssertionError."""
        ((rows,),) = self._site.rows("SELECT count(*) FROM instance WHERE sop_instance_uid LIKE '2.999.14.%'")
        assert rows >= self.stored, f"{self.stored} objects were taken, {rows} are there"
        wait_until(lambda: not _established(self._process), HANG, "all connections are closed")
        assert self.grown < GROWTH, f"the broker's memory grew by {self.grown >> 20} MiB"


def _established(process: psutil.Process) -> bool:
    return any(found.status == psutil.CONN_ESTABLISHED for found in process.net_connections("tcp"))


def store_case(target: Broker, rng: Random, number: int) -> None:
    """A C-STORE of an object that may be broken. Raises AssertionError for the wrong status."""
    thing = datasets.sample(rng, number)
    expected = verdict(thing)
    status = exchange(target.port, datasets.CT, thing.transfer_syntax, c.STORE, thing.sop_instance, thing.data)
    if not expected:
        assert status == [TAKEN], f"{status} for an object that is in order"
        target.stored += 1
    else:
        assert status == [MISMATCH if expected == "uid-mismatch" else REFUSED], (
            f"{status} for an object with {expected}"
        )


def find_case(target: Broker, rng: Random) -> None:
    """A C-FIND whose identifier may be broken. Raises AssertionError for the wrong status."""
    thing = datasets.query(rng)
    try:
        read_query(thing)
        expected = [TAKEN]
    except BadContent:
        expected = [MISMATCH]
    status = exchange(target.port, WORKLIST, thing.transfer_syntax, c.FIND, "", thing.data)
    assert status == expected, f"{status} and not {expected} to a query"


def one(provider: InProcess, broker: Broker, seed: int, number: int) -> None:
    """One case, by its number. Raises AssertionError or TimeoutError."""
    rng = Random(f"{seed}:socket:{number}")
    way = rng.randrange(6)
    if way == 0:
        store_case(broker, rng, number)
    elif way == 1:
        find_case(broker, rng)
    else:
        make = (conversations.acceptor_case, conversations.command_case)[way % 2]
        say(provider.port if way < 4 else broker.port, make(rng, number))


def progress(what: str, done: int, cases: int, seconds: float) -> None:
    """One line of progress."""
    left = (cases - done) * seconds / done / 60
    print(f"{done:>9} of {cases} of {what} over sockets  {done / seconds:.1f}/s  {left:.0f} min left", flush=True)


def run(seed: int, cases: int) -> int:
    """That many cases over sockets; prints what went wrong and the rate; number of failures."""
    failures, slowest, settling = 0, (0.0, 0), 0.0
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, Broker(Path(folder)) as broker, InProcess() as provider:
        for number in range(cases):
            before = time.monotonic()
            try:
                one(provider, broker, seed, number)
                took = time.monotonic() - before
                slowest = max(slowest, (took, number))
                assert took < LIMITS.pdu_timeout + LATE, f"took {took:.1f} s"
                if number % BATCH == BATCH - 1:  # what is left waits for the slow handlers of earlier cases
                    provider.settled()
                    broker.settled()
                    settling = max(settling, time.monotonic() - before - took)
                    progress("DICOM", number + 1, cases, time.monotonic() - started)
            except (AssertionError, OSError, pytest.fail.Exception) as error:
                failures += 1
                print(f"FAILED socket:{seed}:{number}: {type(error).__name__}: {error}", flush=True)
        provider.settled()
        broker.settled()
        broker.finished()
        print(
            f"{cases:>9} over sockets  {cases / (time.monotonic() - started):.0f}/s  slowest {1000 * slowest[0]:.0f} ms"
            f" (number {slowest[1]})  settled in {1000 * settling:.0f} ms"
            f"  {broker.stored} objects taken  broker's memory {broker.grown >> 20:+d} MiB"
        )
    return failures
