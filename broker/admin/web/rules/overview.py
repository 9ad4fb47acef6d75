"""The page of the rules in force: each in words, in the order in which they are tried. Changes begin a draft."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from broker.accounts.roles import Right
from broker.admin.bodies import RowNumber
from broker.admin.context import AdminContext
from broker.admin.routers import NEEDS, page_router
from broker.admin.web import forms, shell
from broker.admin.web.forms import FormFields
from broker.admin.web.nodes.words import signature
from broker.admin.web.rules.changing import changed
from broker.admin.web.rules.words import RulesTable, hands, number_of, plan_failure, refusal, table_of
from broker.admin.web.search import Finder, SearchHit, Wanted
from broker.admin.web.shell import PageLink
from broker.admin.web.words import Sentence
from broker.errors import BadContent, ConfigurationError
from broker.routing.drafts.four_eyes import permit_of
from broker.routing.drafts.rule_drafts import DraftChanged, RuleDrafts, readable
from broker.routing.drafts.rule_plans import RulePlans
from broker.routing.site import RULES
from broker.store.configurations import Publication
from broker.store.drafts.rule_drafts import RuleDraft
from broker.store.drafts.rule_plans import PlanState, RulePlan
from broker.versions.in_force import Conflict

LINK = PageLink(title=Sentence("Rules"), path="/rules", icon="rules", right=Right.STATUS)


@dataclass(frozen=True, slots=True, kw_only=True)
class RulesView:
    """The rules in force. `own`: the draft of the caller; `plan`: what waits; `failed`: the last plan, if it did.

    `editable`: the caller may begin a draft, and has none.
    """

    table: RulesTable
    number: int
    publication: Publication | None
    by: Sentence | None
    previous: int
    own: RuleDraft | None
    drafts: Sequence[RuleDraft]
    plan: RulePlan | None
    failed: RulePlan | None
    failure: Sentence | None
    editable: bool
    problem: Sentence | None = None


def router(context: AdminContext) -> APIRouter:
    """The routes of the page."""
    routes, page = page_router(Right.STATUS), _RulesPage(context)

    @routes.get("/rules")
    def show(request: Request) -> Response:
        return page.draw(request)

    @routes.post("/rules/drafts", dependencies=[NEEDS[Right.SITE]])
    async def begin(request: Request) -> Response:
        form = await forms.read(request)
        return await run_in_threadpool(page.begin, request, form)

    @routes.post("/rules/plans/{number:int}/cancel", dependencies=[NEEDS[Right.SITE]])
    async def cancel(request: Request, number: RowNumber) -> Response:
        form = await forms.read(request)
        return await run_in_threadpool(page.cancel, request, number, form)

    return routes


class _RulesPage:
    """The page with the parts of the broker that it works on."""

    def __init__(self, context: AdminContext) -> None:
        self._context = context
        self._drafts = RuleDrafts(context.database, context.site)
        self._plans = RulePlans(context.database, context.site, permit_of(context.settings))

    def draw(self, request: Request, problem: Sentence | None = None, status: int = 200) -> Response:
        """The page."""
        version = self._drafts.in_force()
        versions = self._context.site.history(RULES, 2)
        drafts, plans = self._drafts.all(), self._plans.all(1)
        own = next((one for one in drafts if one.author == request.state.actor), None)
        last = plans[0] if plans else None
        failed = last if last is not None and last.state == PlanState.FAILED else None
        view = RulesView(
            table=table_of(readable(version.document)),
            number=version.version,
            publication=versions[0] if versions else None,
            by=hands(versions[0]) if versions else None,
            previous=versions[1].version if len(versions) > 1 else 0,
            own=own,
            drafts=drafts,
            plan=last if last is not None and last.state == PlanState.PLANNED else None,
            failed=failed,
            failure=plan_failure(failed) if failed is not None else None,
            editable=Right.SITE in request.state.rights and own is None,
            problem=problem,
        )
        return shell.render(request, "rules", view, status)

    def begin(self, request: Request, form: FormFields) -> Response:
        """Begin a draft of the rules in force, with a change or without one."""
        version = self._drafts.in_force()
        if version.version != number_of(form.get("number")):
            return self.draw(request, refusal(Conflict()), 409)
        document, query = changed(version.document, form.get("do"))
        try:
            draft = self._drafts.keep(document, signature(request, form), expected=0, base=version.version)
        except DraftChanged:
            return self.draw(request, Sentence("You have a draft already: go on with it."), 409)
        except ConfigurationError as error:
            return self.draw(request, refusal(error), 422)
        return shell.go(f"/rules/drafts/{draft.id}{query}", Sentence("This is a draft: nothing of it is in force yet."))

    def cancel(self, request: Request, number: int, form: FormFields) -> Response:
        """Let a plan not come into force."""
        try:
            self._plans.cancel(number, signature(request, form))
        except BadContent as error:
            return self.draw(request, refusal(error), 409)
        return shell.go("/rules", Sentence("The planned activation is cancelled."))


def finder(context: AdminContext) -> Finder:
    """Find rules by their names, owners and reasons."""

    def find(wanted: Wanted) -> list[SearchHit]:
        return [
            SearchHit(title=one.name, path=f"/rules#rule-{place}", kind=Sentence("rule"), detail=one.owner)
            for place, one in enumerate(context.site.value.rules.rules, 1)
            if wanted.in_text(one.name, one.owner, one.reason, *one.tags)
        ]

    return Finder(find=find, right=Right.STATUS)
