"""Exams changed by hand, by REST and by pages: moved, called off, opened again, edited, placed, merged, printed."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest
from sqlalchemy import select
from support.orders.documents import order
from support.orders.intake import take
from support.service.rest import TOKEN
from support.service.site import order as hl7_order
from support.web.exam_pages import SAME, Pages, rows

from broker.accounts import api_tokens
from broker.accounts.roles import RIGHTS, Right, UserRole
from broker.model.audit import AuditRecord, AuditSelection
from broker.store.audit import trail
from broker.store.db.database import Database
from broker.store.schema import tables

WHY = "the device is out of order"


@pytest.fixture
def pages(database: Database) -> Pages:
    return Pages(database)


def read(pages: Pages, row: int = 1) -> tuple[dict[str, Any], str]:
    """An order by REST, and its ETag."""
    answer = pages.call("GET", f"/api/v1/orders/{row}")
    return answer.json(), answer.headers["etag"]


def step(pages: Pages, row: int = 1) -> dict[str, Any]:
    found: dict[str, Any] = read(pages, row)[0]["procedures"][0]["steps"][0]
    return found


def trail_of(pages: Pages, action: str) -> list[AuditRecord]:
    page = pages.database.read(trail.page, AuditSelection(), None, 1000).result(20)
    return [row for row in page.rows if row.action == action]


def post(pages: Pages, path: str, *, token: str = TOKEN, **form: str) -> Any:
    return pages.call("POST", path, form=form, token=token, **SAME)


def seen(text: str) -> str:
    found = re.search(r'name="seen" value="(\w+)"', text)
    assert found is not None
    return found[1]


def fields(text: str) -> dict[str, str]:
    """What stands in the lines of a form."""
    return dict(re.findall(r'<input type="\w+" id="(\w+)"[^>]* value="([^"]*)"', text))


def test_a_step_is_moved_and_why_stands_in_the_trail(pages: Pages) -> None:
    pages.place(1)
    before, etag = read(pages)
    body = {"ScheduledProcedureStepID": step(pages)["ScheduledProcedureStepID"], "reason": WHY}
    moved = {"ScheduledStationAETitle": ["CT02"], "ScheduledProcedureStepStartTime": "14:45"}
    answer = pages.call("POST", "/api/v1/orders/1/move", json=body | moved, **{"If-Match": etag})
    assert (answer.status_code, answer.json()["outcome"]) == (200, "updated")
    after = step(pages)
    was = before["procedures"][0]["steps"][0]
    assert (after["ScheduledStationAETitle"], after["ScheduledProcedureStepStartTime"]) == (["CT02"], "144500")
    changed = {"ScheduledStationAETitle", "ScheduledProcedureStepStartTime", "events"}
    assert {k: v for k, v in after.items() if k not in changed} == {k: v for k, v in was.items() if k not in changed}
    assert {k: v for k, v in read(pages)[0].items() if k in ("patient", "request", "visit")} == {
        k: v for k, v in before.items() if k in ("patient", "request", "visit")
    }
    (record,) = trail_of(pages, "order.updated")
    assert record.detail["reason"] == WHY
    assert WHY in pages.get("/exams/1")


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({}, 422),  # nowhere
        ({"ScheduledStationAETitle": ["A STATION TITLE THAT IS TOO LONG"]}, 422),
        ({"ScheduledProcedureStepStartDate": "2030-02-30"}, 422),
        ({"ScheduledProcedureStepID": "NONE", "ScheduledStationAETitle": ["CT02"]}, 404),
        ({"reason": "x", "ScheduledStationAETitle": ["CT02"]}, 422),
    ],
)
def test_a_move_that_cannot_be_made_changes_nothing(pages: Pages, more: dict[str, Any], status: int) -> None:
    pages.place(1)
    before = read(pages)
    body = {"ScheduledProcedureStepID": step(pages)["ScheduledProcedureStepID"], "reason": WHY, **more}
    assert pages.call("POST", "/api/v1/orders/1/move", json=body).status_code == status
    assert pages.call("POST", "/api/v1/orders/7/move", json=body).status_code in (404, 422)
    assert read(pages) == before


def test_what_is_left_empty_stays_and_a_title_may_have_blanks(pages: Pages) -> None:
    pages.place(1)
    name, was = step(pages)["ScheduledProcedureStepID"], step(pages)
    form = {"seen": seen(pages.get("/exams/1")), "step": name, "reason": WHY}
    assert post(pages, "/exams/1/move", station="CT ROOM 1\\CT02", **form).status_code == 303
    assert step(pages)["ScheduledStationAETitle"] == ["CT ROOM 1", "CT02"]
    form["seen"] = seen(pages.get("/exams/1"))
    assert post(pages, "/exams/1/move", date="2030-03-14", **form).status_code == 303
    after = step(pages)
    assert after["ScheduledProcedureStepStartDate"] == "20300314"
    assert after["ScheduledProcedureStepStartTime"] == was["ScheduledProcedureStepStartTime"]
    assert after["ScheduledStationAETitle"] == ["CT ROOM 1", "CT02"]


def test_what_has_changed_meanwhile_is_told_and_kept(pages: Pages) -> None:
    pages.place(1)
    _, etag = read(pages)
    old = seen(pages.get("/exams/1"))
    name = step(pages)["ScheduledProcedureStepID"]
    move = {"ScheduledProcedureStepID": name, "reason": WHY, "ScheduledStationAETitle": ["CT02"]}
    assert pages.call("POST", "/api/v1/orders/1/move", json=move, **{"If-Match": etag}).status_code == 200
    assert pages.call("POST", "/api/v1/orders/1/cancel", json={"reason": WHY}, **{"If-Match": etag}).status_code == 412
    for path in ("/exams/1/move", "/exams/1/cancel", "/exams/1/edit"):
        answer = post(pages, path, seen=old, reason=WHY, step=name, station="CT03", family="Other")
        assert answer.status_code == 409, path
        assert "has changed meanwhile" in answer.text
    assert step(pages)["ScheduledStationAETitle"] == ["CT02"]


def test_an_exam_is_called_off_and_opened_again(pages: Pages) -> None:
    pages.place(1)
    text = pages.get("/exams/1")
    assert 'id="calloff-open"' in text
    assert 'id="reopen-open"' not in text
    assert post(pages, "/exams/1/cancel", seen=seen(text), reason="x").status_code == 422
    answer = post(pages, "/exams/1/cancel", seen=seen(text), reason=WHY)
    assert (answer.status_code, answer.headers["location"]) == (303, "/exams/1")
    assert step(pages)["ScheduledProcedureStepStatus"] == "CANCELED"
    assert trail_of(pages, "order.canceled")[0].detail["reason"] == WHY
    text, name = pages.get("/exams/1"), step(pages)["ScheduledProcedureStepID"]
    assert 'id="calloff-open"' not in text
    assert 'id="reopen-open"' in text
    assert post(pages, "/exams/1/move", seen=seen(text), step=name, station="CT02", reason=WHY).status_code == 409
    assert post(pages, "/exams/1/reopen", step=name, reason=WHY).status_code == 303
    assert step(pages)["ScheduledProcedureStepStatus"] == "SCHEDULED"
    assert post(pages, "/exams/1/reopen", step=name, reason=WHY).status_code == 409  # it has not ended


def test_an_edit_changes_what_was_typed_and_nothing_else(pages: Pages) -> None:
    given = order(1)
    given["patient"] |= {"PatientName": "Wałęsa^Lech^^Dr=山田^太郎", "OtherPatientNames": ["L^W"]}
    given["visit"] = {"ReferringPhysicianName": "House^Gregory^^Dr^MD"}
    assert pages.call("POST", "/api/v1/orders", json=given).status_code == 201
    before, _ = read(pages)
    text = pages.get("/exams/1/edit")
    typed = fields(text)
    typed |= {"seen": seen(text), "reason": WHY, "family": "Walesa", "sex": "M", "priority": "STAT"}
    answer = post(pages, "/exams/1/edit", **typed)
    assert answer.status_code == 303, answer.text
    after, _ = read(pages)
    assert after["patient"] == before["patient"] | {"PatientName": "Walesa^Lech^^Dr=山田^太郎", "PatientSex": "M"}
    assert after["visit"] == before["visit"]
    assert after["request"] == before["request"]
    assert after["procedures"][0]["RequestedProcedurePriority"] == "STAT"
    assert trail_of(pages, "order.updated")[0].detail["reason"] == WHY


@pytest.mark.parametrize(
    ("wrong", "field"),
    [({"family": "", "given": ""}, "family"), ({"born": "2030-02-31"}, "born"), ({"weight": "x"}, "weight")],
)
def test_a_slip_in_an_edit_stands_beside_its_field(pages: Pages, wrong: dict[str, str], field: str) -> None:
    pages.place(1)
    before, text = read(pages), pages.get("/exams/1/edit")
    typed = fields(text)
    answer = post(pages, "/exams/1/edit", **(typed | {"seen": seen(text), "reason": WHY} | wrong))
    assert answer.status_code == 422
    assert f'id="{field}-wrong"' in answer.text
    assert read(pages) == before


def test_a_new_exam_is_placed_by_its_form(pages: Pages) -> None:
    assert "Save" in pages.get("/exams/new")
    lacking = post(pages, "/exams/new", sex="F")
    assert lacking.status_code == 422
    assert all(f'id="{name}-wrong"' in lacking.text for name in ("family", "patient_id", "procedure", "modality"))
    answer = post(
        pages, "/exams/new", family="Example", given="Anna", patient_id="4711", issuer="HOSPITAL", born="1980-05-17",
        sex="F", procedure="CT thorax", modality="CT", station="CT01", date="2030-03-12", time="10:30",
        referring="House, Gregory",
    )  # fmt: skip
    assert answer.status_code == 303, answer.text
    document, _ = read(pages)
    assert document["patient"]["PatientName"] == "Example^Anna"
    assert document["patient"]["PatientBirthDate"] == "19800517"
    assert document["visit"]["ReferringPhysicianName"] == "House^Gregory"
    assert document["request"]["AccessionNumber"]
    assert step(pages)["ScheduledStationAETitle"] == ["CT01"]


def test_an_emergency_is_one_form(pages: Pages) -> None:
    assert post(pages, "/exams/emergency", modality="CT", procedure="").status_code == 422
    assert post(pages, "/exams/emergency", modality="XXL", procedure="CT polytrauma").status_code == 422
    known = {"modality": "CT", "procedure": "CT polytrauma", "station": "CT01", "age": "40", "sex": "M"}
    answer = post(pages, "/exams/emergency", **known)
    assert answer.status_code == 303, answer.text
    document, _ = read(pages)
    assert document["patient"]["PatientName"].startswith("UNKNOWN^EMERGENCY ")
    assert document["patient"]["PatientAge"] == "040Y"
    assert document["procedures"][0]["RequestedProcedurePriority"] == "STAT"


def emergency_and_registered(pages: Pages) -> tuple[int, int]:
    """The rows of a registered patient and of an emergency one, each with an exam."""
    pages.place(1)
    assert post(pages, "/exams/emergency", modality="CT", procedure="CT polytrauma", station="CT01").status_code == 303
    table = tables.patient.c
    found = pages.database.read(lambda c: c.execute(select(table.id).order_by(table.id)).scalars().all()).result()
    registered, emergency = found
    return registered, emergency


def test_two_patients_are_compared_and_become_one(pages: Pages) -> None:
    registered, emergency = emergency_and_registered(pages)
    temporary = read(pages, 2)[0]["patient"]["PatientID"]
    found = post(pages, "/exams/2/merge", typed="QZPAT1")
    path = f"/patients/{registered}/beside/{emergency}"
    assert path in found.text
    assert f"/patients/{emergency}/beside/{registered}" not in found.text
    text = pages.get(path)
    assert any("differs" in row for row in rows(text))
    assert post(pages, path, seen=seen(text), reason="").status_code == 422
    answer = post(pages, path, seen=seen(text), reason="the patient was registered")
    assert (answer.status_code, answer.headers["location"]) == (303, f"/exams?patient={registered}")
    assert read(pages, 2)[0]["patient"] == read(pages, 1)[0]["patient"]
    assert read(pages, 1)[0]["patient"]["PatientID"] == "QZPAT1"
    assert len(rows(pages.get(f"/exams?patient={registered}"))) == 2
    (record,) = trail_of(pages, "patient.merged")
    assert record.detail["reason"] == "the patient was registered"
    assert temporary in pages.get("/exams/2")  # it leads to the patient from now on
    assert pages.call("GET", path).status_code == 404
    assert any(row.action == "patient.compared" for row in views(pages))


def views(pages: Pages) -> list[AuditRecord]:
    pages.app.state.audit.flush()
    return list(pages.database.read(trail.page, AuditSelection(), None, 1000).result(20).rows)


def test_a_merge_by_rest_is_based_on_what_was_seen(pages: Pages) -> None:
    registered, emergency = emergency_and_registered(pages)
    beside = pages.call("GET", f"/api/v1/patients/{registered}/beside/{emergency}")
    assert [one["PatientID"] for one in beside.json()["stays"]["identifiers"]] == ["QZPAT1"]
    assert beside.json()["retired"]["orders"] == [2]
    body = {"retired": emergency, "reason": WHY}
    changed = read(pages, 2)
    document, etag = changed
    document["patient"]["PatientSex"] = "M"
    assert pages.call("PUT", "/api/v1/orders/2", json=document, **{"If-Match": etag}).status_code == 200
    path, old = f"/api/v1/patients/{registered}/merge", {"If-Match": beside.headers["etag"]}
    assert pages.call("POST", path, json=body, **old).status_code == 412
    assert pages.call("POST", path, json=body | {"retired": registered}).status_code == 409
    assert pages.call("POST", path, json=body | {"retired": 4711}).status_code == 404
    answer = pages.call("POST", path, json=body)
    assert (answer.status_code, answer.json()) == (200, {"patient": registered, "warnings": []})


def test_patients_of_different_authorities_do_not_become_one(pages: Pages) -> None:
    pages.place(1)
    pages.place(2, IssuerOfPatientID="ELSEWHERE")
    text = pages.get("/patients/1/beside/2")
    answer = post(pages, "/patients/1/beside/2", seen=seen(text), reason=WHY)
    assert answer.status_code == 409
    assert "different authorities" in answer.text
    assert len(rows(pages.get("/exams"))) == 2


def test_a_sheet_and_a_day_have_bar_codes(pages: Pages) -> None:
    pages.place(1)
    pages.place(2, PatientID="ÄÖ7")
    assert pages.get("/exams/1/sheet").count('<svg class="barcode"') == 2
    assert pages.get("/exams/2/sheet").count('<svg class="barcode"') == 1  # Code 128 has no Ä
    day = step(pages)["ScheduledProcedureStepStartDate"]
    when = f"{day[:4]}-{day[4:6]}-{day[6:]}"
    assert len(rows(pages.get(f"/exams/day?station=CT01&day={when}"))) == 2
    assert rows(pages.get(f"/exams/day?station=CT77&day={when}")) == []
    assert rows(pages.get("/exams/day")) == []
    assert pages.call("GET", "/exams/9/sheet").status_code == 404


@pytest.mark.parametrize("role", [role for role in UserRole if Right.WORK not in RIGHTS[role]])
def test_who_may_not_work_changes_nothing(pages: Pages, role: UserRole) -> None:
    pages.place(1)
    pages.place(2)
    before, token = read(pages), pages.database.execute(api_tokens.make, role.value, role, 4e9, "test", 3.9e9).text
    name = step(pages)["ScheduledProcedureStepID"]
    form = {"seen": before[0]["revision"], "step": name, "station": "CT02", "reason": WHY, "typed": "QZ"}
    for path in ("1/move", "1/cancel", "1/reopen", "1/edit", "1/merge", "new", "emergency"):
        assert post(pages, f"/exams/{path}", token=token, **form).status_code == 403, path
    assert post(pages, "/patients/1/beside/2", token=token, **form).status_code == 403
    body = {"reason": WHY}
    for path, more in (("orders/1/move", {"ScheduledProcedureStepID": name}), ("orders/1/cancel", {}),
                       ("patients/1/merge", {"retired": 2})):  # fmt: skip
        assert pages.call("POST", f"/api/v1/{path}", json=body | more, token=token).status_code == 403, path
    if Right.PATIENTS in RIGHTS[role]:
        text = pages.call("GET", "/exams/1", token=token).text
        assert "calloff" not in text
    assert read(pages) == before


def test_what_the_ris_says_later_is_in_force_again(pages: Pages, database: Database) -> None:
    take(database, hl7_order(1).encode())
    body = {"ScheduledProcedureStepID": "SPS1", "ScheduledStationAETitle": ["CT02"], "reason": WHY}
    assert pages.call("POST", "/api/v1/orders/1/move", json=body).status_code == 200
    assert step(pages)["ScheduledStationAETitle"] == ["CT02"]
    take(database, hl7_order(1, control="XO", station="CT03").encode())
    assert step(pages)["ScheduledStationAETitle"] == ["CT03"]
    text = pages.get("/exams/1")
    assert WHY in text
    assert "changed by hand; the message changed: ScheduledStationAETitle" in html.unescape(text)


def test_rest_takes_the_reason_of_an_edit_and_of_a_deletion_as_the_page_does(pages: Pages) -> None:
    pages.place(1)
    document, etag = read(pages)
    why, path = "the name was misspelt", "/api/v1/orders/1"
    document["patient"]["PatientName"] = "Changed^Anna"
    for wrong in ("x", "   ", 7, None, "y" * 501):
        answer = pages.call("PUT", path, json=document | {"reason": wrong}, **{"If-Match": etag})
        assert (answer.status_code, answer.json()["errors"][0]["path"]) == (422, "reason"), wrong
    assert pages.call("PUT", path, json=document | {"reason": why}, **{"If-Match": etag}).status_code == 200
    assert {row.detail["reason"] for row in trail_of(pages, "order.updated")} == {why}
    assert pages.call("DELETE", path, json={"reason": "x"}).status_code == 422
    assert pages.call("DELETE", path, json={"reason": WHY}).status_code == 200
    assert trail_of(pages, "order.canceled")[0].detail["reason"] == WHY
    text = pages.get("/exams/1")
    assert why in text
    assert WHY in text
