"""The table of notices that rules make. `store.schema.tables` has all tables."""

from __future__ import annotations

from sqlalchemy import UniqueConstraint
from sqlmodel import Field

from broker.store.schema.base import BIG, Base


class NoticeRow(Base, table=True):
    """What a node is told of a rule and a study: one row, however many objects the study has."""

    __tablename__ = "notice"
    __table_args__ = (UniqueConstraint("study", "rule", "node"),)
    id: int | None = Field(default=None, primary_key=True, sa_type=BIG)
    node: str
    rule: str
    study: str  # Study Instance UID; SOP Instance UID of an object that names no study
    at: float  # of the first object for which the rule acted
    detail: str  # JSON of store.notices.RuleNotice
