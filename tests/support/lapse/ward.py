"""A broker in this process whose clock is set, with its duties run by hand: those of `service.housekeeping`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

from sqlalchemy import Connection

from broker.queue.clock_watch import ClockWatch
from broker.service.foundation import Foundation, lay
from broker.service.housekeeping import Housekeeping
from broker.service.status.duties import DutyRun
from broker.settings import Settings
from broker.store.db import clock
from broker.store.db.pace import Item, Pace, T

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
discard = true

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
longest = 3600
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

    def __init__(self, foundation: Foundation) -> None:
        self._works: dict[str, Callable[[], None]] = {}
        self.paces: list[SteadyPace] = []
        self.deleted: dict[str, int] = {}
        super().__init__(foundation, ClockWatch(), lambda: None)
        self.serve_all(lambda: None, lambda: None)

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

    def _add(self, name: str, work: Callable[[], None], seconds: float, **when: bool) -> None:
        self._works[name] = work

    def _pace(self) -> Pace:
        self.paces.append(SteadyPace(self._database, stopping=self._ending))
        return self.paces[-1]

    @contextmanager
    def _watched(self, name: str) -> Iterator[DutyRun]:
        run = DutyRun()
        yield run
        self.deleted[name] = run.deleted or 0


class Ward:
    """Database, spool, nodes and rules in force, and the time. `at` is an aware time on the site's clock."""

    def __init__(self, foundation: Foundation, begin: datetime) -> None:
        self.foundation = foundation
        self.settings, self.database = foundation.settings, foundation.database
        self.at = begin
        self._since = time.monotonic()
        self.duties = DutiesByHand(foundation)

    @property
    def now(self) -> float:
        """Seconds since the epoch: the time that was set, and what passed since."""
        return self.at.timestamp() + time.monotonic() - self._since

    def set(self, day: datetime, hours: float) -> None:
        """Set the clock to so many hours after the midnight with which a day begins."""
        self.at, self._since = day + timedelta(hours=hours), time.monotonic()


@contextmanager
def ward(folder: Path, url: str, begin: datetime, **sections: dict[str, Any]) -> Iterator[Ward]:
    """A ward on a database, at a time. It keeps the clock of this process until it ends."""
    settings = Settings(service={"data_dir": folder}, database={"url": url}, **sections)  # type: ignore[arg-type]
    site = folder / "site.toml"
    site.write_text(SITE, encoding="utf-8")
    with ExitStack() as stack:
        made: list[Ward] = []
        real = time.time
        stack.enter_context(patch.object(time, "time", lambda: made[0].now if made else real()))
        stack.enter_context(patch.object(clock, "now", lambda connection: made[0].now))
        made.append(Ward(lay(settings, b"k" * 32, stack, site_file=site), begin))
        stack.callback(made[0].duties.close)
        yield made[0]
