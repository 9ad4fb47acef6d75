"""The table of series and studies whose objects wait until they are complete. `store.schema.tables` has them all."""

from __future__ import annotations

from sqlalchemy import Index, text
from sqlmodel import Field

from broker.store.schema.base import BIG, EMPTY, ZERO, Base

_LIST = {"server_default": "[]"}
_DONE, _UNDONE = text("state = 'done'"), text("state <> 'done'")


class GatheringRow(Base, table=True):
    """A series or study for which a rule of its level waits or was judged. Kept for images that come late."""

    __tablename__ = "gathering"
    __table_args__ = (
        Index("ix_gathering_due", "due_at", sqlite_where=_UNDONE, postgresql_where=_UNDONE),
        Index("ix_gathering_done", "last_at", sqlite_where=_DONE, postgresql_where=_DONE),
    )
    study_instance_uid: str = Field(primary_key=True)
    series_instance_uid: str = Field(primary_key=True)  # empty: the study
    state: str  # store.images.gatherings.GatheringPhase
    arrived: int  # receptions, the same object again included: who decides says which it has seen
    instances: int  # objects
    first_at: float
    opened_at: float  # of this round: the first object, or the first that came late
    last_at: float
    due_at: float  # when somebody looks; while somebody does, until when nobody else does
    fence: int = Field(default=0, sa_column_kwargs=ZERO)  # counts who took it
    expected: int | None = None  # objects with which it may be complete
    ended: int = Field(default=-1, sa_column_kwargs={"server_default": "-1"})  # receptions when their association ended
    again: int = Field(default=0, sa_column_kwargs=ZERO)  # 1: objects came again, for who gets the whole study again
    person: int = Field(default=0, sa_column_kwargs=ZERO)  # 1: a person let objects be routed again: look no further
    waits: str = Field(default="", sa_column_kwargs=EMPTY)  # what keeps it from being complete
    complete: str = Field(default="", sa_column_kwargs=EMPTY)  # why it was complete
    rules_version: int = Field(default=0, sa_column_kwargs=ZERO)
    trace: str = Field(default="[]", sa_column_kwargs=_LIST)  # marks of the rules and tests that were tried
    facts: str = Field(default="{}", sa_column_kwargs={"server_default": "{}"})
    applied_to: int = Field(default=0, sa_type=BIG, sa_column_kwargs=ZERO)  # instance: those up to it are done
    judged_at: float | None = None  # the first time
    judged_to: int = Field(default=0, sa_type=BIG, sa_column_kwargs=ZERO)  # instance: what is newer came late
    sent_to: str = Field(default="[]", sa_column_kwargs=_LIST)  # nodes that got it by rules of its level
