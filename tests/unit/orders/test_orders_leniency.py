"""Leniencies of `[reading]`: short forms, and values that count as absent."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.orders.intake import ZONE

from broker.errors import ConfigurationError
from broker.hl7.message import parse
from broker.orders.core.identifiers import SHORT, short_form
from broker.orders.inbound.reader import Findings, Reader
from broker.orders.mapping.book import ProfileBook
from broker.orders.mapping.document import read
from broker.orders.mapping.profile import Profile

ALL = """
[reading]
long_identifiers = "short"
unusable_uid = "make"
unusable_station = "default"
"""
LONG = "ACCESSION-NUMBER-0001"


def site(text: str) -> Profile:
    return ProfileBook({"x": read(f'name = "x"\nextends = "ihe"\n{text}', "test")}).named("x")


def request(accession: str, profile: Profile) -> tuple[dict[str, object], list[tuple[str, str]]]:
    """The section `request` of an order with this accession number, and the findings."""
    findings = Findings()
    message = parse(f"MSH|^~\\&|R||||||OMI^O23|1|P|2.5\rORC|NW|P1\rIPC|{accession}\r".encode())
    found = Reader(message, profile, ZONE, findings).section("request")
    return found, [(finding.location, finding.severity) for finding in findings.all()]


def test_the_long_form_is_kept_beside_the_short_one() -> None:
    found, findings = request(LONG, site(ALL))
    assert found["AccessionNumber"] == short_form(LONG)
    assert found["LongAccessionNumber"] == LONG
    assert findings == [("IPC^1^1", "W")]


def test_one_that_fits_takes_a_long_form_away() -> None:
    found, findings = request("A1", site(ALL))
    assert (found["AccessionNumber"], found["LongAccessionNumber"], findings) == ("A1", "", [])
    assert "LongAccessionNumber" not in request("A1", site(""))[0]


def test_two_quotes_delete_and_nothing_leaves_as_it_was() -> None:
    assert request('""', site(ALL))[0]["AccessionNumber"] == ""
    assert "AccessionNumber" not in request("", site(ALL))[0]


@pytest.mark.parametrize("wrong", ["A\\E\\B", "A\\E\\" + "B" * 30])
def test_what_is_wrong_otherwise_is_refused_as_ever(wrong: str) -> None:
    found, findings = request(wrong, site(ALL))
    assert "AccessionNumber" not in found
    assert findings == [("IPC^1^1", "E")]


def test_a_value_table_may_give_a_number_that_is_too_long() -> None:
    found, _ = request("A1", site(f'{ALL}[values.AccessionNumber]\nA1 = "{LONG}"'))
    assert found["AccessionNumber"] == short_form(LONG)


@given(st.text(min_size=SHORT + 1, max_size=200), st.integers(1, 100))
def test_short_forms_fit_are_always_the_same_and_begin_no_number(text: str, length: int) -> None:
    short = short_form(text, length)
    assert len(short) <= min(length, 32)
    assert short == short_form(text, length)
    assert short.isascii()
    assert short.isalnum()


def test_a_hundred_thousand_long_numbers_have_a_hundred_thousand_short_forms() -> None:
    assert len({short_form(f"HOSPITAL-2030-{number:08}") for number in range(100_000)}) == 100_000


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('[reading]\nlong_identifiers = "cut"', "reading: long_identifiers: refuse | short"),
        ('[reading]\ncontrol_id = "guess"', "reading: control_id: required | made"),
        ('[reading]\nunusable_uid = true', "reading: unusable_uid: refuse | make"),
        ('[reading]\nunusable_station = "CT01"', "reading: unusable_station: refuse | default"),
        ('[reading]\nunusable_uid = "make"\n[identifiers]\nstudy_instance_uid = "require"', "unusable_uid: of no use"),
    ],
)  # fmt: skip
def test_a_mistake_is_named(text: str, key: str) -> None:
    with pytest.raises(ConfigurationError) as failed:
        site(text)
    assert key in str(failed.value)
