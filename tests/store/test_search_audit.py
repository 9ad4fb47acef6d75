"""A search that shows patients leaves one row in the audit trail, of which no word is what was typed."""

from __future__ import annotations

import pytest
from support.service.rest import TOKEN, application, asking

from broker.accounts.roles import Right, UserRole
from broker.admin.web import pages
from broker.admin.web.search import Finder, SearchHit, Wanted
from broker.admin.web.words import Sentence
from broker.audit import book as books
from broker.model.audit import AuditRecord, AuditSelection
from broker.settings import load
from broker.store.audit import trail
from broker.store.db.database import Database


def finder(kind: str, found: int) -> Finder:
    """Finds so many things for everything that begins with `canary`."""

    def find(wanted: Wanted) -> list[SearchHit]:
        hit = SearchHit(title="Canary^Carl", path="/x", kind=Sentence("exam"))
        return [hit] * found if wanted.words[0].startswith("canary") else []

    return Finder(find=find, right=Right.PATIENTS if kind else Right.STATUS, shows=kind)


def rows(database: Database) -> list[AuditRecord]:
    page: trail.AuditPage = database.read(trail.page, AuditSelection(), None, 1000).result()
    return [row for row in page.rows[::-1] if row.actor == "api"]


def searched(database: Database, monkeypatch: pytest.MonkeyPatch, *finders: Finder) -> list[AuditRecord]:
    """Search in each way for what is there and for what is not; the rows of it."""
    monkeypatch.setattr(pages, "_finders", lambda context: finders)
    app = application(database, load())
    with asking(app, "http://broker") as http:
        for text in ("canary", "nothing", ""):
            for answer in (
                http.post("/search/suggestions", data={"q": text}),
                http.post("/search", data={"q": text}),
                http.get("/search", params={"q": text}),
            ):
                assert (answer.status_code, "Canary" in answer.text) == (200, text == "canary" and bool(finders))
    app.state.audit.flush()
    return rows(database)


def test_each_search_that_shows_a_patient_is_one_row(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    found = searched(database, monkeypatch, finder("order", 12))
    assert [(row.action, row.kind, row.object_id, row.detail) for row in found] == [
        ("order.listed", "order", 0, {"route": route, "filters": ["q"], "count": count})
        for route, count in (("POST /search/suggestions", 8), ("POST /search", 12), ("GET /search", 12))
    ]
    assert "canary" not in repr(found).casefold()


def test_a_search_over_several_kinds_is_one_row_too(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    found = searched(database, monkeypatch, finder("", 3), finder("order", 2), finder("mpps", 1))
    assert [(row.action, row.detail["count"]) for row in found] == [("patient.listed", 3)] * 3


def test_a_search_that_shows_no_patient_leaves_no_row(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    assert searched(database, monkeypatch, finder("", 60)) == []


def test_who_may_not_see_patients_is_shown_none(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "_finders", lambda context: [finder("order", 2)])
    monkeypatch.setattr("broker.admin.callers.RIGHTS", dict.fromkeys(UserRole, frozenset({Right.STATUS})))
    app = application(database, load())
    with asking(app, "http://broker", TOKEN) as http:
        answer = http.post("/search", data={"q": "canary"})
        assert (answer.status_code, "Canary" in answer.text) == (200, False)
    app.state.audit.flush()
    assert rows(database) == []


def test_with_a_full_book_no_search_is_answered(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "_finders", lambda context: [finder("order", 2)])
    monkeypatch.setattr(books, "MOST", 1)
    with asking(application(database, load()), "http://broker") as http:
        assert http.post("/search", data={"q": "canary"}).status_code == 200
        answer = http.post("/search", data={"q": "canary"})
        assert (answer.status_code, "Canary" in answer.text) == (503, False)


def test_a_finder_that_hides_what_it_shows_cannot_be_built() -> None:
    for right in (Right.PATIENTS, Right.MESSAGES, Right.AUDIT):
        with pytest.raises(TypeError, match="says what it shows"):
            Finder(find=lambda wanted: [], right=right)
