from __future__ import annotations

import pytest

from broker.hl7 import charset
from broker.hl7.findings import MalformedMessage


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
    ],
)  # fmt: skip
def test_decodes(declared: str, data: bytes, text: str) -> None:
    assert f"|{text}\r" in charset.decode(message(declared, data))[0]


@pytest.mark.parametrize(
    ("declared", "data", "code"),
    [
        ("ASCII", b"\xe9", "102"), ("UNICODE UTF-8", b"\xe9", "102"), ("KS X 1001", b"\xff\xff", "102"),
        ("UNICODE UTF-16", b"", "103"), ("UNICODE UTF-32", b"", "103"), ("8859/99", b"", "103"), ("EBCDIC", b"", "103"),
    ],
)  # fmt: skip
def test_refuses(declared: str, data: bytes, code: str) -> None:
    with pytest.raises(MalformedMessage) as caught:
        charset.decode(message(declared, data))
    assert (caught.value.finding.location, caught.value.finding.code) == ("MSH^1^18", code)


@pytest.mark.parametrize("declared", ["", "8859/1", "UNICODE UTF-8", "~ISO IR87", "GB 18030-2000", "ISO IR14~ISO IR87"])
def test_answers_can_be_encoded(declared: str) -> None:
    codec = charset.decode(message(declared, b"x"))[1]
    assert charset.encode("AA|1\r", codec) == b"AA|1\r"


def test_guessed_bytes_go_back_unchanged() -> None:
    raw = message("", b"\xe9\x80\x81")
    text, codec = charset.decode(raw)
    assert charset.encode(text, codec) == raw
