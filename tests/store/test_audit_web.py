"""The page of the audit trail over HTTP: whole and as a region, who may see it, what it leaves in the trail."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from support.loops import shortly
from support.orders.documents import order
from support.service.rest import TOKEN, application

from broker.accounts import api_tokens
from broker.accounts.roles import RIGHTS, Right, UserRole
from broker.model.audit import AuditRecord, AuditSelection
from broker.settings import load
from broker.store.audit import trail
from broker.store.db import newest
from broker.store.db.database import Database

HOSTILE = "<script>alert(1)</script>\u202e'\"&"


class Pages:
    """The application as a browser sees it."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.app = application(database, load())

    def call(
        self, method: str, path: str, *, token: str = TOKEN, form: dict[str, str] | None = None, **headers: str
    ) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app, client=("10.1.2.3", 1))
            async with httpx.AsyncClient(transport=transport, base_url="http://broker") as http:
                known = {"Authorization": f"Bearer {token}", "Accept": "text/html", **headers}
                return await http.request(method, path, data=form, headers=known)

        return shortly(ask())

    def get(self, query: str = "", **headers: str) -> str:
        answer = self.call("GET", f"/audit{query}", **headers)
        assert answer.status_code == 200, answer.text
        return answer.text

    def place(self, *numbers: int) -> None:
        async def ask() -> None:
            transport = httpx.ASGITransport(app=self.app, client=("10.1.2.3", 1))
            async with httpx.AsyncClient(transport=transport, base_url="http://broker") as http:
                body: dict[str, Any] = {"orders": [order(number) for number in numbers]}
                known = {"Authorization": f"Bearer {TOKEN}"}
                assert (await http.post("/api/v1/orders/batch", json=body, headers=known)).status_code == 200

        shortly(ask())

    def add(self, **values: Any) -> None:
        row: dict[str, Any] = {"at": 1.7e9, "actor": "user:anna", "action": "order.viewed", "kind": "order"}
        self.app.state.audit.add(AuditRecord(**{**row, "object_id": 5, "detail": {}, **values}))

    def trail(self) -> list[AuditRecord]:
        self.app.state.audit.flush()
        page: trail.AuditPage = self.database.read(trail.page, AuditSelection(), None, 1000).result()
        return page.rows


@pytest.fixture
def pages(database: Database) -> Pages:
    return Pages(database)


def rows(text: str) -> list[str]:
    """The rows of the table, as text."""
    body = re.search(r"<tbody>(.*)</tbody>", text, re.DOTALL)
    cells = re.findall(r"<tr>(.*?)</tr>", body[1], re.DOTALL) if body else []
    return [" ".join(re.sub(r"<[^>]+>", " ", cell).split()) for cell in cells]


def test_the_whole_page_and_its_region(pages: Pages) -> None:
    pages.place(1, 2)
    whole, region = pages.get(), pages.get(**{"X-Region": "trail"})
    assert "<h1>Audit</h1>" in whole
    assert "<nav" in whole
    assert region.lstrip().startswith('<section class="panel" id="trail"')
    assert "<h1>" not in region
    assert [row.count("created") for row in rows(whole)] == [1, 1]


def test_each_look_is_a_row(pages: Pages) -> None:
    pages.place(1)
    (patient,) = {row.patient for row in pages.trail()}
    pages.get(f"?patient={patient}&person=api")
    seen = pages.trail()[0]
    assert (seen.actor, seen.address, seen.action, seen.patient) == ("api", "10.1.2.3", "audit.listed", patient)
    assert seen.detail == {"route": "GET /audit", "filters": ["patient", "person"], "count": 1}
    assert pages.call("GET", "/audit/export?action=order.").text.count("\r\n") == 2
    assert pages.trail()[0].action == "audit.exported"
    assert pages.trail()[0].detail["count"] == 1


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("role", UserRole)
def test_only_auditors_see_it(pages: Pages, role: UserRole) -> None:
    made = pages.database.execute(api_tokens.make, role.value, role, 1.0 + 86_400, "test", 1.0)
    token = pages.database.execute(api_tokens.make, f"{role.value}-2", role, 4e9, "test", 3.9e9).text
    assert made
    may = Right.AUDIT in RIGHTS[role]
    for method, path, status in (
        ("GET", "/audit", 200),
        ("GET", "/audit/export", 200),
        ("POST", "/audit/patient", 303),
    ):
        form = {"PatientID": "P"} if method == "POST" else None
        origin = {"Sec-Fetch-Site": "same-origin"}
        answer = pages.call(method, path, token=token, form=form, **origin)
        assert answer.status_code == (status if may else 403), (path, answer.text)
    assert pages.call("POST", "/audit", token=TOKEN).status_code == 405
    assert (">Audit<" in pages.call("GET", "/", token=token).text) == may


