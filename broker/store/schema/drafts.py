"""The tables of rules that are not in force yet: drafts of people, and versions that come into force at a time."""

from __future__ import annotations

from sqlmodel import Field, Index

from broker.store.schema.base import BIG, EMPTY, ZERO, Base


class RuleDraftRow(Base, table=True):
    """The draft of the rules of one author. The row stays, without a text, when the draft has ended."""

    __tablename__ = "rule_draft"
    id: int | None = Field(default=None, primary_key=True, sa_type=BIG)
    author: str = Field(unique=True)  # as the audit trail names callers
    revision: int  # grows with each change
    base: int  # the version of the rules that it was made of
    document: str  # JSON; empty: there is no draft
    changed_at: float


class RulePlanRow(Base, table=True):
    """A version of the rules that comes into force at a time, or that has, or was to."""

    __tablename__ = "rule_plan"
    __table_args__ = (Index("ix_rule_plan_state", "state", "due_at"),)
    id: int | None = Field(default=None, primary_key=True, sa_type=BIG)
    state: str  # planned | done | canceled | failed
    due_at: float
    base: int  # the version that was in force when it was planned: it replaces no other
    again: int = Field(default=0, sa_column_kwargs=ZERO)  # the older version that it is, 0 for a draft
    document: str  # JSON
    author: str  # who wrote it
    reason: str
    planned_by: str
    planned_at: float
    address: str = Field(default="", sa_column_kwargs=EMPTY)
    version: int = Field(default=0, sa_column_kwargs=ZERO)  # that it became
    failure: str = Field(default="", sa_column_kwargs=EMPTY)  # why it did not come into force
