"""The list of all nodes: state, last contact in and out, what waits and what is held."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fastapi import APIRouter, Request, Response

from broker.accounts.roles import Right
from broker.admin.context import AdminContext
from broker.admin.routers import page_router
from broker.admin.sharing import shared
from broker.admin.web import shell
from broker.admin.web.listing import Asked, Column, Filter, Listing, Table
from broker.admin.web.nodes.words import CONTACTS, ROLES, STATES, ListedNode, path_of, rows_of
from broker.admin.web.search import Finder, SearchHit, Wanted
from broker.admin.web.shell import PageLink
from broker.admin.web.words import Sentence
from broker.model.contact import Contact, ContactKind
from broker.worklist.explain.strangers import strangers

LINK = PageLink(title=Sentence("Nodes"), path="/nodes", icon="nodes", right=Right.STATUS)
TABLE = Table(
    path="/nodes",
    region="nodes",
    title=Sentence("Nodes in force"),
    columns=(
        Column(name="name", title=Sentence("Node"), sortable=True),
        Column(name="state", title=Sentence("State"), sortable=True),
        Column(name="title", title=Sentence("Title")),
        Column(name="address", title=Sentence("Address")),
        Column(name="roles", title=Sentence("Roles")),
        Column(name="in", title=Sentence("Last contact in"), sortable=True),
        Column(name="out", title=Sentence("Last contact out"), sortable=True),
        Column(name="waiting", title=Sentence("Waiting"), sortable=True, numeric=True),
        Column(name="held", title=Sentence("Held"), sortable=True, numeric=True),
    ),
    filters=(
        Filter(name="q", title=Sentence("Search"), kind="search", hint=Sentence("name, title or address")),
        Filter(
            name="state",
            title=Sentence("State"),
            kind="choice",
            choices=tuple((state, word) for state, (_, word) in STATES.items()),
        ),
        Filter(name="role", title=Sentence("Role"), kind="choice", choices=tuple(ROLES.items())),
    ),
    size=50,
)


@dataclass(frozen=True, slots=True)
class NodesView:
    """The nodes that match, words for roles and contacts, and how many devices knock."""

    listing: Listing[ListedNode]
    roles: Mapping[str, Sentence]
    contacts: Mapping[ContactKind, Sentence]
    knocking: int
    any: bool


def router(context: AdminContext) -> APIRouter:
    """The route of the list."""
    routes = page_router(Right.STATUS)

    @routes.get("/nodes", dependencies=[shared()])
    def page(request: Request) -> Response:
        asked = TABLE.ask(request.query_params)
        nodes = context.directory.nodes
        rows = _sorted([row for row in rows_of(context, nodes) if _matches(row, asked)], asked.sort)
        begin = int(asked.after) if asked.after.isdecimal() else 0
        places = {id(row): number for number, row in enumerate(rows, 1)}
        listing = asked.filled(rows[begin : begin + TABLE.size + 1], len(rows), lambda row: str(places[id(row)]))
        alone = shell.REGION_HEADER in request.headers  # then the number, which stands outside, is not shown
        knocking = 0 if alone else len(strangers(context.database, context.directory, context.contacts.all()))
        return shell.render(request, "nodes", NodesView(listing, ROLES, CONTACTS, knocking, bool(nodes)))

    return routes


def _matches(row: ListedNode, asked: Asked) -> bool:
    text = asked.values.get("q", "").casefold()
    found = any(text in part.casefold() for part in (row.node.name, row.title, row.address))
    role = asked.values.get("role")
    return found and asked.values.get("state", row.node.state) == row.node.state and role in (None, *row.node.roles)


def _sorted(rows: list[ListedNode], sort: str) -> list[ListedNode]:
    """In the order of a column; without one in that of the document."""

    def key(row: ListedNode) -> tuple[float, str]:
        numbers = {
            "in": _at(row.last_in),
            "out": _at(row.last_out),
            "waiting": float(row.waiting),
            "held": float(row.held),
        }
        text = row.state[1].text if sort.endswith("state") else ""
        return numbers.get(sort.removeprefix("-"), 0.0), text + row.node.name.casefold()

    return sorted(rows, key=key, reverse=sort.startswith("-")) if sort else rows


def _at(contact: Contact | None) -> float:
    return contact.at if contact is not None else 0.0


def finder(context: AdminContext) -> Finder:
    """Find nodes by their names, titles and addresses."""

    def find(wanted: Wanted) -> list[SearchHit]:
        return [
            SearchHit(title=node.name, path=path_of(node.name), kind=Sentence("node"), detail=node.ae_title)
            for node in context.directory.nodes
            if wanted.in_text(node.name, node.ae_title, node.application, node.host)
        ]

    return Finder(find=find, right=Right.STATUS)
