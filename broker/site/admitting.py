"""The story of a device that is admitted: a node more in the document of nodes, as a new version of it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection

from broker.errors import BadContent
from broker.site.nodes import Mistake, Node, NodeMistakes, mistakes_of, parse_nodes
from broker.site.tables.roles import BLOCKED
from broker.store import configurations, knocks
from broker.store.audit.adding import add_audit
from broker.store.db.database import Database
from broker.versions.content import check_text, without_null
from broker.versions.in_force import Audited, Contents, Documents, InForce, Signature

KIND = "nodes"


class AlreadyKnown(BadContent):
    """A node lets this caller in already."""

    code = "node-known"


@dataclass(frozen=True, slots=True)
class Newcomer:
    """Who shall enter. `bound`: from this address only. Without a name one is made of the AE title.

    `profile`: its table `device`; `like`: a node whose profile it gets. `blocked`: it shall not enter, for good.
    """

    ae_title: str
    address: str
    name: str = ""
    roles: Sequence[str] = ("modality",)
    bound: bool = True
    profile: Mapping[str, Any] = field(default_factory=dict)
    like: str = ""
    blocked: bool = False


@dataclass(frozen=True, slots=True)
class Admitted:
    """The node that was made, the version of the nodes it is in, and whether it had knocked."""

    node: Node
    version: int
    knocked: bool


def admit(
    documents: InForce[Any],
    newcomer: Newcomer,
    signature: Signature,
    *,
    also: Callable[[Connection, Admitted], object] = lambda connection, admitted: None,
) -> Admitted:
    """Make a node of a device, in force from this publication on; blocking.

    `documents` are those the nodes belong to; `also` runs in the same transaction.
    Raises Conflict, AlreadyKnown, ConfigurationError (node and key named).
    """
    title = newcomer.ae_title.strip(" ")
    admitted: list[Node] = []
    forgotten: list[int] = []

    def with_newcomer(found: Documents) -> Contents:
        version = found.get(KIND)
        tables = list(version.document) if version is not None else []
        table = without_null(_table(newcomer, title, tables))
        check_text("node", table)
        if mistakes := mistakes_of(table):
            raise NodeMistakes(f"node {str(table['name'])[:64]!r}", mistakes)
        tables.append(table)
        admitted.append(parse_nodes(tables)[-1])
        detail["node"] = admitted[-1].name
        return {KIND: tables}

    def forget(connection: Connection) -> None:
        forgotten.append(knocks.forget(connection, title, newcomer.address if newcomer.bound else ""))
        number = configurations.numbers(connection)[KIND]
        also(connection, Admitted(admitted[-1], number, bool(forgotten[-1])))

    detail = {"node": "", "ae_title": title, "address": newcomer.address, "bound": newcomer.bound}
    action = "node.blocked" if newcomer.blocked else "node.admitted"
    numbers = documents.publish(with_newcomer, signature, audited=Audited(action, detail), also=forget)
    return Admitted(admitted[-1], numbers[KIND], bool(forgotten and forgotten[-1]))


def forget(database: Database, ae_title: str, address: str, signature: Signature) -> int:
    """Take a device off the list of those that knock, with an audit row; how many entries. Raises StoreUnavailable."""
    return database.execute(_forget, ae_title.strip(" "), address, signature, time.time())


def _forget(connection: Connection, title: str, address: str, signature: Signature, at: float) -> int:
    forgotten = knocks.forget(connection, title, address)
    if forgotten:
        detail = signature.signed(ae_title=title, address=address)
        caller = signature.address
        add_audit(connection, at, signature.actor, "node.forgotten", "knock", 0, detail, address=caller)
    return forgotten


def _table(newcomer: Newcomer, title: str, documents: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The table of the new node. Raises AlreadyKnown."""
    nodes = parse_nodes(documents)
    for node in nodes:
        if node.kind == "dicom" and node.ae_title == title and node.host in ("", newcomer.address):
            raise AlreadyKnown(f"node {node.name!r} has this AE title already")
    name = newcomer.name or _name(title, {node.name for node in nodes})
    table: dict[str, Any] = {"name": name, "kind": "dicom", "ae_title": title, "roles": list(newcomer.roles)}
    table |= {"state": BLOCKED} if newcomer.blocked else {}
    if profile := newcomer.profile or _profile_of(newcomer.like, documents):
        table["device"] = dict(profile)
    return table | ({"host": newcomer.address} if newcomer.bound else {})


def _profile_of(name: str, tables: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The profile of another node. Its own stations are not taken over. Raises NodeMistakes."""
    if not name:
        return {}
    found = next((table for table in tables if table.get("name") == name), None)
    if found is None:
        raise NodeMistakes("node", [Mistake("like", "there is no node of this name")])
    return {key: value for key, value in found.get("device", {}).items() if key != "stations"}


def _name(title: str, taken: set[str]) -> str:
    """A name for a node, of its AE title."""
    plain = re.sub(r"[^a-z0-9_.-]", "-", title.lower())
    base = plain if re.match(r"[a-z0-9]", plain) else f"device{plain}"
    names = (base, *(f"{base}-{number}" for number in range(2, len(taken) + 3)))
    return next(name for name in names if name not in taken)
