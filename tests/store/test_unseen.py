"""Exams that nobody will see, and the board of a day, on both databases: what they hold, and by which indexes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, create_engine, text
from support.orders.documents import order
from support.scale import scaled
from support.service.rest import application, asking
from support.store.plans import indexed, plans

from broker.exams import board, unseen
from broker.exams.unseen import UnseenPage
from broker.model.exam import UnseenGround, UnseenReason
from broker.orders.core import lifecycle
from broker.settings import load
from broker.site.directory import Directory
from broker.site.nodes import parse_nodes
from broker.store.db.database import Database
from broker.store.exams import planned
from broker.store.schema import tables
from broker.store.worklist import unseen as rows

COUNT = scaled(20_000, 1_000_000)
LARGE = "scheduled_step|step_station|requested_procedure|service_request"
STATION = "ScheduledStationAETitle"
DATE = "ScheduledProcedureStepStartDate"
TIME = "ScheduledProcedureStepStartTime"
SETTINGS = load()
NOW = datetime.now(SETTINGS.zone())
TODAY, YESTERDAY = NOW.strftime("%Y%m%d"), (NOW - timedelta(days=1)).strftime("%Y%m%d")
CT = {"name": "ct1", "kind": "dicom", "ae_title": "CT01", "roles": ["modality"], "device": {"stations": ["CT-A"]}}
GONE = {"name": "mr1", "kind": "dicom", "ae_title": "MR01", "roles": ["modality"], "state": "disabled"}
SITE = Directory(parse_nodes([CT, GONE]))
EXAMS: dict[str, dict[str, Any]] = {
    "A1": {},
    "A2": {STATION: []},
    "A3": {STATION: ["US09"]},
    "A4": {DATE: YESTERDAY},  # taken back by its appointment: see `_unplan`
    "A5": {DATE: YESTERDAY, TIME: "23:59"},
    "A6": {STATION: ["US09", "CT01"]},  # one of its stations is known
    "A7": {STATION: ["CT-A"]},  # ct1 answers to it
    "A8": {STATION: ["MR01"]},  # its node is disabled
    "A9": {DATE: TODAY, TIME: "00:00"},  # of today, however early
    "A10": {STATION: ["US08", "US09"]},  # once, at its first station
    "A11": {STATION: [], DATE: YESTERDAY},  # the same; it has one reason
    "A12": {},  # the RIS holds it: see `_hold`
    "A13": {STATION: ["US09"], DATE: YESTERDAY},  # this one too, whatever else is wrong with it
}
REASONS = {
    UnseenReason.HELD: ["A12", "A13"],
    UnseenReason.UNSCHEDULED: ["A11", "A4"],
    UnseenReason.UNASSIGNED: ["A2"],
    UnseenReason.UNKNOWN_STATION: ["A8", "A10", "A3"],
    UnseenReason.PAST: ["A5"],
}


@pytest.fixture
def placed(database: Database) -> Database:
    with asking(application(database, SETTINGS)) as client:
        for number, step in enumerate(EXAMS.values(), 1):
            made = order(number, step=step)
            assert client.post("/orders", json=made).json()["outcome"] == "created"
    database.submit(_unplan, (4, 11)).result(20)
    database.submit(_hold, (12, 13)).result(20)
    return database


def _hold(connection: Connection, steps: Sequence[int]) -> None:
    """Hold steps, as the RIS does (ORC-1 HD)."""
    step = tables.scheduled_step
    connection.execute(step.update().where(step.c.id.in_(steps)).values(held=True))


def _unplan(connection: Connection, steps: Sequence[int]) -> None:
    """Take the start from steps, as the end of an appointment does."""
    step, station = tables.scheduled_step, tables.step_station
    connection.execute(step.update().where(step.c.id.in_(steps)).values(start_at=""))
    connection.execute(station.update().where(station.c.step.in_(steps)).values(start_at=""))


def listed(database: Database, reason: UnseenReason | None, after: str = "", limit: int = 50) -> UnseenPage:
    place = unseen.place_of(after) if after else None
    return database.read(unseen.page, reason, place, limit, SITE, SETTINGS).result(30)


def numbers(page: UnseenPage) -> list[str]:
    return [one.exam.accession for one in page.exams]


def test_each_exam_that_nobody_sees_has_one_reason(placed: Database) -> None:
    for reason, expected in REASONS.items():
        found = listed(placed, reason)
        assert numbers(found) == expected, reason
        assert {one.place.reason for one in found.exams} == {reason}
        assert found.counts[reason] == len(expected)
    assert numbers(listed(placed, None)) == [number for expected in REASONS.values() for number in expected]


@pytest.mark.parametrize("size", [1, 2, 3])
def test_pages_follow_each_other_over_all_reasons(placed: Database, size: int) -> None:
    found, after = list[str](), ""
    for _ in range(20):
        page = listed(placed, None, after, size)
        assert len(page.exams) <= size
        found += numbers(page)
        if not (after := page.after):
            break
    assert found == [number for expected in REASONS.values() for number in expected]


def test_a_long_list_of_a_station_is_read_in_parts(placed: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "LOOK", 1)
    assert numbers(listed(placed, UnseenReason.UNKNOWN_STATION)) == REASONS[UnseenReason.UNKNOWN_STATION]


def test_what_has_ended_or_begun_is_not_waited_for(placed: Database) -> None:
    with asking(application(placed, SETTINGS)) as client:
        for row in (2, 3, 4, 5):
            assert client.post(f"/orders/{row}/cancel", json={"reason": "a test"}).status_code == 200
    assert numbers(listed(placed, None)) == ["A12", "A13", "A11", "A8", "A10"]


def test_a_place_is_read_from_hostile_text() -> None:
    for text_of in (
        "",
        "x",
        "9.00.1.1",
        "0..",
        "1.0.1.1",
        "1.gg.1.1",
        "1.ff..1" * 50,
        "1.00.20260101000000." + "9" * 40,
    ):
        assert unseen.place_of(text_of) is None, text_of
    place = unseen.place_of("3.ff00c3a9.20300101000000.5")
    assert place is not None
    assert "\0" not in place.station


def test_the_board_has_a_section_for_each_station(placed: Database) -> None:
    shown = placed.read(board.board, "20300312", SITE).result(30)
    found = {one.station: [step.exam.accession for step in one.steps] for one in shown.stations}
    assert found == {
        "CT01": ["A1", "A6", "A12"],
        "CT-A": ["A7"],
        "MR01": ["A8"],
        "UNASSIGNED": ["A2"],
        "US08": ["A10"],
        "US09": ["A3", "A6", "A10"],
    }
    assert {one.station: one.device.name for one in shown.stations if one.device} == {
        "CT01": "ct1",
        "CT-A": "ct1",
        "MR01": "mr1",
    }
    assert (shown.total, shown.whole, shown.hidden) == (8, True, 0)
    assert placed.read(board.board, "19990101", SITE).result(30).total == 0


def test_the_board_is_bounded(placed: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board, "MOST_OF_ONE", 1)
    monkeypatch.setattr(board, "MOST_STATIONS", 4)
    monkeypatch.setattr(board, "MOST_READ", 6)
    shown = placed.read(board.board, "20300312", SITE).result(30)
    assert [len(one.steps) for one in shown.stations] == [1, 1, 1, 1]
    assert shown.stations[0].total > 1
    assert shown.hidden
    assert not shown.whole


# --- plans -------------------------------------------------------------------------------------------------


def _filling() -> Iterator[str]:
    """Steps of 20 stations: most ended, 40 % wait; four stations have no device, some steps have no start."""
    numbers = f"WITH RECURSIVE n(v) AS (SELECT 1 UNION ALL SELECT v + 1 FROM n WHERE v < {COUNT})"
    day = "CAST(20300301 + v % 27 AS VARCHAR)"
    start = f"CASE WHEN v % 50 = 0 THEN '' WHEN v % 2 = 0 THEN '20260301103000' ELSE {day} || '103000' END"
    status = "CASE WHEN v % 10 IN (0, 1, 3, 7) THEN 'SCHEDULED' ELSE 'COMPLETED' END"
    station = "'ST' || substr(CAST(1000 + (v / 10) % 20 AS VARCHAR), 2)"
    yield "INSERT INTO patient (id, patient_id, issuer, attributes, updated_at) VALUES (1, 'P', '', '{}', 0)"
    yield (
        f"{numbers} INSERT INTO service_request (id, patient, placer_number, placer_issuer, filler_number,"
        " filler_issuer, accession, attributes, created_at, updated_at)"
        " SELECT v, 1, '', '', '', '', 'A' || v, '{}', 0, 0 FROM n"
    )
    yield (
        f"{numbers} INSERT INTO requested_procedure (id, request, requested_procedure_id, study_instance_uid,"
        " attributes) SELECT v, v, 'R', '2.999.' || v, '{}' FROM n"
    )
    yield (
        f"{numbers} INSERT INTO scheduled_step (id, procedure, step_id, position, status, status_at, start_at,"
        " modality, patient_id, patient_name, accession, requested_procedure_id, study_instance_uid, attributes,"
        f" answer, revision, updated_at, held) SELECT v, v, 'S', 1, {status}, 0, {start}, 'CT', 'P', 'n', 'A' || v,"
        " 'R', '2.999.' || v, '{}', '{}', 1, 0, v % 97 = 0 FROM n"
    )
    yield f"{numbers} INSERT INTO step_station (step, ae_title, start_at) SELECT v, {station}, {start} FROM n"


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def filled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('unseen') / 'broker.db'}"
    else:
        server = request.getfixturevalue("postgresql")
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            connection.execute("CREATE DATABASE unseen")
        url = server.get_uri(database="unseen").replace("postgresql://", "postgresql+psycopg://", 1)
    database = Database(url)  # with the schema
    engine = create_engine(url)  # no deadlines
    with engine.begin() as connection:
        for statement in _filling():
            connection.execute(text(statement))
    if request.param == "postgresql":
        with engine.begin() as connection:
            connection.execute(text("ANALYZE"))
    engine.dispose()
    yield database
    database.close()


GROUND = UnseenGround(
    today="20300310000000",
    statuses=lifecycle.WAITING,
    default="ST007",
    known=frozenset(f"ST{number:03}" for number in range(16)) - {"ST007"},
)


@pytest.mark.parametrize("reason", [None, *UnseenReason])
def test_a_page_and_its_count_go_by_an_index(filled: Database, reason: UnseenReason | None) -> None:
    first = filled.read(rows.page, GROUND, reason, None, 51).result(30)
    assert len(first) == 51
    indexed(plans(filled, rows.page, GROUND, reason, None, 51), LARGE)
    indexed(plans(filled, rows.page, GROUND, reason, first[-1], 51), LARGE)
    if reason is not None:
        assert filled.read(rows.count, GROUND, reason, 1_001).result(30) > 51
        indexed(plans(filled, rows.count, GROUND, reason, 1_001), LARGE)


def test_the_board_goes_by_an_index(filled: Database) -> None:
    statuses = ("SCHEDULED", "COMPLETED")
    assert len(filled.read(planned.of_day, "20300312", statuses, 100).result(30)) == 100
    indexed(plans(filled, planned.of_day, "20300312", statuses, 100), LARGE)
