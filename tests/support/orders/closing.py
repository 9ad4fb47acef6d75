"""A database with orders, images that have come, and the work that ends their steps, at a time the test says."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, insert, update

from broker.mpps import mpps_walk
from broker.orders import step_walk
from broker.orders.step_walk import StepWalk
from broker.settings import Settings
from broker.site.directory import Directory
from broker.site.nodes import Node, parse_nodes
from broker.store.db.database import Database
from broker.store.db.pace import Pace
from broker.store.schema import tables
from support.dicom.objects import fresh_uid
from support.mpps.mpps import OUTCOMES
from support.orders.intake import AT, take
from support.service.site import order

RIS = {
    "name": "ris", "kind": "hl7", "application": "RIS", "facility": "HOSPITAL", "host": "127.0.0.1", "port": 9,
    "roles": ["ris"], "feedback": {},
}  # fmt: skip


def device(title: str = "CT01", **closing: Any) -> dict[str, Any]:
    """A modality's node with these rules."""
    profile = {"device": {"closing": closing}} if closing else {}
    return {"name": title, "kind": "dicom", "ae_title": title, "roles": ["modality"], **profile}


class House:
    """One site; `now` is its clock. Orders start at `start` (wall clock), 08:00 of the day."""

    def __init__(self, database: Database, *devices: dict[str, Any], **worklist: Any) -> None:
        self.database = database
        self.now: datetime = AT
        self.nodes: tuple[Node, ...] = parse_nodes([RIS, *devices])
        self.settings = Settings(service={"timezone": "Europe/Zurich"}, worklist=worklist)
        self.woken = 0
        self.stopping = threading.Event()
        self.walk = StepWalk(
            pace=Pace(database, stopping=self.stopping),
            settings=self.settings,
            directory=Directory(self.nodes),
            wake=self._wake,
            clock=lambda: self.now.timestamp(),
        )

    def _wake(self) -> None:
        self.woken += 1

    def place(self, number: int = 1, **more: Any) -> None:
        """An order for 08:00; see `support.service.site.order`."""
        assert take(self.database, order(number, **{"start": "20260312080000", **more}).encode()).code == "AA"

    def say(self, number: int, control: str, status: str = "SC", **more: Any) -> None:
        """A later message about it."""
        self.place(number, control=control, status=status, **more)

    def image(
        self, number: int = 1, *, calling: str = "CT01", after: float = 0, uid: str = "", series: str = "1.2"
    ) -> None:
        """An image of the order's study comes, `after` seconds from now; with a UID of its own, if none is given."""
        at = self.now.timestamp() + after

        def unit(connection: Connection) -> None:
            values = {
                "sop_instance_uid": uid or fresh_uid(), "version": 1, "sop_class_uid": "1.2",
                "transfer_syntax_uid": "1.2",
                "study_instance_uid": f"2.999.7.{number}", "series_instance_uid": series, "calling_ae": calling,
                "called_ae": "BROKER", "peer": "h", "path": "", "data_offset": 0, "data_length": 0, "digest": b"",
                "received_at": at, "state": "routed", "reason": "", "rules_version": 1, "trace": "[]", "facts": "{}",
            }  # fmt: skip
            connection.execute(insert(tables.instance).values(values))

        self.database.submit(unit).result(10)

    def performs(self, mpps: int, step: int, status: str = "IN PROGRESS") -> None:
        """An MPPS (row) means a step (row)."""

        def unit(connection: Connection) -> None:
            connection.execute(update(tables.mpps).where(tables.mpps.c.id == mpps).values(
                status=status, outcome=OUTCOMES[status]
            ))  # fmt: skip
            values = {
                "mpps": mpps, "position": 0, "step": step, "reason": "study-and-step", "study_instance_uid": "",
                "accession": "", "requested_procedure_id": "",
            }  # fmt: skip
            connection.execute(insert(tables.mpps_link).values(values))

        self.database.submit(unit).result(10)

    def later(self, **time: float) -> House:
        """Let time pass."""
        self.now += timedelta(**time)
        return self

    def close(self) -> int:
        """Look once at everything; how many steps changed."""
        return step_walk.end_by_images(self.walk) + step_walk.end_by_time(self.walk)

    def overdue(self) -> int:
        """Look once at MPPS that stay IN PROGRESS; how many were noted or ended."""
        return mpps_walk.end_overdue(self.walk)

    def compare(self) -> int:
        """Look once for the objects of completed MPPS; of how many there is news."""
        return mpps_walk.compare_objects(self.walk)
