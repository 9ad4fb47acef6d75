"""Audit rows become messages that follow the schema of PS3.15 A.5.1 and the tables of A.5.3."""

from __future__ import annotations

import ast
import base64
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.audit.schema import checked
from support.tree import modules

from broker.audit.messages import meaning as meanings
from broker.audit.messages.syslog import framed, syslog
from broker.audit.messages.xml import Reporter, build
from broker.model.audit import AuditContext, AuditedPatient, AuditRecord

REPORTER = Reporter(host="broker-1.example", ae_title="BROKER", zone=ZoneInfo("Europe/Zurich"))
PATIENT = AuditedPatient(number="P1", issuer="SITE", name="Roe^Richard")
CONTEXT = AuditContext(patient=PATIENT, studies=("2.25.1",), accessions=("A1",))


def row(action: str, kind: str = "order", object_id: int = 17, **more: Any) -> AuditRecord:
    values: dict[str, Any] = {"actor": "user:anna", "address": "10.0.0.5", "detail": {}, **more}
    return AuditRecord(at=1773300000.5, action=action, kind=kind, object_id=object_id, row=4711, **values)


def told(record: AuditRecord, context: AuditContext = CONTEXT, reporter: Reporter = REPORTER) -> Element:
    return checked(build(record, context, reporter))


def code(element: Element | None) -> tuple[str | None, str | None]:
    assert element is not None
    return element.get("csd-code"), element.get("codeSystemName")


# row: event, its type, action, outcome
TABLE = [
    ("service.started", "service", "110100", "110120", "E", "0"),
    ("service.stopped", "service", "110100", "110121", "E", "0"),
    ("audit.listed", "audit", "110101", None, "R", "0"),
    ("audit.exported", "audit", "110101", None, "R", "0"),
    ("audit.thinned", "audit", "110101", None, "R", "0"),
    ("job.discarded", "job", "110103", None, "D", "0"),
    ("job.released", "job", "110103", None, "U", "0"),
    ("objects.adopted", "objects", "110103", None, "U", "0"),
    ("objects.received", "study", "110104", None, "C", "0"),
    ("objects.purged", "objects", "110103", None, "D", "0"),
    ("objects.thinned", "objects", "110103", None, "D", "0"),
    ("message.thinned", "message", "110110", None, "D", "0"),
    ("study.thinned", "study", "110103", None, "D", "0"),
    ("objects.sent", "study", "110104", None, "C", "0"),
    ("order.created", "order", "110109", None, "C", "0"),
    ("order.updated", "order", "110109", None, "U", "0"),
    ("order.canceled", "order", "110109", None, "D", "0"),
    ("order.viewed", "order", "110109", None, "R", "0"),
    ("order.explained", "order", "110109", None, "R", "0"),
    ("order.refused", "order", "110109", None, "U", "4"),
    ("patient.created", "patient", "110110", None, "C", "0"),
    ("patient.merged", "patient", "110110", None, "U", "0"),
    ("message.viewed", "message", "110110", None, "R", "0"),
    ("visit.changed", "visit", "110110", None, "U", "0"),
    ("mpps.create", "mpps", "110111", None, "C", "0"),
    ("mpps.set", "mpps", "110111", None, "U", "0"),
    ("mpps.viewed", "mpps", "110111", None, "R", "0"),
    ("step.no-show", "order", "110111", None, "U", "0"),
    ("appointment.booked", "order", "110111", None, "U", "0"),
    ("order.listed", "order", "110112", None, "E", "0"),
    ("worklist.queried", "worklist", "110112", None, "E", "0"),
    ("device.refused", "device", "110113", "110126", "E", "8"),
    ("nodes.published", "nodes", "110113", "110128", "E", "0"),
    ("rules.published", "rules", "110113", "110131", "E", "0"),
    ("mapping.published", "mapping", "110113", "110131", "E", "0"),
    ("token.made", "token", "110113", "110137", "E", "0"),
    ("user.changed", "user", "110113", "110137", "E", "0"),
    ("user.signed_in", "user", "110114", "110122", "E", "0"),
    ("user.signed_out", "user", "110114", "110123", "E", "0"),
    ("user.sign_in_refused", "user", "110114", "110122", "E", "8"),
    ("something.new", "thing", "110113", "110131", "E", "0"),
]


@pytest.mark.parametrize(("action", "kind", "event", "of_type", "code_of_action", "outcome"), TABLE)
def test_each_row_becomes_the_message_of_the_standard(
    action: str, kind: str, event: str, of_type: str | None, code_of_action: str, outcome: str
) -> None:
    root = told(row(action, kind))
    said = root.find("EventIdentification")
    assert said is not None
    assert code(said.find("EventID")) == (event, "DCM")
    assert (code(said.find("EventTypeCode"))[0] if of_type else said.find("EventTypeCode")) == of_type
    assert (said.get("EventActionCode"), said.get("EventOutcomeIndicator")) == (code_of_action, outcome)
    assert said.get("EventDateTime") == "2026-03-12T08:20:00.500+01:00"


