"""The pages of performed steps over HTTP: what waits, side by side with what is planned, and what a person decides."""

from __future__ import annotations

import pytest
from support.mpps.performed import item, unscheduled
from support.mpps.recorded import begun
from support.orders.intake import take
from support.service.site import order
from support.web.exam_pages import SAME, Pages, rows

from broker.accounts import api_tokens
from broker.accounts.roles import RIGHTS, Right, UserRole
from broker.store.db.database import Database
from broker.store.mpps import performed_steps

WHY = "a test of the device"


@pytest.fixture
def pages(database: Database) -> Pages:
    """Two orders of one patient, a step that was performed for the first one and one that nobody planned."""
    take(database, order(1).encode())
    take(database, order(2, patient="QZPAT", station="CT02").encode())
    assert begun(database, "2.999.5.1", item(1)) == 0
    assert begun(database, "2.999.5.2", unscheduled(), PatientID="QZPAT2", PatientName="Müller^Other") == 0
    return Pages(database)


def test_what_waits_is_found(pages: Pages) -> None:
    every = rows(pages.get("/performed"))
    assert len(every) == 2
    (waits,) = rows(pages.get("/performed?attention=waiting"))
    assert "no order is known" in waits
    assert len(rows(pages.get("/performed?status=in-progress"))) == 2
    assert rows(pages.get("/performed?status=completed")) == []
    assert len(rows(pages.get("/performed?linking=linked"))) == 1
    assert "2 found" in pages.get("/performed")


def test_both_sides_are_shown_and_what_differs_is_marked(pages: Pages) -> None:
    told = rows(pages.get("/performed/2"))
    (name,) = [row for row in told if row.startswith("Patient Mü")]
    assert name == "Patient Müller, Other Müller, Käthe differs"
    (born,) = [row for row in told if row.startswith("Birth date")]
    assert "differs" not in born
    assert 'href="/exams/1"' in pages.get("/performed/1")  # of its item
    assert pages.call("GET", "/performed/3").status_code == 404


def test_a_person_links_it(pages: Pages, database: Database) -> None:
    assert pages.call("POST", "/performed/2/link", form={"step": ""}, **SAME).status_code == 422
    assert pages.call("POST", "/performed/2/link", form={"step": "4711"}, **SAME).status_code == 409
    answer = pages.call("POST", "/performed/2/link", form={"step": "2"}, **SAME)
    assert (answer.status_code, answer.headers["location"]) == (303, "/performed/2")
    assert pages.call("POST", "/performed/2/link", form={"step": "2"}, **SAME).status_code == 409
    assert rows(pages.get("/performed?attention=waiting")) == []
    links = database.read(performed_steps.links, 2).result(20)
    assert [(link.step, link.reason) for link in links] == [(2, "person")]


def test_a_person_sets_it_aside_or_ends_it(pages: Pages) -> None:
    slip = pages.call("POST", "/performed/2/set-aside", form={"reason": "x"}, **SAME)
    assert slip.status_code == 422
    assert 'id="aside-reason-wrong"' in slip.text
    assert pages.call("POST", "/performed/2/set-aside", form={"reason": WHY}, **SAME).status_code == 303
    assert rows(pages.get("/performed?attention=waiting")) == []
    form = {"reason": WHY, "status": "DISCONTINUED"}
    assert pages.call("POST", "/performed/1/end", form=form, **SAME).status_code == 303
    assert pages.call("POST", "/performed/1/end", form=form, **SAME).status_code == 409
    assert "broken off" in pages.get("/performed/1")


@pytest.mark.parametrize("role", [role for role in UserRole if Right.WORK not in RIGHTS[role]])
def test_who_may_not_work_decides_nothing(pages: Pages, role: UserRole) -> None:
    token = pages.database.execute(api_tokens.make, role.value, role, 4e9, "test", 3.9e9).text
    for path in ("link", "set-aside", "end"):
        form = {"reason": WHY, "step": "2", "status": "COMPLETED"}
        assert pages.call("POST", f"/performed/2/{path}", form=form, token=token, **SAME).status_code == 403
    seen = pages.call("GET", "/performed/2", token=token)
    assert seen.status_code == (200 if Right.PATIENTS in RIGHTS[role] else 403)
    assert "aside-open" not in seen.text
