"""The audit trail on both databases: what a row knows, and that pages are what a look at all rows gives."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest
from sqlalchemy import Connection, insert, select
from support.orders.intake import take

from broker.model.audit import AuditRecord, AuditSelection
from broker.store.audit import trail
from broker.store.audit.adding import add_audit
from broker.store.db import newest
from broker.store.db.database import Database
from broker.store.schema import tables

_numbers = itertools.count(1)


def message(kind: str, patient: str, *segments: str) -> bytes:
    lines = (
        f"MSH|^~\\&|RIS|SITE|BROKER|RAD|20260312080000||{kind}|M{next(_numbers)}|P|2.5",
        f"PID|||{patient}||ROE^R||19710102|M",
        *segments,
    )
    return "".join(line + "\r" for line in lines).encode()


def order(number: str, patient: str) -> bytes:
    detail = f"OBR|1|{number}^RIS||CHEST^Chest||||||||||||||A{number}||||||CR"
    return message("ORM^O01", patient, f"ORC|NW|{number}^RIS|||||^^^20260312100000", detail)


def rows(database: Database) -> list[AuditRecord]:
    return database.read(trail.page, AuditSelection(), None, 10_000).result().rows


def pages(database: Database, selection: AuditSelection, limit: int) -> list[AuditRecord]:
    """All pages of a selection, one after the other."""
    found: list[AuditRecord] = []
    after = None
    for _ in range(10_000):
        page = database.read(trail.page, selection, after, limit).result()
        assert len(page.rows) <= limit
        found += page.rows
        if page.after is None:
            return found
        assert after is None or page.after < after
        after = page.after
    raise AssertionError("pages without an end")


def fits(row: AuditRecord, wanted: AuditSelection) -> bool:
    """What a selection means, said by looking at one row."""

    def same(value: str, asked: str, end: str) -> bool:
        return not asked or (value.startswith(asked) if asked.endswith(end) else value == asked)

    return (
        same(row.actor, wanted.actor, ":")
        and same(row.action, wanted.action, ".")
        and (not wanted.kind or row.kind == wanted.kind)
        and (wanted.object_id is None or row.object_id == wanted.object_id)
        and (wanted.patients is None or row.patient in wanted.patients)
        and (wanted.since is None or row.at >= wanted.since)
        and (wanted.until is None or row.at < wanted.until)
    )


def test_pages_are_what_all_rows_give(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random rows with many at one time, random filters, small looks: nothing is lost, twice or out of order."""
    monkeypatch.setattr(newest, "LOOK", 7)
    monkeypatch.setattr(newest, "FAR", 20)
    dice = random.Random(14)
    actors = ("hl7:RIS|A", "cli:anna", "user:anna", "api", "dicom:CT1")
    actions = ("order.created", "order.viewed", "token.made", "patient.merged")

    def fill(connection: Connection) -> None:
        for number in range(150):
            connection.execute(
                insert(tables.audit).values(
                    at=float(dice.randrange(40)), actor=dice.choice(actors), action=dice.choice(actions),
                    object_kind=dice.choice(("order", "token")), object_id=dice.randrange(4), detail="{}",
                    patient=dice.choice((None, 1, 2, 3)), address="" if number % 2 else "10.0.0.1",
                )
            )  # fmt: skip

    database.execute(fill)
    everything = rows(database)
    assert [(-row.at, -row.row) for row in everything] == sorted((-row.at, -row.row) for row in everything)
    choices: dict[str, tuple[Any, ...]] = {
        "actor": ("", "cli:anna", "cli:", "hl7:RIS|A", "nobody"),
        "action": ("", "order.", "token.made", "order.created"),
        "kind": ("", "order", "mpps"),
        "object_id": (None, 0, 3),
        "patients": (None, (1,), (1, 3), (), (9,)),
        "since": (None, 5.0, 39.0),
        "until": (None, 20.0, 20.5),
    }
    for _ in range(250):
        wanted = AuditSelection(**{name: dice.choice(values) for name, values in choices.items()})
        expected = [row for row in everything if fits(row, wanted)]
        assert pages(database, wanted, dice.choice((1, 3, 1000))) == expected, wanted
        most = dice.choice((2, 1000))
        counted, whole = database.read(trail.count, wanted, most).result()
        assert counted <= min(len(expected), most), wanted
        assert not whole or counted == len(expected), wanted


