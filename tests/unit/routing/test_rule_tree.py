"""The condition of a rule as a form: the same condition comes back, whatever it is, and buttons change it."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from broker.admin.web.forms import FormFields
from broker.admin.web.rules.catalogue import field_names
from broker.admin.web.rules.changing import changed
from broker.admin.web.rules.leaf_errors import errors_of
from broker.admin.web.rules.marking import marked
from broker.admin.web.rules.rule_form import filled, rule_in
from broker.admin.web.rules.tree import NoForm, TreeNode, acted, at_path, condition_of, tree_in, tree_of, walk
from broker.admin.web.rules.words import hands, moment_of
from broker.routing.rules.conditions import ConditionReader
from broker.routing.rules.evaluate import as_facts
from broker.routing.rules.fields import FieldKind, kind_of
from broker.routing.rules.parsing import parse_rules
from broker.routing.rules.tracing import trace
from broker.routing.rules.wording import condition_words
from broker.store.configurations import Publication

CT = {"field": "tag.Modality", "value": "CT"}
CODE = {"field": "tag.CodeValue", "value": "X"}
CONDITIONS: list[dict[str, Any]] = [
    CT,
    {"field": "tag.Modality", "op": "is", "value": "CT", "exact": False, "values": "any"},
    {"field": "tag.Modality", "op": "is_not", "value": " two  blanks ", "exact": True, "missing": True},
    {"field": "tag.Modality", "op": "in", "value": ["CT", "MR", "a, b"], "missing": False},
    {"field": "tag.ImageType", "op": "ge", "value": 3, "values": "count"},
    {"field": "tag.ImageType", "value": "DERIVED", "values": "all"},
    {"field": "tag.SliceThickness", "op": "between", "value": [0.5, 2]},
    {"field": "tag.SliceThickness", "op": "lt", "value": 1e-07},
    {"field": "tag.Rows", "op": "is", "value": 512},
    {"field": "tag.Rows", "op": "is", "value": 512.0},
    {"field": "tag.PatientAge", "op": "le", "value": 18},
    {"field": "tag.PatientAge", "op": "le", "value": "018M"},
    {"field": "tag.StudyDate", "op": "ge", "value": "20260101"},
    {"field": "tag.PatientID", "op": "exists"},
    {"field": "tag.PatientID", "op": "starts_with", "value": "007"},
    {"field": "time.window", "value": "18:00-07:00"},
    {"not": CT},
    {"not": {"any": [CT, {"not": CT}]}},
    {
        "all": [
            CT,
            {"any": [CT, CT]},
            {"item": "ProcedureCodeSequence", "all": [{"field": "tag.CodeValue", "value": "X"}]},
        ]
    },
    {"item": "tag.ProcedureCodeSequence", "any": [{"field": "tag.CodeValue", "op": "regex", "value": "^C[0-9]+$"}]},
]


def form_of(tree: TreeNode) -> dict[str, str]:
    """What a browser sends of a tree."""
    fields: dict[str, str] = {}
    for path, node in walk(tree):
        fields[f"kind:{path}"] = node.kind
        if node.kind != "test":
            fields[f"item:{path}"] = node.sequence
            continue
        fields |= {
            f"field:{path}": node.field, f"op:{path}": node.op, f"value:{path}": node.value.replace("\n", "\r\n"),
            f"values:{path}": node.values, f"missing:{path}": node.missing, f"said:{path}": " ".join(node.said),
        }  # fmt: skip
        fields |= {f"exact:{path}": "yes"} if node.exact else {}
    return fields


def there_and_back(when: Mapping[str, Any]) -> dict[str, Any]:
    """A condition after it was a form."""
    fields = form_of(tree_of(when))
    return condition_of(tree_in(lambda name: fields.get(name, "")))


def same(one: Any, other: Any) -> bool:
    """Equal, numbers of the same type."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


@pytest.mark.parametrize("when", CONDITIONS)
def test_a_condition_comes_back_as_it_was(when: dict[str, Any]) -> None:
    assert same(there_and_back(when), when)
    assert errors_of(tree_of(when)) == {}


def test_random_conditions_come_back_as_they_were() -> None:
    made = random.Random(7)

    def some(depth: int) -> dict[str, Any]:
        kind = made.choice(("leaf", "leaf", "all", "any", "not")) if depth < 6 else "leaf"
        if kind == "leaf":
            return made.choice([one for one in CONDITIONS if "field" in one])
        return (
            {kind: some(depth + 1)} if kind == "not" else {kind: [some(depth + 1) for _ in range(made.randint(1, 4))]}
        )

    for _ in range(200):
        when = some(1)
        ConditionReader("").condition(when)
        assert same(there_and_back(when), when)


@pytest.mark.parametrize(
    "when",
    [
        {**CT, "value": "a\nb"},
        {"field": "tag.Modality", "op": "in", "value": ["", "CT"]},
        {"not": {**CT, "value": "\r"}},
    ],
)
def test_what_no_form_can_hold_is_told(when: dict[str, Any]) -> None:
    with pytest.raises(NoForm):
        tree_of(when)


