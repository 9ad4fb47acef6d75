"""Serves `/api/v1/status`: how the broker is, in the words of *Now* and of `broker status`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from broker.accounts.roles import Right
from broker.admin.routers import admin_router
from broker.admin.status import LAST, StatusSource, StatusView, view_of
from broker.status.rates import MinuteCount


def router(source: StatusSource) -> APIRouter:
    """Routes under /api/v1/status, for all who may see states."""
    routes = admin_router("/api/v1/status", Right.STATUS, tags=["status"])

    @routes.get("")
    async def status() -> StatusView:
        """Show how the broker is, and all that is known of it. Without patient data."""
        return view_of(await source.status(), source.zone)

    @routes.get("/rates")
    def rates(
        since: Annotated[float, Query(ge=0, le=LAST, description="Only minutes that began after, s since 1970")] = 0,
    ) -> list[MinuteCount]:
        """Show what went through in each minute of the last six hours, oldest first."""
        return source.rates.since(since)

    return routes
