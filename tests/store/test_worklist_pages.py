"""The pages and the REST of worklists over HTTP: the board, what a device sees, exams that nobody will see."""

from __future__ import annotations

import html
import re
from datetime import datetime, timedelta
from urllib.parse import unquote

import pytest
from sqlalchemy import Connection
from support.orders.documents import order
from support.web.exam_pages import SAME, Pages, rows

from broker.admin.web.worklist import words as worklist_words
from broker.cli.worklist.showing import UnseenChoice
from broker.model.exam import UnseenReason
from broker.settings import load
from broker.store.db.database import Database
from broker.store.schema import tables

STATION = "ScheduledStationAETitle"
DATE = "ScheduledProcedureStepStartDate"
YESTERDAY = (datetime.now(load().zone()) - timedelta(days=1)).strftime("%Y%m%d")
NODES = [
    {"name": "ct1", "kind": "dicom", "ae_title": "CT01", "roles": ["modality"]},
    {"name": "mr 1", "kind": "dicom", "ae_title": "MR 01/A", "roles": ["modality"]},
]
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def pages(database: Database) -> Pages:
    """A site with two devices and five exams: two of CT01, one without a station, one of no device, an old one."""
    made = Pages(database)
    assert made.call("PUT", "/api/v1/nodes", json={"node": NODES, "reason": "a test"}).is_success
    for number, step in enumerate(({}, {}, {STATION: []}, {STATION: ["US09"]}, {DATE: YESTERDAY}), 1):
        assert made.call("POST", "/api/v1/orders", json=order(number, step=step)).json()["outcome"] == "created"
    return made


def words(text: str) -> str:
    return html.unescape(" ".join(re.sub(r"<[^>]+>", " ", text).split()))


def test_the_board_by_station_and_day(pages: Pages) -> None:
    text = pages.get("/worklist?day=2030-03-12")
    told = words(text)
    for part in (
        "What ct1 sees",
        "What mr 1 sees",
        "Planned on 2030-03-12",
        "UNASSIGNED",
        "no device has this station",
    ):
        assert part in told
    assert "A1" in told
    assert "A5" not in told
    assert 'href="/exams/1"' in text
    assert "/worklist/device?name=mr%201" in text
    assert 'href="/worklist?day=2030-03-11"' in text
    assert 'href="/worklist?day=2030-03-13"' in text
    region = pages.get("/worklist?day=2030-03-12", **{"X-Region": "board"})
    assert region.lstrip().startswith('<div class="stack" id="board"')
    assert "Nothing is planned on this day" in pages.get("/worklist?day=0001-01-01")
    assert "Type a date like" in pages.get(f"/worklist?day={HOSTILE}")
    assert "Day before" not in pages.get("/worklist?day=0001-01-01")
    assert "Day after" not in pages.get("/worklist?day=9999-12-31")
    assert pages.views()[0].action == "order.listed"


def test_what_a_device_sees_and_what_a_person_types(pages: Pages) -> None:
    told = words(pages.get("/worklist/device?name=ct1"))
    assert "3 exams now complete 0000" in told
    assert "It has never asked." in told
    assert "AccessionNumber" in told
    answer = pages.call(
        "POST", "/worklist/device?name=ct1", form={"patient_name": "müller*", "date": "2030-03-12"}, **SAME
    )
    assert answer.status_code == 200
    assert "4 exams now" in words(answer.text)
    assert 'value="müller*"' in answer.text
    empty = pages.call("POST", "/worklist/device?name=ct1", form={"patient_id": "nobody"}, **SAME)
    assert "The list of the device is empty" in empty.text
    assert pages.views()[0].detail["filters"] == ["PatientID", "name"]
    for form, told in (({"date": "tomorrow"}, "would be refused"), ({"modality": "x" * 65}, "At most 64 characters")):
        wrong = pages.call("POST", "/worklist/device?name=ct1", form=form, **SAME)
        assert wrong.status_code == 422
        assert told in wrong.text
        assert 'aria-invalid="true"' in wrong.text
    assert HOSTILE not in pages.get(f"/worklist/device?name={HOSTILE}&query=7")
    assert "MR 01/A" in words(pages.get("/worklist/device?name=MR+01/A"))
    assert pages.call("GET", "/worklist/device").headers["location"] == "/worklist"
    for path in ("/worklist/device?name=ct1&query=0", "/worklist/device?name=ct1&query=x"):
        assert pages.call("GET", path).status_code == 422
    assert not [one for one in pages.addresses if "ller" in unquote(one) or "nobody" in one]


