"""Tells how far a database has come, by numbers that only grow: nothing that is deleted by its age makes one smaller.

The last message, order, job and object stay when older ones are thinned (`thinning.py`, `ageing/`); users and versions
are never deleted as rows.
"""

from __future__ import annotations

from sqlalchemy import Connection, func, select

from broker.store.schema import tables

MARKS = "database-rows"  # the file of the data folder that keeps them; without it a person has said that all is good


def reached(connection: Connection) -> dict[str, int]:
    """The last row of each kind, and how many versions of nodes, rules and mappings there are; 0 for none."""
    last = {
        "messages": tables.message.c.id,
        "orders": tables.service_request.c.id,
        "objects": tables.instance.c.id,
        "users": tables.user_account.c.id,
    }
    found = {kind: connection.execute(select(func.max(column))).scalar() or 0 for kind, column in last.items()}
    return {
        **found,
        "versions": connection.execute(select(func.count()).select_from(tables.configuration)).scalar() or 0,
    }
