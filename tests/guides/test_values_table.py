"""The table of what is not understood (`config/connect-a-ris.md`) says of each attribute of the profile what is so."""

from __future__ import annotations

import re
from pathlib import Path

from broker.orders.inbound.doubts import STRICT
from broker.orders.inbound.texts import NEVER_CUT
from broker.orders.mapping.book import built_in
from broker.orders.mapping.profile import FieldType

IHE = built_in()
ATTRIBUTES = {a.keyword: a for name, section in IHE.sections.items() if name != "appointment" for a in section}


def rows() -> list[tuple[frozenset[str], str, str, str]]:
    """The attributes of each row, what is not understood, what happens, and how a site changes it."""
    guide = (Path(__file__).parents[2] / "config" / "connect-a-ris.md").read_text(encoding="utf-8")
    section = guide.split("## What it does with a value that it does not understand", 1)[1].split("\n## ", 1)[0]
    cells = [line.split(" | ") for line in section.splitlines() if line.startswith("| `")]
    return [(frozenset(re.findall(r"`(\w+)`", row[0])), *row[1:4]) for row in cells]


def listed(wrong: str = "", happens: str = "", changes: str = "") -> frozenset[str]:
    found = [row[0] for row in rows() if wrong in row[1] and happens in row[2] and changes in row[3]]
    return frozenset().union(*found)


def of_kind(*kinds: FieldType) -> set[str]:
    return {a.keyword for a in ATTRIBUTES.values() if any(source.kind in kinds for source in a.sources)}


def test_each_attribute_of_the_profile_is_in_one_row() -> None:
    named = [keyword for row in rows() for keyword in row[0]]
    assert sorted(named) == sorted(ATTRIBUTES)


def test_rows_are_what_the_profile_and_the_reader_do() -> None:
    assert listed(changes="[measures.") == of_kind(FieldType.MEASURE)
    assert listed(changes="[names]") == of_kind(FieldType.XPN, FieldType.XCN, FieldType.CN)
    assert listed(changes="CodingSchemeDesignator") == of_kind(FieldType.CODE)
    assert listed(changes='`X = ""`') == {keyword for keyword in ATTRIBUTES if IHE.drops_others(keyword)}
    assert listed(happens="AE, 102") == STRICT
    assert listed(happens="a shorter number would be another one") == NEVER_CUT
    assert listed(happens="split into several") == {
        a.keyword for a in ATTRIBUTES.values() if a.multiple and a.vr == "LO"
    }
    assert listed(wrong="no date") == {a.keyword for a in ATTRIBUTES.values() if a.vr in ("DA", "TM")}
