"""`[[ignore]]` of a profile: what of a message is left out, and which rules are refused."""

from __future__ import annotations

import pytest

from broker.errors import ConfigurationError
from broker.hl7.message import parse
from broker.orders.mapping.book import ProfileBook
from broker.orders.mapping.document import read
from broker.orders.mapping.ignoring import ignored, parse_ignores, sift
from broker.orders.mapping.profile import Profile

HEAD = "MSH|^~\\&|HIS|SITE|BROKER|RAD|2026||{}|1|P|2.5\rPID|||1\r"
LAB = {"when": {"OBR-24.1": ["LAB", "HM"]}}


def orm(*groups: str, kind: str = "ORM^O01") -> bytes:
    """A message whose groups are services: `LAB` a group with ORC, `+LAB` an OBR that shares the ORC before it."""
    text = HEAD.format(kind)
    for number, group in enumerate(groups, 1):
        text += "" if group.startswith("+") else f"ORC|NW|P{number}\rTQ1|{number}\r"
        text += f"OBR|{number}" + "|" * 23 + group.lstrip("+") + f"\rNTE|{number}||n\r"
    return text.encode()


def left(raw: bytes, *rules: dict[str, object]) -> list[str]:
    """Names of the segments of groups that are left, with their sequence."""
    found = sift(parse_ignores(list(rules)), parse(raw))
    if found.rule is not None:
        return [found.rule.text]
    return [f"{segment.name}{segment.sequence}" for segment in found.message if segment.name in ("ORC", "TQ1", "OBR")]


@pytest.mark.parametrize(
    ("groups", "segments"),
    [
        (("CT", "LAB"), ["ORC1", "TQ11", "OBR1"]),
        (("LAB", "CT"), ["ORC2", "TQ12", "OBR2"]),
        (("LAB", "HM"), ["ignored by rule 1"]),
        (("LAB", "+CT"), ["ORC1", "TQ11", "OBR2"]),
        (("LAB", "+HM", "+CT"), ["ORC1", "TQ11", "OBR3"]),
        (("LAB", "+HM", "CT"), ["ORC2", "TQ12", "OBR3"]),
        (("CT", "+LAB", "+MR"), ["ORC1", "TQ11", "OBR1", "OBR3"]),
        (("CT",), ["ORC1", "TQ11", "OBR1"]),
        ((), []),
    ],
)
def test_groups_that_are_left(groups: tuple[str, ...], segments: list[str]) -> None:
    assert left(orm(*groups), LAB) == segments


@pytest.mark.parametrize(
    ("when", "fits"),
    [
        ({"type": "ORM^O01"}, True),
        ({"type": "orm"}, True),
        ({"type": "OR*"}, True),
        ({"type": ["OML", "ORM^*"]}, True),
        ({"type": "ORM^O02"}, False),
        ({"sender": "HIS|SITE"}, True),
        ({"sender": "his|*"}, True),
        ({"sender": "HIS"}, False),
        ({"type": "ORM*", "sender": "RIS|*"}, False),
        ({"type": "ORM*", "OBR-24.1": "LAB"}, None),
    ],
)
def test_what_the_header_alone_decides(when: dict[str, object], fits: bool | None) -> None:
    message = parse(orm("LAB"))
    rules = parse_ignores([{"when": when}])
    assert (ignored(rules, message.header) is not None) is bool(fits)
    assert (sift(rules, message).rule is not None) is (fits is not False)


def test_all_segments_of_a_name_must_fit() -> None:
    """An appointment with a lab service and a CT is not ignored for the lab service."""
    raw = (HEAD.format("SIU^S12") + "SCH|1\rAIS|1||LAB\rAIS|2||CT\r").encode()
    assert left(raw, {"when": {"AIS-3.1": "LAB"}}) == []
    assert left(raw.replace(b"CT", b"LAB"), {"when": {"AIS-3.1": "LAB"}}) == ["ignored by rule 1"]


@pytest.mark.parametrize(("pattern", "fits"), [("?*", True), ("*", True), ("", False)])
def test_a_segment_that_is_there_and_one_that_is_not(pattern: str, fits: bool) -> None:
    raw = (HEAD.format("ORM^O01") + "ORC|NW|1\rRXO|DRUG\r").encode()
    assert bool(left(raw, {"when": {"RXO-1.1": pattern}}) == ["ignored by rule 1"]) is fits
    assert bool(left(raw, {"when": {"ODS-1.1": pattern}}) == ["ignored by rule 1"]) is (pattern != "?*")


def site(text: str, base: str = "ihe") -> Profile:
    return ProfileBook({"x": read(f'name = "x"\nextends = "{base}"\n' + text, "test")}).named("x")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("[[ignore]]", "ignore: 1: when: a table of conditions"),
        ("[[ignore]]\nwhen = {}", "ignore: 1: when: a table of conditions"),
        ('[[ignore]]\nwhen = "ORM"', "ignore: 1: when: a table of conditions"),
        ('[[ignore]]\nwhen = { type = "A" }\n[[ignore]]\nwhen = { Modality = "CT" }', "ignore: 2: when.Modality"),
        ('[[ignore]]\nwhen = { type = [] }', "ignore: 1: when.type: a text"),
        ('[[ignore]]\nwhen = { type = true }', "ignore: 1: when.type: a text"),
        ('[[ignore]]\nwhen = { type = "A" }\nanswer = "AE"', "ignore: 1: unknown key answer"),
        ('ignore = "ORM"', "ignore: a list"),
    ],
)  # fmt: skip
def test_a_rule_without_a_meaning_is_refused(text: str, key: str) -> None:
    with pytest.raises(ConfigurationError) as failed:
        site(text)
    assert key in str(failed.value)


def test_own_rules_stand_before_those_of_the_extended_profile() -> None:
    base = read('name = "base"\nextends = "ihe"\n[[ignore]]\nwhen = { type = "A" }', "test")
    own = read('name = "own"\nextends = "base"\n[[ignore]]\nwhen = { type = "B" }', "test")
    rules = ProfileBook({"base": base, "own": own}).named("own").ignores
    assert [rule.number for rule in rules] == [1, 2]
    assert rules[0].when[0].patterns[0].matches("b")