def test_hostile_names_are_inert(pages: Pages) -> None:
    pages.add(
        actor=HOSTILE, action=f"x.{HOSTILE}", kind=HOSTILE, address=HOSTILE, detail={"reason": HOSTILE, "x": HOSTILE}
    )
    text = pages.get()
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert f'href="/audit?person={quote(HOSTILE, safe="")}"'.replace("%20", "+") in text


def test_filters_and_what_cannot_be_one(pages: Pages) -> None:
    pages.place(1, 2, 3)
    pages.add(actor="cli:bob", at=1.7e9)
    assert len(rows(pages.get("?object=order"))) == 4
    assert len(rows(pages.get("?object=order:2"))) == 1
    assert len(rows(pages.get("?person=cli:"))) == 1
    assert len(rows(pages.get("?since=2023-11-14&until=2023-11-14"))) == 1
    assert rows(pages.get("?since=2023-11-15&until=2023-11-16")) == []
    for day in ("0001-01-01", "1969-12-31", "9999-12-31"):
        assert rows(pages.get(f"?since={day}&until={day}")) == [], day
        assert (rows(pages.get(f"?since=0001-01-01&until={day}")) == []) == (day != "9999-12-31")
    for query, told in (
        ("?object=order:x", "Type a kind like order"),
        ("?object=" + "1" * 50, "Type a kind like order"),
        ("?patient=P1", "Type our number of the patient"),
        ("?patient=" + "9" * 19, "Type our number of the patient"),
        ("?since=yesterday", "Type a date"),
        ("?person=" + "x" * 300, "At most 200 characters"),
    ):
        text = pages.get(query)
        assert told in text, query
        assert 'aria-invalid="true"' in text


def test_words_in_french(pages: Pages) -> None:
    pages.add()
    text = pages.get(**{"Accept-Language": "fr"})
    assert "Journal d’audit" in text
    assert "consultation" in rows(text)[0]


def test_an_identifier_leads_to_the_rows_of_the_patient(pages: Pages) -> None:
    pages.place(1, 2)
    origin = {"Sec-Fetch-Site": "same-origin"}
    answer = pages.call("POST", "/audit/patient", form={"PatientID": "QZPAT2"}, **origin)
    assert answer.status_code == 303
    place = answer.headers["location"]
    assert re.fullmatch(r"/audit\?patient=\d+", place)
    assert len(rows(pages.get(place.removeprefix("/audit")))) == 1
    form = {"PatientID": "QZPAT2", "IssuerOfPatientID": "OTHER"}
    answer = pages.call("POST", "/audit/patient", form=form, **origin)
    assert (answer.status_code, answer.headers["location"]) == (303, "/audit")
    assert "QZPAT" not in str(answer.headers)


def test_what_is_rare_is_looked_for_page_by_page(pages: Pages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newest, "LOOK", 5)
    monkeypatch.setattr(newest, "FAR", 10)
    for number in range(30):
        pages.add(at=1.7e9 + number, actor="user:bob" if number == 2 else "user:anna")
    text = pages.get("?person=user:b")  # a beginning without a colon is a whole name
    assert rows(text) == []
    text = pages.get("?person=user:&object=mpps")
    assert rows(text) == []
    assert "Looked back to:" in text
    following = re.search(r'id="page-next" rel="next" href="([^"]+)"', text)
    assert following
    assert "Looked back to:" in pages.get(following[1].replace("&amp;", "&").removeprefix("/audit"))
