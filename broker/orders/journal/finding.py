"""Finds the messages of an exam or a patient: by our numbers, or by what somebody types."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from broker.model.message import JournalFilter
from broker.store.audit import trail
from broker.store.db.newest import Place
from broker.store.journal import linked, listing
from broker.store.journal.listing import JournalPage

MOST = 20  # refused messages that a typed text leads to
SHORTEST = 3  # characters that are looked for in refused messages


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Whose messages are meant: of orders, of patients, or just some received ones; by our rows. None: whosever."""

    orders: tuple[int, ...] | None = None
    patients: tuple[int, ...] | None = None
    only: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class ListedMessages:
    """A page of the journal; how many messages match, and whether that is all of them."""

    page: JournalPage
    total: int
    whole: bool


def listed(
    connection: Connection, wanted: JournalFilter, subject: Subject, after: Place | None, limit: int, most: int
) -> ListedMessages:
    """A page of the messages that are wanted, counted up to `most`."""
    narrowed = narrow(connection, wanted, subject)
    total, whole = listing.count(connection, narrowed, most) if most else (0, False)
    return ListedMessages(listing.page(connection, narrowed, after, limit), total, whole)


def narrow(connection: Connection, wanted: JournalFilter, subject: Subject) -> JournalFilter:
    """What is wanted, of a subject only."""
    received: list[Iterable[int]] = [] if subject.only is None else [subject.only]
    sent: list[Iterable[int]] = [] if subject.only is None else [()]
    for rows, of in ((subject.orders, linked.of_orders), (subject.patients, linked.of_patients)):
        if rows is not None:
            found = of(connection, rows)
            received.append(found.received)
            sent.append(found.sent)
    return replace(wanted, received=_common(received), sent=_common(sent))


def _common(parts: list[Iterable[int]]) -> tuple[int, ...] | None:
    return tuple(sorted(set.intersection(*map(set, parts)), reverse=True)) if parts else None


def by_text(connection: Connection, text: str) -> Subject | None:
    """Whose messages are meant by a number that somebody typed; None if it is known nowhere.

    An accession, placer or filler number of an order, an identifier of a patient, else a text in the newest refused
    messages: what they ask for is stored nowhere else.
    """
    if orders := linked.orders_with(connection, text):
        return Subject(orders=orders)
    if patients := trail.patients(connection, text):
        return Subject(patients=patients)
    words = text.encode("utf-8")
    rows = linked.refused_with(connection, words, MOST) if len(text) >= SHORTEST else ()
    return Subject(only=rows) if rows else None
