from __future__ import annotations

import pytest

from broker.hl7.escapes import CONTROL, GUESSED, UNKNOWN, doubts, unescape
from broker.hl7.header import RECOMMENDED


@pytest.mark.parametrize(
    ("text", "codec", "shown", "told"),
    [
        ("M/XFC/LLER", "ascii", "MüLLER", (GUESSED,)), ("M/XC3BC/LLER", "ascii", "MüLLER", (GUESSED,)),
        ("M/XFC/LLER", "utf-8", "MüLLER", (GUESSED,)), ("M/XC3BC/LLER", "utf-8", "MüLLER", ()),
        ("M/XC3//XBC/LLER", "utf-8", "MüLLER", ()), ("M/XFC/LLER", "iso8859_1", "MüLLER", ()),
        ("/XFC/ /X41/B", "cp1252", "ü AB", ()), ("/XB2E2/", "gb18030", "测", ()),
        ("/X8E8E//X8CB1/", "cp932", "試験", ()), ("/X1B24423B33/", "ascii+jis", "山", ()),
        ("A/X0D0A/B", "utf-8", "A\r\nB", ()), ("A/X1B/B/X00/", "utf-8", "AB", (CONTROL,)),
        ("TEST/C2842/A", "utf-8", "TESTA", (UNKNOWN,)), ("/M2442/A", "utf-8", "A", (UNKNOWN,)),
        ("A/Zhome/B", "utf-8", "A/Zhome/B", (UNKNOWN,)), ("C:/TEMP", "utf-8", "C:/TEMP", (UNKNOWN,)),
        ("/XF/A", "utf-8", "/XF/A", (UNKNOWN,)), ("a/F/b/E/c/.br/d", "utf-8", "a|b/c\r\nd", ()),
        ("/Z/ /XFF/", "ascii", "/Z/ ÿ", (UNKNOWN, GUESSED)), ("plain", "ascii", "plain", ()),
    ],
)  # fmt: skip
def test_what_escapes_stand_for_and_what_is_in_doubt(text: str, codec: str, shown: str, told: tuple[str, ...]) -> None:
    """`/` is the escape character, so that the texts can be read."""
    text, shown = text.replace("/", "\\"), shown.replace("/", "\\")
    assert unescape(text, RECOMMENDED, codec) == shown
    assert doubts(text, RECOMMENDED, codec) == told
