"""REST for other worklist servers: `/api/v1/worklist/sources`. Counts and causes, no patients."""

from __future__ import annotations

from typing import Annotated, Protocol

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field

from broker.admin.problems import Problem


class ImportBody(BaseModel):
    """How to import."""

    model_config = ConfigDict(extra="forbid")

    dry_run: bool = False


class SourceReport(BaseModel):
    """What became of an import: items by outcome, why some were refused, attributes that orders do not keep."""

    node: str
    dry_run: bool
    complete: bool = Field(description="The server told all it has, and all of it could be read")
    error: str = Field(description="Code of what ended the import, empty if nothing did")
    outcomes: dict[str, int]
    reasons: dict[str, int]
    left_out: dict[str, int]


class Desk(Protocol):
    """Where imports are done."""

    async def run(self, name: str, *, dry: bool) -> SourceReport | None:
        """Import now; None for a node that is no worklist."""
        ...


def router(desk: Desk) -> APIRouter:
    """Routes under /api/v1/worklist/sources, for admins."""
    routes = APIRouter(prefix="/api/v1/worklist/sources", tags=["worklist"])

    @routes.post("/{node}/import")
    async def run(node: Annotated[str, Path(max_length=64)], body: ImportBody | None = None) -> SourceReport:
        """Take over the worklist of a node now, at most 100 seconds long. With `dry_run` nothing is written."""
        report = await desk.run(node, dry=body is not None and body.dry_run)
        if report is None:
            raise Problem(404, "No such node with role worklist")
        return report

    return routes
