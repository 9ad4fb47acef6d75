"""The tables of the journal of HL7 messages, received and sent. `store.schema.tables` has them all."""

from __future__ import annotations

from sqlalchemy import Index, text
from sqlmodel import Field

from broker.store.schema.base import BIG, EMPTY, Base


class MessageRow(Base, table=True):
    """Journal of received HL7 messages: raw bytes and the answer given."""

    __tablename__ = "message"
    __table_args__ = (
        Index(
            "uq_message_accepted",
            "sender",
            "control_id",
            "digest",
            unique=True,
            sqlite_where=text("accepted"),
            postgresql_where=text("accepted"),
        ),
        Index(
            "ix_message_refused",
            "received_at",
            sqlite_where=text("NOT accepted"),
            postgresql_where=text("NOT accepted"),
        ),
    )
    id: int | None = Field(default=None, primary_key=True, sa_type=BIG)
    received_at: float = Field(index=True)
    listener: str
    peer: str
    sender: str
    control_id: str
    message_type: str
    digest: bytes
    raw: bytes
    accepted: bool
    answer_code: str
    answer: bytes
    note: str
    # of a refused one that a person has dealt with: when (null: it waits for one), who, and what was done
    dealt_at: float | None = Field(default=None)
    dealt_by: str = Field(default="", sa_column_kwargs=EMPTY)
    dealt_note: str = Field(default="", sa_column_kwargs=EMPTY)


class SentMessageRow(Base, table=True):
    """Journal of HL7 messages that were sent to a RIS, one row for each try: raw bytes, and the answer that came."""

    __tablename__ = "sent_message"
    __table_args__ = (Index("ix_sent_message_request", "request", "at"), Index("ix_sent_message_at", "at"))
    id: int | None = Field(default=None, primary_key=True, sa_type=BIG)
    at: float  # when the answer came, or was given up
    node: str
    request: int = Field(sa_type=BIG)  # the order that it tells of
    job: int = Field(sa_type=BIG)
    event: str  # orders.telling.feedback.OrderEvent
    control_id: str
    message_type: str
    raw: bytes
    answer_code: str  # MSA-1; empty if none came
    answer: bytes
    error: str  # why none came, or the error code that it tells
