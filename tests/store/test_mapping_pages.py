"""The pages of mapping profiles over HTTP: list, text, history, and the editor whose draft nothing makes lost."""

from __future__ import annotations

import html
import re

import pytest
from support.orders.journal import order_message, send
from support.service.rest import TOKEN, application
from support.service.visitor import Visitor

from broker.accounts import api_tokens
from broker.accounts.roles import RIGHTS, Right, UserRole
from broker.audit.book import AuditBook
from broker.model.audit import AuditRecord, AuditSelection
from broker.orders.mapping_versions import Mappings
from broker.settings import load
from broker.store.audit import trail
from broker.store.db.database import Database

FIRST = """name = "site"
extends = "ihe"
description = "Hospital <b>"
[senders]
match = [{ application = "RIS" }]
[values.Modality]
SPIRAL = "CT"
[[example]]
name = "spiral"
message = '''
MSH|^~\\&|RIS|SITE|BROKER|RAD|202603120800||ORM^O01|1|P|2.5
PID|||1||DOE^J
ORC|NW|P1|||||^^^20260312100000
OBR|1|P1||CHEST^Chest||||||||||||||||||||SPIRAL
'''
[example.expect]
Modality = "CT"
"""
SECOND = FIRST.replace('SPIRAL = "CT"', 'SPIRAL = "CT"\nTQQ9 = "CR"')


