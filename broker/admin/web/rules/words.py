"""Shares what the pages of rules have in common: the rules in words, who published them, refusals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo

from broker.admin.problems import Problem
from broker.admin.web.words import Sentence
from broker.errors import BrokerError
from broker.routing.drafts.four_eyes import SecondPersonNeeded
from broker.routing.drafts.rule_drafts import DraftChanged
from broker.routing.drafts.rule_plans import OVERTAKEN, NoSuchTime, NotPlanned, PlanWaits
from broker.routing.rules.ruleset import Level, Rule, RuleAction, RuleSet, Urgency
from broker.routing.rules.wording import condition_words
from broker.store.configurations import Publication
from broker.store.drafts.rule_plans import RulePlan
from broker.versions.in_force import Conflict

NO_REASON = Sentence("Say why, in 3 to 500 characters.")
REASON = range(3, 501)  # characters
URGENCY: Mapping[str, Sentence] = {
    Urgency.STAT: Sentence("as STAT"),
    Urgency.HIGH: Sentence("soon"),
    Urgency.NORMAL: Sentence("in its turn"),
    Urgency.LOW: Sentence("late"),
}
LEVELS: Mapping[str, Sentence] = {
    Level.INSTANCE: Sentence("each object, as it comes"),
    Level.SERIES: Sentence("a series, once it is complete"),
    Level.STUDY: Sentence("a study, once it is complete"),
}
ACTIONS: Mapping[str, Sentence] = {
    RuleAction.SEND: Sentence("send"),
    RuleAction.HOLD: Sentence("hold"),
    RuleAction.DISCARD: Sentence("discard"),
}


@dataclass(frozen=True, slots=True)
class RuleLine:
    """A rule in words."""

    rule: Rule
    when: Sentence
    does: Sentence

    @property
    def about(self) -> Sentence | None:
        """What it judges, unless that is each object."""
        return None if self.rule.level is Level.INSTANCE else LEVELS[self.rule.level]

    @property
    def stops(self) -> bool:
        """No later rule is tried after it."""
        whole = self.rule.action == RuleAction.HOLD and not self.rule.send
        return whole or self.rule.action == RuleAction.DISCARD or self.rule.then == "stop"


@dataclass(frozen=True, slots=True)
class RulesTable:
    """A rule set in words."""

    lines: Sequence[RuleLine]
    default: Sentence
    holidays: Sequence[str]


def table_of(rules: RuleSet) -> RulesTable:
    """A rule set in words."""
    lines = [RuleLine(rule, condition_words(rule.when), _does(rule)) for rule in rules.rules]
    default = outcome_words(rules.default_action, rules.default_send)
    return RulesTable(lines, default, sorted(rules.holidays))


def outcome_words(action: str, nodes: Sequence[str], told: Sequence[str] = ()) -> Sentence:
    """What is done with an object, and who is `told` of it."""
    if told:
        values = {"action": outcome_words(action, nodes), "nodes": ", ".join(told)}
        return Sentence("%(action)s, and notify %(nodes)s", values)
    values = {"nodes": ", ".join(nodes)}
    if action == RuleAction.HOLD:
        return Sentence("hold it for %(nodes)s", values) if nodes else Sentence("hold it")
    if action == RuleAction.DISCARD and not nodes:
        return Sentence("discard it")
    return Sentence("send it to %(nodes)s", values)


def _does(rule: Rule) -> Sentence:
    if rule.only_notifies:
        return Sentence("notify %(nodes)s", {"nodes": ", ".join(rule.notify)})
    words = outcome_words(rule.action, rule.send, rule.notify)
    if rule.priority == Urgency.NORMAL or not rule.send:
        return words
    return Sentence("%(action)s, %(urgency)s", {"action": words, "urgency": URGENCY[rule.priority]})


def hands(publication: Publication) -> Sentence:
    """Who wrote a version, and who put it in force."""
    way, _, other = publication.source.partition(":")
    author = publication.author or publication.source
    if way in ("draft", "planned") and other and other != author:
        return Sentence("%(author)s, put in force by %(other)s", {"author": author, "other": other})
    return Sentence("%(author)s", {"author": author})


def missing() -> Problem:
    """The answer where there is no such draft, rule or version."""
    return Problem(404, "There is no such draft, rule or version")


def refusal(error: BrokerError) -> Sentence:
    """Why nothing was put in force, and what to do."""
    match error:
        case SecondPersonNeeded():
            return Sentence("Nothing was changed: somebody else than the author has to put it in force.")
        case DraftChanged():
            return Sentence("The draft was changed meanwhile: look at it again. Nothing was changed.")
        case PlanWaits():
            return Sentence("Nothing was changed: another activation is planned. Cancel it first.")
        case NoSuchTime():
            return Sentence("Nothing was changed: say a time in the future, within a year.")
        case NotPlanned():
            return Sentence("It is not planned any more: it is in force by now, or was cancelled.")
        case Conflict():
            return Sentence("Somebody else has published another version meanwhile: look again. Nothing was changed.")
    return Sentence("Nothing was changed: %(words)s", {"words": str(error)[:1000]})


def plan_failure(plan: RulePlan) -> Sentence:
    """Why a plan did not come into force."""
    if plan.failure == OVERTAKEN:
        return Sentence("another version was put in force before")
    return Sentence("%(words)s", {"words": plan.failure})


def number_of(text: str) -> int:
    """A number of a form or an address; 0 for what is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def moment_of(text: str, zone: tzinfo) -> float | None:
    """A time that was typed, on the clock of the site (s since the epoch); None for what is none."""
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp()
    except (ValueError, OverflowError):
        return None
