"""Runs tests of nodes: one at a time for each node, a few at once, bounded in time, the last ones kept.

A test uses connections of its own. If all is well, lanes of the node that failed are tried at once. Jobs that wait for
themselves stay as they are, unless the person who starts it asks for all that waits to be sent.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from broker import telemetry
from broker.delivery.folder.folder_sender import Folders
from broker.delivery.notices.trust import NoticeTls
from broker.delivery.probe.dicom_probe import probe_dicom
from broker.delivery.probe.folder_probe import probe_folder
from broker.delivery.probe.hl7_probe import probe_hl7
from broker.delivery.probe.notice_probe import probe_mail, probe_webhook
from broker.delivery.probe.outcome import ProbeLog, StepOutcome
from broker.delivery.probe.s3_probe import probe_s3
from broker.delivery.probe.stow_probe import probe_stow
from broker.delivery.probe.syslog_probe import probe_syslog
from broker.dicom.association.user import Remote
from broker.errors import BadContent, ConfigurationError, StoreUnavailable
from broker.hl7.mllp.client import Receiver
from broker.model.lane import Lane, LaneKind
from broker.model.wording import Sentence
from broker.queue.hurrying import Hurrying
from broker.site.nodes import Node
from broker.store import lanes, node_tests
from broker.store.db.database import Database
from broker.store.node_tests import StoredTest

AT_ONCE = 4
WHOLE = 60.0  # seconds for one test
RUNNING_MOST = 32  # tests that run or wait


class ProbeUnderWay(BadContent):
    """This node is being tested, or too many are: wait for the end."""

    code = "test-runs"


@dataclass(slots=True)
class RunningTest:
    """A test under way: its steps so far. `ended` gives what was found. `resumed`: what waits is sent now."""

    node: str
    at: float
    log: ProbeLog = field(default_factory=ProbeLog)
    resumed: bool = False
    ended: asyncio.Future[StoredTest] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class NodeTester:
    """Tests nodes from where this broker stands. Its methods are for the event loop."""

    def __init__(
        self,
        database: Database,
        remotes: Callable[[Node], Remote],
        receivers: Callable[[Node], Receiver],
        notice_tls: NoticeTls,
        repositories: Callable[[Node], ssl.SSLContext | None],
        wake: Callable[[], None] = lambda: None,
        alive: Callable[[str], None] = lambda node: None,
        folders: Folders | None = None,
    ) -> None:
        """`remotes`, `receivers`, `notice_tls` and `repositories` say how connections to a node are made.

        `wake` tells the queue that there is work, `alive` that a node works.
        """
        self._wake, self._alive = wake, alive
        self._database = database
        self._remotes = remotes
        self._receivers = receivers
        self._notice_tls = notice_tls
        self._folders = folders or Folders(Path(), Path())
        self._repositories = repositories
        self._running: dict[str, RunningTest] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._seats = asyncio.Semaphore(AT_ONCE)

    def running(self, name: str) -> RunningTest | None:
        """The test of a node that is under way."""
        return self._running.get(name)

    def begin(self, node: Node, actor: str, *, resume: bool = False) -> RunningTest:
        """Begin a test. `resume`: if all is well, send what waits for the node. Raises ProbeUnderWay."""
        if node.name in self._running or len(self._running) >= RUNNING_MOST:
            raise ProbeUnderWay
        run = self._running[node.name] = RunningTest(node.name, time.time())
        task = asyncio.get_running_loop().create_task(self._run(run, node, actor, resume=resume))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return run

    async def close(self) -> None:
        """End what runs."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for run in self._running.values():  # one that had not even begun
            run.ended.cancel()
        self._running.clear()

    async def _run(self, run: RunningTest, node: Node, actor: str, *, resume: bool) -> None:
        began = time.perf_counter()
        try:
            async with self._seats, asyncio.timeout(WHOLE):
                await self._probe(run.log, node)
        except TimeoutError:
            run.log.add(
                "time",
                StepOutcome.BAD,
                Sentence("The test was ended after %(seconds)s s", {"seconds": int(WHOLE)}),
                Sentence("The node is very slow: look at its load and at the network."),
            )
        except Exception as error:
            telemetry.logger().error("node.test_failed", node=node.name, error=telemetry.describe(error))
            run.log.add("defect", StepOutcome.BAD, Sentence("The test itself failed; the log of the broker says why"))
        test = StoredTest(
            node=node.name,
            at=run.at,
            actor=actor,
            good=run.log.good,
            duration=time.perf_counter() - began,
            steps=[step.document() for step in run.log.steps],
        )
        try:
            await asyncio.wrap_future(self._database.submit(node_tests.add, test))
            if test.good and node.active:
                self._alive(node.name)
            if resume and test.good and node.active:
                names = [Lane(kind, node.name).name for kind in LaneKind]
                await asyncio.wrap_future(self._database.submit(lanes.close_breakers, names))
                run.resumed = True
                self._wake()
                Hurrying(self._database, self._wake).begin(names, time.time())
        except StoreUnavailable as error:
            telemetry.logger().warning("node.test_not_kept", node=node.name, error=telemetry.describe(error))
        telemetry.logger().info("node.tested", node=node.name, state="good" if test.good else "bad")
        self._running.pop(node.name, None)
        run.ended.set_result(test)

    async def _probe(self, log: ProbeLog, node: Node) -> None:
        if node.kind == "folder":
            await probe_folder(log, node, self._folders)
            return
        if not node.host or not node.port:
            log.add(
                "address",
                StepOutcome.SKIPPED,
                Sentence("It calls the broker and has no address with a port here: there is nothing to connect to"),
                Sentence("Let it send C-ECHO to the broker and look at its last contact; or enter host and port."),
            )
            return
        try:
            if node.kind == "hl7":
                await probe_hl7(log, self._receivers(node))
            elif node.kind == "webhook":
                await probe_webhook(log, node, await asyncio.to_thread(self._notice_tls, node))
            elif node.kind == "stow":
                tls = await asyncio.to_thread(self._notice_tls, node)
                await probe_stow(log, node, tls, self._folders.base)
            elif node.kind == "s3":
                tls = await asyncio.to_thread(self._notice_tls, node)
                await probe_s3(log, node, tls, self._folders.base)
            elif node.kind == "syslog":
                await probe_syslog(log, node, await asyncio.to_thread(self._repositories, node))
            elif node.kind == "mail":
                await probe_mail(log, node, await asyncio.to_thread(self._notice_tls, node))
            else:
                await probe_dicom(log, node, self._remotes(node), await self._objects(node))
        except ConfigurationError as error:
            log.add(
                "tls",
                StepOutcome.BAD,
                Sentence("The TLS files of this node cannot be used: %(reason)s", {"reason": str(error)}),
                Sentence("Correct the paths in its `tls` table, or the files."),
            )

    async def _objects(self, node: Node) -> list[tuple[str, str]]:
        if "destination" not in node.roles:
            return []
        lane = Lane(LaneKind.DELIVER, node.name).name
        try:
            return await asyncio.wrap_future(self._database.read(node_tests.kinds_for, lane))
        except StoreUnavailable:
            return []  # the usual ones are asked for
