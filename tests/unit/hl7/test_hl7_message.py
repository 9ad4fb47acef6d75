from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.hl7.escapes import unescape
from broker.hl7.findings import MalformedMessage
from broker.hl7.header import Separators
from broker.hl7.message import DELETE, parse
from broker.hl7.paths import path
from broker.hl7.work import REPETITIONS, SEGMENTS
from broker.hl7.writer import SegmentWriter

MSH = "MSH|^~\\&|A|B|C|D|20260312||ORM^O01|1|P|2.3"


def of(*segments: str, msh: str = MSH, end: str = "\r") -> object:
    return parse(end.join([msh, *segments, ""]).encode())


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n", "\r\r", "\n\r\n"])
def test_line_ends_and_blank_segments(end: str) -> None:
    message = parse(end.join([MSH, "PID|1||7", "OBR|1"]).encode())
    assert [segment.name for segment in message] == ["MSH", "PID", "OBR"]


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("PID-3", "1^^^A&1.2&ISO"), ("PID-3.1", "1"), ("PID-3.4", "A&1.2&ISO"), ("PID-3.4.2", "1.2"),
        ("PID-3[2].1", "2"), ("PID-3[3]", ""), ("PID-5.2", DELETE), ("PID-99", ""), ("ZZZ-1", ""),
        ("MSH-1", "|"), ("MSH-2", "^~\\&"), ("MSH-9.2", "O01"),
    ],
)  # fmt: skip
def test_paths(where: str, value: str) -> None:
    assert of('PID|||1^^^A&1.2&ISO~2||X^""').get(where) == value  # type: ignore[attr-defined]


def test_other_separators() -> None:
    message = parse(b"MSH#*!?$#A#####20260312##ORM*O01#1#P#2.3\rPID###1*x$y!2##A?S?B\r")
    assert message.get("PID-3.2.2") == "y"
    assert message.get("PID-3[2]") == "2"
    assert message.get("PID-5") == "A*B"


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        (r"a\F\b\S\c\T\d\R\e\E\f", "a|b^c&d~e\\f"), (r"\X41e9\ ", "Aé "), (r"\XC3A9\ ", "é "),
        (r"a\.br\b", "a\r\nb"), (r"\H\bold\N\ ", "bold "), (r"\Z99\ ", r"\Z99\ "), ("C:\\dir", "C:\\dir"),
        ("end\\", "end\\"), (r"\E\F\E\ ", "\\F\\ "), (r"\X00\x", "x"),
    ],
)  # fmt: skip
def test_unescape(text: str, plain: str) -> None:
    assert unescape(text, Separators(), "utf-8") == plain


@given(st.text(alphabet=st.characters(blacklist_categories=("Cs", "Cc")), max_size=40))
def test_escaping_is_undone(text: str) -> None:
    assert unescape(SegmentWriter().text(text), Separators()) == text


def test_controls_are_removed() -> None:
    message = of("PID|||1\x00\x072\x85")
    assert message.get("PID-3") == "12"  # type: ignore[attr-defined]


def test_notes_know_their_parent() -> None:
    message = of("PID|1", "NTE|1||of patient", "ORC|NW", "OBR|1", "NTE|1||of order", "NTE|2||more")
    assert [s.get(3) for s in message.all("NTE", "OBR")] == ["of order", "more"]  # type: ignore[attr-defined]
    assert message.get("PID/NTE-3") == "of patient"  # type: ignore[attr-defined]


def test_groups() -> None:
    head, runs = of("PID|1", "ORC|NW|1", "OBR|1", "OBR|2", "ORC|NW|2", "OBR|3").groups("ORC", alone="OBR")  # type: ignore[attr-defined]
    assert [s.name for s in head] == ["MSH", "PID"]
    assert [[s.name for s in run] for run in runs] == [["ORC", "OBR"], ["OBR"], ["ORC", "OBR"]]


