"""A field with one text is read on a short way: it gives the same values and findings as the long one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC
from pathlib import Path

import pytest

from broker.hl7.header import RECOMMENDED
from broker.hl7.message import Repetition
from broker.orders.core import names
from broker.orders.core.names import USUAL, NameTypes, Writings
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
# names and what stands in the place of one of their parts: types, representation codes, marks
NAMES = (["Ann", "Lee", "Ann", "", "", "", ""] + [""] * 9, ["Ann", "Lee"] + ["x"] * 4 + ["L"] + [""] * 9, [""] * 16)
TYPES = (USUAL, NameTypes(("L", "D", "*"), ("L",)), NameTypes(("",), writings=Writings.SCRIPT))
PARTS = ("", " ", "Ann B", "N" * 70, *"LDl*AIX=&é", "NOUSE", "a&b", "a$b", '""', "\\T\\", "試験")


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


@pytest.mark.parametrize(
    "types", [USUAL, NameTypes(("L", "D", "*"), ("L",)), NameTypes(("",), writings=Writings.SCRIPT)]
)
@pytest.mark.parametrize("read_name", [names.from_xpn, names.from_xcn])
def test_names_are_read_the_same(read_name: Callable[..., names.ReadName], types: NameTypes) -> None:
    places = [(base, place, part) for base in NAMES for place in range(16) for part in PARTS]
    texts = ["^".join([*base[:place], part, *base[place + 1 :]]) for base, place, part in places]
    marks = RECOMMENDED, replace(RECOMMENDED, subcomponent="$")
    offered = [[Repetition(text, separators, "utf-8")] for text in texts for separators in marks]
    short = [read_name(repetitions, types) for repetitions in offered]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(names, "_plain", lambda *_: None)
        assert [read_name(repetitions, types) for repetitions in offered] == short


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
