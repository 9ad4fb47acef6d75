"""From a message to order changes by a mapping profile. Pure; all findings at once.

One message may hold several ORC/OBR groups (ORM, OMI) and several IPC in each (OMI). Groups with the same order
numbers are one order; in it, groups with the same Requested Procedure ID are one procedure, and groups with the same
step identifier one step with several protocol codes. IPCs without a step identifier are never one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import tzinfo

from broker.hl7.message import DELETE, Message, Segments
from broker.orders import lifecycle
from broker.orders.profile import Profile
from broker.orders.reader import Findings, Reader
from broker.orders.values import (
    Conversion,
    Document,
    EntityId,
    OrderChange,
    PatientChange,
    ProcedureChange,
    StepChange,
)

MAX_STEPS = 256


@dataclass(frozen=True, slots=True)
class _Group:
    """One ORC/OBR group with the segments it shares: `steps` holds one view per IPC."""

    view: Segments
    steps: tuple[Segments, ...]
    writes: bool
    new: bool


def convert(message: Message, profile: Profile, zone: tzinfo) -> Conversion:
    """The order changes of a message, times on the site's wall clock."""
    findings = Findings()
    patient = _patient(message, profile, zone, findings)
    groups = list(_groups(message, findings))
    if sum(len(group.steps) for group in groups) > MAX_STEPS:
        findings.add("OBR^1", "100", "Too many procedure steps in one message")
        groups = []
    orders: list[OrderChange] = []
    for group in groups:
        change = _order(group, patient, profile, zone, findings)
        same = next((i for i, other in enumerate(orders) if _same_order(other, change)), None)
        if same is None:
            orders.append(change)
        else:
            orders[same] = _joined(orders[same], change, findings)
    _check_uids(orders, findings)
    return Conversion(tuple(orders), findings.all())


def _patient(message: Message, profile: Profile, zone: tzinfo, findings: Findings) -> PatientChange:
    pid = message.first("PID")
    if len(message.all("PID")) > 1:
        findings.add("PID^2", "100", "More than one patient in a message")
    if pid is None or not pid.get(3, 1).strip() or pid.get(3, 1) == DELETE:
        findings.add("PID^1^3", "101", "Patient identifier is missing")
    attributes = Reader(message, profile, zone, findings).section("patient")
    if not attributes.get("PatientName"):
        findings.add("PID^1^5", "101", "Patient name is missing")
    issuer = attributes.get("IssuerOfPatientID", "")
    return PatientChange(attributes.get("PatientID", ""), issuer, attributes)


def _groups(message: Message, findings: Findings) -> Iterator[_Group]:
    head, runs = message.groups("ORC", alone="OBR")
    if not runs:
        findings.add("ORC^1", "100", "Order segment is missing")
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
        control = Segments(segments).get("ORC-1").strip()
        action = lifecycle.action(control, Segments(segments).get("ORC-5").strip())
        unknown = control not in lifecycle.CONTROLS
        yield _Group(views[0], views, action is lifecycle.Action.WRITE or unknown, control in {"NW", "RO"})


def _order(group: _Group, patient: PatientChange, profile: Profile, zone: tzinfo, findings: Findings) -> OrderChange:
    view = group.view
    _check(group, findings)
    reader = Reader(view, profile, zone, findings)
    request = reader.section("request")
    change = OrderChange(
        control=view.get("ORC-1").strip(),
        order_status=view.get("ORC-5").strip(),
        control_location=view.at("ORC-1"),
        placer=entity(view, 2),
        filler=entity(view, 3),
        accession=request.pop("AccessionNumber", ""),
        patient=patient,
        visit=reader.section("visit") if group.writes else {},
        request=request if group.writes else {},
        procedures=(),
    )
    for step in group.steps:
        procedure = _procedure(step, group, profile, zone, findings)
        change = replace(change, procedures=_with_procedure(change.procedures, procedure, findings))
    return change


def _check(group: _Group, findings: Findings) -> None:
    view = group.view
    control = view.get("ORC-1").strip()
    if not control:
        findings.add(view.at("ORC-1"), "101", "Order control is missing")
    elif control not in lifecycle.CONTROLS:
        findings.add(view.at("ORC-1"), "103", "Order control is not in table 0119")
    if not entity(view, 2).number and not entity(view, 3).number:
        findings.add(view.at("ORC-2"), "101", "Placer and filler order number are missing")
    if group.writes and not any(view.get(path).strip() for path in ("OBR-4.1", "OBR-4.2", "OBR-44.1", "OBR-44.2")):
        findings.add(view.at("OBR-4"), "101", "Requested procedure is missing")


