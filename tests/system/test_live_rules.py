"""Rules and nodes change 50 times while objects arrive: each is routed by one version, none lost, none twice."""

from __future__ import annotations

import json
import subprocess
import threading
import time
import urllib.request
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import create_engine, text
from support.dicom.objects import Encoded, ct_slice, fresh_uid
from support.dicom.raw import RawScu
from support.peers.tools import free_port, wait_until
from support.scale import scaled
from support.service.site import Site

from broker.routing.rules.evaluate import decide
from broker.routing.rules.parsing import parse_rules

TOKEN = "a-token-of-the-tests-0123456789"
OBJECTS, ASSOCIATIONS, CHANGES = scaled(1_504, 10_016), 8, 50
TURNS = 4  # associations of a modality, one after the other: no process is left out by chance
EACH = OBJECTS // ASSOCIATIONS // TURNS  # objects on each
WITHIN = scaled(3.0, 1.0)  # seconds until every process uses a version; the usual run shares its machine
NAMES = ("east", "north", "west")


def nodes(ports: dict[str, int]) -> list[dict[str, Any]]:
    """Destinations, of which nobody needs to be there: what is due stays in the queue."""
    return [
        {"name": name, "kind": "dicom", "ae_title": name.upper(), "host": "127.0.0.1", "port": port,
         "roles": ["destination"]}
        for name, port in ports.items()
    ]  # fmt: skip


def rules(number: int) -> dict[str, Any]:
    """A set of rules that says in each name which it is; destinations change with every number."""
    chosen = [name for place, name in enumerate(NAMES) if (number + 1) >> place & 1] or [NAMES[number % 3]]
    always = {"field": "tag.Modality", "op": "is", "value": "CT"}
    return {
        "rule": [
            {"name": f"set {number} to {name}", "when": always, "send": [name], "then": "continue"} for name in chosen
        ],
        "default": {"action": "hold"},
    }


@dataclass(frozen=True)
class Change:
    """A version that was published, and when the publisher was told so."""

    version: int
    at: float


class Senders:
    """Modalities on one association at a time each; what was answered 0x0000."""

    def __init__(self, port: int) -> None:
        self.acknowledged: list[str] = []
        self._turn = threading.Condition()
        self._allowed = 0  # so many may be sent: all would be there before the first few changes
        self._port = port
        self._threads = [threading.Thread(target=self._send, args=(number,)) for number in range(ASSOCIATIONS)]
        for thread in self._threads:
            thread.start()

    def _send(self, number: int) -> None:
        item = ct_slice(1024, StudyInstanceUID=f"2.999.7.{number + 1}")
        for _ in range(TURNS):
            with RawScu(self._port, timeout=60) as modality:
                assert modality.associate([(item.sop_class, item.transfer_syntax)])[0] == 2
                for _ in range(EACH):
                    with self._turn:
                        self._turn.wait_for(lambda: len(self.acknowledged) < self._allowed)
                    item = again(item)
                    if modality.store(item) == 0:
                        self.acknowledged.append(item.sop_instance)

    def allow(self, count: int) -> None:
        """Let so many be sent in all."""
        with self._turn:
            self._allowed = count
            self._turn.notify_all()

    def wait(self) -> None:
        """Until all is sent."""
        self.allow(2 * OBJECTS)
        for thread in self._threads:
            thread.join(600)
            assert not thread.is_alive()


def again(item: Encoded) -> Encoded:
    """The same object under a fresh UID."""
    uid = fresh_uid(len(item.sop_instance))
    data = item.data.replace(item.sop_instance.encode(), uid.encode())
    return replace(item, sop_instance=uid, data=data)


class Editor:
    """Publishes by REST and by command, in turn."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.changes: list[Change] = []
        self._ports = {name: free_port() for name in NAMES}
        self._http = httpx.Client(base_url=site.web, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60)

    def change(self, number: int) -> None:
        """The next version of the rules, now and then with other nodes."""
        document = rules(number)
        if number % 10 == 5:
            published = self._by_command(document)
        elif number % 5 == 0:
            self._ports["west"] = free_port()
            body = {"node": nodes(self._ports), **document, "reason": f"change {number}"}
            published = self._post("/api/v1/site", body)
        elif number % 7 == 0:
            published = self._post("/api/v1/rules/rollback", {"reason": f"change {number}"})
        else:
            published = self._post("/api/v1/rules", {**document, "reason": f"change {number}"})
        self.changes.append(Change(published["versions"]["rules"], time.time()))

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        answer = self._http.post(path, json=body)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def _by_command(self, document: dict[str, Any]) -> Any:
        lines = ["[default]", 'action = "hold"']
        for rule in document["rule"]:
            lines += ["[[rule]]", f"name = {json.dumps(rule['name'])}", f"send = {json.dumps(rule['send'])}"]
            lines += ['when = { field = "tag.Modality", op = "is", value = "CT" }']
        file = self._site.folder / "next.toml"
        file.write_text("\n".join(lines), encoding="utf-8")
        done = broker(self._site, "rules", "import", str(file), "--json", "--reason", "by command")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def close(self) -> None:
        """Close the connection."""
        self._http.close()


def broker(site: Site, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command beside the running broker."""
    return site.command(*arguments)


