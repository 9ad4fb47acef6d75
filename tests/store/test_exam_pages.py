"""The pages of exams over HTTP: the search and one exam, who may see them, what they leave in the audit trail."""

from __future__ import annotations

import html
import re
from urllib.parse import parse_qsl, urlsplit

import pytest
from support.service.rest import TOKEN
from support.web.exam_pages import SAME, Pages, rows

from broker.accounts import api_tokens
from broker.accounts.roles import RIGHTS, Right, UserRole
from broker.store.db.database import Database

HOSTILE = "<script>alert(1)</script>'\""


@pytest.fixture
def pages(database: Database) -> Pages:
    return Pages(database)


def test_the_whole_page_its_region_and_its_rows(pages: Pages) -> None:
    assert "No exam yet" in pages.get("/exams")
    pages.place(1, PatientName="Wałęsa^Lech")
    whole, region = pages.get("/exams"), pages.get("/exams", **{"X-Region": "exams"})
    assert "<h1>Exams</h1>" in whole
    assert region.lstrip().startswith('<section class="panel" id="exams"')
    assert "<h1>" not in region
    assert rows(whole) == ["2030-03-12 10:30 Wałęsa, Lech 1976-02-29 F · QZPAT1 CT Thorax A1 CT01 planned"]


def test_what_names_a_patient_stands_in_no_address(pages: Pages) -> None:
    pages.place(1, PatientName="Wałęsa^Lech")
    pages.place(2)
    wishes = {"name": "walesa", "number": "A1", "patient_id": "QZPAT1", "born": "1976-02-29", "procedure": "thorax"}
    for name, value in wishes.items():
        text = pages.find(**{name: value}, station="CT01")
        assert any("Wałęsa" in row for row in rows(text)), name
        assert f'value="{value}"' in text
    assert len(rows(pages.find(name="walesa", station="CT01"))) == 1
    assert len(rows(pages.get("/exams?name=walesa"))) == 2  # it is no filter there
    shown = [(address, value) for address in pages.addresses for _, value in parse_qsl(urlsplit(address).query)]
    told = [address for address, value in shown if value in wishes.values()]
    assert told == ["/exams?name=walesa"]
    assert any("station=CT01" in address for address in pages.addresses)


def test_a_sealed_search_is_of_one_person_and_leads_on(pages: Pages) -> None:
    for number in range(1, 53):
        pages.place(number, PatientName="Wałęsa^Lech")
    answer = pages.call("POST", "/exams/find", form={"name": "walesa"}, **SAME)
    place = answer.headers["location"]
    following = re.search(r'id="page-next" rel="next" href="([^"]+)"', pages.get(place))
    assert following
    assert len(rows(pages.get(html.unescape(following[1])))) == 2
    other = pages.database.execute(api_tokens.make, "other", UserRole.OPERATOR, 4e9, "test", 3.9e9).text
    for path, token in ((place, other), (place[:-9], TOKEN), ("/exams?find=x", TOKEN), ("/exams?find=%F0", TOKEN)):
        answer = pages.call("GET", path, token=token)
        assert answer.status_code == 200
        assert "This search is no longer known here" in answer.text


def test_what_cannot_be_a_filter(pages: Pages) -> None:
    pages.place(1)
    for form, told in (
        ({"day": "tomorrow"}, "Type a date"),
        ({"born": "old"}, "Type a date"),
        ({"state": "lost"}, "Choose one of the list"),
        ({"station": "x" * 300}, "At most 200 characters"),
    ):
        text = pages.find(**form)
        if "station" not in form:
            assert told in text, form
            assert 'aria-invalid="true"' in text
    assert "No exam fits" in pages.find(name="nobody")


