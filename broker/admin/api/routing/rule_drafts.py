"""Serves `/api/v1/rules/drafts` and `/api/v1/rules/planned`: rules that are not in force yet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, ConfigDict, Field

from broker.accounts.roles import Right
from broker.admin.api.routing.rules_views import RulesReplayView
from broker.admin.api.routing.site import MAX_NUMBER, ChangeView, SignedBody, Tables, change_view
from broker.admin.bodies import Moment, RowNumber
from broker.admin.context import AdminContext
from broker.admin.problems import FieldError, Problem
from broker.admin.routers import NEEDS, admin_router
from broker.admin.viewing import shows, viewing_of
from broker.errors import BadContent, ConfigurationError
from broker.routing.drafts.four_eyes import SecondPersonNeeded, permit_of
from broker.routing.drafts.rule_drafts import NoSuchDraft, RuleDrafts
from broker.routing.drafts.rule_plans import RulePlans
from broker.routing.site import read_rules
from broker.store.drafts.rule_drafts import RuleDraft
from broker.store.drafts.rule_plans import RulePlan
from broker.versions.in_force import NoSuchVersion

Revision = Annotated[int, Field(ge=0, le=MAX_NUMBER)]
Version = Annotated[int, Field(ge=1, le=MAX_NUMBER)]
_NO_DRAFT: dict[int | str, dict[str, Any]] = {404: {"description": "There is no such draft"}}
_REFUSED: dict[int | str, dict[str, Any]] = {
    **_NO_DRAFT,
    403: {"description": "Another person has to do it: the site asks for four eyes"},
    409: {
        "description": "The draft, or the version in force, is another one than was looked at; or another plan waits"
    },
    422: {"description": "The rules cannot be used; the text names the rule and the key"},
}


class RuleDraftBody(SignedBody):
    """The whole set of rules of a draft, as in site.toml.

    `revision`: of the draft that it replaces, 0 for none.
    """

    rule: Tables = Field(default_factory=list)
    default: dict[str, Any] = Field(default_factory=dict)
    calendar: dict[str, Any] = Field(default_factory=dict)
    revision: Revision | None = None

    def document(self) -> dict[str, Any]:
        """The document."""
        given = {"rule": self.rule, "default": self.default, "calendar": self.calendar}
        return {key: value for key, value in given.items() if key in self.model_fields_set}


class ActivateDraftBody(SignedBody):
    """The revision of the draft that was looked at; `at`: when it comes into force (s since the epoch), if not now."""

    revision: Revision
    at: Moment | None = None


class PlanVersionBody(SignedBody):
    """The version that is to be in force again, and when (s since the epoch)."""

    version: Version
    at: Moment


class SinceBody(BaseModel):
    """Since when objects are looked at (s since the epoch)."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    since: Moment


class RuleDraftView(BaseModel):
    """A draft without its rules. `base`: the version that it was made of. Time in s since the epoch."""

    id: int
    author: str
    revision: int
    base: int
    changed_at: float


class RuleDraftDocumentView(RuleDraftView):
    """A draft with its rules, as in site.toml."""

    document: Any


class RuleDraftCheckView(BaseModel):
    """What is to be said of a draft. `mistakes`: why it cannot be put in force; `changes`: of version `number`.

    `overtaken`: it was made of another version than that in force.
    """

    mistakes: list[str]
    doubts: list[str]
    changes: list[ChangeView]
    examples: int
    number: int
    overtaken: bool


class ActivatedView(BaseModel):
    """The version that is in force now, or the plan that waits."""

    version: int | None = None
    planned: int | None = None


class RulePlanView(BaseModel):
    """A plan. `again`: the older version that it is, 0 for a draft; `version`: that it became.

    Times in s since the epoch. `state`: planned, done, canceled or failed; `failure`: `overtaken`, or what was wrong.
    """

    id: int
    state: str
    due_at: float
    base: int
    again: int
    author: str
    reason: str
    planned_by: str
    planned_at: float
    version: int
    failure: str


def router(context: AdminContext) -> APIRouter:
    """Routes under /api/v1/rules."""
    routes = admin_router("/api/v1/rules", Right.STATUS, tags=["rules"])
    drafts = RuleDrafts(context.database, context.site)
    _reading(routes, context, drafts)
    _changing(routes, drafts)
    plans = RulePlans(context.database, context.site, permit_of(context.settings))
    _putting_in_force(routes, drafts, plans)
    _planned(routes, plans)
    return routes


