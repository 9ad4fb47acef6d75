"""Every statement of a housekeeping duty goes by an index, on both databases, and what holds the writer is short.

The statements are those that the duties really run, caught on their way to the database. 20,000 objects and jobs, with
`BROKER_FULL=1` 500,000: where a plan reads a table, it would show at each size.
"""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import Connection, create_engine, event, insert, text
from support.scale import scaled
from support.store.history import around, history

from broker.model.audit import AuditSelection
from broker.model.authority import AuthorityUse, KnownAuthority
from broker.orders.core.context import StoryContext
from broker.orders.stories import identity
from broker.routing import sweep
from broker.store import jobs, lanes, thinning
from broker.store.ageing import exams, persons, preview, spooled
from broker.store.audit import trail
from broker.store.commitments import asks, judged, listing, requests
from broker.store.commitments.judged import ObjectChange
from broker.store.commitments.packing import pack_references
from broker.store.commitments.states import ObjectReference
from broker.store.db.database import Database
from broker.store.db.deadlines import unhurried
from broker.store.db.pace import Pace
from broker.store.drafts import rule_plans
from broker.store.holds import waiting
from broker.store.holds.held_jobs import HeldFilter
from broker.store.images import gathered, gatherings, held_objects, instances
from broker.store.images.gatherings import Arrival
from broker.store.images.held_objects import ObjectFilter
from broker.store.images.instances import InstanceState
from broker.store.images.spool import Spool
from broker.store.mpps import objects, overdue
from broker.store.orders import authorities, closing, joined_names
from broker.store.schema import tables
from broker.store.thinning import ThinningRule

