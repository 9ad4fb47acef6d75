"""The story of a device that is admitted: a node more in the document of nodes, as a new version of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from broker.errors import BadContent
from broker.site.nodes import Node, parse_nodes
from broker.store import knocks
from broker.versions.in_force import Audited, Contents, Documents, InForce, Signature

KIND = "nodes"


class AlreadyKnown(BadContent):
    """A node lets this caller in already."""

    code = "node-known"


@dataclass(frozen=True, slots=True)
class Newcomer:
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


def admit(documents: InForce[Any], newcomer: Newcomer, signature: Signature) -> Admitted:
    """Make a node of a device, in force from this publication on; blocking.

    `documents` are those the nodes belong to. Raises Conflict, AlreadyKnown, ConfigurationError (node and key named).
    """
    title = newcomer.ae_title.strip(" ")
    admitted: list[Node] = []
    forgotten: list[int] = []

    def with_newcomer(found: Documents) -> Contents:
        version = found.get(KIND)
        tables = list(version.document) if version is not None else []
        tables.append(_table(newcomer, title, parse_nodes(tables)))
        admitted.append(parse_nodes(tables)[-1])
        detail["node"] = admitted[-1].name
        return {KIND: tables}

    def forget(connection: Connection) -> None:
        forgotten.append(knocks.forget(connection, title, newcomer.address if newcomer.bound else ""))

    detail = {"node": "", "ae_title": title, "address": newcomer.address, "bound": newcomer.bound}
    numbers = documents.publish(with_newcomer, signature, audited=Audited("node.admitted", detail), also=forget)
    return Admitted(admitted[-1], numbers[KIND], bool(forgotten and forgotten[-1]))


def _table(newcomer: Newcomer, title: str, nodes: Sequence[Node]) -> dict[str, Any]:
    """The table of the new node. Raises AlreadyKnown."""
    for node in nodes:
        if node.kind == "dicom" and node.ae_title == title and node.host in ("", newcomer.address):
            raise AlreadyKnown(f"node {node.name!r} has this AE title already")
    name = newcomer.name or _name(title, {node.name for node in nodes})
    table: dict[str, Any] = {"name": name, "kind": "dicom", "ae_title": title, "roles": list(newcomer.roles)}
    return table | ({"host": newcomer.address} if newcomer.bound else {})


def _name(title: str, taken: set[str]) -> str:
    """A name for a node, of its AE title."""
    plain = re.sub(r"[^a-z0-9_.-]", "-", title.lower())
    base = plain if re.match(r"[a-z0-9]", plain) else f"device{plain}"
    names = (base, *(f"{base}-{number}" for number in range(2, len(taken) + 3)))
    return next(name for name in names if name not in taken)
