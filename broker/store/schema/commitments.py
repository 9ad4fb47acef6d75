"""The tables of storage commitment. `store.schema.tables` has all tables."""

from __future__ import annotations

from sqlalchemy import Index, UniqueConstraint, text
from sqlmodel import Field

from broker.store.schema.base import BIG, Base

_OPEN = text("state = 'open'")
_LEFT = text("state = 'judged' and filed > 0")
_HAS_OBJECT = text("instance <> 0")


class CommitmentRow(Base, table=True):
    """A request of a modality. One that repeats the Transaction UID of another one has a row of its own."""

    __tablename__ = "commitment"
    __table_args__ = (
        UniqueConstraint("transaction_uid", "repeat"),
        Index("ix_commitment_due", "due_at", sqlite_where=_OPEN, postgresql_where=_OPEN),
        Index("ix_commitment_open", "node", sqlite_where=_OPEN, postgresql_where=_OPEN),
        Index("ix_commitment_left", "id", sqlite_where=_LEFT, postgresql_where=_LEFT),
    )
    id: int | None = Field(default=None, primary_key=True, sa_type=BIG)
    transaction_uid: str
    repeat: int  # 0: the first with this Transaction UID
    node: str
    calling_ae: str
    called_ae: str
    peer: str
    received_at: float
    count: int
    listed: bytes  # the objects in their order, see `store.commitments.packing`
    digest: bytes  # SHA-256 of what `listed` holds
    state: str  # store.commitments.states.CommitmentState
    due_at: float  # when it is looked at next
    looks: int
    filed: int  # objects that have rows
    verdict: bytes  # of each object, once all are judged
    committed: int
    judged_at: float | None


class CommitmentObjectRow(Base, table=True):
    """An object of a request that is not judged as a whole. What it names is not purged."""

    __tablename__ = "commitment_object"
    __table_args__ = (
        Index("ix_commitment_object_instance", "instance", sqlite_where=_HAS_OBJECT, postgresql_where=_HAS_OBJECT),
    )
    commitment: int = Field(foreign_key="commitment.id", ondelete="CASCADE", primary_key=True, sa_type=BIG)
    position: int = Field(primary_key=True)
    instance: int = Field(sa_type=BIG)  # row of the newest version; 0: none has come
    reason: int  # store.commitments.states.OPEN, COMMITTED or a failure reason


class CommitmentAskRow(Base, table=True):
    """A request of ours to an archive, for objects of a request of a modality that it has been sent."""

    __tablename__ = "commitment_ask"
    id: int | None = Field(default=None, primary_key=True, sa_type=BIG)
    commitment: int = Field(foreign_key="commitment.id", ondelete="CASCADE", index=True, sa_type=BIG)
    node: str
    attempt: int  # 1: the first for its objects
    positions: bytes
    state: str  # store.commitments.states.AskState
    made_at: float
    asked_at: float  # 0: never
    answered_at: float  # 0: never
    answer: bytes  # of each object; empty: none


class CommitmentUidRow(Base, table=True):
    """A Transaction UID that we have sent, or are about to: each try has its own."""

    __tablename__ = "commitment_uid"
    transaction_uid: str = Field(primary_key=True)
    ask: int = Field(foreign_key="commitment_ask.id", ondelete="CASCADE", index=True, sa_type=BIG)


class CommittedRow(Base, table=True):
    """A delivery (job) of which its destination has proven that it has the object."""

    __tablename__ = "committed"
    job: int = Field(foreign_key="job.id", ondelete="CASCADE", primary_key=True, sa_type=BIG)
    at: float
