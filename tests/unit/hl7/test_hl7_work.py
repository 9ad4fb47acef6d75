"""What asks for more work than a sender needs is refused before anything is made of it."""

from __future__ import annotations

import time
import tracemalloc

import pytest

from broker.hl7 import work
from broker.hl7.findings import MalformedMessage
from broker.hl7.header import Header, Separators, clean
from broker.hl7.message import parse
from broker.hl7.mllp.framing import Frame, Framer
from broker.hl7.text import charset, piecewise
from broker.hl7.text.decoding import Decoded, decode
from broker.hl7.text.strays import strays

MIB = 1024**2
HEAD = b"MSH|^~\\&|RIS|SITE|BROKER|RAD|2030||ORM^O01|C1|P|2.5.1"
PID = b"\rPID|1||"
ABUSES = {  # made when they are needed: they are large
    "header": lambda: HEAD.replace(b"C1", b"MSH|" * (2 * MIB)),
    "names of character sets": lambda: HEAD + b"||||||" + b"ASCII~" * 1000 + b"\r",
    "names of character sets without end": lambda: HEAD + b"||||||" + b"ASCII~" * 1_000_000,
    "segments": lambda: HEAD + b"\rNTE" * (work.SEGMENTS + 1),
    "messages": lambda: HEAD + b"\rMSH|" * (2 * MIB),
    "orders": lambda: HEAD + b"\rORC|NW" * (work.ALIKE + 1),
    "blank lines": lambda: HEAD + b"\r" * (8 * MIB),
    "repetitions": lambda: HEAD + PID + b"9~" * (4 * MIB),
    "repetitions of one segment": lambda: HEAD + PID + b"~" * (work.REPETITIONS + 1),
    "repetitions of many segments": lambda: HEAD + (PID + b"~" * (work.REPETITIONS // 20)) * 21,
    "fields": lambda: HEAD + PID + b"|" * (8 * MIB),
    "fields of one segment": lambda: HEAD + PID + b"|" * (work.FIELDS + 1),
    "components": lambda: HEAD + PID + b"^" * (8 * MIB),
    "subcomponents": lambda: HEAD + PID + b"&" * (8 * MIB),
    "escapes": lambda: HEAD + b"\rNTE|1||" + b"\\F\\" * (3 * MIB),
    "a long field": lambda: HEAD + PID + b"9" * (work.FIELD + 1),
    "escaped bytes in a field": lambda: HEAD + PID + b"\\X" + b"41" * (4 * MIB) + b"\\",
    "shifts": lambda: HEAD + b"\rNTE|1||" + b"\x1b(B" * (3 * MIB),
    "a mark of the message": lambda: HEAD.replace(b"|", b"\x80") + b"\rPID" + b"\x80" * (8 * MIB),
}


@pytest.mark.parametrize("kind", ABUSES)
def test_abuse_is_refused_before_it_is_taken_apart(kind: str) -> None:
    raw = ABUSES[kind]() + b"\r"
    tracemalloc.start()
    began = time.process_time()
    try:
        with pytest.raises(MalformedMessage):
            parse(raw)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert time.process_time() - began < 5  # a second at the very most, without the tracing
    assert peak < 2.5 * len(raw) + 16 * MIB


LARGE = {
    "document": lambda: HEAD + b"\rOBX|1|ED|PDF||^AP^^Base64^" + b"QUJD" * (2 * MIB),
    "site's own": lambda: HEAD + b"\rZDS|" + b"x" * (8 * MIB),
    "report": lambda: HEAD + b"".join(b"\rOBX|%d|TX|a^b||line\\.br\\|||||F" % n for n in range(40_000)),
    "escaped bytes": lambda: HEAD + b"\rNTE|1||\\X" + b"41" * 1000 + b"\\",
    "orders": lambda: HEAD + b"\rORC|NW" * work.ALIKE,
    "repetitions": lambda: HEAD + PID + b"~" * work.REPETITIONS + (b"\rOBX|1|TX|a||" + b"~" * work.REPETITIONS) * 9,
}


@pytest.mark.parametrize("kind", LARGE)
def test_what_senders_need_is_read(kind: str) -> None:
    raw = LARGE[kind]() + b"\r"
    message = parse(raw)
    assert sum(len(segment.text) + 1 for segment in message) == len(raw)
    assert message.get("NTE-3") in ("", "A" * 1000)


def test_an_escape_sequence_has_a_limit() -> None:
    digits = "41" * (work.ESCAPED // 2)
    assert parse(HEAD + f"\rNTE|1||\\X{digits}\\\r".encode()).get("NTE-3") == "A" * (work.ESCAPED // 2)
    assert parse(HEAD + f"\rNTE|1||\\X{digits}41\\\r".encode()).get("NTE-3") == f"\\X{digits}41\\"


@pytest.mark.parametrize("codec", ["utf-8", "gb18030", "big5hkscs", "cp932", "iso2022_jp_ext", "euc_kr", "cp1252"])
def test_long_text_is_decoded_as_short_text_is(codec: str) -> None:
    text = "a日本 中文 " * 20_000 if codec not in ("cp1252", "euc_kr") else "añ é" * 40_000
    data = text.encode(codec, "replace")
    assert piecewise.decode(data, codec) == data.decode(codec)
    with pytest.raises(UnicodeDecodeError):
        piecewise.decode(data + b"\xff" * 2 + data, "ascii")


def test_long_text_is_read_as_short_text_is() -> None:
    for codec in ("ascii+jis", "ascii+euc_kr", "cp1252"):
        data = "ab é".encode("cp1252") if codec == "cp1252" else charset.encode("山田 ab", codec)
        assert charset.read(data + b"\r" + b"x" * 200_000, codec).startswith(charset.read(data, codec))
    assert charset.windows(bytes(range(256)) * 1000) == bytes(range(256)).decode("cp1252", charset.LATIN_1) * 1000
    assert decode(HEAD + b"\rNTE|1||" + b"\x81" * MIB).codec == "cp1252"
    assert clean("a\x01b" * 100_000) == "ab" * 100_000


def test_controls_are_told_once_for_a_field_and_fast() -> None:
    began = time.process_time()
    told = strays("MSH|^~\\&|A\r" + "NTE|1||" + "\x01a\ufffd" * MIB + "|\ufffd\x01x\r")
    assert [(f.location, "U+FFFD" in f.text) for f in told] == [
        ("NTE^1^3", False), ("NTE^1^3", True), ("NTE^1^4", True), ("NTE^1^4", False),
    ]  # fmt: skip
    assert time.process_time() - began < 5


def test_single_end_blocks_inside_a_message_cost_no_more_than_other_bytes() -> None:
    framer, data = Framer(10 * MIB), b"\x1cA" * (4 * MIB)
    began = time.process_time()
    for start in range(0, len(data), 65536):
        framer.feed((b"\x0b" if not start else b"") + data[start : start + 65536])
    (frame,) = framer.feed(b"\x1c\r")
    assert frame == Frame(data)
    assert time.process_time() - began < 3


def test_a_header_is_read_from_so_many_bytes() -> None:
    header = Header.of(Decoded("MSH|^~\\&|" + "x" * 100_000, "ascii"))
    assert header is not None
    assert header.separators == Separators()
    assert len(header.get(3)) < work.MSH
