"""Writes what ORR^O02, ORI^O24 and ORG^O20 carry besides MSA: the answers to order messages (HL7 2.5.1 §4.4).

Each order is answered by a reply code (table 0119), its status (table 0038) and its identifiers, those that were
generated among them. Codes that have no reply (an unsolicited change, a status) are answered by MSA alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from broker.hl7.acknowledgement import Body
from broker.hl7.fields import IPC, MSH, OBR, ORC, PID, ZDS
from broker.hl7.header import Header, Separators
from broker.hl7.writer import SegmentWriter, Value
from broker.model.order import Document, Patient, Procedure, Step, StepStatus
from broker.orders.core import lifecycle
from broker.orders.core.names import to_xpn
from broker.orders.core.values import OrderChange
from broker.orders.inbound.numbers import FILLER, PLACER
from broker.orders.mapping.as_sent import as_sent, number_as_sent
from broker.orders.stories.planned import OrderReply, Planned

_KINDS = {"ORM": ("ORR", "O02"), "OMI": ("ORI", "O24"), "OMG": ("ORG", "O20")}


def make(header: Header, plans: Sequence[Planned], *, applied: bool) -> Body | None:
    """The application answer to a message with these plans, all written or (`applied` false) none.

    None for messages that have no such answer.
    """
    kind = _KINDS.get(header.get(MSH.MESSAGE_TYPE, 1))
    if kind is None:
        return None
    lines = _ReplyLines(header.separators, ipc=kind[0] == "ORI")
    orders = [planned.reply for planned in plans if planned.reply is not None]
    segments = [line for reply in orders for line in lines.order(reply, applied and reply.done)]
    if segments:
        known = next((reply.order.patient for reply in orders if reply.order), None)
        segments.insert(0, lines.patient(known or _asked(orders[0].change)))
    return Body(*kind, tuple(segments))


def _asked(change: OrderChange) -> Patient:
    patient = change.patient
    return Patient(None, patient.patient_id, patient.issuer, patient.attributes)


def _procedures(reply: OrderReply) -> tuple[Procedure, ...]:
    """Those of the order, or what the message says of an order that is not there."""
    if reply.order is not None:
        return reply.order.procedures
    return tuple(
        Procedure(
            None,
            change.requested_procedure_id,
            change.study_instance_uid,
            change.attributes,
            tuple(Step(None, step.step_id, 0, StepStatus.SCHEDULED, step.attributes) for step in change.steps),
        )
        for change in reply.change.procedures
    )


class _ReplyLines:
    """Writes segments with the separators of the sender; `ipc`: steps are told in IPC, else in OBR-20 and ZDS."""

    def __init__(self, separators: Separators, *, ipc: bool) -> None:
        self._writer, self._ipc = SegmentWriter(separators), ipc

    def patient(self, patient: Patient) -> str:
        """PID with identifier and name."""
        writings = to_xpn(str(patient.attributes.get("PatientName", "")))
        many = len(writings) > 1
        names = [(*parts, "", "L", letter if many else "") for letter, parts in writings]
        number = (as_sent(patient.attributes, "PatientID", patient.patient_id), "", "", patient.issuer)
        return self._writer.segment("PID", {PID.IDENTIFIERS: number, PID.NAME: names})

    def order(self, reply: OrderReply, done: bool) -> Iterator[str]:
        """ORC, OBR and IPC of an order; nothing for an order control code without a reply."""
        code = lifecycle.reply(reply.change.control, done)
        if not code:
            return
        order, change = reply.order, reply.change
        placer, filler = (order.placer, order.filler) if order else (change.placer, change.filler)
        known = order.attributes if order else change.request
        numbers: dict[int, Value] = {  # OBR has both numbers in the same fields
            ORC.PLACER: number_as_sent(known, PLACER[0], placer.number, placer.issuer),
            ORC.FILLER: number_as_sent(known, FILLER[0], filler.number, filler.issuer),
        }
        accession = as_sent(known, "AccessionNumber", order.accession if order else change.accession)
        steps = order.steps() if order else ()
        status = lifecycle.order_status((step.status, step.held) for step in steps)
        orc = self._writer.segment("ORC", {ORC.CONTROL: code, **numbers, ORC.STATUS: status})
        count = 0
        for procedure in _procedures(reply):
            for step in procedure.steps[:1] if self._ipc else procedure.steps:
                count += 1
                yield orc
                yield self._obr(count, numbers, accession, procedure, step)
                if not self._ipc and procedure.study_instance_uid:
                    uid = (procedure.study_instance_uid, "", "Application", "DICOM")
                    yield self._writer.segment("ZDS", {ZDS.STUDY_UID: uid})
            if self._ipc:
                yield from (self._step(accession, procedure, step) for step in procedure.steps)

    def _obr(self, count: int, numbers: Mapping[int, Value], accession: str, procedure: Procedure, step: Step) -> str:
        attributes = procedure.attributes
        service = _code(attributes.get("RequestedProcedureCodeSequence"))
        if not any(service):
            service = ("", attributes.get("RequestedProcedureDescription", ""))
        fields: dict[int, Value] = {OBR.SET_ID: str(count), **numbers, OBR.SERVICE: service}
        if not self._ipc:
            fields |= {
                OBR.ACCESSION: accession,
                OBR.PROCEDURE_ID: as_sent(attributes, "RequestedProcedureID", procedure.requested_procedure_id),
                OBR.STEP_ID: as_sent(step.attributes, "ScheduledProcedureStepID", step.step_id),
                OBR.MODALITY: step.attributes.get("Modality", ""),
            }
        return self._writer.segment("OBR", fields)

    def _step(self, accession: str, procedure: Procedure, step: Step) -> str:
        fields: dict[int, Value] = {
            IPC.ACCESSION: accession,
            IPC.PROCEDURE_ID: as_sent(procedure.attributes, "RequestedProcedureID", procedure.requested_procedure_id),
            IPC.STUDY_UID: procedure.study_instance_uid,
            IPC.STEP_ID: as_sent(step.attributes, "ScheduledProcedureStepID", step.step_id),
            IPC.MODALITY: step.attributes.get("Modality", ""),
            IPC.STATION_AE: next(iter(step.stations), ""),
        }
        return self._writer.segment("IPC", fields)


def _code(sequence: Sequence[Document] | None) -> tuple[str, ...]:
    """Components of a CE for the first item of a code sequence."""
    if not sequence:
        return ()
    item = sequence[0]
    code = item.get("CodeValue") or item.get("LongCodeValue", "")
    return (code, item.get("CodeMeaning", ""), item.get("CodingSchemeDesignator", ""))
