"""Counts the messages of each HL7 sender, by the hour, as far as the journal was not counted before.

`status.rhythm` makes of it what is usual. At most MOST senders are kept, as anybody may send under ever new names; who
has sent least is forgotten first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite

from broker.store.db.engine import is_sqlite
from broker.store.schema import tables

MOST = 100  # senders
LONGEST = 200  # characters of a sender: one with a longer name is not counted
_t, _message = tables.sender, tables.message
_MARK = ""  # name of the row that says how far the journal was counted


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderRecord:
    """What is kept of a sender. `last_at` in s since the epoch; `rhythm`: as `service.status.senders` writes it."""

    name: str
    last_at: float
    messages: int
    rhythm: str


@dataclass(frozen=True, slots=True)
class ReceivedFrom:
    """A row of the journal: who sent it, and when it came (s since the epoch)."""

    row: int
    sender: str
    at: float


def counted_to(connection: Connection) -> int | None:
    """The last row of the journal that was counted; None if none ever was."""
    row: int | None = connection.execute(select(_t.c.messages).where(_t.c.name == _MARK)).scalar()
    return row


def first_since(connection: Connection, at: float) -> int:
    """The row before the first one of the journal that was received since; the last row if there is none."""
    query = select(_message.c.id).where(_message.c.received_at >= at).order_by(_message.c.received_at).limit(1)
    first: int | None = connection.execute(query).scalar()
    if first is not None:
        return first - 1
    return int(connection.execute(select(func.max(_message.c.id))).scalar() or 0)


def received(connection: Connection, after: int, limit: int) -> list[ReceivedFrom]:
    """The next rows of the journal, oldest first."""
    query = select(_message.c.id, _message.c.sender, _message.c.received_at).where(_message.c.id > after)
    return [ReceivedFrom(*row) for row in connection.execute(query.order_by(_message.c.id).limit(limit))]


def all_of(connection: Connection) -> list[SenderRecord]:
    """All senders that are kept, the last to send first."""
    query = select(_t).where(_t.c.name != _MARK).order_by(_t.c.last_at.desc(), _t.c.name)
    return [SenderRecord(**row) for row in connection.execute(query).mappings()]


def keep(connection: Connection, senders: Iterable[SenderRecord], counted: int) -> None:
    """Write senders and how far the journal was counted; with too many of them those go who sent least."""
    mark = SenderRecord(name=_MARK, last_at=0.0, messages=counted, rhythm="")
    dialect = sqlite if is_sqlite(connection) else postgresql
    for record in (*senders, mark):
        values = {"last_at": record.last_at, "messages": record.messages, "rhythm": record.rhythm}
        statement = dialect.insert(_t).values(name=record.name, **values)
        connection.execute(statement.on_conflict_do_update(index_elements=[_t.c.name], set_=values))
    least = select(_t.c.name).where(_t.c.name != _MARK).order_by(_t.c.messages.desc(), _t.c.last_at.desc())
    surplus: Sequence[str] = connection.execute(least.offset(MOST)).scalars().all()
    if surplus:
        connection.execute(delete(_t).where(_t.c.name.in_(surplus)))
