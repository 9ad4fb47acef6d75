"""Serves `/api/v1/conformance`: the DICOM conformance statement that the code and the configuration make."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, Field

from broker.admin.context import AdminContext
from broker.admin.routers import admin_router
from broker.conformance.building import statement_now
from broker.conformance.statement import StatementSection


class ConformanceView(BaseModel):
    """The statement. Sections are numbered as PS3.2 has them, and hold blocks of text, lists, tables and drawings."""

    product: str
    version: str
    ae_title: str
    number: str = Field(description="Document number: another one as soon as anything that is stated changes")
    made_on: str = Field(description="Date of today at the site, ISO 8601")
    sections: list[StatementSection]


def router(context: AdminContext) -> APIRouter:
    """The route, for every caller who is known: the statement names systems by their AE titles only."""
    routes = admin_router("/api/v1/conformance", None, tags=["settings"])

    @routes.get("")
    def conformance() -> ConformanceView:
        """Show the DICOM conformance statement by the outline of PS3.2: `broker conformance --json`."""
        statement = statement_now(context.settings, context.directory.nodes)
        return ConformanceView.model_validate(statement.document())

    return routes
