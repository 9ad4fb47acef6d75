"""Rules over facts: three-valued logic, every operator, and what happens with an instance."""

from __future__ import annotations

import itertools
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from broker.errors import ConfigurationError
from broker.routing.rules import evaluate
from broker.routing.rules.checking import check
from broker.routing.rules.evaluate import RoutingDecision, as_facts, decide
from broker.routing.rules.parsing import parse_rules
from broker.routing.rules.ruleset import RuleSet
from broker.routing.rules.tracing import trace

NODES = {"pacs", "cad", "archive"}
T = {"field": "tag.Modality", "value": "CT"}  # true for CT
F = {"field": "tag.Modality", "value": "MR"}
U = {"field": "tag.PatientID", "value": "1"}  # unknown while there is no patient id
FACTS = {"tag.Modality": ("CT",)}


def rules(*conditions: Any, **more: Any) -> RuleSet:
    tables = [{"name": f"rule {n}", "when": when, "send": ["pacs"]} for n, when in enumerate(conditions, 1)]
    return parse_rules({"rule": tables} | more, NODES)


def truth(when: Any, facts: Any = None) -> str:
    """Result of one condition: true, false or unknown, as its trace tells."""
    given_facts = FACTS if facts is None else as_facts(facts)
    result: str = trace(rules(when), given_facts)[0]["result"]
    return result


def holds(field: str, op: str, value: Any, seen: Any) -> bool:
    """The outcome of one test over one fact."""
    when = {"field": field, "op": op} | ({} if op == "exists" else {"value": value})
    result = truth(when, {field: seen})
    assert result in ("true", "false")
    return result == "true"


# --- logic -----------------------------------------------------------------------------------------------


def test_leaves() -> None:
    assert [truth(T), truth(F), truth(U)] == ["true", "false", "unknown"]


@pytest.mark.parametrize(("a", "result"), [(T, "false"), (F, "true"), (U, "unknown")])
def test_not(a: Any, result: str) -> None:
    assert truth({"not": a}) == result
    assert truth({"not": {"not": a}}) == truth(a)


@pytest.mark.parametrize(
    ("a", "b", "both", "either"),
    [
        (T, T, "true", "true"), (T, F, "false", "true"), (T, U, "unknown", "true"),
        (F, F, "false", "false"), (F, U, "false", "unknown"), (U, U, "unknown", "unknown"),
    ],
)  # fmt: skip
def test_all_and_any(a: Any, b: Any, both: str, either: str) -> None:
    for one, two in ((a, b), (b, a)):
        assert truth({"all": [one, two]}) == both
        assert truth({"any": [one, two]}) == either
        assert truth({"not": {"all": [one, two]}}) == truth({"any": [{"not": one}, {"not": two}]})


@given(some.lists(some.sampled_from([T, F, U]), min_size=1, max_size=6))
def test_groups_are_kleenes_minimum_and_maximum(members: list[Any]) -> None:
    rank = {"false": 0, "unknown": 1, "true": 2}
    values = [rank[truth(member)] for member in members]
    assert rank[truth({"all": members})] == min(values)
    assert rank[truth({"any": members})] == max(values)


def test_an_unknown_rule_does_not_match_and_says_so() -> None:
    decision = decide(rules(U), FACTS)
    assert (decision.action, decision.destinations) == ("hold", ())
    (entry,) = trace(rules(U), FACTS)
    assert entry["result"] == "unknown"
    assert entry["tests"] == [{"field": "tag.PatientID", "op": "is", "seen": [], "result": "unknown"}]