@pytest.mark.parametrize(
    ("when", "name", "words"),
    [
        ({"field": "tag.Modalty", "value": "CT"}, "field:r", "There is no such field"),
        ({"field": "", "value": "CT"}, "field:r", "Choose a field"),
        ({"field": "tag.Rows", "op": "contains", "value": "5"}, "op:r", "is less than, is at most"),
        ({"field": "tag.Rows", "value": "thick"}, "value:r", "a number"),
        ({"field": "tag.Modality", "value": ""}, "value:r", "compared with"),
        ({"field": "tag.Modality", "op": "regex", "value": "("}, "value:r", "not a regular expression of RE2"),
        ({"field": "tag.SliceThickness", "op": "between", "value": [2, 1]}, "value:r", "the lower one"),
        ({"field": "time.window", "value": "noon"}, "value:r", "days are Mon"),
        ({"all": []}, "kind:r", "needs a condition"),
        ({"all": [CT, {"not": {"any": []}}]}, "kind:r.1.0", "needs a condition"),
        ({"item": "Modality", "all": [CT]}, "item:r", "keyword of a sequence"),
    ],
)
def test_what_is_wrong_stands_beside_its_field(when: dict[str, Any], name: str, words: str) -> None:
    found = errors_of(tree_of(when))
    assert list(found) == [name]
    assert words in found[name].english(None, 0.0)  # type: ignore[arg-type]


def test_too_much_is_told() -> None:
    deep: dict[str, Any] = CT
    for _ in range(9):
        deep = {"not": deep}
    assert any(name.startswith("kind:") for name in errors_of(tree_of(deep)))
    assert list(errors_of(tree_of({"any": [CT] * 201}))) == ["kind:r"]


def test_buttons_change_the_tree() -> None:
    tree = tree_of(CT)
    tree, focus = acted(tree, "add-test:r")
    assert (tree.kind, len(tree.members), focus) == ("all", 2, "r.1")
    tree, focus = acted(tree, "add-group:r")
    assert (tree.members[2].kind, focus) == ("any", "r.2.0")
    tree, focus = acted(tree, "negate:r.2")
    assert (at_path(tree, "r.2").kind, at_path(tree, "r.2.0").kind) == ("not", "any")  # type: ignore[union-attr]
    tree, focus = acted(tree, "up:r.2")
    assert (tree.members[1].kind, focus) == ("not", "r.1")
    tree, _ = acted(tree, "remove:r.1.0")  # a "not" without a member goes as well
    assert [one.kind for one in tree.members] == ["test", "test"]
    tree, _ = acted(tree, "negate:r")
    tree, _ = acted(tree, "negate:r")
    assert tree.kind == "all"
    for nothing in ("up:r.0", "down:r.1", "up:r", "remove:r.9", "x:r.0", "add-test:r.0.0", "remove:r.-1", "", "up:r.x"):
        assert acted(tree, nothing)[0] == tree
    tree, focus = acted(tree, "remove:r")
    assert (condition_of(tree), focus) == ({"all": [{"field": "", "value": ""}]}, "r.0")


@pytest.mark.parametrize(
    ("when", "words"),
    [
        (CONDITIONS[2], "tag.Modality is not “ two  blanks ” exactly, or is missing"),
        (CONDITIONS[6], "tag.SliceThickness lies between 0.5 – 2"),
        (CONDITIONS[4], "the number of values of tag.ImageType is at least 3"),
        (CONDITIONS[17], "not (tag.Modality is “CT” or not tag.Modality is “CT”)"),
        ({"all": [CT, {"any": [CT, CONDITIONS[13]]}]},
         "tag.Modality is “CT” and (tag.Modality is “CT” or tag.PatientID is present)"),
        (CONDITIONS[19],
         "an item of ProcedureCodeSequence has tag.CodeValue matches the regular expression “^C[0-9]+$”"),
    ],
)  # fmt: skip
def test_a_condition_in_words(when: dict[str, Any], words: str) -> None:
    assert condition_words(ConditionReader("").condition(when)).english(None, 0.0) == words  # type: ignore[arg-type]


