"""Nodes on the real binary: questions of support staff by one command; disabled, blocked, tested, restarted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.dicom.objects import ct_slice
from support.dicom.raw import RawScu
from support.peers.peers import received, storescp
from support.peers.tools import free_port, run, wait_until
from support.service.site import Site, destination

TOKEN = "a-token-of-the-tests-0123456789"
PACS = free_port()
CT = '[[node]]\nname = "ct1"\nkind = "dicom"\nae_title = "CT01"\nroles = ["modality"]\n'
RULE = '[[rule]]\nname = "all"\nwhen = { field = "tag.Modality", op = "is", value = "CT" }\nsend = ["pacs"]\n'


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    config = {"web": {"port": 0, "admin_token": TOKEN}, "dicom": {"port": 0, "accept": "known"}}
    document = CT + destination("pacs", PACS) + RULE
    with Site(tmp_path_factory.mktemp("nodes") / "site", site=document, config=config) as one:
        yield one


def broker(site: Site, *arguments: str, code: int = 0) -> str:
    done = site.command("nodes", *arguments)
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def shown(site: Site, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(broker(site, "show", name, "--json"))
    return found


def ask(site: Site, calling: str, called: str = "BROKER") -> int:
    """Ask for the worklist; the exit code."""
    keys = ("-k", "AccessionNumber")
    return run("findscu", "-W", "-aet", calling, "-aec", called, "127.0.0.1", str(site.dicom), *keys).returncode


def store(site: Site) -> str:
    item = ct_slice(1024)
    with RawScu(site.dicom) as modality:
        assert modality.associate([(item.sop_class, item.transfer_syntax)], calling=b"CT01")[0] == 2
        assert modality.store(item) == 0
    return item.sop_instance


def test_18_an_unknown_device_wants_in(site: Site) -> None:
    ask(site, "US07")
    told = broker(site, "knocking")
    assert "US07" in told
    assert "unknown" in told
    assert "worklist" in told
    assert "is let in" in broker(site, "admit", "US07", "127.0.0.1", "--profile", 'charset="ISO_IR 100"')
    ask(site, "US07")
    kinds = {one["kind"] for one in shown(site, "us07")["contacts"]}
    assert {"association", "query"} <= kinds


def test_19_why_is_this_modality_rejected(site: Site) -> None:
    ask(site, "CT01", "BROKRE")
    told = broker(site, "knocking")
    assert "BROKRE" in told
    assert "ct1" in told
    assert "wrong AE title" in " ".join(broker(site, "show", "ct1").split())
    broker(site, "edit", "ct1", "--set", "host=127.0.0.9")
    ask(site, "CT01")
    assert "is not its address here" in " ".join(broker(site, "show", "ct1").split())
    broker(site, "edit", "ct1", "--unset", "host")
    broker(site, "block", "ct1", "--reason", "stolen")
    ask(site, "CT01")
    assert "while it is blocked" in " ".join(broker(site, "show", "ct1").split())
    broker(site, "enable", "ct1")
    ask(site, "CT01")
    assert "BROKRE" not in broker(site, "knocking")  # it is right since


def test_20_is_ct1_alive_also_after_a_restart(site: Site, tmp_path: Path) -> None:
    with storescp(tmp_path / "pacs", port=PACS):
        ask(site, "CT01")
        uid = store(site)
        wait_until(lambda: uid in received(tmp_path / "pacs"), 30, "the image is delivered")
        ct, pacs = shown(site, "ct1"), shown(site, "pacs")
        assert {"association", "query", "image"} <= {one["kind"] for one in ct["contacts"] if one["good"]}
        assert [one["kind"] for one in pacs["contacts"]] == ["delivery"]
        assert pacs["last_out"] is not None
        assert "last in: never" in broker(site, "show", "pacs")
        assert site.stop() == 0
        site.start()
        assert shown(site, "ct1")["contacts"] == ct["contacts"]


def test_what_is_for_a_disabled_node_waits_and_is_sent_when_it_is_enabled(site: Site, tmp_path: Path) -> None:
    broker(site, "edit", "pacs", "--set", "association_idle=0")  # storescp serves one caller at a time
    with storescp(tmp_path / "pacs", port=PACS):
        broker(site, "disable", "pacs", "--reason", "upgrade")
        uid = store(site)
        assert "1 job waits for it" in broker(site, "show", "pacs")
        with httpx.Client(base_url=site.web, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=30) as http:
            assert http.post("/api/v1/nodes/pacs/test", json={"resume": True}).json()["resumed"] is False
        assert received(tmp_path / "pacs") == {}
        assert "1 job that waited is sent now" in broker(site, "enable", "pacs")
        wait_until(lambda: uid in received(tmp_path / "pacs"), 30, "the image is delivered")
        assert "the node works" in broker(site, "test", "pacs")
        assert "Rule all sends to it" in broker(site, "remove", "pacs", code=1)
    assert "refuses connections" in broker(site, "test", "pacs", code=1)
    assert len(json.loads(broker(site, "test", "pacs", "--last", "--json"))) == 3


def test_a_device_is_refused_for_now_or_for_good(site: Site) -> None:
    for word, answer in (("disable", (2, 1, 1)), ("block", (1, 1, 3))):
        broker(site, word, "us07")
        with RawScu(site.dicom) as device:
            kind, body = device.associate([("1.2.840.10008.1.1", "1.2.840.10008.1.2")], calling=b"US07")[:2]
            assert kind == 3
            assert tuple(bytes(body)[1:4]) == answer
    broker(site, "enable", "us07")


def test_one_node_is_added_changed_and_removed(site: Site) -> None:
    added = broker(site, "add", "mr 2", "--ae-title", "MR02", "--role", "modality", "--reason", "new room")
    assert "node 'mr 2' added" in added
    assert "charset" in broker(site, "edit", "mr 2", "--set", 'device.charset="ISO_IR 192"')
    assert shown(site, "mr 2")["table"]["device"] == {"charset": "ISO_IR 192"}
    assert "must be" in broker(site, "edit", "mr 2", "--set", "port=99999", code=1)
    assert "nothing to change" in broker(site, "edit", "mr 2", code=1)
    assert "node 'mr 2' removed" in broker(site, "remove", "mr 2")
    assert "There is no node" in broker(site, "show", "mr 2", code=1)
    number = json.loads(broker(site, "history", "--json"))[0]["version"]
    assert "ct1" in broker(site, "show", str(number))
