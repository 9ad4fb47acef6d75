"""Pages and REST of rules that notify: nodes by their form, a rule by its editor, a trial, what was told of a study."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.delivery.receiving import STUDY, ReceptionPlace
from support.service.rest import AppClient, application, asking

from broker.settings import load
from broker.store.db.database import Database

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
PACS = {"name": "pacs", "kind": "dicom", "ae_title": "PACS", "host": "127.0.0.1", "port": 104, "roles": ["destination"]}
CT: dict[str, Any] = {"name": "CT", "when": {"field": "tag.Modality", "value": "CT"}, "send": ["pacs"]}
MAIL = '[mail]\nsender = "a@hospital.example"\nto = ["it@hospital.example"]\n'


@pytest.fixture
def http(database: Database) -> Iterator[AppClient]:
    with asking(application(database, load(None)), base="http://broker") as client:
        assert client.post("/api/v1/site", json={"node": [PACS], "rule": [CT], "reason": "first"}).is_success
        hook = {"name": "it-desk", "kind": "webhook", "url": "https://desk.example/hook", "role-notify": "on"}
        added = post(client, "/nodes/add", **hook, more='passcode = "t0ken"')
        assert "it-desk was added" in added.text
        yield client


def post(http: AppClient, path: str, **form: Any) -> httpx.Response:
    """The page that a form leads to."""
    answer = http.post(path, data=form, headers={"Sec-Fetch-Site": "same-origin"})
    return http.get(answer.headers["location"]) if answer.status_code == 303 else answer


def test_webhooks_and_mail_servers_are_added_by_the_form(http: AppClient) -> None:
    mail = {"name": "mail", "kind": "mail", "host": "mail.example", "port": "587", "role-notify": "on"}
    lacking = post(http, "/nodes/add", **mail)
    assert lacking.status_code == 422
    assert "it@hospital.example" in post(http, "/nodes/add", **mail, more=MAIL).text
    wrong = post(http, "/nodes/add", name="x", kind="webhook", url="ftp://x", **{"role-notify": "on"})
    assert "Type an address that begins with http:// or https://." in wrong.text
    form = http.get("/nodes/it-desk/edit").text
    assert 'value="https://desk.example/hook"' in form
    assert "t0ken" not in form
    seen = re.search(r'name="seen" value="([^"]+)"', form)
    assert seen
    kept = {"kind": "webhook", "url": "https://desk.example/new", "role-notify": "on", "seen": seen[1]}
    assert "was saved" in post(http, "/nodes/it-desk/edit", **kept, more='passcode = "********"').text
    stored = http.get("/api/v1/nodes/it-desk").json()
    assert (stored["kind"], stored["host"], stored["port"], stored["tls"]) == ("webhook", "desk.example", 443, True)
    assert "t0ken" not in str(stored)


def test_a_rule_notifies_by_its_editor_and_all_say_so(http: AppClient) -> None:
    post(http, "/rules/drafts", number="1")
    editor = http.get("/rules/drafts/1/rules/1")
    assert 'name="notify"' in editor.text
    revision = re.search(r'name="revision" value="(\d+)"', editor.text)
    assert revision
    fields = {"revision": revision[1], "name": "CT", "action": "send", "priority": "normal", "then": "continue",
              "level": "instance", "enabled": "on", "kind:r": "test", "field:r": "tag.Modality", "op:r": "is",
              "value:r": "CT", "values:r": "any", "missing:r": "", "do": "save", "notify": "it-desk"}  # fmt: skip
    draft = post(http, "/rules/drafts/1/rules/1", **fields)
    assert "notify it-desk" in draft.text
    (rule,) = http.get("/api/v1/rules/drafts/1").json()["document"]["rule"]
    assert rule == {"name": "CT", "when": {"field": "tag.Modality", "value": "CT"}, "notify": ["it-desk"]}
    tried = post(http, "/rules/try", draft="1", facts="tag.Modality=CT")
    assert "it-desk is notified by rule CT" in tried.text
    both = CT | {"notify": ["it-desk"]}
    body = {"facts": {"tag.Modality": "CT"}, "rule": [both]}
    told = http.post("/api/v1/rules/test", json=body).json()
    assert (told["action"], told["notices"]) == ("send", [{"node": "it-desk", "rule": "CT"}])
    assert told["trace"][0]["notify"] == ["it-desk"]
    body = {"objects": [{"tag.Modality": "CT", "tag.StudyInstanceUID": "1.2"}], "rule": [both | {"level": "study"}]}
    whole = http.post("/api/v1/rules/test/study", json=body).json()
    assert whole["objects"][0]["notices"] == [{"node": "it-desk", "rule": "CT"}]
    unknown = http.post("/api/v1/rules/test", json={"facts": {}, "rule": [CT | {"notify": ["pacs"]}]})
    assert "(or not one with role notify)" in unknown.text


def test_what_was_told_of_a_study_is_shown_and_keeps_the_node(
    http: AppClient, database: Database, tmp_path: Path
) -> None:
    rule = CT | {"notify": ["it-desk"]}
    version = http.get("/api/v1/rules").json()["version"]
    put = http.put("/api/v1/rules", json={"rule": [rule], "reason": "tell"}, headers={"If-Match": f'"{version}"'})
    assert put.is_success, put.text
    assert "send it to pacs, and notify it-desk" in http.get("/rules").text
    place = ReceptionPlace(database, tmp_path / "spool")
    place.in_force({"rule": [rule]}, http.get("/api/v1/rules").json()["version"])
    place.take(1)
    place.take(2)
    place.spool.close()
    told = http.post("/api/v1/rules/explain", json={"study": STUDY}).json()
    assert [(one["node"], one["rule"], one["state"]) for one in told["notices"]] == [("it-desk", "CT", "ready")]
    page = post(http, "/rules/explain", wanted=STUDY).text
    assert "it-desk is still to be notified by rule CT." in page
    replay = {"since": 0, "rule": [CT], "default": {}}
    (difference,) = http.post("/api/v1/rules/replay", json=replay).json()["differences"]
    assert (difference["before"]["notify"], difference["after"]["notify"]) == (["it-desk"], [])
    refused = http.post("/api/v1/nodes/it-desk/remove", json={"anyway": True, "reason": "a test"})
    assert refused.status_code == 409
    assert "Rule CT notifies it" in refused.text
