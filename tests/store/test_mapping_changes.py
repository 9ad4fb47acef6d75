"""Which messages of the journal a draft would change beside the mapping in force; nothing is written."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from sqlalchemy import Connection, func, select
from support.orders.hospital import Hospital
from support.orders.journal import order_message, send
from support.service.rest import application, asking

from broker.audit.book import AuditBook
from broker.orders.mapping_versions import Mappings
from broker.orders.trying import changes
from broker.orders.trying.changes import DraftChanges, DraftEffect, DraftTrials, TrialBusy, TrialEnd
from broker.orders.trying.replay import Bench
from broker.settings import load
from broker.store.db.database import Database
from broker.store.schema import tables

NOW = 'name = "site"\nextends = "ihe"\n[senders]\nmatch = [{ application = "RIS" }]\n'
DRAFT = NOW + '[values.Modality]\nTQQ9 = "CR"\nMR = "CT"\nNM = "NOWHERE"\n'


def rows(connection: Connection) -> dict[str, int]:
    counted = {t.name: select(func.count()).select_from(t) for t in tables.METADATA.sorted_tables}
    return {name: connection.execute(query).scalar_one() for name, query in counted.items()}


def forget(connection: Connection) -> None:
    """Delete all but the journal."""
    for table in reversed(tables.METADATA.sorted_tables):
        if table.name != "message":
            connection.execute(table.delete())


def bench(mappings: Mappings) -> Bench:
    settings = load()
    return Bench(mappings.profiles("ihe"), settings.zone(), "NONE", "cli:ann", by_interface=mappings.profiles)


def tried(database: Database, draft: str, **more: Any) -> DraftChanges:
    mappings = Mappings(database)
    return mappings.changes(draft, bench(mappings), time.time() - 7 * 86_400, **more)


def effects(found: DraftChanges) -> dict[int, str]:
    return {one.message: one.effect for one in found.messages}


def test_each_message_is_told_with_what_would_be_another(database: Database) -> None:
    Mappings(database).publish(NOW, "api")
    messages = [order_message(n, modality=m) for n, m in enumerate(("TQQ9", "MR", "CT", "XA"), 1)]
    send(database, *messages, order_message(5, sender="HIS", modality="MR"))
    before = database.read(rows).result()
    draft = DRAFT.replace('NM = "NOWHERE"\n', "") + '[check]\nmodalities = ["CR", "CT"]\n'
    found = tried(database, draft)
    assert effects(found) == {4: DraftEffect.REFUSED, 2: DraftEffect.DIFFERS, 1: DraftEffect.ACCEPTED}
    counts = {
        DraftEffect.REFUSED: 1,
        DraftEffect.DIFFERS: 1,
        DraftEffect.ACCEPTED: 1,
        DraftEffect.UNCHANGED: 1,
        DraftEffect.OTHER: 1,
    }
    assert found.counts == counts
    assert (found.looked, found.total, found.whole, found.end, found.changed) == (5, 5, True, TrialEnd.ALL, 3)
    refused, differs, accepted = found.messages
    assert (refused.now, refused.then, refused.findings[0].code) == ("AA", "AE", "103")
    (modality,) = differs.differences
    assert (modality.keyword, modality.before, modality.after) == ("Modality", "MR", "CT")
    assert modality.step > 0
    values = {one.keyword: (one.step, one.before, one.after) for one in accepted.differences}
    assert values["Modality"] == (-1, None, "CR")
    assert values["AccessionNumber"] == (-1, None, "A1")
    assert database.read(rows).result() == before


def test_of_an_ended_exam_it_says_what_a_new_message_would_make(database: Database) -> None:
    """What is stored of it stays, whatever the draft says: that alone would say that the draft does nothing."""
    hospital = Hospital(database)
    hospital.send(order_message(1, modality="MR"))
    ended = order_message(1, modality="MR", control_id="E1").replace(b"ORC|NW|P1|||||", b"ORC|SC|P1|||CM||")
    assert b"MSA|AA" in (hospital.send(ended) or b"")
    found = tried(database, DRAFT.replace('NM = "NOWHERE"\n', ""))
    order = next(one for one in found.messages if one.message == 1)
    assert order.effect is DraftEffect.ONLY_NEW
    assert [(one.keyword, one.before, one.after) for one in order.differences] == [("Modality", "MR", "CT")]


def test_generated_identifiers_are_no_difference(database: Database) -> None:
    """What is not stored any more is new by both mappings; the numbers that are made for it do not count."""
    send(database, order_message(1).replace(b"|A1|", b"||"))
    database.execute(forget)
    found = tried(database, NOW)
    assert found.counts == {DraftEffect.UNCHANGED: 1}


def test_a_draft_of_others_or_for_nobody_changes_nothing(database: Database) -> None:
    send(database, order_message(1), order_message(2))
    found = tried(database, NOW.replace('"RIS"', '"NOBODY"'))
    assert found.counts == {DraftEffect.OTHER: 2}
    assert found.messages == ()


def test_a_built_in_that_is_changed_reaches_those_who_are_read_by_it(database: Database) -> None:
    send(database, order_message(1, sender="HIS", modality="MR"))
    draft = 'name = "ihe"\nextends = "ihe"\n[values.Modality]\nMR = "CT"\n'
    assert effects(tried(database, draft)) == {1: DraftEffect.DIFFERS}


def test_work_is_bounded_and_says_so(database: Database) -> None:
    send(database, *(order_message(n, modality="MR") for n in range(1, 6)))
    found = tried(database, DRAFT.replace('NM = "NOWHERE"\n', ""), most=2)
    assert (found.looked, found.total, found.end) == (2, 5, TrialEnd.MESSAGES)
    assert list(effects(found)) == [5, 4]


def test_it_ends_when_its_time_is_over(database: Database) -> None:
    send(database, *(order_message(n) for n in range(1, 4)))
    ticks = iter([0.0, 1.0, changes.SECONDS + 1])
    mappings = Mappings(database)
    mappings._trials = DraftTrials(database, clock=lambda: next(ticks))
    found = mappings.changes(NOW, bench(mappings), 0)
    assert (found.looked, found.total, found.end) == (1, 3, TrialEnd.TIME)


def test_messages_of_before_are_left_out(database: Database) -> None:
    send(database, order_message(1))
    mappings = Mappings(database)
    found = mappings.changes(NOW, bench(mappings), time.time() + 60)
    assert (found.looked, found.total, found.messages) == (0, 0, ())


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_one_draft_is_tried_at_a_time(database: Database) -> None:
    send(database, order_message(1))
    mappings = Mappings(database)
    inside, leave = threading.Event(), threading.Event()

    def clock() -> float:
        inside.set()
        leave.wait(20)
        return 0.0

    mappings._trials = DraftTrials(database, clock=clock)
    first = threading.Thread(target=mappings.changes, args=(NOW, bench(mappings), 0))
    first.start()
    assert inside.wait(20)
    with pytest.raises(TrialBusy):
        mappings.changes(NOW, bench(mappings), 0)
    leave.set()
    first.join(20)
    assert mappings.changes(NOW, bench(mappings), 0).looked == 1


def test_over_rest_only_the_audit_trail_has_one_row_more(database: Database) -> None:
    Mappings(database).publish(NOW, "api")
    send(database, order_message(1, modality="TQQ9"))
    app = application(database, load())
    before = database.read(rows).result()
    with asking(app) as http:
        answer = http.post("/mappings/changes", json={"toml": DRAFT.replace('NM = "NOWHERE"\n', "")})
        assert answer.status_code == 200, answer.text
        assert answer.json()["counts"] == {"accepted": 1}
        refused = http.post("/mappings/changes", json={"toml": DRAFT.replace('name = "site"', "name = 7")})
        assert refused.status_code == 422
    book: AuditBook = app.state.audit
    book.flush()
    after = database.read(rows).result()
    assert {name: after[name] - before[name] for name in after if after[name] != before[name]} == {"audit": 1}
