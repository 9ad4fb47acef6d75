"""The journal of messages, received and sent, as one list: filters, pages, whose they are; on both databases."""

from __future__ import annotations

import time
from typing import Any

import pytest
from support.orders.journal import order_message, send, tell

from broker.model.message import Direction, JournalFilter, MessageRecord, Refusal
from broker.model.modalities import known_modalities
from broker.orders.journal import dealing, finding, sending
from broker.orders.journal.finding import Subject
from broker.orders.journal.reading import JournalReader
from broker.orders.mapping_versions import Mappings
from broker.settings import load
from broker.site.directory import Directory
from broker.store.db import newest
from broker.store.db.database import Database
from broker.store.db.newest import Place
from broker.store.journal import linked, listing


def shown(database: Database, after: Place | None = None, limit: int = 100, **wanted: Any) -> list[str]:
    """Messages as `in 3` or `out 1`, the newest first."""
    page = database.read(listing.page, JournalFilter(**wanted), after, limit).result(20)
    return [f"{'in' if isinstance(row, MessageRecord) else 'out'} {row.row}" for row in page.rows]


def counted(database: Database, most: int = 100, **wanted: Any) -> tuple[int, bool]:
    found: tuple[int, bool] = database.read(listing.count, JournalFilter(**wanted), most).result(20)
    return found


@pytest.fixture
def journal(database: Database) -> Database:
    """Two orders, one that is refused, one with a warning, an order of another sender; the RIS was told twice."""
    answers = send(
        database,
        order_message(1),
        order_message(2),
        order_message(3, modality="TQQ9"),
        order_message(4, birth="19700000"),
        order_message(5, sender="OTHER"),
    )
    assert [b"MSA|AA" in answer for answer in answers] == [True, True, False, True, True]
    now = time.time()
    tell(database, 1, now + 1, code="AE")
    tell(database, 1, now + 2)
    return database


def test_both_journals_are_one_list_newest_first(journal: Database) -> None:
    assert shown(journal) == ["out 2", "out 1", "in 5", "in 4", "in 3", "in 2", "in 1"]
    assert counted(journal) == (7, True)
    assert counted(journal, most=3) == (3, False)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_pages_lose_nothing_and_repeat_nothing(journal: Database, size: int) -> None:
    found: list[str] = []
    after: Place | None = None
    for _ in range(20):
        page = journal.read(listing.page, JournalFilter(), after, size).result(20)
        found += shown(journal, after, size)
        after = newest.place_of(newest.place_text(page.after)) if page.after else None
        if after is None:
            break
    assert found == ["out 2", "out 1", "in 5", "in 4", "in 3", "in 2", "in 1"]


def test_messages_of_one_moment_are_told_apart(database: Database) -> None:
    for number in range(3):
        tell(database, number + 1, 1_900_000_000.0)
    first = database.read(listing.page, JournalFilter(), None, 2).result(20)
    assert [row.row for row in first.rows] == [3, 2]
    assert shown(database, first.after) == ["out 1"]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"direction": Direction.OUT}, ["out 2", "out 1"]),
        ({"direction": Direction.IN, "party": "OTHER"}, ["in 5"]),
        ({"party": "OTHER|SITE"}, ["in 5"]),
        ({"party": "OTH"}, []),
        ({"party": "%"}, []),
        ({"party": "ris"}, ["out 2", "out 1"]),
        ({"refusal": Refusal.ANY}, ["in 3"]),
        ({"refusal": Refusal.OPEN}, ["in 3"]),
        ({"refusal": Refusal.DEALT}, []),
        ({"answer_code": "AE"}, ["out 1", "in 3"]),
        ({"message_type": "ORM", "answer_code": "AA"}, ["out 2", "in 5", "in 4", "in 2", "in 1"]),
        ({"message_type": "ORM^O02"}, []),
        ({"finding": "204"}, ["out 1"]),
        ({"finding": "102"}, ["in 4"]),
        ({"finding": "103"}, ["in 3"]),
        ({"until": 1.0}, []),
        ({"since": 4e9}, []),
    ],
)
def test_filters(journal: Database, wanted: dict[str, Any], expected: list[str]) -> None:
    assert shown(journal, **wanted) == expected
    assert counted(journal, **wanted) == (len(expected), True)


