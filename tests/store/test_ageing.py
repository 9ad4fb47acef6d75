"""Orders, performed steps, visits and patients that are over go with all that is theirs; what waits stays.

Made by the product's own doors, on both databases. Each order is followed by a later one: the last rows stay.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, insert, select, text
from support.mpps.performed import item
from support.mpps.recorded import begun
from support.orders.intake import take
from support.service.site import order

from broker.orders.term_walk import make_findable
from broker.store.ageing import exams, persons
from broker.store.audit import trail
from broker.store.db.database import Database
from broker.store.db.pace import Pace
from broker.store.images.instances import InstanceState, NewInstance
from broker.store.schema import tables
from broker.store.thinning import thin

DAY = timedelta(days=1)
THEN = datetime(2030, 3, 12, 9, tzinfo=UTC)  # when the order came; its day is the same
LATER = THEN + 100 * DAY  # when its follower came
NOW = THEN + 50 * DAY  # what is older than this is old
RULES = (exams.performed(UTC), exams.orders(UTC), persons.VISITS, persons.PATIENTS)


def run(database: Database, change: Callable[[Connection], Any]) -> None:
    def unit(connection: Connection) -> None:
        change(connection)

    database.execute(unit)


def age(database: Database) -> list[int]:
    """How many performed steps, orders, visits and patients went."""
    return [thin(Pace(database), rule, NOW.timestamp()) for rule in RULES]


def left(database: Database, column: Any) -> list[Any]:
    return database.read(lambda c: list(c.execute(select(column).order_by(column)).scalars())).result(10)


def statement(database: Database, sql: str, **values: Any) -> None:
    run(database, lambda connection: connection.execute(text(sql), values))


@pytest.fixture
def old(database: Database) -> Database:
    """An order that is done, with its performed step, and the last order of each table, with its performed step."""
    for number, at in ((1, THEN), (2, LATER)):
        raw = order(number, start=at.strftime("%Y%m%d%H%M%S")).encode()
        assert take(database, raw, at=at).code == "AA"
        assert begun(database, f"1.2.{number}", item(number), patient=f"QZPAT{number}") == 0
        values = {"at": at.timestamp(), "row": number}
        statement(database, "UPDATE mpps SET created_at = :at, updated_at = :at WHERE id = :row", **values)
        statement(database, "UPDATE scheduled_step SET status_at = :at WHERE id = :row", **values)
    statement(database, "UPDATE scheduled_step SET status = 'COMPLETED' WHERE id = 1")
    statement(database, "UPDATE mpps SET status = 'COMPLETED', compared_at = 1 WHERE id = 1")
    assert left(database, tables.mpps_link.c.step) == [1, 2]
    assert make_findable(Pace(database)) == 2
    return database


def test_all_that_is_over_goes_and_nothing_else(old: Database) -> None:
    statement(old, "INSERT INTO kept_back (sop_instance_uid, mpps) VALUES ('1.9.1', 1), ('1.9.2', 2)")
    alias = "INSERT INTO patient_alias (patient_id, issuer, patient, retired_at) VALUES (:was, 'HOSPITAL', :row, 0)"
    statement(old, alias, was="OLD1", row=1)
    statement(old, alias, was="OLD2", row=2)
    statement(old, "INSERT INTO kept_apart (universal_id, patient_id) VALUES ('2.9', 'QZPAT1'), ('2.9', 'QZPAT2')")
    heard = "INSERT INTO heard (kind, subject, sender, event_at) VALUES (:kind, :row, 'ADT', '2030')"
    for kind, row in (("patient", 1), ("patient", 2), ("visit", 1), ("visit", 2)):
        statement(old, heard, kind=kind, row=row)
    visit = "INSERT INTO visit VALUES (:row, :row, 'V', '', '', '', 'closed', :at, :at, :at)"
    for row, at in ((1, THEN), (2, LATER)):
        statement(old, visit, row=row, at=at.timestamp())
    statement(old, "INSERT INTO order_link (request, kind, other) VALUES (2, 'parent', 2)")
    assert age(old) == [1, 1, 1, 1]
    of_each = (
        tables.service_request.c.id, tables.requested_procedure.c.request, tables.scheduled_step.c.id,
        tables.step_station.c.step, tables.mpps.c.id, tables.mpps_link.c.mpps, tables.mpps_message.c.mpps,
        tables.kept_back.c.mpps, tables.visit.c.id, tables.patient.c.id, tables.patient_alias.c.patient,
        tables.order_link.c.request,
    )  # fmt: skip
    assert [left(old, column) for column in of_each] == [[2]] * len(of_each)
    assert set(left(old, tables.step_event.c.step)) == {2}
    assert set(left(old, tables.patient_term.c.patient)) == {2}
    assert left(old, tables.heard.c.subject) == [2, 2]
    assert left(old, tables.kept_apart.c.patient_id) == ["QZPAT2"]
    gone = [action for action in left(old, tables.audit.c.action) if action.endswith(".thinned")]
    assert gone == ["mpps.thinned", "order.thinned", "patient.thinned", "visit.thinned"]
    assert age(old) == [0, 0, 0, 0]


def test_the_audit_trail_is_asked_for_a_patient_who_is_gone_until_its_rows_are_old(old: Database) -> None:
    alias = "INSERT INTO patient_alias (patient_id, issuer, patient, retired_at) VALUES ('OLD1', 'HOSPITAL', 1, 0)"
    statement(old, alias)
    age(old)
    for number in ("QZPAT1", "OLD1"):
        assert old.read(trail.patients, number).result(10) == (1,)
        assert old.read(trail.patients, number, "ELSEWHERE").result(10) == ()
    after = (left(old, tables.former_patient.c.gone_at)[-1] + 1, left(old, tables.former_patient.c.gone_at)[0])
    assert [thin(Pace(old), persons.FORMER_PATIENTS, at) for at in reversed(after)] == [0, 2]
    assert old.read(trail.patients, "QZPAT1").result(10) == ()


def test_a_patient_who_comes_again_is_found_with_all_rows_of_before(old: Database) -> None:
    age(old)
    assert take(old, order(3, patient="QZPAT1").replace("QZPAT13", "QZPAT1").encode(), at=LATER).code == "AA"
    assert sorted(old.read(trail.patients, "QZPAT1").result(10)) == [1, 3]


JOB = (
    "INSERT INTO job (kind, lane, subject, detail, state, priority, due_at, attempts, failures, lease_owner,"
    " lease_until, fence, last_error, created_at) VALUES (:kind, 'x', :subject, '{}', :state, 5, 0, 1, 0, '', 0, 0,"
    " '', 0)"
)
RECENT = (NOW + DAY).timestamp()
STAYS = {  # what keeps an order: statements, and how much goes at the first run
    "a step that is open and of a day to come": "UPDATE scheduled_step SET status = 'SCHEDULED', start_at = '20300601'",
    "a step that changed since": f"UPDATE scheduled_step SET status_at = {RECENT} WHERE id = 1",
    "a word of the RIS since": f"UPDATE service_request SET updated_at = {RECENT} WHERE id = 1",
    "an appointment": "INSERT INTO appointment VALUES (1, 0, '', '', 1, 'booked', '', '', '', '', '', '', '', '', '[]',"
    " '[]', 0)",
    "a request with a key": "INSERT INTO idempotency (actor, key, digest, request, action, answer, at)"
    " SELECT 'a', 'k', digest, 1, 'x', '', 0 FROM message LIMIT 1",
    "an item of another worklist": "INSERT INTO source_item SELECT 'w', 'k', 1, '', '', digest, 'theirs', 0, 0"
    " FROM message LIMIT 1",
    "an order that it replaces and that is not over": "INSERT INTO order_link VALUES (1, 'replaces', 2)",
    "an order that replaces it and is not over": "INSERT INTO order_link VALUES (2, 'replaces', 1)",
}


@pytest.mark.parametrize("why", STAYS)
def test_an_order_stays_with(old: Database, why: str) -> None:
    statement(old, STAYS[why])
    assert age(old)[1] == 0
    assert left(old, tables.service_request.c.id) == left(old, tables.patient.c.id) == [1, 2]


@pytest.mark.parametrize("status", ["IN PROGRESS", "not compared", "attention"])
def test_an_order_and_its_performed_step_stay_while_that_waits(old: Database, status: str) -> None:
    change = {
        "IN PROGRESS": "status = 'IN PROGRESS'", "not compared": "compared_at = NULL", "attention": "attention = 'x'",
    }  # fmt: skip
    statement(old, f"UPDATE mpps SET {change[status]} WHERE id = 1")
    assert age(old) == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("kind", "table", "state", "goes"),
    [
        ("feedback", "step_event", "held", [1, 0]),
        ("feedback", "step_event", "ready", [1, 0]),
        ("images", "requested_procedure", "held", [1, 0]),
        ("images", "requested_procedure", "done", [1, 1]),
        ("mpps", "mpps_message", "held", [0, 0]),
        ("mpps-event", "mpps_message", "ready", [0, 0]),
        ("mpps-change-2", "mpps", "held", [0, 0]),
        ("deliver", "mpps", "held", [1, 1]),  # of another table, with the same number
    ],
)
def test_what_is_still_to_be_told_keeps_it(old: Database, kind: str, table: str, state: str, goes: list[int]) -> None:
    row = left(old, tables.METADATA.tables[table].c.id)[0]
    statement(old, JOB, kind=kind, subject=row, state=state)
    statement(old, JOB, kind="last", subject=999, state="done")
    assert age(old)[:2] == goes
    assert len(left(old, tables.job.c.id)) == (1 if (kind, state) == ("images", "done") else 2)


@pytest.mark.parametrize("state", InstanceState)
def test_an_object_that_is_not_purged_keeps_the_exam(old: Database, state: InstanceState) -> None:
    values: dict[str, Any] = dict.fromkeys(NewInstance.__slots__, "") | {"version": 1, "digest": b"", "data_offset": 0}
    values |= {"data_length": 1, "received_at": THEN.timestamp(), "rules_version": 1, "discarded_at": 0.0}
    values |= {"study_instance_uid": "2.999.7.1", "state": state.value}
    del values["content"]
    run(old, lambda connection: connection.execute(insert(tables.instance), values))
    assert age(old)[:2] == ([1, 1] if state is InstanceState.PURGED else [0, 0])


def test_an_order_that_nobody_ended_goes_once_its_day_is_long_past(old: Database) -> None:
    statement(old, "UPDATE scheduled_step SET status = 'SCHEDULED' WHERE id = 1")
    assert age(old) == [1, 1, 0, 1]


def test_a_performed_step_without_an_order_goes_by_itself(old: Database) -> None:
    statement(old, "UPDATE mpps_link SET step = NULL WHERE mpps = 1")
    statement(old, f"UPDATE scheduled_step SET status_at = {RECENT} WHERE id = 1")
    assert age(old)[:2] == [1, 0]


def test_a_performed_step_stays_while_another_step_of_its_order_is_not_over(old: Database) -> None:
    run(old, _add_sibling)
    assert age(old)[:2] == [0, 0]


def _add_sibling(connection: Connection) -> None:
    row = dict(connection.execute(select(tables.scheduled_step).where(tables.scheduled_step.c.id == 1)).one()._mapping)
    connection.execute(insert(tables.scheduled_step), {**row, "id": 3, "step_id": "S9", "status_at": RECENT})


def test_an_open_visit_stays_while_its_patient_has_an_order_and_a_patient_while_a_study_names_him(
    old: Database,
) -> None:
    statement(
        old,
        "INSERT INTO visit VALUES (1, 1, 'V', '', '', '', 'open', 0, 0, 0), (2, 2, 'V', '', '', '', 'open', 0, 0, 0)",
    )
    statement(old, "INSERT INTO study (id, study_instance_uid, first_at) VALUES (1, '1.5', 0)")
    statement(old, "INSERT INTO study_key VALUES (1, 'QZPAT1', '', '', '')")
    for rule in (persons.VISITS, persons.PATIENTS):
        assert thin(Pace(old), rule, NOW.timestamp()) == 0
    assert age(old) == [1, 1, 1, 0]
    statement(old, "DELETE FROM study_key")
    assert age(old) == [0, 0, 0, 1]


def test_what_comes_late_finds_no_order_as_for_one_that_was_never_here(old: Database) -> None:
    age(old)
    canceled = order(1, control="CA", status="CA").encode()
    unknown = order(7, control="CA", status="CA").encode()
    assert take(old, canceled, at=LATER).code == take(old, unknown, at=LATER).code
    for number in (1, 7):
        assert begun(old, f"1.3.{number}", item(number), patient=f"QZPAT{number}") == 0
    found = "SELECT linking, attention FROM mpps WHERE sop_instance_uid LIKE '1.3.%'"
    first, second = old.read(lambda connection: connection.execute(text(found)).all()).result(10)
    assert tuple(first) == tuple(second) == ("unscheduled", first[1])
    assert take(old, order(1, control_id="AGAIN").encode(), at=LATER).code == "AA"
    numbers = left(old, tables.service_request.c.id)
    assert numbers == [2, 3], "no number of an order is given twice"
