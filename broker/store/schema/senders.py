"""The table of how often HL7 senders send. `store.schema.tables` has it."""

from __future__ import annotations

from sqlmodel import Field

from broker.store.schema.base import BIG, Base


class SenderRow(Base, table=True):
    """An HL7 sender and its usual rhythm (`status.rhythm`). The row without a name says how far the journal is read."""

    __tablename__ = "sender"
    name: str = Field(primary_key=True)  # `MSH-3|MSH-4`
    last_at: float  # of its last message
    messages: int = Field(sa_type=BIG)  # how many; without a name: the last row of the journal that was counted
    rhythm: str  # JSON