def site_file() -> str:
    """The nodes of the first start; no rules yet."""
    text = ""
    for name in NAMES:
        text += f'[[node]]\nname = "{name}"\nkind = "dicom"\nae_title = "{name.upper()}"\nhost = "127.0.0.1"\n'
        text += f'port = {free_port()}\nroles = ["destination"]\n'
    return text


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("database_url", "workers"), [("sqlite", 1), ("postgresql", 2)], indirect=["database_url"], ids=["one", "two"]
)
def test_each_object_is_routed_by_one_version(tmp_path: Path, database_url: str, workers: int) -> None:
    config = {"service": {"workers": workers}, "web": {"port": 0, "admin_token": TOKEN}, "log": {"level": "info"}}
    with Site(tmp_path / "site", site=site_file(), config=config, database_url=database_url) as site:
        editor = Editor(site)
        editor.change(1)
        wait_until(lambda: time.time() > editor.changes[0].at + WITHIN, 10, "every process has the first version")
        senders = Senders(site.dicom)
        for number in range(2, CHANGES + 1):
            due = OBJECTS * number // (CHANGES + 5)
            senders.allow(OBJECTS * (number + 2) // (CHANGES + 5))
            wait_until(lambda due=due: len(senders.acknowledged) >= due, 120, "objects arrive")
            editor.change(number)
        senders.wait()
        check_processes(site, workers)
        editor.close()
        assert "not_loaded" not in site.logged()
    check(database_url, senders.acknowledged, editor.changes)


def received(site: Site) -> set[str]:
    """The processes that received objects, by number."""
    with urllib.request.urlopen(f"{site.web}/metrics", timeout=30) as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    samples = [one for family in families for one in family.samples if one.name == "broker_instances_received_total"]
    return {one.labels.get("worker", "1") for one in samples if one.value}


def check_processes(site: Site, workers: int) -> None:
    """Each process received objects and took over versions of the rules: what is shown, is shown of all of them."""
    assert received(site) == {str(number) for number in range(1, workers + 1)}
    # a process that looks several times a second passes over versions that were in force for less
    taken_over = [line for line in site.logged().splitlines() if "rules.loaded" in line]
    for number in range(1, workers + 1):
        assert sum(workers == 1 or f"worker={number}" in line for line in taken_over) > CHANGES // 5, number


def check(database_url: str, acknowledged: list[str], changes: list[Change]) -> None:
    """What the database holds is what the versions say, for each object that was answered 0x0000."""
    engine = create_engine(database_url)
    with engine.connect() as connection:
        found = connection.execute(text("SELECT version, document FROM configuration WHERE kind = 'rules'"))
        versions = {row.version: parse_rules(json.loads(row.document), NAMES, row.version) for row in found}
        rows = connection.execute(
            text("SELECT id, sop_instance_uid, rules_version, trace, facts, received_at, state FROM instance")
        ).all()
        jobs = connection.execute(text("SELECT subject, lane FROM job WHERE kind = 'deliver'")).all()
    engine.dispose()
    assert len(acknowledged) == len(set(acknowledged)) == ASSOCIATIONS * TURNS * EACH
    assert Counter(row.sop_instance_uid for row in rows) == Counter(acknowledged)  # none lost, none twice
    assert max(Counter((job.subject, job.lane) for job in jobs).values()) == 1
    lanes: dict[int, set[str]] = {row.id: set() for row in rows}
    for job in jobs:
        lanes[job.subject].add(job.lane)
    for row in rows:
        decision = decide(versions[row.rules_version], json.loads(row.facts))
        assert tuple(json.loads(row.trace)) == decision.outcomes
        assert len(decision.outcomes) == len(versions[row.rules_version].rules)
        assert lanes[row.id] == {f"deliver:{name}" for name in decision.destinations}
        assert (row.state, bool(lanes[row.id])) == ("routed", True)
        assert row.rules_version >= max((c.version for c in changes if c.at < row.received_at - WITHIN), default=0)
    assert [change.version for change in changes] == sorted(change.version for change in changes)
    assert len({row.rules_version for row in rows}) > CHANGES // 2  # the rules did change while objects came
