"""A draft of the rules is kept, looked at, planned and put in force from the command line, across a restart."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path

from support.peers.tools import wait_until
from support.service.site import Site, destination

RULE = """
[[rule]]
name = "CT to the archive"
when = { field = "tag.Modality", value = "CT" }
send = ["pacs"]
"""


def test_a_draft_is_planned_and_comes_into_force_after_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "draft.toml"
    file.write_text(RULE)
    site = Site(tmp_path, site=destination("pacs", 104))
    with site:
        told = site.command("rules", "draft", file, "--reason", "a new archive").stdout
        assert told == "draft 1, made of version 0\n  rule 'CT to the archive' added\n"
        assert "cli:" in site.command("rules", "drafts").stdout
        assert "0 objects: 0 would go as before" in site.command("rules", "replay", "draft:1", "--since", "1").stdout
        far = site.command("rules", "activate", "--draft", "1", "--at", "2999-12-24T18:00")
        assert far.returncode
        assert "within a year" in far.stderr
        assert _activate(site, time.time() + 3600) == "draft 1: planned as 1\n"
        assert site.command("rules", "cancel", "1", "--reason", "not today").stdout == "plan 1: cancelled\n"
        due = time.time() + 20
        assert _activate(site, due) == "draft 1: planned as 2\n"
        assert _version(site) == 0
    assert _version(site) == 0  # while no broker runs
    with site:
        wait_until(lambda: _version(site) == 1, 60, "the plan is carried out")
        assert time.time() >= due
        assert "version 1" in site.command("rules", "planned").stdout
        assert site.command("rules", "drafts", "--json").stdout.strip() == "[]"


def _activate(site: Site, at: float) -> str:
    text = datetime.fromtimestamp(at, UTC).isoformat()
    return site.command("rules", "activate", "--draft", "1", "--at", text, "--reason", "at night").stdout


def _version(site: Site) -> int:
    return int(json.loads(site.command("rules", "list", "--json").stdout)["version"])
