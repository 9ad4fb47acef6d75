"""The page of the settings in force: every key of `broker.toml` with its value and where that comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fastapi import APIRouter, Request, Response

from broker.accounts.roles import Right
from broker.admin.context import AdminContext
from broker.admin.routers import page_router
from broker.admin.web import shell
from broker.admin.web.listing import Asked, Column, Filter, Listing, Table
from broker.admin.web.shell import PageLink
from broker.admin.web.words import Sentence
from broker.settings.origins import EffectiveKey, KeySource

LINK = PageLink(title=Sentence("Settings"), path="/settings", icon="settings", right=Right.SITE)
SOURCES = {
    KeySource.DEFAULT: Sentence("default"),
    KeySource.FILE: Sentence("file"),
    KeySource.ENVIRONMENT: Sentence("environment"),
}
TABLE = Table(
    path="/settings",
    region="keys",
    title=Sentence("Keys of broker.toml"),
    columns=(
        Column(name="key", title=Sentence("Key"), sortable=True),
        Column(name="value", title=Sentence("Value")),
        Column(name="source", title=Sentence("Source"), sortable=True),
        Column(name="meaning", title=Sentence("Meaning")),
    ),
    filters=(
        Filter(name="q", title=Sentence("Search"), kind="search", hint=Sentence("key, value or meaning")),
        Filter(
            name="source",
            title=Sentence("Source"),
            kind="choice",
            choices=tuple((source.value, word) for source, word in SOURCES.items()),
        ),
    ),
    size=1000,
)


@dataclass(frozen=True, slots=True)
class SettingsView:
    """The keys that match, and the words of their sources."""

    listing: Listing[EffectiveKey]
    sources: Mapping[KeySource, Sentence]


def router(context: AdminContext) -> APIRouter:
    """The route of the page."""
    routes = page_router(Right.SITE)

    @routes.get("/settings")
    def page(request: Request) -> Response:
        asked = TABLE.ask(request.query_params)
        keys = _sorted([key for key in context.settings.in_force() if _matches(key, asked)], asked.sort)
        listing = asked.filled(keys, len(keys), lambda row: row.key)
        return shell.render(request, "settings", SettingsView(listing, SOURCES))

    return routes


def _matches(key: EffectiveKey, asked: Asked) -> bool:
    text = asked.values.get("q", "").casefold()
    found = any(text in part.casefold() for part in (key.key, key.value, key.meaning))
    return found and asked.values.get("source", key.source) == key.source


def _sorted(keys: list[EffectiveKey], sort: str) -> list[EffectiveKey]:
    """In the order of a column; without one in that of the file."""
    column = sort.removeprefix("-")
    return sorted(keys, key=lambda key: str(getattr(key, column)), reverse=sort.startswith("-")) if column else keys
