"""Serves `/api/v1/worklist/sources`: imports from other worklist servers. Answers hold counts and causes only."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field

from broker.admin.context import AdminContext
from broker.admin.imports import ImportItemView, item_view
from broker.admin.problems import Problem
from broker.worklist.source.account import ImportAccount


class ImportBody(BaseModel):
    """How to import."""

    model_config = ConfigDict(extra="forbid")

    dry_run: bool = False


class SourceReport(BaseModel):
    """What became of an import: items by outcome, why some were refused, attributes that orders do not keep.

    `items` are those that were refused or left out, that ended as they ended there, or that were taken with findings.
    """

    node: str
    dry_run: bool
    complete: bool = Field(description="The server told all it has, and all of it could be read")
    error: str = Field(description="Code of what ended the import, empty if nothing did")
    outcomes: dict[str, int]
    reasons: dict[str, int]
    left_out: dict[str, int]
    items: list[ImportItemView] = []


def router(context: AdminContext) -> APIRouter:
    """Routes under /api/v1/worklist/sources, for admins."""
    routes = APIRouter(prefix="/api/v1/worklist/sources", tags=["worklist"])

    @routes.post("/{node}/import")
    async def run(node: Annotated[str, Path(max_length=64)], body: ImportBody | None = None) -> SourceReport:
        """Take over the worklist of a node now, at most 100 seconds long. With `dry_run` nothing is written."""
        account = await context.sources.run(node, dry=body is not None and body.dry_run)
        if account is None:
            raise Problem(404, "No such node with role worklist")
        return report(account)

    return routes


def report(account: ImportAccount) -> SourceReport:
    """An import as REST and commands show it."""
    return SourceReport(
        node=account.node,
        dry_run=account.dry,
        complete=account.complete,
        error=account.error,
        outcomes=dict(account.counts),
        reasons=dict(account.reasons),
        left_out=dict(account.left_out),
        items=[item_view(note) for note in account.named],
    )
