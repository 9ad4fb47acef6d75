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
from broker.model.order import Document, EntityId
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
    StepChange,
)
from broker.orders.inbound import joining
from broker.orders.inbound.doubts import Findings, quoted
from broker.orders.inbound.reader import Reader
from broker.orders.mapping import stations
from broker.orders.mapping.convert import oddity, span
from broker.orders.mapping.profile import Profile, UnknownCancel
from broker.orders.mapping.provenance import OriginKind, ValueOrigin

_WHAT = ("RequestedProcedureDescription", "RequestedProcedureCodeSequence")
_CODED = ("OBR-4.1", "OBR-4.2", "OBR-44.1", "OBR-44.2")  # says it too, whatever the mapping makes of it
_NUMBERS = ("FillerOrderNumberImagingServiceRequest", "OrderFillerIdentifierSequence")


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
    changes = (replace(_order(group, patient, profile, zone, findings), sent=sent) for group in groups)
    return Conversion(joining.join(changes, findings), findings.all())


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


def _order(group: _Group, patient: PatientChange, profile: Profile, zone: tzinfo, findings: Findings) -> OrderChange:
    view = group.view
    _check(group, findings)
    reader = Reader(view, profile, zone, findings)
    request = reader.section("request")
    numbers = {keyword: request[keyword] for keyword in _NUMBERS if keyword in request}
    change = OrderChange(
        control=group.control,
        order_status=view.get("ORC-5").strip(),
        control_location=view.at("ORC-1"),
        placer=entity(view, 2),
        filler=entity(view, 3),
        accession=request.pop("AccessionNumber", ""),
        patient=patient,
        visit=reader.section("visit") if group.writes else {},
        request=request if group.writes else numbers if group.action is Action.NUMBER else {},
        procedures=(),
        parent=_parent(view),
        ordered=span(view.get("ORC-9.1"), zone),
        parks=profile.policy.unknown_order_cancel is UnknownCancel.PARK,
        accession_location=reader.where("request", "AccessionNumber"),
        placer_location=reader.where("request", "PlacerOrderNumberImagingServiceRequest"),
        filler_location=reader.where("request", "FillerOrderNumberImagingServiceRequest"),
        defaults={**profile.defaults.get("visit", {}), **profile.defaults.get("request", {})},
        identifiers=profile.identifiers,
        start_missing=profile.policy.start_missing,
        accession_of_another_patient=profile.policy.accession_of_another_patient,
        repeated_number=profile.policy.repeated_number,
    )
    around = {**patient.attributes, **change.visit, **request, "AccessionNumber": change.accession}
    if group.control in lifecycle.NEW:
        around = {**patient.defaults, **change.defaults, **around}
    for step in group.steps:
        procedure = _procedure(step, group, around, profile, zone, findings)
        change = replace(change, procedures=joining.with_procedure(change.procedures, procedure, findings))
    return change


def _check(group: _Group, findings: Findings) -> None:
    view = group.view
    if not group.control:
        findings.add(view.at("ORC-1"), ErrorCode.REQUIRED_FIELD_MISSING, "Order control is missing")
    elif group.action is None:
        findings.add(view.at("ORC-1"), ErrorCode.TABLE_VALUE_NOT_FOUND, "Order control is not in table 0119")
    if group.acts and not entity(view, 2).number and not entity(view, 3).number:
        findings.add(view.at("ORC-2"), ErrorCode.REQUIRED_FIELD_MISSING, "Placer and filler order number are missing")
    if group.action is Action.NUMBER:
        for number in (2, 3):
            if not entity(view, number).number:
                findings.add(
                    view.at(f"ORC-{number}"),
                    ErrorCode.REQUIRED_FIELD_MISSING,
                    "A number is assigned: both order numbers are needed",
                )
    if len(view.all("TQ1")) > 1:
        findings.add("TQ1^2", ErrorCode.ACCEPTED, "Only the first timing of an order is used", Severity.WARNING)


def entity(view: Segments, field: int) -> EntityId:
    """An order number and its issuer: field 2 (placer) or 3 (filler) of ORC, else of OBR."""
    for segment in ("ORC", "OBR"):
        number = view.get(f"{segment}-{field}.1").strip()
        if number and number != DELETE:
            return numbered(number, *(view.get(f"{segment}-{field}.{part}") for part in (2, 3, 4)))
    return EntityId()


def numbered(number: str, namespace: str, universal_id: str, kind: str) -> EntityId:
    """An identifier with the namespace, universal ID and its type of its authority (EI, CX, HD)."""
    named = undeleted(namespace).strip() or undeleted(universal_id).strip()
    return EntityId(number, named, universal(undeleted(universal_id), kind)) if number else EntityId()


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


