from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hl7apy.parser import parse_message

from broker.hl7 import acknowledgement, work
from broker.hl7.findings import Finding
from broker.hl7.header import read_header
from broker.hl7.mllp import framing

AT = datetime(2026, 3, 12, 8, 15, 44, tzinfo=UTC)
TOKEN = UUID(int=7)
FINDINGS = [Finding("PID^1^3", "101", "Patient identifier is missing"), Finding("TQ1^1^7", "0", "Noted & kept", "W")]


def answer(msh: bytes, code: str = "AE", findings: list[Finding] | None = None) -> bytes:
    header = read_header(msh)
    assert header is not None
    return acknowledgement.build(header, code, FINDINGS if findings is None else findings, token=TOKEN, at=AT)


def test_version_2_5_as_a_foreign_parser_reads_it() -> None:
    raw = answer(b"MSH|^~\\&|RIS|SITE|BROKER|RAD|2026||OMI^O23^OMI_O23|c-1|P|2.5.1||||||UNICODE UTF-8\r")
    message = parse_message(raw.decode(), find_groups=False)
    assert message.msh.msh_3.value == "BROKER"
    assert message.msh.msh_6.value == "SITE"
    assert message.msh.msh_7.value == "20260312081544+0000"
    assert message.msh.msh_9.value == "ACK^O23^ACK"
    assert len(message.msh.msh_10.value) == 20
    assert (message.msa.msa_1.value, message.msa.msa_2.value) == ("AE", "c-1")
    first, second = message.err
    assert first.err_2.value == "PID^1^3"
    assert first.err_3.value == "101^Required field missing^HL70357"
    assert first.err_4.value == "E"
    assert second.err_4.value == "W"
    assert second.err_8.value == "Noted \\T\\ kept"


def test_version_2_3_as_a_foreign_parser_reads_it() -> None:
    raw = answer(b"MSH|^~\\&|RIS|SITE|BROKER|RAD|2026||ORM^O01|c-1|P|2.3.1\r")
    message = parse_message(raw.decode(), find_groups=False)
    assert message.msh.msh_9.value == "ACK^O01"
    assert message.msa.msa_3.value == "Patient identifier is missing"
    assert [r.value for r in message.err.err_1] == [
        "PID^1^3^101&Required field missing&HL70357",
        "TQ1^1^7^0&Message accepted&HL70357",
    ]


def test_warnings_with_error_codes_are_no_errors_before_2_5() -> None:
    raw = answer(b"MSH|^~\\&|RIS|||||| ORM^O01|c|P|2.3\r", "AA", [Finding("ORC^1^7", "101", "Start is missing", "W")])
    assert b"\rMSA|AA|c|Start is missing\r" in raw
    assert b"ERR" not in raw


def test_control_id_and_separators_come_back_exactly() -> None:
    assert b"MSA#AE#a^b\\x&" in answer(b"MSH#*!?$#RIS######ORM*O01#a^b\\x&#P#2.3\r")


def test_many_findings_are_bounded() -> None:
    many = [Finding(f"NTE^{n}^3", "102", "bad") for n in range(5000)]
    header = read_header(b"MSH|^~\\&|RIS||||||ORM^O01|c|P|2.5\r")
    assert header is not None
    for received, most in ((1 << 20, 100), (200, 80)):  # an answer is not much longer than the message
        answered = acknowledgement.reply(header, "AE", many, token=TOKEN, at=AT, received=received)
        assert 50 < answered.data.count(b"\rERR|") <= most


