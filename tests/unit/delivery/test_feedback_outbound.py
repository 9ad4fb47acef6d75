"""Messages to a RIS: read back by our own reader and by hl7apy, whatever stands in the order (HL-20, outbound)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hl7apy.parser import parse_message
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.delivery.feedback.outbound import NotInCharset, SendingParty, build
from broker.hl7.message import Message, parse
from broker.model.order import EntityId, Order, Patient, Procedure, Step
from broker.orders.core import names
from broker.orders.telling.feedback import Notice, OrderEvent
from broker.site.nodes import Node, parse_nodes

ZONE = ZoneInfo("Europe/Paris")
AT = datetime(2026, 3, 12, 9, 34, 12, tzinfo=UTC).timestamp()
KINDS = [
    ("ORM^O01", "2.3.1"), ("ORM^O01", "2.5.1"), ("ORU^R01", "2.3.1"), ("ORU^R01", "2.5.1"), ("OMG^O19", "2.5.1"),
    ("OMI^O23", "2.5.1"),
]  # fmt: skip
# everything that means something to HL7, MLLP or a character set
nasty = st.text(st.sampled_from('|^~&\\\r\n\x0b\x1c\0\t "XEFST.brHN0D=ÄЖ山ｱ\u202e\U0001f600'), max_size=24)


def node(message: str, version: str, charset: str = "UNICODE UTF-8") -> Node:
    feedback = {"message": message, "version": version, "charset": charset}
    table = {"name": "r", "kind": "hl7", "application": "RIS", "host": "h", "port": 1, "roles": ["ris"]}
    return parse_nodes([table | {"feedback": feedback}])[0]


def order(**more: Any) -> Order:
    """An order with the same text in every free place."""
    text, number = more.get("text", "Thorax"), more.get("number", "A1")
    code = {"CodeValue": text, "CodingSchemeDesignator": text, "CodeMeaning": text}
    patient = Patient(1, number, number, {"PatientName": more.get("name", "ROE^RICHARD"), "PatientSex": "M"})
    step = Step(1, number, 0, "STARTED", {
        "Modality": "CT", "ScheduledStationName": [text], "ScheduledProcedureStepLocation": text,
        "ScheduledStationAETitle": ["CT01"], "ScheduledProtocolCodeSequence": [code, code],
    })  # fmt: skip
    procedure = Procedure(1, number, "2.999.1", {"RequestedProcedureCodeSequence": [code]}, (step,))
    attributes = {"AdmissionID": number, "RouteOfAdmissions": "I"}
    return Order(1, patient, EntityId(number, number), EntityId("F1", number), number, attributes, (procedure,))


def notice(event: OrderEvent = OrderEvent.COMPLETED) -> Notice:
    return Notice(order=1, event=event, status="CM", result="R", control_id="BRK0", at=AT, began=AT - 60, ended=AT)


def told(order_: Order, node_: Node, notice_: Notice | None = None) -> bytes:
    return build(order_, notice_ or notice(), node_, SendingParty("BROKER", "RAD"), ZONE)


def clean(text: str) -> str:
    """A value as it may stand in a message: without control characters and padding."""
    return "".join(c for c in text if ord(c) >= 32 and not 127 <= ord(c) < 160).strip(" ")


@settings(max_examples=25, deadline=None)
@given(text=nasty, number=nasty.filter(lambda text: bool(clean(text))), kind=st.sampled_from(KINDS))
def test_no_value_begins_a_component_a_field_or_a_segment(text: str, number: str, kind: tuple[str, str]) -> None:
    plain = told(order(), node(*kind))
    raw = told(order(text=text, number=number), node(*kind))
    assert [line[:4] for line in raw.split(b"\r")] == [line[:4] for line in plain.split(b"\r")]
    assert not set(raw) & set(b"\x0b\x1c\0\n")
    message = parse(raw)
    assert [segment.name for segment in message] == [segment.name for segment in parse(plain)]
    for path in ("ORC-2.1", "ORC-2.2", "OBR-2.1", "OBR-18.1", "OBR-19.1", "PID-3.1", "PID-3.4.1", "PV1-19.1"):
        assert message.get(path).strip(" ") == clean(number), path
    for path in ("OBR-4.1", "OBR-4.2"):
        assert message.get(path).strip(" ") == clean(text), path
    if kind[0] == "OMI^O23":
        assert [message.get(f"IPC-6[{n}].2").strip(" ") for n in (1, 2, 3)] == [clean(text), clean(text), ""]
        assert message.get("IPC-9") == "CT01"
    assert message.get("ORC-5") == "CM"


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.text("aZßЖ&|~'-.,", max_size=8), min_size=5, max_size=5),
    st.lists(st.text("山田太郎", max_size=4), min_size=5, max_size=5),
)
def test_a_name_goes_out_as_it_would_come_in(latin: list[str], kanji: list[str]) -> None:
    name = "=".join(group for group in ("^".join(latin).rstrip("^"), "^".join(kanji).rstrip("^"))).rstrip("=")
    pid = parse(told(order(name=name), node("OMG^O19", "2.5.1"))).all("PID")[0]
    assert names.from_xpn(pid.repetitions(5)).text == name


@pytest.mark.parametrize(("message", "version"), KINDS)
def test_hl7apy_reads_what_it_wrote_and_finds_it_valid(message: str, version: str) -> None:
    """Its tables know a choice of ORM only as a sequence of all: ORM cannot be valid for them."""
    text = told(order(), node(message, version)).decode()
    # with groups it loses Z segments, which its tables do not have
    parsed = parse_message(text, find_groups=not message.startswith("ORM"))
    assert parsed.name == message.replace("^", "_")
    assert parsed.to_er7() + "\r" == text
    if not message.startswith("ORM"):
        parsed.validate()


@pytest.mark.parametrize(
    ("event", "reason", "study"),
    [
        (OrderEvent.ARRIVED, "ARRIVED", ""), (OrderEvent.STARTED, "", ""), (OrderEvent.PARTIAL, "", "2.999.1"),
        (OrderEvent.COMPLETED, "", "2.999.1"), (OrderEvent.CANCELLED, "", ""), (OrderEvent.IMAGES, "IMAGES", "2.999.1"),
    ],
)  # fmt: skip
def test_reason_and_study_by_event(event: OrderEvent, reason: str, study: str) -> None:
    message = parse(told(order(), node("OMG^O19", "2.5.1"), notice(event)))
    assert (message.get("ORC-16.1"), message.get("OBX-5")) == (reason, study)


@pytest.mark.parametrize("charset", ["8859/1", "", "ISO IR87", "8859/15"])
def test_an_identifier_is_never_replaced(charset: str) -> None:
    with pytest.raises(NotInCharset):
        told(order(number="ą7"), node("ORM^O01", "2.3.1", charset))
    assert told(order(text="ą7"), node("ORM^O01", "2.3.1", charset))


def test_the_same_notice_makes_the_same_bytes() -> None:
    assert told(order(), node("OMG^O19", "2.5.1")) == told(order(), node("OMG^O19", "2.5.1"))


def test_times_are_those_of_the_site() -> None:
    message: Message = parse(told(order(), node("OMG^O19", "2.5.1")))
    assert message.get("MSH-7") == "20260312103412+0100"
    assert (message.get("ORC-9"), message.get("OBR-7"), message.get("OBR-8")) == (
        "20260312103412", "20260312103312", "20260312103412",
    )  # fmt: skip


def test_kanji_stand_between_escapes_of_the_declared_set_alone() -> None:
    raw = told(order(name="YAMADA^TARO=山田^太郎", text="頭部 é"), node("OMI^O23", "2.5.1", "~ISO IR87"))
    assert raw.isascii()
    assert b"|~ISO IR87||ISO 2022-1994\r" in raw
    assert b"~\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B^^^^^L^I" in raw
    assert b"\x1b." not in raw  # no other set
    assert parse(raw).get("OBR-4.2") == "頭部 ?"