def test_an_order_names_person_patient_and_study() -> None:
    root = told(row("order.viewed"))
    person, ours = root.findall("ActiveParticipant")
    assert dict(person.attrib) == {
        "UserID": "user:anna", "UserIsRequestor": "true", "NetworkAccessPointID": "10.0.0.5",
        "NetworkAccessPointTypeCode": "2",
    }  # fmt: skip
    assert (ours.get("AlternativeUserID"), ours.get("NetworkAccessPointTypeCode")) == ("AETITLES=BROKER", "1")
    study, patient = root.findall("ParticipantObjectIdentification")
    assert code(study.find("ParticipantObjectIDTypeCode")) == ("110180", "DCM")
    assert study.get("ParticipantObjectID") == "2.25.1"
    accession = study.find("ParticipantObjectDescription/Accession")
    assert accession is not None
    assert accession.get("Number") == "A1"
    details = {one.get("type"): base64.b64decode(one.get("value", "")) for one in study.iter("ParticipantObjectDetail")}
    assert details == {"audit-row": b"4711", "action": b"order.viewed"}
    assert (patient.get("ParticipantObjectID"), patient.findtext("ParticipantObjectName")) == ("P1^^^SITE", "")
    assert (patient.get("ParticipantObjectTypeCode"), patient.get("ParticipantObjectTypeCodeRole")) == ("1", "1")


def test_names_of_patients_are_told_only_where_they_are_wanted() -> None:
    wanted = Reporter(host="h", ae_title="B", zone=REPORTER.zone, names=True)
    assert b"Roe" not in build(row("order.viewed"), CONTEXT, REPORTER)
    assert b"Roe^Richard" in build(row("order.viewed"), CONTEXT, wanted)


def test_a_query_holds_what_was_asked_and_its_roles() -> None:
    record = row("worklist.queried", "worklist", 0, actor="dicom:CT01", detail={"keys": {"Modality": "CT"}})
    root = told(record, AuditContext())
    device, ours = root.findall("ActiveParticipant")
    assert device.get("AlternativeUserID") == "AETITLES=CT01"
    assert [code(one.find("RoleIDCode"))[0] for one in (device, ours)] == ["110153", "110152"]
    (asked,) = root.findall("ParticipantObjectIdentification")
    assert asked.get("ParticipantObjectID") == "1.2.840.10008.5.1.4.31"
    assert b'"Modality": "CT"' in base64.b64decode(asked.findtext("ParticipantObjectQuery") or "")


def test_the_older_form_of_codes() -> None:
    text = build(row("order.viewed"), CONTEXT, Reporter(host="h", ae_title="B", zone=REPORTER.zone, csd=False))
    assert b"csd-code" not in text
    assert b'<EventID code="110109" codeSystemName="DCM"' in text


@given(
    st.text(max_size=30), st.text(max_size=30), st.text(max_size=20), st.text(max_size=20),
    st.dictionaries(st.text(max_size=5), st.text(max_size=5) | st.integers() | st.none(), max_size=3),
    st.sampled_from([action for action, *_ in TABLE]),
)  # fmt: skip
def test_hostile_values_stay_values(
    actor: str, address: str, number: str, name: str, detail: dict[str, Any], action: str
) -> None:
    """Whatever stands in a row or a patient: the message is XML that follows the schema, token or not."""
    patient = AuditedPatient(number=number, issuer=name, name=name)
    wanted = Reporter(host="h", ae_title="B", zone=REPORTER.zone, names=True)
    record = row(action, action.partition(".")[0], actor=actor, address=address, detail=detail)
    message = build(record, AuditContext(patient=patient, studies=(number,), accessions=(name,)), wanted)
    assert checked_loosely(message).tag == "AuditMessage"
    assert b"\n" not in syslog(message, record.at, "h\nost", "X").partition(b"\xef\xbb\xbf")[0]


def checked_loosely(message: bytes) -> Element:
    """As `checked`, but blanks of a token count: a reader of XML takes them away."""
    from support.audit import schema

    kept = {tag: ({n: k.replace("token", "text") for n, k in a.items()}, c) for tag, (a, c) in schema.ELEMENTS.items()}
    original = dict(schema.ELEMENTS)
    schema.ELEMENTS.update(kept)
    try:
        return checked(message)
    finally:
        schema.ELEMENTS.update(original)


def test_the_envelope() -> None:
    message = syslog(b"<AuditMessage/>", 1773300000.25, "hôst name", "IHE+RFC-3881")
    head, bom, body = message.partition(b"\xef\xbb\xbf")
    assert head.startswith(b"<85>1 2026-03-12T07:20:00.250Z h-st-name worklist-broker ")
    assert head.endswith(b" IHE+RFC-3881 - ")
    assert (bom, body) == (b"\xef\xbb\xbf", b"<AuditMessage/>")
    assert framed(message).split(b" ", 1) == [str(len(message)).encode(), message]


def actions() -> set[str]:
    """Actions of the audit trail as the program spells them; of f-strings their beginning."""
    calls = {"add_audit": 3, "audit": 2, "AuditEntry": 0, "Audited": 0}
    found: set[str] = set()
    for path in modules():
        for node in ast.walk(ast.parse(Path(path).read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            place = calls.get(name)
            if place is None or len(node.args) <= place:
                continue
            given_ = node.args[place]
            if isinstance(given_, ast.Constant):
                found.add(str(given_.value))
            elif isinstance(given_, ast.JoinedStr) and isinstance(given_.values[0], ast.Constant):
                found.add(str(given_.values[0].value) + "x")
    return found


def test_every_action_of_the_program_has_a_message() -> None:
    found = actions()
    assert len(found) > 20
    assert {action for action in found if not meanings.known(action)} == set()
