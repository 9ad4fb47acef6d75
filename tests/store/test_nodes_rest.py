"""One node at a time over REST: added, changed, disabled, removed; others stay, conflicts are told in words."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import select
from support.peers.tools import free_port
from support.service.rest import AppClient, application, asking

from broker.routing.site import NODES, RULES, site_in_force
from broker.settings import load
from broker.site import editing
from broker.store import jobs, knocks
from broker.store.db.database import Database
from broker.store.jobs import NewJob
from broker.store.schema import tables
from broker.versions.in_force import Conflict, Signature

CT = {"name": "ct1", "kind": "dicom", "ae_title": "CT01", "roles": ["modality"]}
PACS = {"name": "pacs", "kind": "dicom", "ae_title": "PACS", "host": "127.0.0.1", "port": 104, "roles": ["destination"]}
RIS = {"name": "ris", "kind": "hl7", "application": "RIS", "roles": ["ris"]}
ANNA = Signature(actor="cli:anna")


@pytest.fixture
def http(database: Database) -> Iterator[AppClient]:
    with asking(application(database, load(None))) as client:
        assert client.post("/nodes", json={"node": [CT, PACS, RIS]}).status_code == 201
        yield client


def words(answer: Any) -> list[str]:
    assert answer.status_code < 300, answer.text
    return [change["words"] for change in answer.json()["changes"]]


def names(http: AppClient) -> dict[str, str]:
    return {node["name"]: node["state"] for node in http.get("/nodes").json()}


def job(subject: int) -> NewJob:
    return NewJob(kind="deliver", lane="deliver:pacs", subject=subject, detail={})


def audit(database: Database) -> list[tuple[str, dict[str, Any]]]:
    query = select(tables.audit.c.action, tables.audit.c.detail).order_by(tables.audit.c.id)
    rows = database.read(lambda connection: list(connection.execute(query))).result()
    return [(row.action, json.loads(row.detail)) for row in rows if row.action.startswith("node.")]


def test_a_node_is_added_changed_and_removed_and_others_stay(http: AppClient, database: Database) -> None:
    made = http.post("/nodes/add", json={"node": {**CT, "name": "ct2", "ae_title": "CT02"}, "reason": "new room"})
    assert (made.status_code, words(made)) == (201, ["node 'ct2' added"])
    assert names(http) == dict.fromkeys(["ct1", "pacs", "ris", "ct2"], "active")
    changes = {"host": "127.0.0.9", "device": {"charset": "ISO_IR 100", "days_before": 1}}
    assert words(http.patch("/nodes/ct2", json={"changes": changes})) == [
        "node 'ct2': host added: \"127.0.0.9\"",
        'node \'ct2\': device added: {"charset": "ISO_IR 100", "days_before": 1}',
    ]
    assert words(http.patch("/nodes/ct2", json={"changes": {"host": None, "device": {"days_before": None}}})) == [
        "node 'ct2': device.days_before removed: was 1",
        "node 'ct2': host removed: was \"127.0.0.9\"",
    ]
    assert http.get("/nodes/ct2").json()["table"]["device"] == {"charset": "ISO_IR 100"}
    assert words(http.patch("/nodes/ct2", json={"changes": {"port": None}})) == []
    assert words(http.post("/nodes/ct2/remove", json={"reason": "sold"})) == ["node 'ct2' removed"]
    assert list(names(http)) == ["ct1", "pacs", "ris"]
    told = audit(database)
    assert [action for action, _ in told] == ["node.added", "node.changed", "node.changed", "node.removed"]
    assert told[0][1] == {"node": "ct2", "changes": ["node 'ct2' added"], "reason": "new room"}


def test_what_is_no_node_names_every_key(http: AppClient) -> None:
    refused = http.post(
        "/nodes/add", json={"node": {"name": "x/y", "kind": "dicom", "port": 0, "device": {"show": []}}}
    )
    assert refused.status_code == 422
    paths = {error["path"] for error in refused.json()["errors"]}
    assert {"name", "port", "device/show"} <= paths
    refused = http.post("/nodes/add", json={"node": {"name": "pacs3", "kind": "dicom"}})
    assert [error["path"] for error in refused.json()["errors"]] == ["ae_title"]
    for changes in ({"name": "other"}, {"kind": "hl7"}, {"unknown": 1}, {"device": {"charset": "\ud800"}}):
        body = json.dumps({"changes": changes})
        answer = http.patch("/nodes/ct1", content=body, headers={"content-type": "application/json"})
        assert answer.status_code in (400, 422), changes
    assert http.post("/nodes/add", json={"node": CT}).status_code == 409
    assert http.post("/nodes/add", json={"node": {**CT, "name": "history"}}).status_code == 422
    assert http.patch("/nodes/nobody", json={"changes": {"port": 1}}).status_code == 404
    assert http.get("/nodes/nobody").status_code == 404
    assert names(http) == dict.fromkeys(["ct1", "pacs", "ris"], "active")


def test_a_change_of_what_was_seen_before_is_a_conflict_in_words(http: AppClient) -> None:
    tag = http.get("/nodes/pacs").headers["etag"]
    assert words(http.patch("/nodes/ct1", json={"changes": {"host": "127.0.0.5"}}))  # another node: no conflict
    first = http.patch(
        "/nodes/pacs", json={"changes": {"port": 105}, "author": "Berta", "reason": "moved"}, headers={"If-Match": tag}
    )
    assert words(first) == ["node 'pacs': port: 104 → 105"]
    late = http.patch("/nodes/pacs", json={"changes": {"port": 106}}, headers={"If-Match": tag})
    assert late.status_code == 412
    assert late.json()["detail"] == (
        "node 'pacs' was changed meanwhile by Berta (moved) in version 3; look at it and change it again"
    )
    gone = http.post("/nodes/pacs/remove", json={}, headers={"If-Match": tag})
    assert gone.status_code == 412
    newest = first.headers["etag"]
    assert words(http.patch("/nodes/pacs", json={"changes": {"port": 106}}, headers={"If-Match": newest}))


def test_many_who_change_different_nodes_at_once_all_succeed_or_are_told(database: Database) -> None:
    site = site_in_force(database)
    site.publish({NODES: [{**CT, "name": f"ct{n}", "ae_title": f"CT{n}"} for n in range(6)]}, ANNA)
    outcomes: dict[int, str] = {}

    def change(number: int) -> None:
        try:
            editing.edit(site_in_force(database), f"ct{number}", {"port": 104 + number}, ANNA)
            outcomes[number] = "done"
        except Conflict as error:
            outcomes[number] = str(error)

    threads = [threading.Thread(target=change, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert set(outcomes.values()) <= {"done", "others publish at the same time: try again"}
    stored = {table["name"]: table.get("port") for table in site.stored()[NODES].document}
    assert stored == {f"ct{n}": 104 + n if outcomes[n] == "done" else None for n in range(6)}
    assert "done" in outcomes.values()


def test_the_same_request_again_has_no_second_effect(http: AppClient, database: Database) -> None:
    key = {"Idempotency-Key": "k1"}
    body = {"node": {**CT, "name": "ct2", "ae_title": "CT02"}}
    first = http.post("/nodes/add", json=body, headers=key)
    again = http.post("/nodes/add", json=body, headers=key)
    assert first.json() == again.json()
    other = http.post("/nodes/add", json={"node": {**CT, "name": "ct3"}}, headers=key)
    assert other.status_code == 409
    assert "ct3" not in names(http)
    # a change that changes nothing is remembered too: it must not undo what came between
    assert words(http.patch("/nodes/pacs", json={"changes": {"port": 104}}, headers={"Idempotency-Key": "k2"})) == []
    assert words(http.patch("/nodes/pacs", json={"changes": {"port": 105}}))
    assert words(http.patch("/nodes/pacs", json={"changes": {"port": 104}}, headers={"Idempotency-Key": "k2"})) == []
    assert http.get("/nodes/pacs").json()["port"] == 105


def test_states_and_what_follows_from_them(http: AppClient, database: Database) -> None:
    database.submit(jobs.enqueue, [job(1), job(2)],
                    time.time()).result()  # fmt: skip
    off = http.post("/nodes/pacs/disable", json={"reason": "upgrade"})
    assert words(off) == ["node 'pacs': state added: \"disabled\""]
    assert off.json()["note"] == "It is neither served nor sent to. 2 jobs wait for it until it is enabled."
    assert names(http)["pacs"] == "disabled"
    assert (
        http.post("/nodes/pacs/enable", json={}).json()["note"]
        == "It is served and sent to. 2 jobs that waited are sent now."
    )
    assert words(http.post("/nodes/ct1/block", json={})) == ["node 'ct1': state added: \"blocked\""]
    assert names(http) == {"ct1": "blocked", "pacs": "active", "ris": "active"}
    assert [action for action, _ in audit(database)] == ["node.disabled", "node.enabled", "node.blocked"]
    assert http.post("/nodes/nobody/disable", json={}).status_code == 404


def test_a_node_that_something_names_does_not_vanish(http: AppClient, database: Database) -> None:
    when = {"field": "tag.Modality", "op": "is", "value": "CT"}
    rules = {"rule": [{"name": "all", "when": when, "send": ["pacs"]}], "default": {"action": "send", "send": ["pacs"]}}
    rules["completion"] = {"late": [{"to": ["pacs"], "send": "new"}]}
    assert http.put("/rules", json=rules).status_code == 200
    database.submit(jobs.enqueue, [job(1)], time.time()).result()
    named = ["Rule all sends to it", "What it gets of late images is said of it", "What no rule matches is sent to it"]
    named.append("1 job waits for it")
    assert http.get("/nodes/pacs").json()["named_by"] == named
    refused = http.post("/nodes/pacs/remove", json={})
    assert refused.status_code == 409
    assert [error["text"] for error in refused.json()["errors"]] == named
    refused = http.post("/nodes/pacs/remove", json={"anyway": True})
    assert [error["text"] for error in refused.json()["errors"]] == named[:3]
    assert http.put("/rules", json={"rule": []}).status_code == 200
    refused = http.post("/nodes/pacs/remove", json={})
    assert [error["text"] for error in refused.json()["errors"]] == named[3:]
    assert "anyway" in refused.json()["detail"]
    told = http.put("/nodes", json={"node": [CT, RIS]}).json()["errors"]
    assert [error["text"] for error in told] == ["node 'pacs' removed", "node 'pacs': 1 job waits for it"]
    assert words(http.post("/nodes/pacs/remove", json={"anyway": True})) == ["node 'pacs' removed"]


def test_secrets_are_shown_to_nobody_and_stay(http: AppClient, database: Database) -> None:
    assert words(http.patch("/nodes/pacs", json={"changes": {"username": "u", "passcode": "hush-hush"}}))
    seen = http.get("/nodes/pacs")
    assert "hush-hush" not in seen.text
    table = seen.json()["table"]
    assert table["passcode"] == "********"
    assert words(http.patch("/nodes/pacs", json={"changes": table | {"port": 105}})) == ["node 'pacs': port: 104 → 105"]
    stored = site_in_force(database).stored()[NODES].document[1]
    assert stored["passcode"] == "hush-hush"
    refused = http.patch("/nodes/ct1", json={"changes": {"username": "u"}})
    assert refused.status_code == 200
    assert "hush-hush" not in json.dumps(audit(database))


def test_a_device_that_knocked_is_admitted_with_a_profile_blocked_or_forgotten(
    http: AppClient, database: Database
) -> None:
    for title, address, called in (("US07", "10.0.0.7", ""), ("EVIL", "10.0.0.66", ""), ("MR3", "10.0.0.8", "BROKRE")):
        database.submit(knocks.record, title, address, time.time(), 2, ["1.2.840.10008.5.1.4.31"], called).result()
    found = {one["ae_title"]: one for one in http.get("/nodes/knocking").json()}
    assert (found["US07"]["wants"], found["MR3"]["called"], found["US07"]["called"]) == (["worklist"], "BROKRE", "")
    assert words(http.patch("/nodes/ct1", json={"changes": {"device": {"charset": "ISO_IR 100", "stations": ["A"]}}}))
    body = {"ae_title": "US07", "address": "10.0.0.7", "like": "ct1", "reason": "new"}
    admitted = http.post("/nodes/admit", json=body, headers={"Idempotency-Key": "a"})
    assert admitted.status_code == 201
    assert admitted.json()["node"]["device"] == {"charset": ["ISO_IR 100"]}
    assert admitted.json()["knocked"] is True
    assert http.post("/nodes/admit", json=body, headers={"Idempotency-Key": "a"}).json() == admitted.json()
    assert http.post("/nodes/admit", json=body).status_code == 409
    wrong = {"ae_title": "X", "address": "10.0.0.1"}
    assert http.post("/nodes/admit", json={**wrong, "device": {"charset": "klingon"}}).status_code == 422
    assert http.post("/nodes/admit", json={**wrong, "like": "nobody"}).status_code == 422
    blocked = http.post("/nodes/knocking/block", json={"ae_title": "EVIL", "address": "10.0.0.66"})
    assert blocked.json()["node"] == blocked.json()["node"] | {"name": "evil", "state": "blocked", "host": "10.0.0.66"}
    assert http.post("/nodes/knocking/forget", json={"ae_title": "MR3", "address": "10.0.0.8"}).json() == {
        "forgotten": 1
    }
    assert http.post("/nodes/knocking/forget", json={"ae_title": "MR3", "address": "10.0.0.8"}).status_code == 404
    assert http.get("/nodes/knocking").json() == []
    actions = [action for action, _ in audit(database)]
    assert actions == ["node.changed", "node.admitted", "node.blocked", "node.forgotten"]


def test_a_node_that_calls_a_wrong_title_stands_among_those_that_knock(http: AppClient, database: Database) -> None:
    database.submit(knocks.record, "CT01", "10.0.0.1", time.time() + 60, 3, [], "BROKER2").result()
    (one,) = http.get("/nodes/knocking").json()
    assert (one["ae_title"], one["node"], one["called"], one["count"]) == ("CT01", "ct1", "BROKER2", 3)
    assert http.post("/nodes/admit", json={"ae_title": "CT01", "address": "10.0.0.1"}).status_code == 409


def test_a_rule_that_another_edit_broke_is_refused(http: AppClient, database: Database) -> None:
    when = {"field": "tag.Modality", "op": "is", "value": "CT"}
    site_in_force(database).publish({RULES: {"rule": [{"name": "all", "when": when, "send": ["pacs"]}]}}, ANNA)
    refused = http.patch("/nodes/pacs", json={"changes": {"roles": ["mpps"]}})
    assert refused.status_code == 422
    assert "rule 'all'" in refused.json()["detail"]


def test_a_test_tells_its_steps_and_leaves_the_queue_alone_unless_asked(http: AppClient, database: Database) -> None:
    port = free_port()
    assert words(http.patch("/nodes/pacs", json={"changes": {"port": port}}))
    database.submit(jobs.enqueue, [job(1)], time.time()).result()
    later = time.time() + 1000
    database.submit(jobs.open_breaker, "deliver:pacs", 3, later, "connect-failed").result()
    tested = http.post("/nodes/pacs/test", json={"resume": True}).json()
    assert (tested["good"], tested["resumed"], tested["actor"]) == (False, False, "api")
    assert [step["outcome"] for step in tested["steps"]] == ["skipped", "bad"]
    (lane,) = tested["lanes"]
    assert (lane["waiting"], lane["failures"], lane["next_try"], lane["last_error"]) == (1, 3, later, "connect-failed")
    assert database.read(jobs.breakers).result()["deliver:pacs"].failures == 3
    (kept,) = http.get("/nodes/pacs/tests").json()
    assert kept["steps"] == tested["steps"]
    assert http.post("/nodes/nobody/test", json={}).status_code == 404
    ct = http.post("/nodes/ct1/test").json()
    assert (ct["good"], [step["name"] for step in ct["steps"]]) == (True, ["address"])
