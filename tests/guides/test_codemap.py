"""The rooms of the codemap are what the packages say of themselves."""

from __future__ import annotations

from support.guides import codemap


def test_the_rooms_are_those_of_the_docstrings() -> None:
    text = (codemap.BROKER / "README.md").read_text(encoding="utf-8")
    assert codemap.BEGIN in text
    assert text == codemap.with_rooms(text), "run: python tests/support/guides/write.py"
