"""Writings of one name without a representation code (XPN-8): by their script, or the first is alphabetic."""

from __future__ import annotations

from dataclasses import replace

import pytest

from broker.errors import ConfigurationError
from broker.hl7.header import RECOMMENDED
from broker.hl7.message import Repetition
from broker.orders.core import names
from broker.orders.core.names import USUAL, Writings
from broker.orders.mapping.book import ProfileBook
from broker.orders.mapping.document import read

JIS, UTF_8 = "ascii+jis", "utf-8"


def name(text: str, codec: str = UTF_8, writings: Writings = Writings.JAPANESE) -> names.ReadName:
    """A PN of the repetitions of an XPN."""
    repetitions = [Repetition(part, RECOMMENDED, codec) for part in text.split("~")]
    return names.from_xpn(repetitions, replace(USUAL, writings=writings))


@pytest.mark.parametrize(
    ("text", "codec", "expected"),
    [
        ("試験^太郎", JIS, "=試験^太郎"), ("試験^太郎", "shift_jis+jis", "=試験^太郎"),
        ("試験^太郎", UTF_8, "試験^太郎"),
        ("さくら^ハナ", JIS, "=さくら^ハナ"), ("ｼｹﾝ^ﾀﾛｳ", JIS, "ｼｹﾝ^ﾀﾛｳ"), ("SHIKEN^TARO", JIS, "SHIKEN^TARO"),
        ("SHIKEN^TARO~試験^太郎~シケン^タロウ", JIS, "SHIKEN^TARO=試験^太郎=シケン^タロウ"),
        ("SHIKEN^TARO~試験^太郎~シケン^タロウ", UTF_8, "SHIKEN^TARO=試験^太郎=シケン^タロウ"),
        ("試験^太郎~しけん^たろう~SHIKEN^TARO", UTF_8, "SHIKEN^TARO=試験^太郎=しけん^たろう"),
        ("ｼｹﾝ^ﾀﾛｳ~試験^太郎", UTF_8, "ｼｹﾝ^ﾀﾛｳ=試験^太郎"),
        ("SHIKEN^TARO~シケン^タロウ", UTF_8, "SHIKEN^TARO==シケン^タロウ"),
        ("HONG^GILDONG~洪^吉洞~홍^길동", UTF_8, "HONG^GILDONG=洪^吉洞=홍^길동"), ("홍^길동", UTF_8, "홍^길동"),
        ("HONG^GILDONG~홍^길동", UTF_8, "HONG^GILDONG=홍^길동"), ("WANG^XIAO~王^小", UTF_8, "WANG^XIAO=王^小"),
        ("YAMADA^TARO^^^^^L^A~山田^太郎^^^^^L", UTF_8, "YAMADA^TARO=山田^太郎"),
        ("ИВАНОВА^АННА", JIS, "ИВАНОВА^АННА"),
        ("山田^太郎^^^^^L^A", JIS, "山田^太郎"), ("山田^太郎^^^^^L^I", UTF_8, "=山田^太郎"),
        ("髙橋ジョン^A", JIS, "=髙橋ジョン^A"),
    ],
)  # fmt: skip
def test_writings_go_to_the_group_of_their_script(text: str, codec: str, expected: str) -> None:
    assert name(text, codec) == (expected, ())


def test_a_profile_decides() -> None:
    assert name("試験^太郎", UTF_8, Writings.SCRIPT).text == "=試験^太郎"
    assert name("試験^太郎", JIS, Writings.DECLARED).text == "試験^太郎"
    three = name("SHIKEN^TARO~試験^太郎", JIS, Writings.DECLARED)
    assert three == ("SHIKEN^TARO", (names.SEVERAL,))
    document = 'name = "own"\nextends = "ihe"\n[names]\nwritings = "{}"\n'
    assert ProfileBook({"own": read(document.format("script"), "x")}).named("own").names.writings is Writings.SCRIPT
    with pytest.raises(ConfigurationError, match="names: writings: declared"):
        ProfileBook({"own": read(document.format("kanji"), "x")})


def test_two_writings_of_one_script_are_told() -> None:
    assert name("王^小~李^明", UTF_8) == ("王^小", (names.SEVERAL,))
    assert name("王^小~李^明~WANG^XIAO", UTF_8) == ("WANG^XIAO=王^小", (names.SEVERAL,))
