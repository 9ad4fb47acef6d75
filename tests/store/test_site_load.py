"""Nodes and rules: from site.toml into an empty database, from the database into force."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from broker.errors import ConfigurationError
from broker.routing.site import Site, first_import, read_file, site_in_force
from broker.store import configurations
from broker.store.db.database import Database
from broker.versions.in_force import Signature

NODE = """[[node]]
name = "pacs"
kind = "dicom"
ae_title = "PACS"
host = "127.0.0.1"
port = 104
roles = ["destination"]
"""
RULE = '[[rule]]\nname = "all"\nwhen = { field = "assoc.calling_ae", op = "exists" }\nsend = ["pacs"]\n'


def load(database: Database, path: Path) -> Site:
    """The site in force, as a start makes it."""
    site = site_in_force(database)
    first_import(site, path)
    return site.value


@pytest.fixture
def site(tmp_path: Path) -> Path:
    file = tmp_path / "site.toml"
    file.write_text(NODE + RULE, encoding="utf-8")
    return file


def versions(database: Database) -> dict[str, int]:
    found = {}
    for kind in ("nodes", "rules"):
        version = database.read(configurations.current, kind).result(10)
        found[kind] = version.version if version else 0
    return found


def names(found: Site) -> tuple[list[str], list[str]]:
    return [node.name for node in found.nodes], [rule.name for rule in found.rules.rules]


def test_the_first_start_imports_and_later_ones_read(database: Database, site: Path) -> None:
    first = load(database, site)
    assert names(first) == (["pacs"], ["all"])
    assert versions(database) == {"nodes": 1, "rules": 1}
    assert first.rules.version == 1
    site.unlink()
    assert load(database, site) == first
    assert versions(database) == {"nodes": 1, "rules": 1}


def test_without_file_and_database_nothing_is_known_and_everything_held(database: Database, tmp_path: Path) -> None:
    found = load(database, tmp_path / "gone.toml")
    assert names(found) == ([], [])
    assert found.rules.default_action == "hold"
    assert versions(database) == {"nodes": 0, "rules": 0}


def test_a_later_difference_is_a_warning_and_the_database_stays_in_force(database: Database, site: Path) -> None:
    load(database, site)
    site.write_text(NODE.replace("104", "105") + RULE, encoding="utf-8")
    with capture_logs() as logs:
        found = load(database, site)
    assert [(line["event"], line["kind"]) for line in logs] == [("site.differs", "nodes")]
    assert found.nodes[0].port == 104
    assert versions(database) == {"nodes": 1, "rules": 1}


def test_each_table_is_imported_when_the_database_holds_none(database: Database, site: Path) -> None:
    site.write_text(NODE, encoding="utf-8")
    assert names(load(database, site)) == (["pacs"], [])
    assert versions(database) == {"nodes": 1, "rules": 0}
    site.write_text(NODE + RULE, encoding="utf-8")
    assert names(load(database, site)) == (["pacs"], ["all"])
    assert versions(database) == {"nodes": 1, "rules": 1}


def test_versions_count_up_and_old_ones_stay(database: Database, site: Path) -> None:
    load(database, site)
    document = read_file(site)["rules"] | {"default": {"action": "discard"}}
    assert site_in_force(database).publish({"rules": document}, Signature(actor="test"))["rules"] == 2
    found = load(database, site)
    assert (found.rules.version, found.rules.default_action) == (2, "discard")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[node]]\nname = 'x'\n", ["node 'x'", "kind"]), ("[[nodes]]\n", ["nodes: unknown key"]),
        ("node = 5\n", ["node"]), ("node = ['x']\n", ["node 1"]), ("rule = ['x']\n", ["rule 1"]),
        (RULE, ["rule 'all'", "send", "pacs"]), ("default = 5\n", ["default"]), ("[[node]\n", ["not valid TOML"]),
        (NODE + RULE + '[[rule.example]]\nfacts = { "assoc.calling_ae" = "X" }\nsends = []\n', ["'all'", "example 1"]),
        (NODE + NODE, ["node 'pacs'", "twice"]), ("", []),
    ],
)  # fmt: skip
def test_mistakes_are_one_line_that_names_the_file(site: Path, text: str, words: list[str]) -> None:
    site.write_text(text, encoding="utf-8")
    if not words:
        assert read_file(site)["nodes"] == []
        return
    with pytest.raises(ConfigurationError) as caught:
        read_file(site)
    message = str(caught.value)
    assert message.startswith(f"{site}: ")
    assert "\n" not in message
    for word in words:
        assert word in message, message


def test_a_wrong_file_imports_nothing(database: Database, site: Path) -> None:
    site.write_text(NODE + RULE.replace("pacs", "nowhere"), encoding="utf-8")
    with pytest.raises(ConfigurationError):
        load(database, site)
    assert versions(database) == {"nodes": 0, "rules": 0}