# --- operators on text -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("op", "value", "seen", "result"),
    [
        ("is", "CT", "CT", True), ("is", "ct", "CT", True), ("is", "CT", "CTA", False), ("is", "", "CT", False),
        ("is", "Straße", "STRASSE", True), ("is", "İ", "i̇", True),
        ("in", ["CT", "mr"], "MR", True), ("in", ["CT", "MR"], "CR", False), ("in", ["CT"], "C", False),
        ("contains", "BB", "aabbcc", True), ("contains", "", "x", True), ("contains", "abc", "ab", False),
        ("starts_with", "MAMMO", "mammo2", True), ("starts_with", "AMMO", "MAMMO", False),
        ("glob", "MAMMO*", "MAMMO", True), ("glob", "MAMMO*", "mammo_1", True), ("glob", "MAMMO*", "1MAMMO", False),
        ("glob", "CT?", "CT1", True), ("glob", "CT?", "CT", False), ("glob", "CT?", "CT12", False),
        ("glob", "*", "", True), ("glob", "a*c", "a\nb\nc", True), ("glob", "a", "a\n", False),
        ("glob", "1.2*", "1x2", False), ("glob", "[ab]+(c)|$^", "[ab]+(c)|$^", True), ("glob", "[ab]", "a", False),
        ("glob", "Zürich*", "ZÜRICH 1", True), ("glob", "Straße*", "Straße 1", True), ("glob", "?", "ü", True),
        ("glob", "?", "😀", True), ("glob", "\\*", "\\x", True), ("glob", "*" * 200 + "b", "a" * 500, False),
        ("regex", "^CT[0-9]+$", "ct12", True), ("regex", "^CT[0-9]+$", "CT", False), ("regex", "T", "CT1", True),
        ("regex", "^[A-Z]+$", "abc", True), ("regex", "Straße", "Straße", True), ("regex", "^a$", "a\n", False),
        ("regex", "ü", "Ü", True), ("regex", "", "x", True), ("regex", r"\d{2}", "a12", True),
        ("exists", None, "x", True),
    ],
)  # fmt: skip
def test_text_operators(op: str, value: Any, seen: str, result: bool) -> None:
    facts = {"tag.StudyDescription": (seen,)}
    when = {"field": "tag.StudyDescription", "op": op} | ({} if value is None else {"value": value})
    assert trace(rules(when), facts)[0]["result"] == ("true" if result else "false")


def test_a_missing_operator_is_is() -> None:
    assert truth({"field": "tag.Modality", "value": "CT"}) == "true"


@pytest.mark.parametrize(
    ("op", "value", "seen", "result"),
    [
        ("is", 5, 5, True), ("is", 5, 5.0, True), ("is", 5, 4.999, False), ("in", [1, 2.5], 2.5, True),
        ("in", [1, 2], 3, False), ("lt", 5, 4.9, True), ("lt", 5, 5, False), ("le", 5, 5, True), ("le", 5, 5.1, False),
        ("gt", 5, 5.1, True), ("gt", 5, 5, False), ("ge", 5, 5, True), ("ge", 5, 4.9, False), ("lt", 0, -3, True),
        ("exists", None, 0, True),
    ],
)  # fmt: skip
def test_number_operators(op: str, value: Any, seen: float, result: bool) -> None:
    assert holds("tag.SliceThickness", op, value, seen) is result


def test_one_of_many_values_is_enough() -> None:
    assert holds("tag.ImageType", "is", "PRIMARY", ["ORIGINAL", "PRIMARY", "AXIAL"])
    assert not holds("tag.ImageType", "is", "DERIVED", ["ORIGINAL", "PRIMARY"])
    assert holds("tag.PixelSpacing", "gt", 1, [0.5, 1.5])


def test_missing_and_empty_facts_are_unknown() -> None:
    for op in ("is", "contains", "starts_with", "glob", "regex"):
        assert truth({"field": "tag.Modality", "op": op, "value": "x"}, {}) == "unknown"
        assert truth({"field": "tag.Modality", "op": op, "value": "x"}, {"tag.Modality": []}) == "unknown"
    assert truth({"field": "tag.Modality", "op": "exists"}, {}) == "false"
    assert truth({"not": {"field": "tag.Modality", "op": "exists"}}, {}) == "true"


