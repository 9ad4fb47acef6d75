"""What a device's profile makes of its query and of the answers: each setting, through matcher and SQL plan."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from support.worklist.worklist import DATE, EXPLICIT, SPS, STATION, TIME, document, query, read

from broker.site.device import Device
from broker.worklist.answer.encoder import AnswerEncoder
from broker.worklist.device import adapt
from broker.worklist.query.criteria import search_criteria
from broker.worklist.query.matcher import matches
from broker.worklist.query.negotiation import Agreed
from broker.worklist.query.timezone import in_offset

NOW = datetime(2026, 3, 12, 9, 0, 0, tzinfo=UTC)
ROOM: dict[str, Any] = {"step": {STATION: ["ROOM1"]}}
BARE: dict[Any, Any] = {"PatientName": "", SPS: [{STATION: ""}]}


def sees(profile: dict[str, Any], keys: dict[Any, Any], *, calling: str = "CT01", **values: Any) -> bool:
    """The device is shown a document with these values; the SQL plan lets it through if so."""
    asked = adapt(query(keys), Device(**profile), calling, NOW)
    root = {key: value for key, value in values.items() if key != "step"}
    return matches(document(step=values.get("step"), **root), asked)


@pytest.mark.parametrize(
    ("profile", "keys", "values", "shown"),
    [
        # stations: own ones stand for each other; what another asks for stays what it is
        ({"stations": ["ROOM1"]}, {SPS: [{STATION: "CT01"}]}, {"step": {STATION: ["ROOM1"]}}, True),
        ({"stations": ["ROOM1"]}, {SPS: [{STATION: "CT01"}]}, {"step": {STATION: ["CT01"]}}, True),
        ({"stations": ["ROOM1", "ROOM2"]}, {SPS: [{STATION: "ROOM2"}]}, {"step": {STATION: ["ROOM1"]}}, True),
        ({"stations": ["ROOM1"]}, {SPS: [{STATION: "CT02"}]}, {"step": {STATION: ["ROOM1"]}}, False),
        ({}, {SPS: [{STATION: "CT01"}]}, {"step": {STATION: ["ROOM1"]}}, False),
        ({"station": "calling"}, {SPS: [{STATION: "WRONG"}]}, {}, True),
        ({"station": "calling"}, {SPS: [{STATION: ""}]}, {"step": {STATION: ["CT02"]}}, False),
        ({"station": "calling"}, {"PatientName": ""}, {"step": {STATION: ["CT02"]}}, False),
        ({"station": "calling", "stations": ["R1"]}, {SPS: [{STATION: "*"}]}, {"step": {STATION: ["R1"]}}, True),
        ({"station": "calling", "stations": ["R1"]}, {SPS: [{STATION: "*"}]}, {"step": {STATION: ["CT01"]}}, False),
        ({"station": "calling"}, {SPS: [{STATION: "X", "Modality": "MR"}]}, {}, False),
        # dates
        ({}, {SPS: [{DATE: "20260313"}]}, {}, False),
        ({"days_before": 1}, {SPS: [{DATE: "20260313"}]}, {}, True),
        ({"days_before": 1}, {SPS: [{DATE: "20260314"}]}, {}, False),
        ({"days_after": 2}, {SPS: [{DATE: "20260310"}]}, {}, True),
        ({"days_after": 1}, {SPS: [{DATE: "20260309-20260311"}]}, {}, True),
        ({"days_before": 1}, {SPS: [{DATE: "20260313-20260314", TIME: "0900-1800"}]}, {}, True),
        ({"days_before": 1}, {SPS: [{DATE: "20260313-20260314", TIME: "1001-1800"}]}, {}, False),
        ({"days_before": 366}, {SPS: [{DATE: "00010101-"}]}, {}, True),
        ({"days_after": 366}, {SPS: [{DATE: "-99991231"}]}, {}, True),
        # statuses
        ({}, BARE, {"step": {"ScheduledProcedureStepStatus": "STARTED"}}, False),
        ({"show": ["STARTED"]}, BARE, {"step": {"ScheduledProcedureStepStatus": "STARTED"}}, True),
        ({"show": ["STARTED"]}, BARE, {}, False),
        ({"show": ["STARTED"]}, {SPS: [{"ScheduledProcedureStepStatus": "SCHEDULED"}]}, {}, True),
        ({"hide": ["SCHEDULED"]}, {SPS: [{"ScheduledProcedureStepStatus": "SCHEDULED"}]}, {}, False),
        # labels
        ({"labels": ["NORTH"]}, BARE, {"WorklistLabel": "NORTH"}, True),
        ({"labels": ["NORTH"]}, BARE, {"WorklistLabel": "SOUTH"}, False),
        ({"labels": ["NORTH"]}, BARE, {}, True),
        ({"labels": ["NORTH"], "only_labelled": True}, BARE, {}, False),
        ({"labels": ["NORTH", "SOUTH"], "only_labelled": True}, BARE, {"WorklistLabel": "SOUTH "}, True),
        ({}, BARE, {"WorklistLabel": "SOUTH"}, True),
        ({}, {"WorklistLabel": "NORTH"}, {"WorklistLabel": "SOUTH"}, False),
        # case
        ({}, {SPS: [{STATION: "ct01"}]}, {}, False),
        ({"ignore_case": True}, {SPS: [{STATION: "ct01", "Modality": "ct"}]}, {}, True),
        ({"ignore_case": True}, {SPS: [{STATION: "ct?1"}]}, {"step": {STATION: ["cT01"]}}, True),
        ({"ignore_case": True}, {SPS: [{STATION: "MR*"}]}, {}, False),
        ({"ignore_case": True, "stations": ["ROOM1"]}, {SPS: [{STATION: "ct01"}]}, ROOM, True),
        ({"ignore_case": True}, {"AccessionNumber": "a1"}, {}, False),  # SH: case counts
        # names
        ({}, {"PatientName": "DOE"}, {}, False),
        ({"prefix_names": True}, {"PatientName": "DOE"}, {}, True),
        ({"prefix_names": True}, {"PatientName": "doe^j"}, {}, True),
        ({"prefix_names": True}, {"PatientName": "JOHN"}, {}, False),
        ({"prefix_names": True}, {"PatientName": "D?E"}, {}, False),
        # no keys
        ({"empty_on_no_keys": True}, BARE, {}, False),
        ({"empty_on_no_keys": True}, {"PatientName": "*"}, {}, False),
        ({"empty_on_no_keys": True}, {"AccessionNumber": "A1"}, {}, True),
        ({"window_hours_before": 2, "window_hours_after": 2}, BARE, {}, True),
        ({"window_hours_before": 2, "window_hours_after": 2}, BARE, {"step": {TIME: "110001"}}, False),
        ({"window_hours_before": 2}, BARE, {"step": {TIME: "065959"}}, False),
        ({"window_hours_before": 2}, BARE, {"step": {DATE: "20270101"}}, True),
        ({"window_hours_after": 0}, {"AccessionNumber": "A1"}, {}, True),  # a bar code is no open question
    ],
)  # fmt: skip
def test_what_is_seen(profile: dict[str, Any], keys: dict[Any, Any], values: dict[str, Any], shown: bool) -> None:
    assert sees(profile, keys, **values) is shown


@pytest.mark.parametrize(
    ("offset", "clock", "shown"),
    [("+0000", "090000", True), ("-0500", "090000", True), ("-0500", "140000", False), ("+0900", "090000", True)],
)
def test_the_window_of_a_device_in_another_time_zone_is_around_now(offset: str, clock: str, shown: bool) -> None:
    profile = Device(window_hours_before=2, window_hours_after=2)
    options = Agreed(timezone=True)
    asked = adapt(query({**BARE, "TimezoneOffsetFromUTC": offset}, options=options), profile, "CT01", NOW)
    there = document(step={TIME: clock})
    assert matches(in_offset(there, UTC, asked.offset), asked) is shown
    bounds = search_criteria(asked)
    assert not shown or (bounds.start_from or "") <= f"20260312{clock}" <= (bounds.start_until or "9")


def test_the_plan_stays_as_narrow_as_the_profile_allows() -> None:
    asked = query({SPS: [{STATION: "CT01", DATE: "20260312"}]})
    wide = search_criteria(adapt(asked, Device(stations=("R1",), days_before=1, days_after=1), "CT01", NOW))
    assert wide.stations is not None
    assert wide.stations.exact == ("CT01", "R1")
    assert (wide.start_from, wide.start_until) == ("20260311000000", "20260313235959.999999")
    any_case = search_criteria(adapt(asked, Device(ignore_case=True), "CT01", NOW))
    assert any_case.stations is None
    assert any_case.start_from == "20260312000000"
    assert search_criteria(adapt(asked, Device(show=("READY", "READY")), "CT01", NOW)).statuses == ("READY",)


def answer(profile: dict[str, Any], charset: list[str] | None = None, **values: Any) -> Any:
    keys = {"PatientName": "", "AccessionNumber": "", "RequestedProcedureDescription": "", "SpecificCharacterSet": ""}
    del keys["SpecificCharacterSet"]
    device = Device(**profile)
    encoder = AnswerEncoder(query(keys, charset=charset), EXPLICIT, "ISO_IR 192", device.charset, device.max_lengths)
    return read(encoder.encode(document(**values)), implicit=False)


@pytest.mark.parametrize(
    ("profile", "asked", "name", "sent", "charset"),
    [
        ({}, None, "Müller^Käthe", "Müller^Käthe", "ISO_IR 192"),
        ({"charset": "ISO_IR 100"}, None, "Müller^Käthe", "Müller^Käthe", "ISO_IR 100"),
        ({"charset": "ISO_IR 100"}, ["ISO_IR 192"], "Müller^Käthe", "Müller^Käthe", "ISO_IR 100"),
        ({"charset": "ISO_IR 100"}, ["ISO_IR 192"], "Łukasz^Ż", "Lukasz^Z", None),
        ({"charset": "ISO_IR 6"}, ["ISO_IR 100"], "Straße^Zoë", "Strasse^Zoe", None),
        ({"charset": "\\ISO 2022 IR 87"}, None, "Yamada=山田^太郎", "Yamada=山田^太郎", ["", "ISO 2022 IR 87"]),
        ({"charset": "ISO_IR 144"}, None, "Люкceмбypг", "Люкceмбypг", "ISO_IR 144"),
        ({"charset": "ISO_IR 6"}, None, "Иванов^Пётр", "Ivanov^Petr", None),
        ({"max_lengths": {"PatientName": 5}}, None, "Müller^Käthe", "Mülle", "ISO_IR 192"),
        ({"max_lengths": {"PatientName": 7}}, None, "Müller^Käthe", "Müller", "ISO_IR 192"),
        ({"max_lengths": {"PatientName": 3}}, None, "Yamada=山田^太郎", "Yam=山田", "ISO_IR 192"),
        ({"max_lengths": {"PatientName": 6}, "charset": "ISO_IR 6"}, None, "Straße^Z", "Strass", None),
        ({"max_lengths": {"PatientName": 2}}, None, "Cafe\u0301", "Ca", None),
        ({"max_lengths": {"PatientName": 4}}, None, "Cafe\u0301", "Caf", None),
    ],
)  # fmt: skip
def test_how_names_are_written(
    profile: dict[str, Any], asked: list[str] | None, name: str, sent: str, charset: Any
) -> None:
    found = answer(profile, asked, PatientName=name)
    assert str(found.PatientName) == sent
    assert found.get("SpecificCharacterSet") == charset


def test_only_what_is_named_is_cut() -> None:
    found = answer({"max_lengths": {"RequestedProcedureDescription": 3}}, AccessionNumber="A" * 16)
    assert (found.RequestedProcedureDescription, found.AccessionNumber) == ("Abd", "A" * 16)
