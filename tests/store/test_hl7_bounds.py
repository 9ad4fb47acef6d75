"""The HL7 door with frames that ask for much: nothing long is read on the event loop, and answers are short."""

from __future__ import annotations

import asyncio
import hashlib
import re
import threading
from typing import Any

import pytest
from sqlalchemy import func, select
from structlog.testing import capture_logs
from support.orders.intake import PEER, ZONE
from support.orders.profiles import message
from support.parsing import long_arguments

from broker import telemetry
from broker.hl7 import work
from broker.hl7.mllp.server import Peer
from broker.model.message import MessageSelection
from broker.orders.inbound import reception
from broker.orders.inbound.reception import Interface
from broker.orders.listener import SINGLY, OrderDoor
from broker.orders.mapping.book import built_in
from broker.store.db.database import Database
from broker.store.orders.messages import select_messages
from broker.store.schema import tables

LONG = 64 * 1024
BATCH = b"BHS|^~\\&|RIS|SITE|BROKER|RAD|2030||||B1\r"
READERS = ("broker.hl7.", "broker.orders.inbound.", "broker.orders.mapping.")
# they look at the first bytes only
BEGINNINGS = {"broker.hl7.batch.begins"}


def door(database: Database, **interface: Any) -> OrderDoor:
    return OrderDoor(
        database, Interface(**{"name": "test", **interface}), lambda _: built_in(), zone=ZONE, default_station="X"
    )


def order(control: str = "C1", *more: str) -> bytes:
    return message("ORM^O01", *more, control=control, accession=control)


def test_a_disabled_sender_keeps_its_messages_and_a_blocked_one_is_refused(database: Database) -> None:
    state, heard = "disabled", []
    at = OrderDoor(
        database, Interface(name="test"), lambda _: built_in(), zone=ZONE, default_station="X",
        heard=lambda *what: heard.append(what), barred=lambda application, facility: state,
    )  # fmt: skip
    assert asyncio.run(at.handle(order("S1"), PEER)) is None  # the connection is closed
    assert rows(database) == 0
    state = "blocked"
    answer = asyncio.run(at.handle(order("S2"), PEER))
    assert answer is not None
    assert b"MSA|AR|S2" in answer
    assert b"blocked" in answer
    state = ""
    answer = asyncio.run(at.handle(order("S1"), PEER))
    assert answer is not None
    assert b"MSA|AA|S1" in answer
    assert [refusal for _, _, refusal in heard] == ["not taken", "AR", ""]


def rows(database: Database) -> int:
    counted = select(func.count()).select_from(tables.message)
    return int(database.read(lambda connection: connection.execute(counted).scalar_one()).result())


LARGE = {
    "message": lambda: order("L1", "NTE|1||" + "x" * 200_000),
    "not ASCII": lambda: order("L2", "NTE|1||" + "é" * 100_000),
    "header": lambda: b"MSH|" * 50_000,
    "header without end": lambda: b"MSH|^~\\&|RIS" + b"x" * 200_000,
    "nothing": lambda: b"x" * 200_000,
    "batch of messages": lambda: BATCH + order("L3", "NTE|1||" + "x" * 200_000) + b"\rBTS|1\r",
    "batch of headers": lambda: b"BHS|^~\\&\r" * 25_000,
    "batch of nothing": lambda: BATCH + b"MSH|\r" * 40_000,
    "answer": lambda: order("L4", "NTE|1||" + "x" * 200_000).replace(b"ORM^O01", b"ACK"),
}


@pytest.mark.parametrize("entry", ["handle", "on_truncated"])
def test_nothing_long_is_read_on_the_loop(entry: str, database: Database) -> None:
    at = door(database)

    async def handled(raw: bytes) -> tuple[bytes | None, set[str]]:
        with long_arguments(READERS, BEGINNINGS) as seen:
            return await getattr(at, entry)(raw, PEER), seen

    for kind, made in LARGE.items():
        raw = made()
        answer, seen = asyncio.run(handled(raw))
        assert (kind, seen) == (kind, set())
        assert len(answer or b"") <= work.room(len(raw))


