"""Which passwords are taken: long ones of any characters, and none that is guessed first."""

from __future__ import annotations

import pytest

from broker.accounts.password_rules import LONGEST, fault_of

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
    ("password", "text"),
    [
        ("", "Take at least %(count)s characters."),
        ("short-one-1", "Take at least %(count)s characters."),
        ("ab " * 43, "Take at most %(count)s characters."),
        ("x" * (LONGEST + 1), "Take at most %(count)s characters."),
        ("aaaaaaaaaaaa", "This is a pattern that is guessed first."),
        ("abcabcabcabc", "This is a pattern that is guessed first."),
        ("pass1!pass1!", "This is a pattern that is guessed first."),
        ("123456789012", "This is a pattern that is guessed first."),
        ("qwertyuiopas", "This is a pattern that is guessed first."),
        ("ZYXWVUTSRQPO", "This is a pattern that is guessed first."),
        ("password1234", "This is one of the commonest passwords, or one with something appended."),
        ("P@ssw0rd2026!", "This is one of the commonest passwords, or one with something appended."),
        ("1234football!", "This is one of the commonest passwords, or one with something appended."),
        ("passwordpassword", "This is a pattern that is guessed first."),
        ("ｐａｓｓｗｏｒｄ１２３４", "This is one of the commonest passwords, or one with something appended."),
        ("AnnaKeller2026", "It consists of your name or of words of this place."),
        ("anna.keller!", "It consists of your name or of words of this place."),
        ("RadiologyPacs1", "It consists of your name or of words of this place."),
        ("h0spital-br0ker", "It consists of your name or of words of this place."),
    ],
)
def test_what_is_guessed_first_is_refused_with_the_reason(password: str, text: str) -> None:
    fault = fault_of(password, WORDS)
    assert fault is not None
    assert fault.text == text


def test_the_reason_does_not_repeat_the_password() -> None:
    fault = fault_of("password1234")
    assert fault is not None
    assert "1234" not in fault.text % fault.values
