"""Starts the further processes of `[service] workers`, hears them, starts them again when they die, stops them.

They share the DICOM ports by SO_REUSEPORT: the kernel spreads new connections over them. What must exist once (HL7,
web, lanes, housekeeping) is in the first process. The limits of `[limits]` count in each process for itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import Callable, Iterable, Sequence

from prometheus_client import REGISTRY
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from broker import telemetry
from broker.errors import BrokerError
from broker.model.contact import Contact
from broker.model.wording import Sentence
from broker.service.workers.channel import MAX_LINE, Report, Snapshot, Task, merged, snapshot

QUICK = 10.0  # seconds; who dies earlier has something that a new start does not mend
TRIES = 5  # quick deaths of one worker in a row, then the broker gives up
FIRST_DELAY = 0.25  # seconds before the next start; doubles with every quick death
TICK = 5.0  # seconds of waiting for a line; a healthy worker reports every second
SILENT = 3  # ticks in a row, then it is taken for stuck; in ticks, so that a suspended machine is no offence
STARTING = 12  # ticks until its first report
LEAVING = 2.0  # seconds between the end of its socket and that of the process


class _Child:
    """One worker process and its last report."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.report: Report | None = None  # None: it is not up
        self.ready = asyncio.Event()  # it was up once
        self.writer: asyncio.StreamWriter | None = None

    def end(self) -> None:
        """Ask it to finish."""
        if self.writer is not None:
            self.writer.write(b"stop\n")


class Workers(Collector):
    """The workers 2 to N; none with `workers = 1`. Collects the metrics of all processes."""

    def __init__(
        self,
        lock: int,
        wake: Callable[[], None],
        fail: Callable[[], None],
        heard: Callable[[Sequence[Contact]], None] = lambda contacts: None,
    ) -> None:
        """`lock`: descriptor that each worker inherits, so that the data directory stays locked while one lives.

        `wake` is called when a worker made work for the queue, `fail` when workers die too often to go on, `heard` with
        what nodes did at a worker.
        """
        self._lock = lock
        self._wake = wake
        self._fail = fail
        self._heard = heard
        self._children: list[_Child] = []
        self._keepers: list[asyncio.Task[None]] = []
        self._stopping = asyncio.Event()

    async def start(self, tasks: Iterable[Task]) -> None:
        """Start a worker for each task and wait until all accept connections. Raises BrokerError if one does not."""
        self._children = [_Child(task) for task in tasks]
        self._keepers = [asyncio.create_task(self._keep(child)) for child in self._children]
        for child, keeper in zip(self._children, self._keepers, strict=True):
            keeper.add_done_callback(self._kept)
            ready = asyncio.create_task(child.ready.wait())
            await asyncio.wait({ready, keeper}, return_when=asyncio.FIRST_COMPLETED)
            ready.cancel()
            if not child.ready.is_set():
                raise BrokerError("a worker does not start", code="worker-start")

    async def stop(self, grace: float) -> None:
        """Let running requests end within `grace` seconds; afterwards no worker is left."""
        self._stopping.set()
        for child in self._children:
            child.end()
        if self._keepers:
            await asyncio.wait(self._keepers, timeout=grace + 2)
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)

    def problems(self) -> tuple[Sentence, ...]:
        """Describe what is wrong with the workers, for health checks."""
        found = []
        for child in self._children:
            number = child.task.number
            if child.report is None:
                found.append(Sentence("worker %(number)s is not running", {"number": number}))
            elif not child.report.accepting:
                found.append(Sentence("worker %(number)s does not accept connections", {"number": number}))
            elif not child.report.writable:
                found.append(Sentence("worker %(number)s cannot write to the database", {"number": number}))
        return tuple(found)

    def snapshots(self) -> dict[int, Snapshot]:
        """The metrics that each worker reported last, by its number."""
        others = [(child.task.number, child.report) for child in self._children]
        return {number: report.metrics for number, report in others if report is not None}

    def collect(self) -> Iterable[Metric]:
        """The metrics of this process; with workers the last reported ones of all, with the number of each."""
        if not self._children:
            return REGISTRY.collect()
        return merged({1: snapshot()} | self.snapshots())

    async def _keep(self, child: _Child) -> None:
        """Start the worker, and again each time it ends."""
        deaths = 0
        while not self._stopping.is_set():
            began = asyncio.get_running_loop().time()
            try:
                code = await self._live(child)
            except OSError as error:  # no memory or descriptors for a process
                code = error.errno or -1
            if self._stopping.is_set() or not child.ready.is_set():
                return
            deaths = deaths + 1 if asyncio.get_running_loop().time() - began < QUICK else 0
            telemetry.logger().error("worker.died", kind=f"worker {child.task.number}", code=code, attempt=deaths)
            if deaths >= TRIES:
                telemetry.logger().error("worker.given_up", kind=f"worker {child.task.number}")
                self._fail()
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FIRST_DELAY * 2**deaths):
                    await self._stopping.wait()

    def _kept(self, keeper: asyncio.Task[None]) -> None:
        """End the broker if a keeper failed: nobody looks after its worker any more. The supervisor restarts all."""
        if not keeper.cancelled() and keeper.exception() is not None:
            telemetry.logger().error("worker.defect", error=telemetry.describe(keeper.exception() or Exception()))
            self._fail()

    async def _live(self, child: _Child) -> int:
        """One life of a worker; its exit code, negative for a signal."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-m",
                "broker.service.workers.worker",
                str(theirs.fileno()),
                pass_fds=(theirs.fileno(), self._lock),
                stdin=asyncio.subprocess.DEVNULL,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
        reader, child.writer = await asyncio.open_unix_connection(sock=ours, limit=MAX_LINE)
        try:
            child.writer.write(child.task.encode())
            if self._stopping.is_set():
                child.end()
            await self._hear(child, reader)
        finally:
            child.report = None
            child.writer.close()  # without this socket it ends by itself
            child.writer = None
            code = await _ended(process)
        return code

    async def _hear(self, child: _Child, reader: asyncio.StreamReader) -> None:
        """Read its lines until it ends, or is silent for so long that it must be stuck."""
        silent = 0
        while silent < (STARTING if child.report is None else SILENT):
            try:
                async with asyncio.timeout(TICK):
                    line = await reader.readline()
            except TimeoutError:
                silent += 1
                continue
            except ConnectionError:
                return
            silent = 0
            kind, _, body = line.partition(b" ")
            if not line.endswith(b"\n"):
                return
            if kind == b"report":
                child.report = Report.decode(body)
                child.ready.set()
                self._heard(child.report.contacts)
            else:
                self._wake()
        telemetry.logger().error("worker.stuck", kind=f"worker {child.task.number}")


async def _ended(process: asyncio.subprocess.Process) -> int:
    """Wait for a process whose socket is closed; a stuck one is killed. Its exit code, negative for a signal."""
    try:
        async with asyncio.timeout(LEAVING):
            return await process.wait()
    except (TimeoutError, asyncio.CancelledError):
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        return await process.wait()
