"""Reads order messages (ORM, OMI, OMG): order changes by a mapping profile, with all findings at once.

One message may hold several ORC/OBR groups (ORM, OMI) and several IPC in each (OMI). Groups with the same order
numbers are one order; in it, groups with the same Requested Procedure ID are one procedure, and groups with the same
step identifier one step with several protocol codes. IPCs without a step identifier are never one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import tzinfo

from broker.hl7.codes import ErrorCode, Severity
from broker.hl7.message import DELETE, Message, Segments, undeleted
from broker.model.order import Document
from broker.orders.core import lifecycle
from broker.orders.core.authorities import universal
from broker.orders.core.identifiers import by_authority
from broker.orders.core.lifecycle import Action
from broker.orders.core.values import (
    MAX_STEPS,
    Conversion,
    OrderChange,
    OrderKeys,
    PatientChange,
    ProcedureChange,
    Span,
)
from broker.orders.inbound import making, order_groups
from broker.orders.inbound.doubts import Findings
from broker.orders.inbound.making import OrderMaker
from broker.orders.inbound.numbers import FILLER, PLACER, SENT, as_sent, numbered, order_keys
from broker.orders.inbound.reader import Reader
from broker.orders.mapping.data_types import span
from broker.orders.mapping.profile import Profile

_WHAT = ("RequestedProcedureDescription", "RequestedProcedureCodeSequence")
_CODED = ("OBR-4.1", "OBR-4.2", "OBR-44.1", "OBR-44.2")  # says it too, whatever the mapping makes of it


@dataclass(frozen=True, slots=True)
class _Group:
    """One ORC/OBR group with the segments it shares: `steps` holds one view per IPC. `action` None: unknown."""

    view: Segments
    steps: tuple[Segments, ...]
    control: str
    action: Action | None

    @property
    def writes(self) -> bool:
        """Its values are read."""
        return self.action is None or self.action is Action.WRITE

    @property
    def acts(self) -> bool:
        """It asks for something, so that it must say of which order and patient."""
        return self.action is not Action.NOTHING


def convert(message: Message, profile: Profile, zone: tzinfo) -> Conversion:
    """The order changes of a message, times on the site's wall clock."""
    message = by_authority(message, profile.identifiers.patient_authorities)
    findings = Findings()
    groups = list(_groups(message, findings))
    required = not groups or any(group.acts for group in groups)
    patient = _patient(message, profile, zone, findings if required else Findings())
    if sum(len(group.steps) for group in groups) > MAX_STEPS:
        findings.add("OBR^1", ErrorCode.SEGMENT_SEQUENCE, "Too many procedure steps in one message")
        groups = []
    sent = span(message.header.get(7, 1), zone)
    changes = (_order(group, patient, profile, zone, findings, sent) for group in groups)
    return Conversion(order_groups.join(changes, findings), findings.all())


def _patient(message: Message, profile: Profile, zone: tzinfo, findings: Findings) -> PatientChange:
    """The one patient of an order message, who has a name."""
    patient = read_patient(message, profile, zone, findings)
    if len(message.all("PID")) > 1:
        findings.add("PID^2", ErrorCode.SEGMENT_SEQUENCE, "More than one patient in a message")
    if not patient.attributes.get("PatientName"):
        findings.add("PID^1^5", ErrorCode.REQUIRED_FIELD_MISSING, "Patient name is missing")
    return patient


def read_patient(view: Segments, profile: Profile, zone: tzinfo, findings: Findings) -> PatientChange:
    """The patient of a PID segment; the name may be missing, an identifier may not (HL7 2.5.1 §3.4.2)."""
    sources = [source for a in profile.sections["patient"] if a.keyword == "PatientID" for source in a.sources]
    if all(view.get(source.path).strip() in {"", DELETE} for source in sources):
        findings.add(view.at("PID-3"), ErrorCode.REQUIRED_FIELD_MISSING, "Patient identifier is missing")
    attributes = Reader(view, profile, zone, findings).section("patient")
    return patient_change(view, attributes, profile.defaults.get("patient", {}))


def patient_change(view: Segments, attributes: Document, defaults: Document) -> PatientChange:
    """The patient of these attributes, read from a view with its PID segment."""
    return PatientChange(
        attributes.get("PatientID", ""),
        attributes.get("IssuerOfPatientID", ""),
        attributes,
        defaults,
        universal=universal(undeleted(view.get("PID-3.4.2")), view.get("PID-3.4.3")),
    )