# by accept and application condition: the codes sent for a message taken, one with an error in it, one refused for its
# header, one that could not be stored (HL7 2.5.1 table 0155)
MODES = {
    ("", ""): ("AA", "AE", "AR", "AE"),
    ("AL", ""): ("CA", "CE", "CR", "CE"), ("NE", ""): ("", "", "", ""), ("ER", ""): ("", "CE", "CR", "CE"),
    ("SU", ""): ("CA", "", "", ""), ("", "AL"): ("AA", "AE", "AR", "AE"), ("", "NE"): ("", "", "", ""),
    ("", "ER"): ("", "AE", "AR", "AE"), ("", "SU"): ("AA", "", "", ""),
    ("AL", "AL"): ("CA AA", "CA AE", "CR", "CE"), ("AL", "NE"): ("CA", "CE", "CR", "CE"),
    ("AL", "ER"): ("CA", "CA AE", "CR", "CE"), ("AL", "SU"): ("CA AA", "CE", "CR", "CE"),
    ("NE", "AL"): ("AA", "AE", "AR", "AE"), ("NE", "NE"): ("", "", "", ""), ("NE", "ER"): ("", "AE", "AR", "AE"),
    ("NE", "SU"): ("AA", "", "", ""),
    ("ER", "AL"): ("AA", "AE", "CR", "CE"), ("ER", "NE"): ("", "CE", "CR", "CE"), ("ER", "ER"): ("", "AE", "CR", "CE"),
    ("ER", "SU"): ("AA", "CE", "CR", "CE"),
    ("SU", "AL"): ("CA AA", "CA AE", "AR", "AE"), ("SU", "NE"): ("CA", "", "", ""),
    ("SU", "ER"): ("CA", "CA AE", "AR", "AE"), ("SU", "SU"): ("CA AA", "", "", ""),
}  # fmt: skip
CASES = [("AA", True), ("AE", True), ("AR", True), ("AE", False)]


@pytest.mark.parametrize(("accept", "application"), MODES)
def test_modes(accept: str, application: str) -> None:
    header = read_header(f"MSH|^~\\&|R||||||ORM^O01|1|P|2.5|||{accept}|{application}\r".encode())
    assert header is not None
    for (code, stored), expected in zip(CASES, MODES[accept, application], strict=True):
        found = acknowledgement.reply(header, code, FINDINGS, token=TOKEN, at=AT, stored=stored)
        sent = [part.split(b"\rMSA|")[1][:2].decode() for part in framing.parts(found.data)]
        assert " ".join(sent) == expected, code
        assert found.code == (sent[-1] if sent else "none")
        ids = [part.split(b"|")[9] for part in framing.parts(found.data)]
        assert len(set(ids)) == len(ids)
        assert sum(b"\rERR|" in part for part in framing.parts(found.data)) == (1 if sent else 0)


def test_an_unknown_condition_wants_an_answer() -> None:
    header = read_header(b"MSH|^~\\&|R||||||ORM^O01|1|P|2.5|||al|Y\r")
    assert header is not None
    assert acknowledgement.phases(header, "AA") == ("CA", "AA")


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-le", "utf-16-be", "utf-32-be"])
def test_utf_16_is_refused_in_words(codec: str) -> None:
    raw = acknowledgement.unreadable("MSH|^~\\&|R|".encode(codec), token=TOKEN, at=AT)
    assert raw is not None
    assert b"MSH^1^18" in raw.replace(b"\\S\\", b"^")


def test_unreadable() -> None:
    raw = acknowledgement.unreadable(b"MSHxxxx", token=TOKEN, at=AT)
    assert raw is not None
    assert b"\rMSA|AR|" in raw
    assert acknowledgement.unreadable(b"GET / HTTP/1.1", token=TOKEN, at=AT) is None


@pytest.mark.parametrize("version", ["2.3", "2.5.1"])
def test_an_answer_tells_of_so_many_findings_at_most(version: str) -> None:
    findings = [Finding(f"OBX^{n}^5", "102", "Value cannot be used") for n in range(work.FINDINGS + 1)]
    header = read_header(f"MSH|^~\\&|RIS|||||||ORM^O01|c-1|P|{version}\r".encode())
    assert header is not None
    for received, least in ((100_000, work.FINDINGS), (300, 20)):
        raw = acknowledgement.reply(header, "AE", findings, token=TOKEN, at=AT, received=received).data
        assert least <= raw.count(b"OBX^") <= work.FINDINGS
        assert len(raw) <= work.room(received)
        assert b"OBX^19^5" in raw


