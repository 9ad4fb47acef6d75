"""Every matching kind of PS3.4 C.2.2.2, on the reference matcher."""

from __future__ import annotations

import re
import time
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.worklist.worklist import DATE, DEVICES, SPS, STATION, TIME, document, query

from broker.errors import BadContent
from broker.wildcard import compile_wildcard
from broker.worklist.query.matcher import matches
from broker.worklist.query.negotiation import Agreed


def _step(**values: Any) -> dict[str, Any]:
    return {SPS: [values]}


def _fits(keys: dict[str, Any], stored: dict[str, Any]) -> bool:
    return matches(stored, query(keys, charset=["ISO_IR 192"]))


@pytest.mark.parametrize(
    ("keys", "stored", "expected"),
    [
        # universal
        ({}, {}, True),
        ({"AccessionNumber": ""}, {"AccessionNumber": ""}, True),
        ({"AccessionNumber": "*"}, {"AccessionNumber": ""}, True),
        ({"PatientBirthDate": "*"}, {"PatientBirthDate": ""}, True),
        ({SPS: []}, {}, True),
        ({SPS: [{}]}, {}, True),
        # single value, padding, case
        ({"AccessionNumber": " A1 "}, {}, True),
        ({"AccessionNumber": "A1\0"}, {}, True),
        ({"AccessionNumber": "a1"}, {}, False),
        ({"AccessionNumber": "A1"}, {"AccessionNumber": " A1 "}, True),
        ({"AccessionNumber": "A1"}, {"AccessionNumber": ""}, False),
        ({"AccessionNumber": "A2"}, {"AccessionNumber": None}, False),
        ({"PatientComments": " x"}, {"PatientComments": "x"}, False),
        ({"PatientComments": "x  "}, {"PatientComments": "x"}, True),
        ({"PatientComments": "a\\b"}, {"PatientComments": "a\\b"}, True),
        ({"PregnancyStatus": 4}, {}, True),
        ({"PregnancyStatus": 3}, {}, False),
        ({"PatientBirthDate": "19700101"}, {}, True),
        # wild cards
        ({"AccessionNumber": "A*"}, {}, True),
        ({"AccessionNumber": "A?"}, {}, True),
        ({"AccessionNumber": "A??"}, {}, False),
        ({"AccessionNumber": "?*"}, {"AccessionNumber": ""}, False),
        ({"AccessionNumber": "**"}, {"AccessionNumber": ""}, True),
        ({"AccessionNumber": "%"}, {}, False),
        ({"AccessionNumber": "_1"}, {}, False),
        ({"AccessionNumber": "[A]1"}, {}, False),
        ({"PatientID": "p*"}, {}, False),
        ({"StudyInstanceUID": "1.2.*"}, {}, False),
        # lists
        ({"StudyInstanceUID": ["1.9", "1.2.3.4"]}, {}, True),
        ({"StudyInstanceUID": ["1.9", "1.8"]}, {}, False),
        ({"AccessionNumber": ["X", "A*"]}, {}, True),
        # several stored values: one hit is enough
        ({"MedicalAlerts": "MRSA"}, {}, True),
        ({"MedicalAlerts": "MR*"}, {}, True),
        ({"MedicalAlerts": "NONE"}, {}, False),
        # nested sequences
        ({"RequestedProcedureCodeSequence": [{"CodeValue": "CTABD"}]}, {}, True),
        ({"RequestedProcedureCodeSequence": [{"CodeValue": "MR"}]}, {}, False),
        ({"RequestedProcedureCodeSequence": [{"CodeValue": "CTABD"}]}, {"RequestedProcedureCodeSequence": []}, False),
        # never matched
        ({"SpecificCharacterSet": "ISO_IR 192", "QueryRetrieveLevel": "X"}, {}, True),
    ],
)
def test_values(keys: dict[str, Any], stored: dict[str, Any], expected: bool) -> None:
    assert _fits(keys, document(**stored)) is expected


