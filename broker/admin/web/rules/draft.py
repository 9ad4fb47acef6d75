"""The page of a draft of the rules: what it changes, what that would have done, and how it comes into force."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from broker.accounts.roles import Right
from broker.admin.bodies import RowNumber
from broker.admin.context import AdminContext
from broker.admin.routers import NEEDS, page_router
from broker.admin.viewing import shows, viewing_of
from broker.admin.web import forms, shell
from broker.admin.web.forms import FieldErrors, FormFields
from broker.admin.web.nodes.words import signature
from broker.admin.web.rules.changing import changed
from broker.admin.web.rules.words import (
    ACTIONS,
    NO_REASON,
    REASON,
    RulesTable,
    hands,
    missing,
    moment_of,
    number_of,
    outcome_words,
    refusal,
    table_of,
)
from broker.admin.web.words import Sentence
from broker.errors import BadContent, ConfigurationError
from broker.routing.drafts.four_eyes import may_activate, permit_of
from broker.routing.drafts.rule_drafts import NoSuchDraft, RuleDrafts, RulesCheck, readable
from broker.routing.drafts.rule_plans import RulePlans
from broker.routing.held_work import ReplayBusy
from broker.routing.hindsight.replaying import ReplayedDays, RoutingOutcome
from broker.routing.rules.ruleset import RuleAction
from broker.routing.site import RULES, destinations, read_rules
from broker.store.configurations import Publication
from broker.store.drafts.rule_drafts import RuleDraft

MOST_DAYS = 400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayRow:
    """Objects of a study with which the draft would do something else."""

    study: str
    device: str
    objects: int
    before: Sentence
    after: Sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleDraftPage:
    """A draft. `number`, `publication`: the version in force. `at`, `did`: the rule that was changed, and how.

    `own`: the caller is its author; `may_activate`: the caller may put it in force.
    """

    draft: RuleDraft
    table: RulesTable
    check: RulesCheck
    own: bool
    may_activate: bool
    nodes: Sequence[str]
    default: Mapping[str, Any]
    actions: Mapping[str, Sentence]
    publication: Publication | None
    by: Sentence | None
    at: int
    did: str
    days: str = "7"
    found: ReplayedDays | None = None
    rows: Sequence[ReplayRow] = ()
    problem: Sentence | None = None
    errors: FieldErrors
    reason: str = ""
    when: str = ""


def router(context: AdminContext) -> APIRouter:
    """The routes of the page."""
    routes, page = page_router(Right.SITE), _DraftOfRules(context)

    @routes.get("/rules/drafts/{number:int}")
    def show(request: Request, number: RowNumber) -> Response:
        return page.draw(request, page.view(request, number))

    @routes.post("/rules/drafts/{number:int}/edit")
    async def edit(request: Request, number: RowNumber) -> Response:
        form = await forms.read(request)
        return await run_in_threadpool(page.edit, request, number, form)

    @routes.post("/rules/drafts/{number:int}/replay", dependencies=[NEEDS[Right.PATIENTS], shows("study", "replayed")])
    async def replay(request: Request, number: RowNumber) -> Response:
        form = await forms.read(request)
        return await run_in_threadpool(page.replay, request, number, form)

    @routes.post("/rules/drafts/{number:int}/activate")
    async def activate(request: Request, number: RowNumber) -> Response:
        form = await forms.read(request)
        return await run_in_threadpool(page.activate, request, number, form)

    @routes.post("/rules/drafts/{number:int}/drop")
    async def drop(request: Request, number: RowNumber) -> Response:
        form = await forms.read(request)
        return await run_in_threadpool(page.drop, request, number, form)

    return routes


class _DraftOfRules:
    """The page with the parts of the broker that it works on."""

    def __init__(self, context: AdminContext) -> None:
        self._context = context
        self._drafts = RuleDrafts(context.database, context.site)
        self._plans = RulePlans(context.database, context.site, permit_of(context.settings))

    def view(self, request: Request, number: int) -> RuleDraftPage:
        """The draft as it is. Raises Problem."""
        try:
            draft = self._drafts.one(number)
        except NoSuchDraft:
            raise missing() from None
        check = self._drafts.check(draft.document, draft.base)
        newest = self._context.site.publication(RULES, check.number) if check.number else None
        own = draft.author == request.state.actor
        eyes = not self._context.settings.rules.four_eyes or may_activate(request.state.actor, (draft.author,))
        return RuleDraftPage(
            draft=draft,
            table=table_of(readable(draft.document)),
            check=check,
            own=own,
            may_activate=eyes,
            nodes=sorted(destinations(self._context.site.value)),
            default=draft.document.get("default", {}),
            actions=ACTIONS,
            publication=newest,
            by=hands(newest) if newest is not None else None,
            at=number_of(request.query_params.get("at", "")),
            did=request.query_params.get("do", "")[:8],
            errors={},
        )

    def draw(self, request: Request, view: RuleDraftPage, status: int = 200) -> Response:
        """The page."""
        return shell.render(request, "rule_draft", view, status)

    def edit(self, request: Request, number: int, form: FormFields) -> Response:
        """Change the draft by a button."""
        view = self.view(request, number)
        draft = view.draft
        if not view.own:
            problem = Sentence("Only %(author)s changes this draft.", {"author": draft.author})
            return self.draw(request, replace(view, problem=problem), 403)
        do, base = form.get("do"), draft.base
        if do == "default":
            document, query = _with_default(draft.document, form), ""
        elif do == "newest":
            document, query, base = draft.document, "", view.check.number
        else:
            document, query = changed(draft.document, do)
        try:
            expected = number_of(form.get("revision"))
            self._drafts.keep(document, signature(request, form), expected=expected, base=base)
        except (BadContent, ConfigurationError) as error:
            return self.draw(request, replace(view, problem=refusal(error)), 409)
        return shell.go(f"/rules/drafts/{number}{query}")

    def replay(self, request: Request, number: int, form: FormFields) -> Response:
        """What the draft would have done with the objects of the last days."""
        view = replace(self.view(request, number), days=form.get("days")[:8])
        try:
            days = float(view.days)
        except ValueError:
            days = 0.0
        if not 0 < days <= MOST_DAYS:
            wrong = {"days": Sentence("A number of days up to %(n)s.", {"n": int(MOST_DAYS)})}
            return self.draw(request, replace(view, errors=wrong), 422)
        try:
            rules = read_rules(self._context.site.value, view.draft.document)
            found = self._context.held.replay(rules, max(0.0, time.time() - days * 86_400))
        except ConfigurationError:  # the check of the draft says what is wrong
            return self.draw(request, view, 422)
        except ReplayBusy:
            problem = Sentence("Another draft is being replayed just now. Try again in some seconds.")
            return self.draw(request, replace(view, problem=problem), 409)
        viewing_of(request).many(len(found.differences))
        rows = [
            ReplayRow(
                study=one.study,
                device=one.device,
                objects=one.objects,
                before=_outcome(one.before),
                after=_outcome(one.after),
            )
            for one in found.differences
        ]
        return self.draw(request, replace(view, found=found, rows=rows))

    def activate(self, request: Request, number: int, form: FormFields) -> Response:
        """Put the draft in force, now or at a time."""
        view = self.view(request, number)
        view = replace(view, reason=form.get("reason"), when=form.get("when")[:32])
        revision, due = number_of(form.get("revision")), None
        errors = {} if len(view.reason) in REASON else {"reason": NO_REASON}
        if view.when:
            due = moment_of(view.when, self._context.settings.zone())
            if due is None:
                errors["when"] = Sentence("A time like 2026-12-24T18:00.")
        if errors:
            return self.draw(request, replace(view, errors=errors), 422)
        signed = signature(request, form)
        try:
            if due is not None:
                self._plans.plan_draft(number, revision, due, signed)
                return shell.go("/rules", Sentence("It is planned. Until then the rules stay as they are."))
            version = self._drafts.activate(number, revision, signed)
        except (BadContent, ConfigurationError) as error:
            view = replace(self.view(request, number), problem=refusal(error), reason=view.reason, when=view.when)
            return self.draw(request, view, 409)
        return shell.go("/rules", Sentence("Version %(n)s of the rules is in force.", {"n": version}))

    def drop(self, request: Request, number: int, form: FormFields) -> Response:
        """End the draft."""
        try:
            self._drafts.drop(number, number_of(form.get("revision")), signature(request, form))
        except (NoSuchDraft, BadContent) as error:
            return self.draw(request, replace(self.view(request, number), problem=refusal(error)), 409)
        return shell.go("/rules", Sentence("The draft is dropped."))


def _with_default(document: Mapping[str, Any], form: FormFields) -> dict[str, Any]:
    """The document with what happens when no rule matched, and with holidays."""
    before = document.get("default", {})
    default: dict[str, Any] = {"reason": before["reason"]} if "reason" in before else {}
    action = form.get("action")
    if action in ACTIONS and (action != RuleAction.HOLD or "action" in before):
        default["action"] = action
    if nodes := form.all("send"):
        default["send"] = nodes
    made = {**document, "default": default} if default or "default" in document else dict(document)
    days = [day.strip() for day in form.get("holidays").splitlines() if day.strip()]
    if days or "calendar" in document:
        made["calendar"] = {**document.get("calendar", {}), "holidays": days}
    return made


def _outcome(outcome: RoutingOutcome) -> Sentence:
    return outcome_words(outcome.action, outcome.to, outcome.notify)
