"""`config/reference.md` says what the models say, and the examples hold every key with its default."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from support.guides import reference

from broker.errors import ConfigurationError
from broker.routing.rules.fields import kind_of
from broker.routing.rules.parsing import parse_rules
from broker.settings import Hl7Listener, Hl7Section, Settings
from broker.settings.mistakes import table_of
from broker.site.nodes import parse_nodes
from broker.site.tables.node_table import NodeTable

CONFIG = Path(__file__).parents[2] / "config"
TEST = {"field": "tag.Modality", "op": "is", "value": "CT"}
# a table that the parser takes for each table of the reference; `{}` of a key says where it stands
PLACES: dict[str, tuple[dict[str, Any], Any]] = {
    "[[rule]]": (
        {"name": "r", "level": "study", "when": TEST, "send": ["pacs"], "then": "stop", "action": "hold",
         "priority": "stat", "notify": ["desk"],
         "enabled": False, "from": "2026-12-24T18:00", "until": "2026-12-27", "owner": "PACS team",
         "reason": "holidays",
         "tags": ["night"], "example": []},
        lambda t: {"rule": [t]},
    ),
    "Condition: a group": ({}, lambda t: {"rule": [{"name": "r", "send": ["pacs"], "when": t}]}),
    "Condition: a test": (
        TEST | {"values": "all", "exact": True, "missing": False},
        lambda t: {"rule": [{"name": "r", "send": ["pacs"], "when": t}]},
    ),
    "[[rule.example]]": (
        {"facts": {"tag.Modality": "CT"}, "sends": ["pacs"], "action": "send"},
        lambda t: {"rule": [{"name": "r", "send": ["pacs"], "when": TEST, "example": [t]}]},
    ),
    "[default]": ({"action": "send", "send": ["pacs"], "reason": "all else"}, lambda t: {"default": t}),
    "[completion.study]": (
        {"quiet": 60, "most": 600, "at_most": "hold", "expected": ["mpps", "order"], "association_end": True},
        lambda t: {"completion": {"study": t}},
    ),
    "[[completion.required]]": (
        {"modality": "MR", "study": "*knee*", "series": ["*T1*"], "modalities": ["SR"]},
        lambda t: {"completion": {"required": [t]}},
    ),
    "[[completion.late]]": (
        {"to": ["pacs"], "send": "all", "until": 600}, lambda t: {"completion": {"late": [t]}}
    ),
    "[calendar]": ({"holidays": ["12-25", "2026-04-03"]}, lambda t: {"calendar": t}),
}  # fmt: skip


def test_the_file_is_what_the_models_say() -> None:
    assert (CONFIG / "reference.md").read_text(encoding="utf-8") == reference.reference(), (
        "run: python tests/support/guides/write.py"
    )


@pytest.mark.parametrize("title", PLACES)
def test_rules_have_exactly_the_keys_of_the_reference(title: str) -> None:
    documented = {row[0] for row in reference.RULE_TABLES[title][1]}
    whole, place = PLACES[title]
    if whole:
        assert set(whole) == documented
        parse_rules(place(whole), {"pacs"}, notified={"desk"})
        with pytest.raises(ConfigurationError, match="unknown key"):
            parse_rules(place({**whole, "nonsense": 1}), {"pacs"}, notified={"desk"})
    else:
        for key in documented:
            value: Any = {"not": TEST, "item": "ProcedureCodeSequence"}.get(key, [TEST])
            inner = {"all": [{"field": "tag.CodeValue", "value": "X"}]} if key == "item" else {}
            parse_rules(place({key: value} | inner), {"pacs"})


def test_fields_of_elements_are_as_the_reference_shows_them() -> None:
    for row in reference.RULE_TABLES["Fields of elements"][1]:
        assert kind_of(f"tag.{row[0]}")


def uncommented(text: str) -> dict[str, Any]:
    """An example file with the keys and tables in its comments."""
    return tomllib.loads(re.sub(r"(?m)^# (?=\[|[a-z_0-9]+ = )", "", text))


def test_broker_toml_holds_every_key_with_its_default() -> None:
    found = uncommented((CONFIG / "broker.toml").read_text(encoding="utf-8"))
    found["hl7"].pop("listener")
    differing = list(_differing(found, Settings, ""))
    assert differing == []


def _differing(found: dict[str, Any], model: type[BaseModel], path: str) -> list[str]:
    keys = set(model.model_fields) - ({"listener"} if model is Hl7Section else set())
    differing = [f"{path}{key}: not in both" for key in sorted(keys ^ set(found))]
    defaults = model.model_json_schema(mode="serialization")["properties"]
    for key in sorted(keys & set(found)):
        inner = table_of(model.model_fields[key])
        if inner is not None:
            differing += _differing(found[key], inner, f"{path}{key}.")
        elif defaults[key].get("default") not in (None, found[key]):
            differing.append(f"{path}{key}: {found[key]!r} is not the default")
    return differing


def test_every_key_of_a_node_stands_in_site_toml() -> None:
    document = uncommented((CONFIG / "site.toml").read_text(encoding="utf-8"))
    assert parse_nodes(document["node"])
    text = (CONFIG / "site.toml").read_text(encoding="utf-8")
    absent = [key for key in _keys(NodeTable) if not re.search(rf"\b{key}\b", text)]
    assert absent == []


def _keys(model: type[BaseModel]) -> set[str]:
    inner = [table for field in model.model_fields.values() if (table := table_of(field))]
    return set(model.model_fields).union(*(_keys(table) for table in inner))


def test_a_listener_has_the_keys_that_the_reference_promises() -> None:
    assert set(Hl7Section.model_fields) - set(Hl7Listener.model_fields) == {"application", "facility", "listener"}


def test_the_texts_name_keys_that_exist() -> None:
    """Such as `[limits] web_body`. Sections of mapping profiles and nodes are others."""
    named = re.compile(r"`\[(\w+)\] (\w+)")
    files = [CONFIG.parent / "README.md", *CONFIG.glob("*.md"), *(CONFIG.parent / "deploy").glob("*.md")]
    found = {pair for file in files for pair in named.findall(file.read_text(encoding="utf-8"))}
    sections = {name: field.annotation for name, field in Settings.model_fields.items()}
    ours = {(section, key) for section, key in found if section in sections}
    assert len(ours) > 20
    unknown = [pair for pair in sorted(ours) if pair[1] not in getattr(sections[pair[0]], "model_fields", {})]
    assert unknown == []