def test_of_too_many_findings_the_errors_come_first() -> None:
    told = [Finding(f"OBX^{n}^5", "102", "x" * 60, "E" if n == 99 else "W") for n in range(100)]
    header = read_header(b"MSH|^~\\&|RIS|||||||ORM^O01|c-1|P|2.5.1\r")
    assert header is not None
    assert b"OBX^99^5" in acknowledgement.reply(header, "AE", told, token=TOKEN, at=AT, received=300).data


NO_VALUE = ["", " ", "   ", "\t", "\xa0", '""', ' "" ']


@pytest.mark.parametrize("accept", NO_VALUE)
@pytest.mark.parametrize("application", NO_VALUE)
def test_blanks_in_msh_15_and_msh_16_are_no_value(accept: str, application: str) -> None:
    header = read_header(f"MSH|^~\\&|R||||||ORM^O01|1|P|2.5|||{accept}|{application}\r".encode())
    assert header is not None
    assert acknowledgement.phases(header, "AA") == ("", "AA")
    assert acknowledgement.phases(header, "AE") == ("", "AE")


def test_blanks_around_a_condition_do_not_count() -> None:
    header = read_header(b"MSH|^~\\&|R||||||ORM^O01|1|P|2.5||| |  er \r")
    assert header is not None
    assert acknowledgement.phases(header, "AA") == ("", "")
    assert acknowledgement.phases(header, "AE") == ("", "AE")


def warning(text: str) -> Finding:
    return Finding("MSH^1^10", "205", text, "W")


@pytest.mark.parametrize(
    ("code", "findings", "text"),
    [
        ("AE", [warning("first"), Finding("PID^1^3", "205", "wrong"), Finding("OBR^1^4", "101", "later")], "wrong"),
        ("AR", [warning("first"), Finding("MSH^1^9", "200", "wrong")], "wrong"),
        ("AE", [warning("first")], ""),
        ("AA", [warning("first"), warning("second")], "first"),
        ("AA", [], ""),
        ("AE", [*map(warning, map(str, range(200))), Finding("PID^1^3", "205", "wrong")], "wrong"),
    ],
)  # fmt: skip
def test_msa_3_before_2_5_says_why(code: str, findings: list[Finding], text: str) -> None:
    raw = answer(b"MSH|^~\\&|RIS|||||||ORM^O01|c-1|P|2.4\r", code, findings)
    assert [*raw.split(b"\rMSA|")[1].split(b"\r")[0].split(b"|"), b""][2] == text.encode()


@pytest.mark.parametrize(
    ("head", "control_id"),
    [
        (b"MSH|^^\\&|RIS|SITE|||2026||ORM^O01|c-1|P|2.3", b"c-1"),
        (b"MSH|^~ &|RIS|SITE|||2026||ORM^O01|c-1|P|2.3", b"c-1"),
        (b"MSH|ABCD|RIS|SITE|||2026||ORM^O01|c^1|P|2.5.1", b"c\\S\\1"),
        (b"MSH|^~^", b""),
        (b"MSHxxxx", b""),
        (b"\xef\xbb\xbfMSH|^^|RIS|SITE|||2026||ORM^O01|c-1|P|2.3", b"c-1"),
    ],
)
def test_a_useless_msh_2_is_refused_by_the_control_id(head: bytes, control_id: bytes) -> None:
    assert read_header(head) is None
    raw = acknowledgement.unreadable(head, token=TOKEN, at=AT)
    assert raw is not None
    assert raw.split(b"\rMSA|")[1].split(b"\r")[0].split(b"|")[:2] == [b"AR", control_id]