def test_why_an_exam_is_not_there(pages: Pages) -> None:
    answer = pages.call("POST", "/worklist/device/why?name=mr+1", form={"missing": "A1"}, **SAME)
    assert (answer.status_code, answer.headers["location"]) == (303, "/exams/1/why?device=mr%201")
    told = words(pages.get("/exams/1/why?device=mr%201"))
    assert "not shown" in told
    assert "the device asks for MR 01/A" in told
    for typed, says in (("A99", "No exam has this number"), ("", "Type an accession number")):
        wrong = pages.call("POST", "/worklist/device/why?name=ct1", form={"missing": typed}, **SAME)
        assert wrong.status_code == 422
        assert says in wrong.text


def test_exams_that_nobody_will_see(pages: Pages) -> None:
    shown = rows(pages.get("/worklist/unseen"))
    assert [re.findall(r"\bA\d\b", row)[0] for row in shown] == ["A3", "A4", "A5"]
    assert "No station was given to it. Move it to a station." in shown[0]
    assert len(rows(pages.get("/worklist/unseen?reason=past"))) == 1
    assert "No exam fits" in pages.get("/worklist/unseen?reason=unscheduled")
    assert len(rows(pages.get("/worklist/unseen?reason=lost&after=9..1"))) == 3
    listed = pages.call("GET", "/api/v1/worklist/unseen?limit=2").json()
    assert [one["reason"] for one in listed["exams"]] == ["unassigned", "unknown-station"]
    rest = pages.call("GET", f"/api/v1/worklist/unseen?limit=2&after={listed['after']}").json()
    assert ([one["AccessionNumber"] for one in rest["exams"]], rest["after"]) == (["A5"], None)
    assert rest["counts"] == {"held": 0, "unscheduled": 0, "unassigned": 1, "unknown-station": 1, "past": 1}
    assert pages.call("GET", "/api/v1/worklist/unseen?after=x").status_code == 422
    assert [one.value for one in UnseenChoice] == [one.value for one in UnseenReason]
    pages.database.submit(_hold, 3).result(20)  # the step of A3
    for reason in UnseenReason:  # pages, REST and commands know all of them
        listed = pages.call("GET", f"/api/v1/worklist/unseen?reason={reason}").json()
        assert {one["reason"] for one in listed["exams"]} <= {reason}
        assert len(rows(pages.get(f"/worklist/unseen?reason={reason}"))) == len(listed["exams"])
    (row,) = rows(pages.get("/worklist/unseen?reason=held"))
    assert "Have the RIS release it, or call it off." in row
    assert "#move" not in row


def _hold(connection: Connection, step: int) -> None:
    table = tables.scheduled_step
    connection.execute(table.update().where(table.c.id == step).values(held=True))


def test_rest_says_what_the_pages_say(pages: Pages) -> None:
    board = pages.call("GET", "/api/v1/worklist/board?day=20300312").json()
    assert {one[STATION]: one["total"] for one in board["stations"]} == {
        "CT01": 2, "MR 01/A": 0, "UNASSIGNED": 1, "US09": 1,
    }  # fmt: skip
    assert pages.call("GET", "/api/v1/worklist/board?day=x").status_code == 422
    names = [one["name"] for one in pages.call("GET", "/api/v1/worklist/devices").json()]
    assert names == ["ct1", "mr 1"]
    ask = {"device": "ct1", "keys": {"AccessionNumber": "A1", "PatientName": ""}}
    seen = pages.call("POST", "/api/v1/worklist/ask", json=ask).json()
    assert (seen["which"], seen["count"], seen["exams"][0]["order"]) == ("typed", 1, 1)
    wrong = pages.call("POST", "/api/v1/worklist/ask", json={"device": "ct1", "keys": {DATE: "tomorrow"}})
    assert wrong.status_code == 422
    assert DATE in wrong.text
    assert "tomorrow" not in wrong.text
    assert (
        pages.call("POST", "/api/v1/worklist/ask", json={"device": "ct1", "keys": {"Nonsense": "x"}}).status_code == 422
    )


def test_other_pages_lead_here(pages: Pages) -> None:
    assert 'href="/worklist/device?name=ct1"' in pages.get("/nodes/ct1")
    assert 'href="/worklist/device?name=ct1"' in pages.get("/exams/1")
    assert 'href="/worklist"' in pages.get("/exams")


def test_every_reason_why_nobody_sees_an_exam_has_words() -> None:
    assert set(worklist_words.REASONS) == set(UnseenReason)
    assert worklist_words.end_of("0000") != worklist_words.end_of("0110") == worklist_words.FAILED
    assert worklist_words.path_of("CT 1/a") == "/worklist/device?name=CT%201%2Fa"