COUNT = scaled(20_000, 500_000)
DAY = 86_400.0
LARGE = (
    "instance|job|content|audit|step_event|scheduled_step|step_station|mpps|mpps_link|import_item|idempotency|linked"
    "|sibling|service_request|requested_procedure|patient|visit|study|study_key"
)
RULES = (
    thinning.JOBS, thinning.OBJECTS, thinning.NOTICES, thinning.STEP_EVENTS, thinning.AUDIT, thinning.IMPORT_NOTES,
    thinning.ANSWERS, thinning.CANCELS, thinning.MESSAGES, thinning.REFUSED, thinning.SENT, thinning.STUDIES,
    thinning.appointments("20260312000000"), thinning.COMMITMENTS, exams.performed(UTC), exams.orders(UTC),
    persons.VISITS, persons.PATIENTS, persons.FORMER_PATIENTS,
)  # fmt: skip
# what belongs to a row that goes; on PostgreSQL a table without rows is read as a whole
EMPTY = "heard|kept_apart|kept_back|mpps_message|order_link|patient_alias|patient_term|step_name"
OWN_KEYS = r"sqlite_autoindex_\1|ix_mpps_message_mpps|ix_kept_back_mpps|ix_order_link_other|ix_patient_alias_patient"
Statement = tuple[str, Any]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def filled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    if request.param == "sqlite":
        url, some_bytes = f"sqlite:///{tmp_path_factory.mktemp('upkeep') / 'broker.db'}", "x'00'"
    else:
        server, some_bytes = request.getfixturevalue("postgresql"), "decode('00', 'hex')"
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            connection.execute("CREATE DATABASE upkeep")
        url = server.get_uri(database="upkeep").replace("postgresql://", "postgresql+psycopg://", 1)
    database = Database(url)  # with the schema
    engine = create_engine(url)  # no deadlines
    with engine.begin() as connection:
        for statement in (*history(COUNT, some_bytes), *around(COUNT // 2, some_bytes)):
            connection.execute(text(statement.replace(":", "\\:")))
    if request.param == "postgresql":
        with engine.begin() as connection:
            connection.execute(text("ANALYZE"))
    engine.dispose()
    yield database
    database.close()


class Undone(Exception):
    """Ends a transaction, so that the next test finds all as it was."""


class Caught:
    """Runs a duty's functions on one connection in a transaction that is undone, and keeps each statement."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.statements: list[Statement] = []

    def run(self, work: Callable[[Connection], object]) -> None:
        def unit(connection: Connection) -> None:
            raw: Any = connection.connection.dbapi_connection
            if isinstance(raw, sqlite3.Connection):
                raw.set_trace_callback(lambda statement: self.statements.append((statement, ())))
            else:
                event.listen(connection, "before_cursor_execute", self._note)
            try:
                work(connection)
            finally:
                if isinstance(raw, sqlite3.Connection):
                    raw.set_trace_callback(None)
            self.plans = [self._plan(connection, *statement) for statement in self.statements]
            raise Undone

        with pytest.raises(Undone):
            self._database.execute(unhurried(unit))  # it explains a thousand statements

    def _note(self, _: object, __: object, statement: str, values: Any, *more: object) -> None:
        if not statement.startswith("EXPLAIN"):
            self.statements.append((statement, values))

    @staticmethod
    def _plan(connection: Connection, statement: str, values: Any) -> str:
        explain = "EXPLAIN QUERY PLAN " if connection.dialect.name == "sqlite" else "EXPLAIN "
        rows = connection.exec_driver_sql(explain + statement, values)
        return statement[:400] + "\n" + "\n".join(str(row[-1]) for row in rows)

    def assert_indexed(self) -> None:
        """No large table is read as a whole or sorted."""
        assert self.plans
        for plan in self.plans:
            assert not re.search(rf"SCAN ({LARGE})\b|Seq Scan on ({LARGE})\b", plan), plan
            assert not re.search(r"USE TEMP B-TREE FOR ORDER BY|MULTI-INDEX OR", plan), plan
            # a change goes by key: SQLite takes a state for rare; PostgreSQL knows how many rows have it
            if re.match("UPDATE|DELETE", plan) and not re.search(
                f"Index Cond|Seq Scan on ({EMPTY})|SCAN kept_apart", plan
            ):
                assert re.search(rf"SEARCH (\w+) USING ((INTEGER )?PRIMARY KEY|.*INDEX ({OWN_KEYS}))", plan), plan


class Direct:
    """A pace without a database behind it: each step runs on the connection of the test."""

    stopped = False

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def read(self, query: Callable[..., Any], *args: Any) -> Any:
        return query(self._connection, *args)

    def write(self, unit: Callable[[Connection, Sequence[Any]], Any], items: Sequence[Any]) -> Iterator[Any]:
        yield from (unit(self._connection, items[at : at + 64]) for at in range(0, min(len(items), 128), 64))


def direct(connection: Connection) -> Pace:
    return cast(Pace, Direct(connection))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_retention(filled: Database, rule: ThinningRule, monkeypatch: pytest.MonkeyPatch) -> None:
    caught, pages = Caught(filled), []
    before = time.time() - 30 * DAY if rule in (thinning.JOBS, thinning.OBJECTS) else COUNT / 100

    class Brief(Direct):
        def read(self, query: Callable[..., Any], *args: Any) -> Any:
            pages.append(super().read(query, *args))
            self.stopped = len(pages) > 3
            return pages[-1]

    def run(connection: Connection) -> None:
        if rule is thinning.OBJECTS:  # whose jobs are gone
            connection.execute(text("DELETE FROM job WHERE id <= 500"))
        if rule.name == "orders":  # whose performed steps are gone
            connection.execute(text("DELETE FROM mpps_link WHERE mpps <= 500"))
        thinning.thin(cast(Pace, Brief(connection)), rule, before)

    caught.run(run)
    caught.assert_indexed()
    assert pages
    if rule.name in ("objects", "mpps", "orders", "patients"):
        assert any(over for page in pages for _, over in page.rows)


def test_a_purge(filled: Database, tmp_path: Path) -> None:
    caught, spool = Caught(filled), Spool(tmp_path)
    before = time.time() - 7 * DAY
    place = (time.time() - 20 * DAY - COUNT / 4, 0)

    def purge(connection: Connection) -> None:
        page = instances.purgeable(connection, before, place, sweep.PAGE)
        assert len(page) == sweep.PAGE
        assert all(candidate.delivered for candidate in page)
        assert len(instances.mark_purged(connection, [one.place[1] for one in page], before)) == sweep.PAGE

    caught.run(purge)
    caught.assert_indexed()
    spool.close()


def test_a_sweep(filled: Database) -> None:
    caught = Caught(filled)
    names = [f"20260101/{number % 24:02d}/{number}.dcm" for number in range(1, sweep.PAGE)]
    caught.run(lambda connection: instances.known_paths(connection, names))
    caught.assert_indexed()


SINCE = ("20260301000000", 0)
WALKS: dict[str, Callable[[Connection], object]] = {
    "images": lambda c: closing.with_images(c, "ST7", ("SCHEDULED",), "20270301000000", SINCE, 500),
    "start": lambda c: closing.by_start(c, "SCHEDULED", "20260303000000", ["ST7"], SINCE, 500),
    "traces": lambda c: closing.traces(c, 2, ("SCHEDULED",)),
    "overdue": lambda c: overdue.silent(c, COUNT, 0, 500),
    "never compared": lambda c: objects.to_compare(c, COUNT, (0.0, 0), 100),
    "lacking": lambda c: objects.lacking(c, (0.0, 0), 500),
    "compared": lambda c: objects.count(c, {"2.25.91000007", "x"}, {"2.25.71"}, {"2.25.81"}),
    "leases": lambda c: jobs.free_leases(c, time.time(), longest=3600.0),
    "lanes": lambda c: lanes.due_lanes(c, time.time(), 3600.0),
    "twins": lambda c: jobs.lanes_done(c, "deliver", [7]),
    "discarded": lambda c: held_objects.walk(c, InstanceState.DISCARDED, (0.0, 0), sweep.PAGE),
    "purge of discarded": lambda c: held_objects.purge(c, [7, 8], time.time()),
    "held for long": lambda c: held_objects.discard_old(c, [7, 8], time.time(), time.time(), "x"),
    "all that waits": lambda c: waiting.find(c, ObjectFilter(), HeldFilter(), waiting.BEFORE_ALL, 51),
    "what waits of a node": lambda c: waiting.count(c, ObjectFilter(senders=("CT1",)), HeldFilter(node="x"), 100),
    "a study": lambda c: held_objects.of_study(c, "2.25.81", 500),
    "planned rules": lambda c: rule_plans.waiting(c, 1.0),
}


@pytest.mark.parametrize("name", WALKS)
def test_walks(filled: Database, name: str) -> None:
    caught = Caught(filled)
    caught.run(WALKS[name])
    for plan in caught.plans:
        assert not re.search(rf"SCAN ({LARGE})\b(?!.*USING)|Seq Scan on ({LARGE})\b", plan), plan


IDS = list(range(1000, 1200))
LEVELS: dict[str, Callable[[Connection], object]] = {
    "due": lambda c: gatherings.is_due(c, 50.0),
    "take": lambda c: gatherings.take(c, 50.0, 80.0),
    "heard of": lambda c: gatherings.hurry(c, ["2.25.7", "2.25.9"], 1.0),
    "ended": lambda c: gatherings.ended(c, ["2.25.7", "2.25.9"], 1.0),
    "series": lambda c: (gatherings.in_series(c, "2.25.7"), gatherings.open_series(c, "2.25.7")),
    "status": lambda c: gatherings.waiting(c, 10_000),
    "arrived": lambda c: gatherings.arrived(c, ARRIVAL),
    "again": lambda c: gatherings.came_again(c, ARRIVAL, again=True),
    "objects": lambda c: gathered.rows(c, "2.25.81", "2.25.71"),
    "facts": lambda c: gathered.load(c, IDS),
    "leave": lambda c: gathered.leave(c, IDS, InstanceState.ROUTED, "", 1.0),
    "stay": lambda c: gathered.still_routed(c, IDS),
    "send again": lambda c: gathered.send_again(c, "deliver:pacs", IDS, 1.0),
    "performed": lambda c: gathered.performed(c, "2.25.81"),
}
ARRIVAL = Arrival(study="2.25.7", series="", at=1.0, quiet_at=61.0, settled_at=3.0, most=600.0)


@pytest.fixture(scope="module")
def gathering(filled: Database) -> Database:
    """Many studies that are done, a few that wait."""
    columns = "study_instance_uid, series_instance_uid, state, arrived, instances, first_at, opened_at, last_at, due_at"
    rows = [
        {"uid": f"2.25.{number}", "state": "open" if number % 1000 == 7 else "done", "at": float(number)}
        for number in range(COUNT // 4)
    ]
    statement = text(f"INSERT INTO gathering ({columns}) VALUES (:uid, '', :state, 1, 1, :at, :at, :at, :at)")
    filled.execute(unhurried(lambda connection: connection.execute(statement, rows).rowcount))
    if filled.dialect == "postgresql":
        filled.execute(lambda connection: connection.execute(text("ANALYZE gathering")).rowcount)
    return filled


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_preview_of_retention(filled: Database, rule: ThinningRule) -> None:
    """It reads what the rule reads, and goes on to what is old in a week."""
    caught, before = (
        Caught(filled),
        time.time() - 30 * DAY if rule in (thinning.JOBS, thinning.OBJECTS) else COUNT / 100,
    )
    walk = preview.RuleWalk(rule, rule, before, before + 1)
    caught.run(lambda c: (preview.oldest(c, rule), walk.page(c, 1) if rule.grows else walk.oldest_first(c)))
    assert len(caught.plans) == 2
    caught.assert_indexed()


@pytest.mark.parametrize("state", [InstanceState.ROUTED, InstanceState.HELD, InstanceState.DISCARDED])
def test_a_preview_of_the_spool(filled: Database, state: InstanceState) -> None:
    caught, now = Caught(filled), time.time()
    age = tables.instance.c.discarded_at if state is InstanceState.DISCARDED else tables.instance.c.received_at
    going = instances.may_go if state is InstanceState.ROUTED else spooled.always
    walk = spooled.FileWalk(state, age, 7.0, now, going)
    caught.run(lambda c: (walk.page(c, spooled.FIRST), walk.oldest(c), spooled.first_held(c, "deliver:archive")))
    assert len(caught.plans) == 3
    caught.assert_indexed()


def test_retention_of_gatherings(gathering: Database) -> None:
    caught, pages = Caught(gathering), []

    class Noted(Direct):
        def read(self, query: Callable[..., Any], *args: Any) -> Any:
            pages.append(super().read(query, *args))
            self.stopped = True
            return pages[-1]

    caught.run(lambda connection: thinning.thin(cast(Pace, Noted(connection)), thinning.GATHERINGS, COUNT / 10))
    caught.assert_indexed()
    for plan in caught.plans:
        assert not re.search(r"SCAN gathering\b(?!.*USING)|Seq Scan on gathering\b", plan), plan
    assert pages[0].rows


@pytest.mark.parametrize("name", LEVELS)
def test_levels(gathering: Database, name: str) -> None:
    caught = Caught(gathering)
    caught.run(LEVELS[name])
    assert caught.plans
    for plan in caught.plans:
        assert not re.search(rf"SCAN ({LARGE}|gathering)\b(?!.*USING)|Seq Scan on ({LARGE}|gathering)\b", plan), plan


COMMITMENTS: dict[str, Callable[[Connection], object]] = {
    "due": lambda c: requests.due(c, 1e9, 600.0, 50),
    "load": lambda c: requests.load(c, 7),
    "versions": lambda c: judged.versions(c, [f"2.25.{number}" for number in range(200)]),
    "deliveries": lambda c: judged.deliveries(c, IDS),
    "bytes": lambda c: judged.kept_bytes(c, IDS[:50]),
    "page": lambda c: judged.page(c, 7, 100, 200),
    "settle": lambda c: judged.settle(c, 7, [ObjectChange(position=9, instance=9, reason=0, committed=[7])], 1.0),
    "left": lambda c: judged.left(c, 200),
    "asks": lambda c: (asks.of_request(c, 7), asks.by_uid(c, "2.25.7")),
    "untold": lambda c: requests.is_untold(c, "ct", tried=True),
    "purge": lambda c: instances.purgeable(c, time.time(), (0.0, 0), sweep.PAGE),
    "list": lambda c: listing.lines(c, "", None, 2**62, 100),
    "show": lambda c: (listing.line(c, 7), listing.objects(c, 7, -1, 1000)),
}


@pytest.fixture(scope="module")
def committing(filled: Database) -> Database:
    """Many requests that are judged, and one that waits, with many objects."""
    listed, digest = pack_references([ObjectReference("1.2", f"2.25.{number}") for number in range(5000)])
    shared = {"node": "ct", "calling_ae": "CT", "called_ae": "B", "peer": "", "repeat": 0, "verdict": b"", "looks": 1}
    rows = [
        shared | {"id": number, "transaction_uid": f"2.25.{number}", "received_at": float(number), "count": 5000,
                  "listed": listed if number == 7 else b"", "digest": digest, "due_at": 1.0, "committed": 0,
                  "state": "open" if number == 7 else "judged", "filed": 5000 if number == 7 else 0,
                  "judged_at": None if number == 7 else float(number)}
        for number in range(1, COUNT // 4)
    ]  # fmt: skip
    objects_ = [
        {"commitment": request, "position": number, "instance": number, "reason": -1}
        for request in range(7, 17)
        for number in range(2000)
    ]

    def unit(connection: Connection) -> int:
        connection.execute(insert(tables.commitment), rows)
        return connection.execute(insert(tables.commitment_object), objects_).rowcount

    filled.execute(unhurried(unit))
    if filled.dialect == "postgresql":
        for table in ("commitment", "commitment_object"):
            filled.execute(lambda c, table=table: c.execute(text(f"ANALYZE {table}")).rowcount)  # type: ignore[misc]
    return filled


@pytest.mark.parametrize("name", COMMITMENTS)
def test_commitments(committing: Database, name: str) -> None:
    caught, large = Caught(committing), f"{LARGE}|commitment|commitment_object"
    caught.run(COMMITMENTS[name])
    assert caught.plans
    for plan in caught.plans:
        assert not re.search(rf"SCAN ({large})\b(?!.*USING)|Seq Scan on ({large})\b", plan), plan


TRAILS = {
    "all": AuditSelection(),
    "time": AuditSelection(since=COUNT / 8, until=COUNT / 4),
    "person": AuditSelection(actor="user:7", until=COUNT / 4),
    "person and action": AuditSelection(actor="user:7", action="action.9"),
    "action": AuditSelection(action="action.7", since=100.0),
    "many actions": AuditSelection(action="action."),
    "object": AuditSelection(kind="order", object_id=7, actor="user:7"),
    "patient": AuditSelection(patients=(7, 9), action="action.7"),
}


def _count(connection: Connection, name: str) -> tuple[int, bool]:
    return trail.count(connection, TRAILS[name], 1000)


@pytest.mark.parametrize("name", TRAILS)
@pytest.mark.parametrize("after", [None, (COUNT / 4, 7)], ids=("first", "later"))
def test_pages_of_the_audit_trail(filled: Database, name: str, after: tuple[float, int] | None) -> None:
    caught = Caught(filled)
    caught.run(lambda connection: (trail.page(connection, TRAILS[name], after, 50), _count(connection, name)))
    for plan in caught.plans:  # all rows in the order of time are read from the end of their index
        assert not re.search(r"SCAN audit\b(?!.*USING)|Seq Scan on audit\b|USE TEMP B-TREE", plan), plan


def test_the_patients_of_an_identifier(filled: Database) -> None:
    caught = Caught(filled)
    caught.run(lambda connection: trail.patients(connection, "P"))
    for plan in caught.plans:
        assert not re.search(r"SCAN patient\b|USE TEMP B-TREE", plan), plan


def test_a_message_joins_what_it_names(filled: Database) -> None:
    """Of an authority whose two names have just been told."""
    caught, context = Caught(filled), StoryContext(uuid4(), datetime.now(UTC), "")

    def join(connection: Connection) -> None:
        for use in (use for use in AuthorityUse if joined_names.PLACES[use]):
            authorities.begin_join(connection, KnownAuthority(use, "HOSP", "2.999.3"), 1.0)
        for number in (7, 8):
            numbers = {"PATIENT": "P", "PLACER": "O", "FILLER": "F"}
            named = {AuthorityUse[use]: {f"{mark}{number}": ""} for use, mark in numbers.items()}
            identity.join(connection, named, context)
        place = joined_names.PLACES[AuthorityUse.PATIENT][0]
        assert joined_names.numbers_of(connection, place, "HOSP", 0, 2000) == ["P7", "P8"]

    caught.run(join)
    # on PostgreSQL a table without rows is read as a whole
    large = "patient|visit|service_request" + (
        "|patient_alias|tombstone|appointment" if filled.dialect == "sqlite" else ""
    )
    assert len(caught.plans) > 40
    for plan in caught.plans:
        assert not re.search(rf"SCAN ({large}|has|had|same|other)\b|Seq Scan on ({large})\b", plan), plan


def test_a_step_over_many_objects_takes_little_of_the_processor(filled: Database, tmp_path: Path) -> None:
    """Of 64 objects a purge holds the writer for some milliseconds, however many there are."""
    before, place = time.time() - 7 * DAY, (time.time() - 20 * DAY - COUNT / 3, 0)
    took: list[float] = []

    def purge(connection: Connection) -> None:
        rows = [one.place[1] for one in instances.purgeable(connection, before, place, 64)]
        began = time.process_time()
        assert len(instances.mark_purged(connection, rows, before)) == 64
        took.append(time.process_time() - began)
        raise Undone

    for _ in range(5):
        with pytest.raises(Undone):
            filled.execute(purge)
    assert min(took) < 0.02
