"""A field with one text is read on a short way: it gives the same values and findings as the long one."""

from __future__ import annotations

from datetime import UTC
from pathlib import Path

import pytest

from broker.orders.inbound import reception
from broker.orders.inbound.reader import Reader
from broker.orders.interfaces import Interface
from broker.orders.mapping.book import ProfileBook
from broker.orders.mapping.document import read
from broker.orders.trying import examples, preview

FOLDER = Path(__file__).parents[3] / "config" / "mapping"
TABLES = {file.stem: read(file.read_text(encoding="utf-8"), file.stem) for file in sorted(FOLDER.glob("*.toml"))}
BOOK = ProfileBook(TABLES)
INTERFACE = Interface(name="test")
# what the examples hold too seldom: blanks, deleted parts, escapes, texts that are too long or of no use
ODD = ("", "   ", '""', ' "" ', "X", "x\\T\\y", "N" * 70, '""^B', "A^B&C^D", "1.02.3", "\\Xzz\\", "A\tB", "12 kg")


@pytest.mark.parametrize("name", TABLES)
def test_both_ways_read_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    profile = BOOK.named(name)
    raws = [
        raw
        for example in examples.parse(TABLES[name])
        for raw in _variants(preview.as_bytes(example.message, profile.reading.charset))
    ]
    short = [reception.examine(raw, INTERFACE, lambda _: profile, UTC) for raw in raws]
    alone = Reader._alone
    taken = []
    with monkeypatch.context() as patched:
        patched.setattr(Reader, "_alone", lambda *given: taken.append(alone(*given) is not None))
        long = [reception.examine(raw, INTERFACE, lambda _: profile, UTC) for raw in raws]
    assert any(taken)
    assert short == long


def _variants(raw: bytes) -> list[bytes]:
    """A message, and itself with each odd text in turn in place of every fifth field."""
    lines = [line for line in raw.replace(b"\n", b"\r").split(b"\r") if line]
    return [raw, *(_odd(lines, number, text.encode("ascii")) for number, text in enumerate(ODD))]


def _odd(lines: list[bytes], number: int, text: bytes) -> bytes:
    result = [lines[0]]
    for line in lines[1:]:
        fields = line.split(b"|")
        for place in range(1 + number % 5, len(fields), 5):
            fields[place] = text
        result.append(b"|".join(fields))
    return b"\r".join(result) + b"\r"