def test_regular_expressions_are_linear() -> None:
    """The pattern and the header are both untrusted: no pattern may stop the broker."""
    for pattern in ("(a+)+$", "(a|aa)+$", "(.*a){25}$", "(x+x+)+y"):
        started = time.process_time()
        assert truth({"field": "tag.StudyDescription", "op": "regex", "value": pattern},
                     {"tag.StudyDescription": "a" * 1023 + "!"}) == "false"  # fmt: skip
        assert time.process_time() - started < 0.5


# --- kinds that do not fit -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "op", "value", "seen"),
    [("tag.SliceThickness", "lt", 5, ("4",)), ("tag.SliceThickness", "is", 5, ("5.0",)),
     ("tag.SliceThickness", "in", [5], ("5.0",)), ("tag.Modality", "is", "5.0", (5.0,)),
     ("tag.Modality", "contains", "5", (5.0,)), ("tag.Modality", "regex", "5", (5.0,)),
     ("tag.Modality", "in", ["5.0"], (5.0,))],
)  # fmt: skip
def test_a_fact_of_the_wrong_kind_holds_the_instance(field: str, op: str, value: Any, seen: Any) -> None:
    """Neither a silent yes nor a silent no."""
    decision = decide(rules({"field": field, "op": op, "value": value}), {field: seen})
    assert (decision.action, decision.reason) == ("hold", "rule-error:TypeError")


# --- decisions -------------------------------------------------------------------------------------------


def table(name: str, when: Any, *send: str, then: str = "continue") -> dict[str, Any]:
    return {"name": name, "when": when, "send": list(send), "then": then}


def decided(*tables: Any, default: Any = None, facts: Any = None) -> RoutingDecision:
    document: dict[str, Any] = {"rule": list(tables)}
    if default:
        document["default"] = default
    return decide(parse_rules(document, NODES), FACTS if facts is None else facts)


def test_destinations_are_the_union_of_all_matching_rules() -> None:
    found = decided(table("a", T, "cad", "pacs"), table("b", F, "archive"), table("c", T, "pacs", "archive"))
    assert (found.action, found.destinations, found.rules) == ("send", ("cad", "pacs", "archive"), ("a", "c"))


def test_stop_ends_the_list_only_when_it_matches() -> None:
    assert decided(table("a", T, "pacs", then="stop"), table("b", T, "cad")).destinations == ("pacs",)
    assert decided(table("a", F, "pacs", then="stop"), table("b", T, "cad")).destinations == ("cad",)
    assert decided(table("a", U, "pacs", then="stop"), table("b", T, "cad")).destinations == ("cad",)


def test_a_stopped_list_is_traced_as_far_as_it_went() -> None:
    ruleset = parse_rules({"rule": [table("a", T, "pacs", then="stop"), table("b", T, "cad")]}, NODES)
    assert [entry["rule"] for entry in trace(ruleset, FACTS)] == ["a"]
    assert decide(ruleset, FACTS).outcomes == ("tt",)


@pytest.mark.parametrize(
    ("default", "action", "destinations"),
    [(None, "hold", ()), ({"action": "hold"}, "hold", ()), ({"action": "discard"}, "discard", ()),
     ({"action": "send", "send": ["archive"]}, "send", ("archive",))],
)  # fmt: skip
def test_the_default_applies_when_no_rule_matched(default: Any, action: str, destinations: tuple[str, ...]) -> None:
    found = decided(table("a", F, "pacs"), default=default)
    assert (found.action, found.destinations) == (action, destinations)
    assert decided(table("a", T, "pacs"), default=default).destinations == ("pacs",)
    assert decide(parse_rules({"default": default} if default else {}, NODES), {}).action == action


