"""The page of one mapping profile: whom it serves, its text by lines, its examples with their results, its history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import APIRouter, Request, Response

from broker.accounts.roles import Right
from broker.admin.context import AdminContext, profiles_of
from broker.admin.routers import page_router
from broker.admin.web import shell
from broker.admin.web.mappings.words import missing
from broker.orders.mapping_texts import Listed
from broker.orders.trying.draft import DraftCheck
from broker.store.configurations import Publication

RECENT = 5  # versions that are shown


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingPageView:
    """A profile in force. `check`: what its examples come to now; `older`: how many versions are not shown."""

    profile: Listed
    lines: Sequence[str]
    check: DraftCheck
    versions: Sequence[Publication]
    older: int


def router(context: AdminContext) -> APIRouter:
    """The route of the page."""
    routes = page_router(Right.STATUS)

    @routes.get("/mappings/{name}")
    def page(request: Request, name: str) -> Response:
        profile = next((one for one in profiles_of(context) if one.name == name), None)
        if profile is None:
            raise missing()
        text = context.mappings.export(name)
        versions = context.mappings.history(name)
        view = MappingPageView(
            profile=profile,
            lines=text.rstrip("\n").split("\n"),
            check=context.mappings.draft(text),
            versions=versions[:RECENT],
            older=max(0, len(versions) - RECENT),
        )
        return shell.render(request, "mapping", view)

    return routes
