from __future__ import annotations

import pytest

from broker.hl7.findings import MalformedMessage
from broker.hl7.text import charset, decoding
from broker.hl7.tolerance import Tolerance


def message(declared: str, text: bytes) -> bytes:
    return b"MSH|^~\\&|A|B|C|D|T||ORM^O01|1|P|2.3||||||" + declared.encode() + b"\rPID|||1||" + text + b"\r"


@pytest.mark.parametrize(
    ("declared", "data", "text"),
    [
        ("", b"DOE", "DOE"), ("", "Zoé".encode(), "Zoé"), ("", b"Zo\xe9 \x80", "Zoé €"), ("", b"\xe9\x81", "é\x81"),
        ("8859/1", b"Zo\xe9", "Zoé"), ("8859/1", b"\x92", "’"), ("8859/2", "Łódź".encode("iso8859_2"), "Łódź"),
        ("8859/5", "Иван".encode("iso8859_5"), "Иван"), ("8859/15", b"\xa4", "€"),
        ("UNICODE UTF-8", "山".encode(), "山"), ("unicode utf-8", "山".encode(), "山"),
        ("~ISO IR87", "山田^太郎 ヤマダ".encode("iso2022_jp"), "山田^太郎 ヤマダ"),
        ("ISO IR14~ISO IR87", b"\xd4\xcf\xc0\xde" + "山".encode("iso2022_jp"), "ﾔﾏﾀﾞ山"),
        ("GB 18030-2000", "王^小东".encode("gb18030"), "王^小东"), ("BIG-5", "許功蓋".encode("big5"), "許功蓋"),
        ("KS X 1001", "홍^길동".encode("euc_kr"), "홍^길동"), ("~KS X 1001", b"\x1b$)C" + "홍".encode("euc_kr"), "홍"),
        ("~KS X 1001", "홍".encode("euc_kr"), "홍"),
        ("~KS X 1001", b"\x1b$)C\x0e" + bytes(b & 0x7F for b in "홍".encode("euc_kr")) + b"\x0f^A", "홍^A"),
        ("ISO IR87", b"\x1b$B;3\x1b(B^\x1b$@;3\x1b(J^A", "山^山^A"), ("ISO IR159", b"\x1b$(D0!\x1b(B", "丂"),
        ("~ISO IR87~ISO IR159", b"\x1b$B;3\x1b$(D0!\x1b(B", "山丂"), ("~ISO IR87", b"\x1b(ITO\x1b(B", "ﾔﾏ"),
        ("", b"\x1b$B;3\x1b(B", "山"),  # escapes that say themselves what they are
        ("8859/1~8859/5", b"\xe9 \x1b-L\xd8\x1b-A \xe9", "é и é"), ("8859/1~ISO IR87", b"\xe9\x1b$B;3\x1b(B", "é山"),
        ("8859/3", b"\xe6", "ĉ"), ("8859/4", b"\xe6", "æ"), ("8859/6", b"\xc7", "ا"), ("8859/7", b"\xe1", "α"),
        ("8859/8", b"\xe0", "א"), ("8859/9", b"\xfd", "ı"), ("~UNICODE UTF-8", "山".encode(), "山"),
        ("ASCII", b"DOE", "DOE"), ("ASCII~ASCII", b"DOE", "DOE"), ("UNICODE", "é".encode(), "é"),
        # the escapes of HL7 for the same sequences; others stay what they are
        ("~ISO IR87", rb"\M2442\;3%^\C2842\^A", "山マ^A"), ("~KS X 1001", b"\\M242943\\" + "홍".encode("euc_kr"), "홍"),
        ("ISO IR14~ISO IR159", rb"\M242844\0!\C284a\^\T\C2842\ ", r"丂^\T\C2842\ "),
        ("8859/1", rb"\C4242\ \M2442", r"\C4242\ \M2442"), ("UNICODE UTF-8", rb"\C2842\ ", r"\C2842\ "),
    ],
)  # fmt: skip
def test_decodes(declared: str, data: bytes, text: str) -> None:
    assert f"|{text}\r" in decoding.decode(message(declared, data))[0]


