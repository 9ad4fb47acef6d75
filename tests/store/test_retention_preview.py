"""What is shown to go next is what goes: the preview of each rule beside its deletion, on both databases."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Table, insert, select, text, update
from support.delivery.receiving import ReceptionPlace, Restless
from support.peers.tools import wait_until
from support.service.rest import application, asking
from support.store.history import around, history

from broker.errors import StoreUnavailable
from broker.model.lane import JobState
from broker.routing import sweep
from broker.settings import Settings
from broker.status import retention
from broker.status.retention import Retention
from broker.store import thinning
from broker.store.ageing import preview, spooled
from broker.store.ageing.preview import AHEAD, RuleForecast
from broker.store.ageing.schedule import DAY, scheduled
from broker.store.db.database import Database
from broker.store.db.deadlines import unhurried
from broker.store.db.pace import MOST as LARGEST
from broker.store.db.pace import Pace
from broker.store.images.instances import InstanceState
from broker.store.schema import tables

COUNT = 1200  # objects: more than two pages
NOW = time.time()
SETTINGS = Settings.model_validate({
    "retention": {"objects_days": 50, "step_events_days": 30},
    "orders": {"keep_cancels_days": 7},
    "delivery": {"keep_days": 7, "keep_held_days": 20, "keep_discarded_days": 10},
})  # fmt: skip
ALL = {"rule": [{"name": "all", "when": {"field": "tag.Modality", "op": "exists"}, "send": ["pacs"]}]}
ZEROS: dict[type, Any] = {int: 0, float: 0.0, bool: True, bytes: b""}


def row_of(table: Table, number: int, **values: Any) -> dict[str, Any]:
    """A row with something in each column that needs it."""
    needed = [c for c in table.c if not c.nullable and c.server_default is None and c.name not in ("id", *values)]
    return {column.name: ZEROS.get(column.type.python_type, str(number)) for column in needed} | values


def others(connection: Connection) -> None:
    """Rows of the tables that `history` and `around` leave empty: old, soon old, and young ones."""
    for table, column, days in (
        (tables.sent_message, "at", 400), (tables.knock, "last_at", 90), (tables.tombstone, "at", 7),
        (tables.gathering, "last_at", 50), (tables.notice, "at", 30), (tables.appointment, "at", 30),
    ):  # fmt: skip
        state = {"state": "done"} if table is tables.gathering else {}
        ages = enumerate(age for age in (days + 1, days - 2, 0) for _ in range(3))
        rows = [row_of(table, number, **{column: NOW - age * DAY}, **state) for number, age in ages]
        connection.execute(insert(table), rows)
    judged = {"received_at": 1.0, "judged_at": 1.0, "state": "judged"}
    connection.execute(insert(tables.commitment), [row_of(tables.commitment, n, **judged) for n in range(3)])


@pytest.fixture
def filled(database: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    monkeypatch.setattr(preview, "SECONDS", 60.0)
    some_bytes = "x'00'" if database.dialect == "sqlite" else "decode('00', 'hex')"

    def fill(connection: Connection) -> None:
        for statement in (*history(COUNT, some_bytes), *around(COUNT // 2, some_bytes)):
            connection.execute(text(statement.replace(":", "\\:")))
        others(connection)
        for one in scheduled(SETTINGS, NOW):  # the last rows of large tables are three days too young
            table, key = one.rule.age.table, one.rule.key[0]
            if one.rule.grows and table not in (tables.job, tables.instance, tables.study):
                edge = connection.execute(select(key).order_by(key.desc()).offset(100).limit(1)).scalar()
                young = {one.rule.age.name: NOW - (one.days - 3) * DAY}
                if edge is not None:
                    connection.execute(update(table).where(key > edge).values(**young))

    database.execute(unhurried(fill))
    return database


def brisk(database: Database) -> Pace:
    """A pace without rests, of large steps."""
    pace = Restless(database)
    pace.size = LARGEST
    return pace


def forecasts(database: Database, now: float) -> dict[str, RuleForecast]:
    return {one.name: one for one in preview.of_tables(database, SETTINGS, now)}


def test_each_rule_deletes_what_its_preview_shows(filled: Database) -> None:
    """In the order of the duty: each rule is looked at when those before it have run."""
    seen: dict[str, RuleForecast] = {}
    later = [one.rule for one in scheduled(SETTINGS, NOW + AHEAD * DAY)]
    for one, then in zip(scheduled(SETTINGS, NOW), later, strict=True):
        name, shown = one.rule.name, preview.of_rule(filled, one, then, NOW)
        in_a_week = preview.of_rule(filled, one, then, NOW + AHEAD * DAY)
        assert not shown.more
        assert in_a_week.over == shown.over + shown.soon, name
        assert thinning.thin(brisk(filled), one.rule, NOW - one.days * DAY) == shown.over, name
        after = preview.of_rule(filled, one, then, NOW)
        assert (after.over, after.soon, after.kept) == (0, shown.soon, shown.kept), name
        seen[name] = shown
    empty = {name for name, shown in seen.items() if not shown.over}
    assert empty <= {"former-patients"}  # that are made by the rule before
    assert {name for name, shown in seen.items() if shown.soon} >= {
        "audit", "messages", "sent-messages", "step-events", "gatherings", "knocks", "cancels", "appointments"
    }  # fmt: skip
    assert {name for name, shown in seen.items() if shown.kept} >= {"mpps", "orders", "patients"}


def test_what_waits_for_another_rule_is_told_as_kept(filled: Database) -> None:
    before = forecasts(filled, NOW)
    objects = before["objects"]
    assert (objects.over, objects.kept) == (0, COUNT // 2)  # all of them have jobs
    assert "jobs" in objects.after
    thinning.thin(brisk(filled), thinning.JOBS, NOW - 30 * DAY)
    after = forecasts(filled, NOW)["objects"]
    assert after.over > 0
    assert after.over + after.kept == objects.kept


def test_nothing_is_written_and_nothing_is_counted_of_a_rule_that_is_off(filled: Database) -> None:
    never = Settings.model_validate({"retention": {"audit_days": 0}})
    (audit,) = (one for one in preview.of_tables(filled, never, NOW) if one.name == "audit")
    assert (audit.days, audit.over, audit.soon, audit.kept, audit.oldest) == (0, 0, 0, 0, 1.0)
    assert filled.written_at is not None
    at = filled.written_at
    forecasts(filled, NOW)
    list(spooled.of_spool(filled, SETTINGS, NOW))
    assert filled.written_at == at


@pytest.mark.parametrize("bound", ["MOST", "SECONDS"])
def test_a_count_is_bounded(filled: Database, monkeypatch: pytest.MonkeyPatch, bound: str) -> None:
    monkeypatch.setattr(preview, bound, {"MOST": 7, "SECONDS": -1.0}[bound])
    found = forecasts(filled, NOW)
    assert found["audit"].more
    assert found["audit"].over <= thinning.PAGE
    if bound == "MOST":
        assert (found["import-notes"].over, found["import-notes"].more) == (7, True)


def test_the_rules_that_come_before_are_there() -> None:
    names = {one.rule.name for one in scheduled(SETTINGS, NOW)}
    names |= {spooled.DELIVERED, spooled.DISCARDED}
    assert preview.AFTER.keys() <= names
    assert {name for others in preview.AFTER.values() for name in others} <= names


@pytest.fixture
def place(database: Database, tmp_path: Path) -> Iterator[ReceptionPlace]:
    made = ReceptionPlace(database, tmp_path / "spool")
    yield made
    made.spool.close()


def test_what_goes_of_the_spool_is_what_is_shown(place: ReceptionPlace, tmp_path: Path) -> None:
    """Nine objects: three states, each with one that goes, one that goes soon, and one that stays."""
    place.in_force(ALL, 2)
    for number in range(9):
        place.take(number)
    ages = {"routed": (8.0, 5.0, 0.0), "discarded": (11.0, 9.0, 0.0), "held": (21.0, 19.0, 0.0)}

    def change(connection: Connection) -> None:
        connection.execute(update(tables.job).values(state=JobState.DONE, done_at=NOW - 30 * DAY))
        for place_, (state, three) in enumerate(ages.items()):
            for number, age in enumerate(three):
                values = {"state": state, "received_at": NOW - age * DAY, "discarded_at": NOW - age * DAY}
                row = tables.instance.c.id == 3 * place_ + number + 1
                connection.execute(update(tables.instance).where(row).values(**values))

    place.database.execute(change)
    found = {one.name: one for one in spooled.of_spool(place.database, SETTINGS, NOW)}
    for name in (spooled.DELIVERED, spooled.DISCARDED, spooled.HELD):
        assert (found[name].over, found[name].soon, found[name].kept, found[name].more) == (1, 1, 0, False), name
        assert found[name].bytes_over == found[name].bytes_soon
    sizes = sorted(sum(row[name] for name in ("data_offset", "data_length")) for row in place.rows())
    assert found[spooled.DELIVERED].bytes_over == sizes[0] == sizes[-1]
    pace, kept = brisk(place.database), SETTINGS.delivery
    assert sweep.purge_delivered(pace, place.spool, kept.keep_days, kept.keep_discarded_days) == 1
    assert sweep.discard_held(pace, kept.keep_held_days) == 1
    assert sweep.purge_discarded(pace, place.spool, kept.keep_discarded_days) == 1
    states = [row["state"] for row in place.rows()]
    assert states == ["purged", "routed", "routed", "purged", "discarded", "discarded", "discarded", "held", "held"]
    after = {one.name: one for one in spooled.of_spool(place.database, SETTINGS, NOW)}
    assert [after[name].over for name in (spooled.DELIVERED, spooled.DISCARDED, spooled.HELD)] == [0, 0, 0]


def test_held_deliveries_that_are_given_up_are_shown(place: ReceptionPlace) -> None:
    place.in_force(ALL, 2)
    for number in range(3):
        place.take(number)

    def change(connection: Connection) -> None:
        job = tables.job
        for number, age in enumerate((21.0, 19.0, 0.0), 1):
            values = {"state": JobState.HELD, "created_at": NOW - age * DAY}
            connection.execute(update(job).where(job.c.subject == number).values(**values))

    place.database.execute(change)
    found = {one.name: one for one in spooled.of_spool(place.database, SETTINGS, NOW)}
    shown = found[spooled.HELD_DELIVERIES]
    assert (shown.over, shown.soon, shown.oldest) == (1, 1, pytest.approx(NOW - 21 * DAY))
    assert found[spooled.DELIVERED].kept == 0  # they are young; what waits is not given to deletion
    assert sweep.discard_held(brisk(place.database), SETTINGS.delivery.keep_held_days) == 1
    assert [row["state"] for row in place.rows()] == [InstanceState.ROUTED] * 3


def test_page_and_rest_show_the_same(filled: Database) -> None:
    with asking(application(filled, SETTINGS), base="http://broker") as client:
        rules = {rule["name"]: rule for rule in client.get("/api/v1/retention").json()["rules"]}
        page = client.get("/retention", headers={"Accept": "text/html"})
    assert [rule["name"] for rule in rules.values()][:4] == [
        "delivered-objects", "held-objects", "held-deliveries", "discarded-objects"
    ]  # fmt: skip
    assert page.status_code == 200
    rows = re.findall(r"<tr>\n<th scope=.row.>(.*?) .*?</tr>", page.text, re.DOTALL)
    assert len(rows) == len(rules)
    for rule in rules.values():
        assert rule["what"] in page.text
    knocks = page.text[page.text.index("unknown devices") :]
    assert re.findall(r'At the next run">(\d+)<', knocks)[0] == str(rules["knocks"]["over"]) == "3"
    assert "these may free them:" in page.text


def test_who_asks_again_is_told_the_last_count_while_another_is_made(
    filled: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    looking = Retention(filled, SETTINGS, tuple)
    first = looking.look()
    monkeypatch.setattr(retention, "FRESH", 0.0)
    looking._lock.acquire()  # a count takes long
    try:
        assert looking.look() == first
    finally:
        looking._lock.release()
    wait_until(lambda: looking.look().at > first.at, 30, "the new count")
    now = looking.look()
    monkeypatch.setattr(retention, "LATEST", 0.0)
    assert looking.look().at > now.at  # nobody is told an old one


def test_a_count_beside_that_fails_is_no_answer(filled: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    looking = Retention(filled, SETTINGS, tuple)
    first = looking.look()
    asked: list[float] = []

    def away(_database: Database, _settings: Settings, now: float) -> Iterator[Any]:
        asked.append(now)
        raise StoreUnavailable("away")

    monkeypatch.setattr(retention, "FRESH", 0.0)
    monkeypatch.setattr(spooled, "of_spool", away)
    assert looking.look() == first
    wait_until(lambda: asked and not looking._lock.locked(), 30, "the count beside")
    monkeypatch.setattr(retention, "LATEST", 0.0)
    with pytest.raises(StoreUnavailable):
        looking.look()
