"""Every view of a patient is one row of the audit trail: a page that comes again after a mistake, two side by side."""

from __future__ import annotations

import pytest
from support.mpps.performed import item, unscheduled
from support.mpps.recorded import begun
from support.orders.intake import take
from support.service.site import order
from support.web.exam_pages import SAME, Pages

from broker.model.audit import AuditRecord, AuditSelection
from broker.store.audit import trail
from broker.store.db.database import Database

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
WHY = "a test of the trail"


@pytest.fixture
def pages(database: Database) -> Pages:
    """Two patients with an order each; a performed step of the first one, and one that nobody planned."""
    for number in (1, 2):
        take(database, order(number).encode())
    assert begun(database, "2.999.5.1", item(1)) == 0
    assert begun(database, "2.999.5.2", unscheduled(), PatientID="QZPAT2") == 0
    return Pages(database)


def trail_of(pages: Pages) -> list[AuditRecord]:
    """All rows, the newest first."""
    pages.app.state.audit.flush()
    return list(pages.database.read(trail.page, AuditSelection(), None, 1000).result(20).rows)


def new_rows(pages: Pages, method: str, path: str, status: int, **form: str) -> list[AuditRecord]:
    """The rows that a request leaves, which is answered by a status."""
    before = {row.row for row in trail_of(pages)}
    answer = pages.call(method, path, form=form or None, **SAME)
    assert answer.status_code == status, (path, answer.status_code)
    return [row for row in trail_of(pages) if row.row not in before]


@pytest.mark.parametrize(
    ("path", "form", "status", "patients"),
    [
        ("/exams/1/move", {"reason": "x"}, 422, [1]),
        ("/exams/1/move", {"reason": WHY, "step": "SPS1", "seen": "old", "station": "CT02"}, 409, [1]),
        ("/exams/1/cancel", {"reason": ""}, 422, [1]),
        ("/exams/1/cancel", {"reason": WHY, "seen": "old"}, 409, [1]),
        ("/exams/1/reopen", {"reason": WHY, "step": "SPS1"}, 409, [1]),
        ("/exams/1/edit", {"reason": ""}, 422, [1]),
        ("/exams/1/edit", {"reason": WHY, "seen": "old", "family": "X"}, 409, [1]),
        ("/patients/1/beside/2", {"reason": ""}, 422, [1, 2]),
        ("/patients/1/beside/2", {"reason": WHY, "seen": "old"}, 409, [1, 2]),
        ("/performed/1/link", {"step": ""}, 422, [1]),
        ("/performed/1/link", {"step": "4711"}, 409, [1]),
        ("/performed/1/set-aside", {"reason": ""}, 422, [1]),
        ("/messages/deal", {"reason": ""}, 422, [None]),  # a list
        ("/exams/4711/move", {"reason": "x"}, 404, []),  # a refusal that shows nobody
        ("/patients/1/beside/4711", {"reason": ""}, 404, []),
        ("/performed/4711/link", {"step": ""}, 404, []),
    ],
)
def test_a_page_that_comes_again_is_a_view(
    pages: Pages, path: str, form: dict[str, str], status: int, patients: list[int | None]
) -> None:
    rows = new_rows(pages, "POST", path, status, **form)
    assert sorted((row.patient for row in rows), key=str) == patients
    assert {row.detail["route"].split()[0] for row in rows} <= {"POST"}


def test_a_change_that_was_done_is_its_own_row_and_the_page_it_leads_to_another(pages: Pages) -> None:
    seen = pages.call("GET", "/api/v1/orders/2").headers["etag"].strip('"')
    done = new_rows(pages, "POST", "/exams/2/cancel", 303, reason=WHY, seen=seen)
    assert [row.action for row in done] == ["order.canceled"]
    assert [(row.action, row.patient) for row in new_rows(pages, "GET", "/exams/2", 200)] == [("order.viewed", 2)]


@pytest.mark.parametrize("prefix", ["", "/api/v1"])
def test_two_side_by_side_are_filed_under_both(pages: Pages, prefix: str) -> None:
    rows = new_rows(pages, "GET", f"{prefix}/patients/1/beside/2", 200)
    assert {(row.action, row.patient) for row in rows} == {("patient.compared", 1), ("patient.compared", 2)}
    assert len(rows) == 2
    for patient in (1, 2):  # whoever asks who saw one of them finds it
        page = pages.database.read(trail.page, AuditSelection(patients=(patient,)), None, 100).result(20)
        assert [row.patient for row in page.rows if row.action == "patient.compared"] == [patient]


@pytest.mark.parametrize("prefix", ["", "/api/v1"])
def test_a_performed_step_is_filed_under_the_patient_of_its_order(pages: Pages, prefix: str) -> None:
    path = f"{prefix}/{'mpps' if prefix else 'performed'}/1"
    assert [(row.action, row.patient) for row in new_rows(pages, "GET", path, 200)] == [("mpps.viewed", 1)]
