"""Passwords are found in a list of breached ones, as Have I Been Pwned writes it, at each place of the file."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from broker.accounts.breached import BreachedListUnreadable, BreachedPasswords

WORDS = [f"a breached password {number}" for number in range(300)] + ["pässword ü 12"]


def hashed(word: str) -> str:
    return hashlib.sha1(word.encode(), usedforsecurity=False).hexdigest().upper()


@pytest.mark.parametrize(
    ("line", "end"), [("{0}:{1}", "\r\n"), ("{0}:{1}", "\n"), ("{0}", "\n")], ids=["pwned", "unix", "bare"]
)
@pytest.mark.parametrize("count", [1, 2, 3, 301])
@pytest.mark.parametrize("last", [True, False], ids=["ended", "open"])
def test_each_word_of_a_list_is_found_and_no_other(tmp_path: Path, line: str, end: str, count: int, last: bool) -> None:
    words = sorted(WORDS[-count:], key=hashed)
    file = tmp_path / "list"
    text = end.join(line.format(hashed(word), 10**place % 9_999_999) for place, word in enumerate(words))
    file.write_text(text + end * last, encoding="ascii", newline="")
    found = BreachedPasswords(file)
    found.check()
    assert [word for word in words if not found.has(word)] == []
    assert [word for word in (*WORDS[:-count], "", "another", WORDS[-1].upper()) if found.has(word)] == []


def test_without_a_file_nothing_is_refused() -> None:
    BreachedPasswords(None).check()
    assert not BreachedPasswords(None).has(WORDS[0])


@pytest.mark.parametrize(
    ("text", "told"),
    [("", "empty"), ("password\n", "40 hex digits"), ("A" * 200, "too long"), (hashed("x") + ":x\n", "40 hex digits")],
)
def test_what_is_no_such_list_is_told_and_never_taken_for_one(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "list").write_text(text, encoding="ascii")
    with pytest.raises(BreachedListUnreadable, match=told):
        BreachedPasswords(tmp_path / "list").check()
    with pytest.raises(BreachedListUnreadable, match="cannot be read"):
        BreachedPasswords(tmp_path / "none").has("x")
    with pytest.raises(BreachedListUnreadable, match="cannot be read"):
        BreachedPasswords(tmp_path).has("x")  # a folder