def test_strangers_do_not_keep_known_senders_waiting(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large messages are read one at a time, those of known senders beside the others."""
    held, convert = threading.Event(), reception.convert

    def slow(raw: bytes, *arguments: Any) -> Any:
        if b"|S1|" in raw[:200]:
            assert held.wait(60)
        return convert(raw, *arguments)

    monkeypatch.setattr(reception, "convert", slow)
    at = door(database)
    large = {name: order(name, "NTE|1||" + "x" * LONG) for name in ("S1", "S2", "K1")}

    async def run() -> list[bytes | None]:
        strangers = [asyncio.create_task(at.handle(large[name], Peer("192.0.2.1", 1))) for name in ("S1", "S2")]
        known = await asyncio.wait_for(at.handle(large["K1"], Peer("192.0.2.2", 1, known=True)), 60)
        assert not any(task.done() for task in strangers)
        held.set()
        return [known, *await asyncio.gather(*strangers)]

    answers = asyncio.run(run())
    assert [re.findall(rb"MSA\|(..)\|(..)", answer or b"") for answer in answers] == [
        [(b"AA", b"K1")], [(b"AA", b"S1")], [(b"AA", b"S2")],
    ]  # fmt: skip


def test_a_batch_of_refused_messages_gets_one_refusal(database: Database) -> None:
    stranger = door(database, known=lambda application, facility: False)
    many = BATCH + b"\r".join(order(f"B{n}") for n in range(SINGLY + 1))
    answer = asyncio.run(stranger.handle(many, PEER)) or b""
    assert re.findall(rb"MSA\|(..)\|(\w*)", answer) == [(b"AR", b"B1")]
    assert rows(database) == 1
    few = BATCH + b"\r".join(order(f"B{n}") for n in range(SINGLY))
    answer = asyncio.run(stranger.handle(few, PEER)) or b""
    assert answer.count(b"MSA|AR|") == SINGLY


def test_an_answer_to_a_batch_is_at_most_twice_as_long(database: Database) -> None:
    raw = BATCH + order("GOOD") + b"\r" + b"MSH|^~\\&|A\r" * 500
    answer = asyncio.run(door(database).handle(raw, PEER)) or b""
    assert len(answer) <= work.room(len(raw))
    assert re.findall(rb"MSA\|(..)\|(\w*)", answer) == [(b"AR", b"B1")]
    again = asyncio.run(door(database).handle(BATCH + order("GOOD"), PEER)) or b""
    assert b"MSA|AA|GOOD" in again  # it had been taken, and is a repeat


def test_of_refused_messages_of_strangers_little_is_kept(database: Database) -> None:
    at = door(database, known=lambda application, facility: False)
    long = order("LONG", "NTE|1||" + "x" * 50_000)
    t = tables.message.c
    for peer, kept in ((Peer("192.0.2.1", 1), 4096), (Peer("192.0.2.2", 1, known=True), len(long))):
        assert b"MSA|AR|LONG" in (asyncio.run(at.handle(long, peer)) or b"")
        newest = select(t.raw, t.note, t.digest).order_by(t.id.desc()).limit(1)
        row = database.read(lambda connection, q=newest: connection.execute(q).one()).result()
        assert (len(row.raw), bytes(row.digest)) == (kept, hashlib.sha256(long).digest())
        assert ("head-of:" + str(len(long)) in row.note) == (kept < len(long))
    found = database.read(select_messages, MessageSelection()).result()
    assert [len(message.raw) for message in found] == [len(long)]  # nothing is run again without its end


def test_an_address_has_an_allowance_of_refused_messages(database: Database) -> None:
    at = OrderDoor(
        database, Interface(name="test", known=lambda application, facility: False), lambda _: built_in(), zone=ZONE,
        default_station="X", refused_bytes=2000,
    )  # fmt: skip
    before = telemetry.HL7_UNKEPT._value.get()

    async def run() -> None:
        for number in range(10):
            assert b"MSA|AR|" in (await at.handle(order(f"Q{number}"), Peer("192.0.2.1", 1)) or b"")
            assert b"MSA|AR|" in (await at.handle(b"MSH", Peer("192.0.2.1", 1)) or b"")
        assert b"MSA|AR|" in (await at.handle(order("OTHER"), Peer("192.0.2.2", 1)) or b"")

    asyncio.run(run())
    kept = rows(database)
    assert 2 <= kept - 1 < 6
    assert telemetry.HL7_UNKEPT._value.get() == before + 20 - (kept - 1)


def test_a_sender_has_proven_itself_by_a_message_that_was_taken(database: Database) -> None:
    at, peer = door(database), Peer("192.0.2.1", 1)
    for number, (raw, proven) in enumerate(((order("BAD").replace(b"PID|", b"ZID|"), False), (order("GOOD"), True))):
        answer = asyncio.run(at.handle(raw, peer)) or b""
        assert (b"MSA|AA|" in answer, peer.proven) == (proven, proven), (number, answer)


def test_many_repetitions_are_not_read_on_the_loop(database: Database) -> None:
    """Two kilobytes of identifiers held the event loop for half a second."""
    at, readers = door(database), set[int]()
    convert = reception.convert

    def noted(*arguments: Any) -> Any:
        readers.add(threading.get_ident())
        return convert(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reception, "convert", noted)
        for marks in ("^~\\&", "^#\\&"):
            raw = order("R1" + marks[1], "NTE|1||" + marks[1] * 300).replace(b"^~\\&", marks.encode(), 1)
            assert len(raw) < work.ON_LOOP
            assert b"MSA|" in (asyncio.run(at.handle(raw, PEER)) or b"")
    assert threading.get_ident() not in readers
    assert readers


@pytest.mark.parametrize(
    "header",
    [
        b"MSH|^~\\&|Canary^Zoe|SITE|BROKER|RAD|2030||Canary^Zoe|C1|P|2.5",  # a name where the type should be
        b"MSH|PID|1||77^^^SITE||Canary^Zoe||19760229|Canary^Zoe|F",  # the fields of another segment
        "MSH|^~\\\xca\xdd|Canary|SITE|BROKER|RAD|2030||Canary^Zo\xeb|C1|P|2.5".encode("latin_1"),
    ],
)
def test_a_header_that_is_none_brings_no_name_into_the_log(database: Database, header: bytes) -> None:
    with capture_logs() as logs:
        asyncio.run(door(database).handle(header + b"\rPID|1||77||Canary^Zoe\r", PEER))
    assert any(line["event"] == "hl7.message" for line in logs)
    assert "canary" not in str(logs).casefold()


def test_the_log_names_sender_and_type_of_a_message(database: Database) -> None:
    with capture_logs() as logs:
        asyncio.run(door(database).handle(order("L1"), PEER))
    line = next(line for line in logs if line["event"] == "hl7.message")
    assert (line["message_type"], "|" in line["sender"]) == ("ORM^O01", True)
