"""Rules are changed and proven from the command line while a broker runs, and what waited goes its way."""

from __future__ import annotations

import json
from pathlib import Path

import pydicom
import pytest
from support.dicom.objects import ct_slice
from support.peers.peers import storescp
from support.peers.tools import run, wait_until
from support.service.site import Site, destination

RULE = """
[[rule]]
name = "thin slices of CT1 at any time"
when = { all = [
  { field = "assoc.calling_ae", value = "STORESCU" },
  { field = "tag.SliceThickness", op = "le", value = 2 },
  { field = "time.window", value = "Mon-Sun" },
] }
send = ["pacs"]
priority = "high"
"""


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    made = {}
    for name, thickness in (("thin", "1.25"), ("thick", "8")):
        path = made[name] = tmp_path / f"{name}.dcm"
        path.write_bytes(ct_slice(64 * 1024, SliceThickness=thickness, StudyInstanceUID="2.999.7.9").part10())
    return made


def test_what_no_rule_matched_is_routed_by_the_next_version(tmp_path: Path, files: dict[str, Path]) -> None:
    with storescp(tmp_path / "pacs") as port, Site(tmp_path, site=destination("pacs", port)) as site:
        run("storescu", "-xe", "-aec", "BROKER", "127.0.0.1", str(site.dicom), *map(str, files.values()))
        held = json.loads(site.command("holds", "list", "--json").stdout)
        assert [one["cause"] for one in held] == ["no-rule-matched"] * 2
        draft = tmp_path / "draft.toml"
        draft.write_text(RULE)
        tried = site.command("rules", "test", files["thin"], files["thick"], "--rules", draft,
                             "--fact", "assoc.calling_ae=STORESCU").stdout  # fmt: skip
        assert "thin.dcm: send pacs (high)" in tried
        assert "thick.dcm: hold no-rule-matched" in tried
        assert "false   tag.SliceThickness le: saw 8.0" in tried
        replayed = site.command("rules", "replay", draft, "--since", "1").stdout
        assert "study 2.999.7.9, 1 object from STORESCU: was hold, would be send pacs" in replayed
        assert "2 objects: 1 would go as before, of 0 too little is kept" in replayed
        site.command("rules", "import", draft, "--reason", "thin slices are read at the PACS")
        assert "version" in site.command("rules", "activate", "1", "--reason", "to see it again").stdout
        number = held[0]["number"]
        assert "would: send to pacs" in site.command("holds", "show", number).stdout
        told = site.command("holds", "route", "--all", "--study", "2.999.7.9", "--reason", "the rule is new").stdout
        assert told == "objects: 1 routed, 1 waits still\n"
        wait_until(lambda: len(list((tmp_path / "pacs").iterdir())) == 1, 30, "the thin slice is delivered")
        explained = site.command("rules", "explain", "2.999.7.9").stdout
        assert "true    thin slices of CT1 at any time" in explained
        assert "pacs: 1 done" in explained
        why, no_rule = ("--reason", "not wanted"), ("--all", "--cause", "no-rule-matched")
        told = json.loads(site.command("holds", "discard", *no_rule, *why, "--json").stdout)
        assert (told["objects"]["discarded"], told["jobs"]) == (1, 0)
        assert json.loads(site.command("holds", "list", "--json").stdout) == []
        told = site.command("holds", "undo", "--all", "--reason", "wanted after all", "--json").stdout
        assert json.loads(told)["objects"]["held"] == 1
        site.command("holds", "send", held[1]["number"], "--to", "pacs", "--reason", "asked for by the ward")
        wait_until(lambda: len(list((tmp_path / "pacs").iterdir())) == 2, 30, "the thick slice is delivered")
        received = {str(pydicom.dcmread(path).SliceThickness) for path in (tmp_path / "pacs").iterdir()}
        assert received == {"1.25", "8"}
