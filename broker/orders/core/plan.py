"""Decides what an order change makes of the stored order; the stories write what is planned here.

`make` takes the change and the situation, and gives a `Plan`: the action, the order to write, findings for the sender.
Changes that write no values (status, holding, filler number) are planned in `orders.core.progress`.
`tests/unit/orders/test_orders_plan.py` shows all of it as a table.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from broker.hl7.codes import ErrorCode, Severity
from broker.hl7.findings import Finding
from broker.model.order import (
    AccessionHolder,
    Document,
    EntityId,
    KeptCancel,
    Order,
    Patient,
    Procedure,
    Step,
    StepStatus,
    Written,
)
from broker.orders.core import identifiers, lifecycle, progress, uniqueness
from broker.orders.core.lifecycle import Action
from broker.orders.core.values import (
    OrderAction,
    OrderChange,
    PatientChange,
    Plan,
    ProcedureChange,
    StartMissing,
    StepChange,
    merged,
)

_START = ("ScheduledProcedureStepStartDate", "ScheduledProcedureStepStartTime")
_END = ("ScheduledProcedureStepEndDate", "ScheduledProcedureStepEndTime")
_AHEAD = 86_400  # seconds: a time of a message further in our future is a mistake and must not make others look old


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What a plan depends on besides the change.

    `at` is the aware time of receipt on the site's clock. `owners` maps each Study Instance UID of the message to the
    row of the order that has it, `joined` are those of orders that were joined into this one. `patient` is the stored
    one of the message's identifier. `cancels` came before the order. `holders` are other orders that have an accession
    number which this one may get.
    """

    stored: Order | None
    patient: Patient | None
    owners: Mapping[str, int]
    joined: Collection[str] = ()
    at: datetime
    default_station: str
    mint: identifiers.Minter
    sender: str = ""
    cancels: Sequence[KeptCancel] = ()
    holders: Sequence[AccessionHolder] = ()


def make(change: OrderChange, now: Situation) -> Plan:
    """Plan one order change."""
    action = lifecycle.action(change.control, change.order_status)
    stored = now.stored
    if stored is not None and action is not Action.NOTHING and not same_patient(stored.patient, change.patient):
        finding = Finding("PID^1^3", ErrorCode.DUPLICATE_KEY, "The order belongs to another patient")
        return Plan(action=OrderAction.REFUSED, findings=(finding,), row=stored.row, done=False)
    if action is not Action.WRITE:
        return progress.make(change, action, stored)
    if stored is not None and progress.older(change, stored.written, now.sender):
        return progress.late(change, stored, "The order was changed by a newer message: recorded without effect")
    repeated = uniqueness.repeated_number(change, stored) if stored is not None else None
    if repeated is not None and stored is not None:
        return Plan(action=OrderAction.REFUSED, findings=(repeated,), row=stored.row, done=False)
    if stored is not None and stored.steps() and all(step.status in lifecycle.ENDED for step in stored.steps()):
        return progress.late(change, stored)
    result = _Writing(change, now).plan()
    return progress.cancelled(change, result, now.cancels) if result.order and stored is None else result


def same_patient(stored: Patient, change: PatientChange) -> bool:
    """Whether a message means the stored patient, by a retired identifier too; an issuer counts where both have one."""
    known = (EntityId(stored.patient_id, stored.issuer), *stored.aliases)
    return any(
        one.number == change.patient_id and (one.issuer == change.issuer or not one.issuer or not change.issuer)
        for one in known
    )


def study_candidates(change: OrderChange, procedure: ProcedureChange, accession: str) -> tuple[str, ...]:
    """Study Instance UIDs for a procedure that could be made of its accession number, the best first."""
    issuers = [*change.request.get("IssuerOfAccessionNumberSequence", []), {}]
    issuer = issuers[0].get("UniversalEntityID") or issuers[0].get("LocalNamespaceEntityID", "")
    number = change.filler.number or change.placer.number
    return identifiers.study_from_accession(accession, issuer, procedure.requested_procedure_id, number)


def _ends_too_early(attributes: Document) -> bool:
    """Whether a step would end before it starts, as one does whose start alone is moved."""
    start, end = ([attributes.get(keyword, "") for keyword in pair] for pair in (_START, _END))
    return bool(end[0]) and [end[0], end[1] or "235959"] < start


def meant_procedure(change: ProcedureChange, stored: Sequence[Procedure], taken: Collection[int]) -> int | None:
    """The index of the stored procedure that a change means: by its identifier, its study, else the next one."""
    free = [index for index in range(len(stored)) if index not in taken]
    number, study = change.requested_procedure_id, change.study_instance_uid
    tests = (
        lambda p: bool(number) and p.requested_procedure_id == number,
        lambda p: bool(study) and p.study_instance_uid == study,
        # an identifier of ours gives way to one of the message, none of the message means the next one
        lambda p: not (change.apart and study) and (not number or "RequestedProcedureID" not in p.attributes),
    )
    return next((index for test in tests for index in free if test(stored[index])), None)