@pytest.mark.parametrize(
    ("declared", "data", "code"),
    [
        ("ASCII", b"\xe9", "102"), ("UNICODE UTF-8", b"\xe9", "102"), ("KS X 1001", b"\xff\xff", "102"),
        ("~ISO IR87", b"\xe9", "102"), ("~ISO IR87", b"\x1b$B\xff\xff\x1b(B", "102"), ("BIG-5", b"\xff\xff", "102"),
        ("GB 18030-2000", b"\xff\xff", "102"), ("CNS 11643-1992", b"", "103"), ("8859/1~EBCDIC", b"", "103"),
        ("UNICODE UTF-16", b"", "103"), ("UNICODE UTF-32", b"", "103"), ("8859/99", b"", "103"), ("EBCDIC", b"", "103"),
    ],
)  # fmt: skip
def test_refuses(declared: str, data: bytes, code: str) -> None:
    with pytest.raises(MalformedMessage) as caught:
        decoding.decode(message(declared, data))
    assert (caught.value.finding.location, caught.value.finding.code) == ("MSH^1^18", code)


@pytest.mark.parametrize("declared", ["", "8859/1", "UNICODE UTF-8", "~ISO IR87", "GB 18030-2000", "ISO IR14~ISO IR87"])
def test_answers_can_be_encoded(declared: str) -> None:
    codec = decoding.decode(message(declared, b"x"))[1]
    assert charset.encode("AA|1\r", codec) == b"AA|1\r"


def test_guessed_bytes_go_back_unchanged() -> None:
    raw = message("", b"\xe9\x80\x81")
    text, codec, *_ = decoding.decode(raw)
    assert charset.encode(text, codec) == raw


@pytest.mark.parametrize(
    ("declared", "text"),
    [
        ("ISO IR14~ISO IR87~ISO IR159", "ﾔﾏ山A丂ﾔ"), ("~ISO IR87", "ﾔﾏ山A"), ("~KS X 1001", "A홍B길"),
        ("KS X 1001", "홍A"), ("8859/1~8859/5", "é и A é"), ("8859/9~ISO IR87", "ı山ı"),
        ("GB 18030-2000", "王A"), ("BIG-5", "許A"),
    ],
)  # fmt: skip
def test_what_is_answered_reads_as_it_was_meant(declared: str, text: str) -> None:
    codec = decoding.decode(message(declared, b"x"))[1]
    assert f"|{text}\r" in decoding.decode(message(declared, charset.encode(text, codec)))[0]
    assert charset.encode("☃", codec) in (b"?", "☃".encode("gb18030"))


def test_a_line_brings_back_ascii_and_a_byte_order_mark_is_a_declaration() -> None:
    assert decoding.decode(message("~ISO IR87", b"\x1b$B;3") + b"PV1||O\r")[0].endswith("山\rPV1||O\r")
    bom = b"\xef\xbb\xbf"
    assert decoding.decode(bom + message("", "é".encode()))[:2] == (message("", "é".encode()).decode(), "utf-8")
    assert decoding.decode(bom + message("UNICODE UTF-8", b"x"))[1] == "utf-8"
    with pytest.raises(MalformedMessage):
        decoding.decode(bom + message("", b"\xe9"))


REPLACE = Tolerance(replace=True)


@pytest.mark.parametrize(
    ("declared", "data", "text", "code"),
    [
        ("UNICODE UTF-8", b"Zo\xe9", "Zo\ufffd", "102"), ("ASCII", b"Zo\xe9", "Zo\ufffd", "102"),
        ("~ISO IR87", b"\x1b$B\xff\x1b(B", "\ufffd", "102"), ("EBCDIC", b"Zo\xe9", "Zoé", "103"),
    ],
)  # fmt: skip
def test_lenient_reading_warns(declared: str, data: bytes, text: str, code: str) -> None:
    found = decoding.decode(message(declared, data), REPLACE)
    assert f"|{text}\r" in found.text
    assert [(f.location, f.code, f.severity) for f in found.findings] == [("MSH^1^18", code, "W")]


def test_a_byte_order_mark_wins_over_another_declaration() -> None:
    found = decoding.decode(b"\xef\xbb\xbf" + message("8859/1", "é".encode()))
    assert "|é\r" in found.text
    assert len(found.findings) == 1


@pytest.mark.parametrize(("assumed", "text"), [("", "é"), ("8859/2", "é"), ("8859/5", "щ"), ("KS X 1001", None)])
def test_what_is_assumed_without_a_declaration(assumed: str, text: str | None) -> None:
    raw = message("", b"\xe9")
    if text is None:
        with pytest.raises(MalformedMessage):
            decoding.decode(raw, Tolerance(charset=assumed))
        return
    assert f"|{text}\r" in decoding.decode(raw, Tolerance(charset=assumed))[0]
    assert "|é\r" in decoding.decode(message("8859/1", b"\xe9"), Tolerance(charset=assumed))[0]
