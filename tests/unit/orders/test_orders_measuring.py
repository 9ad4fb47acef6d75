"""Measurements of the patient from OBX: numbers, units, limits, and why one is left out."""

from __future__ import annotations

from typing import Any

import pytest
from support.orders.intake import ZONE

from broker.hl7.message import Segments, parse
from broker.orders.inbound.doubts import Doubts, Findings, quoted
from broker.orders.inbound.measuring import measured
from broker.orders.inbound.reader import Reader
from broker.orders.mapping.book import built_in

MEASURES = built_in().measures


def obx(value: str, unit: str, code: str = "29463-7^Body weight^LN", status: str = "F") -> str:
    return f"OBX|1|NM|{code}||{value}|{unit}|||||{status}"


def weighed(*segments: str, keyword: str = "PatientWeight") -> tuple[str | None, list[str]]:
    message = parse("\r".join(("MSH|^~\\&|A", *segments)).encode())
    found = measured(message.all("OBX"), MEASURES[keyword])
    return found.value, [text.rpartition(": ")[2] for _, text in found.doubts]


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        ("62.5", "kg", "62.5"), ("62,5", "kg", "62.5"), ("62,5", "KG", "62.5"), ("3250", "g", "3.25"),
        ("3,250", "g", "3.25"), ("3.250", "g", "3.25"), ("3,250", "kg", "3.25"), ("154", "lb", "69.8532"),
        ("154", "lbs", "69.8532"), ("=^62.5", "kg", "62.5"), ("^62.5", "kg", "62.5"), ('""', "", ""), ("", "kg", None),
        (" 62 ", "kg^kilogram^UCUM", "62"),
    ],
)  # fmt: skip
def test_weights(value: str, unit: str, expected: str | None) -> None:
    assert weighed(obx(value, unit)) == (expected, [])


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [("190", "cm", "1.9"), ("1900", "mm", "1.9"), ("1,90", "m", "1.9"), ("71", "in", "1.8034"),
     ("71", "[in_i]", "1.8034")],
)  # fmt: skip
def test_sizes(value: str, unit: str, expected: str) -> None:
    assert weighed(obx(value, unit, "8302-2^Body height^LN"), keyword="PatientSize") == (expected, [])


@pytest.mark.parametrize(
    ("value", "unit", "status", "why"),
    [
        ("62", "", "F", "it has no unit"), ("9", "st", "F", "its unit is not in the mapping"),
        ("heavy", "kg", "F", "it is no number"), ("5'11\"", "kg", "F", "it is no number"),
        ("1e3", "kg", "F", "it is no number"),
        ("-5", "kg", "F", "it is no number"), ("0", "kg", "F", "it is not plausible"),
        ("900", "kg", "F", "it is not plausible"),
        (">^150", "kg", "F", "it is no single number"), ("^60^-^70", "kg", "F", "it is no single number"),
        ("1,234", "lb", "F", "its separator may be one of decimals or of thousands"),
        ("62", "kg", "W", "its status says that it is withdrawn"),
    ],
)  # fmt: skip
def test_what_cannot_be_used(value: str, unit: str, status: str, why: str) -> None:
    assert weighed(obx(value, unit, status=status)) == (None, [why])


def test_the_first_usable_one_counts() -> None:
    assert weighed(obx("?", "kg"), obx("70", "kg"), obx("70", "kg"))[0] == "70"
    value, doubts = weighed(obx("70", "kg"), obx("72", "kg"))
    assert value == "70"
    assert doubts == ["Only the first of several measurements is used"]


def test_a_code_may_stand_in_the_second_triplet() -> None:
    assert weighed(obx("70", "kg", "W1^Gewicht^L^29463-7^Body weight^LN")) == ("70", [])


def test_a_withdrawn_value_leaves_the_known_one() -> None:
    message = parse(("MSH|^~\\&|A\rPID|||1\r" + obx("70", "kg", status="W")).encode())
    findings = Findings()
    patient = Reader(message, built_in(), ZONE, findings).section("patient")
    assert "PatientWeight" not in patient
    assert [finding.location for finding in findings.all()] == ["OBX^1^5"]


@pytest.mark.parametrize(
    ("keyword", "text", "told"),
    [
        ("Modality", "QQ", ' "QQ"'), ("PatientSex", "X", ""), ("PatientName", "DOE", ""), ("AccessionNumber", "A1", ""),
        ("Modality", " ", ""), ("StudyInstanceUID", "1." * 40, f' "{"1." * 16}…"'), ("Modality", 'Ü"', ' "??"'),
    ],
)  # fmt: skip
def test_only_what_says_nothing_about_a_patient_is_quoted(keyword: str, text: str, told: str) -> None:
    assert quoted(keyword, text) == told


def test_a_code_that_one_attribute_knows_is_no_doubt() -> None:
    findings = Findings()
    doubts = Doubts(findings)
    doubts.unknown("PV1^1^15", "PregnancyStatus", "A1")
    doubts.unknown("PV1^1^15", "SpecialNeeds", "ZZ")
    doubts.known("PV1^1^15", "a1")
    doubts.close()
    assert [(finding.location, finding.code) for finding in findings.all()] == [("PV1^1^15", "103")]


def test_an_empty_view_gives_nothing() -> None:
    findings = Findings()
    values: dict[str, Any] = Reader(Segments([]), built_in(), ZONE, findings).section("visit")
    assert (values, findings.all()) == ({}, ())
