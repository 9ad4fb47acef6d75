"""Case files: messages in, what a RIS is told of the orders out.

Sections: `node` (its keys, with a table `feedback`), any number of `message` (option `charset=`), then `told`, one per
message to the RIS in the order of the queue (option `charset=`, in which its bytes are read). MSH-10 is masked, the
clock stands still.
"""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from golden.test_hl7_cases import ZONE, FixedDoor, sections
from sqlalchemy import Connection, select
from support.loops import shortly

from broker.delivery.feedback import outbound
from broker.delivery.feedback.outbound import SendingParty
from broker.hl7.mllp.server import Peer
from broker.orders.core.context import StoryContext
from broker.orders.inbound.reception import Interface
from broker.orders.mapping.book import built_in
from broker.orders.telling.feedback import Notice
from broker.site.nodes import Node, parse_nodes
from broker.store.db.database import Database
from broker.store.orders import reading
from broker.store.schema import tables

CASES = sorted((Path(__file__).parent / "feedback").glob("*.case"))
NODE = {
    "name": "ris", "kind": "hl7", "application": "RIS", "facility": "HOSPITAL", "host": "127.0.0.1", "port": 1,
    "roles": ["ris"],
}  # fmt: skip


class TellingDoor(FixedDoor):
    """That door, with a node that wants to hear of orders."""

    node: Node

    def _context(self, peer: Peer) -> StoryContext:
        return replace(super()._context(peer), subscribers=(self.node,))


def told(connection: Connection, node: Node) -> list[bytes]:
    """The messages that the queue holds for the node, as they would be sent now."""
    job = tables.job.c
    found = connection.execute(select(job.detail).where(job.lane == "feedback:ris").order_by(job.id)).scalars()
    notices = [Notice.of(json.loads(detail)) for detail in found]
    ours = SendingParty("BROKER", "RADIOLOGY")
    return [outbound.build(reading.load_order(connection, n.order), n, node, ours, ZONE) for n in notices]


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_case(path: Path, tmp_path: Path, sqlite_template: Path, pytestconfig: pytest.Config) -> None:
    whole = path.read_text(encoding="utf-8")
    parts = sections(whole)
    [keys] = [body for name, body in parts if name == "node"]
    node = parse_nodes([NODE | tomllib.loads(keys)])[0]
    shutil.copyfile(sqlite_template, tmp_path / "broker.db")
    database = Database(f"sqlite:///{tmp_path / 'broker.db'}")
    door = TellingDoor(
        database, Interface(name="test"), lambda header: built_in(), zone=ZONE, default_station="UNASSIGNED"
    )
    door.node = node
    try:
        for name, body in parts:
            if name.startswith("message"):
                charset = name.partition("charset=")[2] or "utf-8"
                raw = (body.replace("\n", "\r") + "\r").encode(charset)
                answer = shortly(door.handle(raw, Peer("127.0.0.1", 1)))
                assert answer is not None
                assert b"MSA|AA|" in answer, answer
        came = database.read(told, node).result(10)
    finally:
        database.close()
    codec = next((name.partition("charset=")[2] for name, _ in parts if name.startswith("told")), "") or "utf-8"
    shown = []
    for message in came:
        assert message.endswith(b"\r")
        text = message.decode(codec).rstrip("\r").replace("\r", "\n")
        shown.append(re.sub(r"\|BRK[0-9A-F]{17}\|", "|ID|", text, count=1))
    if pytestconfig.getoption("--update-golden"):
        kept = [f"== {name}\n{body}\n" for name, body in parts if not name.startswith("told")]
        heading = f"== told charset={codec}\n"
        path.write_text(
            "".join([whole.split("== ", 1)[0], *kept, *(f"{heading}{text}\n" for text in shown)]), encoding="utf-8"
        )
    else:
        assert shown == [body for name, body in parts if name.startswith("told")]
