"""Recognizes the authority of an identifier by any of its names, as far as these are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection

from broker.model.authority import AuthorityUse, KnownAuthority
from broker.model.order import EntityId
from broker.orders.core import authorities
from broker.orders.core.authorities import AuthorityMemory, Settle
from broker.orders.core.values import Change, OrderChange
from broker.store.orders import authorities as store
from broker.store.orders import joined_names, reading

AT_ONCE = 32  # numbers of each use that are joined by the message that teaches
NEWEST = 2000  # rows of a table among which they are looked for
_PATIENT = "PID^1^3"
_ORDER_NUMBERS = (AuthorityUse.PLACER, AuthorityUse.FILLER)
# what is named, by use: identifiers, of visits the patients (rows); each with where a message has it
Numbers = Mapping[AuthorityUse, Mapping[Any, str]]


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


def numbers(changes: Sequence[Change], also: Settle | None = None) -> Numbers:
    """The identifiers that changes name; a visit goes by its patient. `also` is called for each."""
    named: dict[AuthorityUse, dict[Any, str]] = {}

    def note(use: AuthorityUse, identifier: EntityId, location: str) -> EntityId:
        if identifier.number and use in (AuthorityUse.PATIENT, *_ORDER_NUMBERS):
            named.setdefault(use, {}).setdefault(identifier.number, location)
        return identifier if also is None else also(use, identifier, location)

    for change in changes:
        change.settled(note)
    return named


def with_newest(connection: Connection, numbers: Numbers, pair: KnownAuthority, location: str) -> Numbers:
    """The numbers, and those that came last under the universal ID alone, as many as one transaction may join."""
    newest: dict[Any, str] = {}
    for place in joined_names.PLACES[pair.use]:
        last = joined_names.last_row(connection, place)
        found = joined_names.numbers_of(connection, place, pair.universal_id, last - NEWEST, last)
        newest |= dict.fromkeys(found[-AT_ONCE:], location)
    some = dict(list(newest.items())[:AT_ONCE])
    return {**numbers, pair.use: {**some, **numbers.get(pair.use, {})}}


def people(connection: Connection, named: Numbers) -> Mapping[str, str]:
    """Identifiers of patients that are named, of the patients of named orders, and all others of these patients.

    Whether two orders are one depends on whom they are for.
    """
    found = dict(named.get(AuthorityUse.PATIENT, {}))
    for use in _ORDER_NUMBERS:
        for number in joined_names.patients_of_orders(connection, use, named.get(use, {})):
            found.setdefault(number, _PATIENT)
    for number in joined_names.company(connection, found, named.get(AuthorityUse.VISIT, ())):
        found.setdefault(number, _PATIENT)
    return found
