"""Who sends HL7, and since when not: counted from the journal once, whatever happens in between."""

from __future__ import annotations

from datetime import UTC

import pytest
from support.store.journal import busy, receive

from broker.service.status import senders
from broker.service.status.senders import SenderCount
from broker.status.facts import SenderFact
from broker.store import senders as store
from broker.store.db.database import Database

HOUR, DAY = 3600.0, 86_400.0
NOW = 1_900_000_000.0


def facts(database: Database, now: float = NOW, listening_since: float = 0.0) -> dict[str, SenderFact]:
    found = SenderCount(database, UTC).facts(database.read(store.all_of).result(20), now, listening_since)
    return {fact.name: fact for fact in found}


def test_each_message_is_counted_once(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(senders, "PAGE", 7)
    count = SenderCount(database, UTC)
    count.count()
    assert facts(database) == {}
    receive(database, [("RIS|H", NOW - 500 + number) for number in range(20)] + [("LAB|", NOW - 100)])
    count.count()
    count.count()
    receive(database, [("RIS|H", NOW - 10)])
    SenderCount(database, UTC).count()  # after a restart
    found = facts(database)
    assert {name: (fact.messages, fact.last_at) for name, fact in found.items()} == {
        "RIS|H": (21, NOW - 10), "LAB|": (1, NOW - 100),
    }  # fmt: skip


def test_the_first_count_learns_from_what_is_there_and_a_silence_is_noticed(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time", lambda: NOW)
    receive(database, [("OLD|", NOW - 29 * DAY), *busy("RIS|H", 8, NOW)])
    SenderCount(database, UTC).count()
    assert list(facts(database)) == ["RIS|H"]  # the other one is of a time that is past
    well, silent = facts(database)["RIS|H"], facts(database, NOW + 2 * HOUR)["RIS|H"]
    assert (well.silent, silent.silent) == (False, True)
    assert silent.expected == pytest.approx(12, abs=1)
    # a broker that was off until just now blames nobody
    assert not facts(database, NOW + 2 * HOUR, listening_since=NOW + 1.9 * HOUR)["RIS|H"].silent


def test_names_without_end_or_sense_do_no_harm(database: Database) -> None:
    hostile = ["", "x" * 201, "a\x00b".replace("\x00", ""), "<script>|", "é" * 200, "%s|%(x)s"]
    receive(database, [(name, NOW) for name in hostile])
    SenderCount(database, UTC).count()
    assert set(facts(database)) == set(hostile[2:])


def test_what_another_version_wrote_is_begun_anew(database: Database) -> None:
    strange = store.SenderRecord(name="RIS|H", last_at=NOW, messages=5, rhythm="[1,2,3]")
    database.submit(store.keep, [strange], 0).result(20)
    receive(database, [("RIS|H", NOW + 60)])
    SenderCount(database, UTC).count()
    assert facts(database, NOW + 60)["RIS|H"].messages == 6