def entity(view: Segments, field: int) -> EntityId:
    """An order number and its issuer: field 2 (placer) or 3 (filler) of ORC, else of OBR."""
    for segment in ("ORC", "OBR"):
        number = view.get(f"{segment}-{field}.1").strip()
        if number and number != DELETE:
            issuer = view.get(f"{segment}-{field}.2").strip() or view.get(f"{segment}-{field}.3").strip()
            return EntityId(number, issuer)
    return EntityId()


def _procedure(view: Segments, group: _Group, profile: Profile, zone: tzinfo, findings: Findings) -> ProcedureChange:
    reader = Reader(view, profile, zone, findings)
    attributes = reader.section("procedure")
    step = reader.section("step") if group.writes else _identified(reader, profile)
    modality = step.get("Modality", "")
    if modality and profile.modalities and modality not in profile.modalities:
        findings.add(reader.where("step", "Modality"), "103", "Modality is not known")
    elif group.new and not modality:
        findings.add(reader.where("step", "Modality"), "101", "Modality is missing")
    if step.get("ScheduledProcedureStepStartDate"):
        # a date alone is a start at midnight: the time is type 1 in an answer
        step.setdefault("ScheduledProcedureStepStartTime", "000000")
    else:
        step.pop("ScheduledProcedureStepStartDate", None)
        step.pop("ScheduledProcedureStepStartTime", None)
    change = StepChange(
        step_id=step.get("ScheduledProcedureStepID", ""),
        stations=tuple(step.pop("ScheduledStationAETitle", ())),
        attributes=step,
        start_location=reader.where("step", "ScheduledProcedureStepStartDate"),
        modality_location=reader.where("step", "Modality"),
    )
    return ProcedureChange(
        requested_procedure_id=attributes.get("RequestedProcedureID", ""),
        study_instance_uid=attributes.pop("StudyInstanceUID", ""),
        attributes=attributes if group.writes else {},
        steps=(change,),
        uid_location=reader.where("procedure", "StudyInstanceUID"),
    )


def _identified(reader: Reader, profile: Profile) -> Document:
    """Of a step that is only to be found, its identifier."""
    for attribute in profile.sections["step"]:
        if attribute.keyword == "ScheduledProcedureStepID":
            return {attribute.keyword: reader.value(attribute) or ""}
    return {}


def _same_order(one: OrderChange, other: OrderChange) -> bool:
    for mine, its in ((one.filler, other.filler), (one.placer, other.placer)):
        if mine.number and its.number:
            return mine == its
    return bool(one.accession) and one.accession == other.accession


def _joined(one: OrderChange, other: OrderChange, findings: Findings) -> OrderChange:
    if (one.control, one.order_status) != (other.control, other.order_status):
        findings.add(other.control_location, "102", "Order control differs within one order")
    procedures = one.procedures
    for procedure in other.procedures:
        procedures = _with_procedure(procedures, procedure, findings)
    return replace(one, procedures=procedures, accession=one.accession or other.accession)


def _with_procedure(
    before: tuple[ProcedureChange, ...], added: ProcedureChange, findings: Findings
) -> tuple[ProcedureChange, ...]:
    """`before` with one more procedure of one step, joined where it is the same procedure."""
    for index, other in enumerate(before):
        if other.requested_procedure_id == added.requested_procedure_id:
            if other.study_instance_uid != added.study_instance_uid:
                findings.add(added.uid_location, "102", "Study Instance UID differs within one requested procedure")
            joined = replace(other, steps=_with_step(other.steps, added.steps[0]))
            return (*before[:index], joined, *before[index + 1 :])
    return (*before, added)


def _with_step(before: tuple[StepChange, ...], added: StepChange) -> tuple[StepChange, ...]:
    for index, other in enumerate(before):
        if added.step_id and other.step_id == added.step_id:
            keyword = "ScheduledProtocolCodeSequence"
            codes = [*other.attributes.get(keyword, [])]
            codes += [item for item in added.attributes.get(keyword, []) if item not in codes]
            attributes = {**other.attributes, keyword: codes} if codes else other.attributes
            joined = replace(other, attributes=attributes)
            return (*before[:index], joined, *before[index + 1 :])
    return (*before, added)


def _check_uids(orders: list[OrderChange], findings: Findings) -> None:
    """One Study Instance UID is one requested procedure."""
    seen: set[str] = set()
    for procedure in (procedure for order in orders for procedure in order.procedures):
        uid = procedure.study_instance_uid
        if uid in seen:
            findings.add(procedure.uid_location, "102", "One Study Instance UID for several requested procedures")
        if uid:
            seen.add(uid)
