"""The list of the mapping profiles in force: whom each serves, who changed it last and why, and how to undo that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import APIRouter, Request, Response

from broker.accounts.roles import Right
from broker.admin.context import AdminContext, profiles_of
from broker.admin.routers import page_router
from broker.admin.web import shell
from broker.admin.web.mappings.words import path_of
from broker.admin.web.search import Finder, SearchHit, Wanted
from broker.admin.web.shell import PageLink
from broker.admin.web.words import Sentence
from broker.orders.mapping_texts import Listed

LINK = PageLink(title=Sentence("Mappings"), path="/mappings", icon="mappings", right=Right.STATUS)


@dataclass(frozen=True, slots=True)
class MappingsView:
    """The profiles: those of the site, the last change first, then built-in ones."""

    profiles: Sequence[Listed]


def router(context: AdminContext) -> APIRouter:
    """The route of the list."""
    routes = page_router(Right.STATUS)

    @routes.get("/mappings")
    def page(request: Request) -> Response:
        profiles = sorted(profiles_of(context), key=lambda one: (not one.version, -one.at, one.name))
        return shell.render(request, "mappings", MappingsView(profiles))

    return routes


def finder(context: AdminContext) -> Finder:
    """Find profiles by their names and senders."""

    def find(wanted: Wanted) -> list[SearchHit]:
        return [
            SearchHit(
                title=one.name, path=path_of(one.name), kind=Sentence("mapping profile"), detail=", ".join(one.senders)
            )
            for one in context.mappings.in_force()
            if wanted.in_text(one.name, one.description, *one.senders)
        ]

    return Finder(find=find, right=Right.STATUS)
