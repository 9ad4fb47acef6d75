"""The history of the rules: each version with what it changed, when, by whom, why; compare two; go back to one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from broker.accounts.roles import Right
from broker.admin.context import AdminContext
from broker.admin.problems import Problem
from broker.admin.routers import NEEDS, page_router
from broker.admin.web import forms, shell
from broker.admin.web.nodes.words import signature
from broker.admin.web.rules.words import hands, number_of, refusal
from broker.admin.web.words import Sentence
from broker.errors import BadContent, ConfigurationError
from broker.routing.site import RULES
from broker.store.configurations import Publication
from broker.versions.difference import Difference, difference
from broker.versions.in_force import NoSuchVersion

SIZE = 20  # versions of one page
LARGEST = 2**31 - 1  # number of a version


@dataclass(frozen=True, slots=True)
class RulesVersion:
    """A version, by whose hands, and what it changed of the one before."""

    publication: Publication
    by: Sentence
    changes: Sequence[Difference]


@dataclass(frozen=True, slots=True, kw_only=True)
class RulesHistory:
    """Versions, newest first. `following`: from which the next page goes on, 0 for none.

    `compared`: the differences of two versions that a person chose.
    """

    versions: Sequence[RulesVersion]
    newest: int
    following: int
    before: str = ""
    after: str = ""
    compared: Sequence[Difference] | None = None
    problem: Sentence | None = None


def router(context: AdminContext) -> APIRouter:
    """The routes of the history."""
    routes = page_router(Right.STATUS)

    @routes.get("/rules/history")
    def page(request: Request) -> Response:
        return shell.render(request, "rule_history", _view(context, request))

    @routes.post("/rules/history/rollback", dependencies=[NEEDS[Right.SITE]])
    async def rollback(request: Request) -> Response:
        form = await forms.read(request)
        number, newest = number_of(form.get("version")), number_of(form.get("newest"))
        if not number:
            raise Problem(422, "Which version is to be in force again?")

        def story() -> Response:
            expected = {RULES: newest} if newest else None
            try:
                made = context.site.rollback(RULES, number, signature(request, form), expected=expected)
            except NoSuchVersion as error:
                raise Problem(404, str(error)) from None
            except (BadContent, ConfigurationError) as error:
                return shell.render(request, "rule_history", _view(context, request, refusal(error)), 409)
            values = {"old": number, "new": made}
            return shell.go("/rules", Sentence("Version %(old)s is in force again, as %(new)s.", values))

        return await run_in_threadpool(story)

    return routes


def _view(context: AdminContext, request: Request, problem: Sentence | None = None) -> RulesHistory:
    """Raises StoreUnavailable."""
    every = context.site.history(RULES)
    query = request.query_params
    begin = number_of(query.get("begin", "")) or LARGEST
    shown = [one for one in every if one.version <= begin]
    documents: dict[int, Any] = {0: {}}

    def document(number: int) -> Any:
        if number not in documents:
            documents[number] = context.site.at_version(RULES, number).document
        return documents[number]

    rows = [
        RulesVersion(one, hands(one), difference(RULES, document(one.version - 1), document(one.version)))
        for one in shown[:SIZE]
    ]
    before, after = query.get("from", ""), query.get("to", "")
    compared = None
    if before and after:
        try:
            compared = difference(RULES, document(number_of(before)), document(number_of(after)))
        except NoSuchVersion:
            problem = problem or Sentence("There is no such version.")
    return RulesHistory(
        versions=rows,
        newest=every[0].version if every else 0,
        following=shown[SIZE].version if len(shown) > SIZE else 0,
        before=before[:9],
        after=after[:9],
        compared=compared,
        problem=problem,
    )
