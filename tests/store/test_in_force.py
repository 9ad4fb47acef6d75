"""Documents in force: published with author, reason and audit row, checked together, taken over by every process."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import pytest
from sqlalchemy import Connection, select
from structlog.testing import capture_logs
from support.loops import SOON
from support.peers.tools import wait_until

from broker.errors import ConfigurationError
from broker.store import configurations
from broker.store.configurations import Publication
from broker.store.db.database import Database
from broker.store.schema import tables
from broker.versions.in_force import Audited, Conflict, Documents, InForce, NoSuchVersion, Signature
from broker.versions.watch import Watch

ANNA = Signature(actor="cli:anna", reason="to try")


def total(documents: Documents) -> int:
    """The value of a family in these tests; documents are numbers, and a negative sum cannot be used."""
    found = sum(version.document for version in documents.values())
    if found < 0:
        raise ConfigurationError("left: the sum is negative")
    return found


def family(database: Database, **more: Any) -> InForce[int]:
    """Two documents that make sense only together."""
    return InForce(database, "left+right", total, **more)


def audit(connection: Connection) -> list[tuple[str, str, str, int, dict[str, Any]]]:
    t = tables.audit.c
    rows = connection.execute(select(t.actor, t.action, t.object_kind, t.object_id, t.detail).order_by(t.id))
    return [(row[0], row[1], row[2], row[3], json.loads(row[4])) for row in rows]


def test_a_publication_is_in_force_here_at_once_and_elsewhere_at_the_next_look(database: Database) -> None:
    here, there = family(database), family(database)
    assert (here.value, there.value) == (0, 0)
    assert here.publish({"left": 1, "right": 2}, ANNA) == {"left": 1, "right": 1}
    assert (here.value, there.value) == (3, 0)
    assert there.refresh() is True
    assert (there.value, there.refresh()) == (3, False)
    assert here.publish({"left": 5}, ANNA) == {"left": 2, "right": 1}
    Watch(database, there).look()
    assert there.value == 7


def test_a_watch_notices_soon(database: Database) -> None:
    here, there = family(database), family(database)
    assert there.value == 0
    watch = Watch(database, there)
    watch.start()
    try:
        for number in range(1, 4):
            here.publish({"left": number}, ANNA)
            wait_until(lambda number=number: there.value == number, SOON, "the value is in force there")
    finally:
        watch.stop()


def test_who_why_and_the_audit_row_are_stored_with_the_version(database: Database) -> None:
    here = family(database)
    here.publish({"left": 1}, ANNA)
    here.publish({"left": 2}, Signature(actor="api", author="Bob", source="site file"))
    second, first = here.history("left")
    assert (first.version, first.author, first.reason, first.source) == (1, "cli:anna", "to try", "cli:anna")
    assert (second.version, second.author, second.reason, second.source) == (2, "Bob", "", "site file")
    assert 0 < first.at <= second.at <= time.time()
    assert here.publication("left", 1) == first
    assert here.publication("left", 3) is None
    assert database.read(audit).result() == [
        ("cli:anna", "left.published", "left", 1, {"kind": "left", "reason": "to try"}),
        ("api", "left.published", "left", 2, {"kind": "left", "author": "Bob"}),
    ]


def test_what_is_in_force_just_so_makes_no_new_version(database: Database) -> None:
    here = family(database)
    here.publish({"left": 1, "right": 1}, ANNA)
    assert here.publish({"left": 1, "right": 2}, ANNA) == {"left": 1, "right": 2}
    assert len(database.read(audit).result()) == 3


def test_documents_are_checked_together_and_a_refusal_changes_nothing(database: Database) -> None:
    def even(documents: Documents) -> None:
        if any(version.document % 2 for version in documents.values()):
            raise ConfigurationError("left: odd")

    here = family(database, check=even)
    here.publish({"left": 4}, ANNA)
    with pytest.raises(ConfigurationError, match="negative"):
        here.publish({"right": -6}, ANNA)
    with pytest.raises(ConfigurationError, match="odd"):
        here.publish({"right": 1}, ANNA)
    here.publish({"right": -4}, ANNA)
    with pytest.raises(ConfigurationError, match="negative"):
        here.publish({"left": 2}, ANNA)
    assert (here.value, database.read(configurations.numbers).result()) == (0, {"left": 1, "right": 1})


def test_an_edit_of_an_older_version_is_refused(database: Database) -> None:
    here = family(database)
    here.publish({"left": 1}, ANNA, expected={"left": 0})
    here.publish({"left": 2}, ANNA, expected={"left": 1})
    for number in (0, 1, 3):
        with pytest.raises(Conflict):
            here.publish({"left": 9}, ANNA, expected={"left": number})
    assert here.value == 2


def test_who_publishes_at_the_same_time_is_checked_again(database: Database) -> None:
    here, other = family(database), family(database)
    others = iter((-10, None))

    def change(documents: Documents) -> dict[str, int]:
        if (one := next(others, None)) is not None:
            other.publish({"right": 20}, ANNA)
            other.publish({"left": one}, ANNA)  # between the check and the transaction
        return {"left": documents["left"].document + 1 if "left" in documents else 1}

    assert here.publish(change, ANNA)["left"] == 2
    assert here.at_version("left", 2).document == -9
    assert here.value == 11


def test_many_who_publish_at_once_all_get_through_or_are_told(database: Database) -> None:
    def add(documents: Documents) -> dict[str, int]:
        return {"left": (documents["left"].document if "left" in documents else 0) + 1}

    def publish(_: int) -> int:
        try:
            return family(database).publish(add, ANNA)["left"]
        except Conflict:
            return 0

    with ThreadPoolExecutor(4) as pool:
        numbers = [number for number in pool.map(publish, range(12)) if number]
    assert sorted(numbers) == list(range(1, len(numbers) + 1))  # each version is one publication
    assert family(database).value == len(numbers)
    assert len(database.read(audit).result()) == len(numbers)


def test_a_rollback_is_a_new_version(database: Database) -> None:
    here = family(database)
    with pytest.raises(NoSuchVersion):
        here.rollback("left", None, ANNA)
    here.publish({"left": 1}, ANNA)
    with pytest.raises(NoSuchVersion):
        here.rollback("left", None, ANNA)
    here.publish({"left": 2}, ANNA)
    here.publish({"left": 3}, ANNA)
    assert here.rollback("left", None, ANNA) == 4
    assert here.value == 2
    assert here.rollback("left", 1, Signature(actor="api")) == 5
    assert (here.value, here.at_version("left", 3).document) == (1, 3)
    assert database.read(audit).result()[-1][4] == {"kind": "left", "again": 1}
    with pytest.raises(NoSuchVersion):
        here.rollback("left", 99, ANNA)


def test_a_version_that_this_program_cannot_use_leaves_the_old_one_in_force(database: Database) -> None:
    here = family(database)
    here.publish({"left": 3}, ANNA)
    assert here.value == 3
    database.submit(configurations.add, "left", -1, source="a newer program", at=1.0).result()
    with capture_logs() as logs:
        assert here.refresh() is False
        assert here.refresh() is False
    assert [(log["event"], log["version"], log["log_level"]) for log in logs] == [("left.not_loaded", 2, "error")]
    assert here.value == 3
    with pytest.raises(ConfigurationError):
        _ = family(database).value
    assert here.rollback("left", 1, ANNA) == 3
    assert here.value == 3


def test_what_belongs_to_a_publication_is_in_its_transaction(database: Database) -> None:
    def fail(connection: Connection) -> None:
        raise ConfigurationError("no")

    here = family(database)
    with pytest.raises(ConfigurationError):
        here.publish({"left": 1}, ANNA, also=fail)
    assert database.read(configurations.numbers).result() == {}
    assert database.read(audit).result() == []
    here.publish({"left": 1}, ANNA, audited=Audited("left.admitted", {"who": 7}))
    assert database.read(audit).result() == [
        ("cli:anna", "left.admitted", "left", 1, {"who": 7, "reason": "to try"}),
    ]


def test_followers_are_told_after_the_value_is_in_force(database: Database) -> None:
    applied: list[int] = []
    told: list[int] = []
    here = family(database, apply=applied.append)
    here.follow(lambda: told.append(here.value))
    assert here.value == 0
    here.publish({"left": 1}, ANNA)
    here.publish({"left": 1}, ANNA)
    here.publish({"left": 2}, ANNA)
    assert (applied, told) == ([0, 1, 2], [1, 2])


def test_a_family_by_the_beginning_of_kinds_leaves_others_alone(database: Database) -> None:
    here = InForce(database, "sum:", total)
    here.publish({"sum:a": 1, "sum:b": 2}, ANNA)
    InForce(database, "summer", total).publish({"summer": 100}, ANNA)
    assert (here.value, here.owns("sum:c"), here.owns("summer")) == (3, True, False)
    assert here.stored().keys() == {"sum:a", "sum:b"}


def test_the_numbers_of_many_versions_of_many_kinds(database: Database) -> None:
    def fill(connection: Connection) -> None:
        for number in range(1, 31):
            for kind in ("a", "nodes", "mapping:Ä", "mapping:b", "rules")[: 1 + number % 5]:
                configurations.add(connection, kind, number, source="test", at=float(number))

    assert database.read(configurations.numbers).result() == {}
    database.submit(fill).result()
    numbers = database.read(configurations.numbers).result()
    assert numbers == {"a": 30, "nodes": 24, "mapping:Ä": 18, "mapping:b": 12, "rules": 6}
    newest = database.read(configurations.newest, ["rules", "nodes", "none"]).result()
    assert {kind: version.version for kind, version in newest.items()} == {"rules": 6, "nodes": 24}
    assert [entry.version for entry in database.read(configurations.history, "rules", 2).result()] == [6, 5]


def test_a_version_of_before_has_neither_author_nor_reason(database: Database) -> None:
    database.submit(configurations.add, "left", 1, source="site file", at=5.0).result()
    assert family(database).history("left") == [Publication(kind="left", version=1, at=5.0, source="site file")]


def test_who_refreshes_waits_for_a_take_over_under_way(database: Database) -> None:
    """A publication is in force here when `publish` returns, though the watch takes it over at the same moment."""
    building, go_on = threading.Event(), threading.Event()

    def slowly(documents: Documents) -> int:
        if documents and threading.current_thread() is not threading.main_thread():
            building.set()
            go_on.wait(10)
        return total(documents)

    here, there = InForce(database, "left+right", slowly), family(database)
    assert (here.value, there.value) == (0, 0)
    there.publish({"left": 7}, ANNA)
    with ThreadPoolExecutor(2) as pool:
        watching = pool.submit(here.refresh)
        assert building.wait(10)
        refreshing = pool.submit(lambda: (here.refresh(), here.value))
        early, _ = wait([refreshing], timeout=0.2)
        go_on.set()
        assert (watching.result(10), refreshing.result(10)) == (True, (False, 7))
    assert not early