def _procedure(
    view: Segments, group: _Group, around: Document, profile: Profile, zone: tzinfo, findings: Findings
) -> ProcedureChange:
    reader = Reader(view, profile, zone, findings)
    attributes = reader.section("procedure")
    told = any(map(attributes.get, _WHAT)) or any(undeleted(view.get(path)).strip() for path in _CODED)
    if group.writes and not told:
        findings.add(view.at("OBR-4"), ErrorCode.REQUIRED_FIELD_MISSING, "Requested procedure is missing")
    step = reader.section("step") if group.writes else _identified(reader, profile)
    if group.writes:
        step = _placed(step, {**around, **attributes}, view, group, profile)
    defaults = profile.defaults.get("step", {})
    modality = step.get("Modality", defaults.get("Modality", "") if group.control in lifecycle.NEW else "")
    if modality and not profile.knows_modality(modality):
        text = f"Modality{quoted('Modality', modality)} is not known"
        findings.add(reader.where("step", "Modality"), ErrorCode.TABLE_VALUE_NOT_FOUND, text)
    elif group.control in lifecycle.NEW and not modality:
        findings.add(reader.where("step", "Modality"), ErrorCode.REQUIRED_FIELD_MISSING, "Modality is missing")
    if step.get("ScheduledProcedureStepStartDate"):
        # a date alone is a start at midnight: the time is type 1 in an answer
        step["ScheduledProcedureStepStartTime"] = step.get("ScheduledProcedureStepStartTime") or "000000"
        _check_start(step, reader.where("step", "ScheduledProcedureStepStartDate"), zone, findings)
    else:
        step.pop("ScheduledProcedureStepStartDate", None)
        step.pop("ScheduledProcedureStepStartTime", None)
    change = StepChange(
        step_id=step.get("ScheduledProcedureStepID", ""),
        stations=tuple(step.pop("ScheduledStationAETitle", ())),
        attributes=step,
        start_location=reader.where("step", "ScheduledProcedureStepStartDate"),
        modality_location=reader.where("step", "Modality"),
        step_location=reader.where("step", "ScheduledProcedureStepID"),
        defaults=defaults,
    )
    return ProcedureChange(
        requested_procedure_id=attributes.get("RequestedProcedureID", ""),
        study_instance_uid=attributes.pop("StudyInstanceUID", ""),
        attributes=attributes if group.writes else {},
        steps=(change,),
        uid_location=reader.where("procedure", "StudyInstanceUID"),
        id_location=reader.where("procedure", "RequestedProcedureID"),
        defaults=profile.defaults.get("procedure", {}),
    )


def _check_start(step: Document, where: str, zone: tzinfo, findings: Findings) -> None:
    """A start in the hour that a change of summer time removes or repeats is kept as sent, with a warning."""
    kind = oddity(step["ScheduledProcedureStepStartDate"], step["ScheduledProcedureStepStartTime"], zone)
    if kind == "skipped":
        findings.add(
            where,
            ErrorCode.DATA_TYPE,
            "Start does not exist that day, clocks go forward: kept as sent",
            Severity.WARNING,
        )
    elif kind == "repeated":
        findings.add(
            where, ErrorCode.DATA_TYPE, "Start comes twice that day, clocks go back: kept as sent", Severity.WARNING
        )


def _placed(step: Document, around: Document, view: Segments, group: _Group, profile: Profile) -> Document:
    """Attributes of a step with the station that the rules of the profile give it."""
    if not profile.stations:
        return step
    known = {**around, **step}
    if group.control in lifecycle.NEW:
        known = {**profile.defaults.get("procedure", {}), **profile.defaults.get("step", {}), **known}
    rule = stations.choose(profile.stations, known, view, complete=group.control in lifecycle.NEW)
    if rule is None:
        return step
    placed = stations.assigned(step, rule, profile.defaults.get("step", {}))
    if profile.trace is not None:
        for keyword in (stations.STATION, stations.STATION_NAME, stations.LOCATION):
            if placed.get(keyword, "") != step.get(keyword, ""):
                origin = ValueOrigin(
                    section="step",
                    keyword=keyword,
                    value=placed.get(keyword, ""),
                    how=OriginKind.STATION,
                    note=f"rule {rule.number}",
                )
                profile.trace.note(view, origin)
    return placed


def _identified(reader: Reader, profile: Profile) -> Document:
    """Of a step that is only to be found, its identifier."""
    for attribute in profile.sections["step"]:
        if attribute.keyword == "ScheduledProcedureStepID":
            return {attribute.keyword: reader.value(attribute) or ""}
    return {}
