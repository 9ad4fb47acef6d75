"""Keeps the journal of received HL7 messages: their raw bytes and the answers given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, bindparam, insert, literal, null, select, text, union_all, update

from broker.model.message import JournaledMessage, MessageRecord, MessageSelection, ReceivedMessage
from broker.store.db.prepared import Prepared
from broker.store.schema import tables

_t = tables.message
_UNDEALT = {"dealt_by": "", "dealt_note": ""}
_GIVEN: dict[str, Any] = {c.name: bindparam(c.name) for c in _t.c if c.name not in {"id", "dealt_at", *_UNDEALT}}
_RECORD = Prepared(any=insert(_t).values({**_GIVEN, **_UNDEALT}).returning(_t.c.id))
# bare, as the partial index says it: `accepted = 1` would be another condition for SQLite, and a scan of the journal
HEAD = 4096  # bytes that are kept of a refused message of a stranger
_CUT = "head-of:"  # and the length of the whole, in the note
_SAME_ID = (text("accepted"), _t.c.sender == bindparam("sender"), _t.c.control_id == bindparam("control_id"))
# of a row for people
SHOWN = (
    _t.c.id.label("row"), _t.c.received_at, _t.c.listener, _t.c.peer, _t.c.sender, _t.c.control_id, _t.c.message_type,
    _t.c.accepted, _t.c.answer_code, _t.c.answer, _t.c.note, _t.c.dealt_at, _t.c.dealt_by, _t.c.dealt_note,
)  # fmt: skip
_JOINING = "joining"  # no code of an answer
_EARLIER = Prepared(
    any=union_all(
        select(_t.c.answer_code, _t.c.answer).where(*_SAME_ID, _t.c.digest == bindparam("digest")),
        select(null(), null()).where(select(_t.c.id).where(*_SAME_ID).exists()),
        select(literal(_JOINING), null()).where(select(tables.authority_join.c.use).exists()),
    )
)


def record(
    connection: Connection, message: ReceivedMessage, *, accepted: bool, answer_code: str, answer: bytes, note: str = ""
) -> int:
    """Append a message with its answer; the row. An accepted one is unique by sender, control id and bytes.

    Of a long one that is refused the head is kept where no more is wanted, with its length in the note.
    """
    raw = message.raw
    if message.head_only and not accepted and len(raw) > HEAD:
        raw, note = raw[:HEAD], f"{note} {_CUT}{len(raw)}".strip()
    values = {
        "received_at": message.received_at,
        "listener": message.listener,
        "peer": message.peer,
        "sender": message.sender,
        "control_id": message.control_id,
        "message_type": message.message_type,
        "digest": message.digest,
        "raw": raw,
        "accepted": accepted,
        "answer_code": answer_code,
        "answer": answer,
        "note": note,
    }
    return int(_RECORD.rows(connection, values)[0][0])


@dataclass(frozen=True, slots=True)
class Earlier:
    """What the same sender had accepted under a control id: code and bytes of the answer to the same message, and
    whether there was any message. `joining`: names of authorities are still being joined (`authorities.joins`).
    """

    answered: tuple[str, bytes] | None
    used: bool
    joining: bool


def earlier(connection: Connection, message: ReceivedMessage) -> Earlier:
    """What is known before a message is taken, by one statement."""
    named = {"sender": message.sender, "control_id": message.control_id, "digest": message.digest}
    rows = _EARLIER.rows(connection, named)
    found = [row for row in rows if row[0] != _JOINING]
    answered = next(((code, bytes(answer)) for code, answer in found if code is not None), None)
    return Earlier(answered, bool(found), len(found) < len(rows))


def select_messages(connection: Connection, selection: MessageSelection) -> list[JournaledMessage]:
    """The selected messages, oldest first; of more than `limit` the newest ones. Those cut are left out."""
    t = tables.message.c
    query = select(t.id, t.received_at, t.listener, t.sender, t.message_type, t.raw, t.accepted, t.answer_code)
    query = query.where(t.note.not_like(f"%{_CUT}%"))
    rows = connection.execute(_selected(query, selection)).all()
    return [
        JournaledMessage(
            row=row.id,
            received_at=row.received_at,
            listener=row.listener,
            sender=row.sender,
            message_type=row.message_type,
            raw=bytes(row.raw),
            accepted=bool(row.accepted),
            answer_code=row.answer_code,
        )
        for row in reversed(rows)
    ]


def load_record(connection: Connection, row: int) -> MessageRecord | None:
    """A row of the journal with the bytes of its message."""
    found = connection.execute(select(*SHOWN, _t.c.raw).where(_t.c.id == row)).one_or_none()
    return MessageRecord(**found._mapping) if found is not None else None


def _selected(query: Select[Any], selection: MessageSelection) -> Select[Any]:
    """A query for the selected messages, the newest first."""
    t = tables.message.c
    if selection.rows:
        query = query.where(t.id.in_(selection.rows))
    if selection.since:
        query = query.where(t.received_at >= selection.since)
    if selection.until is not None:
        query = query.where(t.received_at < selection.until)
    for column, wanted, mark in ((t.sender, selection.sender, "|"), (t.message_type, selection.message_type, "^")):
        if wanted:
            parts = (column == wanted) if mark in wanted else column.startswith(wanted + mark, autoescape=True)
            query = query.where(parts)
    if selection.answer_code:
        query = query.where(t.answer_code == selection.answer_code)
    return query.order_by(t.id.desc()).limit(selection.limit)


def add_note(connection: Connection, row: int, note: str) -> None:
    """Append to the note of a message."""
    t = tables.message
    before = connection.execute(select(t.c.note).where(t.c.id == row)).scalar_one()
    connection.execute(update(t).where(t.c.id == row).values(note=f"{before} {note}".strip()))
