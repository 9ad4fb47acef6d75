"""Rows of the last contacts with nodes: one for each node and kind of contact."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, select
from sqlalchemy.dialects import postgresql, sqlite

from broker.model.contact import Contact, ContactKind
from broker.store.schema import tables

_t = tables.node_contact
_ROW: dict[str, Any] = {name: bindparam(name) for name in ("node", "kind", "at", "detail")}


def keep(connection: Connection, contacts: Sequence[Contact]) -> Sequence[Contact]:
    """Write contacts, and return them; what another process has seen later stays."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    statement = dialect.insert(_t).values(_ROW)
    newer = statement.on_conflict_do_update(
        index_elements=[_t.c.node, _t.c.kind],
        set_={"at": statement.excluded.at, "detail": statement.excluded.detail},
        where=_t.c.at < statement.excluded.at,
    )
    rows = [{"node": c.node, "kind": c.kind.value, "at": c.at, "detail": c.detail} for c in sorted(contacts, key=_key)]
    connection.execute(newer, rows)
    return contacts


def _key(contact: Contact) -> tuple[str, str]:
    """One order of rows for all processes: no two wait for each other."""
    return contact.node, contact.kind.value


def all_of(connection: Connection, node: str = "") -> list[Contact]:
    """The last contacts with all nodes, or with one."""
    query = select(_t.c.node, _t.c.kind, _t.c.at, _t.c.detail)
    if node:
        query = query.where(_t.c.node == node)
    known = {kind.value: kind for kind in ContactKind}
    return [
        Contact(row.node, known[row.kind], row.at, row.detail)
        for row in connection.execute(query)
        if row.kind in known  # a later version may know more
    ]
