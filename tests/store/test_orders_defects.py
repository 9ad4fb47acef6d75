"""Defects of the broker or of a mapping that a message meets: it is refused visibly, and the next one is read."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from structlog.testing import capture_logs
from support.orders.appointments import siu
from support.orders.intake import PEER, ZONE, counts
from support.orders.profiles import message

from broker import telemetry
from broker.hl7.batch import read as read_batch
from broker.hl7.work import ON_LOOP
from broker.orders.inbound import reception
from broker.orders.inbound.reception import Interface, OnTransient
from broker.orders.listener import OrderDoor
from broker.orders.mapping.book import built_in
from broker.orders.stories import intake
from broker.orders.trying.preview import preview
from broker.store.db.database import Database
from broker.store.schema import tables

SECRET = "DOE"
REFERENCE = re.compile(r"reference ([0-9a-f]{12})")
KINDS = {
    "ORM": message("ORM^O01"),
    "OMI": message("OMI^O23"),
    "ADT": message("ADT^A08"),
    "ORU": message("ORU^R01"),
    "SIU": siu("S12", pid="P1"),
}


def door(database: Database, **interface: Any) -> OrderDoor:
    return OrderDoor(
        database, Interface(**{"name": "test", **interface}), lambda header: built_in(), zone=ZONE, default_station="X"
    )


def broken(*arguments: Any, **more: Any) -> Any:
    raise IndexError(f"list index of {SECRET}^JANE")


def journal(database: Database) -> list[Any]:
    t = tables.message.c
    query = select(t.accepted, t.answer_code, t.answer, t.note, t.raw).order_by(t.id)
    return list(database.read(lambda connection: connection.execute(query).all()).result())


def break_reading(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    events = dict.fromkeys(reception.CONVERTERS[kind], broken)
    monkeypatch.setitem(reception.CONVERTERS, kind, events)  # type: ignore[arg-type]


def break_stories(monkeypatch: pytest.MonkeyPatch) -> None:
    for change in list(intake.STORIES):
        monkeypatch.setitem(intake.STORIES, change, broken)  # type: ignore[arg-type]


@pytest.mark.parametrize("stage", ["reading", "story"])
@pytest.mark.parametrize("on_transient", list(OnTransient))
@pytest.mark.parametrize("kind", KINDS)
def test_a_defect_is_refused_journaled_counted_and_logged(
    kind: str,
    on_transient: OnTransient,
    stage: str,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = telemetry.HL7_DEFECTS._value.get()
    with monkeypatch.context() as patched, capture_logs() as logged:
        if stage == "reading":
            break_reading(patched, kind)
        else:
            break_stories(patched)
        answer = asyncio.run(door(database, on_transient=on_transient).handle(KINDS[kind], PEER))
    text = (answer or b"").decode()
    assert "\rMSA|AE|" in text
    assert "|207^" in text
    found = REFERENCE.search(text)
    assert found
    assert SECRET not in text
    ((accepted, code, stored, note, raw),) = journal(database)
    assert (accepted, code, stored, raw) == (False, "AE", answer, KINDS[kind])
    assert note == f"internal-error:{found[1]}"
    assert telemetry.HL7_DEFECTS._value.get() == before + 1
    assert [line["event"] for line in logged if line.get("reference") == found[1]] == ["hl7.internal_error"]
    assert all(key in telemetry.FIELDS | {"log_level"} for line in logged for key in line)
    assert SECRET not in str(logged)
    # the next message, and this one once the defect is mended
    assert b"\rMSA|AA|" in (asyncio.run(door(database).handle(KINDS[kind], PEER)) or b"")


def test_a_defect_in_a_large_message_is_refused_too(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    large = message("ORM^O01", *(f"NTE|{n}||{'x' * 60}" for n in range(ON_LOOP // 60)))
    break_reading(monkeypatch, "ORM")
    assert b"\rMSA|AE|" in (asyncio.run(door(database).handle(large, PEER)) or b"")


def test_a_defect_before_msh_is_read_is_answered(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reception.headers, "read_header", broken)
    answer = asyncio.run(door(database).handle(KINDS["ORM"], PEER)) or b""
    assert b"\rMSA|AE|" in answer
    assert [row.note for row in journal(database)] == [f"internal-error:{REFERENCE.findall(answer.decode())[0]}"]
    cut = asyncio.run(door(database).on_truncated(KINDS["ORM"], PEER)) or b""
    assert b"\rMSA|AE|" in cut


def test_a_poison_message_in_a_batch_leaves_the_others_alone(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = [message("ORM^O01", control="G1", accession="A1"), message("ADT^A08", control="G2")]
    poison = message("OMI^O23", control="BAD")
    batch = b"BHS|^~\\&|RIS|SITE\r" + b"\r".join([good[0], poison, good[1]]) + b"\rBTS|3\r"
    assert read_batch(batch) is not None
    break_reading(monkeypatch, "OMI")
    answer = (asyncio.run(door(database).handle(batch, PEER)) or b"").decode()
    assert re.findall(r"MSA\|(..)\|(\w+)", answer) == [("AA", "G1"), ("AE", "BAD"), ("AA", "G2")]
    assert [row.answer_code for row in journal(database)] == ["AA", "AE", "AA"]
    assert database.read(counts).result()["service_request"] == 1


@pytest.mark.parametrize(("on_transient", "code"), [("close", None), ("AE", b"AE"), ("AR", b"AR")])
def test_a_defect_while_the_database_is_away_is_answered_by_the_policy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_transient: str, code: bytes | None
) -> None:
    database = Database(f"sqlite:///{tmp_path / 'broker.db'}")
    database.close()
    break_reading(monkeypatch, "ORM")
    answer = asyncio.run(door(database, on_transient=OnTransient(on_transient)).handle(KINDS["ORM"], PEER))
    assert answer is None if code is None else b"\rMSA|" + code + b"|" in (answer or b"")


def test_trying_a_message_says_what_the_door_would(monkeypatch: pytest.MonkeyPatch) -> None:
    break_reading(monkeypatch, "ORM")
    found = preview(KINDS["ORM"], built_in(), ZONE)
    assert (found.code, [(f.location, f.code) for f in found.findings]) == ("AE", [("MSH^1", "207")])
    assert SECRET not in json.dumps([finding.text for finding in found.findings])
