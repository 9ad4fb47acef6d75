"""Serves `/api/v1/rules/test` and `/api/v1/rules/explain`: what rules do with an object, and did with a study."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, model_validator

from broker.accounts.roles import Right
from broker.admin.api.routing.site import Tables
from broker.admin.bodies import Moment
from broker.admin.context import AdminContext
from broker.admin.problems import FieldError, Problem
from broker.admin.routers import NEEDS, admin_router
from broker.admin.viewing import shows, viewing_of
from broker.errors import ConfigurationError
from broker.model.lane import Lane
from broker.routing.held_work import ReplayBusy
from broker.routing.order_facts import needs_order, order_facts
from broker.routing.rules.evaluate import as_facts, decide
from broker.routing.rules.parsing import check_facts, parse_rules
from broker.routing.rules.ruleset import RuleSet, fields_of
from broker.routing.rules.tracing import trace
from broker.routing.site import destinations, trace_of_version
from broker.store.images import decisions
from broker.store.images.decisions import DecisionGroup

Facts = Annotated[dict[str, Any], Field(max_length=1000, description="Values by field, one or a list of them")]


_PEOPLE = (NEEDS[Right.SITE], NEEDS[Right.PATIENTS])
_BUSY: dict[int | str, dict[str, Any]] = {409: {"description": "Another draft is being replayed"}}


class RulesTestBody(BaseModel):
    """What an object has, and the rules that it meets: those given, or without any those in force."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    facts: Facts
    rule: Tables | None = None
    default: dict[str, Any] = {}
    calendar: dict[str, Any] = {}


class RulesReplayBody(BaseModel):
    """The rules of a draft, and since when objects are looked at (s since the epoch)."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    since: Moment
    rule: Tables
    default: dict[str, Any] = {}
    calendar: dict[str, Any] = {}


class StudyBody(BaseModel):
    """The Study Instance UID of a study, or the accession number of its order."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    study: Annotated[str, Field(max_length=64, pattern=r"^[0-9.]*$")] = ""
    accession: Annotated[str, Field(max_length=64, pattern=r"^[^\x00-\x1f\x7f]*$")] = ""

    @model_validator(mode="after")
    def _one(self) -> StudyBody:
        if bool(self.study) == bool(self.accession):
            raise ValueError("either study or accession")
        return self


class DeliveryView(BaseModel):
    """A delivery that rules want: to which node, how urgent (1 to 7), whether it waits for a person."""

    node: str
    priority: int
    held: bool


class RulesTestView(BaseModel):
    """What rules do with an object, and what each test of them saw and gave."""

    action: str
    reason: str
    deliveries: list[DeliveryView]
    rules: list[str]
    trace: list[dict[str, Any]]


class OutcomeView(BaseModel):
    """What rules do with an object, and where it goes; `NODE (held)` waits for a person."""

    action: str
    to: list[str]


class StudyDifferenceView(BaseModel):
    """Objects of a study from one device with which the draft would do something else than the rules in force."""

    study: str
    device: str
    before: OutcomeView
    after: OutcomeView
    objects: int


class RulesReplayView(BaseModel):
    """What a draft would have done. `untold`: objects of which too little is kept to say it.

    `whole`: all objects since then were looked at; `more`: differences beside those in the list.
    """

    objects: int
    same: int
    untold: int
    whole: bool
    more: int
    differences: list[StudyDifferenceView]


class DecisionView(BaseModel):
    """Objects of a study that met the same rules with the same result. Times in s since the epoch.

    `trace` is empty where the rules of that version are not there any more.
    """

    rules_version: int
    state: str
    reason: str
    device: str
    objects: int
    first_at: float
    last_at: float
    rules: list[str]
    trace: list[dict[str, Any]]


class StudyDeliveryView(BaseModel):
    """How many objects of a study are in a state on their way to a node."""

    node: str
    state: str
    objects: int


class StudyDecisionsView(BaseModel):
    """How the objects of a study were decided on, and how far they are."""

    decisions: list[DecisionView]
    deliveries: list[StudyDeliveryView]


