"""`broker queue` beside a running broker: what waits is seen, held back, tried, sent elsewhere and given up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.dicom.objects import ct_slice
from support.dicom.raw import RawScu
from support.peers.peers import received, storescp
from support.peers.tools import free_port, wait_until
from support.service.program import run
from support.service.site import Site, destination

RULE = '[[rule]]\nname = "all"\nwhen = { field = "tag.Modality", op = "is", value = "CT" }\nsend = ["pacs"]\n'
WHY = ("--reason", "the PACS is replaced")


@pytest.fixture
def ports() -> tuple[int, int]:
    return free_port(), free_port()


@pytest.fixture
def site(tmp_path: Path, ports: tuple[int, int]) -> Iterator[Site]:
    """A broker with three objects for a destination that is off."""
    document = destination("pacs", ports[0]) + destination("cad", ports[1]) + RULE
    with Site(tmp_path / "site", site=document) as running:
        item = ct_slice(1024)
        with RawScu(running.dicom) as modality:
            modality.associate([(item.sop_class, item.transfer_syntax)])
            for _ in range(3):
                assert modality.store(ct_slice(1024)) == 0
        wait_until(lambda: lane(running)["state"] == "down", 30, "the destination is seen to be off")
        yield running


def said(site: Site, *command: str, code: int = 0) -> str:
    done = site.command("queue", *command)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def lane(site: Site) -> dict[str, Any]:
    """What the summary says of the lane to the PACS."""
    found = {one["lane"]: one for one in json.loads(said(site, "summary", "--json"))}
    return dict(found.get("deliver:pacs", {"state": ""}))


def waiting(site: Site) -> list[Any]:
    found: list[Any] = json.loads(said(site, "list", "--json"))
    return found


def test_a_paused_node_gets_nothing_until_it_is_resumed(site: Site, ports: tuple[int, int], tmp_path: Path) -> None:
    assert "broker queue resume" in said(site, "pause", "pacs", *WHY)
    assert lane(site)["state"] == "paused"
    assert "the PACS is replaced" in said(site, "summary")
    assert json.loads(said(site, "drain", "cad", *WHY, "--json")) == {"node": "cad", "done": "drain"}
    assert json.loads(said(site, "resume", "cad", *WHY, "--json")) == {"node": "cad", "done": "resume"}
    assert json.loads(said(site, "pause", "cad", *WHY, "--json")) == {"node": "cad", "done": "pause"}
    assert site.command("status").returncode == 1
    kept = said(site, "retry", "--all", "--node", "pacs", *WHY)
    assert "3 wait on, as their node is paused" in kept
    assert "not sent now: pacs is paused by" in kept
    kept = json.loads(said(site, "retry", "--all", "--node", "pacs", *WHY, "--json"))
    assert (kept["paused"], len(kept["notes"])) == (3, 1)
    with storescp(tmp_path / "pacs", port=ports[0]):
        assert json.loads(said(site, "resume", "pacs", *WHY, "--json")) == {"node": "pacs", "done": "resume"}
        wait_until(lambda: len(received(tmp_path / "pacs")) == 3, 30, "all are sent")
    wait_until(lambda: waiting(site) == [], 30, "nothing waits")


def test_the_bare_command_is_the_summary_and_takes_options_for_all(site: Site) -> None:
    said(site, "pause", "pacs", *WHY)
    wait_until(lambda: lane(site)["sending"] == 0, 30, "no try is under way")
    assert said(site) == said(site, "summary")
    assert json.loads(said(site, "--json")) == json.loads(said(site, "summary", "--json"))
    settings = ("--config", str(site.folder / "broker.toml"))
    listed = run("queue", *settings, "--json", "list", "--limit", "2", folder=site.folder)
    assert [one["id"] for one in json.loads(listed.stdout)] == [one["id"] for one in waiting(site)][:2]
    assert json.loads(said(site, "held", "--json")) == []
    bare = run("queue", *settings, "summary", folder=site.folder)
    assert bare.stdout == said(site)


def test_what_waits_goes_elsewhere_or_is_given_up(site: Site, ports: tuple[int, int], tmp_path: Path) -> None:
    said(site, "pause", "pacs", *WHY)  # or one may just be tried when it is to go
    wait_until(lambda: lane(site)["sending"] == 0, 30, "no try is under way")
    first, *others = (one["id"] for one in waiting(site))
    assert len(others) == 2
    said(site, "discard", str(first), *WHY)
    assert [one["id"] for one in waiting(site)] == others
    with storescp(tmp_path / "cad", port=ports[1]):
        assert "2 go there now" in said(site, "reroute", "--all", "--node", "pacs", "--to", "cad", *WHY)
        wait_until(lambda: len(received(tmp_path / "cad")) == 2, 30, "both are sent elsewhere")
    wait_until(lambda: waiting(site) == [], 30, "nothing waits")
    assert "No such node" in said(site, "pause", "nobody", *WHY, code=1)
