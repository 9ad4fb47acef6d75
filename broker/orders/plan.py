"""What an order change makes of the stored order. Pure: the stories write what is planned here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from broker.hl7.findings import Finding
from broker.orders import identifiers, lifecycle
from broker.orders.lifecycle import Action, Effect
from broker.orders.values import (
    Order,
    OrderChange,
    Patient,
    PatientChange,
    Plan,
    Procedure,
    ProcedureChange,
    Step,
    StepChange,
    merged,
)


@dataclass(frozen=True, slots=True)
class Situation:
    """What a plan depends on besides the change.

    `received` is the site's wall clock `YYYYMMDDHHMMSS`; `owners` maps each Study Instance UID of the
    message to the row of the order that has it; `patient` is the stored one of the message's identifier.
    """

    stored: Order | None
    patient: Patient | None
    owners: Mapping[str, int]
    received: str
    default_station: str
    mint: identifiers.Minter


def make(change: OrderChange, now: Situation) -> Plan:
    """Plan one order change."""
    wanted = lifecycle.action(change.control, change.order_status)
    stored = now.stored
    if wanted is Action.NOTHING:
        text = "Order control is not acted on: recorded without effect"
        finding = Finding(change.control_location, "0", text, "W")
        return Plan("unchanged", findings=(finding,), row=stored.row if stored else None)
    if stored is not None and not same_patient(stored.patient, change.patient):
        return Plan("refused", findings=(Finding("PID^1^3", "205", "The order belongs to another patient"),))
    if wanted is not Action.WRITE:
        return _set_status(change, wanted, stored)
    if stored is not None and stored.steps() and all(step.status in lifecycle.ENDED for step in stored.steps()):
        return _late(change, stored)
    return _Writing(change, now).plan()


def same_patient(stored: Patient, asked: PatientChange) -> bool:
    """Whether a message means the stored patient; an issuer counts where both have one."""
    same_issuer = stored.issuer == asked.issuer or not stored.issuer or not asked.issuer
    return stored.patient_id == asked.patient_id and same_issuer


def _late(change: OrderChange, stored: Order) -> Plan:
    text = "The order has ended: recorded without effect"
    return Plan("late", findings=(Finding(change.control_location, "0", text, "W"),), row=stored.row)


def _set_status(change: OrderChange, wanted: Action, stored: Order | None) -> Plan:
    if stored is None:
        location = change.control_location.rsplit("^", 1)[0] + "^2"
        return Plan("refused", findings=(Finding(location, "204", "The order is not known"),))
    named = {step.step_id for procedure in change.procedures for step in procedure.steps if step.step_id}
    known = {step.step_id for step in stored.steps()}
    targets = named if named and named <= known else known
    changed = False
    procedures: list[Procedure] = []
    for procedure in stored.procedures:
        steps: list[Step] = []
        for step in procedure.steps:
            effect, status = lifecycle.apply(wanted, step.status)
            if step.step_id in targets and effect is Effect.REFUSE:
                finding = Finding(change.control_location, "204", "The examination has started: it is not cancelled")
                return Plan("refused", findings=(finding,))
            applies = step.step_id in targets and effect is Effect.APPLY and status != step.status
            changed = changed or applies
            steps.append(replace(step, status=status) if applies else step)
        procedures.append(replace(procedure, steps=tuple(steps)))
    if not changed:
        return _late(change, stored)
    action = {Action.CANCEL: "canceled", Action.DISCONTINUE: "discontinued"}.get(wanted, "status")
    return Plan(action, replace(stored, procedures=tuple(procedures)), row=stored.row)


class _Writing:
    """Creates or updates an order; collects findings on the way."""

    def __init__(self, change: OrderChange, now: Situation) -> None:
        self._change, self._now = change, now
        self._findings: list[Finding] = []

    def plan(self) -> Plan:
        change, stored = self._change, self._now.stored
        placer = change.placer if change.placer.number else (stored.placer if stored else change.placer)
        filler = change.filler if change.filler.number else (stored.filler if stored else change.filler)
        accession = identifiers.accession(
            change.accession, stored.accession if stored else "", filler.number, placer.number
        )
        order = Order(
            row=stored.row if stored else None,
            patient=self._patient(),
            placer=placer,
            filler=filler,
            accession=accession,
            attributes=merged(stored.attributes if stored else {}, {**change.visit, **change.request}),
            procedures=self._procedures(accession),
        )
        findings = tuple(self._findings)
        if any(finding.is_error for finding in findings):
            return Plan("refused", findings=findings)
        if order == stored:
            return Plan("unchanged", findings=findings, row=order.row)
        return Plan("updated" if stored else "created", order, findings, order.row)

    def _patient(self) -> Patient:
        asked = self._change.patient
        known = self._now.stored.patient if self._now.stored else self._now.patient
        if known is None:
            return Patient(None, asked.patient_id, asked.issuer, merged({}, asked.attributes))
        return replace(known, attributes=merged(known.attributes, asked.attributes))

    def _procedures(self, accession: str) -> tuple[Procedure, ...]:
        """Stored procedures, changed where the message has them, then new ones."""
        stored = list(self._now.stored.procedures) if self._now.stored else []
        result: list[Procedure] = list(stored)
        taken: set[int] = set()
        for change in self._change.procedures:
            index = self._match(change, stored, taken)
            old = stored[index] if index is not None else None
            used = {p.requested_procedure_id for i, p in enumerate(result) if i != index}
            procedure = self._procedure(change, old, accession, used)
            if index is None:
                result.append(procedure)
            else:
                taken.add(index)
                result[index] = procedure
        return tuple(result)

    @staticmethod
    def _match(change: ProcedureChange, stored: list[Procedure], taken: set[int]) -> int | None:
        free = [index for index in range(len(stored)) if index not in taken]
        wanted = change.requested_procedure_id
        tests = (
            lambda p: bool(wanted) and p.requested_procedure_id == wanted,
            lambda p: bool(change.study_instance_uid) and p.study_instance_uid == change.study_instance_uid,
            # an identifier of ours gives way to one of the message, none of the message means the next one
            lambda p: not wanted or "RequestedProcedureID" not in p.attributes,
        )
        return next((index for test in tests for index in free if test(stored[index])), None)

    def _procedure(self, change: ProcedureChange, old: Procedure | None, accession: str, used: set[str]) -> Procedure:
        now = self._now
        uid = change.study_instance_uid
        owner = now.owners.get(uid)
        if owner is not None and (old is None or uid != old.study_instance_uid):
            self._findings.append(
                Finding(change.uid_location, "205", "Study Instance UID belongs to another procedure")
            )
        begun = old is not None and any(step.status not in lifecycle.WAITING for step in old.steps)
        if old is not None and begun and uid not in {"", old.study_instance_uid}:
            text = "Examination has begun: its Study Instance UID is kept"
            self._findings.append(Finding(change.uid_location, "0", text, "W"))
            uid = old.study_instance_uid
        return Procedure(
            row=old.row if old else None,
            requested_procedure_id=identifiers.requested_procedure_id(
                change.requested_procedure_id, old.requested_procedure_id if old else "", accession, used, now.mint
            ),
            study_instance_uid=identifiers.study_instance_uid(uid, old.study_instance_uid if old else "", now.mint),
            attributes=merged(old.attributes if old else {}, change.attributes),
            steps=self._steps(change.steps, old.steps if old else ()),
        )

    def _steps(self, changes: tuple[StepChange, ...], stored: tuple[Step, ...]) -> tuple[Step, ...]:
        result = list(stored)
        taken: set[int] = set()
        named = {change.step_id for change in changes if change.step_id}
        for position, change in enumerate(changes):
            index = self._match_step(change, position, stored, taken, named)
            if index is None:
                last = max((step.position for step in result), default=-1)
                result.append(self._step(change, None, last + 1))
                continue
            taken.add(index)
            if stored[index].status in lifecycle.ENDED:
                text = "The step has ended: its change is recorded without effect"
                self._findings.append(Finding(self._change.control_location, "0", text, "W"))
            else:
                result[index] = self._step(change, stored[index], stored[index].position)
        return tuple(result)

    @staticmethod
    def _match_step(
        change: StepChange, position: int, stored: tuple[Step, ...], taken: set[int], named: set[str]
    ) -> int | None:
        for index, step in enumerate(stored):
            if change.step_id and step.step_id == change.step_id and index not in taken:
                return index
        if position >= len(stored) or position in taken or stored[position].step_id in named:
            return None
        ours = "ScheduledProcedureStepID" not in stored[position].attributes
        return position if ours or not change.step_id else None

    def _step(self, change: StepChange, old: Step | None, position: int) -> Step:
        now = self._now
        attributes = merged(old.attributes if old else {}, change.attributes)
        # a known step without a start has lost its appointment: it waits for another one
        if old is None and not attributes.get("ScheduledProcedureStepStartDate"):
            attributes["ScheduledProcedureStepStartDate"] = now.received[:8]
            attributes["ScheduledProcedureStepStartTime"] = now.received[8:]
            text = "Start is missing: the time of receipt is used"
            self._findings.append(Finding(change.start_location, "101", text, "W"))
        if not attributes.get("Modality"):
            self._findings.append(Finding(change.modality_location, "101", "Modality is missing"))
        stations = identifiers.stations(change.stations, old.stations if old else (), now.default_station)
        attributes["ScheduledStationAETitle"] = list(stations)
        step_id = identifiers.step_id(change.step_id, old.step_id if old else "", now.mint)
        status = old.status if old else lifecycle.SCHEDULED
        return Step(old.row if old else None, step_id, position, status, attributes)
