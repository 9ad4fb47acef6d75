"""Each ADT event: which changes it comes to, and what is refused before any database is asked."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest

from broker.hl7 import work
from broker.hl7.message import parse
from broker.model.order import EntityId, Order, Patient
from broker.orders.core import patients
from broker.orders.core.patients import (
    AdtEvent,
    IdentifierChange,
    Merge,
    PatientArrival,
    PatientUpdate,
    VisitChange,
    VisitMove,
    is_retired,
    older,
    redirected,
)
from broker.orders.core.values import Conversion, PatientChange
from broker.orders.inbound import adt
from broker.orders.inbound.reception import CONVERTERS
from broker.orders.mapping import data_types
from broker.orders.mapping.book import built_in

ZONE = ZoneInfo("Europe/Zurich")
EVN = "EVN||20260312080000"
PID = "PID|1||P1^^^SITE^MR||ROE^RICHARD||19710102|M"
PV1 = "PV1|1|I|CARD^204^A|||||77^HOUSE^GREG|||||||A2||||V1^^^SITE"
MRG = "MRG|TMP1^^^SITE"


def converted(trigger: str, *segments: str, sent: str = "20260312080500") -> Conversion:
    lines = [f"MSH|^~\\&|ADT|SITE|BROKER|RAD|{sent}||ADT^{trigger}|1|P|2.5", *segments]
    return adt.convert(parse("\r".join(lines).encode()), built_in(), ZONE)


def errors(conversion: Conversion) -> list[tuple[str, str]]:
    return [(finding.location, finding.code) for finding in conversion.findings if finding.is_error]


def test_the_events_that_are_taken() -> None:
    assert set(CONVERTERS["ADT"]) == {
        "A01", "A02", "A03", "A04", "A05", "A06", "A07", "A08", "A10", "A11", "A12", "A13", "A28", "A31", "A34", "A40",
        "A45", "A47",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("trigger", "state"),
    [
        ("A01", "open"), ("A04", "open"), ("A05", "open"), ("A28", "open"), ("A13", "open"), ("A03", "closed"),
        ("A11", "canceled"), ("A02", None), ("A12", None), ("A06", None), ("A07", None), ("A08", None),
    ],
)  # fmt: skip
def test_events_of_a_visit(trigger: str, state: str | None) -> None:
    made = converted(trigger, EVN, PID, PV1)
    update, visit = made.changes
    assert made.findings == ()
    assert isinstance(update, PatientUpdate)
    assert isinstance(visit, VisitChange)
    assert (update.patient.patient_id, update.patient.issuer) == ("P1", "SITE")
    assert update.patient.attributes["PatientName"] == "ROE^RICHARD"
    assert update.event == visit.event == AdtEvent(trigger, "ADT|SITE", "20260312070000")
    assert (visit.patient, visit.number, visit.state) == (EntityId("P1", "SITE"), EntityId("V1", "SITE"), state)
    assert visit.attributes["CurrentPatientLocation"] == "CARD^204^A"
    assert visit.attributes["RouteOfAdmissions"] == "I"
    assert visit.attributes["SpecialNeeds"] == "Wheelchair bound"
    assert "PregnancyStatus" not in visit.attributes  # A2 says nothing of it
    assert update.names() == visit.names() == ("patient|P1",)


def test_a31_has_no_visit() -> None:
    (update,) = converted("A31", EVN, PID, PV1.replace("CARD", "x" * 200), "AL1|1|DA|IOD^Iodine").changes
    assert isinstance(update, PatientUpdate)
    assert update.patient.attributes["Allergies"] == ["Iodine"]
    assert "CurrentPatientLocation" not in update.patient.attributes


@pytest.mark.parametrize("pv1", ["PV1|1|N", ""])
def test_a_person_without_a_visit(pv1: str) -> None:
    for trigger in ("A28", "A08", "A04"):
        assert [type(change) for change in converted(trigger, EVN, PID, *filter(None, [pv1])).changes] == [
            PatientUpdate
        ]


@pytest.mark.parametrize("trigger", ["A02", "A03", "A11", "A12", "A13"])
def test_events_about_nothing_but_a_visit_need_one(trigger: str) -> None:
    assert errors(converted(trigger, EVN, PID)) == [("PV1^1", "101")]


def test_arrival() -> None:
    update, arrival = converted("A10", EVN, PID, PV1).changes
    assert isinstance(update, PatientUpdate)
    assert isinstance(arrival, PatientArrival)
    assert (arrival.patient, arrival.number) == (EntityId("P1", "SITE"), EntityId("V1", "SITE"))
    assert arrival.event.cause == "adt:A10"


@pytest.mark.parametrize(("trigger", "kind"), [("A40", Merge), ("A34", Merge), ("A47", IdentifierChange)])
def test_one_pair(trigger: str, kind: type) -> None:
    made = converted(trigger, EVN, PID, MRG)
    (change,) = made.changes
    assert made.findings == ()
    assert type(change) is kind
    assert change.prior == EntityId("TMP1", "SITE")
    assert change.names() == ("patient|P1", "patient|TMP1")


def test_several_pairs_and_several_prior_identifiers() -> None:
    second = PID.replace("P1^", "P2^")
    made = converted("A40", EVN, PID, "PD1", "MRG|T1^^^SITE~INS^^^NIR~T2^^^SITE", PV1, second, "MRG|T3")
    assert [(c.patient.patient_id, c.prior) for c in made.changes if isinstance(c, Merge)] == [
        ("P1", EntityId("T1", "SITE")), ("P1", EntityId("T2", "SITE")), ("P2", EntityId("T3")),
    ]  # fmt: skip
    assert made.findings == ()
    assert [c.location for c in made.changes if isinstance(c, Merge)] == ["MRG^1^1", "MRG^1^1", "MRG^2^1"]


@pytest.mark.parametrize(
    ("mrg", "found"),
    [
        ("MRG|P1^^^SITE", [("MRG^1^1", "205")]), ("MRG|P1", [("MRG^1^1", "205")]),
        ("MRG|T1^^^OTHER", [("MRG^1^1", "205")]), ("MRG|", [("MRG^1^1", "101")]), ('MRG|""', [("MRG^1^1", "101")]),
        ("MRG|" + "9" * 65 + "^^^SITE", [("MRG^1^1", "102"), ("MRG^1^1", "101")]), ("NTE|1", [("PID^1^3", "101")]),
    ],
)  # fmt: skip
def test_merges_that_cannot_be(mrg: str, found: list[tuple[str, str]]) -> None:
    assert errors(converted("A40", EVN, PID, mrg)) == found


def test_an_identifier_may_change_its_authority() -> None:
    (change,) = converted("A47", EVN, PID, "MRG|P1^^^OTHER").changes
    assert isinstance(change, IdentifierChange)
    assert change.prior == EntityId("P1", "OTHER")


def test_the_move_of_a_visit() -> None:
    made = converted("A45", EVN, PID, "MRG|P9||||V9^^^SITE", PV1, "MRG|P8^^^SITE||||V8")
    update, first, second = made.changes
    assert isinstance(update, PatientUpdate)
    assert isinstance(first, VisitMove)
    assert (first.patient, first.prior) == (EntityId("P1", "SITE"), EntityId("P9", "SITE"))
    assert (first.prior_number, first.number) == (EntityId("V9", "SITE"), EntityId("V1", "SITE"))
    assert first.attributes["CurrentPatientLocation"] == "CARD^204^A"
    assert isinstance(second, VisitMove)
    assert (second.prior_number, second.number) == (EntityId("V8"), EntityId())
    assert second.names() == ("patient|P1", "patient|P8")
    assert errors(converted("A45", EVN, PID, "MRG|P9")) == [("MRG^1^5", "101")]
    assert errors(converted("A45", EVN, PID)) == [("MRG^1", "101")]


def test_patients_that_cannot_be() -> None:
    assert errors(converted("A08", EVN, "PID|||^^^SITE||ROE")) == [("PID^1^3", "101")]
    assert errors(converted("A08", EVN, 'PID|||P1||""')) == [("PID^1^5", "101")]
    assert errors(converted("A08", EVN, PID, PID)) == [("PID^2", "100")]
    assert errors(converted("A08", EVN, PID.replace("19710102", "19710231"))) == []
    assert errors(converted("A40", EVN)) == [("PID^1", "101")]
    assert errors(converted("A08", EVN, "PID|||P1")) == []  # known by its identifier, or refused by the story


@pytest.mark.parametrize(
    ("evn", "sent", "at"),
    [
        ("EVN||20260312080000||||20260312070000", "20260312080500", "20260312070000"),
        ("EVN||||||20260312070000", "202603120805+0100", "202603120705"),
        ("EVN||||||20260312070000", "20260312", "20260312060000"), ("NTE|1", "20260312", ""),
    ],
)  # fmt: skip
def test_when_an_event_was_recorded(evn: str, sent: str, at: str) -> None:
    (update,) = converted("A31", evn, PID, sent=sent).changes
    assert isinstance(update, PatientUpdate)
    assert update.event.at == at


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("20260312103000", "20260312093000"), ("202603121030", "202603120930"), ("2026031210", ""), ("20260312", ""),
        ("20260312103000.5+0100", "20260312093000"), ("20260312233000-0500", "20260313043000"),
        ("20261025023000", ""), ("20261025023000+0200", "20261025003000"), ("20261025023000+0100", "20261025013000"),
        ("20260329023000", ""), ("99991231235959-0100", ""), ("00010101000000+0100", ""), ("20260231100000", ""),
        ("x", ""), ("", ""), ("20260312103000+9999", ""),
    ],
)  # fmt: skip
def test_instants(text: str, expected: str) -> None:
    assert data_types.instant(text, ZONE) == expected


def test_older_means_certainly_older() -> None:
    assert older("20260312080000", "20260312080001")
    assert older("202603120800", "20260312080100")
    assert not older("202603120800", "20260312080059")
    assert not older("20260312080059", "202603120800")
    assert not older("20260312080000", "20260312080000")
    assert not older("", "20260312080000")
    assert not older("20260312080000", "")


PATIENT = Patient(1, "P1", "SITE", {"PatientName": "ROE^RICHARD"}, (EntityId("T1", "SITE"), EntityId("T2")))


@pytest.mark.parametrize(
    ("number", "issuer", "retired"),
    [
        ("T1", "SITE", True), ("T1", "", True), ("T1", "OTHER", False), ("T2", "ANY", True), ("P1", "SITE", False),
        ("P1", "", False), ("T3", "SITE", False),
    ],
)  # fmt: skip
def test_retired_identifiers(number: str, issuer: str, retired: bool) -> None:
    assert is_retired(PATIENT, EntityId(number, issuer)) is retired
    asked = PatientChange(number, issuer, {"PatientName": "UNKNOWN"})
    change, findings = redirected(asked, PATIENT)
    assert (change == PatientChange("P1", "SITE", {})) is retired
    assert [finding.severity for finding in findings] == ["W"] * retired
    assert redirected(asked, None) == (asked, ())


def test_orders_of_a_visit() -> None:
    first, second, third = (
        Order(row, PATIENT, EntityId(), EntityId(), "", {"AdmissionID": number} if number else {})
        for row, number in ((1, "V1"), (2, ""), (3, "V3"))
    )
    assert patients.of_visit([first, second, third], "V1") == [first]
    assert patients.of_visit([first, second, third], "V2") == [second]
    assert patients.of_visit([first, second, third], "") == [second]


@pytest.mark.parametrize("field", ["PID-3", "MRG-1"])
def test_more_identifiers_than_a_person_has_are_refused(field: str) -> None:
    """Each of them was read with each: 300 in two kilobytes took half a second."""
    for count, found in ((work.IDENTIFIERS, []), (work.IDENTIFIERS + 1, [(field.replace("-", "^1^"), "102")])):
        many = "~".join(f"{number}^^^SITE" for number in range(count))
        pid, mrg = (PID.replace("P1^^^SITE^MR", many), MRG) if field == "PID-3" else (PID, f"MRG|{many}")
        assert errors(converted("A40", EVN, pid, mrg)) == found
