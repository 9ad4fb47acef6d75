"""The story of a device that is admitted: a node more in the document of nodes, as a new version of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from broker.errors import BadContent
from broker.site.nodes import Node, parse_nodes
from broker.store import configurations, knocks
from broker.store.orders import reading, saving


class AlreadyKnown(BadContent):
    """A node lets this caller in already."""

    code = "node-known"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Who shall enter. `bound`: from this address only. Without a name one is made of the AE title."""

    ae_title: str
    address: str
    name: str = ""
    roles: Sequence[str] = ("modality",)
    bound: bool = True


@dataclass(frozen=True, slots=True)
class Admitted:
    """The node that was made, the version of the nodes it is in, and whether it had knocked."""

    node: Node
    version: int
    knocked: bool


def admit(connection: Connection, wanted: Wanted, actor: str, at: float) -> Admitted:
    """Make a node of a device, in force from this commit on; `at` in s since the epoch.

    Raises AlreadyKnown, ConfigurationError that names node and key.
    """
    reading.lock(connection, ["nodes"])
    version = configurations.current(connection, "nodes")
    document = list(version.document) if version is not None else []
    nodes = parse_nodes(document)
    title = wanted.ae_title.strip(" ")
    for node in nodes:
        if node.kind == "dicom" and node.ae_title == title and node.host in ("", wanted.address):
            raise AlreadyKnown(f"node {node.name!r} has this AE title already")
    name = wanted.name or _name(title, {node.name for node in nodes})
    table: dict[str, Any] = {"name": name, "kind": "dicom", "ae_title": title, "roles": list(wanted.roles)}
    if wanted.bound:
        table["host"] = wanted.address
    made = parse_nodes([*document, table])[-1]
    number = configurations.add(connection, "nodes", [*document, table], source=actor, at=at)
    forgotten = knocks.forget(connection, title, wanted.address if wanted.bound else "")
    detail = {"node": name, "ae_title": title, "address": wanted.address, "bound": wanted.bound}
    saving.add_audit(connection, at, actor, "node.admitted", "nodes", number, detail)
    return Admitted(made, number, bool(forgotten))


def _name(title: str, taken: set[str]) -> str:
    """A name for a node, of its AE title."""
    plain = re.sub(r"[^a-z0-9_.-]", "-", title.lower())
    base = plain if re.match(r"[a-z0-9]", plain) else f"device{plain}"
    names = (base, *(f"{base}-{number}" for number in range(2, len(taken) + 3)))
    return next(name for name in names if name not in taken)
