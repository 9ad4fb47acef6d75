"""What a device may negotiate beyond the baseline: fuzzy names, its own time zone, empty and several values."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.worklist.worklist import DATE, IMPLICIT, SPS, TIME, document, encoded, read

from broker.dicom.dataset.read import BadElement, decode_data_set
from broker.errors import BadContent
from broker.worklist.answer.encoder import AnswerEncoder
from broker.worklist.query.criteria import search_criteria
from broker.worklist.query.keys import Query
from broker.worklist.query.matcher import matches
from broker.worklist.query.negotiation import BASELINE, Agreed, agreed, negotiate
from broker.worklist.query.parse import parse
from broker.worklist.query.timezone import in_offset, offset_text

ZURICH = ZoneInfo("Europe/Zurich")
ALL = Agreed(fuzzy_names=True, timezone=True, empty_values=True, multiple_values=True)


def _query(keys: dict[Any, Any], options: Agreed = ALL) -> Query:
    return parse(decode_data_set(encoded(keys, charset=["ISO_IR 192"]), IMPLICIT), options)


@pytest.mark.parametrize(
    ("asked", "answer", "options"),
    [
        (b"", None, BASELINE),
        (b"\1\1", None, BASELINE),
        (b"\1\1\0", b"\1\1\0", BASELINE),
        (b"\0\0\1", b"\1\1\1", Agreed(fuzzy_names=True)),
        (b"\1\1\1\1", b"\1\1\1\1", Agreed(fuzzy_names=True, timezone=True)),
        (b"\1\1\0\1\1", b"\1\1\0\1\0", Agreed(timezone=True)),
        (b"\1\1\0\0\0\1\1", b"\1\1\0\0\0\1\1", Agreed(empty_values=True, multiple_values=True)),
        (b"\1\1\2\xff\1\1\1\1\1", b"\1\1\0\0\0\1\1", Agreed(empty_values=True, multiple_values=True)),
    ],
)
def test_as_much_is_answered_as_was_asked(asked: bytes, answer: bytes | None, options: Agreed) -> None:
    assert negotiate("1.2", asked) == answer
    assert agreed(asked) == options
    assert agreed(None) == BASELINE


@given(st.binary(max_size=300))
def test_no_offer_breaks_the_negotiation(asked: bytes) -> None:
    answer = negotiate("1.2", asked)
    assert (answer is None) == (len(asked) < 3)
    assert answer is None or (3 <= len(answer) <= 7 and answer[:2] == b"\1\1")
    assert isinstance(agreed(asked), Agreed)


@pytest.mark.parametrize(
    ("asked", "stored", "alike"),
    [
        ("MEIER^HANS", "Mayer^Hans", True), ("SCHMIDT", "Schmitt^Eva", True), ("SMYTH^J", "SMITH^JOHN", True),
        ("MUELLER", "Müller^Käthe", True), ("JOHN DOE", "DOE^JOHN", True), ("hans peter", "Meier^Hans-Peter", True),
        ("DO", "DOE^JOHN", True), ("JOHANSON", "Johansson^Åsa", True), ("PETROV", "Петров^Иван", True),
        ("山田", "YAMADA^TARO=山田^太郎", True), ("YAMADA=田中", "YAMADA^TARO=山田^太郎", False),
        ("DOE", "ROE^JANE", False), ("SMITH^JANE", "SMITH^JOHN", False), ("HUBER", "Meier^Hans", False),
        ("SMITH^*", "SMITH^JOHN", True), ("-", "DOE^JOHN", False), ("", "DOE^JOHN", True), ("X*", "DOE^JOHN", False),
    ],
)  # fmt: skip
def test_fuzzy_names_only_when_negotiated(asked: str, stored: str, alike: bool) -> None:
    keys = {"PatientName": asked}
    assert matches(document(PatientName=stored), _query(keys)) is alike
    if asked not in ("", "SMITH^*"):
        assert not matches(document(PatientName=stored), _query(keys, BASELINE))
    if asked:
        assert search_criteria(_query(keys)).name_groups is None  # nothing may be lost that only sounds alike


NAMES = ["DOE^JOHN", "LEFÈVRE^ANNE", "YAMADA^TARO=山田^太郎=ヤマダ", "O'NEIL^X", "홍^길동", "ศรี^น้ำ", "^^", "a*?="]


@given(asked=st.one_of(st.sampled_from(NAMES), st.text(max_size=8)), stored=st.sampled_from(NAMES))
def test_what_matches_literally_matches_fuzzily(asked: str, stored: str) -> None:
    literal, fuzzy = _query({"PatientName": asked}, BASELINE), _query({"PatientName": asked})
    there = document(PatientName=stored)
    assert matches(there, fuzzy) or not matches(there, literal)


@pytest.mark.parametrize(
    ("keys", "stored", "found"),
    [
        ({"AccessionNumber": '""'}, {"AccessionNumber": ""}, True),
        ({"AccessionNumber": '""'}, {"AccessionNumber": None}, True),
        ({"AccessionNumber": '""'}, {}, False),
        ({"AccessionNumber": ['""', "A1"]}, {}, True),
        ({"AccessionNumber": ['""', "A2"]}, {}, False),
        ({"PatientBirthDate": '""'}, {"PatientBirthDate": ""}, True),
        ({"PatientBirthDate": '""'}, {}, False),
        ({"ReferringPhysicianName": '""'}, {"ReferringPhysicianName": "^^"}, True),
        ({SPS: [{"ScheduledPerformingPhysicianName": '""'}]}, {}, False),
        ({SPS: [{"Modality": '""'}]}, {}, False),
    ],
)
def test_two_quotation_marks_mean_empty_when_negotiated(keys: dict[str, Any], stored: Any, found: bool) -> None:
    assert matches(document(**stored), _query(keys)) is found
    without = _query(keys, BASELINE)
    assert matches(document(**stored), without)  # never a text to look for
    assert not without.supported  # which the answers say


def test_several_values_are_no_liberty_when_negotiated() -> None:
    keys = {SPS: [{"Modality": ["MG", "CT"]}]}
    assert _query(keys).remarks == ()
    assert _query(keys, BASELINE).remarks == ("list-of-values",)
    assert matches(document(), _query(keys))
    assert matches(document(), _query(keys, BASELINE))


@pytest.mark.parametrize(
    ("offset", "day", "clock", "found"),
    [
        ("+0100", "20260312", "100000", True),  # Zürich itself, in winter
        ("+0000", "20260312", "090000", True),
        ("+0000", "20260312", "100000", False),
        ("-1000", "20260311", "2300-2330", True),
        ("-1000", "20260312", "", False),
        ("+1400", "20260312-", "2259-2301", True),
        ("+0530", "20260312", "143000", True),
        ("", "20260312", "100000", True),
    ],
)
def test_steps_are_looked_at_through_the_offset_of_the_device(offset: str, day: str, clock: str, found: bool) -> None:
    asked = _query({"TimezoneOffsetFromUTC": offset, SPS: [{DATE: day, TIME: clock}]})
    there = document()
    seen = in_offset(there, ZURICH, asked.offset)
    assert matches(seen, asked) is found
    if found:
        answer = read(AnswerEncoder(asked, IMPLICIT, "ISO_IR 192").encode(seen))
        assert answer.get("TimezoneOffsetFromUTC") == (offset or None)  # never empty
        bounds = search_criteria(asked)
        assert bounds.start_from is not None
        assert bounds.start_from <= "20260312100000"
        assert (bounds.start_until or "9") >= "20260312100000"


def test_without_an_agreement_an_offset_moves_nothing_and_is_not_answered() -> None:
    asked = _query({"TimezoneOffsetFromUTC": "-1000", SPS: [{DATE: "20260312", TIME: "100000"}]}, BASELINE)
    assert (asked.offset, asked.said_offset) == (None, -600)
    assert matches(document(), asked)
    assert "TimezoneOffsetFromUTC" not in read(AnswerEncoder(asked, IMPLICIT, "ISO_IR 192").encode(document()))


@pytest.mark.parametrize("text", ["0100", "+01", "+0160", "+1500", "-1300", "-0000", "x", "+01:00"])
def test_an_offset_that_is_none_is_refused_where_it_counts(text: str) -> None:
    with pytest.raises(BadElement) as raised:
        _query({"TimezoneOffsetFromUTC": text})
    assert raised.value.tag == 0x00080201
    assert _query({"TimezoneOffsetFromUTC": text}, BASELINE).remarks == ("bad-offset",)


@given(
    moment=st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 28)).map(lambda one: one.replace(microsecond=0)),  # noqa: DTZ001
    minutes=st.integers(-12 * 60, 14 * 60), zone=st.sampled_from(["Europe/Zurich", "Pacific/Kiritimati", "Etc/GMT+12"]),
)  # fmt: skip
def test_the_search_leaves_no_step_out_that_an_offset_moves(moment: datetime, minutes: int, zone: str) -> None:
    start = moment.isoformat().replace("-", "").replace(":", "").replace("T", "")
    there = in_offset(document(step={DATE: start[:8], TIME: start[8:]}), ZoneInfo(zone), minutes)
    item = there[SPS][0]
    keys = {DATE: f"{item[DATE]}-{item[DATE]}", TIME: f"{item[TIME]}-{item[TIME]}"}
    asked = _query({"TimezoneOffsetFromUTC": offset_text(minutes), SPS: [keys]})
    assert matches(there, asked)
    bounds = search_criteria(asked)
    assert (bounds.start_from or "") <= start
    assert start <= (bounds.start_until or "99999")


@pytest.mark.parametrize(
    ("keys", "tag"),
    [
        ({"PatientBirthDate": "20260230"}, 0x00100030),
        ({SPS: [{DATE: "2026"}]}, 0x00400002),
        ({SPS: [{TIME: "25"}]}, 0x00400003),
        ({"PatientName": ["A*"] * 65}, 0x00100010),
    ],
)
def test_a_key_that_cannot_be_read_is_named(keys: dict[str, Any], tag: int) -> None:
    with pytest.raises(BadContent) as raised:
        _query(keys, BASELINE)
    assert isinstance(raised.value, BadElement)
    assert raised.value.tag == tag
