from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest

from broker.hl7 import acknowledgement
from broker.hl7.findings import Finding
from broker.hl7.header import read_header
from broker.hl7.reply import read_reply

FINDINGS = [Finding("PID^1^3", "101", "Patient identifier is missing"), Finding("TQ1^2", "0", "Only the first", "W")]


@pytest.mark.parametrize(
    ("version", "lines"),
    [
        ("2.5.1", ("error 101 at PID^1^3: Patient identifier is missing", "warning 0 at TQ1^2: Only the first")),
        (
            "2.3.1",
            ("Patient identifier is missing", "error 101 at PID^1^3: Required field missing",
             "error 0 at TQ1^2: Message accepted"),
        ),
    ],
)  # fmt: skip
def test_our_own_answers_are_read_back(version: str, lines: tuple[str, ...]) -> None:
    header = read_header(f"MSH|^~\\&|RIS|SITE|BROKER|RAD|T||ORM^O01|M7|P|{version}".encode())
    assert header is not None
    raw = acknowledgement.build(header, "AE", FINDINGS, token=UUID(int=1), at=datetime(2026, 3, 12, tzinfo=UTC))
    read = read_reply(raw)
    assert (read.code, read.control_id, read.lines) == ("AE", "M7", lines)
    assert [one.code for one in read.findings] == ["101", "0"]
    assert read.findings[0].location == "PID^1^3"


@pytest.mark.parametrize(
    ("msa", "code", "positive", "words"),
    [
        ("MSA|AA|1", "AA", True, "accepted"), ("MSA|CA|1", "CA", True, "received and stored"),
        ("MSA|AR|1", "AR", False, "rejected"), ("MSA|aa|1", "AA", True, "accepted"),
        ("MSA|OK|1", "", False, "no acknowledgement"), ("PID|1", "", False, "no acknowledgement"),
    ],
)  # fmt: skip
def test_only_an_acknowledgement_is_positive(msa: str, code: str, positive: bool, words: str) -> None:
    reply = read_reply(f"MSH|^~\\&|A|B|C|D|T||ACK|1|P|2.5\r{msa}\r".encode())
    assert (reply.code, reply.positive, reply.words) == (code, positive, words)


@pytest.mark.parametrize("raw", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\xff\xfe", b"MSH"])
def test_what_is_no_answer_is_not_positive(raw: bytes) -> None:
    reply = read_reply(raw)
    assert (reply.code, reply.positive) == ("", False)
    assert reply.lines


def test_errors_of_other_systems() -> None:
    raw = b"MSH|^~\\&|A|B|C|D|T||ACK|1|P|2.5\rMSA|AE|1|see log\rERR|||207^Application internal error|E|||boom\r"
    assert read_reply(raw).lines == ("see log", "error 207 at the message: boom")