def test_a_rare_filter_looks_back_so_far_and_says_so(journal: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newest, "LOOK", 1)
    monkeypatch.setattr(listing, "FAR", 2)
    page = journal.read(listing.page, JournalFilter(direction=Direction.IN, message_type="ORU"), None, 50).result(20)
    assert page.rows == []
    assert page.after is not None
    assert counted(journal, direction=Direction.IN, message_type="ORU") == (0, False)
    assert shown(journal, page.after, direction=Direction.IN, message_type="ORM") == ["in 3", "in 2"]


def subject(database: Database, typed: str) -> list[str] | None:
    """The messages of what somebody typed."""
    found = database.read(finding.by_text, typed).result(20)
    if found is None:
        return None
    listed = database.read(finding.listed, JournalFilter(), found, None, 100, 100).result(20)
    assert listed.total == len(listed.page.rows)
    return [f"{'in' if isinstance(row, MessageRecord) else 'out'} {row.row}" for row in listed.page.rows]


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("A1", ["out 2", "out 1", "in 1"]),
        ("P1", ["out 2", "out 1", "in 1"]),
        ("QZPAT1", ["out 2", "out 1", "in 1"]),
        ("A2", ["in 2"]),
        ("A3", None),  # nothing is stored of it, and two letters are looked for nowhere else
        ("QZPAT3", ["in 3"]),  # nothing is stored of it: it is found in the refused message
        ("QZPAT9", None),
        ("%", None),
    ],
)
def test_messages_of_what_somebody_types(journal: Database, typed: str, expected: list[str] | None) -> None:
    assert subject(journal, typed) == expected


def test_subjects_and_filters_go_together(journal: Database) -> None:
    wanted = JournalFilter(direction=Direction.IN)
    page = journal.read(finding.listed, wanted, Subject(orders=(1, 2)), None, 50, 0).result(20).page
    assert [row.row for row in page.rows] == [2, 1]
    none = journal.read(finding.listed, wanted, Subject(orders=()), None, 50, 50).result(20)
    assert (none.page.rows, none.total) == ([], 0)


def test_a_message_and_what_it_changed(journal: Database) -> None:
    record = journal.read(listing.page, JournalFilter(party="OTHER"), None, 1).result(20).rows[0]
    assert isinstance(record, MessageRecord)
    effects = journal.read(linked.effects, record.row, record.sender, record.received_at).result(20)
    assert [(effect.action, effect.kind, effect.accession) for effect in effects] == [("order.created", "order", "A5")]
    assert effects[0].patient is not None
    assert journal.read(linked.effects, record.row, "RIS|SITE", record.received_at).result(20) == []


def test_the_same_order_again_is_found_too(journal: Database) -> None:
    send(journal, order_message(1, control_id="AGAIN", birth="19700204"))
    assert subject(journal, "A1") == ["out 2", "out 1", "in 6", "in 1"]


def test_a_message_is_read_in_the_character_set_of_its_sender(database: Database) -> None:
    raw = order_message(1).replace(b"QZname", "Müller".encode("latin-1")).replace(b"|P|2.5.1", b"|P|2.5.1||||||8859/1")
    send(database, raw)
    settings = load(None)
    mappings = Mappings(database, known_modalities(settings.worklist.modalities))
    reader = JournalReader(database, settings, Directory(), mappings)
    detail = reader.received(1)
    assert detail is not None
    assert "Müller^Anna" in detail.text
    assert (detail.profile, detail.patient, detail.anatomy.elsewhere) == ("ihe", 1, ())
    assert reader.received(2) is None
    assert reader.sent(1) is None
    tell(database, 1, 1_900_000_000.0, code="AE")
    told = reader.sent(1)
    assert told is not None
    assert (told.accession, [finding.code for finding in told.told]) == ("A1", ["204"])


def test_stories_do_what_they_say_once(database: Database) -> None:
    send(database, order_message(1), order_message(2, modality="TQQ9"))
    who = ("user:anna", 1.0, "local")

    def deal() -> int:
        return database.execute(dealing.deal, [1, 2, 3], "typed in", *who)

    def undo() -> bool:
        return database.execute(dealing.undo, 2, "a mistake", *who)

    assert (deal(), deal()) == (1, 0)
    assert (undo(), undo(), deal()) == (True, False, 1)
    assert database.read(sending.jobs_of, 1, ["ris"]).result(20) == []
    assert database.execute(sending.send_again, 1, "restored", "user:anna", 1.0, "local") is None
