"""Every statement of the pages of messages goes by an index and reads a bounded number of rows, on both databases.

The statements are those that the pages really run, caught on their way to the database. 20,000 messages, with
`BROKER_FULL=1` 500,000: where a plan reads a table, it would show at each size.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from sqlalchemy import create_engine, text
from support.scale import scaled
from support.store.journals import journal
from support.store.plans import indexed, plans

from broker.model.message import Direction, JournalFilter, Refusal
from broker.orders.journal import finding
from broker.orders.journal.finding import Subject
from broker.store.db import newest
from broker.store.db.database import Database
from broker.store.journal import dealt, linked, listing
from broker.store.orders import messages

COUNT = scaled(20_000, 500_000)
LARGE = "message|audit|sent_message|job"
FILTERS: tuple[dict[str, Any], ...] = (
    {},
    {"direction": Direction.OUT},
    {"refusal": Refusal.ANY},
    {"refusal": Refusal.OPEN, "since": time.time() - 86_400},
    {"refusal": Refusal.DEALT},
    {"answer_code": "AE"},
    {"party": "RARE|H"},
    {"party": "RARE", "direction": Direction.IN},
    {"message_type": "ADT"},
    {"finding": "103"},
    {"finding": "999", "direction": Direction.IN},
    {"since": time.time() - 3600, "until": time.time()},
)


@pytest.fixture(autouse=True)
def short_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look reads as small a part of the journal as it does of a long one."""
    monkeypatch.setattr(newest, "LOOK", 50)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def filled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('journal') / 'broker.db'}"
    else:
        server = request.getfixturevalue("postgresql")
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            connection.execute("CREATE DATABASE journal")
        url = server.get_uri(database="journal").replace("postgresql://", "postgresql+psycopg://", 1)
    database = Database(url)  # with the schema
    engine = create_engine(url)  # no deadlines
    with engine.begin() as connection:
        for statement in journal(1, COUNT, postgresql=request.param == "postgresql"):
            connection.execute(text(statement.replace(":", "\\:")))
    if request.param == "postgresql":
        with engine.begin() as connection:
            connection.execute(text("ANALYZE"))
    engine.dispose()
    yield database
    database.close()


@pytest.mark.parametrize("wanted", FILTERS, ids=["-".join(wanted) or "all" for wanted in FILTERS])
def test_a_page_and_its_count_go_by_an_index(filled: Database, wanted: dict[str, Any]) -> None:
    asked = JournalFilter(**wanted)
    middle = (time.time() - COUNT * 1.5, COUNT)
    indexed(plans(filled, listing.page, asked, None, 51), LARGE)
    indexed(plans(filled, listing.page, asked, middle, 51), LARGE)
    indexed(plans(filled, listing.count, asked, 10_000), LARGE)


@pytest.mark.parametrize(
    "subject", [Subject(orders=(17,)), Subject(patients=(17,)), Subject(only=(5, 6))], ids=["exam", "patient", "only"]
)
def test_the_messages_of_somebody_go_by_keys(filled: Database, subject: Subject) -> None:
    found = filled.read(finding.listed, JournalFilter(), subject, None, 50, 10_000).result(60)
    assert found.total == len(found.page.rows) >= 2
    indexed(plans(filled, finding.listed, JournalFilter(), subject, None, 50, 10_000), LARGE)


def test_one_message_and_what_is_typed(filled: Database) -> None:
    record = filled.read(messages.load_record, 5).result(60)
    assert record is not None
    assert filled.read(linked.effects, 5, record.sender, record.received_at).result(60)
    indexed(plans(filled, linked.effects, 5, record.sender, record.received_at), LARGE)
    refused = filled.read(finding.by_text, "QZPAT100").result(60)
    assert refused is not None
    indexed(plans(filled, finding.by_text, "QZPAT100"), LARGE)
    indexed(plans(filled, finding.by_text, "nowhere"), LARGE)


def test_a_rare_filter_reads_no_more_than_is_looked_at(filled: Database) -> None:
    """However long the journal is: FAR rows for one page."""
    page = filled.read(listing.page, JournalFilter(message_type="ADT", direction=Direction.IN), None, 50).result(60)
    assert page.rows == []
    assert (page.after is not None) == (COUNT >= listing.FAR)


def test_marking_goes_by_key(filled: Database) -> None:
    assert filled.execute(dealt.mark, 50, 1.0, "user:anna", "typed in")
    assert not filled.execute(dealt.mark, 51, 1.0, "user:anna", "typed in")
    assert filled.execute(dealt.unmark, 50)
