"""The pages of studies as HTTP serves them: what they show, what they note, and what changes nothing."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from sqlalchemy import select, update
from support.delivery.receiving import STUDY, ReceptionPlace
from support.service.people import added, signed_in
from support.service.rest import AppClient, application, asking
from support.service.visitor import Visitor

from broker.accounts.roles import UserRole
from broker.settings import load
from broker.store.db.database import Database
from broker.store.schema import tables

RULE = {"name": "CT", "when": {"field": "tag.Modality", "value": "CT"}, "send": ["pacs"]}
MANY = 60  # objects, more than a page has
WHY = {"reason": "the disk was lost"}
_t = tables.job


@pytest.fixture
def database(sqlite_template: Path, tmp_path: Path) -> Iterator[Database]:
    shutil.copyfile(sqlite_template, tmp_path / "broker.db")
    opened = Database(f"sqlite:///{tmp_path / 'broker.db'}")
    yield opened
    opened.close()


@pytest.fixture
def app(database: Database) -> FastAPI:
    return application(database, load(None))


@pytest.fixture
def http(app: FastAPI, database: Database, tmp_path: Path) -> Iterator[AppClient]:
    """Two destinations; a study of two series for pacs, which refused one object; its last object is held."""
    with asking(app, "http://b") as client:
        client.http.headers["Accept"] = "text/html"
        client.http.follow_redirects = True
        node = {"kind": "dicom", "host": "192.0.2.1", "port": 104, "roles": ["destination"]}
        nodes = [{**node, "name": name, "ae_title": name.upper()} for name in ("pacs", "cad")]
        site = {"node": nodes, "rule": [RULE], "reason": "first rules"}
        assert client.post("/api/v1/site", json=site).status_code == 201
        place = ReceptionPlace(database, tmp_path / "spool")
        place.in_force({"rule": [RULE]}, 1)
        for number in range(1, MANY + 1):
            place.take(number, PatientID="P1.77", SeriesInstanceUID=f"2.999.77.{1 + number % 2}")
        place.in_force({}, 1)
        place.take(MANY + 1, PatientID="P1.77", SeriesInstanceUID="2.999.77.9")
        place.spool.close()
        refused = {"state": "held", "last_error": "status-C123"}
        database.execute(lambda c: c.execute(update(_t).where(_t.c.subject == 2).values(**refused)))
        yield client


def audit(app: FastAPI, database: Database) -> list[tuple[str, int]]:
    """What was noted of studies."""
    app.state.audit.flush(everything=True)
    query = select(tables.audit.c.action, tables.audit.c.object_id).where(tables.audit.c.object_kind == "study")
    rows = database.read(lambda connection: connection.execute(query.order_by(tables.audit.c.id)).all()).result(10)
    return [(row[0], row[1]) for row in rows]


def test_a_study_is_told_whole_and_its_objects_in_pages(http: AppClient) -> None:
    page = http.get("/studies/1").text
    for words in ("59 waiting", "1 held", "1 held for a person", "status-C123", "61 objects received"):
        assert words in page, words
    assert page.count('data-label="What became of it"') == 50
    assert STUDY not in "".join(re.findall(r'(?:href|action)="([^"]*)"', page))
    (following,) = re.findall(r'id="page-next" rel="next" href="([^"]+)"', page)
    rest = http.get(following, headers={"X-Region": "study_objects"}).text
    assert rest.count('data-label="What became of it"') == MANY + 1 - 50
    assert "no rule says where it goes" in rest
    assert f'href="/holds/objects/{MANY + 1}">What the rules saw' in rest
    for series, objects in ((1, 30), (2, 30), (3, 1), (4, MANY + 1 - 11), ("x", MANY + 1 - 11)):
        told = http.get(f"/studies/1?series={series}", headers={"X-Region": "study_objects"}).text
        assert told.count('data-label="What became of it"') == min(objects, 50), series


def test_what_was_seen_is_noted_and_numbers_are_not(http: AppClient, app: FastAPI, database: Database) -> None:
    assert "P1.77" in http.get("/studies").text
    assert http.get("/studies/1").status_code == 200
    region = http.get("/studies/1", headers={"X-Region": "study"})
    assert "59 waiting" in region.text
    assert "P1.77" not in region.text
    assert STUDY not in region.text
    assert audit(app, database) == [("study.listed", 0), ("study.viewed", 1)]


def test_links_lead_to_what_waits_of_the_study_and_from_there_back(http: AppClient) -> None:
    page = http.get("/studies/1", headers={"X-Region": "study"}).text
    links = [link.replace("&amp;", "&") for link in re.findall(r'href="(/queue[^"]+)"', page)]
    held, waits = (http.get(link, headers={"X-Region": "jobs"}).text for link in links)
    assert re.findall(r"<b>([\d,]+)</b> found", held) == ["1"]
    assert re.findall(r"<b>([\d,]+)</b> found", waits) == [str(MANY - 1)]
    for answer in (held, http.get("/holds").text):
        assert f'<a href="/studies/1"><code>{STUDY}</code></a>' in answer


def test_only_who_may_changes_something_and_what_is_wrong_changes_nothing(
    http: AppClient, app: FastAPI, database: Database
) -> None:
    now = time.time()
    people = [added(database, str(role), role, now) for role in (UserRole.VIEWER, UserRole.OPERATOR)]
    viewer, operator = (Visitor(app, signed_in(database, row, now).text) for row in people)
    assert viewer.get("/studies/1").status_code == viewer.get("/studies").status_code == 403
    assert viewer.post("/studies/1/resend", {"to": "pacs", **WHY}).status_code == 403
    for deed in ("resend", "reroute"):
        for form in ({"to": "pacs"}, {"to": "nowhere", **WHY}, {**WHY}, {"to": "pacs", "reason": "x" * 501}):
            refused = operator.post(f"/studies/1/{deed}", form)
            assert refused.status_code == 422
            assert f'id="{deed}" aria-labelledby="{deed}-title" open' in refused.text
        assert operator.post(f"/studies/4711/{deed}", {"to": "pacs", **WHY}).status_code == 404
    assert http.get("/studies/4711").status_code == 404
    assert "study.sent-again" not in [action for action, _ in audit(app, database)]
    sent = operator.post("/studies/1/resend", {"to": "cad", "undecided": "yes", **WHY})
    assert (sent.status_code, sent.headers["location"]) == (303, "/studies/1")
    assert audit(app, database)[-1] == ("study.sent-again", 1)
    assert "61 waiting" in operator.get("/studies/1").text
