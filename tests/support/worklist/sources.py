"""Other worklist servers, by pynetdicom, and their items."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import ModalityWorklistInformationFind

from broker.site.nodes import Node, parse_nodes
from support.orders.intake import ZONE


def day(ahead: int = 0) -> str:
    """A day from today as DICOM DA."""
    return (datetime.now(ZONE) + timedelta(days=ahead)).strftime("%Y%m%d")


def item(number: int, *, ahead: int = 1, step: dict[str, Any] | None = None, **root: Any) -> Dataset:
    """A worklist item that begins `ahead` days from today; `number` makes its identifiers unique. None leaves out."""
    found = Dataset()
    inner = Dataset()
    values = {
        "SpecificCharacterSet": "ISO_IR 100", "AccessionNumber": f"W{number}", "PatientName": "Müller^Käthe",
        "PatientID": f"QZPAT{number}", "PatientBirthDate": "19760229", "PatientSex": "F",
        "StudyInstanceUID": f"2.999.1.{number}", "RequestedProcedureID": f"R{number}",
        "RequestedProcedureDescription": "Thorax", **root,
    }  # fmt: skip
    below = {
        "Modality": "CT", "ScheduledStationAETitle": "CT01", "ScheduledProcedureStepStartDate": day(ahead),
        "ScheduledProcedureStepStartTime": "103000", "ScheduledProcedureStepID": f"S{number}",
        "ScheduledProcedureStepDescription": "Thorax nativ", **(step or {}),
    }  # fmt: skip
    for target, given in ((found, values), (inner, below)):
        for keyword, value in given.items():
            if value is not None:
                setattr(target, keyword, value)
    found.ScheduledProcedureStepSequence = [inner]
    return found


@dataclass
class Server:
    """A worklist that a test changes while it runs; `queries` are the identifiers it was asked by."""

    items: list[Dataset] = field(default_factory=list)
    final: int = 0x0000
    queries: list[Dataset] = field(default_factory=list)
    callers: list[str] = field(default_factory=list)
    hang: threading.Event | None = None  # answers stop until it is set
    port: int = 0

    def answers(self, event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        """Items of the days, stations and identifiers asked for; then the final status."""
        wanted = event.identifier
        self.queries.append(wanted)
        self.callers.append(event.assoc.requestor.ae_title)
        for one in list(self.items):
            if not _fits(one, wanted):
                continue
            if self.hang is not None:
                self.hang.wait(30)
            if event.is_cancelled:
                yield 0xFE00, None
                return
            yield 0xFF00, one
        if self.final:
            yield self.final, None


def _fits(one: Dataset, wanted: Dataset) -> bool:
    asked, step = wanted.ScheduledProcedureStepSequence[0], one.ScheduledProcedureStepSequence[0]
    for have, keys, names in (
        (one, wanted, ("StudyInstanceUID", "AccessionNumber")),
        (step, asked, ("ScheduledProcedureStepID", "ScheduledStationAETitle", "Modality")),
    ):
        for name in names:
            if keys.get(name) and str(keys.get(name)) != str(have.get(name)):
                return False
    first, _, last = str(asked.get("ScheduledProcedureStepStartDate") or "").partition("-")
    return not first or first <= str(step.ScheduledProcedureStepStartDate) <= last


@contextmanager
def worklist_server(*items: Dataset, contexts: Callable[[AE], None] | None = None) -> Iterator[Server]:
    """A running worklist server of the AE title WORKLIST."""
    server = Server(list(items))
    entity = AE("WORKLIST")
    if contexts is None:
        entity.add_supported_context(ModalityWorklistInformationFind)
    else:
        contexts(entity)
    listening = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_FIND, server.answers)])
    server.port = listening.socket.getsockname()[1]
    try:
        yield server
    finally:
        if server.hang is not None:
            server.hang.set()
        listening.shutdown()


def node(port: int, name: str = "old", **source: Any) -> Node:
    """The node of a worklist server."""
    table: dict[str, Any] = {
        "name": name, "kind": "dicom", "ae_title": "WORKLIST", "host": "127.0.0.1", "port": port,
        "roles": ["worklist"], "source": source,
    }  # fmt: skip
    return parse_nodes([table])[0]
