"""TOML from outside is read in bounded time, or refused in words."""

from __future__ import annotations

import time

import pytest

from broker.settings.toml_text import DOTS, NotToml, parse_toml

LONG = 1024 * 1024


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[" + ".".join("a" * (LONG // 2)) + "]]", f"more than {DOTS} dots (at line 1)"),
        ("x = 1\n" + ".".join("a" * (LONG // 2)) + " = 1", f"more than {DOTS} dots (at line 2)"),
        ("a = {" + ".".join('"b"' for _ in range(LONG // 4)) + " = 1}", f"more than {DOTS} dots (at line 1)"),
        ("\na = " + "1" * LONG, "a number of more than 1000 digits (at line 2)"),
        ("a = 0x" + "f" * LONG, "a number of more than 1000 digits (at line 1)"),
        ("a = " + "[" * LONG, "nested too deeply"),
        ("a = 1\na = 2\n", "Cannot overwrite a value (at line 2, column 6)"),
        ("a = " + "9" * 999 + "\nb = " + "[" * 200, "Invalid value (at end of document)"),
    ],
)
def test_what_is_no_document_of_a_person_is_refused_soon(text: str, said: str) -> None:
    began = time.process_time()
    with pytest.raises(NotToml) as refused:
        parse_toml(text)
    assert str(refused.value) == said
    assert time.process_time() - began < 2


def test_the_longest_keys_that_are_taken_take_little_time() -> None:
    line = ".".join("a" * (DOTS + 1))
    began = time.process_time()
    with pytest.raises(NotToml):
        parse_toml(f"{line} = 1\n" * (LONG // len(line)))
    assert time.process_time() - began < 5


def test_documents_of_people_are_read() -> None:
    uids = ", ".join(f'"1.2.840.10008.5.1.4.1.1.{number}"' for number in range(190))
    assert len(parse_toml(f"a = [{uids}]\nb.c.d = 1.5\n")["a"]) == 190
