"""Lists the devices that ask for worklists: modalities of the site, and whoever asked lately, with the last query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from broker.site.directory import Directory
from broker.site.tables.roles import ACTIVE, State
from broker.store.worklist import device_queries
from broker.store.worklist.device_queries import DeviceQueries
from broker.worklist.explain.exam import askings_of
from broker.worklist.explain.verdict import Asking
from broker.worklist.query.attributes import STATIONS

MOST_DEVICES = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class AskingDevice:
    """A device: `node` is empty for one that is none. `last`: its last query, None if it never asked."""

    node: str
    ae_title: str
    state: State
    stations: frozenset[str]  # AE titles that stand for its own
    last: Asking | None
    calls: int

    @property
    def name(self) -> str:
        """What people call it: the name of its node, else its AE title."""
        return self.node or self.ae_title

    @property
    def asks_for_all(self) -> bool:
        """Its last query named no station: it sees exams of others too."""
        recalled = self.last.recalled if self.last is not None else None
        if recalled is None or self.state != ACTIVE:
            return False
        return STATIONS not in recalled.query.named


def devices(connection: Connection, directory: Directory) -> list[AskingDevice]:
    """Modalities of the site by name, then other devices, the last to ask first; at most MOST_DEVICES in all."""
    by_title: dict[str, list[DeviceQueries]] = {}
    for one in device_queries.recent(connection, MOST_DEVICES):
        by_title.setdefault(one.calling_ae, []).append(one)
    nodes = [
        node
        for node in directory.nodes
        if node.kind == "dicom" and ("modality" in node.roles or node.ae_title in by_title)
    ]
    found = [
        _device(
            by_title.get(node.ae_title, ()),
            node=node.name,
            ae_title=node.ae_title,
            state=node.state,
            stations=frozenset(node.device.stations if node.device is not None else ()),
        )
        for node in sorted(nodes, key=lambda node: node.name)
    ]
    known = {node.ae_title for node in nodes}
    found += [
        _device(asked, node="", ae_title=title, state=ACTIVE, stations=frozenset())
        for title, asked in by_title.items()
        if title not in known
    ]
    return found[:MOST_DEVICES]


def _device(
    asked: Sequence[DeviceQueries], *, node: str, ae_title: str, state: State, stations: frozenset[str]
) -> AskingDevice:
    queries = askings_of(asked)
    return AskingDevice(
        node=node,
        ae_title=ae_title,
        state=state,
        stations=stations,
        last=queries[0] if queries else None,
        calls=sum(one.calls for one in asked),
    )
