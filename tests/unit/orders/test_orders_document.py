"""JSON documents become order changes: strictly, all findings at once, no value in any text."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.orders.documents import order

from broker.hl7.findings import Finding
from broker.model.order import EntityId
from broker.orders.core import attributes
from broker.orders.core.values import OrderChange
from broker.orders.documents import document, leniency, schema, validity
from broker.orders.documents.document import FIELDS
from broker.orders.mapping.book import built_in
from broker.orders.mapping.representations import PATTERNS
from broker.worklist.query.attributes import STATUS, STEP_SEQUENCE, WORKLIST

MODALITIES = built_in().modalities


def convert(given: Any) -> tuple[OrderChange, dict[str, str]]:
    made = document.convert(given, MODALITIES)
    change = made.changes[0]
    assert isinstance(change, OrderChange)
    return change, {finding.location: finding.text for finding in made.findings}


def changed(path: str, value: Any) -> dict[str, Any]:
    """A good order with another value at a path."""
    found = order()
    *way, last = path.split("/")
    at: Any = found
    for part in way:
        at = at[int(part)] if isinstance(at, list) else at.setdefault(part, {})
    at[last] = value
    return found


def test_a_whole_order() -> None:
    change, wrong = convert(
        order(OrderPlacerIdentifierSequence=[{"UniversalEntityID": "1.2.3", "UniversalEntityIDType": "ISO"}])
    )
    assert wrong == {}
    assert (change.control, change.accession) == ("NW", "A1")
    assert (change.placer, change.filler) == (EntityId("PL1", "1.2.3"), EntityId())
    assert (change.patient.patient_id, change.patient.issuer) == ("QZPAT1", "HOSPITAL")
    assert change.patient.attributes["PatientBirthDate"] == "19760229"
    assert change.visit == {"CurrentPatientLocation": "W1", "MedicalAlerts": ["PACEMAKER", "MRSA"]}
    assert "AccessionNumber" not in change.request
    step = change.procedures[0].steps[0]
    assert step.stations == ("CT01",)
    assert step.attributes["ScheduledProcedureStepStartTime"] == "103000"


@pytest.mark.parametrize(
    ("path", "value", "kept"),
    [
        ("patient/PatientWeight", 71.5, "71.5"), ("patient/PatientWeight", "071.50", "071.50"),
        ("patient/PatientSex", "O", "O"), ("visit/PregnancyStatus", 4, 4), ("visit/PregnancyStatus", "2", 2),
        ("visit/MedicalAlerts", "ONE", ["ONE"]), ("visit/MedicalAlerts", ["A", "", " B "], ["A", "B"]),
        ("visit/MedicalAlerts", None, []), ("patient/PatientComments", None, ""), ("patient/PatientBirthDate", "", ""),
        ("patient/PatientComments", "one\r\ntwo \\ three", "one\r\ntwo \\ three"),
        ("patient/PatientName", "YAMADA^TARO=山田^太郎=やまだ^たろう", "YAMADA^TARO=山田^太郎=やまだ^たろう"),
        ("patient/PatientName", "\u202eevil^=cmd()", "\u202eevil^=cmd()"), ("visit/AdmittingTime", "09", "090000"),
        ("visit/AdmittingTime", "235960.5", "235959.5"), ("visit/AdmittingDate", "2028-02-29", "20280229"),
    ],
)  # fmt: skip
def test_values_as_they_are_kept(path: str, value: Any, kept: Any) -> None:
    section, keyword = path.split("/")
    change, wrong = convert(changed(path, value))
    assert wrong == {}
    values = change.patient.attributes if section == "patient" else change.visit
    assert values[keyword] == kept


SEVERAL = "a backslash is not allowed: several values are a list"
NAME = "a name is FAMILY^GIVEN^MIDDLE^PREFIX^SUFFIX, at most three of them joined by ="
UID = "a UID is numbers without leading zeros, joined by dots, 64 characters at most"
DATE = "a date is YYYYMMDD or YYYY-MM-DD"
STEP = "procedures/0/steps/0"


@pytest.mark.parametrize(
    ("path", "value", "where", "text"),
    [
        ("patient/PatientID", "", "patient/PatientID", "missing"),
        ("patient/PatientID", "x" * 65, "patient/PatientID", "at most 64 characters"),
        ("patient/PatientID", "SECRET\\1", "patient/PatientID", SEVERAL),
        ("patient/PatientID", 5, "patient/PatientID", "text is expected"),
        ("patient/PatientID", "a\x00b", "patient/PatientID", "control characters are not allowed"),
        ("patient/PatientID", "a\ud800", "patient/PatientID", "control characters are not allowed"),
        ("patient/PatientName", "^^", "patient/PatientName", "missing"),
        ("patient/PatientName", "a=b=c=d", "patient/PatientName", NAME),
        ("patient/PatientName", "N" * 65, "patient/PatientName", NAME),
        ("patient/PatientSex", "X", "patient/PatientSex", "one of F, M, O is expected"),
        ("patient/PatientBirthDate", "29.2.1976", "patient/PatientBirthDate", DATE),
        ("patient/PatientBirthDate", "20260229", "patient/PatientBirthDate", DATE),
        ("patient/PatientBirthDate", "２０２６０１０１", "patient/PatientBirthDate", DATE),
        ("patient/PatientWeight", "heavy", "patient/PatientWeight", "a number is expected"),
        ("patient/PatientWeight", float("inf"), "patient/PatientWeight", "a number is expected"),
        ("patient/PatientWeight", 10**400, "patient/PatientWeight", "a number is expected"),
        ("patient/PatientWeight", True, "patient/PatientWeight", "text is expected"),
        ("patient/PatientAge", "40", "patient/PatientAge", "an age is three digits and D, W, M or Y"),
        ("visit/PregnancyStatus", 5, "visit/PregnancyStatus", "one of 1, 2, 3, 4 is expected"),
        ("visit/AdmittingTime", "2460", "visit/AdmittingTime", "a time is HHMMSS or HH:MM[:SS]"),
        ("visit/MedicalAlerts", ["ok", "a\\b"], "visit/MedicalAlerts/1", SEVERAL),
        ("visit/MedicalAlerts", ["x"] * 65, "visit/MedicalAlerts", "at most 64 values"),
        ("visit/Nothing", 1, "visit/Nothing", "unknown attribute"),
        ("visit/PatientID", "1", "visit/PatientID", "unknown attribute"),
        ("visit", [], "visit", "an object is expected"),
        ("extra", 1, "extra", "unknown member"),
        ("request/AccessionNumber", "x" * 17, "request/AccessionNumber", "at most 16 characters"),
        ("request/OrderPlacerIdentifierSequence", [{"X": 1}], "request/OrderPlacerIdentifierSequence/0/X",
         "unknown attribute"),
        ("request/OrderPlacerIdentifierSequence", ["x"], "request/OrderPlacerIdentifierSequence/0",
         "an object is expected"),
        ("procedures", [], "procedures", "a list with at least one object is expected"),
        ("procedures", {}, "procedures", "a list with at least one object is expected"),
        ("procedures/0/StudyInstanceUID", "1.02", "procedures/0/StudyInstanceUID", UID),
        ("procedures/0/steps", None, "procedures/0/steps", "a list with at least one object is expected"),
        (f"{STEP}/Modality", "SCAN", f"{STEP}/Modality", "not a modality that worklist devices know"),
        (f"{STEP}/Modality", None, f"{STEP}/Modality", "missing"),
        (f"{STEP}/ScheduledStationAETitle", ["CT01", "É"], f"{STEP}/ScheduledStationAETitle/1",
         "an AE title is 1 to 16 printable ASCII characters without backslash"),
        (f"{STEP}/ScheduledProcedureStepStartDate", None, f"{STEP}/ScheduledProcedureStepStartDate", "missing"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_by_its_path_alone(path: str, value: Any, where: str, text: str) -> None:
    assert convert(changed(path, value))[1] == {where: text}


def test_several_procedures_and_steps_must_be_told_apart() -> None:
    twice = order()
    twice["procedures"][0]["RequestedProcedureID"] = "R1"
    twice["procedures"][0]["StudyInstanceUID"] = "1.2.3"
    twice["procedures"][0]["steps"] = [{"Modality": "CT", "ScheduledProcedureStepID": "S1"}] * 2
    twice["procedures"] *= 2
    same = "two procedures have the same"
    assert convert(twice)[1] == {
        "procedures/0/steps/1/ScheduledProcedureStepID": "two steps have the same",
        "procedures/1/steps/1/ScheduledProcedureStepID": "two steps have the same",
        "procedures/1/StudyInstanceUID": same, "procedures/1/RequestedProcedureID": same,
    }  # fmt: skip
    many = order()
    many["procedures"][0]["steps"] *= 257
    assert convert(many)[1] == {"procedures/0/steps": "at most 256 steps in one order"}


def test_all_findings_at_once_but_not_without_end() -> None:
    assert convert(None)[1] == {
        "": "an object is expected", "patient/PatientID": "missing", "patient/PatientName": "missing",
        "procedures": "a list with at least one object is expected",
    }  # fmt: skip
    assert len(document.convert({str(n): 1 for n in range(5000)}, ()).findings) == 100


MANY = {f"X{number}": 1 for number in range(70_000)}
FEW = [{"Modality": "CT"}] * 70_000


@pytest.mark.parametrize(
    ("path", "value", "where", "text"),
    [
        ("patient", {**order()["patient"], **MANY}, "patient", "at most 500 attributes"),
        ("procedures/0/steps", [MANY], STEP, "at most 500 attributes"),
        ("request/OrderPlacerIdentifierSequence", [MANY], "request/OrderPlacerIdentifierSequence/0",
         "at most 500 attributes"),
        ("procedures/0/steps", FEW, "procedures/0/steps", "at most 256 steps in one order"),
        ("procedures", order()["procedures"] * 70_000, "procedures", "at most 256 procedures in one order"),
    ],
)  # fmt: skip
def test_what_there_is_too_much_of_is_not_read_one_by_one(path: str, value: Any, where: str, text: str) -> None:
    """70,000 unknown attributes took 6 s of a thread, and as many procedures of a lenient document too."""
    many = changed(path, value)
    for read in (document.convert, leniency.convert):
        found = {finding.location: finding.text for finding in read(many, MODALITIES).findings}
        assert found.get(where) == text
        assert len(found) < 10


def test_the_path_of_a_finding_is_short() -> None:
    (finding,) = document.convert(changed("visit/" + "X" * 100_000, 1), MODALITIES).findings
    assert len(finding.location) == document.PATH


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.sampled_from(sorted({*FIELDS["step"], *FIELDS["patient"], "steps", "x"})), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(
    st.fixed_dictionaries({"patient": ANY, "visit": ANY, "request": ANY, "procedures": st.lists(ANY, max_size=3) | ANY})
    | ANY
)
def test_nothing_makes_it_fail_and_no_text_holds_a_value(given: Any) -> None:
    made = document.convert(given, MODALITIES)
    texts = {finding.text for finding in made.findings}
    assert all(text.isascii() for text in texts)
    assert isinstance(made.changes[0], OrderChange)
    assert all(isinstance(finding, Finding) for finding in made.findings)


def test_documents_hold_what_the_worklist_and_the_mapping_know() -> None:
    sections = {name: set(fields) for name, fields in FIELDS.items()}
    top = set.union(*(keywords for name, keywords in sections.items() if name != "step"))
    assert sum(map(len, sections.values())) == len(top | sections["step"])  # a keyword stands in one section
    known = {one.keyword: {child.keyword for child in one.children.values()} for one in WORKLIST.values()}
    assert top == {*known} - {STEP_SEQUENCE}
    assert sections["step"] == known[STEP_SEQUENCE]
    sections["appointment"] = sections["procedure"] | sections["step"]  # it changes these, and finds them by these
    for name, mapped in built_in().sections.items():
        assert {attribute.keyword for attribute in mapped} <= sections[name], name
    assert set(attributes.SECTIONS) == set(FIELDS)


def test_the_schema_has_every_attribute_and_every_rule() -> None:
    found = schema.order()
    json.dumps(found)
    below = found["properties"]["procedures"]["items"]
    step = below["properties"]["steps"]["items"]
    for name, shown in (("patient", found["properties"]["patient"]), ("procedure", below), ("step", step)):
        assert set(FIELDS[name]) <= set(shown["properties"]), name
        assert shown["additionalProperties"] is False
    assert step["properties"]["Modality"]["examples"] == sorted(MODALITIES)
    assert step["properties"][STATUS]["readOnly"]
    assert below["properties"]["RequestedProcedureCodeSequence"]["items"]["properties"]["CodeValue"]["maxLength"] == 16
    assert found["properties"]["patient"]["properties"]["PatientBirthDate"]["pattern"].startswith("^$|")


@pytest.mark.parametrize("vr", sorted(PATTERNS))
def test_patterns_of_the_schema_are_those_that_are_checked(vr: str) -> None:
    field = validity.Field("EthnicGroup", vr, False, {})
    assert PATTERNS[vr] in schema.attribute(field)["pattern"]


def test_procedures_beyond_the_limit_are_not_left_out_in_silence() -> None:
    found = order()
    found["procedures"] = [
        {"RequestedProcedureID": f"R{n}", "RequestedProcedureDescription": "x", "steps": [{"Modality": "CT"}]}
        for n in range(257)
    ]
    assert convert(found)[1] == {"procedures": "at most 256 procedures in one order"}


def test_a_name_that_no_text_can_hold_is_told_without_it() -> None:
    found = order()
    found["patient"]["\ud800"] = found["\ud800"] = 1
    assert {"?", "patient/?"} <= convert(found)[1].keys()