def test_a_page_looks_only_so_far(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is rare is found page by page; a page without rows says where to go on."""
    monkeypatch.setattr(newest, "LOOK", 5)
    monkeypatch.setattr(newest, "FAR", 10)

    def fill(connection: Connection) -> None:
        for number in range(50):
            actor, kind = ("cli:anna", "w") if number == 3 else ("cli:bob", "x")
            add_audit(connection, float(number), actor, "order.viewed", kind, 77 if number in (2, 3) else 1, {})

    database.execute(fill)
    first = database.read(trail.page, AuditSelection(actor="cli:anna", action="order."), None, 10).result()
    assert [row.actor for row in first.rows] == ["cli:anna"]  # that filter has an index: one look suffices
    page = database.read(trail.page, AuditSelection(actor="cli:", action="order.canceled"), None, 10).result()
    assert page.rows == []
    assert page.after is None  # nothing has this action
    page = database.read(trail.page, AuditSelection(object_id=77), None, 10).result()
    assert [row.at for row in page.rows] == [3.0, 2.0]  # each kind has an index of its objects
    page = database.read(trail.page, AuditSelection(actor="cli:a"), None, 10).result()
    assert page.rows == []
    page = database.read(trail.page, AuditSelection(actor="cli:", kind="y"), None, 10).result()
    assert (page.rows, page.after) == ([], (40.0, 41))


def test_a_row_knows_whom_its_object_is_for(database: Database) -> None:
    take(database, order("1", "P1^^^SITE"))
    take(database, order("2", "P2^^^SITE"))

    def add(connection: Connection) -> None:
        numbers = {row.patient_id: row.id for row in connection.execute(select(tables.patient))}
        (first, second) = connection.execute(select(tables.service_request).order_by("id")).all()
        add_audit(connection, 9.0, "cli:anna", "order.viewed", "order", second.id, {}, address="local")
        add_audit(connection, 9.0, "cli:anna", "patient.viewed", "patient", numbers["P1"], {})
        add_audit(connection, 9.0, "cli:anna", "message.viewed", "message", 1, {}, patient=first.patient)
        add_audit(connection, 9.0, "cli:anna", "order.viewed", "order", 4711, {})
        add_audit(connection, 9.0, "cli:anna", "mpps.viewed", "mpps", 1, {})
        add_audit(connection, 9.0, "cli:anna", "token.made", "token", 1, {})

    database.execute(add)
    one, two = (database.read(trail.patients, number).result() for number in ("P1", "P2"))
    assert len(one) == len(two) == 1
    found = sorted((row.kind, row.patient, row.address) for row in rows(database) if row.at == 9.0 and row.patient)
    assert found == [("message", one[0], ""), ("order", two[0], "local"), ("patient", one[0], "")]
    seen = pages(database, AuditSelection(patients=one, actor="cli:anna"), 10)
    assert [row.action for row in seen] == ["message.viewed", "patient.viewed"]
    assert "order.created" in [row.action for row in pages(database, AuditSelection(patients=one), 1)]


def test_rows_follow_a_patient_through_a_merge(database: Database) -> None:
    """Both identifiers lead to all rows; whoever gets the number of the retired row gets none of them."""
    take(database, order("1", "P1^^^SITE"))
    take(database, order("2", "P2^^^SITE"))
    (before,) = database.read(trail.patients, "P2").result()
    take(database, message("ADT^A40", "P1^^^SITE", "MRG|P2^^^SITE"))
    (survivor,) = database.read(trail.patients, "P1").result()
    assert database.read(trail.patients, "P2").result() == (survivor,)
    assert before != survivor
    actions = [row.action for row in pages(database, AuditSelection(patients=(survivor,)), 10)]
    assert actions[0] == "patient.merged"
    assert actions.count("order.created") == 2
    assert pages(database, AuditSelection(patients=(before,)), 10) == []


def test_an_identifier_of_another_issuer_is_somebody_else(database: Database) -> None:
    take(database, order("1", "P1^^^SITE"))
    take(database, order("2", "P1^^^OTHER"))
    both, one, none = (database.read(trail.patients, "P1", issuer).result() for issuer in ("", "OTHER", "THIRD"))
    assert len(both) == 2
    assert len(one) == 1
    assert one[0] in both
    assert none == ()