@pytest.mark.parametrize(
    ("asked", "stored", "expected"),
    [
        ("DOE^JOHN", "DOE^JOHN^^^", True),
        ("doe ^ john", "DOE^JOHN", True),
        ("DOE^JOHN^^^", "DOE^JOHN", True),
        ("DOE", "DOE^JOHN", False),
        ("DOE*", "DOE^JOHN", True),
        ("LEF*", "LEFÈVRE^ANNE", True),
        ("lefèvre^*", "LEFEVRE^ANNE", True),
        ("MÜLLER^*", "Muller^Hans", True),
        ("DOE^*", "DOE", True),  # components that are empty at the end may be left out: DOE is DOE^ (PS3.5 6.2.1.2)
        ("DOE^JOHN^*", "DOE^JOHN", True),
        ("D*^J*^*^*", "DOE^JOHN", True),
        ("DOE^J?", "DOE^J", False),
        ("DOE^?*", "DOE", False),
        ("DOE?", "DOE", False),
        ("YAMADA^*=山田^*", "YAMADA=山田", True),
        ("デュポン^ジャン＝ポール", "DUPONT=デュポン^ジャン＝ポール", True),  # wide signs are no delimiters
        ("DUPONT=*ジャン＝*", "DUPONT=デュポン^ジャン＝ポール=でゅぽん", True),
        ("A＾B", "A＾B^C", False),
        ("山田*", "YAMADA^TARO=山田^太郎=ヤマダ^タロウ", True),
        ("太郎", "YAMADA^TARO=山田^太郎", False),
        ("YAMADA^TARO", "YAMADA^TARO=山田^太郎", True),
        ("YAMADA^TARO=山田^太郎", "YAMADA^TARO=山田^太郎=ヤマダ^タロウ", True),
        ("YAMADA^TARO=田中*", "YAMADA^TARO=山田^太郎", False),
        ("=山田*", "YAMADA^TARO=山田^太郎", True),
        ("*=*", "DOE^JOHN", False),
        ("*=*", "YAMADA^TARO=山田^太郎", True),
        ("*", "", True),
        ("^^", "DOE^JOHN", True),
        ("D?E^JOHN", "DOE^JOHN", True),
        ("DOE^JOHN\\ROE^JANE", "ROE^JANE", True),
        ("O'NEIL", "O'NEIL", True),
    ],
)
def test_person_names(asked: str, stored: str, expected: bool) -> None:
    assert _fits({"PatientName": asked}, document(PatientName=stored)) is expected


@pytest.mark.parametrize(
    ("date", "clock", "inside", "outside"),
    [
        ("20260705-20260707", "1000-1800",
         ["20260705 100000", "20260706 030000", "20260707 180000"], ["20260705 095959", "20260707 180100"]),
        ("20260312-20260313", "2200-0600",
         ["20260312 220000", "20260313 000000", "20260313 060059"], ["20260312 215959", "20260313 060100"]),
        ("20260312-", "1400-", ["20260312 140000", "20260313 010000"], ["20260312 135959"]),
        ("-20260312", "-1200", ["20260312 120059", "20260311 230000"], ["20260312 120100"]),
        ("20260312", "0800-1200", ["20260312 080000", "20260312 120059"], ["20260312 120100", "20260313 090000"]),
        ("20260312-20260314", "", ["20260312 000000", "20260314 235959"], ["20260311 235959", "20260315 000000"]),
        ("", "0800-1200", ["19990101 080000", "20300101 120000"], ["20260312 130000"]),
        ("20260312-20260314", "1400-", ["20260312 140000", "20260314 235959"], ["20260313 135959", "20260315 150000"]),
        ("", "2200-0600", [], ["20260312 230000", "20260312 010000", "20260312 120000"]),
        ("20260312", "2200-0600", [], ["20260312 230000"]),
        ("20260314-20260312", "", [], ["20260313 100000"]),
        ("20260312-20260312", "", ["20260312 100000"], ["20260313 100000"]),
        (" 20260312 - 20260313 ", "", ["20260313 100000"], ["20260314 000000"]),
        ("2026.03.12", "08:00:00-18:00:00", ["20260312 180000"], ["20260312 180001", "20260313 090000"]),
        ("", "-18", ["20260312 185959.999999"], ["20260312 190000"]),
        ("", "-1800", ["20260312 180059.9"], ["20260312 180100"]),
        ("", "10", ["20260312 100000", "20260312 105959"], ["20260312 110000"]),
        ("", "1000", ["20260312 100030", "20260312 1000"], ["20260312 100100"]),
        ("", "100000.5", ["20260312 100000.5"], ["20260312 100000"]),
        ("20260312\\20260314", "", ["20260312 100000", "20260314 100000"], ["20260313 100000"]),
        ("20260312-20260314", "1000-1200", [], ["20260313 "]),
    ],
)  # fmt: skip
def test_dates_and_times(date: str, clock: str, inside: list[str], outside: list[str]) -> None:
    asked = query(_step(**{DATE: date.split("\\"), TIME: clock}))
    for moments, expected in ((inside, True), (outside, False)):
        for moment in moments:
            day, _, at = moment.partition(" ")
            assert matches(document(step={DATE: day, TIME: at}), asked) is expected, moment


def test_dates_elsewhere_are_not_combined_with_the_start() -> None:
    stored = document(step={"ScheduledProcedureStepEndDate": "20260312", "ScheduledProcedureStepEndTime": "1100"})
    assert _fits(_step(ScheduledProcedureStepEndDate="20260312-", ScheduledProcedureStepEndTime="10-"), stored)
    assert not _fits(_step(ScheduledProcedureStepEndDate="20260311-", ScheduledProcedureStepEndTime="12-"), stored)


