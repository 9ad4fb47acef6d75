"""Loading rules: any document is understood or refused by a line that names the rule and the key."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from broker.errors import ConfigurationError
from broker.routing.elements import tags_for
from broker.routing.rules.checking import doubts
from broker.routing.rules.conditions import MAX_DEPTH, MAX_LEAVES
from broker.routing.rules.fields import kind_of
from broker.routing.rules.parsing import MAX_RULES, parse_rules
from broker.routing.rules.ruleset import Group, fields_of
from broker.routing.rules.tag_paths import NoSuchField

NODES = {"pacs", "cad"}
T = {"field": "tag.Modality", "value": "CT"}
GOOD = {"name": "good", "when": T, "send": ["pacs"]}


def error(one: Any = None, /, **document: Any) -> str:
    """Text of the error for one rule or a document; one line."""
    if one is not None:
        document = {"rule": [one]}
    with pytest.raises(ConfigurationError) as caught:
        parse_rules(document, NODES)
    text = str(caught.value)
    assert "\n" not in text
    return text


def complaint(document: Any) -> str:
    """Text of the error, empty if the document is understood."""
    try:
        parse_rules(document, NODES)
    except ConfigurationError as refused:
        return str(refused)
    return ""


def test_the_example_of_the_design_is_understood() -> None:
    document = tomllib.loads("""
        [[rule]]
        name = "mammography to archive and CAD"
        when = { all = [
          { field = "tag.Modality", op = "is", value = "MG" },
          { field = "assoc.calling_ae", op = "glob", value = "MAMMO*" },
        ] }
        send = ["pacs"]
        then = "stop"
          [[rule.example]]
          facts = { "tag.Modality" = "MG", "assoc.calling_ae" = "MAMMO2" }
          sends = ["pacs"]
        [default]
        action = "send"
        send = ["cad"]
    """)
    found = parse_rules(document, NODES, 7)
    (rule,) = found.rules
    assert (found.version, found.default_action, found.default_send) == (7, "send", ("cad",))
    assert (rule.name, rule.send, rule.then) == ("mammography to archive and CAD", ("pacs",), "stop")
    assert isinstance(rule.when, Group)
    assert [getattr(member, "field", "") for member in rule.when.members] == ["tag.Modality", "assoc.calling_ae"]
    assert rule.examples[0].sends == {"pacs"}
    assert fields_of(found) == {"tag.Modality", "assoc.calling_ae"}


def test_nothing_means_hold() -> None:
    found = parse_rules({}, NODES)
    assert (found.rules, found.default_action, found.default_send) == ((), "hold", ())


def test_destinations_are_named_once() -> None:
    assert parse_rules({"rule": [GOOD | {"send": ["cad", "pacs", "cad"]}]}, NODES).rules[0].send == ("cad", "pacs")


# --- errors of a rule ------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", ["name", "when", "send"])
def test_required_keys_are_named(missing: str) -> None:
    text = error({key: value for key, value in GOOD.items() if key != missing})
    assert missing in text
    assert text.startswith("rule 1" if missing == "name" else "rule 'good'")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": ""}, ["name"]), ({"name": "  "}, ["name"]), ({"name": 5}, ["name"]), ({"name": ["a"]}, ["name"]),
        ({"nmae": "x"}, ["nmae", "unknown key"]),
        ({"send": []}, ["send"]), ({"send": "pacs"}, ["send"]), ({"send": 5}, ["send"]), ({"send": [5]}, ["send"]),
        ({"send": [["pacs"]]}, ["send"]), ({"send": [{"a": 1}]}, ["send"]),
        ({"send": ["nowhere"]}, ["send", "nowhere"]), ({"send": {"pacs": 1}}, ["send"]),
        ({"then": "go on"}, ["then"]), ({"then": True}, ["then"]), ({"then": ["stop"]}, ["then"]),
        ({"when": "tag.Modality is CT"}, ["when"]), ({"when": []}, ["when"]), ({"when": {}}, ["when"]),
        ({"when": None}, ["when"]),
        ({"example": 5}, ["example"]), ({"example": {"facts": {}}}, ["example"]), ({"example": [5]}, ["example"]),
        ({"example": [{"facts": 5}]}, ["example", "facts"]), ({"example": [{"facts": {}, "sends": 5}]}, ["sends"]),
        ({"example": [{"facts": {}, "sends": "pacs"}]}, ["sends"]),
        ({"example": [{"facts": {}, "sends": ["nowhere"]}]}, ["sends", "nowhere"]),
        ({"example": [{"facts": {}, "send": []}]}, ["example", "send"]),
        ({"example": [{"facts": {"tag.Nonsense": "x"}}]}, ["example", "tag.Nonsense"]),
        ({"example": [{"facts": {"tag.SliceThickness": "3"}}]}, ["example", "tag.SliceThickness", "number"]),
        ({"example": [{"facts": {"tag.Modality": 5}}]}, ["example", "tag.Modality", "text"]),
        ({"example": [{"facts": {"tag.Modality": {"a": 1}}}]}, ["example", "tag.Modality"]),
        ({"example": [{"facts": {"tag.Modality": ["CT", 1]}}]}, ["example", "tag.Modality"]),
    ],
)  # fmt: skip
def test_errors_of_a_rule_name_rule_and_key(change: dict[str, Any], words: list[str]) -> None:
    text = error(GOOD | change)
    for word in words:
        assert word in text, text
    if "name" not in change:
        assert "good" in text


@pytest.mark.parametrize("bad", ["x", 5, None, [], ["name"]])
def test_a_rule_that_is_no_table(bad: Any) -> None:
    assert error(rule=[bad]).startswith("rule 1")
    assert error(rule=[GOOD, bad]).startswith("rule 2")


@pytest.mark.parametrize("bad", ["x", 5, {"name": "x"}, True])
def test_rules_that_are_no_list(bad: Any) -> None:
    assert error(rule=bad).startswith("rule")


def test_a_second_rule_is_named_by_its_place() -> None:
    assert error(rule=[GOOD, {"when": T, "send": ["pacs"]}]).startswith("rule 2")
    assert "used twice" in error(rule=[GOOD, GOOD])


def test_too_many_rules() -> None:
    tables = [GOOD | {"name": str(n)} for n in range(MAX_RULES + 1)]
    assert "rule" in error(rule=tables)
    assert len(parse_rules({"rule": tables[:-1]}, NODES).rules) == MAX_RULES


@pytest.mark.parametrize(
    ("default", "words"),
    [
        ({"action": "drop"}, ["action"]), ({"action": "send"}, ["send"]),
        ({"action": "hold", "send": ["pacs"]}, ["send"]), ({"action": "discard", "send": ["pacs"]}, ["send"]),
        ({"send": ["pacs"]}, ["send"]), ({"action": "send", "send": ["x"]}, ["send", "x"]),
        ({"actoin": "hold"}, ["actoin"]), (5, ["default"]), ([], ["default"]), ({"action": ["hold"]}, ["action"]),
        ({"action": None}, ["action"]),
    ],
)  # fmt: skip
def test_errors_of_the_default(default: Any, words: list[str]) -> None:
    text = error(default=default)
    assert text.startswith("default")
    for word in words:
        assert word in text


# --- errors of a condition -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ({"field": "tag.Nonsense", "value": "x"}, ["tag.Nonsense"]),
        ({"field": "tag.", "value": "x"}, ["tag."]),
        ({"field": "Modality", "value": "x"}, ["Modality"]),
        ({"field": "tag.PixelData", "value": "x"}, ["tag.PixelData"]),
        ({"field": "tag.RequestAttributesSequence", "op": "glob", "value": "x"}, ["tag.RequestAttributesSequence"]),
        ({"field": 5, "value": "x"}, ["field"]), ({"field": ["tag.Modality"], "value": "x"}, ["field"]),
        ({"field": "tag.Modality"}, ["tag.Modality", "value"]),
        ({"field": "tag.Modality", "value": 5}, ["tag.Modality", "value", "text"]),
        ({"field": "tag.Modality", "value": True}, ["value"]), ({"field": "tag.Modality", "value": ["CT"]}, ["value"]),
        ({"field": "tag.Modality", "value": "x" * 501}, ["value"]),
        ({"field": "tag.Modality", "op": "lt", "value": "5"}, ["lt"]),
        ({"field": "tag.Modality", "op": "matches", "value": "5"}, ["matches"]),
        ({"field": "tag.Modality", "op": ["is"], "value": "5"}, ["operator"]),
        ({"field": "tag.Modality", "op": 5, "value": "5"}, ["operator"]),
        ({"field": "tag.Modality", "op": "in", "value": "CT"}, ["value", "list"]),
        ({"field": "tag.Modality", "op": "in", "value": []}, ["value", "list"]),
        ({"field": "tag.Modality", "op": "in", "value": ["CT", 5]}, ["value"]),
        ({"field": "tag.Modality", "op": "exists", "value": True}, ["value"]),
        ({"field": "tag.Modality", "vlaue": "CT"}, ["vlaue"]),
        ({"field": "tag.Modality", "value": "CT", "all": [T]}, ["all"]),
        ({"field": "tag.SliceThickness", "value": "5"}, ["tag.SliceThickness", "number"]),
        ({"field": "tag.SliceThickness", "value": True}, ["number"]),
        ({"field": "tag.SliceThickness", "value": float("nan")}, ["number"]),
        ({"field": "tag.SliceThickness", "op": "lt", "value": float("inf")}, ["number"]),
        ({"field": "tag.SliceThickness", "op": "in", "value": [1, float("-inf")]}, ["number"]),
        ({"field": "tag.SliceThickness", "value": 10**400}, ["number"]),
        ({"field": "tag.SliceThickness", "op": "contains", "value": 5}, ["contains"]),
        ({"all": []}, ["all"]), ({"any": []}, ["any"]), ({"all": T}, ["all"]), ({"all": 5}, ["all"]),
        ({"all": "abc"}, ["all"]), ({"not": [T]}, ["when"]), ({"not": None}, ["when"]),
        ({"all": [T], "any": [T]}, ["any"]), ({"none": [T]}, ["all, any, not"]), ({"all": [T, 5]}, ["when"]),
    ],
)  # fmt: skip
def test_errors_of_a_condition_name_rule_and_key(condition: dict[str, Any], words: list[str]) -> None:
    text = error(GOOD | {"when": condition})
    assert "good" in text
    for word in words:
        assert word in text, text


def test_depth_and_size_are_limited() -> None:
    deep: Any = T
    for _ in range(MAX_DEPTH - 1):
        deep = {"not": deep}
    parse_rules({"rule": [GOOD | {"when": deep}]}, NODES)
    assert "nested" in error(GOOD | {"when": {"not": deep}})
    parse_rules({"rule": [GOOD | {"when": {"all": [T] * MAX_LEAVES}}]}, NODES)
    assert "more than" in error(GOOD | {"when": {"all": [T] * (MAX_LEAVES + 1)}})
    assert "more than" in error(GOOD | {"when": {"any": [{"all": [T] * 150}, {"all": [T] * 100}]}})


def test_a_tower_of_conditions_is_refused_and_no_crash() -> None:
    deep: Any = T
    for _ in range(5000):
        deep = {"not": deep}
    assert "nested" in error(GOOD | {"when": deep})


@pytest.mark.parametrize("pattern", [r"(a)\1", r"(?=a)b", r"(?<=a)b", "(", "[", "a{1001}", r"\8", "(?P<x", "*"])
def test_patterns_beyond_re2_are_refused(pattern: str) -> None:
    text = error(GOOD | {"when": {"field": "tag.Modality", "op": "regex", "value": pattern}})
    assert "tag.Modality" in text
    assert "regular expression" in text


@pytest.mark.parametrize("pattern", ["((a{1,100}){1,100}){1,100}", "(" * 240 + ")" * 240, "[^a]" * 120])
def test_patterns_that_would_need_much_memory_are_refused_or_bounded(pattern: str) -> None:
    text = complaint({"rule": [GOOD | {"when": {"field": "tag.Modality", "op": "regex", "value": pattern}}]})
    assert not text or "regular expression" in text


# --- fields ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "kind"),
    [
        ("assoc.calling_ae", "text"), ("assoc.called_ae", "text"), ("assoc.address", "text"), ("time.hour", "number"),
        ("time.weekday", "number"), ("time.minute", None), ("time.window", "window"),
        ("assoc.port", None), ("", None), ("tag", None),
        ("tag.Modality", "text"), ("tag.PatientName", "name"), ("tag.StudyDate", "date"), ("tag.Rows", "number"),
        ("tag.SliceThickness", "number"), ("tag.InstanceNumber", "number"), ("tag.SmallestImagePixelValue", "number"),
        ("tag.PixelData", None), ("tag.modality", None), ("tag.0008,0060", None), ("order.Priority", None),
    ],
)  # fmt: skip
def test_the_catalogue_of_fields(field: str, kind: str | None) -> None:
    if kind is None:
        with pytest.raises(NoSuchField):
            kind_of(field)
    else:
        assert kind_of(field) == kind


def test_tags_of_fields() -> None:
    assert list(tags_for("tag.Modality")) == [0x00080060]
    assert list(tags_for("tag.RequestAttributesSequence.AccessionNumber")) == [0x00400275]
    assert list(tags_for("assoc.calling_ae")) == []
    assert list(tags_for("xtag.Modality")) == []
    private = set(tags_for('tag.(0019,xx0C,"SIEMENS MR HEADER")'))
    assert {0x00190010, 0x001900FF, 0x0019100C, 0x0019FF0C} < private
    assert len(private) == 480


# --- anything --------------------------------------------------------------------------------------------

_scalars = some.none() | some.booleans() | some.integers() | some.floats() | some.text(max_size=8)
_keys = some.sampled_from(
    ["name", "when", "send", "then", "example", "facts", "sends", "field", "op", "value", "all", "any", "not", "rule",
     "default", "action", "tag.Modality"]
)  # fmt: skip
_anything = some.recursive(
    _scalars,
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(_keys, inner, max_size=4),
    max_leaves=12,
)


@given(some.dictionaries(some.sampled_from(["rule", "default"]), _anything, max_size=2))
def test_any_document_is_understood_or_refused_by_name(document: Any) -> None:
    text = complaint(document)
    assert not text or text.startswith(("rule", "default"))


@given(_anything)
def test_any_rule_is_understood_or_refused_by_name(value: Any) -> None:
    for key in ("name", "when", "send", "then", "example"):
        text = complaint({"rule": [GOOD | {key: value}]})
        assert not text or text.startswith("rule")


@pytest.mark.parametrize(
    ("rule", "named"),
    [
        ({"notify": ["nobody"]}, "rule 'good': notify: unknown node 'nobody' (or not one with role notify)"),
        ({"notify": ["pacs"]}, "rule 'good': notify: unknown node 'pacs'"),
        ({"notify": "desk"}, "rule 'good': notify: a list of node names"),
        ({"notify": [["desk"]]}, "rule 'good': notify: unknown node ['desk']"),
        ({"notify": ["desk"], "name": "x" * 201}, "notify: its name is one line of at most 200 characters"),
        ({"notify": ["desk"], "name": "a\nb"}, "notify: its name is one line"),
        ({"send": ["desk"]}, "rule 'good': send: unknown node 'desk'"),
        ({"send": [], "notify": []}, "rule 'good': send: at least one destination"),
    ],
)
def test_a_rule_tells_nodes_with_that_role(rule: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_rules({"rule": [GOOD | rule]}, NODES, notified={"desk"})
    assert named in str(caught.value)


def test_a_rule_may_only_notify() -> None:
    only = {"name": "tells", "when": T, "notify": ["desk", "desk"], "then": "stop"}
    rules = parse_rules({"rule": [only, {**GOOD, "notify": ["desk"]}]}, NODES, notified={"desk"})
    assert [(rule.notify, rule.only_notifies) for rule in rules.rules] == [(("desk",), True), (("desk",), False)]
    assert [doubt for doubt in doubts(rules) if "only notifies" in doubt] != []
