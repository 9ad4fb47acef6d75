"""Judges the state of the broker for health checks, and collects the numbers of the start page."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from broker import __version__
from broker.admin.counting import Counting
from broker.admin.overview import Health, ListenerView, NodeStatus, Overview
from broker.errors import BrokerError
from broker.model.lane import JobState, Lane, LaneKind
from broker.routing.rules import RuleAction
from broker.site.nodes import Node
from broker.store.overview import LaneState
from broker.store.room import Room

if TYPE_CHECKING:
    from broker.queue.clock_watch import ClockWatch
    from broker.service.foundation import Foundation
    from broker.service.imaging import Imaging
    from broker.service.messaging import Messaging
    from broker.service.web import WebServer
    from broker.service.workers.workers import Workers

PATIENCE = 0.8  # seconds for the database: an orchestrator does not wait long for what a health check says


_REFUSED = {
    Room.NO_LARGE: "the disk has little room: large images are refused",
    Room.NO_OBJECTS: "the disk has little room: images are refused",
    Room.NOTHING: "the disk has no room: images and orders are refused, the worklist answers",
}
UNANSWERED = 3  # worklist queries in a row without an answer: it is no chance
DAMAGED = "the database is damaged: see “A damaged database” in config/operate.md"


class Monitor:
    """Asks the parts how they are, for `/health/ready`, `/api/v1/status` and the start page."""

    def __init__(
        self,
        foundation: Foundation,
        imaging: Imaging,
        messaging: Messaging,
        workers: Workers,
        clock: ClockWatch,
    ) -> None:
        self._clock = clock
        self.web: WebServer | None = None
        self._settings = foundation.settings
        self._database = foundation.database
        self._directory = foundation.directory
        self._rules = foundation.rules
        self._rooms = foundation.rooms
        self._spool_clock = foundation.spool.clock
        self._imaging = imaging
        self._messaging = messaging
        self._workers = workers
        self._started = time.monotonic()
        self._counting = Counting(foundation.database)

    def addresses(self) -> dict[str, Any]:
        """Host and port of every open listener, by the name of its kind."""
        addresses: dict[str, Any] = {"dicom": [], "hl7": [], "web": []}
        for name, address in self._imaging.listening().items():
            addresses[name] = [address]
        for name, address in self._messaging.listening():
            addresses.setdefault(name, []).append(address)
        if self.web is not None and self.web.listening is not None:
            addresses["web"].append(self.web.listening)
        return addresses

    async def readiness(self) -> tuple[Health, list[str]]:
        """Judge whether the broker is ready, and say why not.

        `down`: a listener is closed, or the database cannot be read and there is no copy of the worklist. `degraded`:
        the worklist answers from its copy, the last write failed, or a worker is away (its connections go to others).
        That the clock was set, or that of the disk differs, is told beside.
        """
        closed = []
        if not self._imaging.accepting:
            closed.append("a DICOM listener is closed")
        if not self._messaging.accepting:
            closed.append("an HL7 listener is closed")
        problems = self._workers.problems()
        if self._database.damage.raised:
            problems.insert(0, DAMAGED)
        try:
            async with asyncio.timeout(PATIENCE):
                await asyncio.shield(asyncio.wrap_future(self._database.ping()))
        except (BrokerError, TimeoutError):
            return await self._without_database(closed, problems)
        except Exception:  # a defect of ours, which every query meets too
            closed.append("the worklist does not answer")
        if self._imaging.unanswered >= UNANSWERED:
            closed.append("the worklist does not answer: the last queries had no answer")
        if closed:
            return "down", closed + problems
        problems += [_REFUSED[room] for room in sorted({disk.room for disk in self._rooms}) if room]
        if not self._database.writable:
            problems.append("the database cannot be written: orders and images are refused, the worklist answers")
        return ("degraded" if problems else "ok"), [*problems, *self._clock.notes(), *self._spool_clock.notes()]

    async def _without_database(self, closed: list[str], problems: list[str]) -> tuple[Health, list[str]]:
        """`degraded` while the copy of the worklist answers."""
        age = await asyncio.to_thread(self._imaging.worklist_copy.age) if self._imaging.worklist_copy else None
        if age is None or closed:
            return "down", [*closed, "the database cannot be read", *problems]
        text = f"the database cannot be read: the worklist answers from a copy of {_span(age)} ago, all else is refused"
        return "degraded", [text, *problems]

    async def overview(self) -> Overview:
        """Count everything; while the database is away show the last counts, and say so among the problems."""
        health, problems = await self.readiness()
        numbers, age = await self._counting.newest()
        if age is not None:
            problems.append(f"the numbers are {'not known' if age == float('inf') else f'of {_span(age)} ago'}")
        lanes = {lane.name: lane for lane in numbers.lanes}
        queue: dict[str, int] = {}
        for lane in numbers.lanes:
            for state, number in lane.jobs.items():
                queue[state] = queue.get(state, 0) + number
        rules = self._rules()
        action = rules.default_action
        return Overview(
            version=__version__,
            uptime_seconds=int(time.monotonic() - self._started),
            health=health,
            problems=problems,
            listeners=self._listeners(),
            nodes=[_node(node, lanes) for node in self._directory.nodes],
            worklist=numbers.steps,
            messages=numbers.messages,
            instances=numbers.instances,
            queue=queue,
            knocking=numbers.knocking,
            performed_waiting=numbers.performed_waiting,
            rules=[f"{rule.name} → {', '.join(rule.send)}" for rule in rules.rules],
            rules_version=rules.version,
            default_action=f"send to {', '.join(rules.default_send)}" if action == RuleAction.SEND else action.value,
        )

    def _listeners(self) -> list[ListenerView]:
        title = self._settings.dicom.ae_title
        names = {
            "dicom": f"DICOM ({title})",
            "dicom-tls": f"DICOM TLS ({title})",
            "hl7": "HL7 (MLLP)",
            "hl7-tls": "HL7 TLS (MLLP)",
            "web": "Web",
        }
        return [
            ListenerView(name=names[kind], address=f"{host}:{port}", state="listening")
            for kind, doors in self.addresses().items()
            for host, port in doors
        ]


def _lanes(node: Node) -> list[str]:
    """Names of all queue lanes with work for a node."""
    kinds = {
        "hl7": (LaneKind.FEEDBACK,),
        "dicom": (LaneKind.DELIVER, LaneKind.MPPS, LaneKind.MPPS_EVENT),
        "syslog": (LaneKind.AUDIT,),
    }
    return [Lane(kind, node.name).name for kind in kinds[node.kind]]


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _node(node: Node, known: dict[str, LaneState]) -> NodeStatus:
    lanes = [known[name] for name in _lanes(node) if name in known]
    jobs = sum((Counter(lane.jobs) for lane in lanes), Counter[str]())
    waiting = jobs[JobState.READY] + jobs[JobState.LEASED]
    broken = [lane for lane in lanes if lane.failures > 0]
    served = node.called or node.told or node.audits
    state = "" if not served else "not reachable" if broken else "waiting" if waiting else "reachable"
    if state == "reachable" and not jobs[JobState.DONE]:
        state = "idle"
    if not node.active:
        state = node.state
    return NodeStatus(
        name=node.name,
        kind=node.kind,
        title=node.ae_title or node.application,
        address=f"{node.host}:{node.port}" if node.host and node.port else node.host,
        roles=sorted(node.roles),
        waiting=waiting,
        held=jobs[JobState.HELD],
        done=jobs[JobState.DONE],
        state=state,
        last_error=broken[0].last_error if broken else "",
    )