def router(context: AdminContext) -> APIRouter:
    """Routes under /api/v1/rules that change nothing."""
    routes = admin_router("/api/v1/rules", Right.STATUS, tags=["rules"])

    @routes.post("/test", dependencies=[*_PEOPLE, shows("order", "explained")])
    def test(body: RulesTestBody, request: Request) -> RulesTestView:
        """Say what rules do with an object of these facts, and of its order as the door finds it. Nothing is stored."""
        rules = _rules(context, body)
        try:
            check_facts(body.facts, "facts")
        except ConfigurationError as error:
            raise Problem(422, "The facts cannot be used", [FieldError("facts", str(error)[:500])]) from None
        facts = as_facts(body.facts)
        if needs_order(fields_of(rules)):
            facts = context.database.read(order_facts, facts).result() | facts  # what is given counts
        else:
            viewing_of(request).nothing()
        decision = decide(rules, facts)
        return RulesTestView(
            action=decision.action.value,
            reason=decision.reason,
            deliveries=[DeliveryView(node=d.node, priority=d.priority, held=d.held) for d in decision.deliveries],
            rules=list(decision.rules),
            trace=trace(rules, facts),
        )

    @routes.post("/replay", dependencies=[*_PEOPLE, shows("study", "replayed")], responses=_BUSY)
    def replay(body: RulesReplayBody, request: Request) -> RulesReplayView:
        """Say what a draft would do with the objects of the last days, beside the rules in force. Nothing is stored."""
        draft = _parsed(context, body.rule, body.default, body.calendar)
        try:
            found = context.held.replay(draft, body.since)
        except ReplayBusy as error:
            raise Problem(409, str(error)) from None
        viewing_of(request).many(len(found.differences))
        return RulesReplayView.model_validate(asdict(found))

    @routes.post("/explain", dependencies=[NEEDS[Right.PATIENTS], shows("study", "explained")])
    def explain(body: StudyBody, request: Request) -> StudyDecisionsView:
        """Say which rules the objects of a study met, what each test saw, and where they were sent."""
        read = context.database.read
        studies = [body.study] if body.study else read(decisions.studies_of, body.accession).result()
        groups = [group for study in studies for group in read(decisions.of_study, study).result()]
        if not groups:
            raise Problem(404, "No object of this study or order is known")
        viewing_of(request).many(sum(group.count for group in groups))
        facts = context.database.read(decisions.facts_of, [group.one for group in groups]).result()
        lanes = [lane for study in studies for lane in read(decisions.deliveries, study).result()]
        return StudyDecisionsView(
            decisions=[_decision(context, group, json.loads(facts.get(group.one) or "{}")) for group in groups],
            deliveries=[
                StudyDeliveryView(node=Lane.parse(lane).node, state=state, objects=count)
                for lane, state, count in lanes
            ],
        )

    return routes


def _rules(context: AdminContext, body: RulesTestBody) -> RuleSet:
    """Raises Problem for rules that cannot be used."""
    if body.rule is None:
        return context.site.value.rules
    return _parsed(context, body.rule, body.default, body.calendar)


def _parsed(
    context: AdminContext, rule: list[dict[str, Any]], default: dict[str, Any], calendar: dict[str, Any]
) -> RuleSet:
    """Raises Problem for rules that cannot be used."""
    document = {"rule": rule, "default": default, "calendar": calendar}
    try:
        return parse_rules(document, destinations(context.site.value))
    except ConfigurationError as error:
        raise Problem(422, "The rules cannot be used", [FieldError("rule", str(error)[:500])]) from None


def _decision(context: AdminContext, group: DecisionGroup, facts: dict[str, Any]) -> DecisionView:
    told = trace_of_version(context.site, group.rules_version, facts) or []
    return DecisionView(
        rules_version=group.rules_version,
        state=group.state,
        reason=group.reason,
        device=group.calling_ae,
        objects=group.count,
        first_at=group.first_at,
        last_at=group.last_at,
        rules=[entry["rule"] for entry in told if entry["result"] == "true"],
        trace=told,
    )
