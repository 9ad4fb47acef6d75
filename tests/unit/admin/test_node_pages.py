"""The pages of nodes as HTTP serves them: whole, by region, by role, with what was typed when it was wrong."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import Connection, delete
from support.peers.tools import free_port, wait_until
from support.service.people import added, signed_in
from support.service.rest import AppClient, application, asking
from support.service.visitor import Visitor

from broker.accounts import api_tokens
from broker.accounts.roles import RIGHTS, Right, UserRole
from broker.model.audit import AuditSelection
from broker.model.contact import Contact, ContactKind
from broker.settings import load
from broker.site import contacts as contact_book
from broker.store import contacts, jobs, knocks
from broker.store.audit import trail
from broker.store.db.database import Database
from broker.store.jobs import NewJob
from broker.store.lanes import LaneReport
from broker.store.schema import tables

CT = {"name": "ct1", "kind": "dicom", "ae_title": "CT01", "roles": ["modality"], "device": {"charset": "ISO_IR 100"}}
PACS = {"name": "pacs", "kind": "dicom", "ae_title": "PACS", "host": "127.0.0.1", "port": 104, "roles": ["destination"],
        "username": "u", "passcode": "hush-hush"}  # fmt: skip
HTML = {"Accept": "text/html"}
REGIONS = {
    "/nodes": "nodes", "/nodes/ct1": "node", "/nodes/pacs": "node_test", "/nodes/add": "node_form",
    "/nodes/pacs/edit": "node_form", "/nodes/knocking": "knocks", "/nodes/history": "node_history",
}  # fmt: skip
CHANGES = {  # of each form the right that it needs
    "/nodes/add": Right.SITE, "/nodes/pacs/edit": Right.SITE, "/nodes/pacs/disable": Right.SITE,
    "/nodes/pacs/block": Right.SITE, "/nodes/pacs/enable": Right.SITE, "/nodes/pacs/remove": Right.SITE,
    "/nodes/nobody/test": Right.WORK, "/nodes/knocking/admit": Right.SITE, "/nodes/knocking/block": Right.SITE,
    "/nodes/knocking/forget": Right.SITE, "/nodes/history/rollback": Right.SITE,
}  # fmt: skip


@pytest.fixture(scope="module")
def database(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    file = tmp_path_factory.mktemp("pages") / "broker.db"
    shutil.copyfile(sqlite_template, file)
    database = Database(f"sqlite:///{file}")
    yield database
    database.close()


@pytest.fixture(scope="module")
def app(database: Database) -> FastAPI:
    return application(database, load(None))


@pytest.fixture(scope="module")
def client(app: FastAPI) -> Iterator[AppClient]:
    with asking(app, "http://broker") as client:
        client.http.headers.update(HTML)
        yield client


@pytest.fixture
def web(client: AppClient, database: Database) -> AppClient:
    """The pages with the two nodes, whatever a test before has done."""

    def forget(connection: Connection) -> None:
        for table in (tables.knock, tables.node_contact, tables.node_test, tables.job, tables.lane):
            connection.execute(delete(table))

    database.execute(forget)
    assert client.put("/api/v1/nodes", json={"node": [], "replace": True}).status_code == 200
    assert client.put("/api/v1/nodes", json={"node": [CT, PACS]}).status_code == 200
    return client


def version(web: AppClient) -> int:
    return int(web.get("/api/v1/nodes/history").json()[0]["version"])


def text(answer: httpx.Response) -> str:
    """What a person reads."""
    return " ".join(re.sub(r"<[^>]*>", " ", answer.text).split())


def post(web: AppClient, path: str, /, *, follow: bool = True, region: str = "", **fields: str) -> httpx.Response:
    headers = {"X-Region": region} if region else {}
    return web.post(path, data={"reason": "a test", **fields}, headers=headers, follow_redirects=follow)


def table(web: AppClient, name: str) -> dict[str, Any]:
    found: dict[str, Any] = web.get(f"/api/v1/nodes/{name}").json()["table"]
    return found


def edit(web: AppClient, name: str = "pacs", **fields: str) -> httpx.Response:
    """Send the form as it stands on its page, with other values in some fields."""
    page = web.get(f"/nodes/{name}/edit").text
    sent = dict(re.findall(r'name="([\w-]+)"[^>]* value="([^"]*)"', page))
    sent |= dict(re.findall(r'name="(seen)" value="([^"]*)"', page))
    sent = {key: value for key, value in sent.items() if not key.startswith("role-")}
    for role in re.findall(r'name="role-([\w-]+)" value="yes" checked', page):
        sent[f"role-{role}"] = "yes"
    sent["kind"] = re.findall(r'<option value="(\w+)" selected', page)[0]
    sent["more"] = re.findall(r"<textarea[^>]*>\n(.*?)</textarea>", page, re.DOTALL)[0].replace("&#34;", '"')
    return post(web, f"/nodes/{name}/edit", **(sent | fields))


# --- every page ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "region"), REGIONS.items())
def test_each_page_is_whole_or_one_region(web: AppClient, path: str, region: str) -> None:
    whole = web.get(path)
    assert whole.status_code == 200
    assert whole.text.startswith("<!doctype html>")
    assert whole.text.count(f'id="{region}"') == whole.text.count("<h1>") == 1
    assert "script-src 'self'" in whole.headers["content-security-policy"]
    assert whole.headers["cache-control"] == "no-store"
    alone = web.get(path, headers={"X-Region": region})
    assert f'id="{region}"' in alone.text
    assert "<html" not in alone.text
    assert "hush-hush" not in whole.text


@pytest.mark.parametrize("role", list(UserRole))
def test_each_role_sees_and_does_what_its_rights_are(
    web: AppClient, app: FastAPI, database: Database, role: UserRole
) -> None:
    token = database.submit(api_tokens.make, role.value, role, time.time() + 60, "test", time.time()).result()
    with asking(app, "http://broker", token.text) as client:
        for path in REGIONS:
            needed = Right.SITE if path.endswith(("/add", "/edit")) else Right.STATUS
            page = client.get(path, headers=HTML)
            assert page.status_code == (200 if needed in RIGHTS[role] else 403), path
            if page.status_code == 200 and Right.SITE not in RIGHTS[role]:
                assert not re.search(r'action="[^"]*/(remove|disable|block|admit|rollback)"', page.text), path
        for path, needed in CHANGES.items():
            answer = client.post(path, data={"reason": "x"}, headers=HTML)
            assert (answer.status_code == 403) == (needed not in RIGHTS[role]), path
    with asking(app, "http://broker", "") as stranger:
        assert stranger.get("/nodes", headers=HTML).status_code in (303, 401)
        assert stranger.post("/nodes/pacs/remove", data={"reason": "x"}, headers=HTML).status_code in (303, 401, 403)


@pytest.mark.parametrize("role", list(UserRole))
def test_a_person_who_is_signed_in_changes_nodes_from_these_pages_alone(
    web: AppClient, app: FastAPI, database: Database, role: UserRole
) -> None:
    now = time.time()
    person = Visitor(app, signed_in(database, added(database, f"nodes-{role}", role, now), now).text)
    before = version(web)
    for path, needed in CHANGES.items():
        may = needed in RIGHTS[role]
        for site in ("cross-site", "same-site", "none", ""):
            assert person.post(path, {"reason": "x"}, site=site, headers=HTML).status_code == 403, path
        if path.endswith(("/test", "/admit", "/block", "/remove")):
            continue  # what these do is tried above
        answer = person.post(path, {"reason": "x"}, headers=HTML)
        assert (answer.status_code == 403) == (not may), path
        assert ("You may not do this" in answer.text) == (not may)
    assert (version(web) > before) == (Right.SITE in RIGHTS[role])
    for path in REGIONS:
        needed = Right.SITE if path.endswith(("/add", "/edit")) else Right.STATUS
        page = person.get(path, headers=HTML)
        assert page.status_code == (200 if needed in RIGHTS[role] else 403), path
        assert (f"nodes-{role}" in page.text) == (page.status_code in (200, 403))
    rows = database.read(trail.page, AuditSelection(actor=f"user:nodes-{role}"), None, 100).result().rows
    assert {row.action for row in rows if row.kind == "nodes"} == (
        {"node.disabled", "node.enabled"} if Right.SITE in RIGHTS[role] else set()
    )


def test_hostile_names_stay_text(web: AppClient, database: Database) -> None:
    evil = "<img src=x onerror=alert(1)>"
    database.submit(knocks.record, "<b>X</b>", "10.0.0.9", time.time(), 1, [evil], evil).result()
    database.submit(contacts.keep, [Contact("ct1", ContactKind.REFUSED, time.time(), evil)]).result()
    post(web, "/nodes/ct1/disable", reason=evil)
    for path in ("/nodes", "/nodes/ct1", "/nodes/knocking", "/nodes/history", f"/nodes?q={evil}", "/nodes?state=x"):
        page = web.get(path)
        assert page.status_code == 200
        assert "<img" not in page.text
        assert "<b>X" not in page.text
    assert web.get("/nodes/%3Cscript%3E").status_code == 404


# --- the list and one node -------------------------------------------------------------------------------


def test_the_list_is_filtered_and_sorted(web: AppClient) -> None:
    post(web, "/nodes/pacs/disable")
    assert re.findall(r'id="node-(\w+)"', web.get("/nodes?q=CT").text) == ["ct1"]
    assert re.findall(r'id="node-(\w+)"', web.get("/nodes?state=disabled").text) == ["pacs"]
    assert re.findall(r'id="node-(\w+)"', web.get("/nodes?role=modality").text) == ["ct1"]
    assert re.findall(r'id="node-(\w+)"', web.get("/nodes?sort=-name").text) == ["pacs", "ct1"]
    assert "Nothing matches" in web.get("/nodes?q=zzz").text


def test_many_nodes_are_paged(web: AppClient) -> None:
    nodes = [{**CT, "name": f"n{number:03}", "ae_title": f"N{number}"} for number in range(120)]
    assert web.post("/api/v1/nodes", json={"node": [CT, PACS, *nodes]}).status_code == 201
    seen: list[str] = []
    path = "/nodes"
    while path:
        page = web.get(path).text
        seen += re.findall(r'id="node-(\w+)"', page)
        following = re.search(r'id="page-next"[^>]*href="([^"]*)"', page)
        path = following[1].replace("&amp;", "&") if following else ""
    assert seen == ["ct1", "pacs", *(f"n{number:03}" for number in range(120))]


def test_a_node_says_when_it_was_last_heard_and_why_it_was_refused(
    web: AppClient, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contact_book, "FRESH", 0.0)
    now = time.time()
    told = [
        Contact("ct1", ContactKind.QUERY, now - 130),
        Contact("ct1", ContactKind.IMAGE, now - 4000),
        Contact("ct1", ContactKind.REFUSED, now - 10, "node-authentication from 10.0.0.9"),
    ]
    database.submit(contacts.keep, told).result()
    page = text(web.get("/nodes/ct1"))
    assert "Last contact in" in page
    assert re.search(r"2 min ago [\w :]+ worklist query", page)
    assert "It called from 10.0.0.9, which is not its address here" in page


def test_the_state_of_the_queue_stands_beside(web: AppClient, database: Database) -> None:
    database.submit(jobs.enqueue, [NewJob(kind="deliver", lane="deliver:pacs", subject=1, detail={})], 1.0).result()
    database.submit(jobs.open_breaker, "deliver:pacs", 7, time.time() + 130, "connect-failed").result()
    page = text(web.get("/nodes/pacs"))
    assert "not reachable" in page
    assert "1 waiting, 0 held ; 7 failures in a row" in page.replace("held;", "held ;")
    assert "1 job waits for it" in page


def test_states_are_changed_with_a_note_of_what_follows(web: AppClient) -> None:
    done = post(web, "/nodes/pacs/disable", region="node", follow=False)
    assert (done.status_code, done.headers["location"]) == (303, "/nodes/pacs")
    assert "disabled" in text(web.get("/nodes/pacs"))
    assert "It is served and sent to. 0 jobs" in text(post(web, "/nodes/pacs/enable"))
    assert "It is refused when it calls. 0 jobs" in text(post(web, "/nodes/pacs/block"))
    assert post(web, "/nodes/nobody/block").status_code == 404
    assert post(web, "/nodes/pacs/nonsense").status_code == 404


def test_a_node_that_is_named_stays(web: AppClient, database: Database) -> None:
    when = {"field": "tag.Modality", "op": "is", "value": "CT"}
    rules = {"rule": [{"name": "all", "when": when, "send": ["pacs"]}]}
    assert web.put("/api/v1/rules", json=rules).status_code == 200
    refused = post(web, "/nodes/pacs/remove", anyway="yes")
    assert web.put("/api/v1/rules", json={"rule": []}).status_code == 200
    assert refused.status_code == 409
    assert "change the rules first" in text(refused)
    assert "Rule all sends to it" in text(refused)
    gone = post(web, "/nodes/ct1/remove")
    assert "ct1 was removed." in text(gone)
    assert web.get("/nodes/ct1").status_code == 404


def test_a_test_shows_its_steps_while_it_runs_and_afterwards(web: AppClient) -> None:
    port = free_port()
    assert web.patch("/api/v1/nodes/pacs", json={"changes": {"port": port}}).status_code == 200
    post(web, "/nodes/pacs/test", region="node_test")

    def ended() -> bool:
        return "data-poll" not in web.get("/nodes/pacs", headers={"X-Region": "node_test"}).text

    wait_until(ended, 20, "the test ends")
    page = text(web.get("/nodes/pacs"))
    assert "It does not work" in page
    assert f"127.0.0.1 refuses connections on port {port}" in page
    assert "start the application, or correct the port" in page
    french = web.get("/nodes/pacs", headers={"Accept-Language": "fr"})
    assert f"127.0.0.1 refuse les connexions sur le port {port}" in text(french)
    assert post(web, "/nodes/nobody/test").status_code == 404


# --- the form --------------------------------------------------------------------------------------------


def test_a_node_is_added_by_the_form(web: AppClient) -> None:
    added = post(
        web, "/nodes/add", name="mr 1", kind="dicom", ae_title="MR01", port="104", host="10.0.0.5",
        more='[device]\ncharset = "ISO_IR 192"', **{"role-modality": "yes"},
    )  # fmt: skip
    assert "mr 1 was added." in text(added)
    assert str(added.url).endswith("/nodes/mr%201")
    assert table(web, "mr 1") == {
        "name": "mr 1", "kind": "dicom", "ae_title": "MR01", "host": "10.0.0.5", "port": 104, "roles": ["modality"],
        "device": {"charset": "ISO_IR 192"},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "key", "value", "lacking"),
    [
        ("folder", "path", "/mnt/research", "A folder node needs the path of its folder."),
        ("stow", "url", "http://127.0.0.1/dicom-web", "A DICOMweb node needs the address of its service."),
    ],
)
def test_other_destinations_are_added_by_the_form_and_rules_send_to_them(
    web: AppClient, kind: str, key: str, value: str, lacking: str
) -> None:
    sent = {"name": "share", "kind": kind, "role-destination": "yes"}
    assert lacking in text(post(web, "/nodes/add", **sent))
    also = post(web, "/nodes/add", **sent, **{key: value, "role-mpps": "yes"})
    assert "A DICOMweb, folder or S3 node has the role destination alone." in text(also)
    assert "share was added." in text(post(web, "/nodes/add", **sent, **{key: value}))
    assert table(web, "share") == {"name": "share", "kind": kind, key: value, "roles": ["destination"]}
    rules = {"default": {"action": "send", "send": ["share"]}}
    assert web.post("/api/v1/rules/check", json=rules).status_code == 200


def test_windows_bandwidth_and_failover_have_fields(web: AppClient) -> None:
    share = {"name": "share", "kind": "folder", "path": "/mnt/research", "role-destination": "yes"}
    assert "share was added." in text(post(web, "/nodes/add", **share))
    sent = share | {"name": "other", "send_windows": "Sat,Sun", "bandwidth": "2000000", "failover": "share",
                    "commitment": "delivered"}  # fmt: skip
    for key, wrong, words in (
        ("send_windows", "18-6", "days are Mon"),
        ("bandwidth", "fast", "whole number"),
        ("failover", "share, nobody", "nobody is no other destination"),
    ):
        assert words in text(post(web, "/nodes/add", **sent | {key: wrong}))
    assert "other was added." in text(post(web, "/nodes/add", **sent))
    stored = table(web, "other")
    assert (stored["send_windows"], stored["bandwidth"], stored["failover"]) == ("Sat,Sun", 2_000_000, ["share"])
    assert stored["commitment"] == "delivered"
    page = web.get("/nodes/other/edit").text
    assert 'value="share"' in page
    assert 'value="2000000"' in page


def test_a_bucket_is_added_by_the_form(web: AppClient) -> None:
    sent = {"name": "vault", "kind": "s3", "role-destination": "yes"}
    refused = text(post(web, "/nodes/add", **sent))
    assert "An S3 node needs the address of its storage." in refused
    assert "s3: an s3 node needs one, with its bucket" in refused
    full = sent | {"url": "http://127.0.0.1:9000", "more": '[s3]\nbucket = "images"'}
    assert "vault was added." in text(post(web, "/nodes/add", **full))
    assert table(web, "vault")["s3"] == {"bucket": "images"}


def test_what_is_wrong_stands_beside_its_field_and_nothing_typed_is_lost(web: AppClient) -> None:
    refused = post(
        web, "/nodes/add", name="x/y", kind="dicom", port="0", host="h", more='[device]\ncharset = "klingon"'
    )
    assert refused.status_code == 422
    wrong = dict(re.findall(r'id="(\w+)-wrong">.*?</svg>(.*?)</span>', refused.text, re.DOTALL))
    assert wrong["name"].startswith("Letters, digits")
    assert wrong["port"] == "At least 1."
    assert wrong["more"].startswith("device.charset:")
    assert refused.text.count('aria-invalid="true"') == len(wrong)
    for value in ("x/y", "klingon"):
        assert value in refused.text
    broken = post(web, "/nodes/add", name="a", kind="dicom", ae_title="A", more="[device")
    assert "no TOML" in text(broken)
    twice = post(web, "/nodes/add", name="a", kind="dicom", ae_title="A", more="port = 1")
    assert "port has a field of its own" in text(twice)
    known = post(web, "/nodes/add", name="ct1", kind="dicom", ae_title="A")
    assert "There is a node of this name already." in text(known)
    missing = post(web, "/nodes/add", name="a", kind="dicom")
    assert "A DICOM node needs an AE title." in text(missing)
    french = web.post("/nodes/add", data={"name": "a", "kind": "dicom"}, headers={"Accept-Language": "fr"})
    assert "Un nœud DICOM a besoin d’un AE title." in text(french)


def test_a_form_that_is_sent_as_it_is_changes_nothing(web: AppClient) -> None:
    number = version(web)
    for name in ("ct1", "pacs"):
        before = table(web, name)
        assert "was saved" in text(edit(web, name))
        assert table(web, name) == before
    assert version(web) == number


def test_the_form_changes_and_removes_keys_and_keeps_secrets(web: AppClient) -> None:
    post(web, "/nodes/pacs/disable")
    assert "pacs was saved." in text(edit(web, port="11112", host="127.0.0.2"))
    assert (table(web, "pacs")["port"], table(web, "pacs")["passcode"]) == (11112, "********")
    assert table(web, "pacs")["state"] == "disabled"
    assert "was saved" in text(edit(web, "ct1", more="[device]\ndays_before = 1"))
    assert table(web, "ct1")["device"] == {"days_before": 1}
    assert "was saved" in text(edit(web, more=""))
    assert "passcode" not in table(web, "pacs")


def test_who_comes_second_is_told_and_loses_nothing(web: AppClient) -> None:
    page = web.get("/nodes/pacs/edit").text
    seen = re.findall(r'name="seen" value="([^"]*)"', page)[0]
    assert "was saved" in text(edit(web, port="105", reason="moved"))
    late = post(web, "/nodes/pacs/edit", kind="dicom", ae_title="PACS", port="106", host="h", seen=seen)
    assert late.status_code == 409
    assert "Somebody else was faster" in text(late)
    assert f"(moved) in version {version(web)}" in text(late)
    assert 'value="106"' in late.text
    assert table(web, "pacs")["port"] == 105


def test_more_jobs_than_are_counted_are_told_as_such(web: AppClient, monkeypatch: pytest.MonkeyPatch) -> None:
    report = LaneReport(
        name="deliver:pacs", waiting=10_001, held=10_000, failures=0, since=0.0, open_until=0.0, last_error=""
    )
    monkeypatch.setattr("broker.store.lanes.reports", lambda connection, names: [report])
    assert "10,000+ waiting, 10,000 held" in text(web.get("/nodes/pacs"))
    assert re.search(r">10,000\+<.*>10,000<", web.get("/nodes").text, re.DOTALL)


# --- devices that knock, history -------------------------------------------------------------------------


def test_devices_are_admitted_with_a_profile_blocked_and_forgotten(web: AppClient, database: Database) -> None:
    worklist = "1.2.840.10008.5.1.4.31"
    for title, called in (("US07", ""), ("EVIL", ""), ("MR3", "BROKRE")):
        database.submit(knocks.record, title, "10.0.0.7", time.time(), 2, [worklist], called).result()
    page = text(web.get("/nodes/knocking"))
    assert "It calls BROKRE, and this broker is BROKER. It is no node." in page
    assert "Modality Worklist Information Model - FIND" in page
    who = {"ae_title": "US07", "address": "10.0.0.7"}
    wrong = post(web, "/nodes/knocking/admit", **who, name="a/b", like="ct1")
    assert wrong.status_code == 422
    assert re.search(r'<dialog class="ask" id="k\w+-admit"[^>]* open>', wrong.text)
    assert 'value="a/b"' in wrong.text
    admitted = post(web, "/nodes/knocking/admit", **who, like="ct1")
    assert "US07 is let in from now on, without a restart." in text(admitted)
    assert table(web, "us07") == {
        "name": "us07", "kind": "dicom", "ae_title": "US07", "host": "10.0.0.7", "roles": ["modality"],
        "device": {"charset": "ISO_IR 100"},
    }  # fmt: skip
    assert post(web, "/nodes/knocking/admit", **who).status_code == 409
    assert "EVIL from 10.0.0.7 is blocked" in text(post(web, "/nodes/knocking/block", **who | {"ae_title": "EVIL"}))
    assert "MR3 was taken off the list" in text(post(web, "/nodes/knocking/forget", **who | {"ae_title": "MR3"}))
    assert "No device knocks" in text(web.get("/nodes/knocking"))


def test_a_thousand_made_up_titles_do_not_hide_a_device(web: AppClient, database: Database) -> None:
    database.submit(knocks.record, "REAL", "10.0.0.7", time.time() - 100, 1, []).result()
    for number in range(1000):
        database.submit(knocks.record, f"EVIL{number}", "10.0.0.66", time.time(), 1, []).result()
    assert "REAL" in text(web.get("/nodes/knocking?q=real"))
    page = web.get("/nodes/knocking")
    assert len(page.text) < 200_000
    assert "51 found" in text(page)
    database.execute(lambda connection: connection.execute(delete(tables.knock)))


def test_history_says_what_changed_compares_and_goes_back(web: AppClient) -> None:
    old = version(web)
    edit(web, port="105", reason="moved")
    page = text(web.get("/nodes/history"))
    assert f"Version {old + 1} in force" in page
    assert "moved" in page
    assert f"Version {old}" in page
    compared = text(web.get(f"/nodes/history?from={old}&to={old + 1}"))
    assert f"From version {old} to {old + 1} node 'pacs' port before: 104 after: 105" in compared.replace("&#39;", "'")
    assert "There is no such version." in text(web.get("/nodes/history?from=1&to=77777"))
    assert "They say the same." in text(web.get("/nodes/history?from=1&to=1"))
    back = {"version": str(old)}
    late = post(web, "/nodes/history/rollback", **back, newest=str(old))
    assert late.status_code == 409
    done = post(web, "/nodes/history/rollback", **back, newest=str(old + 1))
    assert f"Version {old} is in force again, as {old + 2}." in text(done)
    assert table(web, "pacs")["port"] == 104
    assert post(web, "/nodes/history/rollback", version="99999").status_code == 404
    assert post(web, "/nodes/history/rollback", version="x").status_code == 422


def test_search_finds_nodes(web: AppClient) -> None:
    found = web.post("/search/suggestions", data={"q": "pacs"}).json()
    assert {"text": "pacs", "note": "node", "path": "/nodes/pacs"} in found
