"""The page *Retention*: what is deleted next by its age, rule by rule, and how the last run of each went."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from broker.accounts.roles import Right
from broker.admin.context import AdminContext
from broker.admin.routers import page_router
from broker.admin.web import shell


def router(context: AdminContext) -> APIRouter:
    """The route of the page. *Now* leads to it, beside the duties of housekeeping."""
    routes = page_router(Right.STATUS)

    @routes.get("/retention")
    def page(request: Request) -> Response:
        return shell.render(request, "retention", context.retention.look())

    return routes
