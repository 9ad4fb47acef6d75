"""Rules and nodes on the real binary: edited by REST and by command while it runs, and offline."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.dicom.objects import ct_slice
from support.dicom.raw import RawScu
from support.peers.peers import received, storescp
from support.peers.tools import free_port, wait_until
from support.service.program import run
from support.service.site import Site, destination

TOKEN = "a-token-of-the-tests-0123456789"
ALWAYS = {"field": "tag.Modality", "op": "is", "value": "CT"}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    config = {"web": {"port": 0, "admin_token": TOKEN}}
    with Site(tmp_path / "site", site=destination("pacs", free_port()), config=config) as one:
        yield one


@pytest.fixture
def http(site: Site) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{site.web}/api/v1", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60) as one:
        yield one


def rules(*send: str, name: str = "all") -> dict[str, Any]:
    return {"rule": [{"name": name, "when": ALWAYS, "send": list(send)}]}


def node(name: str, port: int) -> dict[str, Any]:
    return {"name": name, "kind": "dicom", "ae_title": name.upper(), "host": "127.0.0.1", "port": port,
            "roles": ["destination"]}  # fmt: skip


def store(site: Site) -> tuple[str, int, str]:
    """Send an object; its UID, the version of the rules that judged it, and its state."""
    item = ct_slice(1024)
    with RawScu(site.dicom) as modality:
        assert modality.associate([(item.sop_class, item.transfer_syntax)])[0] == 2
        assert modality.store(item) == 0
    query = "SELECT rules_version, state FROM instance WHERE sop_instance_uid = ?"
    ((version, state),) = site.rows(query, item.sop_instance)
    return item.sop_instance, version, state


def broker(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run(*arguments, "--config", folder / "broker.toml", folder=folder)


def words(answer: httpx.Response) -> list[str]:
    return [change["words"] for change in answer.json()["changes"]]


def test_rules_by_rest(site: Site, http: httpx.Client) -> None:
    assert store(site)[1:] == (0, "held")
    assert (http.get("/rules").headers["etag"], http.get("/nodes").headers["etag"]) == ('"0"', '"1"')
    assert words(http.post("/rules/check", json=rules("pacs"))) == ["rule 'all' added"]
    assert http.get("/rules").json()["version"] == 0

    made = http.put("/rules", json={**rules("pacs"), "reason": "all to the PACS"}, headers={"If-Match": '"0"'})
    assert (made.status_code, made.headers["etag"], made.json()["versions"]) == (200, '"1"', {"rules": 1})
    assert store(site)[1:] == (1, "routed")  # the next object, no restart
    late = http.put("/rules", json={**rules("pacs"), "default": {"action": "discard"}}, headers={"If-Match": '"0"'})
    assert (late.status_code, late.headers["content-type"]) == (412, "application/problem+json")

    made = http.post("/rules", json={**rules("pacs", name="CT"), "author": "Anna Ärztin"})
    assert words(made) == ["rule 'all' removed", "rule 'CT' added"]
    second, first = http.get("/rules/history").json()
    assert (first["version"], first["author"], first["reason"]) == (1, "api", "all to the PACS")
    assert (second["version"], second["author"], second["source"]) == (2, "Anna Ärztin", "api")
    diff = http.get("/rules/diff", params={"from": 1, "to": 2}).json()
    assert [change["words"] for change in diff] == ["rule 'all' removed", "rule 'CT' added"]
    assert http.get("/rules/versions/1").json()["document"] == rules("pacs")
    assert http.get("/rules/versions/9").status_code == 404
    assert http.get("/rules/diff", params={"from": 1, "to": 9}).status_code == 404

    back = http.post("/rules/rollback", json={"reason": "was wrong"})
    assert (back.status_code, back.json()["versions"]) == (201, {"rules": 3})
    assert http.get("/rules").json()["document"] == rules("pacs")
    assert store(site)[1:] == (3, "routed")
    assert http.post("/rules/rollback", json={"version": 7}).status_code == 404
    audit = site.rows("SELECT actor, action, object_id, detail FROM audit WHERE object_kind = 'rules' ORDER BY id")
    assert [(row[:3], json.loads(row[3])) for row in audit] == [
        (("api", "rules.published", 1), {"kind": "rules", "reason": "all to the PACS"}),
        (("api", "rules.published", 2), {"kind": "rules", "author": "Anna Ärztin"}),
        (("api", "rules.published", 3), {"kind": "rules", "again": 1, "reason": "was wrong"}),
    ]
    assert httpx.put(f"{site.web}/api/v1/rules", json=rules()).status_code == 401


def test_nodes_and_rules_fit_together(site: Site, http: httpx.Client) -> None:
    refused = http.post("/rules", json=rules("cad"))
    assert refused.status_code == 422
    assert "rule 'all': send: unknown node 'cad'" in refused.json()["errors"][0]["text"]
    assert http.post("/rules", json=rules("pacs")).status_code == 201
    refused = http.post("/nodes", json={"node": [node("cad", 104)], "replace": True})
    assert (refused.status_code, "unknown node 'pacs'" in refused.text) == (422, True)
    kept = http.post("/nodes", json={"node": [node("cad", 104)]})
    assert (kept.status_code, [one["text"] for one in kept.json()["errors"]]) == (
        409, ["node 'pacs' removed", "node 'cad' added", "node 'pacs': Rule all sends to it"]
    )  # fmt: skip
    both = {"node": [node("cad", free_port())], **rules("cad"), "replace": True}
    assert http.post("/site", json=both).json()["versions"] == {"nodes": 2, "rules": 2}
    assert store(site)[1:] == (2, "routed")


def test_lanes_follow_the_node_in_force(site: Site, http: httpx.Client, tmp_path: Path) -> None:
    assert http.post("/rules", json=rules("pacs")).status_code == 201
    first = store(site)[0]  # nobody listens there
    with storescp(tmp_path / "pacs") as port:
        assert http.post("/nodes", json={"node": [node("pacs", port)]}).status_code == 201
        second = store(site)[0]
        wait_until(lambda: received(tmp_path / "pacs").keys() == {first, second}, 30, "both went to the new port")
        with storescp(tmp_path / "cad") as other:
            moved = {"node": [node("pacs", other)], **rules("pacs", name="again")}
            assert http.post("/site", json=moved).status_code == 201
            third = store(site)[0]  # an association to the old one was still open
            wait_until(lambda: received(tmp_path / "cad").keys() == {third}, 30, "it went to the other one")
    away = store(site)[0]
    assert http.post("/site", json={"node": [], "replace": True}).status_code == 201
    query = "SELECT job.state, last_error FROM job JOIN instance ON instance.id = subject WHERE sop_instance_uid = ?"
    wait_until(
        lambda: site.rows(query, away) == [("held", "unknown-node")], 30, "what waits for a removed node is held"
    )
    assert store(site)[2] == "held"  # no rule any more


def test_hostile_bodies_change_nothing(site: Site, http: httpx.Client) -> None:
    deep: Any = ALWAYS
    for _ in range(400):
        deep = {"not": deep}
    bodies: list[Any] = [
        [], 5, None, "x", {"rule": 5}, {"rule": [5]}, {"rule": [[]]}, {"node": "x"}, {"node": [{"name": []}]}, {"x": 1},
        {"rule": [{"name": "x", "when": deep, "send": ["pacs"]}]}, {"node": [{"name": "x" * 100_000, "kind": "dicom"}]},
        {"rule": [{"name": {"a": 1}, "when": ALWAYS, "send": ["pacs"]}]}, {"default": {"action": ["hold"]}},
        {"rule": [{"name": "a\ud800", "when": ALWAYS, "send": ["pacs"]}]}, {"default": []},
        {"rule": [{"name": "r", "when": ALWAYS, "send": [{}]}]}, {"rule": [{}] * 20_000}, {"reason": "x" * 501},
        {"reason": "a\nb"}, {"author": "\u0000"}, {"reason": 5}, {"version": "x"}, {"version": 10**30}, {"version": -1},
        {"node": [{"name": "n", "kind": "dicom", "ae_title": "N", "port": 1e400}]}, {"replace": "perhaps"},
        {"node": [node("pacs", 104)] * 2}, {"node": [node("pacs", 104) | {"passcode": "********", "username": "u"}]},
    ]  # fmt: skip
    before = site.rows("SELECT count(*) FROM configuration")
    for path in ("/rules", "/nodes", "/site", "/rules/check", "/nodes/check", "/rules/rollback"):
        for body in bodies:
            content = json.dumps(body)
            answer = http.post(path, content=content, headers={"Content-Type": "application/json"})
            assert 400 <= answer.status_code < 500, (path, content[:200], answer.text[:500])
            assert answer.headers["content-type"] == "application/problem+json"
        for header in ("3", '"x"', '"-1"', 'W/"99"', '"1", "2"', '"' + "9" * 50 + '"'):
            good = rules("pacs") if "rules" in path else {"node": [node("pacs", 104)]}
            answer = http.post(path, json={} if "rollback" in path else good, headers={"If-Match": header})
            assert answer.status_code in ({200} if path.endswith("check") else {404, 412}), (path, header)
    assert site.rows("SELECT count(*) FROM configuration") == before


def test_commands_beside_a_running_broker(site: Site, http: httpx.Client) -> None:
    file = site.folder / "next.toml"
    admitted = {"ae_title": "US07", "address": "10.0.0.7"}
    assert http.post("/nodes/admit", json=admitted).status_code == 201
    text = destination("pacs", 104) + '[[rule]]\nname = "all"\nwhen = {field = "tag.Modality", value = "CT"}\n'
    file.write_text(text + 'send = ["pacs"]\n', encoding="utf-8")

    for name in ("site", "nodes"):
        kept = broker(site.folder, name, "import", str(file))
        assert (kept.returncode, "node 'us07' removed" in kept.stderr, "--replace" in kept.stderr) == (1, True, True)
    assert len(http.get("/nodes").json()) == 2
    assert broker(site.folder, "rules", "check", str(file)).returncode == 0
    done = broker(site.folder, "rules", "import", str(file), "--reason", "first", "--json")
    assert (done.returncode, json.loads(done.stdout)["versions"]) == (0, {"rules": 1}), done.stderr
    done = broker(site.folder, "site", "import", str(file), "--replace")
    assert (done.returncode, done.stdout.splitlines()[:2]) == (
        0, ["nodes: version 3 in force", "rules: version 1 in force"]
    )  # fmt: skip
    assert "  node 'us07' removed" in done.stdout.splitlines()
    assert broker(site.folder, "nodes", "rollback", "2", "--author", "Bob").returncode == 0
    assert [one["name"] for one in json.loads(broker(site.folder, "nodes", "list", "--json").stdout)] == [
        "pacs",
        "us07",
    ]
    history = json.loads(broker(site.folder, "nodes", "history", "--json").stdout)
    assert (history[0]["version"], history[0]["author"]) == (4, "Bob")
    assert history[1]["author"].startswith("cli:")
    diff = broker(site.folder, "nodes", "diff", "2", "3")
    assert "node 'us07' removed" in diff.stdout
    assert "all" in broker(site.folder, "rules", "list").stdout
    wrong = file.with_name("wrong.toml")
    wrong.write_text(text + 'send = ["nobody"]\n', encoding="utf-8")
    refused = broker(site.folder, "rules", "import", str(wrong))
    assert (refused.returncode, "rule 'all': send: unknown node 'nobody'" in refused.stderr) == (1, True)
    assert broker(site.folder, "site", "import", str(wrong)).returncode == 2
    assert store(site)[1:] == (1, "routed")


def test_commands_while_no_broker_runs(tmp_path: Path) -> None:
    site = Site(tmp_path / "site", site=destination("pacs", 104))
    text = destination("pacs", 105) + 'username = "us"\npasscode = "secret"\n[[rule]]\nname = "all"\n'
    text += 'when = {field = "tag.Modality", value = "CT"}\nsend = ["pacs"]\n'
    file = site.folder / "next.toml"
    file.write_text(text, encoding="utf-8")
    assert broker(site.folder, "rules", "import", str(file)).returncode == 1  # no such node yet
    done = broker(site.folder, "site", "import", str(file), "--reason", "new")
    assert (done.returncode, done.stdout.splitlines()[:2]) == (
        0, ["nodes: version 1 in force", "rules: version 1 in force"]
    ), done.stderr  # fmt: skip
    exported = broker(site.folder, "site", "export")
    assert (exported.returncode, "secret" in exported.stdout, "********" in exported.stdout) == (0, False, True)
    file.write_text(exported.stdout, encoding="utf-8")
    assert "nothing changes" in broker(site.folder, "site", "import", str(file)).stdout
    file.write_text(exported.stdout.replace("105", "106"), encoding="utf-8")
    assert "port: 105 → 106" in broker(site.folder, "nodes", "import", str(file)).stdout
    assert (
        site.rows("SELECT document FROM configuration WHERE kind = 'nodes' AND version = 2")[0][0].count("secret") == 1
    )
    assert "nodes: version 3" in broker(site.folder, "nodes", "rollback").stdout
    shown = json.loads(broker(site.folder, "nodes", "show", "2", "--json").stdout)
    assert (shown["version"], shown["document"][0]["port"], shown["document"][0]["passcode"]) == (2, 106, "********")
    assert "105" in broker(site.folder, "nodes", "show", "1").stdout
    assert broker(site.folder, "rules", "show", "9").returncode == 1
    with site, httpx.Client(base_url=site.web) as http:
        assert http.get("/health/ready").status_code == 200
        assert store(site)[1:] == (1, "routed")


def test_a_device_that_is_admitted_before_the_first_start_joins_the_nodes_of_the_site_file(tmp_path: Path) -> None:
    site = Site(tmp_path / "site", site=destination("pacs", 104))
    assert broker(site.folder, "nodes", "admit", "US07", "10.0.0.7").returncode == 0
    listed = json.loads(broker(site.folder, "nodes", "list", "--json").stdout)
    assert [one["name"] for one in listed] == ["pacs", "us07"]
    several = broker(site.folder, "site", "export", "--version", "1")
    assert (several.returncode, "nodes export --version" in several.stderr) == (1, True)
