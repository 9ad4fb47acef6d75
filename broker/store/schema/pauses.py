"""The table of nodes that a person has paused. `store.schema.tables` has all tables."""

from __future__ import annotations

from sqlmodel import Field

from broker.store.schema.base import BIG, Base


class PauseRow(Base, table=True):
    """A node to which nothing is sent until a person resumes it; while it drains, the jobs up to `last_job` are."""

    __tablename__ = "pause"
    node: str = Field(primary_key=True)
    last_job: int = Field(sa_type=BIG)  # 0: nothing is sent
    since: float
    actor: str
    reason: str
