"""Segments are written with the separators of their reader, and no value can begin a component, field or segment."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.hl7.fields import ERR, MSA, MSH, PID
from broker.hl7.header import RECOMMENDED, Separators, clean
from broker.hl7.message import Segment, parse
from broker.hl7.writer import Escaped, SegmentWriter, Value

OTHERS = Separators("#", "*", "+", "!", "%")


@pytest.mark.parametrize(
    ("name", "fields", "least", "line"),
    [
        ("PID", {PID.IDENTIFIERS: ("1", "", "", "SITE"), PID.NAME: [("DOE", "J"), ("ROE", "", "")]}, 0,
         "PID|||1^^^SITE||DOE^J~ROE"),
        ("PID", {PID.IDENTIFIERS: ("1", "", "", ("A", "1.2", ""))}, 0, "PID|||1^^^A&1.2"),
        ("MSA", {MSA.CODE: "AR", MSA.CONTROL_ID: "", MSA.TEXT: ""}, 2, "MSA|AR|"),
        ("MSA", {MSA.CODE: "AR", MSA.CONTROL_ID: "", MSA.TEXT: ""}, 0, "MSA|AR"),
        ("MSH", {MSH.SENDING_FACILITY: "a|b", MSH.VERSION: "2.5"}, 0, "MSH|^~\\&||a\\F\\b||||||||2.5"),
        ("BHS", {MSH.SENDING_APPLICATION: "x"}, 0, "BHS|^~\\&|x"),
        ("ERR", {ERR.CODE_AND_LOCATION: [("PID", "1", "5", ("101", "Missing", "HL70357"))]}, 0,
         "ERR|PID^1^5^101&Missing&HL70357"),
        ("ZZZ", {1: Escaped("a\\F\\b^c"), 2: "a\\b^c~d&e\r\n\0"}, 0, "ZZZ|a\\F\\b^c|a\\E\\b\\S\\c\\R\\d\\T\\e"),
        ("ZZZ", {3: ""}, 0, "ZZZ"),
    ],
)  # fmt: skip
def test_segments(name: str, fields: dict[int, Value], least: int, line: str) -> None:
    assert SegmentWriter().segment(name, fields, least=least) == line


def test_separators_of_the_reader() -> None:
    line = SegmentWriter(OTHERS).segment("PID", {1: "a#b|c", 3: [("x", ("y%", "z")), "!"]})
    assert line == "PID#a!F!b|c##x*y!T!%z+!E!"
    assert SegmentWriter(OTHERS).segment("MSH", {3: "x"}) == "MSH#*+!%#x"


@given(
    st.sampled_from([RECOMMENDED, OTHERS]),
    st.lists(st.lists(st.text(), min_size=1, max_size=3), min_size=1, max_size=3),
)
def test_any_text_is_read_as_it_was_written(separators: Separators, texts: list[list[str]]) -> None:
    line = SegmentWriter(separators).segment("ZZZ", {2: [tuple(parts) for parts in texts]})
    segment = Segment(line, separators, "utf-8", 1)
    for number, parts in enumerate(texts, 1):
        assert [segment.get(2, part, number) for part in range(1, len(parts) + 1)] == [clean(text) for text in parts]


def test_a_written_header_is_read() -> None:
    line = SegmentWriter(OTHERS).segment("MSH", {MSH.SENDING_APPLICATION: ("A#", "b"), MSH.VERSION: "2.5"})
    assert parse(line.encode()).get("MSH-3.1") == "A#"
