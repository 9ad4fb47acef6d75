"""Checks of N-CREATE and N-SET, the ladder of keys, and what a performed step says; all pure."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from support.mpps.performed import REASON, SERIES, STATUS, bytes_of, creation, final, item, series
from support.worklist.worklist import EXPLICIT, IMPLICIT, encoded, read

from broker.errors import BadContent
from broker.model.order import EntityId, Patient, StepStatus
from broker.mpps import meaning
from broker.mpps.attributes import MPPS, TAGS
from broker.mpps.checks import MppsAnswer, changed, created
from broker.mpps.dataset import MAX_ELEMENTS, decode, encode
from broker.orders.core import lifecycle
from broker.orders.core.values import PatientChange
from broker.orders.lookup import matching
from broker.orders.lookup.matching import Keys, Match
from broker.store.orders.matching import Candidate

ITEM_ID, STUDY, ACCESSION, PATIENT_NAME = 0x00400009, 0x0020000D, 0x00080050, 0x00100010
LENIENT, STRICT = False, True


def made(values: dict[str, Any], *, strict: bool = False, first: bool = False) -> tuple[int, tuple[int, ...]]:
    answer = created(decode(bytes_of(values), IMPLICIT), strict=strict, first_completed=first)
    return answer.status, answer.tags


def without(*keywords: str) -> dict[str, Any]:
    return creation(**dict.fromkeys(keywords))


def item_without(keyword: str) -> dict[str, Any]:
    return {k: v for k, v in item().items() if k != keyword}


def test_the_table_is_that_of_the_standard() -> None:
    kinds = {attribute.keyword: (attribute.type, attribute.settable) for attribute in MPPS.values()}
    assert kinds["PatientID"] == ("2", False)
    assert kinds[SERIES] == ("2", True)
    assert [a.keyword for a in MPPS.values() if a.type == "1"] == [
        "ScheduledStepAttributesSequence", "PerformedProcedureStepID", "PerformedStationAETitle",
        "PerformedProcedureStepStartDate", "PerformedProcedureStepStartTime", STATUS, "Modality",
    ]  # fmt: skip
    assert len(MPPS[TAGS["ScheduledStepAttributesSequence"]].items) == 14


@pytest.mark.parametrize(("values", "lenient", "strict"), [
    (creation(), (0, ()), (0, ())),
    (creation(**{STATUS: "COMPLETED"}), (0x0106, (TAGS[STATUS],)), (0x0106, (TAGS[STATUS],))),
    (without("Modality"), (0x0120, (TAGS["Modality"],)), (0x0120, (TAGS["Modality"],))),
    (without("Modality", STATUS), (0x0120, (TAGS[STATUS], TAGS["Modality"])), None),
    (creation(Modality=""), (0x0121, (TAGS["Modality"],)), (0x0121, (TAGS["Modality"],))),
    (creation(ScheduledStepAttributesSequence=[]), (0x0121, (0x00400270,)), (0x0121, (0x00400270,))),
    (creation(item_without("StudyInstanceUID")), (0x0120, (STUDY,)), (0x0120, (STUDY,))),
    (creation(item(StudyInstanceUID="")), (0x0121, (STUDY,)), (0x0121, (STUDY,))),
    (without("PerformedLocation"), (0x0107, (0x00400243,)), (0x0120, (0x00400243,))),
    (creation(item_without("AccessionNumber")), (0x0107, (ACCESSION,)), (0x0120, (ACCESSION,))),
    (creation(PerformedProcedureStepID="X" * 17), (0x0116, (0x00400253,)), (0x0106, (0x00400253,))),
    (creation(PatientSex="Z"), (0x0116, (0x00100040,)), (0x0106, (0x00100040,))),
    (creation(PerformedProcedureStepStartDate="soon"), (0x0116, (0x00400244,)), (0x0106, (0x00400244,))),
    (creation(InstitutionName="General"), (0, ()), (0x0107, (0x00080080,))),
    (creation(**{SERIES: [series() | {"ProtocolName": ""}]}), (0x0107, (0x00181030,)), (0x0121, (0x00181030,))),
    (creation(*[item()] * 65), (0x0106, (0x00400270,)), (0x0106, (0x00400270,))),
    ({}, (0x0120, tuple(a.tag for a in MPPS.values() if a.type == "1")), None),
])  # fmt: skip
def test_creation(values: dict[str, Any], lenient: Any, strict: Any) -> None:
    assert made(values) == lenient
    assert made(values, strict=True) == (strict or lenient)


def test_a_device_that_may_begin_with_the_end() -> None:
    values = creation(**final())
    assert made(values) == (0x0106, (TAGS[STATUS],))
    assert made(values, first=True) == (0, ())
    assert made(creation(**{**final(), SERIES: []}), strict=True, first=True) == (0x0121, (TAGS[SERIES],))


def test_an_unknown_character_set_is_out_of_range() -> None:
    data = encoded({k: v for k, v in creation().items() if k != "SpecificCharacterSet"}, charset=["ISO_IR 999"])
    found = decode(data, IMPLICIT)
    assert (found.charset_known, created(found, strict=True).status, created(found, strict=False).status) == (
        False, 0x0106, 0x0116,
    )  # fmt: skip


def put(values: dict[str, Any], stored: dict[str, Any] | None = None, *, strict: bool = False) -> MppsAnswer:
    before = decode(bytes_of(stored or creation()), IMPLICIT).document
    return changed(decode(bytes_of(values), IMPLICIT), before, strict=strict)[0]


@pytest.mark.parametrize(("values", "lenient", "strict"), [
    (final(), 0, 0),
    (final("DISCONTINUED", reason="110501"), 0, 0),
    ({"PerformedProcedureStepDescription": "x"}, 0, 0),
    ({STATUS: "IN PROGRESS"}, 0, 0),
    ({STATUS: "ABORTED"}, 0x0106, 0x0106),
    ({STATUS: ""}, 0, 0x0121),
    ({"PatientID": "other"}, 0x0107, 0x0106),
    ({"CommentsOnThePerformedProcedureStep": "not created"}, 0x0107, 0x0105),
    (final(PerformedProcedureStepEndDate=None, PerformedProcedureStepEndTime=None), 0, 0x0121),
    (final(**{SERIES: []}), 0, 0x0121),
    (final(**{SERIES: [series() | {"SeriesInstanceUID": ""}]}), 0, 0x0121),
    (final(PerformedProcedureStepEndTime="late"), 0x0116, 0x0106),
])  # fmt: skip
def test_change(values: dict[str, Any], lenient: int, strict: int) -> None:
    assert put(values).status == lenient
    assert put(values, strict=True).status == strict


def test_what_was_not_created_is_forgiven_where_it_matters() -> None:
    stored = without("PerformedProcedureStepEndDate", "PerformedProcedureStepEndTime", SERIES, REASON)
    answer = put(final("DISCONTINUED", reason="110514"), stored)
    assert answer == MppsAnswer(findings=("attribute-not-created",))
    assert put(final(), stored, strict=True).status == 0x0105


def test_an_incomplete_end_is_accepted_and_noted() -> None:
    assert put({STATUS: "COMPLETED"}).findings == ("final-incomplete",)


def test_sequences_replace_and_identity_stays() -> None:
    before = decode(bytes_of(creation(**{SERIES: [series("1.2"), series("1.3")]})), IMPLICIT).document
    values = {SERIES: [series("1.4")], "PatientID": "other", "SpecificCharacterSet": "ISO_IR 100"}
    _, after = changed(decode(bytes_of(values), IMPLICIT), before, strict=False)
    assert len(after[SERIES]) == 1
    assert after["PatientID"] == "QZPAT1"
    assert after["SpecificCharacterSet"] == ["ISO_IR 192"]


@pytest.mark.parametrize(
    "data", [b"\x08\0", b"\x40\0\x70\x02\xff\xff\xff\xff", b"\x08\0\x60\0\xff\0\0\0CT", bytes(9_000_000)]
)
def test_what_cannot_be_decoded(data: bytes) -> None:
    with pytest.raises(BadContent):
        decode(data, IMPLICIT)


def test_a_step_of_many_images_is_read_and_too_many_are_not() -> None:
    images = series(*(f"2.999.{n}" for n in range(3000)))
    assert (
        len(decode(bytes_of(final(**{SERIES: [images]})), IMPLICIT).document[SERIES][0]["ReferencedImageSequence"])
        == 3000
    )
    with pytest.raises(BadContent):
        decode(b"\x08\0\x60\0\0\0\0\0" * (MAX_ELEMENTS + 1), IMPLICIT)


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT])
def test_what_is_returned_is_what_came(syntax: str) -> None:
    values = creation(**final())
    document = decode(bytes_of(values), IMPLICIT).document
    tags = [tag for tag in MPPS if MPPS[tag].keyword in document and tag != 0x00080005]
    found = read(encode(document, tags, syntax, "ISO_IR 192"), implicit=syntax == IMPLICIT)
    assert str(found.PatientName) == "Müller^Käthe"
    assert found.PerformedSeriesSequence[0].ReferencedImageSequence[0].ReferencedSOPInstanceUID == "2.999.9.1.1"
    assert decode(encode(document, tags, syntax, "ISO_IR 192"), syntax).document == document


ZURICH = ZoneInfo("Europe/Zurich")


@pytest.mark.parametrize(("date", "time", "expected"), [
    ("20300312", "103500", (10, 35, 0)), ("20300312", "1035", (10, 35, 0)), ("20300312", "103500.123", (10, 35, 0)),
    ("2030.03.12", "10:35:07", (10, 35, 7)), ("20300312", "", (0, 0, 0)), ("", "103500", None), ("20301399", "1", None),
])  # fmt: skip
def test_moments(date: str, time: str, expected: tuple[int, int, int] | None) -> None:
    document = {"PerformedProcedureStepStartDate": date, "PerformedProcedureStepStartTime": time}
    wanted = datetime(2030, 3, 12, *expected, tzinfo=ZURICH).timestamp() if expected else None
    assert meaning.moment(document, "Start", ZURICH) == wanted


def test_a_reason_of_another_scheme_is_no_reason_of_ours() -> None:
    document = {STATUS: "DISCONTINUED", REASON: [{"CodeValue": "110514", "CodingSchemeDesignator": "99X"}]}
    assert meaning.outcome(document) == (StepStatus.DISCONTINUED, "discontinued")


ANNA = Patient(1, "P1", "H", {}, (EntityId("OLD", "H"),))
MEANT = PatientChange("P1", "H", {})


def step(
    row: int, step_id: str, study: str = "1.1", accession: str = "A", procedure: str = "R", **more: Any
) -> Candidate:
    values = {"status": StepStatus.SCHEDULED, "issuer": "", "patient": ANNA, "planned_study": study} | more
    return Candidate(
        step=row,
        order=row // 10,
        step_id=step_id,
        study_instance_uid=study,
        accession=accession,
        requested_procedure_id=procedure,
        **values,
    )


ONE, TWO, OTHER = step(10, "S1"), step(11, "S2"), step(20, "S1", "1.2", "B", "R2")


@pytest.mark.parametrize(("keys", "candidates", "expected"), [
    (Keys("S1", "1.1", "A", "R"), [ONE, TWO, OTHER], (10, "step+study")),
    (Keys("S1", "9.9", "A", "R"), [ONE, TWO], (10, "step+accession")),
    (Keys("S1", "9.9", "", "R"), [ONE, TWO], (10, "step+procedure")),
    (Keys("S1", "9.9", "R2", "B"), [OTHER], (20, "step+swapped")),
    (Keys("S1", "9.9", "A", issuer="X"), [step(10, "S1", issuer="Y")], (None, "unknown")),
    (Keys("", "1.2"), [OTHER], (20, "study")),
    (Keys("", "1.1"), [ONE, TWO], (None, "ambiguous")),
    (Keys("", "1.1"), [ONE, step(11, "S2", status=StepStatus.COMPLETED)], (10, "study")),
    (Keys("", "1.1"), [step(11, "S2", status=StepStatus.COMPLETED)], (11, "study")),
    (Keys("", "9.9", "B"), [OTHER], (20, "accession")),
    (Keys("", "9.9", "A"), [ONE, TWO], (None, "ambiguous")),
    (Keys("S9", "9.9", "Z"), [], (None, "unknown")),
    (Keys("S1", "9.9", "A"), [ONE, step(30, "S1")], (None, "ambiguous")),
])  # fmt: skip
def test_the_ladder(keys: Keys, candidates: list[Candidate], expected: tuple[int | None, str]) -> None:
    found = matching.choose(keys, MEANT, candidates)
    assert (found.step, found.reason) == expected


@pytest.mark.parametrize(("patient", "reason"), [
    (PatientChange("OLD", "H", {}), "step+study"), (PatientChange("P1", "", {}), "step+study"),
    (PatientChange("P1", "X", {}), "mismatch"), (PatientChange("P2", "H", {}), "mismatch"), (None, "step+study"),
])  # fmt: skip
def test_the_patient_must_be_the_same(patient: PatientChange | None, reason: str) -> None:
    assert matching.choose(Keys("S1", "1.1"), patient, [ONE]).reason == reason


def test_without_a_patient_only_keys_of_the_step_are_enough() -> None:
    assert matching.choose(Keys("", "1.1"), None, [ONE]) == Match(None, None, "ambiguous")


@pytest.mark.parametrize(("reasons", "linking"), [
    ([(1, "study"), (2, "study")], "linked"), ([(1, "study"), (None, "unknown")], "partly"),
    ([(None, "unknown")], "unscheduled"), ([(1, "study"), (None, "ambiguous")], "ambiguous"),
    ([(None, "ambiguous"), (None, "mismatch")], "mismatch"), ([], "unscheduled"),
])  # fmt: skip
def test_what_all_items_come_to(reasons: list[tuple[int | None, str]], linking: str) -> None:
    assert matching.summary(reasons) == linking


@pytest.mark.parametrize(("status", "outcomes", "append", "expected"), [
    ("SCHEDULED", ["STARTED"], False, "STARTED"), ("ARRIVED", ["COMPLETED"], False, "COMPLETED"),
    ("STARTED", ["STARTED", "COMPLETED"], True, "STARTED"), ("STARTED", ["SCHEDULED"], False, "SCHEDULED"),
    ("STARTED", ["COMPLETED", "SCHEDULED"], True, "COMPLETED"), ("STARTED", ["CANCELED"], False, "CANCELED"),
    ("COMPLETED", ["STARTED"], False, "COMPLETED"), ("COMPLETED", ["COMPLETED", "STARTED"], True, "STARTED"),
    ("CANCELED", ["COMPLETED", "STARTED"], True, "CANCELED"), ("DISCONTINUED", ["COMPLETED"], True, "DISCONTINUED"),
    ("SCHEDULED", [], False, "SCHEDULED"),
])  # fmt: skip
def test_what_a_scheduled_step_becomes(status: str, outcomes: list[str], append: bool, expected: str) -> None:
    assert lifecycle.performed(status, outcomes, append=append) == expected
