"""Checks what an edit of nodes and rules refuses, and what a site file may look like."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from broker.errors import ConfigurationError
from broker.routing.editing import SiteEdit
from broker.routing.site import NODES, RULES, read_tables
from broker.store.configurations import Version
from broker.versions.toml import dumps

ALL = {"name": "all", "when": {"field": "tag.Modality", "value": "CT"}, "send": ["pacs"]}
IN_FORCE = {RULES: Version(RULES, 3, {"rule": [ALL]})}


@pytest.mark.parametrize("contents", [{RULES: {}}, {RULES: {}, NODES: []}])
def test_a_document_without_rules_does_not_remove_those_in_force(contents: dict[str, Any]) -> None:
    """An empty file, or one with nodes alone, is a mistake rather than the wish to hold every image."""
    with pytest.raises(ConfigurationError, match=r"`rule = \[\]` removes all rules"):
        SiteEdit(contents)(IN_FORCE)


def test_rules_are_removed_by_an_empty_list_or_by_replacing_the_site() -> None:
    assert SiteEdit({RULES: {"rule": []}})(IN_FORCE) == {RULES: {"rule": []}}
    assert SiteEdit({RULES: {}, NODES: []}, replace=True)(IN_FORCE) == {RULES: {}, NODES: []}
    assert SiteEdit({RULES: {}})({}) == {RULES: {}}


def test_null_is_left_out() -> None:
    table = {"name": "ct", "kind": "dicom", "host": None, "device": {"charset": None, "limit": 5}}
    assert SiteEdit({NODES: [table]})({}) == {NODES: [{"name": "ct", "kind": "dicom", "device": {"limit": 5}}]}
    text = dumps({"node": [table], "rule": [{"name": "x", "when": {"field": "a", "value": None}}]})
    assert tomllib.loads(text)["node"] == [{"name": "ct", "kind": "dicom", "device": {"limit": 5}}]


@pytest.mark.parametrize("text", ["x=" + "[" * 5000 + "]" * 5000, "x=" + "{not=" * 3000 + "1" + "}" * 3000])
def test_a_file_that_is_nested_too_deeply_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    file = tmp_path / "deep.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"deep\.toml: not valid TOML: nested too deeply$"):
        read_tables(file)


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    file = tmp_path / "site.toml"
    file.write_text('[default]\naction = "hold"\n', encoding="utf-8-sig")
    assert read_tables(file) == {NODES: [], RULES: {"default": {"action": "hold"}}}
