"""Which passwords are taken: long ones of any characters, and none that is guessed first."""

from __future__ import annotations

import pytest

from broker.accounts.password_rules import LONGEST, fault_of
from broker.accounts.password_rules import PasswordFault as Fault

WORDS = ("anna.keller", "Anna Keller", "anna", "keller")


@pytest.mark.parametrize(
    "password",
    [
        "correct horse battery staple",
        "kartoffelsalat mit gurke",
        "        four spaces        ",
        "!§$%&/()=?`*'_:;",  # no letter, no digit
        "847362910573",  # digits alone
        "ичфжщюъэклмн",
        "日本語のパスワードは長くてもよい",
        "🐘🦒🐊🐢🦔🐇🦩🐌🦋🐙🦀🐡",
        "x7" + "Qm-9vT2 pL" * 1 + "zR4wK8",
        "radiology is where i drink tea",
        "a" + "bq7Zr9 " * 18,
        "anna likes green tea a lot",
    ],
)
def test_long_ones_of_any_characters_are_taken(password: str) -> None:
    assert fault_of(password, WORDS) is None


@pytest.mark.parametrize(
    ("password", "fault"),
    [
        ("", Fault.SHORT),
        ("short-one-1", Fault.SHORT),
        ("ab " * 43, Fault.LONG),
        ("x" * (LONGEST + 1), Fault.LONG),
        ("aaaaaaaaaaaa", Fault.PATTERN),
        ("abcabcabcabc", Fault.PATTERN),
        ("pass1!pass1!", Fault.PATTERN),
        ("123456789012", Fault.PATTERN),
        ("qwertyuiopas", Fault.PATTERN),
        ("ZYXWVUTSRQPO", Fault.PATTERN),
        ("password1234", Fault.COMMON),
        ("P@ssw0rd2026!", Fault.COMMON),
        ("1234football!", Fault.COMMON),
        ("passwordpassword", Fault.PATTERN),
        ("ｐａｓｓｗｏｒｄ１２３４", Fault.COMMON),
        ("AnnaKeller2026", Fault.OWN_WORDS),
        ("anna.keller!", Fault.OWN_WORDS),
        ("RadiologyPacs1", Fault.OWN_WORDS),
        ("h0spital-br0ker", Fault.OWN_WORDS),
    ],
)
def test_what_is_guessed_first_is_refused_with_the_reason(password: str, fault: Fault) -> None:
    assert fault_of(password, WORDS) == fault
