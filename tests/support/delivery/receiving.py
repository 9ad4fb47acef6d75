"""Objects that are received under changing rules, and what becomes of them: database, spool and held work."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import select

from broker.dicom.dimse.message import PeerAE
from broker.routing.held_work import HeldWork
from broker.routing.levels.carrying_out import LevelWork
from broker.routing.levels.walk import LevelWalk
from broker.routing.reception import IncomingObject, Reception
from broker.routing.rules.parsing import parse_rules
from broker.store.db.database import Database
from broker.store.db.pace import Pace
from broker.store.images.spool import Spool
from broker.store.schema import tables
from support.dicom.objects import Encoded, ct_slice

NODES = frozenset({"pacs", "cad"})
NOTIFIED = frozenset({"it-desk", "mail"})
STUDY = "2.999.77"


class Restless(Pace):
    """A pace without rests, whose steps are of one size whatever they took."""

    def _rest(self, seconds: float) -> None:
        pass

    def _fit(self, spent: float) -> None:
        pass


class ReceptionPlace:
    """Database and spool with what is received and decided under changing rules."""

    def __init__(self, database: Database, files: Path) -> None:
        self.database = database
        self.spool = Spool(files, ahead=0)
        self.rules = parse_rules({}, NODES, 1)
        self.work = HeldWork(database, files, lambda: self.rules, lambda: NODES, self.wake)
        self.woken = 0
        self.passed = 0.0  # seconds that the walk is ahead

    def walk(self, passed: float = 0.0) -> None:
        """Look at the series and studies that are due after so many further seconds."""
        self.passed += passed
        LevelWalk(self.level_work()).run()

    def level_work(self) -> LevelWork:
        """What a walk works with."""
        pace = Restless(self.database)
        return LevelWork(
            self.database, pace, self.spool.root, lambda: self.rules, self.wake, lambda: time.time() + self.passed
        )

    def gatherings(self) -> dict[str, Any]:
        """The series and studies that wait or were judged, by the UID of the series, empty for the study."""
        return {row["series_instance_uid"]: row for row in self.read(select(tables.gathering))}

    def wake(self) -> None:
        self.woken += 1

    def in_force(self, document: dict[str, Any], version: int) -> None:
        self.rules = parse_rules(document, NODES, version, notified=NOTIFIED)

    def take(self, number: int, *, small: int = 0, **attributes: str) -> Encoded:
        """Receive a new object from CT01."""
        item = ct_slice(64, SOPInstanceUID=f"2.999.{number}", **{"StudyInstanceUID": STUDY} | attributes)
        self.receive(item, small=small)
        return item

    def receive(self, item: Encoded, *, small: int = 0) -> None:
        """Receive an object, for the first time or again."""
        reception = Reception(self.database, self.spool, lambda: self.rules, ZoneInfo("UTC"), lambda: None, small=small)
        peer = PeerAE("CT01", "BROKER", "10.0.0.9")
        reception.whole(IncomingObject(item.sop_class, item.sop_instance, item.transfer_syntax, peer), item.data)

    def rows(self) -> list[Any]:
        return self.read(select(tables.instance).order_by(tables.instance.c.id))

    def jobs(self) -> list[tuple[str, int, str, int]]:
        found = self.read(select(tables.job).order_by(tables.job.c.id))
        return [(row["lane"], row["subject"], row["state"], row["priority"]) for row in found]

    def audit(self) -> list[tuple[str, int, Any]]:
        found = self.read(select(tables.audit).order_by(tables.audit.c.id))
        return [(row["action"], row["object_id"], json.loads(row["detail"])) for row in found]

    def facts(self, row: int) -> dict[str, Any]:
        """What the rules saw of an object."""
        found: dict[str, Any] = json.loads(next(one["facts"] for one in self.rows() if one["id"] == row))
        return found

    def read(self, query: Any) -> list[Any]:
        return self.database.read(lambda connection: list(connection.execute(query).mappings())).result(10)
