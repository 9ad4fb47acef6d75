"""What is old and needed by nobody is deleted; what waits, is held or is still asked for stays."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Connection, insert, select

from broker.model.lane import JobKind, JobState
from broker.model.order import StepStatus
from broker.store import thinning
from broker.store.db.database import Database
from broker.store.db.pace import Pace
from broker.store.images.gatherings import GatheringPhase
from broker.store.images.instances import InstanceState, NewInstance
from broker.store.schema import tables
from broker.store.studies import registering
from broker.store.studies.registering import StudyArrival
from broker.store.thinning import AUDIT, IMPORT_NOTES, JOBS, KNOCKS, OBJECTS, STEP_EVENTS, ThinningRule, thin

OLD, LIMIT, YOUNG = 1000.0, 2000.0, 3000.0
PURGED, ROUTED = 1, 2  # rows of objects
DELIVER = JobKind.DELIVER.value
STUDY = "2.25.81"


def add(database: Database, table: Any, *rows: dict[str, Any]) -> None:
    """Insert rows."""

    def unit(connection: Connection) -> None:
        for row in rows:
            connection.execute(insert(table).values(**row))

    database.execute(unit)


def left(database: Database, column: Any) -> list[Any]:
    """A column of what is left, in order."""
    return database.read(lambda connection: list(connection.execute(select(column).order_by(column)).scalars())).result(
        10
    )


def thinned(database: Database, rule: ThinningRule) -> int:
    """How many rows go."""
    return thin(Pace(database), rule, LIMIT)


def job(
    subject: int, *, state: JobState = JobState.DONE, kind: str = DELIVER, at: float = OLD, ended: float = OLD
) -> Any:
    """A row of the queue."""
    values = {"kind": kind, "lane": "deliver:pacs", "subject": subject, "group_key": None, "detail": "{}"}
    values |= {"state": state.value, "priority": 5, "due_at": ended, "attempts": 1, "failures": 0, "lease_owner": ""}
    done_at = ended if state == JobState.DONE else None
    return {**values, "lease_until": 0.0, "fence": 0, "last_error": "", "created_at": at, "done_at": done_at}


def add_objects(database: Database, *states: InstanceState, at: float = OLD) -> None:
    """Insert objects of a study in these states."""
    values: dict[str, Any] = dict.fromkeys(NewInstance.__slots__, "") | {"version": 1, "digest": b"", "data_offset": 0}
    values |= {"data_length": 1, "received_at": at, "rules_version": 1, "discarded_at": 0.0}
    del values["content"]
    values["study_instance_uid"] = STUDY
    for row, state in enumerate(states, 1):
        add(database, tables.instance, {**values, "id": row, "sop_instance_uid": str(row), "state": state.value})


@pytest.fixture
def objects(database: Database) -> None:
    """One that is purged, one that is not."""
    add_objects(database, InstanceState.PURGED, InstanceState.ROUTED)


LAST = job(999, kind="mpps", at=YOUNG, ended=YOUNG)  # the last row stays always


@pytest.mark.parametrize(
    ("row", "goes"),
    [
        (job(PURGED), True),
        (job(PURGED, ended=YOUNG), False),
        (job(ROUTED), False),
        (job(3, kind="mpps"), True),
        (job(3, kind="mpps-change-2"), True),
        (job(3, kind="feedback"), True),
        (job(3, kind="images"), False),
        (job(3, kind="feedback", state=JobState.DISCARDED), True),
        (job(3, kind="feedback", state=JobState.DISCARDED, ended=YOUNG), False),
        *((job(PURGED, state=state), False) for state in (JobState.HELD, JobState.READY, JobState.LEASED)),
    ],
    ids=lambda value: f"{value['kind']} {value['state']} {value['subject']}" if isinstance(value, dict) else "",
)
@pytest.mark.usefixtures("objects")
def test_jobs(database: Database, row: dict[str, Any], goes: bool) -> None:
    add(database, tables.job, row, LAST)
    assert thinned(database, JOBS) == int(goes)
    assert len(left(database, tables.job.c.id)) == 2 - goes


@pytest.mark.usefixtures("objects")
def test_no_number_of_a_job_is_given_twice(database: Database) -> None:
    add(database, tables.job, job(1, kind="mpps"), job(2, kind="mpps"))
    assert thinned(database, JOBS) == 1
    assert left(database, tables.job.c.subject) == [2]


@pytest.mark.usefixtures("objects")
def test_a_walk_over_many_pages_passes_what_stays(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thinning, "PAGE", 3)
    stays = [10, 11, 12, 13]  # more than a page
    rows = [job(n, kind="mpps", state=JobState.HELD if n in stays else JobState.DONE) for n in range(1, 21)]
    add(database, tables.job, *rows, LAST)
    assert thinned(database, JOBS) == 16
    assert left(database, tables.job.c.subject) == [*stays, 999]
    assert thinned(database, JOBS) == 0


def test_the_walk_ends_where_nothing_is_old(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thinning, "PAGE", 2)
    ages = (OLD, YOUNG, YOUNG, YOUNG, OLD)
    rows = [{"actor": "a", "action": "b", "object_kind": "c", "object_id": 1, "detail": "{}", "at": at} for at in ages]
    add(database, tables.audit, *rows)
    assert thinned(database, AUDIT) == 1
    assert left(database, tables.audit.c.id)[:4] == [2, 3, 4, 5]


def test_that_the_audit_trail_was_thinned_is_part_of_it(database: Database) -> None:
    row = {"actor": "a", "action": "b", "object_kind": "c", "object_id": 1, "detail": "{}"}
    add(database, tables.audit, {**row, "at": OLD}, {**row, "at": OLD}, {**row, "at": YOUNG})
    assert thinned(database, AUDIT) == 2
    assert left(database, tables.audit.c.action) == ["audit.thinned", "b"]
    assert '"rows":2' in left(database, tables.audit.c.detail)[0]
    assert thinned(database, AUDIT) == 0
    assert len(left(database, tables.audit.c.id)) == 2


def add_step(database: Database, status: str, status_at: float = OLD) -> None:
    """Insert the one step of a study, with its order."""
    patient = {"id": 1, "patient_id": "P", "issuer": "", "attributes": "{}", "updated_at": 0}
    numbers = dict.fromkeys(("placer_number", "placer_issuer", "filler_number", "filler_issuer", "accession"), "")
    request = {"id": 1, "patient": 1, **numbers, "attributes": "{}", "created_at": 0, "updated_at": 0}
    procedure = {"id": 1, "request": 1, "requested_procedure_id": "", "study_instance_uid": STUDY}
    procedure |= {"attributes": "{}"}
    keys = ("step_id", "start_at", "modality", "patient_id", "patient_name", "accession", "requested_procedure_id")
    step = dict.fromkeys(keys, "") | {"id": 1, "procedure": 1, "position": 1, "revision": 1}
    step |= {"study_instance_uid": STUDY}
    step |= {"status": status, "status_at": status_at, "attributes": "{}", "answer": "{}", "updated_at": 0}
    add(database, tables.patient, patient)
    add(database, tables.service_request, request)
    add(database, tables.requested_procedure, procedure)
    add(database, tables.scheduled_step, step)


@pytest.mark.parametrize(
    ("status", "status_at", "at", "goes"),
    [
        ("COMPLETED", OLD, OLD, True),
        ("COMPLETED", OLD, YOUNG, False),
        ("COMPLETED", YOUNG, OLD, False),
        ("CANCELED", OLD, OLD, True),
        ("STARTED", OLD, OLD, False),
        ("SCHEDULED", OLD, OLD, False),
    ],
)
def test_events_of_steps_that_ended_long_ago(
    database: Database, status: str, status_at: float, at: float, goes: bool
) -> None:
    add_step(database, status, status_at)
    event = {"step": 1, "before": "", "after": "SCHEDULED", "cause": "order:NW", "actor": "a"}
    add(database, tables.step_event, {**event, "at": at}, {**event, "at": YOUNG})
    assert thinned(database, STEP_EVENTS) == int(goes)
    assert left(database, tables.step_event.c.id) == ([2] if goes else [1, 2])


def test_purged_objects_go_and_all_others_stay(database: Database) -> None:
    """The last row stays: its number is not given again."""
    add_objects(database, *InstanceState, InstanceState.PURGED, InstanceState.PURGED)
    purged = list(InstanceState).index(InstanceState.PURGED) + 1
    assert thinned(database, OBJECTS) == 2
    count = len(InstanceState)
    assert left(database, tables.instance.c.id) == [*(n for n in range(1, count + 1) if n != purged), count + 2]
    assert left(database, tables.audit.c.action) == ["objects.thinned"]
    assert thinned(database, OBJECTS) == 0


def test_young_objects_stay(database: Database) -> None:
    add_objects(database, InstanceState.PURGED, InstanceState.ROUTED, at=YOUNG)
    assert thinned(database, OBJECTS) == 0


@pytest.mark.parametrize("state", JobState)
@pytest.mark.usefixtures("objects")
def test_an_object_stays_while_it_has_a_delivery(database: Database, state: JobState) -> None:
    add(database, tables.job, job(PURGED, state=state))
    assert thinned(database, OBJECTS) == 0


@pytest.mark.usefixtures("objects")
def test_a_job_of_another_kind_with_the_same_number_keeps_no_object(database: Database) -> None:
    add(database, tables.job, job(PURGED, kind="images"))
    assert thinned(database, OBJECTS) == 1


@pytest.mark.parametrize("status", StepStatus)
@pytest.mark.usefixtures("objects")
def test_an_object_stays_while_a_step_of_its_study_is_open(database: Database, status: StepStatus) -> None:
    add_step(database, status.value)
    over = status in (StepStatus.COMPLETED, StepStatus.DISCONTINUED, StepStatus.CANCELED)
    assert thinned(database, OBJECTS) == int(over)


@pytest.mark.parametrize(
    ("status", "attention", "compared_at", "goes"),
    [
        ("IN PROGRESS", "", None, False),
        ("COMPLETED", "", None, False),
        ("COMPLETED", "", OLD, True),
        ("COMPLETED", "images-missing", OLD, False),
        ("DISCONTINUED", "", None, True),
        ("DISCONTINUED", "wrong-entry", None, False),
    ],
)
@pytest.mark.usefixtures("objects")
def test_an_object_stays_while_an_mpps_of_its_study_counts_objects(
    database: Database, status: str, attention: str, compared_at: float | None, goes: bool
) -> None:
    texts = ("linking", "calling_ae", "station", "modality")
    values = dict.fromkeys(texts, "") | {"id": 1, "sop_instance_uid": "2.25.61", "status": status}
    values |= {"attention": attention, "compared_at": compared_at, "document": "{}", "findings": "[]"}
    values |= dict.fromkeys(("started_at", "ended_at", "revision", "created_at", "updated_at"), 1)
    add(database, tables.mpps, values)
    add(database, tables.mpps_link, {"mpps": 1, "position": 1, "reason": "", "study_instance_uid": STUDY})
    assert thinned(database, OBJECTS) == int(goes)


@pytest.mark.parametrize("phase", GatheringPhase)
@pytest.mark.parametrize("series", ["", "2.25.71"])
@pytest.mark.usefixtures("objects")
def test_an_object_stays_until_its_study_is_judged(database: Database, phase: GatheringPhase, series: str) -> None:
    values = dict.fromkeys(("arrived", "instances", "first_at", "opened_at", "last_at", "due_at"), 1)
    place = {"study_instance_uid": STUDY, "series_instance_uid": series, "state": phase.value}
    add(database, tables.gathering, {**values, **place})
    assert thinned(database, OBJECTS) == int(phase == GatheringPhase.DONE)


@pytest.mark.parametrize("phase", GatheringPhase)
@pytest.mark.parametrize(
    ("last_at", "study", "goes"), [(OLD, "2.25.7", True), (YOUNG, "2.25.7", False), (OLD, STUDY, False)]
)
@pytest.mark.usefixtures("objects")
def test_what_was_judged_of_a_study_goes_when_it_has_no_object(
    database: Database, phase: GatheringPhase, last_at: float, study: str, goes: bool
) -> None:
    values = dict.fromkeys(("arrived", "instances", "first_at", "opened_at", "due_at"), 1) | {"last_at": last_at}
    for series in ("", "2.25.71"):
        place = {"study_instance_uid": study, "series_instance_uid": series, "state": phase.value}
        add(database, tables.gathering, {**values, **place})
    assert thinned(database, thinning.GATHERINGS) == (2 if goes and phase == GatheringPhase.DONE else 0)


def test_notes_and_knocks_by_their_last_time(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thinning, "PAGE", 2)
    times = [{"first_at": 0, "last_at": at} for at in [OLD] * 5 + [YOUNG] * 2]
    note = {"source": "ris", "accession": "", "place": "", "outcome": "refused", "findings": "[]", "times": 1}
    add(
        database,
        tables.import_item,
        *({**note, **time, "key": str(n)} for n, time in enumerate(times)),
    )
    knock = {"address": "10.0.0.1", "count": 1}
    add(
        database,
        tables.knock,
        *({**knock, **time, "ae_title": str(n)} for n, time in enumerate(times)),
    )
    for rule, column in ((IMPORT_NOTES, tables.import_item.c.key), (KNOCKS, tables.knock.c.ae_title)):
        assert thinned(database, rule) == 5
        assert left(database, column) == ["5", "6"]


def test_refused_messages_go_before_accepted_ones_and_the_last_row_stays(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thinning, "PAGE", 2)
    texts = ("listener", "peer", "sender", "control_id", "message_type", "answer_code", "note")
    values = dict.fromkeys(texts, "") | {"raw": b"MSH", "answer": b""}
    kept = [(OLD, True), (OLD, False)] * 3 + [(YOUNG, False), (OLD, False)]
    rows = [{"received_at": at, "accepted": good, "digest": bytes([n])} for n, (at, good) in enumerate(kept)]
    add(database, tables.message, *({**values, **row} for row in rows))
    assert thinned(database, thinning.REFUSED) == 3
    assert left(database, tables.message.c.id) == [1, 3, 5, 7, 8]  # the audit trail names rows: no number comes again
    assert thinned(database, thinning.MESSAGES) == 3
    assert left(database, tables.message.c.id) == [7, 8]


def test_old_sent_messages_go_and_the_last_row_stays(database: Database) -> None:
    texts = ("node", "event", "control_id", "message_type", "answer_code", "error")
    values = dict.fromkeys(texts, "") | {"request": 1, "job": 1, "raw": b"MSH", "answer": b""}
    add(database, tables.sent_message, *({**values, "at": at} for at in (OLD, YOUNG, OLD, OLD)))
    assert thinned(database, thinning.SENT) == 2
    assert left(database, tables.sent_message.c.id) == [2, 4]


def test_a_study_goes_with_what_it_is_found_by_once_all_of_its_objects_are_purged(database: Database) -> None:
    values: dict[str, Any] = dict.fromkeys(NewInstance.__slots__, "") | {"version": 1, "digest": b"", "data_offset": 0}
    values |= {"data_length": 1, "rules_version": 1, "discarded_at": 0.0}
    del values["content"]
    kept = [
        ("purged", InstanceState.PURGED, OLD), ("half", InstanceState.PURGED, OLD), ("half", InstanceState.ROUTED, OLD),
        ("young", InstanceState.PURGED, YOUNG), ("last", InstanceState.PURGED, OLD),
    ]  # fmt: skip
    for number, (study, state, at) in enumerate(kept):
        more = {"sop_instance_uid": str(number), "study_instance_uid": study, "state": state.value, "received_at": at}
        add(database, tables.instance, {**values, **more})
    for study in ("purged", "half", "young", "last"):
        arrival = StudyArrival(study, ("P1", "A1", "CT", "CT01"), OLD)
        database.execute(registering.add, arrival)
    assert thinned(database, thinning.STUDIES) == 1
    assert left(database, tables.study.c.study_instance_uid) == ["half", "last", "young"]
    assert left(database, tables.study_key.c.study) == left(database, tables.study.c.id)
    assert left(database, tables.audit.c.action) == ["study.thinned"]
