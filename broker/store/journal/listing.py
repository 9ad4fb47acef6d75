"""Lists the journal, received and sent messages as one, the newest first, a page at a time (`store.db.newest`).

The index of times leads, or that of refused messages where only these are meant; rows of an order or a patient are read
by their keys. Places of the two journals are told apart by their number: twice the row, and one more for a received
message.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, and_, case, func, literal, or_, select, text

from broker.hl7.codes import AckCode
from broker.model.message import Direction, JournalFilter, JournalRow, MessageRecord, Refusal, SentMessage
from broker.store.db import newest
from broker.store.db.newest import Place, RowKey, Source
from broker.store.db.pace import padded
from broker.store.journal.holding import holds
from broker.store.orders.messages import SHOWN
from broker.store.schema import tables

_message, _sent = tables.message, tables.sent_message
FAR = 4_000  # messages that a filter is asked of for one page: each is read with its bytes
_REFUSALS = frozenset({AckCode.AE, AckCode.AR, AckCode.CE, AckCode.CR})
_REFUSED = text("NOT accepted")  # bare, as the partial index says it
_OF_SENT = tuple(column.label("row") if column.name == "id" else column for column in _sent.c if column.name != "raw")
_Condition = ColumnElement[bool]


@dataclass(frozen=True, slots=True)
class JournalPage:
    """Messages, the newest first. `after`: where the next page begins, None behind the last one."""

    rows: list[JournalRow]
    after: Place | None


@dataclass(frozen=True, slots=True)
class _Journal:
    """One of the two journals as a filter asks for it. `lead`: what an index knows; `rest`: what each row is asked.

    `odd`: 1 for the journal of received messages, whose places have odd numbers.
    """

    at: Column[float]
    row: Column[Any]
    lead: tuple[Any, ...]
    rest: _Condition | None
    odd: int


def page(connection: Connection, wanted: JournalFilter, after: Place | None, limit: int) -> JournalPage:
    """At most `limit` messages that are wanted, older than the place `after`."""
    journals = list(_journals(connection, wanted))
    sources: list[Source] = [partial(_keys, connection, journal) for journal in journals]
    whole = all(journal.rest is None for journal in journals)
    found = newest.page(sources, after, limit, limit if whole else min(newest.LOOK, FAR), FAR)
    return JournalPage(_load(connection, [number for _, number in found.places]), found.after)


def count(connection: Connection, wanted: JournalFilter, most: int) -> tuple[int, bool]:
    """How many messages are wanted, of the newest that are looked at, and whether that is all. Not beyond `most`."""
    found, whole = 0, True
    for journal in _journals(connection, wanted):
        rows = most + 1 if journal.rest is None else FAR
        fits = literal(1) if journal.rest is None else case((journal.rest, 1), else_=0)
        looked_at = (
            select(fits.label("fits"))
            .select_from(journal.at.table)
            .where(*journal.lead)
            .order_by(journal.at.desc())
            .limit(rows)
            .subquery()
        )
        query = select(func.count(), func.sum(looked_at.c.fits)).select_from(looked_at)
        looked, fit = connection.execute(query).one()
        found, whole = found + int(fit or 0), whole and looked < rows
    return min(found, most), whole and found <= most


def _journals(connection: Connection, wanted: JournalFilter) -> Iterator[_Journal]:
    only_in = wanted.refusal is not None
    if wanted.direction is not Direction.OUT and wanted.received != ():
        yield _received(connection, wanted)
    if wanted.direction is not Direction.IN and wanted.sent != () and not only_in:
        yield _sent_ones(connection, wanted)


def _received(connection: Connection, wanted: JournalFilter) -> _Journal:
    t = _message.c
    lead: list[Any] = _times(t.received_at, wanted)
    if wanted.refusal is not None or wanted.answer_code in _REFUSALS:
        lead.append(_REFUSED)
    if wanted.received is not None:
        lead.append(t.id.in_(padded(wanted.received)))
    rest = [
        *_beginning(t.sender, wanted.party, "|"),
        *_beginning(t.message_type, wanted.message_type, "^"),
        *([t.answer_code == wanted.answer_code] if wanted.answer_code else []),
    ]
    if wanted.finding:
        noted = (" " + t.note + " ").contains(f":{wanted.finding} ", autoescape=True)
        rest.append(or_(noted, _tells(connection, t.answer, wanted.finding)))
    if wanted.refusal in (Refusal.OPEN, Refusal.DEALT):
        rest.append(t.dealt_at.is_(None) if wanted.refusal is Refusal.OPEN else t.dealt_at.is_not(None))
    return _Journal(t.received_at, t.id, tuple(lead), and_(*rest) if rest else None, 1)


def _sent_ones(connection: Connection, wanted: JournalFilter) -> _Journal:
    t = _sent.c
    lead: list[Any] = _times(t.at, wanted)
    if wanted.sent is not None:
        lead.append(t.id.in_(padded(wanted.sent)))
    rest = [
        *([t.node == wanted.party] if wanted.party else []),
        *_beginning(t.message_type, wanted.message_type, "^"),
        *([t.answer_code == wanted.answer_code] if wanted.answer_code else []),
        *([or_(t.error == wanted.finding, _tells(connection, t.answer, wanted.finding))] if wanted.finding else []),
    ]
    return _Journal(t.at, t.id, tuple(lead), and_(*rest) if rest else None, 0)


def _times(at: Column[float], wanted: JournalFilter) -> list[Any]:
    since = [] if wanted.since is None else [at >= wanted.since]
    return since + ([] if wanted.until is None else [at < wanted.until])


def _beginning(column: Column[str], value: str, mark: str) -> list[_Condition]:
    """The whole value where it has the mark, else its part before the mark."""
    if not value:
        return []
    if mark in value:
        return [column == value]
    return [func.substr(column, 1, len(value) + 1) == value + mark]  # LIKE takes any case on SQLite


def _tells(connection: Connection, answer: Column[bytes], code: str) -> _Condition:
    """An answer holds an ERR with a code: ERR-3.1, before 2.5 ERR-1.4.1, in the usual separators."""
    return or_(holds(connection, answer, f"|{code}^".encode()), holds(connection, answer, f"^{code}&".encode()))


def _keys(connection: Connection, journal: _Journal, after: Place | None, size: int) -> Sequence[RowKey]:
    at, row, odd = journal.at, journal.row, journal.odd
    fits = literal(1) if journal.rest is None else case((journal.rest, 1), else_=0)
    query = select(at, row, fits).where(*journal.lead).order_by(at.desc(), row.desc()).limit(size)
    if after is not None:
        before = (after[1] - odd + 1) // 2  # the rows whose number is less
        query = query.where(at <= after[0], or_(at < after[0], row < before))
    return [RowKey((time, 2 * number + odd), bool(fit)) for time, number, fit in connection.execute(query)]


def _load(connection: Connection, numbers: Sequence[int]) -> list[JournalRow]:
    received = [number // 2 for number in numbers if number % 2]
    sent = [number // 2 for number in numbers if not number % 2]
    found: dict[int, JournalRow] = {}
    if received:
        query = select(*SHOWN).where(_message.c.id.in_(padded(received)))
        found |= {2 * row.row + 1: MessageRecord(**row._mapping) for row in connection.execute(query)}
    if sent:
        query = select(*_OF_SENT).where(_sent.c.id.in_(padded(sent)))
        found |= {2 * row.row: SentMessage(**row._mapping) for row in connection.execute(query)}
    return [found[number] for number in numbers if number in found]
