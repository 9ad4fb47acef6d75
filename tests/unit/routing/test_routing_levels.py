"""Levels of rules by table: when a study is complete, what its facts are, what late images do, what a check refuses."""

from __future__ import annotations

from typing import Any

import pytest

from broker.errors import ConfigurationError
from broker.routing.levels.applying import JudgedRound, Own, outcome
from broker.routing.levels.study_facts import MOST, FactUnion, TooManyValues, counted
from broker.routing.rules.checking import check, doubts
from broker.routing.rules.completion import CompletionPolicy, GatheringState, PerformedObjects, lacking, look
from broker.routing.rules.evaluate import as_facts, decide
from broker.routing.rules.levels import LevelDecision, decide_level, for_object, kept_decision, kept_marks
from broker.routing.rules.parsing import parse_rules
from broker.routing.rules.ruleset import Level, RuleAction, RuleSet
from broker.routing.rules.tracing import trace
from broker.store.images.gathered import GatheredObject

NODES = frozenset({"pacs", "cad"})
CT = {"field": "tag.Modality", "value": "CT"}
MR = {"field": "tag.Modality", "value": "MR"}


def rule(name: str, *send: str, level: str = "study", when: Any = CT, **more: Any) -> dict[str, Any]:
    return {"name": name, "level": level, "when": when, "send": list(send)} | more


def rules(*tables: dict[str, Any], **document: Any) -> RuleSet:
    return parse_rules({"rule": list(tables)} | document, NODES)


# --- completion --------------------------------------------------------------------------------------------

POLICY = CompletionPolicy(quiet=60, most=600)
HERE, LACKS, OPEN = PerformedObjects(listed=3), PerformedObjects(listed=3, missing=1), PerformedObjects(open=1)


@pytest.mark.parametrize(
    ("state", "now", "complete", "waits", "due"),
    [
        ({}, 59, None, "quiet", 60), ({}, 60, "quiet", "", 0), ({"last_at": 50}, 100, None, "quiet", 110),
        ({"last_at": 590}, 595, None, "quiet", 600), ({"last_at": 599}, 600, "cap", "", 0),
        ({"ended": True}, 1, "association", "", 0), ({"performed": HERE}, 1, None, "mpps", 2),
        ({"performed": HERE}, 2, "mpps", "", 0), ({"performed": LACKS}, 599, None, "mpps", 600),
        ({"performed": OPEN}, 90, None, "mpps", 600), ({"performed": OPEN, "ended": True}, 90, None, "mpps", 600),
        ({"performed": LACKS}, 600, "cap", "", 0), ({"order_open": True}, 90, None, "order", 150),
        ({"order_open": True}, 590, None, "order", 600),
        ({"order_open": True, "performed": HERE}, 9, None, "order", 69),
        ({"performed": LACKS, "late": True}, 60, "quiet", "", 0),
        ({"order_open": True, "late": True}, 60, "quiet", "", 0),
        ({"last_at": 5000, "opened_at": 5000}, 100, None, "quiet", 160),  # the clock was set back
    ],
)  # fmt: skip
def test_when_a_study_is_complete(
    state: dict[str, Any], now: float, complete: str | None, waits: str, due: float
) -> None:
    verdict = look(POLICY, GatheringState(**{"opened_at": 0.0, "last_at": 0.0} | state), now)
    assert (verdict.complete, verdict.waits, verdict.due_at) == (complete, waits, due)


REQUIRED = [{"modality": "MR", "study": "*knee*", "series": ["*T1*", "*t2?tse*"], "modalities": ["SR"]}]


