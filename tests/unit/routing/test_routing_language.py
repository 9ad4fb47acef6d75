"""The language of rules beyond logic: kinds of values, presence, items, parts of names, times, what rules do."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as some

from broker.errors import ConfigurationError
from broker.routing.rules.checking import check, doubts
from broker.routing.rules.conditions import MAX_DEPTH
from broker.routing.rules.evaluate import RoutingDecision, as_facts, decide
from broker.routing.rules.parsing import parse_rules
from broker.routing.rules.tracing import trace

NODES = {"pacs", "cad", "archive"}
CT = {"field": "tag.Modality", "value": "CT"}


def rule(when: Any, name: str = "r", **more: Any) -> dict[str, Any]:
    return {"name": name, "when": when, "send": ["pacs"]} | more


def decided(*tables: Any, facts: Any = None, **document: Any) -> RoutingDecision:
    return decide(parse_rules({"rule": list(tables)} | document, NODES), as_facts(facts or {"tag.Modality": "CT"}))


def truth(when: Any, facts: Any, **document: Any) -> str:
    result: str = trace(parse_rules({"rule": [rule(when)]} | document, NODES), as_facts(facts))[0]["result"]
    return result


def refused(*tables: Any, **document: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        parse_rules({"rule": list(tables)} | document, NODES)
    return str(caught.value)


# --- text and names --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("op", "value", "seen", "folded", "exact"),
    [
        ("is", "thorax", "THORAX", "true", "false"), ("is", "Schadel", "Schädel", "true", "false"),
        ("is", "Schädel", "SCHADEL", "true", "false"), ("contains", "tete", "Tête et cou", "true", "false"),
        ("starts_with", "rontgen", "Röntgen Thorax", "true", "false"),
        ("ends_with", "COU", "Tête et cou", "true", "false"),
        ("ends_with", "cou", "Tête et cou", "true", "true"), ("ends_with", "Tête", "Tête et cou", "false", "false"),
        ("glob", "rönt*", "RONTGEN", "true", "false"), ("glob", "r?nt*", "Röntgen", "true", "false"),
        ("glob", "R?nt*", "Röntgen", "true", "true"), ("glob", "*", "x", "true", "true"),
        ("glob", "a＊", "a*b", "false", "false"), ("regex", "^rontgen$", "Röntgen", "true", "false"),
        ("regex", "^Röntgen$", "röntgen", "true", "false"), ("regex", "^Röntgen$", "Röntgen", "true", "true"),
        ("in", ["schadel", "thorax"], "Schädel", "true", "false"), ("is_not", "thorax", "Thorax", "false", "true"),
        ("not_in", ["a", "THORAX"], "thorax", "false", "true"), ("is", "Lodz", "Łódź", "true", "false"),
    ],
)  # fmt: skip
def test_text_folds_unless_exact(op: str, value: Any, seen: str, folded: str, exact: str) -> None:
    leaf = {"field": "tag.StudyDescription", "op": op, "value": value}
    assert truth(leaf, {"tag.StudyDescription": seen}) == folded
    assert truth(leaf | {"exact": True}, {"tag.StudyDescription": seen}) == exact


@pytest.mark.parametrize(
    ("op", "value", "seen", "result"),
    [
        ("is", "Roe^Jane", "ROE^JANE^^^", "true"), ("is", "Roe^Jane^^^", "Roe^Jane", "true"),
        ("is", "Roe^Jane", "Roe^Jane^M", "false"), ("is", "山田^太郎", "Yamada^Tarou=山田^太郎=やまだ^たろう", "true"),
        ("is", "Yamada^Tarou", "Yamada^Tarou=山田^太郎", "true"),
        ("is", "Yamada^Tarou=山田^太郎=", "Yamada^Tarou=山田^太郎", "true"),
        ("is", "Yamada^Tarou=山田^次郎", "Yamada^Tarou=山田^太郎", "false"),
        ("starts_with", "muller", "Müller^Käthe", "true"), ("glob", "*^kathe", "Müller^Käthe", "true"),
        ("contains", "ALL", "Müller^Käthe", "false"), ("regex", "^m.ller\\^", "Müller^Käthe", "true"),
        ("regex", "^山田\\^", "Yamada^Tarou=山田^太郎", "true"),
        ("regex", "^Yamada.*太郎$", "Yamada^Tarou=山田^太郎", "true"),
        ("in", ["Roe^Jane", "Muller^Kathe"], "Müller^Käthe", "true"), ("is_not", "Roe^Jane", "Roe^Jane^", "false"),
    ],
)  # fmt: skip
def test_names_compare_by_component_groups(op: str, value: Any, seen: str, result: str) -> None:
    assert truth({"field": "tag.PatientName", "op": op, "value": value}, {"tag.PatientName": seen}) == result


def test_an_exact_name_is_as_it_is_written_but_for_what_is_empty_at_its_end() -> None:
    leaf = {"field": "tag.PatientName", "value": "Roe^Jane", "exact": True}
    assert truth(leaf, {"tag.PatientName": "Roe^Jane^^"}) == "true"
    assert truth(leaf, {"tag.PatientName": "ROE^Jane"}) == "false"


# --- numbers, dates, ages --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "op", "value", "seen", "result"),
    [
        ("tag.StudyDate", "lt", "20260312", "20260311", "true"),
        ("tag.StudyDate", "is", "2026-03-12", "20260312", "true"),
        ("tag.StudyDate", "is", "20260312", "2026.03.12", "true"),
        ("tag.StudyDate", "between", ["20260101", "20261231"], "20260312", "true"),
        ("tag.StudyDate", "between", ["20260101", "20260312"], "20260312", "true"),
        ("tag.StudyDate", "ge", "20260312", "yesterday", "unknown"),
        ("tag.StudyTime", "lt", "18:00", "175959.9", "true"), ("tag.StudyTime", "ge", "18:00", "18", "true"),
        ("tag.StudyTime", "is", "08:05", "080500", "true"), ("tag.StudyTime", "gt", "080500", "080500.000001", "true"),
        ("tag.AcquisitionDateTime", "ge", "2026-03-12T08:00", "20260312080000+0100", "true"),
        ("tag.AcquisitionDateTime", "lt", "20260312", "202603", "true"),
        ("tag.PatientAge", "lt", "18Y", "017Y", "true"), ("tag.PatientAge", "lt", "18Y", "011M", "true"),
        ("tag.PatientAge", "ge", 18, "018Y", "true"), ("tag.PatientAge", "lt", "2M", "007W", "true"),
        ("tag.PatientAge", "lt", "18Y", "old", "unknown"),
        ("tag.SliceThickness", "between", [0.5, 1.5], 1, "true"), ("tag.SliceThickness", "is_not", 1, 1.0, "false"),
        ("tag.SliceThickness", "not_in", [1, 2], 3, "true"),
    ],
)  # fmt: skip
def test_values_compare_as_what_they_are(field: str, op: str, value: Any, seen: Any, result: str) -> None:
    assert truth({"field": field, "op": op, "value": value}, {field: seen}) == result


@pytest.mark.parametrize(
    ("leaf", "words"),
    [
        ({"field": "tag.StudyDate", "op": "lt", "value": "tomorrow"}, ["tag.StudyDate", "no date"]),
        ({"field": "tag.StudyDate", "op": "contains", "value": "2026"}, ["contains", "date"]),
        ({"field": "tag.PatientAge", "op": "lt", "value": "18"}, ["no age"]),
        ({"field": "tag.StudyDate", "op": "between", "value": ["20260312"]}, ["lowest", "highest"]),
        ({"field": "tag.SliceThickness", "op": "between", "value": [2, 1]}, ["lower"]),
        ({"field": "tag.Modality", "value": "CT", "exact": "yes"}, ["exact", "true or false"]),
        ({"field": "tag.Modality", "value": "CT", "missing": 1}, ["missing", "true or false"]),
        ({"field": "tag.Modality", "value": "CT", "values": "some"}, ["values", "any, all or count"]),
        ({"field": "tag.ImageType", "op": "contains", "value": "1", "values": "count"}, ["contains"]),
        ({"field": "tag.Modality", "op": "missing", "value": "x"}, ["value", "unknown key"]),
        ({"field": "time.window", "value": "Montag"}, ["days are"]),
        ({"field": "time.window", "value": ""}, ["window"]),
        ({"field": "time.window", "value": "Mon-Fri 18-6"}, ["days are"]),
        ({"field": "time.window", "op": "lt", "value": "Mon"}, ["lt"]),
        ({"field": "tag.PatientName.surname", "value": "x"}, ["surname", "family"]),
        ({"field": "tag.Modality.CodeValue", "value": "x"}, ["only a sequence"]),
        ({"field": "tag.RequestAttributesSequence.Modalty", "value": "x"}, ["Modalty", "keyword"]),
        ({"field": "tag.ImageType[0]", "value": "x"}, ["from 1"]),
        ({"field": "tag.ImageType[*]", "value": "x"}, ["item"]),
        ({"field": 'tag.(0018,xx0C,"X")', "value": "x"}, ["odd"]),
        ({"field": "order.Priority", "value": "x"}, ["order.priority"]),
        ({"item": "Modality", "all": [CT]}, ["no sequence"]), ({"item": "Nonsense", "all": [CT]}, ["Nonsense"]),
        ({"item": "ProcedureCodeSequence", "not": CT}, ["all or any"]),
        ({"item": "ProcedureCodeSequence", "all": [{"field": "time.hour", "value": 1}]}, ["element of an item"]),
    ],
)  # fmt: skip
def test_what_cannot_be_tested_is_said(leaf: Any, words: list[str]) -> None:
    text = refused(rule(leaf))
    for word in ["rule 'r'", *words]:
        assert word in text, text


# --- missing values, many values -------------------------------------------------------------------------


@pytest.mark.parametrize("op", ["is", "is_not", "in", "not_in", "contains", "regex"])
def test_a_missing_value_counts_as_the_test_says(op: str) -> None:
    leaf = {"field": "tag.StationName", "op": op, "value": ["CT1"] if "in" in op.split("_") else "CT1"}
    assert truth(leaf, {}) == "unknown"
    assert truth({"not": leaf}, {}) == "unknown"
    assert truth(leaf | {"missing": True}, {}) == "true"
    assert truth(leaf | {"missing": False}, {}) == "false"


def test_a_value_that_is_none_of_its_kind_decides_nothing() -> None:
    seen = {"tag.StudyDate": ["20260312", "soon"]}
    leaf = {"field": "tag.StudyDate", "value": "20260312"}
    assert truth(leaf, seen) == "true"  # one of them is
    assert truth(leaf | {"values": "all"}, seen) == "unknown"
    assert truth(leaf | {"op": "is_not", "value": "20260101"}, seen) == "unknown"
    assert truth(leaf | {"op": "is_not", "value": "20260101", "missing": False}, seen) == "false"
    assert truth(leaf | {"op": "is_not"}, seen) == "false"
    assert truth(leaf | {"values": "all", "value": "20260101"}, seen) == "false"


def test_presence() -> None:
    for seen, there in (({"tag.StationName": "CT1"}, True), ({}, False)):
        assert truth({"field": "tag.StationName", "op": "exists"}, seen) == ("true" if there else "false")
        assert truth({"field": "tag.StationName", "op": "missing"}, seen) == ("false" if there else "true")


def test_any_all_and_count_of_many_values() -> None:
    seen = {"tag.ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"]}
    leaf = {"field": "tag.ImageType"}
    assert truth(leaf | {"value": "axial"}, seen) == "true"
    assert truth(leaf | {"value": "axial", "values": "all"}, seen) == "false"
    assert truth(leaf | {"op": "not_in", "value": ["DERIVED"]}, seen) == "true"
    assert truth(leaf | {"op": "is_not", "value": "axial"}, seen) == "false"
    assert truth(leaf | {"op": "is_not", "value": "axial", "values": "all"}, seen) == "true"
    assert truth(leaf | {"op": "ge", "value": 3, "values": "count"}, seen) == "true"
    assert truth(leaf | {"op": "lt", "value": 3, "values": "count"}, seen) == "false"
    assert truth(leaf | {"op": "is", "value": 0, "values": "count"}, {}) == "true"


# --- items of sequences ----------------------------------------------------------------------------------

BOTH = {"item": "ProcedureCodeSequence", "all": [
    {"field": "tag.CodeValue", "value": "CTTHX"}, {"field": "tag.CodingSchemeDesignator", "value": "LOCAL"},
]}  # fmt: skip


def test_several_values_in_the_same_item() -> None:
    base = "tag.ProcedureCodeSequence"
    split = {f"{base}[1].CodeValue": "CTTHX", f"{base}[1].CodingSchemeDesignator": "LN",
             f"{base}[2].CodeValue": "X", f"{base}[2].CodingSchemeDesignator": "LOCAL"}  # fmt: skip
    together = split | {f"{base}[2].CodeValue": "ctthx"}
    assert truth(BOTH, split) == "false"
    assert truth(BOTH, together) == "true"
    assert truth({"all": [{"field": f"{base}.CodeValue", "value": "CTTHX"},
                          {"field": f"{base}.CodingSchemeDesignator", "value": "LOCAL"}]}, split) == "true"  # fmt: skip
    assert truth(BOTH, {}) == "unknown"
    assert truth({"not": BOTH}, split) == "true"
    assert truth(BOTH, {f"{base}[1].CodeValue": "CTTHX"}) == "unknown"
    assert truth({"field": base, "op": "ge", "value": 2}, split) == "true"
    assert truth({"field": base, "op": "missing"}, {}) == "true"


def test_the_trace_of_items_says_which_item_gave_what() -> None:
    base = "tag.ProcedureCodeSequence"
    seen = as_facts({f"{base}[1].CodeValue": "X", f"{base}[2].CodeValue": "CTTHX",
                                       f"{base}[2].CodingSchemeDesignator": "LOCAL"})  # fmt: skip
    (leaf,) = trace(parse_rules({"rule": [rule(BOTH)]}, NODES), seen)[0]["tests"]
    assert (leaf["field"], leaf["op"], leaf["result"]) == (base, "item", "true")
    assert [(one["item"], one["result"]) for one in leaf["items"]] == [(1, "false"), (2, "true")]


# --- times -----------------------------------------------------------------------------------------------

WEEK = {"mon": 7, "tue": 8, "wed": 9, "thu": 10, "fri": 11, "sat": 12, "sun": 13}  # of December 2026


def at(text: str) -> dict[str, str]:
    day, clock = text.split()
    return {"time.local": f"2026-12-{WEEK[day]:02}T{clock}:00"}


@pytest.mark.parametrize(
    ("window", "inside", "outside"),
    [
        ("Mon-Fri 18:00-06:00", ["mon 18:00", "mon 23:59", "tue 05:59", "fri 18:00", "sat 05:59"],
         ["mon 05:59", "mon 17:59", "tue 06:00", "sat 06:00", "sat 18:00", "sun 20:00"]),
        ("Sat,Sun", ["sat 00:00", "sun 23:59"], ["fri 23:59", "mon 00:00"]),
        ("Fri-Mon 08:00-12:00", ["fri 08:00", "sun 11:59", "mon 08:00"], ["tue 08:00", "thu 09:00", "fri 12:00"]),
        ("22:00-24:00", ["wed 22:00", "wed 23:59"], ["wed 21:59", "thu 00:00"]),
        ("mon 7:00-8:00; thu 9:00-10:00", ["mon 07:30", "thu 09:00"], ["mon 09:00", "thu 07:30"]),
        ("holiday", ["thu 00:00", "thu 23:59"], ["wed 12:00", "fri 00:00"]),
        ("holiday 20:00-04:00", ["thu 20:00", "fri 03:59"], ["thu 03:59", "fri 20:00"]),
        ("Sun,holiday 00:00-24:00", ["sun 00:00", "thu 12:00"], ["sat 12:00"]),
    ],
)  # fmt: skip
def test_windows_of_the_week(window: str, inside: list[str], outside: list[str]) -> None:
    leaf = {"field": "time.window", "value": window}
    calendar = {"holidays": ["2026-12-10"]}
    assert [truth(leaf, at(moment), calendar=calendar) for moment in inside] == ["true"] * len(inside)
    assert [truth(leaf, at(moment), calendar=calendar) for moment in outside] == ["false"] * len(outside)
    assert truth(leaf | {"op": "is_not"}, at(inside[0]), calendar=calendar) == "false"
    assert truth(leaf, {}) == "unknown"


def test_times_are_those_of_the_reception() -> None:
    seen = at("thu 18:30")
    for field, op, value in (("time.hour", "is", 18), ("time.weekday", "is", 4), ("time.date", "is", "2026-12-10"),
                             ("time.of_day", "ge", "18:30"), ("time.local", "lt", "2026-12-10T18:31")):  # fmt: skip
        assert truth({"field": field, "op": op, "value": value}, seen) == "true", field
    for days, result in ((["12-10"], "true"), (["2025-12-10"], "false"), ([], "false")):
        leaf = {"field": "time.holiday", "value": "yes"}
        assert truth(leaf, seen, calendar={"holidays": days}) == result


@pytest.mark.parametrize("day", ["2026-13-01", "2026-02-30", "1-1", "christmas", "02-30", 5, None])
def test_holidays_that_are_none_are_refused(day: Any) -> None:
    assert "holidays" in refused(calendar={"holidays": [day]})


# --- what rules do ---------------------------------------------------------------------------------------


def test_a_delivery_is_as_urgent_as_the_most_urgent_rule_says() -> None:
    found = decided(rule(CT, "a", priority="low"), rule(CT, "b", priority="stat"), rule(CT, "c", send=["cad"]))
    assert [(one.node, one.priority, one.held) for one in found.deliveries] == [("pacs", 1, False), ("cad", 5, False)]


def test_a_rule_holds_deliveries_or_the_whole_object() -> None:
    found = decided(rule(CT, "a", action="hold", send=["pacs"]), rule(CT, "b", send=["pacs", "cad"]))
    assert (found.action, [(one.node, one.held) for one in found.deliveries]) == (
        "send",
        [("pacs", True), ("cad", False)],
    )
    found = decided(rule(CT, "a"), rule(CT, "b", action="hold", send=[]), rule(CT, "c", send=["cad"]))
    assert (found.action, found.destinations, found.reason, found.rules) == ("hold", (), "held-by-rule", ("b",))


def test_a_discard_counts_only_where_nothing_was_planned_and_stops() -> None:
    discard = rule(CT, "d", action="discard", send=[], reason="test images")
    found = decided(discard, rule(CT, "a"))
    assert (found.action, found.destinations, found.reason, found.rules) == ("discard", (), "discarded-by-rule", ("d",))
    assert decided(rule(CT, "a"), discard, rule(CT, "c", send=["cad"])).destinations == ("pacs", "cad")
    assert list(doubts(parse_rules({"rule": [rule(CT, "a"), discard]}, NODES))) != []
    assert list(doubts(parse_rules({"rule": [rule(CT, "a", then="stop"), discard]}, NODES))) == []
    assert list(doubts(parse_rules({"rule": [discard, rule(CT, "a")]}, NODES))) == []


def test_a_rule_that_is_switched_off_or_not_yet_due_does_not_act() -> None:
    off = parse_rules({"rule": [rule(CT, enabled=False)]}, NODES)
    assert decide(off, as_facts({"tag.Modality": "CT"})).destinations == ()
    assert trace(off, as_facts({"tag.Modality": "CT"})) == [{"rule": "r", "result": "off", "tests": []}]
    timed = rule(CT, **{"from": "2026-12-10T18:00", "until": "2026-12-11"})
    seen = [decided(timed, facts={"tag.Modality": "CT"} | at(moment)).destinations
            for moment in ("thu 17:59", "thu 18:00", "thu 23:59", "fri 00:00")]  # fmt: skip
    assert seen == [(), ("pacs",), ("pacs",), ()]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"action": "drop"}, ["action", "send, hold or discard"]), ({"action": "discard", "send": []}, ["reason"]),
        ({"action": "discard", "reason": "x"}, ["no destinations"]), ({"priority": "urgent"}, ["stat, high"]),
        ({"enabled": "no"}, ["enabled"]), ({"from": "soon"}, ["from", "local time"]),
        ({"until": "2026-12-10T18:00+01:00"}, ["until", "offset"]), ({"owner": 5}, ["owner"]),
        ({"from": "2026-12-11", "until": "2026-12-10"}, ["later"]), ({"tags": "x"}, ["tags"]),
        ({"tags": [5]}, ["tags"]),
    ],
)  # fmt: skip
def test_what_a_rule_cannot_say(change: Any, words: list[str]) -> None:
    text = refused(rule(CT, "good") | change)
    for word in ["good", *words]:
        assert word in text, text


def test_an_example_may_name_the_action() -> None:
    held = rule(CT, "h", action="hold", send=[], example=[{"facts": {"tag.Modality": "CT"}, "action": "hold"}])
    check(parse_rules({"rule": [held]}, NODES))
    wrong = rule(CT, "w", example=[{"facts": {"tag.Modality": "CT"}, "sends": ["pacs"], "action": "hold"}])
    with pytest.raises(ConfigurationError, match="the action is send, expected hold"):
        check(parse_rules({"rule": [wrong]}, NODES))


# --- anything --------------------------------------------------------------------------------------------

_FIELDS = {
    "tag.Modality": ["CT", "MR", ""], "tag.PatientName": ["Roe^Jane", "山田=x", "=^="], "tag.SliceThickness": [1, 2.5],
    "tag.StudyDate": ["20260312", "x"], "tag.PatientAge": ["018Y", "?"], "time.local": ["2026-12-10T18:30:00", "never"],
    "tag.ProcedureCodeSequence[1].CodeValue": ["A"], "tag.ProcedureCodeSequence[2].CodeValue": ["B"],
}  # fmt: skip
_LEAVES = [
    {"field": "tag.Modality", "op": op, "value": "C", "missing": missing}
    for op, missing in itertools.product(["is", "is_not", "contains", "glob", "regex"], [True, False])
] + [
    {"field": "tag.PatientName", "op": "starts_with", "value": "roe"},
    {"field": "tag.PatientName.family", "value": "roe"}, {"field": "tag.SliceThickness", "op": "lt", "value": 2},
    {"field": "tag.StudyDate", "op": "ge", "value": "20260101"},
    {"field": "tag.PatientAge", "op": "lt", "value": "20Y"},
    {"field": "time.window", "value": "Mon-Fri 18:00-06:00"}, {"field": "time.holiday", "value": "yes"},
    {"field": "tag.ImageType", "op": "ge", "value": 2, "values": "count"},
    {"field": "tag.StationName", "op": "missing"},
    {"item": "ProcedureCodeSequence", "any": [{"field": "tag.CodeValue", "op": "in", "value": ["A", "C"]}]},
]  # fmt: skip
_conditions = some.recursive(
    some.sampled_from(_LEAVES),
    lambda inner: some.builds(lambda kind, members: {kind: members}, some.sampled_from(["all", "any"]),
                              some.lists(inner, min_size=1, max_size=3))
    | some.builds(lambda member: {"not": member}, inner),
    max_leaves=8,
)  # fmt: skip
_tables = some.builds(
    lambda when, action, then, send, urgency: {"when": when, "action": action, "then": then, "priority": urgency}
    | ({"reason": "x"} if action == "discard" else {"send": send}),
    _conditions, some.sampled_from(["send", "send", "hold", "discard"]), some.sampled_from(["continue", "stop"]),
    some.lists(some.sampled_from(sorted(NODES)), min_size=1, max_size=2), some.sampled_from(["stat", "low"]),
)  # fmt: skip
_facts = some.fixed_dictionaries({}, optional={name: some.sampled_from(seen) for name, seen in _FIELDS.items()})


def depth(when: Any) -> int:
    """How deeply a condition is nested."""
    inner = when.get("all") or when.get("any") or [when["not"]] if {"all", "any", "not"} & set(when) else []
    return 1 + max(map(depth, inner), default=0)


def expected(told: list[dict[str, Any]], tables: list[dict[str, Any]]) -> tuple[str, list[str]]:
    """What the results of a trace mean, by the semantics as the guide tells them."""
    sends: dict[str, None] = {}
    for entry, table in zip(told, tables, strict=False):
        if entry["result"] == "error":
            return "hold", []
        if entry["result"] != "true":
            continue
        if table["action"] == "discard":
            if not sends:
                return "discard", []
            if table["then"] == "stop":
                break
            continue
        sends.update(dict.fromkeys(table["send"]))
        if table["then"] == "stop":
            break
    return ("send", list(sends)) if sends else ("hold", [])


@settings(max_examples=300)
@given(some.lists(_tables, min_size=1, max_size=6), _facts)
def test_the_decision_is_what_its_trace_says(tables: list[dict[str, Any]], facts: dict[str, Any]) -> None:
    for number, table in enumerate(tables):
        table["name"] = f"r{number}"
    assume(all(depth(table["when"]) <= MAX_DEPTH for table in tables))
    ruleset = parse_rules({"rule": tables}, NODES)
    seen = as_facts(facts)
    found = decide(ruleset, seen)
    assert found == decide(ruleset, seen)
    told = trace(ruleset, seen)
    if found.reason.startswith("rule-error"):  # a fact that is no value is an error, wherever a test of it stands
        assert (found.action, found.destinations, seen["time.local"]) == ("hold", (), ("never",))
        return
    assert (found.action, list(found.destinations)) == expected(told, tables)
    results = {"t": "true", "f": "false", "u": "unknown", "e": "error", "o": "off"}
    assert [results[one[0]] for one in found.outcomes] == [entry["result"] for entry in told]
