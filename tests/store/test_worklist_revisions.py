"""Whatever changes an answer gives its step a new revision: answers are remembered by it."""

from __future__ import annotations

import itertools

from sqlalchemy import Connection, select
from support.orders.intake import take

from broker.store.db.database import Database
from broker.store.orders.saving import name_groups
from broker.store.schema import tables

_numbers = itertools.count(1)
_step = tables.scheduled_step


def _message(kind: str, *segments: str, patient: str = "P1^^^SITE", name: str = "ROE^RICHARD") -> bytes:
    at = f"202603120800{next(_numbers):02d}"
    event = [f"EVN||{at}"] if "ADT" in kind else []
    lines = [
        f"MSH|^~\\&|RIS|SITE|BROKER|RAD|{at}||{kind}|R{at}|P|2.5||||||UNICODE UTF-8", *event,
        f"PID|||{patient}||{name}||19710102|M", *segments,
    ]  # fmt: skip
    return "".join(line + "\r" for line in lines).encode()


def _order(control: str, description: str = "Chest", status: str = "", name: str = "ROE^RICHARD") -> bytes:
    return _message(
        "ORM^O01", f"ORC|{control}|7^RIS|||{status}||^^^20260312100000",
        f"OBR|1|7^RIS||CHEST^{description}||||||||||||||A7||||||CR", name=name,
    )  # fmt: skip


def _answers(connection: Connection) -> dict[int, tuple[int, str, str]]:
    rows = connection.execute(select(_step.c.id, _step.c.revision, _step.c.answer, _step.c.patient_name))
    return {row.id: (row.revision, row.answer, row.patient_name) for row in rows}


def _names(connection: Connection) -> set[tuple[int, str]]:
    return {(row.step, row.words) for row in connection.execute(select(tables.step_name))}


def test_each_change_of_an_answer_has_its_revision_and_its_names(database: Database) -> None:
    changes = [
        _order("XO", "Chest, two views"),
        _message("ADT^A08", name="山田^太郎^^^^^L^I~YAMADA^TARO^^^^^L^A"),
        _message("ADT^A08", name="YAMADA^JIRO"),
        _message("ADT^A08", name="YAMADA^JIRO^^^^^L^A~山田^次郎^^^^^L^I~やまだ^じろう^^^^^L^P"),
        _message("ADT^A40", "MRG|P1^^^SITE", patient="P2^^^SITE", name="ROE^RICHARD"),
        _order("HD"),
        _order("RL"),
        _order("SC", status="IP"),
        _order("CA"),
    ]
    assert take(database, _order("NW")).code == "AA"
    before = database.read(_answers).result()
    changed = 0
    for number, message in enumerate(changes):
        outcome = take(database, message)
        after = database.read(_answers).result()
        for step, (revision, answer, name) in after.items():
            if step in before and (answer != before[step][1] or name != before[step][2]):
                changed += 1
                assert revision > before[step][0], (number, outcome)
        before = after
        expected = {(step, words) for step, (_, _, name) in after.items() for words in name_groups(name)}
        assert database.read(_names).result() == expected, number
        if number == 3:
            assert len(expected) == 2
    assert changed >= 6