def test_a_condition_is_marked_leaf_by_leaf() -> None:
    whens = [
        {"all": [CT, {"not": {"field": "tag.Rows", "op": "lt", "value": 5}}]},
        {"any": [{"field": "tag.PatientSex", "value": "F"}, {"field": "tag.Rows", "value": 5}]},
        {"item": "ProcedureCodeSequence", "any": [CODE]},
        CT,
    ]
    rules = [{"name": str(place), "when": when, "send": ["pacs"]} for place, when in enumerate(whens)]
    rules[2]["then"] = "stop"
    ruleset = parse_rules({"rule": rules}, {"pacs"})
    facts = as_facts({
        "tag.Modality": "CT", "tag.Rows": [9.0], "tag.ProcedureCodeSequence": [2.0],
        "tag.ProcedureCodeSequence[1].CodeValue": "Y", "tag.ProcedureCodeSequence[2].CodeValue": "X",
    })  # fmt: skip
    found = marked(ruleset, trace(ruleset, facts))
    assert [one.result[1].text for one in found] == ["true", "unknown", "true", "not tried"]
    first, second, third = (one.tree for one in found[:3])
    assert first is not None
    assert second is not None
    assert third is not None
    assert [one.result[1].text for one in (first, *first.members, *first.members[1].members)] == [
        "true", "true", "true", "false",
    ]  # fmt: skip
    assert [one.result[1].text for one in second.members] == ["unknown", "false"]
    assert second.members[1].seen == ["9.0"]
    assert [one.result[1].text for one in third.members] == ["false", "true"]
    assert found[3].tree is None


def test_two_hundred_tests_are_said() -> None:
    words = condition_words(ConditionReader("").condition({"any": [CT] * 200}))
    assert words.english(None, 0.0).count("“CT”") == 200  # type: ignore[arg-type]


RULE = {
    "name": "night", "when": CT, "send": ["b", "a"], "then": "stop", "enabled": True, "owner": "CT team",
    "from": "2026-12-24", "tags": ["x", "y"], "example": [{"facts": {}}], "level": "series",
}  # fmt: skip


def sent(table: Mapping[str, Any], **changes: str) -> FormFields:
    """What a browser sends of a rule."""
    fields = {
        **{name: text.replace("\n", "") for name, text in filled(table).items()},
        **({"enabled": "yes"} if table.get("enabled", True) else {}),
        **changes,
    }
    return FormFields([*fields.items(), *(("send", node) for node in sorted(table.get("send", [])))])


@pytest.mark.parametrize(
    "table", [RULE, {"name": "x", "when": CT}, {**RULE, "enabled": False, "reason": " two\nlines "}]
)
def test_a_rule_comes_back_as_it_was(table: dict[str, Any]) -> None:
    assert rule_in(sent(table), table, table["when"]) == table


def test_only_what_was_changed_is_another() -> None:
    made = rule_in(sent(RULE, then="continue", owner="", priority="stat", tags="y"), RULE, CT)
    wanted = {**RULE, "priority": "stat", "tags": ["y"]}
    assert made == {key: value for key, value in wanted.items() if key not in ("then", "owner")}


@pytest.mark.parametrize(
    ("do", "names", "query"),
    [
        ("up:2", "bac", "?at=1&do=up"), ("down:2", "acb", "?at=3&do=down"), ("remove:3", "ab", ""),
        ("up:1", "abc", ""), ("down:3", "abc", ""), ("up:4", "abc", ""), ("remove:0", "abc", ""), ("up:", "abc", ""),
        ("remove:²", "abc", ""), ("", "abc", ""), ("x:1", "abc", ""),
    ],
)  # fmt: skip
def test_a_button_changes_the_rules(do: str, names: str, query: str) -> None:
    document = {"rule": [{"name": name, "when": CT} for name in "abc"], "default": {}}
    made, focus = changed(document, do)
    assert ("".join(one["name"] for one in made["rule"]), focus, made["default"]) == (names, query, {})


def test_a_rule_is_switched_off_and_on_as_it_was() -> None:
    document = {"rule": [{"name": "a", "when": CT}]}
    off, _ = changed(document, "off:1")
    assert off["rule"] == [{"name": "a", "when": CT, "enabled": False}]
    assert changed(off, "on:1") == (document, "?at=1&do=on")


def test_fields_are_offered_that_rules_can_test() -> None:
    assert {kind_of(name) for name in field_names()} > {FieldKind.TEXT, FieldKind.NUMBER, FieldKind.WINDOW}


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-07-01T18:00", 1_782_921_600.0), ("2026-07-01T18:00+00:00", 1_782_928_800.0), ("", None), ("noon", None),
        ("0001-01-01T00:00", None), ("18:00", None),
    ],
)  # fmt: skip
def test_a_time_that_is_typed_is_that_of_the_site(text: str, moment: float | None) -> None:
    found = moment_of(text, ZoneInfo("Europe/Zurich"))
    assert found == moment or (moment is None and found is not None and found < 0)


@pytest.mark.parametrize(
    ("author", "source", "words"),
    [
        ("user:anna", "user:anna", "user:anna"), ("", "site file", "site file"),
        ("user:anna", "draft:user:bert", "user:anna, put in force by user:bert"),
        ("user:anna", "planned:user:anna", "user:anna"),
    ],
)  # fmt: skip
def test_hands_are_told(author: str, source: str, words: str) -> None:
    publication = Publication(kind="rules", version=1, author=author, source=source)
    assert hands(publication).english(None, 0.0) == words  # type: ignore[arg-type]