@pytest.mark.parametrize(
    ("raw", "location", "code"),
    [
        (b"PID|1", "MSH^1", "100"), (b"", "MSH^1", "100"), (b"MSH", "MSH^1", "100"), (b"MSHAAAAAA", "MSH^1", "100"),
        (MSH.encode() + b"\rgarbage|1", "MSH^1", "100"), (MSH.encode() + b"\rPID|1\r" + MSH.encode(), "MSH^2", "100"),
        (MSH.encode() + b"||||||UNICODE UTF-8\rPID|||\xe9", "MSH^1^18", "102"),
        (MSH.encode() + b"||||||UNICODE UTF-16", "MSH^1^18", "103"),
        (MSH.encode() + b"\rPID|1||" + b"~" * 10_001, "PID^1", "102"),
    ],
)  # fmt: skip
def test_malformed(raw: bytes, location: str, code: str) -> None:
    with pytest.raises(MalformedMessage) as caught:
        parse(raw)
    assert (caught.value.finding.location, caught.value.finding.code) == (location, code)


def test_a_message_may_have_just_so_many_segments_and_repetitions() -> None:
    lines = [MSH, *["NTE|1"] * (SEGMENTS - 1)]
    assert len(list(parse("\r".join(lines).encode()))) == SEGMENTS
    with pytest.raises(MalformedMessage) as caught:
        parse("\r".join([*lines, "NTE|2"]).encode())
    assert (caught.value.finding.location, caught.value.finding.code) == (f"NTE^{SEGMENTS - 1}", "100")
    assert parse(f"{MSH}\rPID|1||{'~' * REPETITIONS}".encode()).first("PID") is not None


def test_short_msh_2_and_byte_order_mark() -> None:
    assert parse(b"\xef\xbb\xbfMSH|^|A\rPID|||1^2\r").get("PID-3.2") == "2"


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_malformed(data: bytes) -> None:
    try:
        message = parse(b"MSH|^~\\&|" + data)
    except MalformedMessage:
        return
    for segment in message:
        segment.get(3, 1)
    assert message.first("MSH") is not None


def test_large_messages_in_linear_time() -> None:
    started = time.process_time()
    message = of(*["NTE|1||" + "x" * 50] * 20_000, "PID|||" + "~".join(["1"] * 9000), "OBX|1||||" + "y\\T\\" * 16_000)
    assert message.get("PID-3[9000]") == "1"  # type: ignore[attr-defined]
    assert len(message.get("OBX-5")) == 32_000  # type: ignore[attr-defined]
    assert time.process_time() - started < 2


def test_path_syntax() -> None:
    with pytest.raises(ValueError, match="path"):
        path("PID-5:XPN")


# MSH-2 by position (HL7 2.5.1 §2.5.4): what is left out is the usual one, unless that stands for something else
@pytest.mark.parametrize(
    ("head", "marks", "told"),
    [
        ("MSH|^~\\&", "|^~\\&", False),
        ("MSH|^~\\&#", "|^~\\&", False),
        ("MSH|^~\\", "|^~\\&", False),
        ("MSH|^~", "|^~\\&", False),
        ("MSH|^", "|^~\\&", False),
        ("MSH|", "|^~\\&", False),
        ("MSH|^~&", "|^~&", True),
        ("MSH|^&", "|^&\\", True),
        ("MSH|&", "|&~\\", True),
        ("MSH|~", "|~\\&", True),
        ("MSH|^\\", "|^\\&", True),
        ("MSH&^~\\", "&^~\\", True),
    ],
)
def test_short_msh_2_by_position(head: str, marks: str, told: bool) -> None:
    field = head[3]
    found = parse(field.join([head, "R", *[""] * 5, "ORM^O01", "1", "P", "2.5\rPID", "", "", "A~B^C\r"]).encode())
    mark = found.header.separators
    assert mark.field + mark.component + mark.repetition + mark.escape + mark.subcomponent == marks
    assert [finding.location for finding in found.findings] == (["MSH^1^2"] if told else [])
    pid = found.first("PID")
    assert pid is not None
    assert mark.repetition.join(r.text for r in pid.repetitions(3)) == "A~B^C"
    assert [pid.get(3, part, subcomponent=below) for part in (1, 9) for below in (1, 9)][1:] == ["", "", ""]


def test_without_an_escape_character_in_its_place_the_third_one_is_it() -> None:
    found = parse(b"MSH|^~&|R||||||ORM^O01|1|P|2.5\rPID|||A^B&C&D^E&T&F\r")
    assert found.get("PID-3.2") == "B&C&D"
    assert found.get("PID-3.2.1") == "B&C&D"
    assert found.get("PID-3.3") == "E&F"
