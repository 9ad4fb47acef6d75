from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest

from broker.hl7 import batch, work
from broker.hl7.findings import Finding

AT = datetime(2026, 3, 12, 8, 15, 44, tzinfo=UTC)
TOKEN = UUID(int=7)
ONE, TWO = b"MSH|^~\\&|A\rPID|1\r", b"MSH|^~\\&|B\r"
FHS, BHS = b"FHS|^~\\&|RIS|SITE|BROKER|RAD|2026||f||F1\r", b"BHS|^~\\&|RIS|SITE|BROKER|RAD|2026||b||B1\r"


@pytest.mark.parametrize(
    ("raw", "messages", "complete"),
    [
        (BHS + ONE + TWO + b"BTS|2\r", [[ONE, TWO]], [True]),
        (FHS + BHS + ONE + b"BTS|1\r" + BHS + TWO + b"BTS|1|ok\rFTS|2\r", [[ONE], [TWO]], [True, True]),
        (BHS + ONE + TWO + b"BTS|3\r", [[ONE, TWO]], [False]), (BHS + ONE, [[ONE]], [False]),
        (BHS + ONE + b"BTS\r", [[ONE]], [False]), (BHS + ONE + b"BTS|x\r", [[ONE]], [False]),
        (FHS + ONE + TWO + b"FTS|1\r", [[ONE, TWO]], [False]), (BHS + b"BTS|0\r", [[]], [True]),
        (BHS + ONE + BHS + TWO + b"BTS|1", [[ONE], [TWO]], [False, True]), (FHS, [], []),
        (b"\xef\xbb\xbf\r\n" + BHS + ONE + b"BTS|1\r", [[ONE]], [True]),
        ((BHS + TWO + b"BTS|1\r").replace(b"\r", b"\n"), [[TWO.replace(b"\r", b"\n")]], [True]),
        # names of segments inside of fields are text
        (BHS + b"MSH|^~\\&|BTS|2 MSH|\rBTS|1\r", [[b"MSH|^~\\&|BTS|2 MSH|\r"]], [True]),
    ],
)  # fmt: skip
def test_read(raw: bytes, messages: list[list[bytes]], complete: list[bool]) -> None:
    file = batch.read(raw)
    assert file is not None
    assert [list(found.messages) for found in file.batches] == messages
    assert [found.complete for found in file.batches] == complete


@pytest.mark.parametrize("raw", [ONE, b"", b"BHS", b"BHSX|", b"BTS|1\r", b"GET / HTTP/1.1\r\n"])
def test_what_is_no_batch(raw: bytes) -> None:
    assert batch.read(raw) is None


def test_answer() -> None:
    file = batch.read(FHS + BHS + ONE + TWO + b"BTS|1\r" + BHS.replace(b"B1", b"B2") + ONE + b"BTS|1\rFTS|2\r")
    assert file is not None
    lines = batch.answer(file, [[b"ACK1\r", b"ACK2\r"], [b"ACK3\r"]], token=TOKEN, at=AT).decode().split("\r")
    assert [line[:4] for line in lines] == ["FHS|", "BHS|", "ACK1", "ACK2", "BTS|", "BHS|", "ACK3", "BTS|", "FTS|", ""]
    fields = lines[1].split("|")
    assert (fields[2:6], fields[11]) == (["BROKER", "RAD", "RIS", "SITE"], "B1")
    assert (lines[4], lines[7], lines[8]) == ("BTS|2|count of messages is wrong", "BTS|1", "FTS|2")
    assert len({line.split("|")[10] for line in (lines[0], lines[1], lines[5])}) == 3
    assert batch.answer(file, [[], []], token=TOKEN, at=AT) == b""


@pytest.mark.parametrize(
    ("raw", "expected"),
    [(BHS + b"BTS|0\r", ["BHS", "BTS|0"]), (FHS + b"FTS|0\r", ["FHS", "FTS|0"]),
     (FHS + BHS + b"BTS|2\r", ["FHS", "BHS", "BTS|0|count of messages is wrong", "FTS|1"])],
)  # fmt: skip
def test_a_batch_of_nothing_is_answered_too(raw: bytes, expected: list[str]) -> None:
    file = batch.read(raw)
    assert file is not None
    lines = batch.answer(file, [[] for _ in file.batches], token=TOKEN, at=AT).decode().split("\r")
    assert [line if line[1:2] == "T" else line[:3] for line in lines[:-1]] == expected


def test_refuse() -> None:
    file = batch.read(BHS + ONE + b"BTS|1\r")
    assert file is not None
    msh, msa, *_ = batch.refuse(file, Finding("BHS^1", "102", "x"), token=TOKEN, at=AT).decode().split("\r")
    assert msh.split("|")[2:6] == ["BROKER", "RAD", "RIS", "SITE"]
    assert msa.split("|")[:3] == ["MSA", "AR", "B1"]


@pytest.mark.parametrize(
    ("raw", "what"),
    [
        (BHS + b"MSH|\r" * (work.MESSAGES + 1), "messages"), (BHS * (work.BATCHES + 1), "batches"),
        (FHS * (work.BATCHES + 1), "files"), (BHS + b"BTS|\r" * work.NAMES, "look at"),
        (BHS + b"MSH|A\r" + b"x MSH" * work.NAMES, "look at"),
    ],
)  # fmt: skip
def test_a_frame_with_too_much_in_it_has_no_messages(raw: bytes, what: str) -> None:
    file = batch.read(raw)
    assert file is not None
    assert what in file.excess
    assert file.messages == 0
    header = file.header or file.batches[0].header
    assert header is not None
    assert header.get(3) == "RIS"
    assert len(batch.refuse(file, Finding("BHS^1", "102", "x"), token=TOKEN, at=AT)) < 500


def test_as_much_as_a_frame_may_hold_is_read() -> None:
    file = batch.read(FHS + (BHS + ONE * (work.MESSAGES // work.BATCHES)) * work.BATCHES)
    assert file is not None
    assert (file.excess, file.messages, len(file.batches)) == ("", work.MESSAGES, work.BATCHES)