class MappingPages(Visitor):
    """A browser of somebody with the admin token, beside the database."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.app = application(database, load())
        self.mappings = Mappings(database)
        super().__init__(self.app, token=TOKEN)

    def text(self, path: str, code: int = 200, **form: str) -> str:
        accept = {"Accept": "text/html"}
        answer = self.post(path, form, headers=accept) if form else self.get(path, headers=accept)
        assert answer.status_code == code, answer.text
        return answer.text

    def draft(self, deed: str, text: str, code: int = 200, **more: str) -> str:
        """Press a button of the editor; browsers end lines by CR LF."""
        form = {"name": "site", "seen": "1", "text": text.replace("\n", "\r\n"), **more}
        return self.text(f"/mappings/draft/{deed}", code, **form)

    def seen(self, kind: str) -> list[AuditRecord]:
        book: AuditBook = self.app.state.audit
        book.flush()
        found = self.database.read(trail.page, AuditSelection(kind=kind), None, 100).result(20)
        return [row for row in found.rows if row.actor == "api"]


@pytest.fixture
def pages(database: Database) -> MappingPages:
    made = MappingPages(database)
    made.mappings.publish(FIRST, "user:anna", reason="new scanner")
    return made


def plain(text: str) -> str:
    """What is read of a page."""
    return html.unescape(" ".join(re.sub(r"<[^>]+>", " ", text).split()))


def typed(text: str) -> str:
    """What stands in the field of the draft."""
    found = re.search(r'<textarea id="text"[^>]*>\n(.*?)</textarea>', text, re.DOTALL)
    assert found
    return html.unescape(found[1])


def test_the_list_says_whom_each_serves_and_who_changed_it_and_why(pages: MappingPages) -> None:
    text = pages.text("/mappings")
    rows = [plain(row) for row in re.findall(r"<tr>(.*?)</tr>", text, re.DOTALL)]
    assert rows[1].startswith("site Hospital <b> RIS|* ihe 1 1")
    assert "user:anna: new scanner" in rows[1]
    assert "Undo" not in rows[1]  # the first version has none before it
    ihe = next(row for row in rows if row.startswith("ihe "))
    assert "everybody else at hl7" in ihe
    assert "built in" in ihe
    assert "<b>" not in text.partition("Hospital ")[2][:8]


def test_one_profile_with_its_lines_and_the_results_of_its_examples(pages: MappingPages) -> None:
    text = pages.text("/mappings/site")
    assert '<li id="line-7"><code>SPIRAL = &#34;CT&#34;</code></li>' in text
    assert re.search(r'as it says</span> <a href="#line-8">spiral</a>', text)
    assert "new scanner" in text
    assert pages.get("/mappings/nobody").status_code == 404
    assert "built in" in pages.text("/mappings/ihe")


def test_versions_are_compared_and_the_last_change_is_undone(pages: MappingPages) -> None:
    pages.mappings.publish(SECOND, "user:ben", reason="a typing error")
    text = pages.text("/mappings/site/history")
    assert "From version 1 to 2" in text
    assert re.search(r'<li class="added" value="8"><code><ins>.*?TQQ9 = &#34;CR&#34;', text)
    assert "values" in text
    assert "They say the same." in pages.text("/mappings/site/history?from=2&to=2")
    assert "There is no such version." in pages.text("/mappings/site/history?from=1&to=77")
    pages.text("/mappings/site/history?from=x&to=9999999999999&begin=-1")
    assert 'id="undo-site-open"' in pages.text("/mappings")
    undo = {"version": "1", "newest": "2", "reason": "it was wrong"}
    answer = pages.post("/mappings/site/rollback", undo)
    assert (answer.status_code, answer.headers["location"]) == (303, "/mappings/site")
    assert pages.mappings.export("site") == FIRST
    assert pages.mappings.history("site")[0].reason == "it was wrong"
    again = pages.post("/mappings/site/rollback", undo)  # somebody else was faster
    assert again.status_code == 409
    assert "Somebody else was faster" in again.text
    assert pages.post("/mappings/site/rollback", {"version": "9", "newest": "3"}).status_code == 404
    assert pages.post("/mappings/site/rollback", {"version": "x"}).status_code == 422
    assert pages.post("/mappings/nobody/rollback", {"version": "1"}).status_code == 404


def test_mistakes_stand_with_their_lines_and_nothing_is_lost(pages: MappingPages) -> None:
    wrong = SECOND.replace("[senders]", "[step]\nScheduledStationAETitel = ['OBR-21']\n[senders]")
    text = pages.draft("check", wrong, 422)
    assert typed(text) == wrong
    assert 'data-marks="5"' in text
    said = plain(text)
    assert "Line 5 ScheduledStationAETitel = ['OBR-21'] step.ScheduledStationAETitel : not a DICOM keyword" in said
    broken = pages.draft("check", 'name = "site"\n[a\n', 422)
    assert "Line 2 [a not valid TOML" in plain(broken)
    failing = pages.draft("check", SECOND.replace('Modality = "CT"', 'Modality = "MR"'), 422)
    assert "Line 18" in plain(failing)
    assert "expected 'MR', got 'CT'" in plain(failing)
    other = pages.draft("check", SECOND.replace('"site"', '"other"', 1), 422)
    assert "Line 1" in plain(other)
    good = pages.draft("check", SECOND)
    assert "Nothing is wrong, and 1 example comes out as it says." in good
    assert len(pages.mappings.history("site")) == 1


def test_publishing_needs_a_reason_and_good_examples(pages: MappingPages) -> None:
    for text, reason in (
        (SECOND, ""),
        (SECOND, "x"),
        (SECOND.replace('Modality = "CT"', 'Modality = "MR"'), "why not"),
    ):
        assert typed(pages.draft("publish", text, 422, reason=reason)) == text
    assert len(pages.mappings.history("site")) == 1
    answer = pages.post(
        "/mappings/draft/publish", {"name": "site", "seen": "1", "text": SECOND, "reason": "TQQ9 is a CR"}
    )
    assert (answer.status_code, answer.headers["location"]) == (303, "/mappings/site")
    newest = pages.mappings.history("site")[0]
    assert (newest.version, newest.source, newest.reason) == (2, "api", "TQQ9 is a CR")
    (row,) = [one for one in pages.seen("mapping") if one.object_id == 2]
    assert (row.action, row.detail["reason"]) == ("mapping.published", "TQQ9 is a CR")
    same = pages.post("/mappings/draft/publish", {"name": "site", "seen": "2", "text": SECOND, "reason": "again"})
    assert same.status_code == 303
    assert len(pages.mappings.history("site")) == 2


def test_who_is_overtaken_keeps_the_draft_and_sees_the_difference(pages: MappingPages) -> None:
    pages.mappings.publish(FIRST.replace("Hospital", "Clinic"), "user:ben", reason="was faster")
    text = pages.draft("publish", SECOND, 409, reason="TQQ9 is a CR")
    assert typed(text) == SECOND
    said = plain(text)
    assert "Version 2 is in force, which this draft was not made of." in said
    assert "was faster" in said
    assert 'name="seen" value="2"' in text
    assert len(pages.mappings.history("site")) == 2
    sure = pages.post(
        "/mappings/draft/publish", {"name": "site", "seen": "2", "text": SECOND, "reason": "TQQ9 is a CR"}
    )
    assert sure.status_code == 303
    assert pages.mappings.export("site") == SECOND


def test_a_new_profile_does_not_take_the_place_of_one_unseen(pages: MappingPages) -> None:
    assert "Add a mapping profile" in pages.text("/mappings/add")
    form = {"name": "", "seen": "0", "reason": "a second RIS"}
    overtaken = pages.post("/mappings/draft/publish", {**form, "text": SECOND})
    assert overtaken.status_code == 409
    text = SECOND.replace('"site"', '"second"', 1).replace('"RIS"', '"RIS2"')
    assert pages.post("/mappings/draft/publish", {**form, "text": text}).headers["location"] == "/mappings/second"
    claimed = pages.draft("check", text.replace('"second"', '"third"', 1), 422, name="", seen="0")
    assert "Line 4" in plain(claimed)
    assert "claimed by" in plain(claimed)


def test_what_would_change_is_a_table_with_an_audit_row(pages: MappingPages) -> None:
    send(pages.database, order_message(1), order_message(2, modality="TQQ9"))
    text = pages.draft("changes", SECOND)
    said = plain(text)
    assert "2 of 2 messages were looked at." in said
    assert "accepted, refused now: 1 , no change: 1 ." in said
    assert "AE site → AA site" in said
    assert re.search(r'<a href="/messages/2">2</a>', text)
    assert "New worklist entry" in said
    assert typed(text) == SECOND
    (row,) = pages.seen("message")
    assert (row.action, row.detail["count"]) == ("message.replayed", 2)
    assert "None of them would change" in pages.draft("changes", FIRST)
    pages.draft("changes", "name = 1", 422)
    assert len(pages.seen("message")) == 2


def test_a_pasted_message_is_tried_with_the_origin_of_each_value(pages: MappingPages) -> None:
    message = order_message(7, modality="TQQ9").decode().replace("\r", "\r\n")
    text = pages.draft("try", SECOND, message=message)
    said = plain(text)
    assert "AA by site" in said
    assert re.search(r"Modality CR OBR-24\S* \(OBR\^1\^24\) by the value table of TQQ9", said)
    assert "QZname^Anna PID-5" in said
    assert "QZPAT7" in typed(text) + text
    assert pages.seen("message") == []
    assert "Paste a message" in pages.draft("try", SECOND, 422, message=" ")
    refused = plain(pages.draft("try", FIRST, message=message))
    assert "AE by site" in refused
    assert "103" in refused
    plain(pages.draft("try", SECOND, message="no message at all"))


def test_suggestions_fit_the_place_of_the_caret(pages: MappingPages) -> None:
    def asked(table: str, line: str) -> list[str]:
        answer = pages.post("/mappings/draft/suggestions", {"table": table, "line": line})
        return [one["text"] for one in answer.json()]

    assert asked("[step]", "ScheduledStationAE") == ["ScheduledStationAETitle"]
    assert "OBR-24" in asked("[step]", 'Modality = ["OBR-2')
    assert asked("", "") != []


def test_hostile_forms_are_answered(pages: MappingPages) -> None:
    for deed in ("check", "changes", "try", "publish"):
        for text in ("", "\x7f", "=" * 5000, "name = '" + "x" * 70 + "'", "[[a]]\n" * 3000, "a.b" * 1500):
            assert pages.post(f"/mappings/draft/{deed}", {"text": text}).status_code == 422, (deed, text[:20])
        assert pages.post(f"/mappings/draft/{deed}", {}).status_code == 422


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("role", UserRole)
def test_who_may_read_and_who_may_change(pages: MappingPages, role: UserRole) -> None:
    token = pages.database.execute(api_tokens.make, role.value, role, 4e9, "test", 3.9e9).text
    visitor = Visitor(pages.app, token=token)
    reads, changes = Right.STATUS in RIGHTS[role], Right.MAPPINGS in RIGHTS[role]
    for path in ("/mappings", "/mappings/site", "/mappings/site/history"):
        assert visitor.get(path).status_code == (200 if reads else 403), path
    for path in ("/mappings/add", "/mappings/site/edit"):
        assert visitor.get(path).status_code == (200 if changes else 403), path
    for deed in ("check", "changes", "try"):
        form = {"name": "site", "seen": "1", "text": FIRST, "message": "MSH|^~\\&|RIS"}
        assert visitor.post(f"/mappings/draft/{deed}", form).status_code == (200 if changes else 403), deed
    assert visitor.post("/mappings/site/rollback", {"version": "1", "newest": "1"}).status_code == (
        303 if changes else 403
    )
    assert ('id="edit"' in visitor.get("/mappings/site").text) == changes
