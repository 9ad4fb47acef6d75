"""Serves `/api/v1/retention`: what is deleted next by its age, and how the last run of each rule went."""

from __future__ import annotations

from dataclasses import asdict

from fastapi import APIRouter
from pydantic import BaseModel, Field

from broker.accounts.roles import Right
from broker.admin.context import AdminContext
from broker.admin.routers import admin_router
from broker.admin.status import StatusDutyView
from broker.model.wording import in_english
from broker.status.retention import RetentionLine
from broker.store.ageing.preview import AHEAD


class RetentionRuleView(BaseModel):
    """A rule of retention. Times in s since 1970. Nothing of a rule with 0 days is deleted, but for `keep_days`."""

    name: str
    what: str = Field(description="What it deletes, in words")
    key: str = Field(description="The setting that says the days; empty if the program does")
    days: float
    over: int = Field(description="What the next run deletes")
    soon: int = Field(description="What is to be deleted within `days_ahead` after that, as things are now")
    kept: int = Field(description="What is old enough and stays, as something needs it still")
    more: bool = Field(description="There may be more of each: no more were counted")
    bytes_over: int | None = Field(description="Bytes of what the next run deletes; null for rows of the database")
    bytes_soon: int | None
    oldest: float | None = Field(description="The oldest row of all; null: there is none")
    after: list[str] = Field(description="Rules that may free what is kept; those before it in the same run")
    last_run: StatusDutyView | None = Field(description="Since the start; null: it has not run, or deletes nothing")


class RetentionView(BaseModel):
    """All rules in the order in which they run, as they were at a time (s since 1970)."""

    at: float
    days_ahead: int
    rules: list[RetentionRuleView]


def router(context: AdminContext) -> APIRouter:
    """The route, for who may see how the broker is: it tells numbers, and nothing of a patient."""
    routes = admin_router("/api/v1/retention", Right.STATUS, tags=["status"])

    @routes.get("")
    def retention() -> RetentionView:
        """Tell what is deleted next: `broker retention`. It is counted anew after half a minute."""
        found = context.retention.look()
        return RetentionView(at=found.at, days_ahead=AHEAD, rules=[_shown(line) for line in found.lines])

    return routes


def _shown(line: RetentionLine) -> RetentionRuleView:
    run = None if line.run is None else StatusDutyView(**asdict(line.run))
    return RetentionRuleView(what=in_english(line.what), last_run=run, **asdict(line.forecast))
