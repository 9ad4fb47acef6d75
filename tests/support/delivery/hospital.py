"""Receives objects for a destination `pacs` and delivers them: the hospital, and destinations that answer as told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from pynetdicom import AE, evt

from broker.delivery.image_sender import ImageSender
from broker.dicom import uids
from broker.dicom.dimse.message import PeerAE
from broker.dicom.wire import negotiation as neg
from broker.queue.hand_over import HandOver
from broker.queue.retry_policy import RetryPolicy
from broker.routing.reception import IncomingObject, Reception
from broker.routing.rules.parsing import parse_rules
from broker.site.nodes import Node, parse_nodes
from broker.site.remotes import Remotes
from broker.store.db.database import Database
from broker.store.images.spool import Spool
from support.dicom.objects import Encoded, ct_slice
from support.loops import run, until
from support.queue.lanes import QUICK, Queue, dispatching

CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"


class Hospital:
    """Objects received for node `pacs`, and a delivery that sends them."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        self.queue = Queue(database)
        self.spool = Spool(folder / "spool")
        self.rules = parse_rules({"default": {"action": "send", "send": ["pacs"]}}, {"pacs"})
        self.reception = Reception(database, self.spool, lambda: self.rules, ZoneInfo("UTC"), lambda: None, small=0)
        self.nodes: dict[str, Node] = {}
        self.refresh: Callable[[], object] = lambda: None

    def take(self, item: Encoded) -> Encoded:
        arrival = IncomingObject(
            item.sop_class, item.sop_instance, item.transfer_syntax, PeerAE("CT01", "BROKER", "::1")
        )
        self.reception.whole(arrival, item.data)
        return item

    def open_to(self, hand_over: HandOver) -> None:
        """What is received from now on goes to open lanes in memory."""
        self.reception = Reception(
            self.database, self.spool, lambda: self.rules, ZoneInfo("UTC"), lambda: None, small=0, hand_over=hand_over
        )

    def slices(self, count: int, **attributes: str) -> list[Encoded]:
        return [self.take(ct_slice(1000, **attributes)) for _ in range(count)]

    def destination(self, port: int, **changes: Any) -> None:
        table = {"name": "pacs", "kind": "dicom", "ae_title": "PACS", "host": "127.0.0.1", "port": port,
                 "roles": ["destination"]}  # fmt: skip
        self.nodes = {node.name: replace(node, **changes) for node in parse_nodes([table])}

    def delivery(self) -> ImageSender:
        return ImageSender(self.database, self.spool, self.nodes.get, Remotes("BROKER", None, Path()), self.refresh)

    def states(self) -> list[str]:
        return self.queue.states()

    def until_settled(self, *states: str, policy: RetryPolicy = QUICK) -> None:
        """Run the lane until the jobs, by subject, are in these states."""

        async def work() -> None:
            delivery = self.delivery()
            async with dispatching(self.database, delivery, policy=policy):
                await until(lambda: self.states() == list(states), f"{states}, at last {self.states()}", 15)
            await delivery.close()

        run(work())


@contextmanager
def pacs(
    hospital: Hospital, answer: Callable[[Any], int], *classes: str,
    released: Callable[[Any], None] = lambda event: None, **changes: Any,
) -> Iterator[list[Any]]:  # fmt: skip
    """A pynetdicom destination; the list fills with its associations. `changes`: other values of its node."""
    accepted: list[Any] = []
    ae = AE(ae_title="PACS")
    for abstract in classes or (CT,):
        ae.add_supported_context(abstract, [uids.EXPLICIT_LE])
    events = [(evt.EVT_C_STORE, answer), (evt.EVT_ACCEPTED, accepted.append), (evt.EVT_RELEASED, released)]
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=events)
    hospital.destination(server.server_address[1], **changes)
    try:
        yield accepted
    finally:
        server.shutdown()


def scripted_pacs(over: asyncio.Event) -> Any:
    """A destination that accepts everything and then reads no more."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        header = await reader.readexactly(6)
        request = neg.decode_request(await reader.readexactly(int.from_bytes(header[2:], "big")))
        results = tuple(neg.ContextResult(c.id, 0, c.transfer_syntaxes[0]) for c in request.contexts)
        user = neg.UserInformation(16384, "1.2.3", "SILENT")
        writer.write(neg.encode_accept(neg.AssociationAccept("PACS", "BROKER", results, user)))
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await over.wait()
        writer.close()

    return serve