def test_keys_of_a_sequence_must_match_in_one_item() -> None:
    codes = [{"CodeValue": "A", "CodingSchemeDesignator": "X"}, {"CodeValue": "B", "CodingSchemeDesignator": "Y"}]
    stored = document(step={"ScheduledProtocolCodeSequence": codes})
    for value, scheme, expected in (("A", "X", True), ("B", "Y", True), ("A", "Y", False)):
        key = {"CodeValue": value, "CodingSchemeDesignator": scheme}
        assert _fits(_step(ScheduledProtocolCodeSequence=[key]), stored) is expected


@pytest.mark.parametrize(
    ("asked", "stored", "expected"),
    [
        ("CT01 ", ["CT01"], True),
        ("CT02", ["CT01", "CT02"], True),
        ("ct01", ["CT01"], False),
        (["CT09", "CT01"], ["CT01"], True),
        ("*", [], True),
        ("CT*", ["MR1"], False),
    ],
)
def test_stations(asked: Any, stored: list[str], expected: bool) -> None:
    assert _fits(_step(**{STATION: asked}), document(step={STATION: stored})) is expected


@pytest.mark.parametrize(
    ("asked", "stored", "expected"),
    [
        ("", "SCHEDULED", True),
        ("", "READY", True),
        ("", "STARTED", False),
        ("", "CANCELED", False),
        ("*", "COMPLETED", False),
        ("STARTED", "STARTED", True),
        ("STARTED", "SCHEDULED", False),
        ("C*", "COMPLETED", True),
    ],
)
def test_closed_steps_are_seen_only_when_asked_for(asked: str, stored: str, expected: bool) -> None:
    step = {"ScheduledProcedureStepStatus": stored}
    assert _fits(_step(ScheduledProcedureStepStatus=asked), document(step=step)) is expected


@pytest.mark.parametrize(
    ("device", "fits", "fails"),
    [
        ("ct broad", {}, {"step": {STATION: ["CT02"]}}),
        ("mr range", {"step": {DATE: "20260311", TIME: "000000"}}, {"step": {DATE: "20260314"}}),
        ("ultrasound by name", {"PatientName": "Lefèvre^A", "step": {"Modality": "US"}}, {"PatientName": "LEFORT"}),
        ("barcode", {"AccessionNumber": "A26031200451", "step": {DATE: "20200101"}}, {}),
        ("mammography", {"step": {"Modality": "MG"}}, {}),
        ("c-arm", {"step": {DATE: "20270101"}}, {"step": {DATE: "20260311"}}),
        ("old device", {}, {"step": {TIME: "190000"}}),
    ],
)
def test_real_devices(device: str, fits: dict[str, Any], fails: dict[str, Any]) -> None:
    keys, charset, implicit = DEVICES[device]
    asked = query(keys, charset=charset, implicit=implicit)
    assert matches(document(**fits), asked)
    assert not matches(document(**fails), asked)


@given(st.text("ab*?", max_size=8), st.text("abc", max_size=8))
def test_wild_cards_agree_with_regular_expressions(pattern: str, value: str) -> None:
    expected = re.fullmatch(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."), value) is not None
    assert compile_wildcard(pattern).matches(value) is expected


@pytest.mark.parametrize("name", ["*" + "=" * 64_000 + "B", "=".join(["*"] * 30_000 + ["DOE"])])
def test_a_name_of_many_groups_is_bounded(name: str) -> None:
    asked = query({"PatientName": name}, options=Agreed(fuzzy_names=True))
    began = time.process_time()
    for _ in range(200):
        matches(document(), asked)
    assert time.process_time() - began < 0.2


def test_wild_card_bomb_is_bounded() -> None:
    started = time.process_time()
    for pattern in ("*" * 10_000 + "b", "a*" * 2_000 + "b", "*?" * 2_000 + "b", "?" * 3_000 + "*b"):
        assert not compile_wildcard(pattern).matches("a" * 5_000)
    assert time.process_time() - started < 2


def test_ds14_a_pattern_of_many_characters_costs_no_memory() -> None:
    """Every distinct character costs bits up to its place: 184 KB of query took 487 MiB."""
    text = "".join(map(chr, range(0x800, 0xD800))) + "*"
    tracemalloc.start()
    try:
        with pytest.raises(BadContent) as refused:
            compile_wildcard(text)
        assert refused.value.code == "pattern-too-long"
        assert compile_wildcard(text[:1000] + "*").matches(text[:1100])
        assert tracemalloc.get_traced_memory()[1] < 16 * 1024**2
    finally:
        tracemalloc.stop()
