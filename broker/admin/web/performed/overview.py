"""The list of performed procedure steps (MPPS), the newest first: which ones wait for a person, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request, Response

from broker.accounts.roles import Right
from broker.admin.context import AdminContext
from broker.admin.routers import page_router
from broker.admin.viewing import shows, viewing_of
from broker.admin.web import shell
from broker.admin.web.listing import CAP, Column, Filter, Listing, Table
from broker.admin.web.performed import words
from broker.admin.web.shell import PageLink
from broker.admin.web.words import Sentence
from broker.status.causes import reason
from broker.store.mpps import performed_steps

LINK = PageLink(title=Sentence("Performed steps"), path="/performed", icon="performed", right=Right.PATIENTS)
WAITING = "waiting"
TABLE = Table(
    path="/performed",
    region="performed",
    title=Sentence("Performed steps"),
    columns=(
        Column(name="began", title=Sentence("Began")),
        Column(name="station", title=Sentence("Station")),
        Column(name="state", title=Sentence("State")),
        Column(name="link", title=Sentence("Order")),
        Column(name="why", title=Sentence("Why a person must look")),
    ),
    filters=(
        Filter(
            name="attention",
            title=Sentence("Who must look"),
            kind="choice",
            choices=((WAITING, Sentence("waits for a person")),),
        ),
        Filter(
            name="status",
            title=Sentence("State"),
            kind="choice",
            choices=tuple((status.lower().replace(" ", "-"), word) for status, (_, word) in words.STATES.items()),
        ),
        Filter(
            name="linking",
            title=Sentence("Order"),
            kind="choice",
            choices=tuple((str(linking), word) for linking, (_, word) in words.LINKS.items()),
        ),
    ),
)
_STATUSES = {status.lower().replace(" ", "-"): str(status) for status in words.STATES}


@dataclass(frozen=True, slots=True, kw_only=True)
class PerformedLine:
    """A performed step in words. `why`: why a person must look, None for no need."""

    row: int
    began: float
    station: str
    modality: str
    state: tuple[str, Sentence]
    link: tuple[str, Sentence]
    why: Sentence | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PerformedView:
    """A page of performed steps."""

    listing: Listing[PerformedLine]


def router(context: AdminContext) -> APIRouter:
    """The route of the list."""
    routes = page_router(Right.PATIENTS)

    @routes.get("/performed", dependencies=[shows("mpps")])
    def page(request: Request) -> Response:
        asked = TABLE.ask(request.query_params)
        values = {
            "status": _STATUSES.get(asked.values.get("status", ""), ""),
            "linking": asked.values.get("linking", ""),
            "attention": "*" if asked.values.get("attention") else "",
        }
        wanted = {name: value for name, value in values.items() if value}
        before = int(asked.after) if asked.after.isdecimal() and len(asked.after) < 19 else 2**63 - 1
        found = context.database.read(performed_steps.listed, wanted, before, TABLE.size + 1).result()
        total = context.database.read(performed_steps.count, wanted, CAP + 1).result()
        lines = [_line(row) for row in found[: TABLE.size]]
        viewing_of(request).many(len(lines), asked.values)
        more = str(lines[-1].row) if len(found) > TABLE.size else ""
        listing = Listing(asked=asked, rows=lines, total=total, next_key=more)
        return shell.render(request, "performed", PerformedView(listing=listing))

    return routes


def _line(row: dict[str, Any]) -> PerformedLine:
    return PerformedLine(
        row=row["id"],
        began=row["started_at"],
        station=row["station"],
        modality=row["modality"],
        state=words.STATES[row["status"]],
        link=words.LINKS[row["linking"]],
        why=reason(row["attention"]) if row["attention"] else None,
    )
