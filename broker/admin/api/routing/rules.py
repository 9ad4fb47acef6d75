"""Serves `/api/v1/rules/test`, `replay` and `explain`: what rules do with objects, would do, and did with a study."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request

from broker.accounts.roles import Right
from broker.admin.api.routing.rules_views import (
    DecisionView,
    DeliveryView,
    GatheringView,
    LevelTestView,
    NoticeStateView,
    NoticeView,
    ObjectTestView,
    RulesReplayBody,
    RulesReplayView,
    RulesTestBody,
    RulesTestView,
    StudyBody,
    StudyDecisionsView,
    StudyDeliveryView,
    StudyTestBody,
    StudyTestView,
)
from broker.admin.context import AdminContext
from broker.admin.problems import FieldError, Problem
from broker.admin.routers import NEEDS, admin_router
from broker.admin.viewing import shows, viewing_of
from broker.errors import ConfigurationError
from broker.routing.held_work import ReplayBusy
from broker.routing.hindsight.explaining import ExplainedGroup, ExplainedLevel, ExplainedStudies, Trace, explain_studies
from broker.routing.levels.trying import try_study
from broker.routing.order_facts import needs_order, order_facts
from broker.routing.rules.evaluate import PlannedDelivery, PlannedNotice, as_facts, decide
from broker.routing.rules.parsing import DOCUMENT_KEYS, check_facts
from broker.routing.rules.ruleset import Fact, RuleSet, fields_of
from broker.routing.rules.tracing import trace
from broker.routing.site import read_rules
from broker.store.images import decisions

_PEOPLE = (NEEDS[Right.SITE], NEEDS[Right.PATIENTS])
_BUSY: dict[int | str, dict[str, Any]] = {409: {"description": "Another draft is being replayed"}}


def router(context: AdminContext) -> APIRouter:
    """Routes under /api/v1/rules that change nothing."""
    routes = admin_router("/api/v1/rules", Right.STATUS, tags=["rules"])

    _trying(routes, context)

    @routes.post("/replay", dependencies=[*_PEOPLE, shows("study", "replayed")], responses=_BUSY)
    def replay(body: RulesReplayBody, request: Request) -> RulesReplayView:
        """Say what a draft would do with the objects of the last days, beside the rules in force. Nothing is stored."""
        draft = _parsed(context, body)
        try:
            found = context.held.replay(draft, body.since)
        except ReplayBusy as error:
            raise Problem(409, str(error)) from None
        viewing_of(request).many(len(found.differences))
        return RulesReplayView.model_validate(asdict(found))

    @routes.post("/explain", dependencies=[NEEDS[Right.PATIENTS], shows("study", "explained")])
    def explain(body: StudyBody, request: Request) -> StudyDecisionsView:
        """Say which rules the objects of a study met, what each test saw, and where they were sent."""
        studies = [body.study] if body.study else context.database.read(decisions.studies_of, body.accession).result()
        found = explain_studies(context.database, context.site, studies)
        if not found.groups:
            raise Problem(404, "No object of this study or order is known")
        viewing_of(request).many(found.objects)
        return decisions_view(found)

    return routes


def decisions_view(found: ExplainedStudies) -> StudyDecisionsView:
    """How the objects of studies were decided on, as it is shown."""
    return StudyDecisionsView(
        decisions=[_decision(one) for one in found.groups],
        deliveries=[StudyDeliveryView.model_validate(asdict(one)) for one in found.deliveries],
        levels=[_level(one) for one in found.levels],
        notices=[NoticeStateView.model_validate(asdict(one)) for one in found.notices],
    )


def _trying(routes: APIRouter, context: AdminContext) -> None:
    @routes.post("/test", dependencies=[*_PEOPLE, shows("order", "explained")])
    def test(body: RulesTestBody, request: Request) -> RulesTestView:
        """Say what rules do with an object of these facts, and of its order as the door finds it. Nothing is stored."""
        rules = _rules(context, body)
        _checked(body.facts)
        facts = as_facts(body.facts)
        if needs_order(fields_of(rules)):
            facts = context.database.read(order_facts, facts).result() | facts  # what is given counts
        else:
            viewing_of(request).nothing()
        decision = decide(rules, facts)
        return RulesTestView(
            action=decision.words,
            reason=decision.reason,
            deliveries=_deliveries(decision.deliveries),
            rules=list(decision.rules),
            waits=sorted(decision.waits),
            notices=_notices(decision.notices),
            trace=trace(rules, facts),
        )

    @routes.post("/test/study", dependencies=[*_PEOPLE, shows("order", "explained")])
    def test_study(body: StudyTestBody, request: Request) -> StudyTestView:
        """Say what rules do with the objects of one study once it is complete. Nothing is stored."""
        rules = _rules(context, body)
        for facts in (*body.objects, body.study):
            _checked(facts)
        order = _order_of(context) if needs_order(fields_of(rules)) else None
        if order is None:
            viewing_of(request).nothing()
        tried = try_study(rules, [as_facts(facts) for facts in body.objects], order, as_facts(body.study))
        return StudyTestView(
            objects=[
                ObjectTestView(
                    action="wait" if one.waits and not one.deliveries else one.action.value,
                    reason=one.reason,
                    deliveries=_deliveries(one.deliveries),
                    rules=list(one.rules),
                    waits=sorted(one.waits),
                    notices=_notices(one.notices),
                )
                for one in tried.objects
            ],
            levels=[
                LevelTestView(
                    level=level.level.value,
                    series=level.series,
                    reason=level.decision.error,
                    rules=[rules.rules[place].name for place in level.decision.matched],
                    trace=level.trace,
                )
                for level in tried.levels
            ],
        )


def _rules(context: AdminContext, body: RulesTestBody | StudyTestBody) -> RuleSet:
    """Raises Problem for rules that cannot be used."""
    return context.site.value.rules if body.rule is None else _parsed(context, body)


def _parsed(context: AdminContext, body: RulesTestBody | StudyTestBody | RulesReplayBody) -> RuleSet:
    """Raises Problem for rules that cannot be used."""
    document = {key: getattr(body, key) for key in DOCUMENT_KEYS}
    try:
        return read_rules(context.site.value, document)
    except ConfigurationError as error:
        raise Problem(422, "The rules cannot be used", [FieldError("rule", str(error)[:500])]) from None


def _checked(facts: dict[str, Any]) -> None:
    """Raises Problem for facts that no object can have."""
    try:
        check_facts(facts, "facts")
    except ConfigurationError as error:
        raise Problem(422, "The facts cannot be used", [FieldError("facts", str(error)[:500])]) from None


def _order_of(context: AdminContext) -> Callable[[Mapping[str, Sequence[Fact]]], Mapping[str, Sequence[Fact]]]:
    return lambda facts: context.database.read(order_facts, facts).result()


def _deliveries(planned: Sequence[PlannedDelivery]) -> list[DeliveryView]:
    return [DeliveryView(node=one.node, priority=one.priority, held=one.held) for one in planned]


def _notices(planned: Sequence[PlannedNotice]) -> list[NoticeView]:
    return [NoticeView(node=one.node, rule=one.rule.name) for one in planned]


def _level(explained: ExplainedLevel) -> GatheringView:
    one = explained.gathering
    return GatheringView(
        level=explained.level.value,
        series=one.series_instance_uid,
        state=one.state,
        objects=one.instances,
        first_at=one.first_at,
        last_at=one.last_at,
        waits=explained.waits,
        due_at=one.due_at,
        complete=one.complete,
        judged_at=one.judged_at,
        rules_version=one.rules_version,
        sent_to=sorted(one.had),
        rules=_true(explained.trace),
        trace=list(explained.trace),
    )


def _decision(explained: ExplainedGroup) -> DecisionView:
    group = explained.group
    return DecisionView(
        rules_version=group.rules_version,
        state=group.state,
        reason=group.reason,
        device=group.calling_ae,
        objects=group.count,
        first_at=group.first_at,
        last_at=group.last_at,
        rules=_true(explained.trace),
        trace=list(explained.trace),
    )


def _true(told: Trace) -> list[str]:
    """The names of the rules that said yes."""
    return [entry["rule"] for entry in told if entry["result"] == "true"]
