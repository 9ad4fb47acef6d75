"""Tells how the broker is, to all who ask: health checks, *Now*, REST and commands. `status.judging` decides."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from broker import __version__
from broker.errors import BrokerError
from broker.model.contact import NodeContacts
from broker.model.wording import Sentence
from broker.service.status import gathering
from broker.service.status.counting import Counting, NewestNumbers
from broker.service.status.disks import DiskWatch
from broker.service.status.duties import DutyBook
from broker.service.status.gathering import SiteView
from broker.service.status.meters import Meters
from broker.service.status.row_marks import RowMarks
from broker.service.status.senders import SenderCount
from broker.site.nodes import Node
from broker.site.times.opening import ClosedWindow, closing_of
from broker.status.facts import BrokerFacts, DatabaseFact, ListenerFact
from broker.status.judging import BrokerStatus, judge

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broker.queue.clock_watch import ClockWatch
    from broker.service.foundation import Foundation
    from broker.service.imaging import Imaging
    from broker.service.messaging import Messaging
    from broker.service.web import WebServer
    from broker.service.workers.workers import Workers

PATIENCE = 0.8  # seconds for the database: an orchestrator does not wait long for what a health check says
FRESH = 1.0  # seconds for which all who ask are told the same
UNANSWERED = 3  # worklist queries in a row without an answer: it is no chance


class Monitor:
    """Asks the parts how they are. What it gathers serves all who ask within FRESH seconds."""

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
        self._directory, self._site = foundation.directory, foundation.site
        self._contact_book = foundation.contacts
        self._contacts: Mapping[str, NodeContacts] = {}
        self._spool_clock = foundation.spool.clock
        self._imaging = imaging
        self._messaging = messaging
        self._workers = workers
        self._started_at = time.time()
        zone = foundation.settings.zone()
        self._counting = Counting(foundation.database, zone)
        self.marks = RowMarks(foundation.settings.service.data_dir, foundation.database)
        self.disks = DiskWatch(foundation.settings.service.data_dir, foundation.rooms)
        self.duties = DutyBook()
        self.meters = Meters(workers.snapshots)
        self.senders = SenderCount(foundation.database, zone)
        self._gathering: asyncio.Task[BrokerStatus] | None = None
        self._gathered_at = float("-inf")

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

    async def status(self) -> BrokerStatus:
        """How the broker is: the same for all who ask within FRESH seconds."""
        if self._gathering is None or (self._gathering.done() and time.monotonic() - self._gathered_at >= FRESH):
            self._gathering = asyncio.create_task(self._gather())
        return await asyncio.shield(self._gathering)

    def _closing(self, node: Node) -> ClosedWindow | None:
        return closing_of(node, time.time(), self._settings.zone(), self._site.value.rules.holidays)

    async def _gather(self) -> BrokerStatus:
        try:
            reachable, answering = await self._ping()
            newest = await self._counting.newest()
            self._contacts = await self._newest_contacts()
            now, numbers = time.time(), newest.numbers
            site = SiteView(self._directory.nodes, self._contacts, newest, self._closing)
            facts = BrokerFacts(
                now=now,
                started_at=self._started_at,
                version=__version__,
                listeners=self._listeners(),
                database=await self._database_fact(newest, reachable=reachable),
                doors=self._doors(answering=answering),
                workers=self._workers.problems(),
                notes=(*self._clock.notes(), *self._spool_clock.notes(), *gathering.level_notes(newest, now)),
                disks=self.disks.facts(),
                nodes=gathering.node_facts(site),
                senders=self.senders.facts(numbers.senders, now, self._started_at),
                certificates=gathering.certificate_facts(),
                duties=self.duties.facts(),
                backup=gathering.backup_fact(
                    self._settings.service.data_dir, daily=self._settings.backup.folder is not None
                ),
                needs=gathering.need_facts(newest),
                exams=numbers.counts.exams,
                traffic=gathering.traffic_fact(self.meters.rates),
            )
            return BrokerStatus(facts, judge(facts))
        finally:
            self._gathered_at = time.monotonic()

    async def _ping(self) -> tuple[bool, bool]:
        """Whether the database can be read, and whether the worklist answers."""
        try:
            async with asyncio.timeout(PATIENCE):
                await asyncio.shield(asyncio.wrap_future(self._database.ping()))
        except (BrokerError, TimeoutError):
            return False, True
        except Exception:  # a defect of ours, which every query meets too
            return True, False
        return True, True

    async def _newest_contacts(self) -> Mapping[str, NodeContacts]:
        """The last contacts with all nodes; those of before if they are not to be had soon."""
        asked = asyncio.create_task(asyncio.to_thread(self._contact_book.all))
        done, _ = await asyncio.wait({asked}, timeout=PATIENCE)
        return asked.result() if done else self._contacts

    async def _database_fact(self, newest: NewestNumbers, *, reachable: bool) -> DatabaseFact:
        database, copy = self._database, self._imaging.worklist_copy
        return DatabaseFact(
            kind=database.dialect,
            reachable=reachable,
            writable=database.writable,
            damaged=database.damage.raised,
            behind=self.marks.behind,
            copy_age=await asyncio.to_thread(copy.age) if copy and not reachable else None,
            size=newest.numbers.counts.size,
            written_at=database.written_at,
            counted_at=newest.at,
            stale=newest.stale,
        )

    def _doors(self, *, answering: bool) -> tuple[Sentence, ...]:
        """What is wrong with the listeners and with the worklist."""
        found = []
        if not self._imaging.accepting:
            found.append(Sentence("a DICOM listener is closed"))
        if not self._messaging.accepting:
            found.append(Sentence("an HL7 listener is closed"))
        if not answering:
            found.append(Sentence("the worklist does not answer"))
        if self._imaging.unanswered >= UNANSWERED:
            found.append(Sentence("the worklist does not answer: the last queries had no answer"))
        return tuple(found)

    def _listeners(self) -> tuple[ListenerFact, ...]:
        title = self._settings.dicom.ae_title
        named = {"dicom": f"DICOM ({title})", "dicom-tls": f"DICOM TLS ({title})"}
        doors = [(named[name], door.host, door.port, door.accepting) for name, door in self._imaging.doors.items()]
        named = {"hl7": "HL7 (MLLP)", "hl7-tls": "HL7 TLS (MLLP)"}
        doors += [(named[kind], door.host, door.port, door.accepting) for kind, _, door in self._messaging.doors]
        if self.web is not None and self.web.listening is not None:
            doors.append(("Web", *self.web.listening, True))
        return tuple(ListenerFact(name=name, address=f"{host}:{port}", open=up) for name, host, port, up in doors)
