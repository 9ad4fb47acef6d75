"""Unknown devices are remembered within bounds: made-up AE titles keep no device off the list."""

from __future__ import annotations

from broker.store import knocks
from broker.store.db.database import Database
from broker.store.knocks import MAX_OF_ADDRESS, MAX_ROWS


def knock(database: Database, names: list[tuple[str, str]], start: float = 0.0) -> int:
    """Record a call of each, a second apart; how many were dropped for them."""

    def some(connection: object, first: int) -> int:
        part = enumerate(names[first : first + 100], first)
        return sum(knocks.record(connection, *who, start + n) for n, who in part)  # type: ignore[arg-type]

    return sum(database.submit(some, first).result() for first in range(0, len(names), 100))


def remembered(database: Database) -> set[tuple[str, str]]:
    return {(one.ae_title, one.address) for one in database.read(knocks.all_of).result()}


def test_an_address_with_ever_new_titles_drops_its_own_oldest(database: Database) -> None:
    knock(database, [("CT01", "10.0.0.1")])
    dropped = knock(database, [(f"EVIL{n}", "10.0.0.66") for n in range(1000)], 10)
    assert dropped == 1000 - MAX_OF_ADDRESS
    assert knock(database, [("MR01", "10.0.0.2")], 2000) == 0
    newest = {(f"EVIL{n}", "10.0.0.66") for n in range(1000 - MAX_OF_ADDRESS, 1000)}
    assert remembered(database) == newest | {("CT01", "10.0.0.1"), ("MR01", "10.0.0.2")}


def test_many_addresses_do_not_close_the_list(database: Database) -> None:
    knock(database, [("CT01", "10.0.0.1")])
    evil = [(f"EVIL{n}", f"10.0.{a}.66") for a in range(30) for n in range(MAX_OF_ADDRESS)]
    knock(database, evil, 10)
    knock(database, [("MR01", "10.0.0.2")], 5000)
    known = remembered(database)
    assert len(known) == MAX_ROWS
    assert {("CT01", "10.0.0.1"), ("MR01", "10.0.0.2")} <= known


def test_a_known_one_that_calls_again_drops_nobody(database: Database) -> None:
    knock(database, [(f"A{n}", "10.0.0.1") for n in range(MAX_OF_ADDRESS)])
    assert knock(database, [("A0", "10.0.0.1")], 100) == 0
    assert knock(database, [("B", "10.0.0.1")], 200) == 1
    assert ("A0", "10.0.0.1") in remembered(database)
    assert ("A1", "10.0.0.1") not in remembered(database)


def test_a_network_of_ipv6_addresses_keeps_no_device_off_the_list(database: Database) -> None:
    knock(database, [("CT01", "10.0.0.1")])
    knock(database, [(f"EVIL{n}", f"2001:db8::{n:x}") for n in range(1200)], 10)
    assert len(remembered(database)) == MAX_OF_ADDRESS + 1
    assert ("CT01", "10.0.0.1") in remembered(database)


def test_the_wrong_title_of_the_last_call_is_kept(database: Database) -> None:
    for called in ("BROKRE", "", "OTHER"):
        database.submit(knocks.record, "CT01", "10.0.0.1", 1.0, 1, [], called).result()
        assert [one.called for one in database.read(knocks.all_of).result()] == [called]