def _reading(routes: APIRouter, context: AdminContext, drafts: RuleDrafts) -> None:
    @routes.get("/drafts")
    def listed() -> list[RuleDraftView]:
        """List the drafts of all authors, the newest change first."""
        return [_view(one) for one in drafts.all()]

    @routes.get("/drafts/{row}", responses=_NO_DRAFT)
    def one(row: RowNumber) -> RuleDraftDocumentView:
        """Show a draft."""
        with refusals():
            draft = drafts.one(row)
        return RuleDraftDocumentView(**_view(draft).model_dump(), document=draft.document)

    @routes.get("/drafts/{row}/check", responses=_NO_DRAFT)
    def check(row: RowNumber) -> RuleDraftCheckView:
        """Say what is wrong with a draft, how its examples come out, and what it changes of the rules in force."""
        with refusals():
            draft = drafts.one(row)
        found = drafts.check(draft.document, draft.base)
        return RuleDraftCheckView(
            mistakes=list(found.mistakes),
            doubts=list(found.doubts),
            changes=[change_view(one) for one in found.changes],
            examples=found.examples,
            number=found.number,
            overtaken=found.overtaken,
        )

    people = [NEEDS[Right.SITE], NEEDS[Right.PATIENTS], shows("study", "replayed")]

    @routes.post("/drafts/{row}/replay", dependencies=people, responses=_REFUSED)
    def replay(row: RowNumber, body: SinceBody, request: Request) -> RulesReplayView:
        """Say what a draft would do with the objects of the last days, beside the rules in force. Nothing is stored."""
        with refusals():
            draft = drafts.one(row)
            rules = read_rules(context.site.value, draft.document)
            found = context.held.replay(rules, body.since)
        viewing_of(request).many(len(found.differences))
        return RulesReplayView.model_validate(asdict(found))


def _changing(routes: APIRouter, drafts: RuleDrafts) -> None:
    @routes.put("/draft", dependencies=[NEEDS[Right.SITE]], responses=_REFUSED)
    def keep(body: RuleDraftBody, request: Request) -> RuleDraftView:
        """Write the draft of the caller, who has one. It replaces what the draft said before."""
        with refusals():
            return _view(drafts.keep(body.document(), body.signature(request), expected=body.revision))

    @routes.post("/drafts/{row}/drop", dependencies=[NEEDS[Right.SITE]], status_code=204, responses=_REFUSED)
    def drop(row: RowNumber, body: SignedBody, request: Request) -> None:
        """Drop a draft."""
        with refusals():
            drafts.drop(row, None, body.signature(request))


def _putting_in_force(routes: APIRouter, drafts: RuleDrafts, plans: RulePlans) -> None:
    @routes.post("/drafts/{row}/activate", dependencies=[NEEDS[Right.SITE]], responses=_REFUSED)
    def activate(row: RowNumber, body: ActivateDraftBody, request: Request) -> ActivatedView:
        """Put a draft in force, now or at a time, if the version that it was made of is still in force then."""
        with refusals():
            signature = body.signature(request)
            if body.at is not None:
                return ActivatedView(planned=plans.plan_draft(row, body.revision, body.at, signature).id)
            return ActivatedView(version=drafts.activate(row, body.revision, signature))


def _planned(routes: APIRouter, plans: RulePlans) -> None:
    @routes.get("/planned")
    def planned() -> list[RulePlanView]:
        """List plans with what became of them, the newest first."""
        return [_plan(one) for one in plans.all(100)]

    @routes.post("/planned", dependencies=[NEEDS[Right.SITE]], status_code=201, responses=_REFUSED)
    def plan(body: PlanVersionBody, request: Request) -> RulePlanView:
        """Put an older version in force at a time, if no other is published until then."""
        with refusals():
            return _plan(plans.plan_version(body.version, body.at, body.signature(request)))

    @routes.post("/planned/{row}/cancel", dependencies=[NEEDS[Right.SITE]], status_code=204, responses=_REFUSED)
    def cancel(row: Annotated[int, Path(ge=1, lt=1 << 63)], body: SignedBody, request: Request) -> None:
        """Let a plan not come into force."""
        with refusals():
            plans.cancel(row, body.signature(request))


@contextmanager
def refusals() -> Iterator[None]:
    """Answer what cannot be kept, or put in force."""
    try:
        yield
    except (NoSuchDraft, NoSuchVersion) as error:
        raise Problem(404, str(error)) from None
    except SecondPersonNeeded as error:
        raise Problem(403, str(error)) from None
    except BadContent as error:
        raise Problem(409, str(error)) from None
    except ConfigurationError as error:
        raise Problem(422, "The rules cannot be used", [FieldError("rule", str(error)[:500])]) from None


def _view(draft: RuleDraft) -> RuleDraftView:
    return RuleDraftView(**{name: getattr(draft, name) for name in RuleDraftView.model_fields})


def _plan(plan: RulePlan) -> RulePlanView:
    return RulePlanView(**{name: getattr(plan, name) for name in RulePlanView.model_fields})
