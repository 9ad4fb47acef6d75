"""Every usual worklist search goes by an index, on both databases, and finds the same whichever way it goes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, text

from broker.store.db.database import Database
from broker.store.worklist import candidates
from broker.store.worklist.candidates import Criteria, Words, search

COUNT = 12_000
OPEN = ("SCHEDULED", "ARRIVED", "READY")
DAY = {"start_from": "20260312000000", "start_until": "20260312235959.999999"}
ONE = {"statuses": OPEN}
SEARCHES = {
    "day of a station": (Criteria(**ONE, **DAY, stations=Words(("ST007",))), {"ix_step_station_search"}),
    "day": (Criteria(**ONE, **DAY, modality=Words(("CT",))), {"ix_scheduled_step_start"}),
    "all": (Criteria(**ONE), {"ix_scheduled_step_start"}),
    "accession": (Criteria(**ONE, accession=Words(("A77",))), {"ix_scheduled_step_accession"}),
    "accessions": (Criteria(**ONE, accession=Words(prefixes=("A7",))), {"ix_scheduled_step_accession"}),
    "patient": (Criteria(**ONE, patient_id=Words(("P77",))), {"ix_scheduled_step_patient_id"}),
    "procedure": (
        Criteria(**ONE, requested_procedure_id=Words(("R77",))),
        {"ix_scheduled_step_requested_procedure_id"},
    ),
    "study": (Criteria(**ONE, study_instance_uid=Words(("2.999.77",))), {"ix_scheduled_step_study_instance_uid"}),
    "name": (Criteria(**ONE, name_groups=("bench^n777",)), {"ix_scheduled_step_patient_name", "ix_step_name_words"}),
    "name on a day": (
        Criteria(**ONE, **DAY, name_groups=("山田^7",)),
        {"ix_scheduled_step_patient_name", "ix_step_name_words"},
    ),
}  # fmt: skip


def _fill(connection: Connection) -> None:
    """Steps of 100 stations on successive days, in plain SQL; each tenth name has an ideographic group."""
    numbers = f"WITH RECURSIVE n(v) AS (SELECT 1 UNION ALL SELECT v + 1 FROM n WHERE v < {COUNT})"
    start = "CAST(20260301 + v / 600 AS VARCHAR) || '103000'"
    station = "'ST' || substr(CAST(1000 + v % 100 AS VARCHAR), 2)"
    ideographic = "'山田^' || v"
    for statement in (
        "INSERT INTO patient (id, patient_id, issuer, attributes, updated_at) VALUES (1, 'P', '', '{}', 0)",
        "INSERT INTO service_request (id, patient, placer_number, placer_issuer, filler_number, filler_issuer,"
        " accession, attributes, created_at, updated_at) VALUES (1, 1, '', '', '', '', '', '{}', 0, 0)",
        "INSERT INTO requested_procedure (id, request, requested_procedure_id, study_instance_uid, attributes)"
        " VALUES (1, 1, 'R', '1', '{}')",
        f"{numbers} INSERT INTO scheduled_step (id, procedure, step_id, position, status, status_at, start_at,"
        " modality, patient_id, patient_name, accession, requested_procedure_id, study_instance_uid, attributes,"
        f" answer, revision, updated_at) SELECT v, 1, 'S' || v, v, 'SCHEDULED', 0, {start}, 'CT', 'P' || v,"
        f" 'bench^n' || v || CASE WHEN v % 10 = 0 THEN '=' || {ideographic} ELSE '' END,"
        " 'A' || v, 'R' || v, '2.999.' || v, '{}',"
        " '{\"answer\": ' || v || '}', 1, 0 FROM n",
        f"{numbers} INSERT INTO step_station (step, ae_title, start_at) SELECT v, {station}, {start} FROM n",
        f"{numbers} INSERT INTO step_name (step, words) SELECT v, {ideographic} FROM n WHERE v % 10 = 0",
    ):
        connection.execute(text(statement.replace(":", "\\:")))


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def filled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('plans') / 'broker.db'}"
    else:
        server = request.getfixturevalue("postgresql")
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            connection.execute("CREATE DATABASE plans")
        url = server.get_uri(database="plans").replace("postgresql://", "postgresql+psycopg://", 1)
    database = Database(url)
    database.submit(_fill).result()
    if request.param == "postgresql":
        database.submit(lambda connection: connection.execute(text("ANALYZE")) and None).result()
    yield database
    database.close()


def _explained(connection: Connection, criteria: Criteria) -> str:
    """The plan of the statement of a first page."""
    values: dict[str, Any] = {"limit": 200, "few": candidates.FEW}
    shape = candidates._shape(criteria, values)
    prepared = candidates._prepared(shape, False, candidates._path(connection, shape, values))
    statement, bound = prepared._bind(connection, values)
    if connection.dialect.name == "sqlite":
        return "\n".join(row[3] for row in connection.exec_driver_sql("EXPLAIN QUERY PLAN " + statement, tuple(bound)))
    return "\n".join(row[0] for row in connection.exec_driver_sql("EXPLAIN " + statement, bound))


@pytest.mark.parametrize("name", SEARCHES)
def test_each_search_has_its_index(filled: Database, name: str) -> None:
    criteria, indexes = SEARCHES[name]
    plan = filled.read(_explained, criteria).result()
    assert {index for index in indexes if index in plan} == indexes, plan
    assert not re.search(r"Seq Scan|SCAN (scheduled_step|step_)(?!.*USING)", plan), plan


@pytest.mark.parametrize(("number", "prefix"), [(1, "山田^77"), (111, "bench^n77"), (1, "bench^n77=")])
def test_names_are_found_by_each_of_their_groups(filled: Database, number: int, prefix: str) -> None:
    found = filled.read(search, Criteria(name_groups=(prefix,)), None, 200).result()
    if prefix.endswith("="):
        assert found == []
        return
    expected = [v for v in range(1, COUNT + 1) if f"bench^n{v}".startswith(prefix)]
    if not prefix.startswith("bench"):
        expected = [v for v in range(10, COUNT + 1, 10) if f"山田^{v}".startswith(prefix)]
    assert [one.id for one in found] == expected
    assert len(found) >= number


@pytest.mark.parametrize("name", SEARCHES)
def test_the_way_changes_nothing(filled: Database, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Page by page, by an index that is asked first and in the order of the list."""

    def pages(connection: Connection) -> list[int]:
        found, after = [], None
        while len(found) < 700 and (page := search(connection, SEARCHES[name][0], after, 130)):
            found += page
            after = (page[-1].start_at, page[-1].id)
        return [one.id for one in found]

    usual = filled.read(pages).result()
    monkeypatch.setattr(candidates, "FEW", 0)
    assert filled.read(pages).result() == usual
    assert usual


def test_a_document_that_is_known_is_not_read_again(filled: Database) -> None:
    criteria = Criteria(accession=Words(("A77", "A78", "A79")))
    found = filled.read(search, criteria, None, 10, {77: (1, None), 78: (2, None)}).result()
    assert {one.id: (one.revision, one.answer) for one in found} == {
        77: (1, ""), 78: (1, '{"answer": 78}'), 79: (1, '{"answer": 79}'),
    }  # fmt: skip


@pytest.mark.parametrize("prefix", ["a", "z", "\ud7ff", "\U0010ffff", "ab\U0010ffff"])
def test_a_range_holds_what_begins_with_a_text_and_nothing_else(prefix: str) -> None:
    behind = candidates._behind(prefix)
    behind.encode()  # no half of a surrogate pair
    for more in ("", "\0", "x", "\U0010ffff" * 20):
        assert prefix.encode() <= (prefix + more).encode() < behind.encode()
    if prefix[0] != "\U0010ffff":
        assert not behind.startswith(prefix)