@pytest.mark.parametrize("position", [0, 1, 2])
def test_an_error_holds_whatever_matched_before(position: int, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = evaluate.leaf_truth, itertools.count()

    def broken(*args: Any) -> evaluate.Truth:
        if next(calls) == position:
            raise ValueError("Canary^Carl")
        return real(*args)

    monkeypatch.setattr(evaluate, "leaf_truth", broken)
    found = decided(*(table(f"r{n}", T, "pacs") for n in range(3)), default={"action": "send", "send": ["cad"]})
    assert (found.action, found.destinations, found.rules) == ("hold", (), ())
    assert found.reason == "rule-error:ValueError"
    assert found.outcomes[-1] == "e"
    assert "Canary" not in str(found)


def test_a_trace_shows_what_was_seen_in_bounded_size() -> None:
    facts = {"tag.ImageType": tuple("x" * 1000 for _ in range(50))}
    (leaf,) = trace(rules({"field": "tag.ImageType", "value": "y"}), facts)[0]["tests"]
    assert leaf["result"] == "false"
    assert len(leaf["seen"]) == 8
    assert {len(value) for value in leaf["seen"]} == {64}


def test_every_leaf_is_traced_also_when_the_first_decides() -> None:
    assert len(trace(rules({"any": [T, F, U]}), FACTS)[0]["tests"]) == 3


def test_a_thousand_rules_are_quick() -> None:
    ruleset = parse_rules({"rule": [table(f"r{n}", {"all": [T, {"not": F}, U]}, "pacs") for n in range(1000)]}, NODES)
    started = time.process_time()
    decide(ruleset, FACTS)
    assert time.process_time() - started < 0.5


# --- examples --------------------------------------------------------------------------------------------


def with_example(facts: Any, sends: list[str], **more: Any) -> RuleSet:
    one = table("to pacs", T, "pacs") | {"example": [{"facts": facts, "sends": sends}]}
    return parse_rules(
        {"rule": [one, table("all", {"field": "assoc.calling_ae", "op": "exists"}, "cad")]} | more, NODES
    )


def test_examples_that_hold_pass() -> None:
    check(with_example({"tag.Modality": "CT"}, ["pacs"]))
    check(with_example({"tag.Modality": ["MR", "CT"], "assoc.calling_ae": "X"}, ["cad", "pacs"]))
    check(with_example({"tag.Modality": "MR"}, []))


def test_an_example_that_fails_names_rule_and_number() -> None:
    with pytest.raises(ConfigurationError) as caught:
        check(with_example({"tag.Modality": "MR"}, ["pacs"]))
    assert "to pacs" in str(caught.value)
    assert "example 1" in str(caught.value)


def test_examples_see_the_default() -> None:
    check(with_example({"tag.Modality": "MR"}, ["archive"], default={"action": "send", "send": ["archive"]}))


def test_plain_values_become_facts() -> None:
    assert as_facts({"a": "x", "b": 1, "c": ["x", "y"], "d": [1, 2.5]}) == {
        "a": ("x",), "b": (1.0,), "c": ("x", "y"), "d": (1.0, 2.5),
    }  # fmt: skip


_values = some.text(max_size=8) | some.floats(allow_nan=True) | some.sampled_from(["CT", "MR", ""])
_leaf = some.fixed_dictionaries(
    {"field": some.sampled_from(["tag.Modality", "tag.StudyDescription"]),
     "op": some.sampled_from(["is", "contains", "starts_with", "glob"]), "value": some.text(max_size=5)}
)  # fmt: skip
_tree = some.recursive(
    _leaf,
    lambda inner: some.builds(lambda kind, members: {kind: members}, some.sampled_from(["all", "any"]),
                              some.lists(inner, min_size=1, max_size=3))
    | some.builds(lambda member: {"not": member}, inner),
    max_leaves=6,
)  # fmt: skip


@given(_tree, some.dictionaries(some.sampled_from(["tag.Modality", "tag.StudyDescription"]),
                                some.lists(_values, max_size=3).map(tuple)))  # fmt: skip
def test_no_rule_and_no_facts_ever_raise(when: Any, facts: Any) -> None:
    try:
        ruleset = rules(when)
    except ConfigurationError:
        return  # nested too deeply
    found = decide(ruleset, facts)
    assert found.action in ("send", "hold")
    assert (found.action == "send") == bool(found.destinations)
