"""A message by segment and field: names, what became of each field, findings at their place, hostile input."""

from __future__ import annotations

import pytest
from support.orders.journal import order_message

from broker.hl7 import dictionary
from broker.hl7.reply import ToldFinding
from broker.hl7.tolerance import USUAL
from broker.orders.journal import anatomy as taken
from broker.orders.journal.anatomy import Anatomy, FieldUse, FieldView, anatomy
from broker.orders.mapping.book import built_in
from broker.orders.trying.explanation import explain

WRONG = ToldFinding("error", "103", "OBR^1^24", "Table value not found")


def apart(raw: bytes, *findings: ToldFinding) -> Anatomy:
    return anatomy(raw, USUAL, explain(raw, built_in()).parts, findings)


def field(found: Anatomy, segment: str, number: int) -> FieldView:
    (view,) = [one for part in found.segments if part.name == segment for one in part.fields if one.number == number]
    return view


def test_each_field_says_what_it_became() -> None:
    found = apart(order_message(1))
    assert [segment.name for segment in found.segments] == ["MSH", "PID", "ORC", "OBR"]
    name = field(found, "PID", 5)
    assert (name.name, name.text, name.use) == ("Patient Name", "QZname^Anna", FieldUse.MAPPED)
    assert [(one.keyword, one.value) for one in name.became] == [("PatientName", "QZname^Anna")]
    assert [one.keyword for one in field(found, "PID", 3).became] == ["PatientID", "IssuerOfPatientID"]
    assert field(found, "ORC", 1).use is FieldUse.READ
    assert field(found, "OBR", 1).use is FieldUse.UNUSED


def test_findings_stand_at_their_place_and_none_is_lost() -> None:
    absent = ToldFinding("error", "101", "PID^1^11", "Required field missing")
    deep = ToldFinding("warning", "102", "PID^1^5^1^2", "Data type error")
    of_segment = ToldFinding("error", "100", "ORC^1", "Segment sequence error")
    elsewhere = ToldFinding("error", "100", "ZXX^1^1", "Segment sequence error")
    whole = ToldFinding("error", "207", "", "Internal error")
    found = apart(order_message(1), WRONG, absent, deep, of_segment, elsewhere, whole)
    assert field(found, "OBR", 24).findings == (WRONG,)
    assert field(found, "PID", 5).findings == (deep,)
    placed = [one for part in found.segments for one in (*part.findings, *(f for v in part.fields for f in v.findings))]
    assert {*placed, *found.elsewhere} == {WRONG, absent, deep, of_segment, elsewhere, whole}
    assert found.elsewhere == (elsewhere, whole)


def test_an_empty_field_with_a_finding_is_shown() -> None:
    found = apart(order_message(1), ToldFinding("error", "101", "PID^1^2", "Required field missing"))
    assert (field(found, "PID", 2).text, field(found, "PID", 2).use) == ("", FieldUse.UNUSED)


@pytest.mark.parametrize("raw", [b"", b"MSH", b"hello", b"MSH|^~\\&|A\rXX|1\r", b"MSH|^~\\&|A\rMSH|^~\\&|B\r"])
def test_what_is_no_message_is_told(raw: bytes) -> None:
    found = anatomy(raw, USUAL, (), (WRONG,))
    assert found.segments == ()
    assert found.unreadable
    assert found.elsewhere == (WRONG,)


def test_a_message_with_very_many_fields_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taken, "MOST_FIELDS", 20)
    found = apart(order_message(1) + b"".join(b"NTE|%d||%s\r" % (number, b"x" * 9000) for number in range(50)))
    assert found.cut
    assert sum(len(segment.fields) for segment in found.segments) == 20
    assert not apart(order_message(1)[:60] + b"|P|2.5.1\r").cut


@pytest.mark.parametrize(
    ("segment", "number", "name"),
    [
        ("MSH", 10, "Message Control ID"),
        ("MSH", 18, "Character Set"),
        ("PID", 3, "Patient Identifier List"),
        ("PID", 18, "Patient Account Number"),
        ("PV1", 8, "Referring Doctor"),
        ("PV1", 19, "Visit Number"),
        ("PV1", 44, "Admit Date/Time"),
        ("ORC", 12, "Ordering Provider"),
        ("ORC", 28, "Confidentiality Code"),
        ("OBR", 4, "Universal Service Identifier"),
        ("OBR", 24, "Diagnostic Serv Sect ID"),
        ("OBR", 34, "Technician"),
        ("OBR", 36, "Scheduled Date/Time"),
        ("OBR", 44, "Procedure Code"),
        ("OBX", 11, "Observation Result Status"),
        ("TQ1", 9, "Priority"),
        ("IPC", 9, "Scheduled AE Title"),
        ("SCH", 25, "Filler Status Code"),
        ("SCH", 26, "Placer Order Number"),
        ("AIG", 3, "Resource ID"),
        ("MRG", 5, "Prior Visit Number"),
        ("ZXX", 1, ""),
        ("PID", 0, ""),
        ("PID", 400, ""),
    ],
)
def test_hl7_names_of_fields(segment: str, number: int, name: str) -> None:
    """HL7 2.5.1 chapters 2, 3, 4, 7 and 10."""
    assert dictionary.name_of(segment, number) == name


def test_numbers_that_the_broker_writes_are_those_of_the_names() -> None:
    from broker.hl7 import fields

    words = {fields.PID.NAME: "Patient Name", fields.PID.SEX: "Administrative Sex"}
    assert {number: dictionary.name_of("PID", number) for number in words} == words
    assert dictionary.name_of("MSA", fields.MSA.CONTROL_ID) == "Message Control ID"
    assert dictionary.name_of("ERR", fields.ERR.USER_MESSAGE) == "User Message"
