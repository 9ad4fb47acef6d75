"""Last contacts with nodes: noted in memory, written behind, merged with other processes, kept over a restart."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from sqlalchemy import Connection

from broker.errors import StoreUnavailable
from broker.model.contact import Contact, ContactKind
from broker.service.workers.channel import Report
from broker.site import contacts
from broker.site.contacts import ContactBook
from broker.site.directory import Directory
from broker.site.nodes import parse_nodes
from broker.store import contacts as store
from broker.store.db.database import Database

CT = {"name": "ct1", "kind": "dicom", "ae_title": "CT01", "host": "127.0.0.2", "roles": ["modality"]}
RIS = {"name": "ris", "kind": "hl7", "application": "RIS", "facility": "HOSP", "roles": ["ris"]}


def directory() -> Directory:
    return Directory(parse_nodes([CT, RIS]))


def at(database: Database, *made: Contact) -> None:
    database.submit(store.keep, made).result()


def test_what_was_noted_is_there_before_and_after_a_restart(database: Database) -> None:
    book = ContactBook(database, directory())
    book.called("CT01", "127.0.0.2", ContactKind.QUERY)
    book.called("CT01", "127.0.0.2", ContactKind.IMAGE)
    book.sent_by("RIS", "HOSP", ContactKind.MESSAGE)
    book.noted("pacs", ContactKind.FAILED, "connection-refused")
    book.noted("pacs", ContactKind.DELIVERY)
    before = book.all()
    assert set(before) == {"ct1", "ris", "pacs"}
    assert before["ct1"].last_in == before["ct1"].by_kind[ContactKind.IMAGE]
    assert before["ct1"].last_out is None
    assert before["pacs"].last_out == before["pacs"].by_kind[ContactKind.DELIVERY]
    assert before["pacs"].by_kind[ContactKind.FAILED].detail == "connection-refused"
    book.close()
    assert ContactBook(database, directory()).all() == before


def test_an_echo_of_a_node_is_told_whichever_process_took_it(database: Database) -> None:
    told: list[str] = []
    book = ContactBook(database, directory())
    book.follow_echoes(told.append)
    book.called("CT01", "127.0.0.2", ContactKind.ECHO)
    book.called("CT01", "127.0.0.2", ContactKind.QUERY)
    book.called("MADE_UP", "10.0.0.1", ContactKind.ECHO)
    assert told == ["ct1"]
    book.heard([Contact("pacs", ContactKind.ECHO, 1.0), Contact("pacs", ContactKind.IMAGE, 1.0)])
    assert told == ["ct1", "pacs"]


def test_who_is_no_node_leaves_nothing(database: Database) -> None:
    book = ContactBook(database, directory())
    book.called("MADE_UP", "10.0.0.1", ContactKind.ECHO)
    book.called("X" * 100_000, "10.0.0.1", ContactKind.ECHO)
    book.sent_by("RIS", "OTHER", ContactKind.MESSAGE)
    assert book.all() == {}
    assert book.of("MADE_UP").last_in is None


def test_ever_new_callers_are_not_all_remembered(database: Database) -> None:
    book = ContactBook(database, directory())
    for number in range(contacts.MAX_CALLERS + 10):
        book.called(f"A{number}", "10.0.0.1", ContactKind.ECHO)
    assert len(book._callers) <= contacts.MAX_CALLERS


def test_a_node_that_came_later_is_found(database: Database) -> None:
    found = Directory()
    book = ContactBook(database, found)
    book.called("CT01", "127.0.0.2", ContactKind.ECHO)
    found.take(parse_nodes([CT]))
    book.called("CT01", "127.0.0.2", ContactKind.QUERY)
    assert set(book.of("ct1").by_kind) == {ContactKind.QUERY}


def test_a_later_contact_of_another_process_stays(database: Database) -> None:
    at(database, Contact("ct1", ContactKind.IMAGE, 200.0, "later"))
    at(database, Contact("ct1", ContactKind.IMAGE, 100.0), Contact("ct1", ContactKind.QUERY, 100.0))
    assert database.read(store.all_of, "ct1").result() == [
        Contact("ct1", ContactKind.IMAGE, 200.0, "later"),
        Contact("ct1", ContactKind.QUERY, 100.0),
    ]
    assert database.read(store.all_of, "ct2").result() == []


def test_what_another_process_tells_is_seen_before_it_is_written(database: Database) -> None:
    """It took up to 15 s: until it was written, and read again."""
    first, worker = ContactBook(database, directory()), ContactBook(database, directory())
    assert worker.untold() == []  # from now on it keeps what it will tell
    worker.called("CT01", "127.0.0.2", ContactKind.QUERY)
    worker.called("CT01", "127.0.0.2", ContactKind.QUERY)
    told = Report.decode(Report(True, True, [], worker.untold()).encode().encode()).contacts
    assert [(one.node, one.kind) for one in told] == [("ct1", ContactKind.QUERY)]
    assert worker.untold() == []
    first.heard([*told, Contact("ct1", ContactKind.QUERY, 100.0)])
    assert first.of("ct1").by_kind[ContactKind.QUERY] == told[0]
    first.flush(everything=True)
    assert database.read(store.all_of).result() == []  # whose they are writes them


def test_much_traffic_is_few_writes(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []
    keep = store.keep

    def counted(connection: Connection, made: Sequence[Contact]) -> Sequence[Contact]:
        written.append(len(made))
        return keep(connection, made)

    monkeypatch.setattr(store, "keep", counted)
    book = ContactBook(database, directory())
    for _ in range(20):
        for _ in range(100):
            book.called("CT01", "127.0.0.2", ContactKind.IMAGE)
        book.flush()
    assert written == [1]
    book.flush(everything=True)
    book.flush(everything=True)
    assert written == [1, 1]


def test_while_the_database_is_away_pages_show_what_is_known(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(database, Contact("pacs", ContactKind.DELIVERY, 100.0))
    book = ContactBook(database, directory())
    assert set(book.all()) == {"pacs"}

    def away(*_: object) -> None:
        raise StoreUnavailable("away")

    monkeypatch.setattr(store, "all_of", away)
    monkeypatch.setattr(store, "keep", away)
    monkeypatch.setattr(contacts, "FRESH", 0.0)
    book.called("CT01", "127.0.0.2", ContactKind.ECHO)
    assert set(book.all()) == {"pacs", "ct1"}
    book.close()  # what cannot be kept ends nothing
