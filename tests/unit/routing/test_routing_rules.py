"""Rules: three-valued logic, operators, and mistakes that name rule and key."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import ConfigurationError
from broker.routing.rules.checking import check
from broker.routing.rules.evaluate import as_facts, decide
from broker.routing.rules.parsing import parse_rules
from broker.routing.rules.tracing import trace

NODES = {"pacs", "cad", "archive"}
TRUE: dict[str, Any] = {"field": "tag.Modality", "op": "is", "value": "CT"}
FALSE: dict[str, Any] = {"field": "tag.Modality", "op": "is", "value": "MR"}
UNKNOWN: dict[str, Any] = {"field": "tag.StationName", "op": "is", "value": "X"}
FACTS = as_facts({"tag.Modality": "CT", "tag.ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"], "tag.SliceThickness": 1.25})


def outcome(when: dict[str, Any], facts: Any = FACTS) -> str:
    """What a single rule gives: true, false or unknown, read from its trace."""
    ruleset = parse_rules({"rule": [{"name": "r", "when": when, "send": ["pacs"]}]}, NODES)
    decision = decide(ruleset, facts)
    result = str(trace(ruleset, facts)[0]["result"])
    assert (decision.destinations == ("pacs",)) is (result == "true")
    return result


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        (TRUE, "true"), (FALSE, "false"), (UNKNOWN, "unknown"),
        ({"not": TRUE}, "false"), ({"not": FALSE}, "true"), ({"not": UNKNOWN}, "unknown"),
        ({"all": [TRUE, TRUE]}, "true"), ({"all": [TRUE, FALSE]}, "false"), ({"all": [TRUE, UNKNOWN]}, "unknown"),
        ({"all": [FALSE, UNKNOWN]}, "false"), ({"all": [UNKNOWN, UNKNOWN]}, "unknown"),
        ({"any": [FALSE, FALSE]}, "false"), ({"any": [TRUE, UNKNOWN]}, "true"), ({"any": [FALSE, UNKNOWN]}, "unknown"),
        ({"any": [FALSE, TRUE]}, "true"),
        ({"not": {"all": [TRUE, UNKNOWN]}}, "unknown"),
        ({"not": {"any": [TRUE, UNKNOWN]}}, "false"),
        ({"all": [{"any": [FALSE, TRUE]}, {"not": FALSE}]}, "true"),
    ],
)  # fmt: skip
def test_logic_has_three_values(when: dict[str, Any], expected: str) -> None:
    assert outcome(when) == expected


@pytest.mark.parametrize(
    ("field", "op", "value", "expected"),
    [
        ("tag.Modality", "is", "ct", "true"),  # text without regard to case
        ("tag.Modality", "in", ["MR", "CT"], "true"),
        ("tag.Modality", "in", ["MR"], "false"),
        ("tag.ImageType", "is", "AXIAL", "true"),  # any value of a multi-valued element
        ("tag.ImageType", "contains", "prim", "true"),
        ("tag.ImageType", "starts_with", "ORIG", "true"),
        ("tag.ImageType", "starts_with", "RIG", "false"),
        ("tag.ImageType", "glob", "A?IAL", "true"),
        ("tag.ImageType", "glob", "A?IA", "false"),
        ("tag.ImageType", "glob", "*", "true"),
        ("tag.ImageType", "glob", "a.ial", "false"),  # a dot is a dot
        ("tag.ImageType", "regex", "^ax.*l$", "true"),
        ("tag.ImageType", "regex", "^x", "false"),
        ("tag.SliceThickness", "lt", 2, "true"),
        ("tag.SliceThickness", "le", 1.25, "true"),
        ("tag.SliceThickness", "gt", 1.25, "false"),
        ("tag.SliceThickness", "ge", 1.25, "true"),
        ("tag.SliceThickness", "is", 1.25, "true"),
        ("tag.SliceThickness", "in", [1, 1.25], "true"),
    ],
)
def test_operators(field: str, op: str, value: Any, expected: str) -> None:
    assert outcome({"field": field, "op": op, "value": value}) == expected


def test_exists_is_never_unknown() -> None:
    assert outcome({"field": "tag.Modality", "op": "exists"}) == "true"
    assert outcome({"field": "tag.StationName", "op": "exists"}) == "false"


def test_destinations_add_up_in_order_without_repetition_and_stop_stops() -> None:
    rules = [
        {"name": "one", "when": TRUE, "send": ["pacs", "cad"]},
        {"name": "two", "when": FALSE, "send": ["archive"]},
        {"name": "three", "when": TRUE, "send": ["cad", "pacs"], "then": "stop"},
        {"name": "four", "when": TRUE, "send": ["archive"]},
    ]
    ruleset = parse_rules({"rule": rules}, NODES)
    decision = decide(ruleset, FACTS)
    assert decision.destinations == ("pacs", "cad")
    assert decision.rules == ("one", "three")
    assert [entry["rule"] for entry in trace(ruleset, FACTS)] == ["one", "two", "three"]


@pytest.mark.parametrize(
    ("default", "action", "destinations"),
    [
        ({}, "hold", ()),
        ({"action": "hold"}, "hold", ()),
        ({"action": "discard"}, "discard", ()),
        ({"action": "send", "send": ["archive"]}, "send", ("archive",)),
    ],
)
def test_what_no_rule_matches(default: dict[str, Any], action: str, destinations: tuple[str, ...]) -> None:
    rules = {"rule": [{"name": "r", "when": UNKNOWN, "send": ["pacs"]}], "default": default}
    decision = decide(parse_rules(rules, NODES), FACTS)
    assert (decision.action, decision.destinations) == (action, destinations)


def test_error_in_a_rule_holds_the_object_earlier_matches_included() -> None:
    rules = [
        {"name": "good", "when": TRUE, "send": ["pacs"]},
        {"name": "broken", "when": {"field": "tag.SliceThickness", "op": "lt", "value": 2}, "send": ["cad"]},
    ]
    facts = {**FACTS, "tag.SliceThickness": (object(),)}  # what the catalogue never gives
    decision = decide(parse_rules({"rule": rules}, NODES), facts)  # type: ignore[arg-type]
    assert decision.action == "hold"
    assert decision.destinations == ()
    assert decision.reason == "rule-error:TypeError"


def test_trace_says_what_was_seen() -> None:
    ruleset = parse_rules({"rule": [{"name": "r", "when": {"all": [TRUE, UNKNOWN]}, "send": ["pacs"]}]}, NODES)
    assert trace(ruleset, FACTS) == [
        {
            "rule": "r",
            "result": "unknown",
            "tests": [
                {"field": "tag.Modality", "op": "is", "seen": ["CT"], "result": "true"},
                {"field": "tag.StationName", "op": "is", "seen": [], "result": "unknown"},
            ],
        }
    ]


def test_examples_are_run_and_a_wrong_one_names_its_rule() -> None:
    rule = {
        "name": "r",
        "when": TRUE,
        "send": ["pacs"],
        "example": [{"facts": {"tag.Modality": "CT"}, "sends": ["pacs"]}],
    }
    check(parse_rules({"rule": [rule]}, NODES))
    rule["example"] = [{"facts": {"tag.Modality": "CT"}, "sends": ["cad"]}]
    with pytest.raises(ConfigurationError, match=r"rule 'r': example 1: sends \['pacs'\], expected \['cad'\]"):
        check(parse_rules({"rule": [rule]}, NODES))


def rule(**changes: Any) -> dict[str, Any]:
    table = {"name": "r", "when": TRUE, "send": ["pacs"]} | changes
    return {"rule": [{key: value for key, value in table.items() if value is not None}]}


@pytest.mark.parametrize(
    ("document", "named"),
    [
        (rule(name=None), "rule 1: name: required"),
        (rule(when=None), "rule 'r': when: required"),
        (rule(send=[]), "rule 'r': send: at least one"),
        (rule(send="pacs"), "rule 'r': send: a list"),
        (rule(send=["nowhere"]), "rule 'r': send: unknown node 'nowhere'"),
        (rule(then="jump"), "rule 'r': then: continue or stop"),
        (rule(wenn=TRUE), "rule 'r': wenn: unknown key"),
        (rule(when={"field": "tag.Modalty", "op": "is", "value": "CT"}), "unknown field 'tag.Modalty'"),
        (rule(when={"field": "tag.PixelData", "op": "exists"}), "unknown field 'tag.PixelData'"),
        (rule(when={"field": "os.environ", "op": "exists"}), "unknown field 'os.environ'"),
        (rule(when={"field": "tag.Modality", "op": "eval", "value": "1"}), "tag.Modality: unknown operator 'eval'"),
        (rule(when={"field": "tag.Modality", "op": "lt", "value": 1}), "unknown operator 'lt' for a text field"),
        (rule(when={"field": "tag.SliceThickness", "op": "glob", "value": "1"}), "for a number field"),
        (rule(when={"field": "tag.SliceThickness", "op": "is", "value": "1"}), "value: a number"),
        (rule(when={"field": "tag.Modality", "op": "is", "value": 1}), "value: a text"),
        (rule(when={"field": "tag.Modality", "op": "is"}), "tag.Modality: value: required"),
        (rule(when={"field": "tag.Modality", "op": "in", "value": "CT"}), "value: a list"),
        (rule(when={"field": "tag.Modality", "op": "regex", "value": "("}), "not a regular expression"),
        (rule(when={"field": "tag.Modality", "op": "regex", "value": r"(a)\1"}), "not a regular expression"),
        (rule(when={"field": "tag.Modality", "op": "is", "value": "x" * 501}), "500 characters"),
        (rule(when={"all": []}), "when: all: a list"),
        (rule(when={"all": [TRUE], "any": [TRUE]}), "any: unknown key"),
        (rule(when={}), "a condition has all, any, not, item or field"),
        (rule(when="CT"), "a condition is a table"),
        (rule(when={"any": [TRUE] * 201}), "more than 200 tests"),
        ({"rule": [*rule()["rule"], *rule()["rule"]]}, "rule 'r': the name is used twice"),
        ({"default": {"action": "drop"}}, "default: action"),
        ({"default": {"action": "hold", "send": ["pacs"]}}, "default: send"),
        ({"default": {"action": "send"}}, "default: send"),
        ({"default": {"then": "stop"}}, "default: then: unknown key"),
    ],
)
def test_mistakes_name_rule_and_key(document: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_rules(document, NODES)
    assert named in str(caught.value)


def test_nesting_has_a_limit() -> None:
    when: dict[str, Any] = TRUE
    for _ in range(8):
        when = {"not": when}
    with pytest.raises(ConfigurationError, match="nested deeper than 8"):
        parse_rules(rule(when=when), NODES)


def test_hostile_pattern_and_hostile_value_take_linear_time() -> None:
    rules = parse_rules(rule(when={"field": "tag.StudyDescription", "op": "regex", "value": "^(a+)+$"}), NODES)
    globs = parse_rules(rule(when={"field": "tag.StudyDescription", "op": "glob", "value": "*a" * 200 + "b"}), NODES)
    facts = as_facts({"tag.StudyDescription": "a" * 50_000 + "!"})
    began = time.process_time()
    assert decide(rules, facts).destinations == ()
    assert decide(globs, facts).destinations == ()
    assert time.process_time() - began < 2


@given(st.recursive(
    st.sampled_from([TRUE, FALSE, UNKNOWN]),
    lambda inner: st.one_of(
        inner.map(lambda x: {"not": x}),
        st.lists(inner, min_size=1, max_size=3).map(lambda x: {"all": x}),
        st.lists(inner, min_size=1, max_size=3).map(lambda x: {"any": x}),
    ),
    max_leaves=4,
))  # fmt: skip
def test_de_morgan_holds_with_unknowns(condition: dict[str, Any]) -> None:
    def swap(node: dict[str, Any]) -> dict[str, Any]:
        """The negation pushed to the leaves."""
        if "not" in node:
            return node["not"]  # type: ignore[no-any-return]
        if "all" in node:
            return {"any": [{"not": member} for member in node["all"]]}
        if "any" in node:
            return {"all": [{"not": member} for member in node["any"]]}
        return {"not": node}

    assert outcome({"not": condition}) == outcome(swap(condition))