def meant_step(
    change: StepChange, position: int, stored: Sequence[Step], taken: Collection[int], named: Collection[str]
) -> int | None:
    """The index of the stored step that a change means, the `position`-th one: by its identifier, else by its place.

    `named` are the identifiers of all steps of the change.
    """
    for index, other in enumerate(stored):
        if change.step_id and other.step_id == change.step_id and index not in taken:
            return index
    if change.apart or position >= len(stored) or position in taken or stored[position].step_id in named:
        return None
    ours = "ScheduledProcedureStepID" not in stored[position].attributes
    return position if ours or not change.step_id else None


class _Writing:
    """Creates or updates an order; collects findings on the way."""

    def __init__(self, change: OrderChange, now: Situation) -> None:
        self._change, self._now = change, now
        self._findings: list[Finding] = []
        self._made: set[str] = set()  # Study Instance UIDs made of the accession number

    def plan(self) -> Plan:
        change, stored = self._change, self._now.stored
        placer = change.placer if change.placer.number else (stored.placer if stored else change.placer)
        filler = change.filler if change.filler.number else (stored.filler if stored else change.filler)
        given: Document = {}
        if change.control == "SN" and not filler.number:
            filler = EntityId(self._now.mint.short("F"))
            given = {"FillerOrderNumberImagingServiceRequest": filler.number}
        known = stored.patient if stored else self._now.patient
        accession, told = uniqueness.accession(
            change, stored, (placer, filler), known.row if known else None, self._now.holders, self._now.mint
        )
        self._findings += told
        order = Order(
            row=stored.row if stored else None,
            patient=self._patient(),
            placer=placer,
            filler=filler,
            accession=accession,
            attributes=merged(
                stored.attributes if stored else change.defaults, {**change.visit, **change.request, **given}
            ),
            procedures=self._procedures(accession),
            written=self._written(),
        )
        if stored is not None and order != stored and change.control in lifecycle.NEW:
            self._findings.append(
                Finding(
                    change.control_location,
                    ErrorCode.DUPLICATE_KEY,
                    "Known order: treated as a change",
                    Severity.WARNING,
                )
            )
        findings = tuple(self._findings)
        if any(finding.is_error for finding in findings):
            return Plan(action=OrderAction.REFUSED, findings=findings, row=order.row, done=False)
        if order == stored:
            # it was asked for again, later: what was asked for in between must not overwrite it
            return Plan(action=OrderAction.UNCHANGED, findings=findings, row=order.row, written=order.written)
        action = OrderAction.UPDATED if stored else OrderAction.CREATED
        return Plan(action=action, order=order, findings=findings, row=order.row)

    def _written(self) -> Written:
        change, limit = self._change, self._now.at.timestamp() + _AHEAD
        starts = [span.start if span and span.start < limit else 0 for span in (change.ordered, change.sent)]
        return Written(self._now.sender, *starts)

    def _patient(self) -> Patient:
        change = self._change.patient
        known = self._now.stored.patient if self._now.stored else self._now.patient
        if known is None:
            return Patient(None, change.patient_id, change.issuer, merged(change.defaults, change.attributes))
        return replace(known, attributes=merged(known.attributes, change.attributes))

    def _procedures(self, accession: str) -> tuple[Procedure, ...]:
        """Stored procedures, changed where the message has them, then new ones."""
        stored = list(self._now.stored.procedures) if self._now.stored else []
        result: list[Procedure] = list(stored)
        taken: set[int] = set()
        patient = self._patient().row
        elsewhere = {one for holder in self._now.holders if holder.patient != patient for one in holder.procedures}
        for change in self._change.procedures:
            index = meant_procedure(change, stored, taken)
            old = stored[index] if index is not None else None
            used = elsewhere | {p.requested_procedure_id for i, p in enumerate(result) if i != index}
            used |= {other.requested_procedure_id for other in self._change.procedures if other is not change}
            procedure = self._procedure(change, old, accession, used)
            if index is None:
                result.append(procedure)
            else:
                taken.add(index)
                result[index] = procedure
        return tuple(result)

    def _procedure(self, change: ProcedureChange, old: Procedure | None, accession: str, used: set[str]) -> Procedure:
        now = self._now
        uid = change.study_instance_uid
        owner = now.owners.get(uid)
        if old is not None and uid in now.joined:
            text = "Study Instance UID is that of an order that was joined with this one: that of this one is kept"
            self._findings.append(Finding(change.uid_location, ErrorCode.DUPLICATE_KEY, text, Severity.WARNING))
            uid = old.study_instance_uid
        elif owner is not None and (old is None or uid != old.study_instance_uid):
            self._findings.append(
                Finding(change.uid_location, ErrorCode.DUPLICATE_KEY, "Study Instance UID belongs to another procedure")
            )
        begun = old is not None and any(step.status not in lifecycle.WAITING for step in old.steps)
        if old is not None and begun and uid not in {"", old.study_instance_uid}:
            text = "Examination has begun: its Study Instance UID is kept"
            self._findings.append(Finding(change.uid_location, ErrorCode.ACCEPTED, text, Severity.WARNING))
            uid = old.study_instance_uid
        procedure_id = identifiers.requested_procedure_id(
            change.requested_procedure_id,
            old.requested_procedure_id if old else "",
            accession,
            used,
            now.mint,
            self._change.identifiers.requested_procedure_id,
        )
        if not procedure_id:
            self._missing(change.id_location, "Requested procedure id is missing")
        return Procedure(
            row=old.row if old else None,
            requested_procedure_id=procedure_id,
            study_instance_uid=self._study(change, uid, old, accession),
            attributes=merged(old.attributes if old else change.defaults, change.attributes),
            steps=self._steps(change.steps, old.steps if old else ()),
        )

    def _study(self, change: ProcedureChange, uid: str, old: Procedure | None, accession: str) -> str:
        """Study Instance UID by the policy of the mapping."""
        policy = self._change.identifiers.study_instance_uid
        if not uid and old is None and policy == "require":
            self._missing(change.uid_location, "Study Instance UID is missing")
        if not uid and old is None and policy == "from-accession":
            candidates = study_candidates(self._change, change, accession)
            free = [made_uid for made_uid in candidates if made_uid not in {*self._now.owners, *self._made}]
            if not candidates:
                self._missing(self._change.accession_location, "Accession number is missing")
            elif not free:
                text = "Study Instance UID made from the accession number belongs to another procedure"
                self._findings.append(Finding(self._change.accession_location, ErrorCode.DUPLICATE_KEY, text))
            uid = free[0] if free else ""
            self._made.add(uid)
        return identifiers.study_instance_uid(uid, old.study_instance_uid if old else "", self._now.mint)

    def _missing(self, location: str, text: str) -> None:
        finding = Finding(location, ErrorCode.REQUIRED_FIELD_MISSING, text)
        if finding not in self._findings:
            self._findings.append(finding)

    def _start(self, change: StepChange) -> Document:
        """Start of a new step whose order names none, by the policy of the mapping."""
        policy = self._change.start_missing
        if policy is StartMissing.REFUSE:
            self._missing(change.start_location, "Start is missing")
            return {}
        text = "Start is missing: the time of receipt is used"
        if policy is StartMissing.UNSCHEDULED:
            text = "Start is missing: the step is in no worklist until one comes"
        finding = Finding(change.start_location, ErrorCode.REQUIRED_FIELD_MISSING, text, Severity.WARNING)
        self._findings.append(finding)
        at = self._now.at
        return {} if policy is StartMissing.UNSCHEDULED else {_START[0]: f"{at:%Y%m%d}", _START[1]: f"{at:%H%M%S}"}

    def _steps(self, changes: tuple[StepChange, ...], stored: tuple[Step, ...]) -> tuple[Step, ...]:
        result = list(stored)
        taken: set[int] = set()
        named = {change.step_id for change in changes if change.step_id}
        for position, change in enumerate(changes):
            index = meant_step(change, position, stored, taken, named)
            if index is None:
                last = max((step.position for step in result), default=-1)
                result.append(self._step(change, None, last + 1))
                continue
            taken.add(index)
            if stored[index].status in lifecycle.ENDED:
                text = "The step has ended: its change is recorded without effect"
                self._findings.append(
                    Finding(self._change.control_location, ErrorCode.ACCEPTED, text, Severity.WARNING)
                )
            else:
                result[index] = self._step(change, stored[index], stored[index].position)
        return tuple(result)

    def _step(self, change: StepChange, old: Step | None, position: int) -> Step:
        now = self._now
        attributes = merged(old.attributes if old else change.defaults, change.attributes)
        # a known step without a start has lost its appointment: it waits for another one
        unscheduled = old is None and not attributes.get("ScheduledProcedureStepStartDate")
        if unscheduled:
            attributes |= self._start(change)
        if _ends_too_early(attributes):
            if change.attributes.get(_END[0]):
                text = "End is before the start and is left out"
                self._findings.append(Finding(change.start_location, ErrorCode.DATA_TYPE, text, Severity.WARNING))
            attributes = {keyword: value for keyword, value in attributes.items() if keyword not in _END}
        if not attributes.get("Modality"):
            self._findings.append(
                Finding(change.modality_location, ErrorCode.REQUIRED_FIELD_MISSING, "Modality is missing")
            )
        before = old.attributes if old else change.defaults
        known = tuple(before.get("ScheduledStationAETitle", ()))
        attributes["ScheduledStationAETitle"] = list(identifiers.stations(change.stations, known, now.default_station))
        order = self._change.identifiers.step_id
        step_id = identifiers.step_id(change.step_id, old.step_id if old else "", now.mint, order)
        if not step_id:
            self._missing(change.step_location, "Scheduled procedure step id is missing")
        status = lifecycle.advanced(old.status if old else StepStatus.SCHEDULED, change.status)
        held = old.held if old else self._change.order_status == "HD"
        return Step(
            old.row if old else None, step_id, position, status, attributes, held and status in lifecycle.WAITING
        )
