"""What *Now* reads of the database: the right numbers, each by an index, in time at any size."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from typing import Any, cast

import pytest
from sqlalchemy import Connection, event, insert, text, update
from support.scale import scaled
from support.store.history import around, history

from broker.model.lane import JobKind, JobState
from broker.store import jobs, knocks, overview, senders
from broker.store.db.database import Database
from broker.store.jobs import NewJob
from broker.store.overview import Counts
from broker.store.schema import tables

NOW = 1_900_000_000.0
DAY, MIDNIGHT = "20300317", NOW - 60_000
COUNT = scaled(20_000, 500_000)
LARGE = "instance|job|scheduled_step|mpps|message"


def counted(database: Database) -> Counts:
    return database.read(overview.counts, MIDNIGHT, DAY).result(60)


def enqueue(database: Database, lane: str, subjects: range, at: float = NOW, held: str = "") -> None:
    new = [NewJob(kind=JobKind.DELIVER, lane=lane, subject=subject, detail={}, held=held) for subject in subjects]
    database.submit(jobs.enqueue, new, at).result(60)


def test_an_empty_database_has_nothing_to_tell(database: Database) -> None:
    found = counted(database)
    assert (found.lanes, found.held_jobs, found.held_objects, found.performed) == ((), (), (), ())
    assert (found.refused, found.refused_at, found.knocking, found.knocked_at, found.exams) == (0, None, 0, None, {})
    assert found.size > 10_000


def test_lanes_with_what_waits_since_when_and_why(database: Database) -> None:
    enqueue(database, "deliver:a", range(1, 4), NOW - 300)
    enqueue(database, "deliver:a", range(4, 5), NOW - 900)  # written later, and older: it was released in between
    enqueue(database, "deliver:b", range(1, 3))
    enqueue(database, "deliver:b", range(3, 4), held="gave-up")
    [one, _] = database.submit(jobs.claim, "deliver:b", "me", NOW, 60.0, 2).result(20)
    database.submit(jobs.finish, one, JobState.DONE, NOW).result(20)
    database.submit(jobs.open_breaker, "deliver:c", 3, NOW + 60, "aborted").result(20)
    lanes = {lane.name: lane for lane in counted(database).lanes}
    assert list(lanes) == ["deliver:a", "deliver:b", "deliver:c"]
    assert (lanes["deliver:a"].waiting, lanes["deliver:a"].oldest) == (4, NOW - 900)
    assert (lanes["deliver:b"].waiting, lanes["deliver:b"].oldest) == (1, NOW)  # the one that is being tried
    assert (lanes["deliver:c"].waiting, lanes["deliver:c"].failures, lanes["deliver:c"].last_error) == (0, 3, "aborted")
    assert lanes["deliver:c"].since == pytest.approx(time.time(), abs=60)
    assert database.read(overview.waiting).result(20) == {"deliver:a": 4, "deliver:b": 1}


def test_what_waits_for_a_person_by_its_reason(database: Database) -> None:
    enqueue(database, "deliver:a", range(1, 4), NOW - 50, held="status-A900")
    enqueue(database, "deliver:a", range(4, 5), NOW - 900, held="gave-up")
    enqueue(database, "feedback:ris", range(4, 6), NOW - 70, held="AE-204")

    def more(connection: Connection) -> None:
        for number, (state, reason, at) in enumerate(
            [("held", "no-rule-matched", 5.0), ("held", "no-rule-matched", 3.0), ("routed", "", 1.0)]
        ):
            connection.execute(insert(tables.instance).values(_instance(number, state, reason, at)))
        for number, attention in enumerate(["", "ambiguous", "ambiguous", "unscheduled"]):
            connection.execute(insert(tables.mpps).values(_mpps(number, attention)))
        for number, (at, accepted) in enumerate([(MIDNIGHT - 1, False), (NOW, True), (NOW - 9, False), (NOW, False)]):
            connection.execute(insert(tables.message).values(_message(number, at, accepted)))
        knocks.record(connection, "CT9", "10.0.0.9", NOW - 5)
        knocks.record(connection, "CT8", "10.0.0.8", NOW - 50)

    database.submit(more).result(20)
    found = counted(database)
    assert [(pile.lane, pile.reason, pile.count, pile.oldest) for pile in found.held_jobs] == [
        ("deliver:a", "gave-up", 1, NOW - 900),
        ("deliver:a", "status-A900", 3, NOW - 50),
        ("feedback:ris", "AE-204", 2, NOW - 70),
    ]
    assert [(pile.reason, pile.count, pile.oldest) for pile in found.held_objects] == [("no-rule-matched", 2, 3.0)]
    assert [(pile.reason, pile.count) for pile in found.performed] == [("ambiguous", 2), ("unscheduled", 1)]
    assert (found.refused, found.refused_at) == (2, NOW)
    assert (found.knocking, found.knocked_at) == (2, NOW - 5)


def test_more_than_can_be_counted_is_more_than_the_cap(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overview, "CAP", 20)
    enqueue(database, "deliver:a", range(1, 50))
    enqueue(database, "deliver:b", range(1, 50), held="gave-up")
    enqueue(database, "deliver:c", range(1, 3), held="gave-up")
    found = counted(database)
    assert [lane.waiting for lane in found.lanes] == [21]
    assert [(pile.lane, pile.count, pile.more) for pile in found.held_jobs] == [
        ("deliver:b", 21, True), ("deliver:c", 2, False),
    ]  # fmt: skip


def _instance(number: int, state: str, reason: str, at: float) -> dict[str, Any]:
    texts = ("sop_class_uid", "transfer_syntax_uid", "study_instance_uid", "series_instance_uid", "calling_ae")
    more = ("called_ae", "peer", "path", "trace", "facts")
    return dict.fromkeys((*texts, *more), "") | {
        "sop_instance_uid": f"2.25.{number}", "version": 1, "data_offset": 0, "data_length": 0, "digest": b"",
        "received_at": at, "state": state, "reason": reason, "rules_version": 1,
    }  # fmt: skip


def _mpps(number: int, attention: str) -> dict[str, Any]:
    return {
        "sop_instance_uid": f"2.25.{number}", "status": "COMPLETED", "linking": "", "calling_ae": "", "station": "",
        "modality": "CT", "started_at": 0.0, "document": "{}", "findings": "[]", "revision": 1, "created_at": NOW,
        "updated_at": NOW, "attention": attention,
    }  # fmt: skip


def _message(number: int, at: float, accepted: bool, sender: str = "RIS|H") -> dict[str, Any]:
    return {
        "received_at": at, "listener": "", "peer": "", "sender": sender, "control_id": str(number), "message_type": "",
        "digest": b"", "raw": b"", "accepted": accepted, "answer_code": "AA" if accepted else "AE", "answer": b"",
        "note": "",
    }  # fmt: skip


def test_who_sends_ever_new_names_pushes_out_nobody_who_sends_much(database: Database) -> None:
    def record(name: str, messages: int) -> senders.SenderRecord:
        return senders.SenderRecord(name=name, last_at=NOW, messages=messages, rhythm="[]")

    strangers = [record(f"X{number}|", 1) for number in range(3 * senders.MOST)]
    for part in ([record("RIS|H", 5000)], strangers, [record("LATE|", 2)]):
        database.submit(senders.keep, part, 7).result(20)
    kept = {one.name for one in database.read(senders.all_of).result(20)}
    assert len(kept) == senders.MOST
    assert {"RIS|H", "LATE|"} <= kept
    assert database.read(senders.counted_to).result(20) == 7


# --- plans, and time at size -----------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def filled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """COUNT objects that were delivered, and a long queue: half as many jobs wait, some are held."""
    if request.param == "sqlite":
        url, some_bytes = f"sqlite:///{tmp_path_factory.mktemp('overview') / 'broker.db'}", "x'00'"
    else:
        import psycopg

        server, some_bytes = request.getfixturevalue("postgresql"), "decode('00', 'hex')"
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            connection.execute("CREATE DATABASE overview")
        url = server.get_uri(database="overview").replace("postgresql://", "postgresql+psycopg://", 1)
    database = Database(url)

    def fill(connection: Connection) -> None:
        for statement in (*history(COUNT, some_bytes), *around(COUNT // 2, some_bytes)):
            connection.execute(text(statement.replace(":", "\\:")))
        job = tables.job
        ready = {"state": "ready", "lane": "deliver:pacs", "done_at": None}
        connection.execute(update(job).where(job.c.id % 2 == 0).values(ready))
        connection.execute(update(job).where(job.c.id % 20 == 1).values(state="held", last_error="gave-up"))

    from sqlalchemy import create_engine

    engine = create_engine(url)
    with engine.begin() as connection:
        fill(connection)
    if request.param == "postgresql":
        with engine.begin() as connection:
            connection.execute(text("ANALYZE"))
    engine.dispose()
    yield database
    database.close()


def test_no_statement_reads_a_whole_table(filled: Database) -> None:
    statements: list[tuple[str, Any]] = []

    def look(connection: Connection) -> None:
        raw: Any = connection.connection.dbapi_connection
        if isinstance(raw, sqlite3.Connection):
            raw.set_trace_callback(lambda statement: statements.append((statement, ())))
        else:
            event.listen(connection, "before_cursor_execute", lambda *args: statements.append((args[2], args[3])))
        overview.counts(connection, MIDNIGHT, DAY)
        overview.waiting(connection)
        senders.first_since(connection, MIDNIGHT)
        senders.received(connection, 5, 10)
        if isinstance(raw, sqlite3.Connection):
            raw.set_trace_callback(None)

    filled.read(look).result(60)
    assert len(statements) > 10
    for statement, values in statements:
        if statement.startswith("SELECT"):
            plan = filled.read(_plan, statement, values).result(60)
            assert "pg_database_size" in statement or not _whole(plan), f"{statement}\n{plan}"


def _plan(connection: Connection, statement: str, values: Any) -> str:
    explain = "EXPLAIN QUERY PLAN " if connection.dialect.name == "sqlite" else "EXPLAIN "
    rows = connection.exec_driver_sql(explain + statement, cast(Any, values or None))
    return "\n".join(str(row[-1]) for row in rows)


def _whole(plan: str) -> bool:
    """A scan of a large table that is not limited to the rows behind an index."""
    import re

    return bool(re.search(rf"SCAN ({LARGE})(?! USING)|Seq Scan on ({LARGE})\b", plan))


def test_it_is_quick_at_size(filled: Database) -> None:
    def look(connection: Connection) -> float:
        """Seconds of the clock: the work of PostgreSQL is that of another process."""
        began = time.perf_counter()
        overview.counts(connection, MIDNIGHT, DAY)
        return time.perf_counter() - began

    def plotted(connection: Connection) -> float:
        began = time.perf_counter()
        overview.waiting(connection)
        return time.perf_counter() - began

    for what, most in ((look, 0.2), (plotted, 0.1)):
        times = sorted(filled.read(what).result(60) for _ in range(9))
        print(f"{COUNT} objects and jobs, {what.__name__}: {times[4] * 1000:.0f} ms")
        assert times[0] < most
