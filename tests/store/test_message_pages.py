"""The pages of messages over HTTP: whole and as a region, who may see them, and what a look leaves in the trail."""

from __future__ import annotations

import re
import time
from datetime import datetime

import pytest
from support.orders.journal import order_message, send, tell
from support.service.rest import TOKEN, application
from support.service.visitor import Visitor

from broker.accounts import api_tokens
from broker.accounts.roles import RIGHTS, Right, UserRole
from broker.audit.book import AuditBook
from broker.model.audit import AuditRecord, AuditSelection
from broker.settings import load
from broker.store.audit import trail
from broker.store.db.database import Database

HOSTILE = b"<script>alert(1)</script>"
WARNED = "Value cannot be used and is left out"


class Pages(Visitor):
    """A browser of somebody with the admin token, beside the database."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.app = application(database, load())
        super().__init__(self.app, token=TOKEN)

    def text(self, path: str, **headers: str) -> str:
        answer = self.get(path, headers={"Accept": "text/html", **headers})
        assert answer.status_code == 200, answer.text
        return answer.text

    def seen(self) -> list[AuditRecord]:
        book: AuditBook = self.app.state.audit
        book.flush()
        found = self.database.read(trail.page, AuditSelection(kind="message"), None, 100).result(20)
        return [row for row in found.rows if row.actor == "api"]


@pytest.fixture
def pages(database: Database) -> Pages:
    send(database, order_message(1), order_message(2, modality="TQQ9"), order_message(3, birth="19700000"))
    tell(database, 1, time.time() + 1)
    return Pages(database)


def rows(text: str) -> list[str]:
    """The rows of the list, as text."""
    found = re.search(r"<tbody>(.*?)</tbody>", text, re.DOTALL)
    cells = re.findall(r"<tr>(.*?)</tr>", found[1], re.DOTALL) if found else []
    return [" ".join(re.sub(r"<[^>]+>", " ", cell).split()) for cell in cells]


def today() -> str:
    return datetime.now(load().zone()).date().isoformat()


def test_the_list_whole_and_as_a_region(pages: Pages) -> None:
    whole, region = pages.text("/messages"), pages.text("/messages", **{"X-Region": "journal"})
    assert "<h1>Messages</h1>" in whole
    assert region.lstrip().startswith('<section class="panel" id="journal"')
    assert "<h1>" not in region
    assert len(rows(whole)) == 4
    first, last = rows(whole)[0], rows(whole)[-1]
    assert "to ris ORM^O01 completed" in first
    assert "AA: heard" in first
    assert "from RIS|SITE ORM^O01 RIS1 AA: taken" in last


def test_refused_today_and_why(pages: Pages) -> None:
    """Question 4 of the support questions: one click from the start page, and one from the list."""
    path = f"/messages?state=open&amp;since={today()}"
    assert path in pages.text("/messages")
    (row,) = rows(pages.text(path.replace("&amp;", "&")))
    assert "AE: refused" in row
    assert "103 OBR^1^24" in row


def test_one_message_by_segment_and_field(pages: Pages) -> None:
    text = pages.text("/messages/1")
    assert 'PID-5 <small lang="en">Patient Name</small>' in text
    assert "<b>PatientName</b> QZname^Anna" in text
    assert "PID|||QZPAT1^^^HOSP||QZname^Anna||19700203|F" in text
    assert "MSA|AA|RIS1" in text
    assert "order 1: created" not in text
    assert re.search(r"order\s+A1: created", re.sub(r"<[^>]+>", "", text))
    unused = re.search(r'<tr class="unused"><th scope="row">OBR-1 ', text)
    assert unused


def test_findings_stand_at_their_place(pages: Pages) -> None:
    birth = re.search(r'<tr class="unused"><th scope="row">PID-7 .*?</tr>', pages.text("/messages/3"), re.DOTALL)
    assert birth
    assert WARNED in birth[0]
    modality = re.search(r'<tr class="\w+"><th scope="row">OBR-24 .*?</tr>', pages.text("/messages/2"), re.DOTALL)
    assert modality
    assert "103" in modality[0]


def test_a_sent_message_with_the_answer_of_the_ris(pages: Pages) -> None:
    text = pages.text("/messages/sent/1")
    assert "<h1>Sent message 1</h1>" in text
    assert "AA: heard" in text
    assert "MSA|AA|C1" in text
    assert "/messages?exam=1" in text


def test_what_the_ris_sent_for_an_order_is_found_by_its_number(pages: Pages) -> None:
    """Questions 5 and 7: what exactly did the RIS send for it, and did it hear that it is done?"""
    found = pages.post("/messages/find", {"number": "A1"})
    assert (found.status_code, found.headers["location"]) == (303, "/messages?exam=1")
    listed = rows(pages.text("/messages?exam=1"))
    assert len(listed) == 2
    assert "completed" in listed[0]
    assert "AA: heard" in listed[0]
    assert "RIS1" in listed[1]
    by_patient = pages.post("/messages/find", {"number": "QZPAT3"}).headers["location"]
    assert re.fullmatch(r"/messages\?patient=\d+", by_patient)
    assert len(rows(pages.text(by_patient))) == 1
    assert pages.post("/messages/find", {"number": "QZPAT2"}).headers["location"] == "/messages/2"
    assert pages.post("/messages/find", {"number": "QZPAT77"}).headers["location"] == "/messages"


def test_each_look_is_a_row_of_the_trail(pages: Pages) -> None:
    pages.text("/messages?exam=1&state=refused")
    pages.text("/messages/1")
    pages.text("/messages/sent/1")
    sent, one, listed = pages.seen()[:3]
    assert (listed.action, listed.detail["filters"], listed.detail["count"]) == ("message.listed", ["exam", "state"], 0)
    assert (one.action, one.object_id, one.patient) == ("message.viewed", 1, 1)
    assert (sent.action, sent.object_id, sent.detail["journal"]) == ("message.viewed", 1, "out")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("role", UserRole)
def test_only_who_may_read_messages_sees_them(pages: Pages, role: UserRole) -> None:
    token = pages.database.execute(api_tokens.make, role.value, role, 4e9, "test", 3.9e9).text
    visitor = Visitor(pages.app, token=token)
    may = Right.MESSAGES in RIGHTS[role]
    for path in ("/messages", "/messages/1", "/messages/sent/1"):
        assert visitor.get(path).status_code == (200 if may else 403), path
    assert visitor.post("/messages/find", {"number": "A1"}).status_code == (303 if may else 403)
    assert (">Messages<" in visitor.get("/").text) == may


def test_hostile_messages_are_inert(database: Database) -> None:
    send(database, order_message(1).replace(b"QZname", HOSTILE).replace(b"Chest", HOSTILE + b"{{7*7}}"))
    send(database, b"MSH|^~\\&|" + HOSTILE + b"|\x1b]0;x\x07|\xff")
    pages = Pages(database)
    for path in ("/messages", "/messages/1", "/messages/2"):
        answer = pages.get(path)
        assert answer.status_code == 200, answer.text
        assert "<script>alert" not in answer.text
    assert "{{7*7}}" in pages.text("/messages/1")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_what_cannot_be_asked_for(pages: Pages) -> None:
    assert pages.get("/messages/77").status_code == 404
    assert pages.get("/messages/sent/77").status_code == 404
    assert "Type a code" in pages.text("/messages?finding=x")
    assert len(rows(pages.text("/messages?exam=x&patient=-1&only=99999999999999999999"))) == 4
    assert "No message matches" in pages.text("/messages?only=4711")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_no_address_holds_data_of_a_patient(pages: Pages) -> None:
    addresses: list[str] = []
    for path in ("/messages", "/messages?exam=1", "/messages/1", "/messages/sent/1"):
        addresses += re.findall(r'(?:href|action)="([^"]+)"', pages.text(path))
    assert [address for address in addresses if "QZ" in address or "A1" in address] == []


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_large_message_is_cut_on_the_page(database: Database) -> None:
    notes = b"".join(b"NTE|%d||%s\r" % (number, b"x" * 300) for number in range(900))
    send(database, order_message(1) + notes)
    text = Pages(database).text("/messages/1")
    assert "Only the beginning is shown." in text
    assert len(text) < 1_500_000


def test_french(pages: Pages) -> None:
    text = pages.text("/messages", **{"Accept-Language": "fr"})
    assert "Refusés aujourd’hui" in text
    assert "AA : entendu" in text
