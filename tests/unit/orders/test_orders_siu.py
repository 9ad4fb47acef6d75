"""Scheduling messages (SIU) as changes of appointments."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

import pytest
from support.orders.appointments import profile, siu

from broker.hl7 import message as hl7
from broker.hl7.findings import MalformedMessage
from broker.model.order import EntityId
from broker.orders.core.appointments import AppointmentAction, AppointmentChange, slots_document, slots_of
from broker.orders.core.values import Conversion
from broker.orders.inbound import siu as converter
from broker.orders.mapping.book import built_in
from broker.orders.mapping.profile import AppointmentCancel, Policy, Profile, UnknownAppointment

ZONE = ZoneInfo("Europe/Zurich")
DATE, TIME = "ScheduledProcedureStepStartDate", "ScheduledProcedureStepStartTime"
END_DATE, END_TIME = "ScheduledProcedureStepEndDate", "ScheduledProcedureStepEndTime"
STATION = "ScheduledStationAETitle"


def convert(raw: bytes, used: Profile | None = None) -> Conversion:
    return converter.convert(hl7.parse(raw), used or built_in(), ZONE)


def one(raw: bytes, used: Profile | None = None) -> AppointmentChange:
    found = convert(raw, used)
    assert found.usable, found.findings
    (change,) = found.changes
    assert isinstance(change, AppointmentChange)
    return change


def slot(raw: bytes, used: Profile | None = None) -> dict[str, Any]:
    (found,) = one(raw, used).slots
    return found.attributes


def findings(raw: bytes, used: Profile | None = None) -> list[tuple[str, str, str]]:
    return [(f.location, f.code, f.severity) for f in convert(raw, used).findings]


@pytest.mark.parametrize(
    ("event", "asked"),
    [(f"S{number}", AppointmentAction.BOOK) for number in (12, 13, 14, 18, 19, 20, 21, 22)]
    + [(f"S{number}", AppointmentAction.UNBOOK) for number in (15, 16, 17)]
    + [("S26", AppointmentAction.NO_SHOW)],
)
def test_each_event_asks_for_something(event: str, asked: AppointmentAction) -> None:
    change = one(siu(event))
    assert (change.event, change.asked, change.cause) == (event, asked, f"appointment:{event}")


@pytest.mark.parametrize("event", ["S23", "S24"])
def test_blocked_slots_ask_for_nothing(event: str) -> None:
    found = convert(siu(event))
    assert (found.usable, found.changes) == (True, ())
    assert findings(siu(event)) == [("MSH^1^9", "0", "W")]


@pytest.mark.parametrize(
    ("event", "status", "asked", "warned"),
    [
        ("S12", "Booked", AppointmentAction.BOOK, False), ("S12", "Pending", AppointmentAction.BOOK, False),
        ("S12", "Cancelled", AppointmentAction.BOOK, True), ("S13", "Complete", AppointmentAction.BOOK, True),
        ("S13", "Noshow", AppointmentAction.BOOK, True), ("S14", "Started", AppointmentAction.START, False),
        ("S14", "COMPLETE", AppointmentAction.COMPLETE, False), ("S14", "Cancelled", AppointmentAction.UNBOOK, False),
        ("S14", "No Show", AppointmentAction.NO_SHOW, False), ("S14", "LOCAL", AppointmentAction.BOOK, True),
        ("S15", "Cancelled", AppointmentAction.UNBOOK, False), ("S15", "Booked", AppointmentAction.UNBOOK, True),
        ("S15", "Noshow", AppointmentAction.NO_SHOW, False), ("S16", "Dc", AppointmentAction.UNBOOK, False),
        ("S17", "Deleted", AppointmentAction.UNBOOK, False), ("S26", "Noshow", AppointmentAction.NO_SHOW, False),
        ("S26", "Complete", AppointmentAction.NO_SHOW, True),
    ],
)  # fmt: skip
def test_status_counts_where_it_agrees_with_the_event(
    event: str, status: str, asked: AppointmentAction, warned: bool
) -> None:
    assert one(siu(event, status=status)).asked is asked
    assert (("SCH^1^25", "103", "W") in findings(siu(event, status=status))) == warned


def test_order_numbers_of_an_appointment() -> None:
    change = one(siu(placer="P1^KIS", filler="F1^RIS&2.999&ISO"))
    assert (change.keys.placer, change.keys.filler) == (EntityId("P1", "KIS"), EntityId("F1", "RIS&2.999&ISO"))
    assert (change.number, change.guessed) == ("SF1", False)
    assert set(change.names()) == {"filler|F1", "placer|P1", "patient|12345"}


def test_order_numbers_in_the_appointment_numbers() -> None:
    change = one(siu(placer="", filler="", sch_1="P1", sch_2="F1"))
    assert (change.keys.placer.number, change.keys.filler.number) == ("P1", "F1")
    assert (change.number, change.guessed, change.location) == ("F1", True, "SCH^1^1")


def test_no_number_at_all_is_refused() -> None:
    assert ("SCH^1^26", "101", "E") in findings(siu(placer="", filler="", sch_1="", sch_2=""))


def test_several_orders_take_a_service_each() -> None:
    raw = siu(placer="P1~P2", filler="F1~F2", groups=["AIS|1||A^a|20260312100000", "AIS|2||B^b|20260312110000"])
    found = convert(raw).changes
    assert [(c.keys.filler.number, [sorted(s.codes) for s in c.slots]) for c in found] == [
        ("F1", [["a"]]), ("F2", [["b"]]),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("more", "start"),
    [
        ({"sch_11": "^^^202603121430"}, ("20260312", "143000")),
        ({"sch_11": "", "tq1": "20260312150000"}, ("20260312", "150000")),
        ({"sch_11": "^^^20260312143000", "groups": ["AIS|1||A|20260312160000"]}, ("20260312", "160000")),
        ({"sch_11": "^^^20260312"}, ("20260312", "000000")),
        ({"sch_11": "", "groups": ["AIS|1||A\rAIG|1||CT|||||20260312170000"]}, ("20260312", "170000")),
    ],
)
def test_start(more: dict[str, Any], start: tuple[str, str]) -> None:
    found = slot(siu(**more))
    assert (found[DATE], found[TIME]) == start


def test_start_with_an_offset_is_on_the_wall_clock_of_the_site() -> None:  # TM-06
    found = slot(siu(sch_11="^^^20260312233000+0900^20260312234500+0900"))
    assert (found[DATE], found[TIME], found[END_TIME]) == ("20260312", "153000", "154500")


def test_start_with_an_offset_on_the_other_side_of_summer_time() -> None:
    found = slot(siu(sch_11="^^^20260329010000+0000"))
    assert (found[DATE], found[TIME]) == ("20260329", "030000")


@pytest.mark.parametrize("event", ["S12", "S13"])
def test_a_booking_without_a_start_is_refused(event: str) -> None:
    assert ("SCH^1^11", "101", "E") in findings(siu(event, sch_11=""))
    assert convert(siu("S14", sch_11="")).usable


def test_a_start_that_is_none_is_refused() -> None:
    assert ("SCH^1^11", "102", "E") in findings(siu(sch_11="^^^20260231100000"))
    assert ("AIS^1^4", "102", "E") in findings(siu(groups=["AIS|1||A|soon"]))


@pytest.mark.parametrize(
    ("more", "end"),
    [
        ({"sch_11": "^^^20260312100000^20260312103000"}, ("20260312", "103000")),
        ({"sch_11": "^^^20260312100000", "sch_9": "45", "sch_10": "min^minutes"}, ("20260312", "104500")),
        ({"sch_11": "^^^20260312233000", "sch_9": "1", "sch_10": "h"}, ("20260313", "003000")),
        ({"groups": ["AIS|1||A|20260312110000|||20|min"]}, ("20260312", "112000")),
        ({"sch_11": "^^^20260312100000^20260312090000"}, ("", "")),
        ({"sch_11": "^^^20260312100000", "sch_9": "nan"}, ("", "")),
        ({"sch_11": "^^^20260312100000", "sch_9": "1e99"}, ("", "")),
        ({"sch_11": "^^^99991231235900", "sch_9": "5"}, ("", "")),
        ({"sch_11": "^^^20260312100000", "sch_9": "3", "sch_10": "moons"}, ("", "")),
    ],
)
def test_end(more: dict[str, Any], end: tuple[str, str]) -> None:
    found = slot(siu(**more))
    assert (found[END_DATE], found[END_TIME]) == end


def test_equipment_room_and_person() -> None:
    used = profile(stations={"CT2": "CT02", "CT3": "CT03"})
    raw = siu(groups=["AIS|1||A\rAIG|1||ct2^Scanner~2\rAIL|1||RADIO^R12^^CHU\rAIP|1||T7^MARTIN^LÉA"])
    found = slot(raw, used)
    assert found[STATION] == ["CT02"]
    assert found["ScheduledProcedureStepLocation"] == "R12"
    assert found["ScheduledPerformingPhysicianName"] == "MARTIN^LÉA"
    assert findings(raw, used) == []


def test_a_room_can_be_a_station() -> None:
    used = profile(stations={"R12": "CT02"})
    assert slot(siu(groups=["AIS|1||A\rAIL|1||RADIO^R12"]), used)[STATION] == ["CT02"]


def test_equipment_that_is_not_in_the_table_is_no_station() -> None:
    raw = siu(groups=["AIS|1||A\rAIG|1||MRT-RAUM-3-SIEMENS-PRISMA"])
    assert STATION not in slot(raw)
    assert findings(raw) == [("AIG^1^3", "103", "W")]


def test_groups_and_services() -> None:
    used = profile(stations={"E1": "CT01", "E2": "CT02", "E3": "CT03"})
    raw = siu(
        groups=[
            "AIS|1||A|20260312100000\rAIS|2||B^^L^BB|20260312110000\rAIG|1||E1\rAIG|2||E2\rAIP|1||9^DOE",
            "AIS|3||C|20260312120000\rAIG|3||E3\rAIG|4||E1",
        ]
    )
    found = one(raw, used).slots
    assert [(sorted(s.codes), s.attributes[TIME], s.attributes[STATION]) for s in found] == [
        (["a"], "100000", ["CT01"]), (["b", "bb"], "110000", ["CT02"]), (["c"], "120000", ["CT03", "CT01"]),
    ]  # fmt: skip
    assert ["ScheduledPerformingPhysicianName" in s.attributes for s in found] == [True, True, False]
    assert slots_of(slots_document(found)) == found


def test_what_is_taken_away() -> None:
    raw = siu("S20", groups=["AIS|1||A\rAIG|1|D|CT\rAIL|1|D|RADIO^R1\rAIP|1|D|9^DOE"])
    found = slot(raw)
    assert (found[STATION], found["ScheduledProcedureStepLocation"]) == ([], "")
    assert found["ScheduledPerformingPhysicianName"] == ""
    assert findings(raw) == []
    assert [s.removed for s in one(siu("S22", groups=["AIS|1|D|A", "AIS|2||B"])).slots] == [True, False]


def test_policies_and_the_order_to_make() -> None:
    used = profile(
        policy=Policy(appointment_cancel=AppointmentCancel.CANCEL, unknown_appointment=UnknownAppointment.CREATE)
    )
    change = one(siu(groups=["AIS|1||CTTHX^CT thorax^L\rAIG|1||E1^^L|CT"]), used)
    assert change.cancels
    assert change.create is not None
    (procedure,) = change.create.procedures
    (step,) = procedure.steps
    assert procedure.attributes["RequestedProcedureDescription"] == "CT thorax"
    assert (step.attributes["Modality"], step.attributes[DATE]) == ("CT", "20260312")
    assert one(siu("S15"), used).create is None
    assert one(siu(pid=""), used).create is None


def test_structure() -> None:
    lone = siu().split(b"\r", 1)[0] + b"\r"
    assert ("SCH^1", "100", "E") in findings(lone)
    assert ("SCH^2", "100", "E") in findings(siu() + b"SCH|2\r")
    for groups, where in (
        ([f"AIS|{n}||A" for n in range(300)], "RGS^257"),
        (["\r".join(["AIS|1||A", *["AIG|1||E"] * 1100])], "AIG^257"),
    ):
        with pytest.raises(MalformedMessage) as refused:
            convert(siu(groups=groups))
        assert (refused.value.finding.location, refused.value.finding.code) == (where, "100")
    many = "~".join(f"P{n}" for n in range(200))
    assert findings(siu(placer=many, groups=["AIS|1||A", "AIS|2||B"])) == [("SCH^1^26", "100", "E")]
    assert len(convert(siu(placer=many)).changes) == 200


def test_order_numbers_that_cannot_be_one_are_refused() -> None:
    assert ("SCH^1^26", "102", "E") in findings(siu(placer="1" * 65))
    assert ("SCH^1^27", "102", "E") in findings(siu(filler="1" * 65 + "^RIS"))
    assert one(siu(placer='P1^""')).keys.placer == EntityId("P1", "")


def without_groups(raw: bytes) -> bytes:
    return b"\r".join(line for line in raw.split(b"\r") if not line.startswith(b"RGS"))


GROUP = "AIS|1||CTTHX^CT^L|20260313101500\rAIG|1||E1\rAIL|1||RADIO^R12\rAIP|1||T7^MARTIN^LEA"


@pytest.mark.parametrize("event", [f"S{number}" for number in range(12, 23)])
def test_services_and_resources_without_their_group_are_one(event: str) -> None:
    used = profile(stations={"E1": "CT01"})
    raw = siu(event, sch_11="^^^20260318080000", groups=[GROUP])
    there, missing = one(raw, used), one(without_groups(raw), used)
    assert missing.slots == there.slots
    assert findings(without_groups(raw), used) == [("RGS^1", "100", "W")]


def test_several_services_without_a_group_have_their_own_resources_where_there_are_as_many() -> None:
    used = profile(stations={"E1": "CT01", "E2": "CT02"})
    parts = [
        "AIS|1||A|20260312100000\rAIS|2||B|20260312110000\rAIL|1||X^R1\rAIG|1||E1\rAIG|2||E2",
        "AIS|1||A|20260312100000\rAIG|1||E1\rAIL|1||X^R1\rAIS|2||B|20260312110000\rAIG|2||E2",
    ]
    for part in parts:
        found = one(without_groups(siu(groups=[part])), used).slots
        assert [(sorted(s.codes), s.attributes[TIME], s.attributes[STATION]) for s in found] == [
            (["a"], "100000", ["CT01"]), (["b"], "110000", ["CT02"]),
        ]  # fmt: skip
        assert [s.attributes["ScheduledProcedureStepLocation"] for s in found] == ["R1", "R1"]


def test_a_group_may_follow_what_stands_in_none() -> None:
    raw = siu(groups=["AIS|1||A|20260312100000", "AIS|2||B|20260312110000\rAIL|1||X^R1"])
    found = one(raw.replace(b"RGS|1\r", b"")).slots
    assert [(sorted(s.codes), s.attributes[TIME]) for s in found] == [(["a"], "100000"), (["b"], "110000")]


def test_a_resource_alone_without_a_group_counts() -> None:
    found = slot(without_groups(siu("S14", sch_11="", groups=["AIL|1||RADIO^R12|||20260313101500"])))
    assert (found[DATE], found[TIME], found["ScheduledProcedureStepLocation"]) == ("20260313", "101500", "R12")


def test_an_appointment_without_any_service_is_one_and_needs_no_group() -> None:
    assert findings(siu()) == []
