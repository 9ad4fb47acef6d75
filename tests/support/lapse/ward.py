"""A broker in this process whose clock is set, with its duties run by hand: those of `service.housekeeping`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any
from unittest.mock import patch

from sqlalchemy import Connection

from broker.commitment.walk import CommitmentWalk
from broker.orders import listener
from broker.queue.clock_watch import ClockWatch
from broker.service import housekeeping
from broker.service.foundation import Foundation, lay
from broker.service.housekeeping import Housekeeping
from broker.service.status.duties import DutyRun
from broker.settings import Settings
from broker.store.db import clock
from broker.store.db.database import Database
from broker.store.db.pace import Item, Pace, T
from broker.worklist import scp

CT = "1.2.840.10008.5.1.4.1.1.2"
SITE = """
[[node]]
name = "ct1"
kind = "dicom"
ae_title = "CT01"
roles = ["modality"]

[[node]]
name = "archive"
kind = "dicom"
ae_title = "ARCHIVE"
host = "127.0.0.1"
port = 11113
roles = ["destination"]
commitment = "delivered"

[[node]]
name = "ris-mpps"
kind = "dicom"
ae_title = "RIS_MPPS"
host = "127.0.0.1"
port = 11115
roles = ["mpps"]

[[node]]
name = "ris"
kind = "hl7"
application = "RIS"
host = "127.0.0.1"
port = 2576
roles = ["ris"]
[node.feedback]
message = "ORM^O01"
version = "2.5.1"
charset = "UNICODE UTF-8"
events = ["started", "completed", "discontinued", "images"]

[[node]]
name = "desk"
kind = "webhook"
url = "https://desk.hospital.example/hooks/broker"
roles = ["notify"]

[[rule]]
name = "told of"
when = { field = "tag.Modality", value = "MR" }
notify = ["desk"]

[[rule]]
name = "reports are not wanted"
when = { field = "tag.Modality", value = "SR" }
action = "discard"
reason = "the PACS has them"

[[rule]]
name = "whole studies"
level = "study"
when = { field = "tag.Modality", value = "MR" }
send = ["archive"]

[[rule]]
name = "to the archive"
when = { field = "tag.Modality", value = "CT" }
send = ["archive"]

[default]
action = "hold"

[completion.study]
quiet = 60
most = 3600
"""


class SteadyPace(Pace):
    """The pace of a duty beside no traffic: it does not rest. `longest`: seconds of its longest transaction."""

    longest = 0.0

    def _timed(
        self, connection: Connection, unit: Callable[[Connection, Sequence[Item]], T], part: Sequence[Item]
    ) -> tuple[T, float]:
        result, spent = super()._timed(connection, unit, part)
        self.longest = max(self.longest, spent)
        return result, spent

    def _rest(self, seconds: float) -> None:
        """Nobody waits."""


class DutiesByHand(Housekeeping):
    """The duties of a broker, each run when it is asked for. One that fails raises what it met."""

    def __init__(self, foundation: Foundation, now: Callable[[], float]) -> None:
        self._works: dict[str, Callable[[], None]] = {}
        self.paces: list[SteadyPace] = []
        self.deleted: dict[str, int] = {}
        super().__init__(foundation, ClockWatch(), lambda: None)
        self.serve_all(lambda: None, lambda: None)
        levels: Any = self._works["levels"]
        levels.__self__._work = replace(levels.__self__._work, clock=now)  # it took the clock when it was imported
        proofs, accepted = foundation.directory.proofs, {CT}
        self._works["commitments"] = CommitmentWalk(
            self._pace(), foundation.spool.root, proofs, accepted, lambda: None, clock=now
        ).run  # type: ignore[assignment]

    def run(self, *names: str) -> None:
        """Run duties, in this order."""
        for name in names:
            self._works[name]()

    def longest(self) -> float:
        """Seconds of the longest transaction since the last look."""
        found = max(pace.longest for pace in self.paces)
        for pace in self.paces:
            pace.longest = 0.0
        return found

    def _add(
        self,
        name: str,
        work: Callable[[], None],
        seconds: float,
        *,
        at_once: bool = False,
        long: bool = False,
        by_age: bool = False,
    ) -> None:
        self._works[name] = work

    def _pace(self) -> Pace:
        self.paces.append(SteadyPace(self._database, stopping=self._ending))
        return self.paces[-1]

    @contextmanager
    def _watched(self, name: str) -> Iterator[DutyRun]:
        run = DutyRun()
        yield run
        self.deleted[name] = run.deleted or 0


class WardClock:
    """A clock that is set, and goes on from there. `at` is an aware time."""

    def __init__(self, at: datetime) -> None:
        self.at, self._since = at, time.monotonic()

    def set(self, day: datetime, hours: float) -> None:
        """Set it to so many hours after the midnight with which a day begins."""
        self.at, self._since = day + timedelta(hours=hours), time.monotonic()

    def now(self) -> float:
        """Seconds since the epoch."""
        return self.at.timestamp() + time.monotonic() - self._since


def _calendar(now: Callable[[], float]) -> type[datetime]:
    """`datetime` whose now is that of the ward."""

    class Calendar(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.fromtimestamp(now(), tz)

    return Calendar


@dataclass(frozen=True)
class Ward:
    """A broker with its duties and its clock, which is that of this process."""

    foundation: Foundation
    duties: DutiesByHand
    clock: WardClock

    @property
    def settings(self) -> Settings:
        """Those of the broker."""
        return self.foundation.settings

    @property
    def database(self) -> Database:
        """That of the broker."""
        return self.foundation.database

    @property
    def now(self) -> float:
        """Seconds since the epoch."""
        return self.clock.now()


@contextmanager
def ward(folder: Path, url: str, begin: datetime, **sections: dict[str, Any]) -> Iterator[Ward]:
    """A broker on a database, at a time. It keeps the clock of this process until it ends."""
    service = {"data_dir": folder, "timezone": str(begin.tzinfo)}
    settings = Settings(service=service, database={"url": url}, **sections)  # type: ignore[arg-type]
    site, watch = folder / "site.toml", WardClock(begin)
    site.write_text(SITE, encoding="utf-8")
    with ExitStack() as stack:
        stack.enter_context(patch.object(time, "time", watch.now))
        stack.enter_context(patch.object(clock, "now", lambda connection: watch.now()))
        for door in (listener, scp):
            stack.enter_context(patch.object(door, "datetime", _calendar(watch.now)))
        stack.enter_context(patch.object(housekeeping, "BY_TIME_EVERY", 0.0))  # of the clock that nobody sets
        foundation = lay(settings, b"k" * 32, stack, site_file=site)
        duties = DutiesByHand(foundation, watch.now)
        stack.callback(duties.close)
        yield Ward(foundation, duties, watch)