@pytest.mark.parametrize(
    ("facts", "missing"),
    [
        ({"tag.Modality": ["CT"], "tag.StudyDescription": ["Knee"]}, []),
        ({"tag.Modality": ["MR"], "tag.StudyDescription": ["Hip"]}, []),
        ({"tag.Modality": ["MR"], "tag.StudyDescription": ["KNEE left"]}, ["*T1*", "*t2?tse*", "SR"]),
        ({"tag.Modality": ["MR", "SR"], "tag.StudyDescription": ["Knee"], "tag.SeriesDescription": ["Sag T1"]},
         ["*t2?tse*"]),
        ({"tag.Modality": ["MR", "SR"], "tag.StudyDescription": ["Knee"],
          "tag.SeriesDescription": ["Sag T1", "Ax T2 TSE fs"]}, []),
    ],
)  # fmt: skip
def test_what_is_required(facts: dict[str, list[str]], missing: list[str]) -> None:
    assert lacking(rules(completion={"required": REQUIRED}).completion.required, facts) == missing


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"stduy": {}}, "completion: stduy: unknown key"),
        ({"study": {"quiet": 0.5}}, "quiet: seconds from 1 to 604800"),
        ({"study": {"quiet": True}}, "quiet: seconds"), ({"study": {"most": 10}}, "most: not less than quiet"),
        ({"series": {"expected": ["order"]}}, "expected: a list of mpps"),
        ({"study": {"at_most": "send"}}, "judge or hold"),
        ({"study": {"association_end": 1}}, "true or false"),
        ({"required": [{"modality": "CT"}]}, "at least one pattern"),
        ({"required": [{"series": [""]}]}, "texts of at most"),
        ({"late": [{"send": "all"}]}, "at least one destination"),
        ({"late": [{"to": ["x"]}]}, "unknown node 'x'"), ({"late": [{"to": ["cad"], "send": "some"}]}, "new or never"),
        ({"late": [{"to": ["cad"]}, {"to": ["cad"]}]}, "named twice"), ({"late": {}}, "a list of at most"),
        ({"late": [{"to": ["cad"], "until": -1}]}, "until: seconds"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_completion_is_told(table: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        rules(completion=table)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("level", "field", "known"),
    [
        ("instance", "study.instances", False), ("series", "study.instances", True), ("study", "study.instances", True),
        ("study", "series.instances", False), ("series", "series.instances", True),
        ("series", "study.modalities", False),
        ("instance", "study.complete", False),
    ],
)  # fmt: skip
def test_fields_are_known_at_their_level(level: str, field: str, known: bool) -> None:
    table = rule("r", "pacs", level=level, when={"field": field, "op": "exists"})
    if known:
        assert rules(table).rules[0].level == level
    else:
        with pytest.raises(ConfigurationError, match=field):
            rules(table)


# --- facts -------------------------------------------------------------------------------------------------


def united(fields: set[str], *objects: dict[str, Any]) -> dict[str, tuple[Any, ...]]:
    union = FactUnion(fields)
    for one in objects:
        union.add(as_facts(one))
    return union.facts()


def test_a_study_has_the_values_of_all_its_objects() -> None:
    found = united(
        set(),
        {"tag.Modality": "CT", "tag.SeriesInstanceUID": "1.1", "time.local": "2026-01-01T08:00:00"},
        {"tag.Modality": "SR", "tag.SeriesInstanceUID": "1.2", "time.local": "2026-01-01T09:00:00"},
        {"tag.Modality": "CT", "tag.SeriesInstanceUID": "1.1", "order.ward": "W1"},
    )
    assert found["tag.Modality"] == ("CT", "SR")
    assert found["time.local"] == ("2026-01-01T08:00:00",)  # of the first object
    assert "order.ward" not in found  # looked up for the study
    assert counted(found, 3) == {
        "study.instances": (3.0,), "study.series": (2.0,), "study.modalities": ("CT", "SR")
    }  # fmt: skip


@pytest.mark.parametrize(
    ("test", "truth"),
    [
        ({"value": "CT"}, True), ({"value": "CT", "values": "all"}, False), ({"op": "is_not", "value": "MR"}, True),
        ({"op": "is_not", "value": "SR"}, False), ({"values": "count", "value": 2}, True), ({"op": "missing"}, False),
    ],
)  # fmt: skip
def test_what_a_test_of_a_study_means(test: dict[str, Any], truth: bool) -> None:
    ruleset = rules(rule("r", "pacs", when={"field": "tag.Modality"} | test))
    facts = united(set(), {"tag.Modality": "CT"}, {"tag.Modality": "SR"})
    assert bool(decide_level(ruleset, facts, Level.STUDY).matched) is truth


def test_too_many_values_are_an_error() -> None:
    union = FactUnion(set())
    union.add({"tag.InstanceNumber": tuple(map(float, range(MOST)))})
    union.add({"tag.InstanceNumber": (0.0,)})
    with pytest.raises(TooManyValues):
        union.add({"tag.InstanceNumber": (float(MOST),)})


def test_orders_are_looked_up_once_for_the_same_keys() -> None:
    asked: list[Any] = []

    def order(facts: Any) -> Any:
        asked.append(facts["tag.PatientID"])
        return {"match.status": ("matched" if facts["tag.PatientID"] == ("P1",) else "demographics-differ",)}

    union = FactUnion({"match.status"}, order)
    for patient in ("P1", "P1", "P2", "P1"):
        union.add({"tag.PatientID": (patient,)})
    assert asked == [("P1",), ("P2",)]
    assert union.facts()["match.status"] == ("matched", "demographics-differ")


# --- decisions ---------------------------------------------------------------------------------------------


def test_an_object_waits_for_the_levels_above_it() -> None:
    ruleset = rules(rule("own", "pacs", level="instance"), rule("s", "cad", level="series"), rule("t", "cad"))
    decision = decide(ruleset, as_facts({"tag.Modality": "CT"}))
    assert (decision.destinations, decision.waits, decision.reason) == (
        ("pacs",), {Level.SERIES, Level.STUDY}, "waits-for-series-and-study"
    )  # fmt: skip
    assert decision.words == "send"
    assert [entry["result"] for entry in trace(ruleset, as_facts({"tag.Modality": "CT"}))] == ["true", "waits", "waits"]
    other = decide(ruleset, as_facts({"tag.Modality": "MR"}))
    assert (other.words, other.destinations, other.outcomes) == ("wait", (), ("ff", "w", "w"))


def test_a_rule_that_is_off_lets_nothing_wait() -> None:
    for off in ({"enabled": False}, {"until": "2020-01-01T00:00"}):
        decision = decide(rules(rule("t", "cad", **off)), as_facts({"time.local": "2026-01-01T00:00:00"}))
        assert (decision.waits, decision.reason) == (frozenset(), "no-rule-matched")


def test_only_rules_of_the_level_are_tried_and_traced() -> None:
    ruleset = rules(rule("own", "pacs", level="instance"), rule("t", "cad", then="stop"), rule("u", "pacs"))
    decision = decide_level(ruleset, as_facts({"tag.Modality": "CT"}), Level.STUDY)
    assert (decision.matched, decision.outcomes) == ((1,), ("o", "tt"))
    told = trace(ruleset, as_facts({"tag.Modality": "CT"}), Level.STUDY, below=False)
    assert [(entry["rule"], entry["result"]) for entry in told] == [("t", "true")]
    assert kept_decision(kept_marks(decision)) == decision


@pytest.mark.parametrize("error", ["rule-error:TypeError", "not-complete"])
def test_an_error_holds_and_is_kept(error: str) -> None:
    decision = LevelDecision((), ("o", "e"), error)
    assert kept_decision(kept_marks(decision)) == decision
    assert for_object(rules(), decision).action == RuleAction.HOLD


def test_a_fact_of_a_wrong_kind_is_an_error() -> None:
    ruleset = rules(rule("t", "pacs", when={"field": "study.instances", "op": "gt", "value": 1}))
    assert decide_level(ruleset, {"study.instances": ("many",)}, Level.STUDY).error == "rule-error:TypeError"


def gathered(number: int = 1, **values: Any) -> GatheredObject:
    fields = {
        "id": number, "sop_instance_uid": f"2.999.{number}", "version": 1, "state": "waiting",
        "reason": "waits-for-study", "received_at": 0.0, "rules_version": 0, "trace": "[]", "facts": "{}",
        "planned": False,
    }  # fmt: skip
    return GatheredObject(**fields | values)


@pytest.mark.parametrize(
    ("send", "known", "changed"),
    [("all", True, True), ("updates", True, True), ("new", True, False), ("never", False, False)],
)
def test_late_images_by_policy(send: str, known: bool, changed: bool) -> None:
    ruleset = rules(rule("t", "cad"), completion={"late": [{"to": ["cad"], "send": send}]})
    judged = JudgedRound(
        rules=ruleset, level=Level.STUDY, decision=LevelDecision((0,), ("tt",)), had=frozenset({"cad"}), judged_to=5,
        late=True,
    )  # fmt: skip
    for one, wanted in ((gathered(6), known), (gathered(7, version=2), changed)):
        found = outcome(one, Own(), judged)
        assert (found.state, bool(found.deliveries)) == (("routed", True) if wanted else ("held", False))
    assert outcome(gathered(3), Own(), judged).deliveries  # it did not come late: it was not carried out then
    old = outcome(gathered(2, state="routed"), Own(), judged)
    assert (old.state, old.deliveries, old.again) == (None, (), ("cad",) if send == "all" else ())
    for state in ("held", "discarded", "purged"):
        assert outcome(gathered(2, state=state), Own(), judged).idle


def test_an_object_that_met_other_rules_is_judged_by_all_of_today() -> None:
    """A rule that is called `default` is one as any other."""
    ruleset = rules(rule("default", "pacs", level="instance"), rule("t", "cad"))
    judged = JudgedRound(rules=ruleset, level=Level.STUDY, decision=LevelDecision((1,), ("o", "tt")))
    own = Own(cut=2, waits=frozenset({Level.STUDY}), decision=decide(ruleset, as_facts({"tag.Modality": "CT"})))
    assert sorted(one.node for one in outcome(gathered(), own, judged).deliveries) == ["cad", "pacs"]
    alone = rules(rule("default", "pacs", level="instance"))
    judged = JudgedRound(rules=alone, level=Level.STUDY, decision=LevelDecision((), ("o",)))
    found = decide(alone, as_facts({"tag.Modality": "CT"}))
    assert [one.node for one in outcome(gathered(), Own(cut=1, decision=found), judged).deliveries] == ["pacs"]
    nothing = decide(alone, as_facts({"tag.Modality": "MR"}))
    assert outcome(gathered(), Own(cut=1, decision=nothing), judged).reason == "no-rule-matched"


# --- checks ------------------------------------------------------------------------------------------------


def test_an_example_of_a_study_meets_the_rules_of_its_objects_too() -> None:
    tables = [
        rule("own", "pacs", level="instance"),
        rule("t", "cad", when={"field": "study.instances", "op": "gt", "value": 9}),
    ]
    tables[1]["example"] = [{"facts": {"tag.Modality": "CT", "study.instances": 10}, "sends": ["cad", "pacs"]}]
    tables[0]["example"] = [{"facts": {"tag.Modality": "CT"}, "sends": ["pacs"]}]
    check(rules(*tables))
    tables[1]["example"][0]["facts"]["study.instances"] = 9
    with pytest.raises(ConfigurationError, match="'t': example 1: sends"):
        check(rules(*tables))


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ([rule("t", "cad", then="stop"), rule("own", "pacs", level="instance")], "cannot end the list for rule 'own'"),
        (
            [rule("own", "pacs", level="instance"), rule("t", action="discard", reason="x")],
            "discards nothing that rule",
        ),
        ([rule("t", action="hold"), rule("s", "cad", level="series")], "cannot end the list for rule 's'"),
    ],
)
def test_doubts(tables: list[dict[str, Any]], words: str) -> None:
    assert any(words in doubt for doubt in doubts(rules(*tables)))


def test_a_completion_that_nothing_waits_for_is_doubted() -> None:
    told = list(doubts(rules(rule("own", "pacs", level="instance"), completion={"study": {"quiet": 9}})))
    assert told == ["completion: no rule has the level series or study, so that nothing waits for it"]
    assert list(doubts(rules(rule("t", "pacs"), completion={"study": {"quiet": 9}}))) == []