def test_each_look_is_a_row(pages: Pages) -> None:
    pages.place(1)
    pages.find(name="muller", born="1976-02-29")
    (seen,) = pages.views()
    assert (seen.actor, seen.action, seen.detail["count"]) == ("api", "order.listed", 1)
    assert seen.detail["filters"] == ["born", "name"]
    exam = re.search(r'href="(/exams/\d+)"', pages.get("/exams"))
    assert exam
    pages.get(exam[1])
    viewed = pages.views()[0]
    assert (viewed.action, viewed.kind, viewed.object_id) == ("order.viewed", "order", int(exam[1].split("/")[-1]))
    assert viewed.patient is not None
    assert len(pages.views()) == 3
    assert pages.call("GET", "/exams/999").status_code == 404
    pages.call("POST", "/search", form={"q": "muller"}, **SAME)
    pages.call("POST", "/api/v1/orders/find", json={"name": "muller"})
    assert len(pages.views()) == 5


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("role", UserRole)
def test_only_who_may_see_patients_sees_exams(pages: Pages, role: UserRole) -> None:
    pages.place(1)
    exam = re.search(r'href="(/exams/\d+)"', pages.get("/exams"))
    assert exam
    token = pages.database.execute(api_tokens.make, role.value, role, 4e9, "test", 3.9e9).text
    may = Right.PATIENTS in RIGHTS[role]
    for method, path, status in (("GET", "/exams", 200), ("GET", exam[1], 200), ("POST", "/exams/find", 303)):
        form = {"name": "x"} if method == "POST" else None
        answer = pages.call(method, path, token=token, form=form, **SAME)
        assert answer.status_code == (status if may else 403), (path, answer.text)
    assert pages.call("POST", "/api/v1/orders/find", token=token, json={}).status_code == (200 if may else 403)
    found = pages.call("POST", "/search", token=token, form={"q": "muller"}, **SAME)
    assert (exam[1] in found.text) == may


def test_the_search_box_leads_to_exams(pages: Pages) -> None:
    pages.place(1, PatientName="Wałęsa^Lech")
    pages.place(2)
    for typed, count in (("Walesa", 1), ("lech wal", 1), ("A2", 1), ("QZPAT", 2), ("nobody", 0), ("^", 0)):
        found = pages.call("POST", "/search", form={"q": typed}, **SAME).text
        assert len(re.findall(r'href="/exams/\d+"', found)) == count, typed


def test_one_exam_and_hostile_names(pages: Pages) -> None:
    pages.place(1, PatientName=f"{HOSTILE}^Lech=山田^太郎", PatientID=HOSTILE)
    listed = pages.get("/exams")
    exam = re.search(r'href="(/exams/\d+)"', listed)
    assert exam
    text = pages.get(exam[1])
    for shown in (listed, text):
        assert "<script>alert" not in shown
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown
    assert "(山田, 太郎)" in text
    assert "issued by" in text
    assert "HOSPITAL" in text
    assert rows(text)[0].startswith("2030-03-12 10:30 CT Thorax CT01 planned")
    others = re.search(r'href="(/exams\?patient=\d+)"', text)
    assert others
    assert len(rows(pages.get(others[1]))) == 1


def test_words_in_french(pages: Pages) -> None:
    pages.place(1)
    text = pages.get("/exams", **{"Accept-Language": "fr"})
    assert "Nom du patient" in text
    assert "prévu" in text


def test_why_it_is_not_on_a_device(pages: Pages) -> None:
    pages.place(1)
    exam = re.search(r'href="(/exams/\d+)"', pages.get("/exams"))
    assert exam
    text = pages.get(exam[1])
    assert "CT01 is no node of the site" in html.unescape(text)
    assert f'href="{exam[1]}/why?device=CT01"' in text
    why = pages.get(f"{exam[1]}/why?device=CT01")
    assert any("station fails" in row or "station passes" in row for row in rows(why)), rows(why)
    assert pages.views()[0].action == "order.explained"
    assert pages.views()[0].patient is not None
    assert "Which device" in pages.get(f"{exam[1]}/why")
    hostile = pages.get(f"{exam[1]}/why?device=%3Cscript%3Ealert(1)")
    assert "<script>alert" not in hostile


def test_an_exam_of_which_little_is_known_is_shown_everywhere(pages: Pages) -> None:
    """No sex, no birth date, no description of the step, no station: as emergencies and bare messages have it."""
    patient = {"PatientID": "QZPAT1", "PatientName": "Bare"}
    step = {"Modality": "CT", "ScheduledProcedureStepStartDate": "20300312"}
    document = {"patient": patient, "procedures": [{"RequestedProcedureDescription": "CT", "steps": [step]}]}
    assert pages.call("POST", "/api/v1/orders", json=document).status_code == 201
    assert pages.call("POST", "/exams/emergency", form={"modality": "CT", "procedure": "CT"}, **SAME).status_code == 303
    assert len(rows(pages.get("/exams"))) == 2
    assert len(rows(pages.find(name="bare"))) == 1
    for path in ("", "/edit", "/sheet", "/why", "/merge"):
        for row in (1, 2):
            assert "CT" in pages.get(f"/exams/{row}{path}") or path in ("/why", "/merge")
    assert pages.call("POST", "/exams/2/merge", form={"typed": "bare"}, **SAME).status_code == 200
    assert "differs" in pages.get("/patients/1/beside/2")
    assert len(rows(pages.get("/exams/day?station=UNASSIGNED&day=2030-03-12"))) == 1
