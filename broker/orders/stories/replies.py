"""Application answers to order messages: what ORR^O02, ORI^O24 and ORG^O20 carry besides MSA (HL7 2.5.1 §4.4).

Each order is answered by a reply code (table 0119), its status (table 0038) and its identifiers, those that were
generated among them. Codes that have no reply (an unsolicited change, a status) are answered by MSA alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from broker.hl7.acknowledgement import Body
from broker.hl7.header import Header, Separators
from broker.model.order import Document, EntityId, Order, Patient, Procedure, Step, StepStatus
from broker.orders.core import lifecycle
from broker.orders.core.names import to_xpn
from broker.orders.core.values import OrderChange
from broker.orders.stories.ordering import PlannedOrder

_KINDS = {"ORM": ("ORR", "O02"), "OMI": ("ORI", "O24"), "OMG": ("ORG", "O20")}


def make(header: Header, plans: Sequence[object], *, applied: bool) -> Body | None:
    """The application answer to a message with these plans, all written or (`applied` false) none.

    None for messages that have no such answer.
    """
    kind = _KINDS.get(header.get(9, 1))
    if kind is None:
        return None
    lines = _Lines(header.separators, ipc=kind[0] == "ORI")
    orders = [made for made in plans if isinstance(made, PlannedOrder)]
    segments = [line for made in orders for line in lines.order(made, applied and made.made.done)]
    if segments:
        known = next((order.patient for order in map(_order, orders) if order), None)
        segments.insert(0, lines.patient(known or _asked(orders[0].change)))
    return Body(*kind, tuple(segments))


def _order(made: PlannedOrder) -> Order | None:
    return made.made.order or made.before


def _asked(change: OrderChange) -> Patient:
    patient = change.patient
    return Patient(None, patient.patient_id, patient.issuer, patient.attributes)


def _procedures(made: PlannedOrder) -> tuple[Procedure, ...]:
    """Those of the order, or what the message says of an order that is not there."""
    order = _order(made)
    if order is not None:
        return order.procedures
    return tuple(
        Procedure(
            None,
            change.requested_procedure_id,
            change.study_instance_uid,
            change.attributes,
            tuple(Step(None, step.step_id, 0, StepStatus.SCHEDULED, step.attributes) for step in change.steps),
        )
        for change in made.change.procedures
    )


class _Lines:
    """Writes segments with the separators of the sender; `ipc`: steps are told in IPC, else in OBR-20 and ZDS."""

    def __init__(self, mark: Separators, *, ipc: bool) -> None:
        self._mark, self._ipc = mark, ipc

    def _segment(self, name: str, fields: Mapping[int, str]) -> str:
        values = [fields.get(number, "") for number in range(1, max(fields) + 1)]
        return self._mark.field.join([name, *values]).rstrip(self._mark.field)

    def _parts(self, *parts: str) -> str:
        escaped = (self._mark.escaped(part) for part in parts)
        return self._mark.component.join(escaped).rstrip(self._mark.component)

    def patient(self, patient: Patient) -> str:
        """PID with identifier and name."""
        writings = to_xpn(str(patient.attributes.get("PatientName", "")))
        many = len(writings) > 1
        names = (self._parts(*parts, "", "L", letter if many else "") for letter, parts in writings)
        number = self._parts(patient.patient_id, "", "", patient.issuer)
        return self._segment("PID", {3: number, 5: self._mark.repetition.join(names)})

    def order(self, made: PlannedOrder, done: bool) -> Iterator[str]:
        """ORC, OBR and IPC of an order; nothing for an order control code without a reply."""
        code = lifecycle.reply(made.change.control, done)
        if not code:
            return
        order, change = _order(made), made.change
        placer, filler = (order.placer, order.filler) if order else (change.placer, change.filler)
        numbers = {2: self._entity(placer), 3: self._entity(filler)}
        accession = order.accession if order else change.accession
        steps = order.steps() if order else ()
        status = lifecycle.order_status((step.status, step.held) for step in steps)
        orc = self._segment("ORC", {1: code, **numbers, 5: status})
        count = 0
        for procedure in _procedures(made):
            for step in procedure.steps[:1] if self._ipc else procedure.steps:
                count += 1
                yield orc
                yield self._obr(count, numbers, accession, procedure, step)
                if not self._ipc and procedure.study_instance_uid:
                    uid = self._parts(procedure.study_instance_uid, "", "Application", "DICOM")
                    yield self._segment("ZDS", {1: uid})
            if self._ipc:
                yield from (self._step(accession, procedure, step) for step in procedure.steps)

    def _entity(self, entity: EntityId) -> str:
        return self._parts(entity.number, entity.issuer)

    def _obr(self, count: int, numbers: Mapping[int, str], accession: str, procedure: Procedure, step: Step) -> str:
        attributes = procedure.attributes
        service = self._code(attributes.get("RequestedProcedureCodeSequence"))
        service = service or self._parts("", attributes.get("RequestedProcedureDescription", ""))
        fields = {1: str(count), **numbers, 4: service}
        if not self._ipc:
            fields |= {
                18: self._parts(accession),
                19: self._parts(procedure.requested_procedure_id),
                20: self._parts(step.step_id),
                24: self._parts(step.attributes.get("Modality", "")),
            }
        return self._segment("OBR", fields)

    def _code(self, sequence: Sequence[Document] | None) -> str:
        if not sequence:
            return ""
        item = sequence[0]
        code = item.get("CodeValue") or item.get("LongCodeValue", "")
        return self._parts(code, item.get("CodeMeaning", ""), item.get("CodingSchemeDesignator", ""))

    def _step(self, accession: str, procedure: Procedure, step: Step) -> str:
        fields: dict[int, str] = {
            1: accession,
            2: procedure.requested_procedure_id,
            3: procedure.study_instance_uid,
            4: step.step_id,
            5: step.attributes.get("Modality", ""),
            9: next(iter(step.stations), ""),
        }
        return self._segment("IPC", {number: self._parts(value) for number, value in fields.items()})
