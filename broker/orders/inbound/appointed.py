"""Makes the order that an appointment asks for whose order is not known, as an order message would make it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo

from broker.hl7.findings import Finding
from broker.hl7.message import Message, Segments
from broker.model.order import Document
from broker.orders.core.appointments import Slot
from broker.orders.core.attributes import PROCEDURE, REQUEST, STEP, Table
from broker.orders.core.values import OrderChange, OrderKeys, PatientChange
from broker.orders.inbound import making, order_groups
from broker.orders.inbound.doubts import Findings
from broker.orders.inbound.making import OrderMaker, Where
from broker.orders.inbound.numbers import FILLER, PLACER
from broker.orders.inbound.reader import Reader
from broker.orders.mapping.profile import Profile

_RESOURCES = frozenset({"RGS", "AIS", "AIG", "AIL", "AIP"})
# what the service of an appointment says of the procedure is said of its step too
_PROTOCOL = {
    "ScheduledProcedureStepDescription": "RequestedProcedureDescription",
    "ScheduledProtocolCodeSequence": "RequestedProcedureCodeSequence",
}


@dataclass(frozen=True, slots=True)
class ScheduleReading:
    """What all parts of a scheduling message are read with."""

    message: Message
    profile: Profile
    zone: tzinfo
    findings: Findings

    def around(self, view: Segments) -> Segments:
        """The segments of one service (`view`) with all that the message says beside services and resources."""
        own = [segment for segment in view if segment.name in _RESOURCES]
        return Segments([*(segment for segment in self.message if segment.name not in _RESOURCES), *own])


def order(
    source: ScheduleReading,
    keys: OrderKeys,
    patient: PatientChange | None,
    slots: Sequence[Slot],
    views: Sequence[Segments],
) -> tuple[OrderChange | None, tuple[Finding, ...]]:
    """One requested procedure with a step for each service, and what is wrong with it.

    None without a patient who has a name. Sections of the profile are read as of an order message; what `[appointment]`
    says counts more.
    """
    if patient is None or not patient.attributes.get("PatientName"):
        return None, ()
    profile, findings = source.profile, Findings()
    reader = Reader(source.message, profile, source.zone, findings)
    maker = OrderMaker(profile, source.zone, findings, new=True)
    numbers = {PLACER[0]: keys.placer.number, FILLER[0]: keys.filler.number}
    change = maker.order(
        control="NW",
        order_status="SC",
        control_location="SCH^1^26",
        keys=keys,
        patient=patient,
        visit=reader.section("visit"),
        request={
            **reader.section("request"),
            **_of(reader.section("appointment"), REQUEST),
            **{keyword: number for keyword, number in numbers.items() if number},
        },
        where=_where(profile, reader),
    )
    around = making.around(change, new=True)
    requested: Document = {}
    for slot, view in zip(slots, views, strict=True):
        if slot.removed:
            continue
        whole = source.around(view)
        service = Reader(whole, profile, source.zone, findings)
        given = Reader(whole, profile, source.zone, Findings()).section("appointment")
        if not requested:
            requested = {**service.section("procedure"), **_of(given, PROCEDURE)}
        said = {keyword: given[other] for keyword, other in _PROTOCOL.items() if given.get(other)}
        step = {**service.section("step"), **said, **_of(given, STEP), **slot.attributes}
        procedure = maker.procedure(requested, step, around, whole, _where(profile, service))
        change = replace(change, procedures=order_groups.with_procedure(change.procedures, procedure, findings))
    return change, tuple(finding for finding in findings.all() if finding not in source.findings.all())


def _of(given: Document, table: Table) -> Document:
    """Attributes of one section, without empty ones."""
    return {keyword: value for keyword, value in given.items() if keyword in table and value not in ("", [])}


def _where(profile: Profile, reader: Reader) -> Where:
    """Where an attribute would be expected: by `[appointment]`, else by the section of its own."""
    mapped = {attribute.keyword for attribute in profile.sections["appointment"] if attribute.sources}

    def place(section: str, keyword: str) -> str:
        return reader.where("appointment" if keyword in mapped else section, keyword)

    return place
