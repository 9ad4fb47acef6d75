"""Drafts of the rules, activation at a time, and four eyes: on both databases."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest

from broker.errors import ConfigurationError
from broker.routing.drafts.four_eyes import SecondPersonNeeded, four_eyes
from broker.routing.drafts.rule_drafts import DraftChanged, NoSuchDraft, RuleDrafts
from broker.routing.drafts.rule_plans import NoSuchTime, NotPlanned, PlanWaits, RulePlans
from broker.routing.site import NODES, RULES, Site, site_in_force
from broker.store.db.database import Database
from broker.store.drafts.rule_plans import PlanState
from broker.versions.in_force import Conflict, InForce, Permit, Signature

ANNA, BERT = Signature(actor="user:anna", reason="new CT"), Signature(actor="user:bert", reason="seen")
NOW = 1_800_000_000.0
PACS = {"name": "pacs", "kind": "dicom", "ae_title": "PACS", "host": "127.0.0.1", "port": 104}
CT = {"name": "CT", "when": {"field": "tag.Modality", "value": "CT"}, "send": ["pacs"]}
MR = {"name": "MR", "when": {"field": "tag.Modality", "value": "MR"}, "send": ["pacs"]}


def opened(database: Database, permit: Permit = lambda signature, kinds: None) -> InForce[Site]:
    """The site as one process has it."""
    site = site_in_force(database, permit=permit)
    assert site.value.rules is not None
    return site


@pytest.fixture
def site(database: Database) -> InForce[Site]:
    site = opened(database)
    site.publish({NODES: [{**PACS, "roles": ["destination"]}], RULES: {"rule": [CT]}}, ANNA)
    return site


class Clock:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        """The time."""
        return self.now


def names(site: InForce[Site]) -> list[str]:
    """The rules that are in force."""
    site.refresh()
    return [rule.name for rule in site.value.rules.rules]


def test_a_draft_is_made_changed_checked_and_put_in_force(database: Database, site: InForce[Site]) -> None:
    drafts = RuleDrafts(database, site)
    first = drafts.keep({"rule": [CT, MR]}, ANNA, expected=0)
    assert (first.author, first.revision, first.base) == ("user:anna", 1, 1)
    with pytest.raises(DraftChanged):
        drafts.keep({"rule": []}, ANNA, expected=0)
    second = drafts.keep({"rule": [MR]}, ANNA, expected=1)
    assert (second.id, second.revision) == (first.id, 2)
    checked = drafts.check(second.document, second.base)
    assert [one.words for one in checked.changes] == ["rule 'CT' removed", "rule 'MR' added"]
    assert (checked.mistakes, checked.overtaken, checked.number) == ([], False, 1)
    assert names(site) == ["CT"]
    with pytest.raises(DraftChanged):
        drafts.activate(first.id, 1, BERT)
    assert drafts.activate(first.id, 2, BERT) == 2
    assert names(site) == ["MR"]
    published = site.publication(RULES, 2)
    assert published is not None
    assert (published.author, published.source, published.reason) == ("user:anna", "draft:user:bert", "seen")
    with pytest.raises(NoSuchDraft):
        drafts.one(first.id)
    again = drafts.keep({"rule": [CT]}, ANNA, expected=0)
    assert (again.id, again.revision, again.base) == (first.id, 4, 2)  # an old page of it changes nothing
    drafts.drop(again.id, 4, ANNA)
    assert drafts.all() == []


def test_what_another_one_published_meanwhile_is_not_overwritten(database: Database, site: InForce[Site]) -> None:
    drafts = RuleDrafts(database, site)
    draft = drafts.keep({"rule": [MR]}, ANNA, expected=0)
    site.publish({RULES: {"rule": [CT, MR]}}, BERT)
    assert drafts.check(draft.document, draft.base).overtaken
    with pytest.raises(Conflict):
        drafts.activate(draft.id, draft.revision, ANNA)
    assert names(site) == ["CT", "MR"]
    kept = drafts.keep(draft.document, ANNA, expected=1, base=2)  # looked at, and meant all the same
    assert drafts.activate(kept.id, kept.revision, ANNA) == 3


def test_a_draft_with_mistakes_is_kept_and_not_put_in_force(database: Database, site: InForce[Site]) -> None:
    drafts = RuleDrafts(database, site)
    example = {"facts": {"tag.Modality": "MR"}, "sends": ["pacs"]}
    draft = drafts.keep({"rule": [{**CT, "example": [example, example]}]}, ANNA)
    assert drafts.check(draft.document, 1).mistakes == [
        f"rule 'CT': example {number}: sends [], expected ['pacs']" for number in (1, 2)
    ]
    with pytest.raises(ConfigurationError, match="example 1"):
        drafts.activate(draft.id, draft.revision, ANNA)
    elsewhere = drafts.keep({"rule": [{**CT, "send": ["gone"]}]}, ANNA)
    assert "unknown node 'gone'" in drafts.check(elsewhere.document, 1).mistakes[0]
    for wrong in ([], {"rule": [{**CT, "when": {}}]}, {"rules": []}, {"rule": [{**CT, "name": "\ud800"}]}):
        with pytest.raises(ConfigurationError):
            drafts.keep(wrong, ANNA)


def test_rules_come_into_force_at_their_time_and_once(database: Database, site: InForce[Site]) -> None:
    clock = Clock()
    drafts = RuleDrafts(database, site, clock)
    here, there = RulePlans(database, site, clock=clock), RulePlans(database, opened(database), clock=clock)
    draft = drafts.keep({"rule": [MR]}, ANNA, expected=0)
    for when in (NOW, NOW - 1, NOW + 1e9):
        with pytest.raises(NoSuchTime):
            here.plan_draft(draft.id, draft.revision, when, BERT)
    plan = here.plan_draft(draft.id, draft.revision, NOW + 60, BERT)
    with pytest.raises(PlanWaits):
        here.plan_version(1, NOW + 120, BERT)
    here.look()
    assert names(site) == ["CT"]
    clock.now += 60
    there.look()  # after a restart, or in another process
    here.look()
    assert names(site) == ["MR"]
    (done,) = here.all()
    assert (done.id, done.state, done.version) == (plan.id, PlanState.DONE, 2)
    assert [one.version for one in site.history(RULES)] == [2, 1]
    assert drafts.all() == []  # it says what the version says


def test_two_processes_carry_a_plan_out_once(database: Database, site: InForce[Site]) -> None:
    clock = Clock()
    both = [RulePlans(database, one, clock=clock) for one in (site, opened(database))]
    site.publish({RULES: {"rule": [MR]}}, BERT)
    both[0].plan_version(1, NOW + 1, BERT)
    clock.now += 2
    together = Barrier(2)

    def look(plans: RulePlans) -> None:
        together.wait(20)
        plans.look()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(look, both))
    assert [one.version for one in site.history(RULES)] == [3, 2, 1]
    assert [(one.state, one.version) for one in both[0].all()] == [(PlanState.DONE, 3)]


def test_a_plan_is_cancelled_or_fails_and_says_so(database: Database, site: InForce[Site]) -> None:
    clock = Clock()
    plans, drafts = RulePlans(database, site, clock=clock), RuleDrafts(database, site, clock)
    draft = drafts.keep({"rule": [MR]}, ANNA)
    first = plans.plan_draft(draft.id, draft.revision, NOW + 60, ANNA)
    plans.cancel(first.id, BERT)
    with pytest.raises(NotPlanned):
        plans.cancel(first.id, BERT)
    second = plans.plan_draft(draft.id, draft.revision, NOW + 60, ANNA)
    site.publish({RULES: {"rule": [CT, MR]}}, BERT)
    clock.now += 61
    plans.look()
    assert names(site) == ["CT", "MR"]
    assert [(one.id, one.state, one.failure) for one in plans.all()] == [
        (second.id, PlanState.FAILED, "overtaken"),
        (first.id, PlanState.CANCELED, ""),
    ]
    with pytest.raises(NotPlanned):
        plans.cancel(second.id, BERT)
    assert drafts.one(draft.id).document == {"rule": [MR]}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_four_eyes_at_every_way_to_publish(database: Database, site: InForce[Site]) -> None:
    clock = Clock()
    watched = opened(database, four_eyes)
    drafts, plans = RuleDrafts(database, watched, clock), RulePlans(database, watched, four_eyes, clock)
    draft = drafts.keep({"rule": [MR]}, ANNA)
    acts: list[Callable[[Signature], Any]] = [
        lambda who: watched.publish({RULES: {"rule": [MR]}}, who),
        lambda who: drafts.activate(draft.id, draft.revision, who),
        lambda who: plans.plan_draft(draft.id, draft.revision, NOW + 60, who),
    ]
    own_names = (ANNA, Signature(actor="cli:anna"), Signature(actor="api"), Signature(actor="token:x", author="bert"))
    for who in own_names:
        for act in acts:
            with pytest.raises(SecondPersonNeeded):
                act(who)
    with pytest.raises(SecondPersonNeeded):
        watched.publish({RULES: {"rule": [MR]}}, Signature(actor="user:bert", author="carl"))
    assert drafts.activate(draft.id, draft.revision, BERT) == 2
    for act in (lambda: watched.rollback(RULES, 1, ANNA), lambda: plans.plan_version(1, NOW + 60, ANNA)):
        with pytest.raises(SecondPersonNeeded):
            act()
    assert watched.rollback(RULES, 1, BERT) == 3
    watched.publish({NODES: [{**PACS, "port": 105, "roles": ["destination"]}]}, ANNA)  # nodes need no second person
