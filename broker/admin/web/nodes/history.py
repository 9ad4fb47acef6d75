"""The history of the nodes: each version with what it changed, when, by whom, why; compare two; go back to one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from broker.accounts.roles import Right
from broker.admin.context import AdminContext
from broker.admin.problems import Problem
from broker.admin.routers import NEEDS, page_router
from broker.admin.web import forms, shell
from broker.admin.web.nodes.words import refusal, signature
from broker.admin.web.words import Sentence
from broker.errors import BadContent, ConfigurationError
from broker.routing.site import NODES
from broker.store.configurations import Publication
from broker.versions.difference import Difference, difference
from broker.versions.in_force import NoSuchVersion

SIZE = 20  # versions of one page
LARGEST = 2**31 - 1  # number of a version


@dataclass(frozen=True, slots=True)
class VersionRow:
    """A version, and what it changed of the one before."""

    publication: Publication
    changes: Sequence[Difference]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeHistory:
    """Versions, newest first. `following`: from which the next page goes on, 0 for none.

    `compared`: the differences of two versions that a person chose.
    """

    versions: Sequence[VersionRow]
    newest: int
    following: int
    before: str = ""
    after: str = ""
    compared: Sequence[Difference] | None = None
    problem: Sentence | None = None


def router(context: AdminContext) -> APIRouter:
    """The routes of the history."""
    routes = page_router(Right.STATUS)

    @routes.get("/nodes/history")
    def page(request: Request) -> Response:
        return shell.render(request, "node_history", _view(context, request))

    @routes.post("/nodes/history/rollback", dependencies=[NEEDS[Right.SITE]])
    async def rollback(request: Request) -> Response:
        form = await forms.read(request)
        number, newest = _number(form.get("version")), _number(form.get("newest"))
        if not number:
            raise Problem(422, "Which version is to be in force again?")

        def story() -> Response:
            expected = {NODES: newest} if newest else None
            try:
                made = context.site.rollback(NODES, number, signature(request, form), expected=expected)
            except NoSuchVersion as error:
                raise Problem(404, str(error)) from None
            except (BadContent, ConfigurationError) as error:
                return shell.render(request, "node_history", _view(context, request, refusal(error)), 409)
            values = {"old": number, "new": made}
            return shell.go("/nodes/history", Sentence("Version %(old)s is in force again, as %(new)s.", values))

        return await run_in_threadpool(story)

    return routes


def _number(text: str) -> int:
    """A number of a version; 0 for what is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def _view(context: AdminContext, request: Request, problem: Sentence | None = None) -> NodeHistory:
    """Raises StoreUnavailable."""
    every = context.site.history(NODES, None)
    query = request.query_params
    begin = _number(query.get("begin", "")) or LARGEST
    shown = [one for one in every if one.version <= begin]
    rows, documents = [], {}
    for one in shown[:SIZE]:
        for number in (one.version, one.version - 1):
            if number not in documents:
                documents[number] = context.site.at_version(NODES, number).document if number else []
        changes = difference(NODES, documents[one.version - 1], documents[one.version])
        rows.append(VersionRow(one, changes))
    before, after = query.get("from", ""), query.get("to", "")
    compared = None
    if before and after:
        try:
            old, new = (context.site.at_version(NODES, _number(text)).document for text in (before, after))
            compared = difference(NODES, old, new)
        except NoSuchVersion:
            problem = Sentence("There is no such version.")
    return NodeHistory(
        versions=rows,
        newest=every[0].version if every else 0,
        following=shown[SIZE].version if len(shown) > SIZE else 0,
        before=before[:9],
        after=after[:9],
        compared=compared,
        problem=problem,
    )