def _groups(message: Message, findings: Findings) -> Iterator[_Group]:
    head, runs = message.groups("ORC", alone="OBR")
    if not runs:
        findings.add("ORC^1", ErrorCode.SEGMENT_SEQUENCE, "Order segment is missing")
    studies = message.all("ZDS")
    shared = studies if len(studies) == 1 else []
    before: list[Segments] = []
    for run in runs:
        segments = [segment for segment in run if segment.name not in {"IPC", "ZDS"}]
        if run.first("ORC") is None and before:  # a repeated OBR belongs to the ORC before it
            segments = [*before[0].all("ORC"), *before[0].all("TQ1"), *segments]
        else:
            before = [run]
        base = [*head, *segments, *(run.all("ZDS") or shared)]
        views = tuple(Segments([*base, ipc]) for ipc in run.all("IPC")) or (Segments(base),)
        control = views[0].get("ORC-1").strip()
        action = lifecycle.action(control, views[0].get("ORC-5").strip())
        yield _Group(views[0], views, control, action if control in lifecycle.CONTROLS else None)


def _order(
    group: _Group, patient: PatientChange, profile: Profile, zone: tzinfo, findings: Findings, sent: Span | None
) -> OrderChange:
    view = group.view
    reader = Reader(view, profile, zone, findings)
    keys = order_keys(reader)
    _check(group, keys, reader.where, findings)
    request = reader.section("request")
    maker = OrderMaker(profile, zone, findings, new=group.control in lifecycle.NEW)
    change = maker.order(
        control=group.control,
        order_status=view.get("ORC-5").strip(),
        control_location=view.at("ORC-1"),
        keys=keys,
        patient=patient,
        visit=reader.section("visit") if group.writes else {},
        request=request | as_sent(view, keys, profile),
        where=reader.where,
    )
    around = making.around(change, new=maker.new)
    kept = change.request
    if not group.writes:
        assigned = FILLER if group.action is Action.NUMBER else ()
        kept = {keyword: value for keyword, value in kept.items() if keyword in (*assigned, *SENT)}
    procedures: tuple[ProcedureChange, ...] = ()
    for step in group.steps:
        procedures = order_groups.with_procedure(procedures, _procedure(step, group, around, maker), findings)
    ordered = span(view.get("ORC-9.1"), zone)
    return replace(change, request=kept, procedures=procedures, parent=_parent(view), ordered=ordered, sent=sent)


def _check(group: _Group, keys: OrderKeys, where: making.Where, findings: Findings) -> None:
    view = group.view
    if not group.control:
        findings.add(view.at("ORC-1"), ErrorCode.REQUIRED_FIELD_MISSING, "Order control is missing")
    elif group.action is None:
        findings.add(view.at("ORC-1"), ErrorCode.TABLE_VALUE_NOT_FOUND, "Order control is not in table 0119")
    if group.acts and not keys.placer.number and not keys.filler.number:
        text = "Placer and filler order number are missing"
        findings.add(where("request", PLACER[0]), ErrorCode.REQUIRED_FIELD_MISSING, text)
    for key, (number, _) in ((keys.placer, PLACER), (keys.filler, FILLER)) if group.action is Action.NUMBER else ():
        if not key.number:
            text = "A number is assigned: both order numbers are needed"
            findings.add(where("request", number), ErrorCode.REQUIRED_FIELD_MISSING, text)
    if len(view.all("TQ1")) > 1:
        findings.add("TQ1^2", ErrorCode.ACCEPTED, "Only the first timing of an order is used", Severity.WARNING)


def _parent(view: Segments) -> OrderKeys | None:
    """The order that ORC-8 (EIP) names: placer and filler number with their namespaces."""
    orc = view.first("ORC")
    if orc is None:
        return None
    placer, filler = (
        numbered(*(undeleted(orc.get(8, part, subcomponent=below)).strip() for below in (1, 2, 3, 4)))
        for part in (1, 2)
    )
    return OrderKeys(placer, filler) if placer.number or filler.number else None


def _procedure(view: Segments, group: _Group, around: Document, maker: OrderMaker) -> ProcedureChange:
    reader = Reader(view, maker.profile, maker.zone, maker.findings)
    attributes = reader.section("procedure")
    told = any(map(attributes.get, _WHAT)) or any(undeleted(view.get(path)).strip() for path in _CODED)
    if group.writes and not told:
        maker.findings.add(view.at("OBR-4"), ErrorCode.REQUIRED_FIELD_MISSING, "Requested procedure is missing")
    step = reader.section("step") if group.writes else _identified(reader, maker.profile)
    return maker.procedure(attributes, step, around, view, reader.where, writes=group.writes)


def _identified(reader: Reader, profile: Profile) -> Document:
    """Of a step that is only to be found, its identifier."""
    for attribute in profile.sections["step"]:
        if attribute.keyword == "ScheduledProcedureStepID":
            return {attribute.keyword: reader.value(attribute) or ""}
    return {}
