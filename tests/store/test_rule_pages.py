"""The pages of rules without a browser: a draft is begun, changed, replayed, put in force, planned, and undone."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import httpx
import pytest
from support.dicom.objects import ct_slice
from support.service.people import added, signed_in
from support.service.rest import AppClient, application, asking
from support.web.held import hold_objects

from broker.accounts.roles import UserRole
from broker.admin.web.rules.decided import AWAITED
from broker.admin.web.rules.marking import marked
from broker.routing.rules.completion import Awaited
from broker.routing.rules.parsing import parse_rules
from broker.settings import load
from broker.settings.sections import RulesSection
from broker.store.db.database import Database
from broker.store.images import gatherings
from broker.store.images.gatherings import Arrival

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
PACS = {"name": "pacs", "kind": "dicom", "ae_title": "PACS", "host": "127.0.0.1", "port": 104, "roles": ["destination"]}
RULES: list[dict[str, Any]] = [
    {"name": "CT", "when": {"field": "tag.Modality", "value": "CT"}, "send": ["pacs"], "owner": "CT team"},
    {"name": "MR", "when": {"all": [{"field": "tag.Modality", "value": "MR"},
                                    {"field": "assoc.calling_ae", "op": "not_in", "value": ["A", "B"],
                                     "missing": True}]}, "action": "discard", "reason": "no room"},
]  # fmt: skip


@pytest.fixture
def http(database: Database) -> Iterator[AppClient]:
    with asking(application(database, load(None)), base="http://broker") as client:
        assert client.post("/api/v1/site", json={"node": [PACS], "rule": RULES, "reason": "first"}).is_success
        yield client


def post(http: AppClient, path: str, **form: Any) -> httpx.Response:
    """The page that a form leads to."""
    answer = http.post(path, data=form, headers={"Sec-Fetch-Site": "same-origin"})
    return http.get(answer.headers["location"]) if answer.status_code == 303 else answer


def revision(page: httpx.Response) -> str:
    """Of the draft that a page shows."""
    found = re.search(r'name="revision" value="(\d+)"', page.text)
    assert found
    return found[1]


def test_rules_stand_in_words_and_a_draft_is_begun_by_a_button(http: AppClient) -> None:
    page = http.get("/rules")
    assert "tag.Modality is “CT”" in page.text
    assert "tag.Modality is “MR” and (assoc.calling_ae is none of “A”, “B”, or is missing)" in page.text
    assert "discard it" in page.text
    assert "hold it" in page.text
    draft = post(http, "/rules/drafts", number="1", do="down:1")
    assert draft.status_code == 200
    assert draft.text.index(">MR<") < draft.text.index(">CT<")
    assert re.search(r'id="up-2"[^>]* autofocus', draft.text)
    assert "moved from place" in draft.text
    assert http.get("/api/v1/rules").json()["document"]["rule"] == RULES
    assert post(http, "/rules/drafts", number="1").status_code == 409  # there is one
    off = post(http, "/rules/drafts/1/edit", revision=revision(draft), do="off:1")
    assert "enabled" in off.text
    stale = post(http, "/rules/drafts/1/edit", revision="1", do="remove:1")
    assert stale.status_code == 409
    on = post(http, "/rules/drafts/1/edit", revision=revision(off), do="on:1")
    back = post(http, "/rules/drafts/1/edit", revision=revision(on), do="up:2")
    assert "They say the same." in back.text
    assert http.get("/api/v1/rules/drafts/1").json()["document"]["rule"] == RULES
    for wrong in ("up:1", "down:2", "off:9", "x", "remove:-1"):
        back = post(http, "/rules/drafts/1/edit", revision=revision(back), do=wrong)
        assert "They say the same." in back.text
    assert "The draft is dropped" in post(http, "/rules/drafts/1/drop", revision=revision(back)).text
    assert http.get("/rules/drafts/1").status_code == 404


def test_a_draft_is_replayed_put_in_force_and_undone(http: AppClient, database: Database) -> None:
    hold_objects(database, 3)
    draft = post(http, "/rules/drafts", number="1", do="remove:1")
    ever = post(http, "/rules/drafts/1/replay", days="400")
    assert "3 objects were judged" in ever.text
    assert "2.999.66" in ever.text
    assert "send it to pacs" in ever.text
    assert post(http, "/rules/drafts/1/replay", days="x").status_code == 422
    assert post(http, "/rules/drafts/1/activate", revision=revision(draft), reason="").status_code == 422
    done = post(http, "/rules/drafts/1/activate", revision=revision(draft), reason="CT goes elsewhere")
    assert "Version 2 of the rules is in force." in done.text
    assert [one["name"] for one in http.get("/api/v1/rules").json()["document"]["rule"]] == ["MR"]
    history = http.get("/rules/history?from=1&to=2")
    assert "CT goes elsewhere" in history.text
    undone = post(http, "/rules/history/rollback", version="1", newest="2", reason="it was wrong")
    assert "Version 1 is in force again, as 3." in undone.text
    assert post(http, "/rules/history/rollback", version="1", newest="2", reason="late").status_code == 409
    audit = [row["action"] for row in http.get("/api/v1/audit?limit=50").json()["rows"]]
    assert {"rules.drafted", "rules.published", "study.replayed"} <= set(audit)


def test_a_draft_is_planned_and_the_plan_cancelled(http: AppClient) -> None:
    draft = post(http, "/rules/drafts", number="1", do="remove:1")
    when = time.strftime("%Y-%m-%dT%H:%M", time.localtime(time.time() + 86_400))
    for wrong in ("x", "2001-01-01T00:00"):
        answer = post(http, "/rules/drafts/1/activate", revision=revision(draft), reason="at night", when=wrong)
        assert answer.status_code in (409, 422)
    planned = post(http, "/rules/drafts/1/activate", revision=revision(draft), reason="at night", when=when)
    assert "is planned to come into force" in planned.text
    assert http.get("/api/v1/rules/planned").json()[0]["state"] == "planned"
    assert "cancelled" in post(http, "/rules/plans/1/cancel", reason="not today").text
    assert post(http, "/rules/plans/1/cancel", reason="again").status_code == 409


def test_what_was_published_meanwhile_is_told(http: AppClient) -> None:
    draft = post(http, "/rules/drafts", number="1", do="remove:1")
    assert http.put("/api/v1/rules", json={"rule": RULES[:1], "reason": "MR stays here"}).is_success
    assert post(http, "/rules/drafts", number="1").status_code == 409
    answer = post(http, "/rules/drafts/1/activate", revision=revision(draft), reason="CT goes elsewhere")
    assert answer.status_code == 409
    assert "Version 2 is in force by now" in answer.text
    assert "MR stays here" in answer.text
    looked = post(http, "/rules/drafts/1/edit", revision=revision(draft), do="newest")
    done = post(http, "/rules/drafts/1/activate", revision=revision(looked), reason="CT goes elsewhere")
    assert "Version 3 of the rules is in force." in done.text


def kept(http: AppClient) -> Any:
    """The rules of the draft."""
    return http.get("/api/v1/rules/drafts/1").json()["document"]["rule"]


class Form(HTMLParser):
    """What a browser would send of a form in a page."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name, self.inside, self.slot, self.text = name, False, "", ""
        self.fields: dict[str, Any] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note fields with their values."""
        given = dict(attrs)
        name = given.get("name") or ""
        if tag == "form":
            self.inside = given.get("id") == self.name
        if not self.inside:
            return
        if tag == "input" and (given.get("type") != "checkbox" or "checked" in given):
            self.fields.setdefault(name, []).append(given.get("value") or "")
        elif tag in ("select", "textarea"):
            self.slot, self.text = name, ""
        elif tag == "option" and self.slot and ("selected" in given or self.slot not in self.fields):
            self.fields[self.slot] = [given.get("value") or ""]

    def handle_data(self, data: str) -> None:
        """Collect the text of a text area."""
        self.text += data

    def handle_endtag(self, tag: str) -> None:
        """End a field, or the form."""
        if tag == "textarea" and self.inside:
            self.fields[self.slot] = [self.text.removeprefix("\n")]
        if tag in ("select", "textarea"):
            self.slot = ""
        self.inside = self.inside and tag != "form"


def fields_of(page: httpx.Response) -> dict[str, Any]:
    """What a browser would send of the editor."""
    form = Form("rule_editor")
    form.feed(page.text)
    return form.fields


def test_a_rule_is_edited_and_what_was_not_touched_stays(http: AppClient) -> None:
    post(http, "/rules/drafts", number="1")
    for place in ("1", "2"):
        editor = http.get(f"/rules/drafts/1/rules/{place}")
        assert editor.status_code == 200
        same = post(http, f"/rules/drafts/1/rules/{place}", **fields_of(editor) | {"do": "save"})
        assert "It is kept in the draft." in same.text
        assert kept(http) == RULES
    fields = fields_of(http.get("/rules/drafts/1/rules/2"))
    wrong = post(http, "/rules/drafts/1/rules/2", **fields | {"field:r.0": "tag.Modalty", "name": "CT", "do": "save"})
    assert wrong.status_code == 422
    assert "There is no such field" in wrong.text
    assert "Another rule has this name." in wrong.text
    more = post(http, "/rules/drafts/1/rules/2", **fields | {"do": "add-test:r"})
    assert kept(http) == RULES
    added_one = fields_of(more) | {"field:r.2": "tag.Rows", "op:r.2": "ge", "value:r.2": "512", "do": "save"}
    done = post(http, "/rules/drafts/1/rules/2", **added_one)
    assert "tag.Rows is at least 512" in done.text
    assert kept(http)[1]["when"]["all"] == [*RULES[1]["when"]["all"], {"field": "tag.Rows", "op": "ge", "value": 512}]
    stale = post(http, "/rules/drafts/1/rules/2", **fields | {"do": "save"})
    assert (stale.status_code, "changed meanwhile" in stale.text) == (409, True)
    empty = fields_of(http.get("/rules/drafts/1/rules/new"))
    assert post(http, "/rules/drafts/1/rules/new", **empty | {"do": "save"}).status_code == 422
    whole = empty | {"name": "US", "field:r.0": "tag.Modality", "value:r.0": "US", "send": "pacs", "do": "save"}
    assert post(http, "/rules/drafts/1/rules/new", **whole).status_code == 200
    assert kept(http)[2] == {
        "name": "US", "when": {"all": [{"field": "tag.Modality", "value": "US"}]}, "send": ["pacs"]
    }  # fmt: skip
    for gone in ("9", "0", "x", "-1"):
        assert http.get(f"/rules/drafts/1/rules/{gone}").status_code == 404


def test_a_file_a_study_and_facts_are_tried(http: AppClient, database: Database) -> None:
    hold_objects(database, 3)
    study = post(http, "/rules/try", draft="0", study="2.999.66")
    assert study.status_code == 200
    assert "send it to pacs" in study.text
    assert "3 objects" in study.text
    assert re.search(r"true</span> tag.Modality is “CT” <small class=\"quiet\">saw CT<", study.text)
    assert re.search(r"false</span> tag.Modality is “MR”", study.text)
    assert post(http, "/rules/drafts", number="1", do="remove:1").status_code == 200
    by_draft = post(http, "/rules/try", draft="1", study="2.999.66")
    assert "hold it" in by_draft.text
    other = post(http, "/rules/try", draft="0", study="2.999.66", facts="tag.Modality=MR\r\nassoc.calling_ae=C")
    assert "discard it" in other.text
    large = ct_slice(900_000, Modality="MR").part10()
    for data, size in ((ct_slice(64).part10(), 0), (large[:700_000], len(large))):
        text = base64.urlsafe_b64encode(data).decode().rstrip("=")
        file = post(http, "/rules/try", draft="0", file=text, size=str(size or len(data)), facts="assoc.calling_ae=C")
        assert file.status_code == 200
        assert ("beginning of the file" in file.text) == bool(size)
        assert ("discard it" if size else "send it to pacs") in file.text
    for wrong in ({}, {"study": "2.999.1"}, {"file": "####"}, {"file": "QUJD"}, {"facts": "x"}, {"facts": "tag.Rows=x"},
                  {"draft": "9", "study": "2.999.66"}, {"file": text[:300]}):  # fmt: skip
        answer = post(http, "/rules/try", **{"draft": "0", **wrong})
        assert answer.status_code == 422, wrong


def test_what_rules_did_with_a_study_is_told(http: AppClient, database: Database) -> None:
    hold_objects(database, 3)
    study = post(http, "/rules/explain", wanted="2.999.66")
    assert study.status_code == 200
    assert "3 images from" in study.text
    assert "3 images from" in post(http, "/rules/explain", wanted=" 2.999.66\t").text
    assert "no rule says where it goes" in study.text
    assert "No image is known" not in study.text
    for unknown in ("2.999.1", "A1", "' or 1=1 --", "x" * 200):
        assert "No image is known" in post(http, "/rules/explain", wanted=unknown).text
    assert post(http, "/rules/explain", wanted="").status_code == 422
    assert "No image is known" in http.get("/rules/explain?exam=999999").text
    assert "No image is known" not in http.get("/rules/explain?exam=x").text


def test_what_a_study_waits_for_is_told(http: AppClient, database: Database) -> None:
    assert set(AWAITED) == set(Awaited)
    hold_objects(database, 1)
    arrival = Arrival(study="2.999.66", series="", at=1.0, quiet_at=4e9, settled_at=4e9, most=5e9)
    database.submit(gatherings.arrived, arrival).result()
    page = post(http, "/rules/explain", wanted="2.999.66").text
    assert "The whole study" in page
    assert "It waits until no further object has come for a while. The broker looks next at" in page


def test_four_eyes_at_pages_and_rest(database: Database) -> None:
    settings = load(None).model_copy(update={"rules": RulesSection(four_eyes=True)})
    with asking(application(database, load(None)), base="http://broker") as http:
        assert http.post("/api/v1/site", json={"node": [PACS], "rule": RULES, "reason": "first"}).is_success
    app = application(database, settings)
    cookies = {}
    for name in ("anna", "bert"):
        session = signed_in(database, added(database, name, UserRole.ADMIN, time.time()), time.time())
        cookies[name] = {"Cookie": f"broker_session={session.text}", "Authorization": ""}
    with asking(app, base="http://broker", token="") as http:

        def send(name: str, path: str, **form: str) -> httpx.Response:
            headers = {"Sec-Fetch-Site": "same-origin", **cookies[name]}
            answer = http.post(path, data=form, headers=headers)
            if answer.status_code == 303:
                return http.get(answer.headers["location"], headers=headers)
            return answer

        draft = send("anna", "/rules/drafts", number="1", do="remove:1")
        assert "asks for four eyes" in draft.text
        number = revision(draft)
        mine = send("anna", "/rules/drafts/1/activate", revision=number, reason="my own")
        assert (mine.status_code, "somebody else than the author" in mine.text) == (409, True)
        assert send("bert", "/rules/drafts/1/edit", revision=number, do="remove:1").status_code == 403
        done = send("bert", "/rules/drafts/1/activate", revision=number, reason="seen")
        assert "user:anna, put in force by user:bert" in done.text
        headers = {"Sec-Fetch-Site": "same-origin", **cookies["anna"]}
        for path, body in (
            ("/api/v1/rules", {"rule": []}),
            ("/api/v1/site", {"node": [PACS], "rule": []}),
            ("/api/v1/rules/rollback", {"version": 2}),
        ):
            answer = http.post(path, json={**body, "reason": "alone"}, headers=headers)
            assert answer.status_code in (201, 403), answer.text
            assert (answer.status_code == 201) == (path.endswith("rollback"))  # it is in force just so
        assert http.post("/api/v1/rules/rollback", json={"version": 1}, headers=headers).status_code == 201


def test_a_rule_of_a_study_is_made_and_tried(http: AppClient, database: Database) -> None:
    post(http, "/rules/drafts", number="1")
    fields = fields_of(http.get("/rules/drafts/1/rules/1")) | {"level": "study", "field:r": "study.instances"}
    fields |= {"op:r": "ge", "value:r": "3"}
    done = post(http, "/rules/drafts/1/rules/1", **fields | {"do": "save"})
    assert "a study, once it is complete" in done.text
    assert kept(http)[0]["level"] == "study"
    for count, outcome, result in ((2, "hold it", "false"), (3, "send it to pacs", "true")):
        hold_objects(database, count)
        page = post(http, "/rules/try", draft="1", study="2.999.66")
        assert "The study, once it is complete" in page.text
        assert outcome in page.text
        words = rf'{result}</span> study.instances is at least 3 <small class="quiet">saw {count}'
        assert re.search(words, page.text)
        assert "waits for its series or study" in page.text
    fewer = post(http, "/rules/try", draft="1", study="2.999.66", facts="study.instances=1")
    assert "hold it" in fewer.text


def test_a_rule_that_failed_behind_the_end_of_the_list_is_marked_itself(http: AppClient) -> None:
    rules = [
        {"name": "CT", "when": {"field": "tag.Modality", "value": "CT"}, "send": ["pacs"], "then": "stop"},
        {"name": "MR", "when": {"field": "tag.Modality", "value": "MR"}, "send": ["pacs"]},
        {"name": "late", "when": {"field": "study.age", "op": "gt", "value": 5}, "send": ["pacs"], "level": "study"},
    ]
    read = parse_rules({"rule": rules}, {"pacs"})
    told = [{"rule": "CT", "result": "true", "tests": []}, {"rule": "late", "result": "error", "tests": []}]
    results = {rule.name: rule.result[1].text for rule in marked(read, told)}
    assert results == {"CT": "true", "MR": "not tried", "late": "error"}
