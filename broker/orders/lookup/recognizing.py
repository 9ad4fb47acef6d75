"""Recognizes the authority of an identifier by any of its names, as far as these are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection

from broker.model.authority import AuthorityUse
from broker.model.order import EntityId
from broker.orders.core import authorities
from broker.orders.core.authorities import AuthorityMemory
from broker.orders.core.values import Change, OrderChange
from broker.store.orders import authorities as store
from broker.store.orders import reading


class _Unknown(Exception):
    """The database must be asked."""


def remembered(changes: Sequence[Change], memory: AuthorityMemory) -> list[Change] | None:
    """The changes settled by what the process knows; None if the database must be asked."""

    def settle(use: AuthorityUse, identifier: EntityId, location: str) -> EntityId:
        namespace, universal_id = authorities.names(identifier)
        if not identifier.number or not universal_id:
            return identifier
        key = memory.key(use, namespace, universal_id)
        if key is None:
            raise _Unknown
        return replace(identifier, issuer=key)

    try:
        return [change.settled(settle) for change in changes]
    except _Unknown:
        return None


def canonical(connection: Connection, use: AuthorityUse, identifier: EntityId) -> EntityId:
    """An identifier under the key of its authority, as far as that is known; nothing is learnt."""
    namespace, universal_id = authorities.names(identifier)
    if not identifier.number or not universal_id:
        return identifier
    known = [pair for pair, _ in store.known(connection, namespace, universal_id)]
    key = authorities.decide(use, namespace, universal_id, known).key
    return under_key(connection, use, identifier, key)


def as_known(connection: Connection, change: OrderChange) -> OrderChange:
    """An order change under the keys of its authorities, as far as they are known; nothing is learnt."""
    return change.settled(lambda use, identifier, _: canonical(connection, use, identifier))


def under_key(connection: Connection, use: AuthorityUse, identifier: EntityId, key: str) -> EntityId:
    """An identifier under the key of its authority, but for a patient who is kept apart under a universal ID."""
    namespace, universal_id = authorities.names(identifier)
    if use is AuthorityUse.PATIENT and not namespace and key != universal_id:
        apart = reading.find_patient(connection, identifier.number, universal_id)
        if apart is not None and apart.issuer == universal_id:
            return replace(identifier, issuer=universal_id, universal=key)
    return replace(identifier, issuer=key)
