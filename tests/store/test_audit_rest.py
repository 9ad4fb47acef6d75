"""Reading patient data leaves a row in the audit trail, and reading the trail does too. On both databases."""

from __future__ import annotations

import csv
import io
import json
import time
from typing import Any

import httpx
import pytest
from support.loops import shortly
from support.orders.documents import order
from support.service.rest import TOKEN, application, routers

from broker.accounts.roles import Right
from broker.admin import viewing
from broker.admin.routers import Route, admin_router, rights_of, shown_by
from broker.admin.viewing import SHOWS_NOTHING, shows
from broker.audit import book as books
from broker.audit.book import AuditBook, AuditFull
from broker.errors import StoreUnavailable
from broker.model.audit import AuditRecord, AuditSelection
from broker.settings import load
from broker.store.audit import trail
from broker.store.db.database import Database

ADDRESS = "10.1.2.3"


class Web:
    """The application and who calls it with the admin token."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.app = application(database, load())

    def call(self, method: str, path: str, body: Any = None, status: int = 200) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app, client=(ADDRESS, 1))
            async with httpx.AsyncClient(transport=transport, base_url="http://broker") as http:
                return await http.request(method, path, json=body, headers={"Authorization": f"Bearer {TOKEN}"})

        answer = shortly(ask())
        assert answer.status_code == status, answer.text
        return answer

    def rows(self) -> list[AuditRecord]:
        """All rows, the oldest first."""
        self.app.state.audit.flush()
        page: trail.AuditPage = self.database.read(trail.page, AuditSelection(), None, 10_000).result()
        return page.rows[::-1]

    def news(self, before: list[AuditRecord]) -> list[tuple[str, str, int, dict[str, Any]]]:
        """What came since: who, action, object, detail."""
        fresh = self.rows()[len(before) :]
        assert {row.address for row in fresh} <= {ADDRESS}
        return [(row.actor, row.action, row.object_id, row.detail) for row in fresh]


@pytest.fixture
def web(database: Database) -> Web:
    return Web(database)


def placed(web: Web, number: int = 1) -> int:
    return int(web.call("POST", "/api/v1/orders", order(number), 201).headers["location"].rsplit("/", 1)[1])


def test_each_view_is_one_row(web: Web) -> None:
    number = placed(web)
    before = web.rows()
    assert {row.action for row in before} == {"order.created"}
    assert before[0].address == ADDRESS
    web.call("GET", f"/api/v1/orders/{number}")
    assert web.news(before) == [("api", "order.viewed", number, {"route": "GET /api/v1/orders/{id}"})]
    assert web.rows()[-1].patient is not None
    before = web.rows()
    web.call("POST", "/api/v1/orders/search", {"PatientID": "QZPAT1", "limit": 5})
    web.call("POST", "/api/v1/orders/search", {"PatientID": "P2"})
    detail = {"route": "POST /api/v1/orders/search", "filters": ["PatientID"]}
    assert web.news(before) == [
        ("api", "order.listed", 0, {**detail, "count": 1}),
        ("api", "order.listed", 0, {**detail, "count": 0}),
    ]
    before = web.rows()
    web.call("GET", "/api/v1/mpps?status=COMPLETED&limit=3")
    web.call("GET", "/api/v1/messages?since=5")
    web.call("POST", "/api/v1/worklist/explain", {"device": "CT01", "AccessionNumber": "A1"})
    assert [(action, row, detail.get("filters")) for _, action, row, detail in web.news(before)] == [
        ("mpps.listed", 0, ["status"]),
        ("message.listed", 0, ["since"]),
        ("order.explained", number, None),
    ]


def test_what_shows_nothing_leaves_no_row(web: Web) -> None:
    before = web.rows()
    web.call("GET", "/api/v1/orders/77", status=404)
    web.call("GET", "/api/v1/messages/77", status=404)
    web.call("GET", "/api/v1/orders/x", status=422)
    web.call("GET", "/api/v1/holds")
    web.call("POST", "/api/v1/mpps/77/set-aside", {"reason": "test"}, 404)
    assert web.news(before) == []


def test_a_change_is_the_row_of_what_it_shows(web: Web) -> None:
    """An order that is sent again as it is changes nothing, but it is shown."""
    number = placed(web)
    before = web.rows()
    web.call("POST", "/api/v1/orders", order(), 200)
    tag = web.call("GET", f"/api/v1/orders/{number}").headers["etag"]
    web.call("DELETE", f"/api/v1/orders/{number}")
    web.call("DELETE", f"/api/v1/orders/{number}")
    assert tag
    actions = [action for _, action, _, _ in web.news(before)]
    assert actions == ["order.unchanged", "order.viewed", "order.canceled", "order.viewed"]


def test_reading_the_trail_is_in_the_trail(web: Web) -> None:
    number = placed(web)
    (patient,) = {row.patient for row in web.rows()}
    web.call("GET", f"/api/v1/orders/{number}")
    found = web.call("POST", "/api/v1/audit/search", {"PatientID": "QZPAT1"}).json()
    assert [row["action"] for row in found["rows"]] == ["order.viewed", "order.created"]
    assert found["after"] is None
    assert found["rows"][0]["address"] == ADDRESS
    seen = web.rows()[-1]
    assert (seen.action, seen.patient, seen.detail["filters"], seen.detail["count"]) == (
        "audit.listed",
        patient,
        ["PatientID"],
        2,
    )
    found = web.call("GET", f"/api/v1/audit?patient={patient}&action=audit.").json()
    assert [row["action"] for row in found["rows"]] == ["audit.listed"]
    assert web.call("POST", "/api/v1/audit/search", {"PatientID": "nobody"}).json() == {"rows": [], "after": None}


def test_pages_follow_each_other(web: Web) -> None:
    for number in range(7):
        placed(web, number)
    whole = web.call("GET", "/api/v1/audit?actor=api&action=order.&until=9e9").json()["rows"]
    found, after = [], ""
    for _ in range(20):
        page = web.call("GET", f"/api/v1/audit?actor=api&action=order.&limit=2&after={after}").json()
        found += page["rows"]
        after = page["after"]
        if after is None:
            break
    assert found == whole
    assert len(found) == 7


@pytest.mark.parametrize(
    "query",
    [
        "after=x",
        "after=1:",
        "after=1.5:99999999999999999999",
        "after=nan:1",
        "since=inf",
        "object_id=0",
        "limit=0",
        "limit=1001",
        "nonsense=1",
        "actor=%0A",
        "patient=-1",
    ],
)
def test_what_cannot_be_asked_is_refused(web: Web, query: str) -> None:
    web.call("GET", f"/api/v1/audit?{query}", status=422)


def test_an_issuer_alone_names_nobody(web: Web) -> None:
    web.call("POST", "/api/v1/audit/search", {"IssuerOfPatientID": "SITE"}, 422)


def test_a_spreadsheet_gets_no_formulas(web: Web) -> None:
    def fill() -> None:
        for number, actor in enumerate(("=1+1", "+1", "-1", "@x", "\tx", "\rx", "＝1", "user:anna", 'a"b,c\n=d')):
            web.app.state.audit.add(
                AuditRecord(at=float(number), actor=actor, action="order.viewed", kind="order", object_id=5, detail={})
            )

    fill()
    answer = web.call("GET", "/api/v1/audit/export?action=order.viewed")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="audit.csv"'
    head, *rows = csv.reader(io.StringIO(answer.text, newline=""))
    assert head[:4] == ["time", "who", "from", "action"]
    assert [row[1] for row in rows[::-1]] == [
        "'=1+1", "'+1", "'-1", "'@x", "'\tx", "'\rx", "'＝1", "user:anna", 'a"b,c\n=d',
    ]  # fmt: skip
    assert all(not cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row)
    seen = web.rows()[-1]
    assert (seen.action, seen.detail["count"], seen.detail["filters"]) == ("audit.exported", 9, ["action"])


def test_json_lines_hold_the_same_rows(web: Web) -> None:
    for number in range(3):
        placed(web, number)
    text = web.call("POST", "/api/v1/audit/export", {"form": "jsonl", "kind": "order"}).text
    rows = [json.loads(line) for line in text.splitlines()]
    assert rows == web.call("GET", "/api/v1/audit?kind=order").json()["rows"]
    assert len(rows) == 3


def test_an_export_goes_through_all_pages(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    from broker.audit import export

    monkeypatch.setattr(export, "PAGE", 2)
    for number in range(5):
        placed(web, number)
    lines = web.call("GET", "/api/v1/audit/export?form=jsonl&kind=order").text.splitlines()
    assert [json.loads(line)["id"] for line in lines] == sorted((row.row for row in web.rows()[:5]), reverse=True)


# --- the mechanism -------------------------------------------------------------------------------------------


NO_PATIENTS = {"/api/v1/audit/actions", "/api/v1/worklist/devices"}  # words of ours; devices and how they asked


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_each_route_that_may_show_patients_says_what_it_shows(database: Database) -> None:
    routes = [route for one in routers(database, load()) for route in one.routes if isinstance(route, Route)]
    watched = [route for route in routes if rights_of(route) & viewing.WATCHED]
    assert len(watched) > 20
    for route in watched:
        assert shown_by(route) is not None, route.path
        if route.methods == {"GET"} and route.path not in NO_PATIENTS:
            assert shown_by(route).kind, f"{route.path} shows something"  # type: ignore[union-attr]


def test_a_route_that_hides_what_it_shows_cannot_be_built() -> None:
    routes = admin_router("/x", Right.STATUS)
    for right in viewing.WATCHED:
        with pytest.raises(TypeError, match="/y needs one of"):
            admin_router("/x", right).add_api_route("/y", lambda: None)
    routes.add_api_route("/y", lambda: None)
    admin_router("/x", Right.AUDIT).add_api_route("/y", lambda: None, dependencies=[SHOWS_NOTHING])
    admin_router("/x", Right.AUDIT).add_api_route("/y", lambda: None, dependencies=[shows("audit")])


def record(number: int) -> AuditRecord:
    return AuditRecord(
        at=time.time(), actor="cli:anna", action="order.viewed", kind="order", object_id=number, detail={}
    )


def test_a_book_keeps_what_could_not_be_written(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is lost, written twice or out of order when the database is away in the middle."""
    book = AuditBook(database)
    for number in range(40):
        book.add(record(number))
    real, calls = books.add_audit, [0]

    def failing(*args: Any, **more: Any) -> None:
        calls[0] += 1
        if calls[0] == 25:
            raise StoreUnavailable
        real(*args, **more)

    monkeypatch.setattr(books, "add_audit", failing)
    with pytest.raises(StoreUnavailable):
        book.flush()
    book.add(record(40))
    book.flush()
    book.flush()
    page: trail.AuditPage = database.read(trail.page, AuditSelection(), None, 1000).result()
    assert sorted(row.object_id for row in page.rows) == list(range(41))


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_with_a_full_book_nothing_is_shown(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    number = placed(web)
    monkeypatch.setattr(books, "MOST", 2)
    web.call("GET", f"/api/v1/orders/{number}")
    web.call("GET", f"/api/v1/orders/{number}")
    answer = web.call("GET", f"/api/v1/orders/{number}", status=503)
    assert "retry-after" in answer.headers
    with pytest.raises(AuditFull):
        web.app.state.audit.check_room()
    web.call("GET", "/api/v1/holds")
    web.app.state.audit.flush()
    web.call("GET", f"/api/v1/orders/{number}")
