"""Builds the messages that tell a RIS of an order, by hl7apy: ORM^O01, OMG^O19, OMI^O23 or ORU^R01.

Fields as in IHE RAD-4 and RAD-13, all of the stored order. Every value is escaped before it enters the message, so that
none of it can begin a component, field or segment. Retries give the same bytes as long as nobody changes the order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any

from hl7apy.core import Message

from broker.errors import BadContent
from broker.hl7.fields import IPC, MSH, OBR, OBX, ORC, PID, PV1, TQ1, ZDS
from broker.hl7.text import charset, labels
from broker.hl7.writer import SegmentWriter
from broker.model.order import Document, EntityId, Order, Patient, Procedure, Step
from broker.orders.core import names
from broker.orders.mapping.as_sent import as_sent, number_as_sent
from broker.orders.telling.feedback import Notice, OrderEvent
from broker.site.feedback import Feedback
from broker.site.nodes import Node

_REASONS = {
    OrderEvent.ARRIVED: ("ARRIVED", "Patient has arrived"),
    OrderEvent.IMAGES: ("IMAGES", "First images received"),
}  # ORC-16, for what ORC-5 has no code for
_PRIORITIES = {
    "STAT": ("S", "Stat"), "HIGH": ("A", "ASAP"), "ROUTINE": ("R", "Routine"), "MEDIUM": ("T", "Timing critical"),
    "LOW": ("R", "Routine"),
}  # fmt: skip
_WITH_STUDY = (OrderEvent.PARTIAL, OrderEvent.COMPLETED, OrderEvent.IMAGES)  # events after which there may be images
_CHOICES = {"2.3.1": "orm_o01_choice", "2.5.1": "orm_o01_obrrqdrq1rxoodsodt_suppgrp"}  # hl7apy's names


@dataclass(frozen=True, slots=True)
class SendingParty:
    """MSH-3 and MSH-4 of what we send."""

    application: str
    facility: str


class NotInCharset(BadContent):
    """An identifier cannot be written in the character set of the receiver: it would be another one."""

    code = "not-in-charset"


def build(order: Order, notice: Notice, node: Node, ours: SendingParty, zone: tzinfo) -> bytes:
    """The message of a notice for a node with feedback, times on the site's clock. Raises NotInCharset."""
    assert node.feedback is not None
    wanted = node.feedback
    structure = wanted.message.replace("^", "_")
    message = Message(structure, version=wanted.version)
    text = _Text(tuple(wanted.charset.split("~")))
    _Writing(message, structure, order, notice, node, text, zone).write(ours, wanted)
    # hl7apy separates segments, but each of them is to end (HL7 2.5.1 §2.5.2)
    return charset.encode(charset.limited(f"{message.to_er7()}\r", text.names), labels.codec_of(text.names))


class _Text:
    """Values as they stand in a message: escaped, and in its character set."""

    def __init__(self, names: tuple[str, ...]) -> None:
        """`names` of its character sets (HL7 table 0211)."""
        self.names = names
        self._writer = SegmentWriter()

    def plain(self, *parts: str) -> str:
        """Components of text."""
        return self._writer.value(parts)

    def exact(self, *parts: str) -> str:
        """Components of an identifier. Raises NotInCharset."""
        if not self.fits(*parts):
            raise NotInCharset
        return self.plain(*parts)

    def under(self, *parts: str) -> str:
        """Subcomponents of an identifier. Raises NotInCharset."""
        if not self.fits(*parts):
            raise NotInCharset
        return self._writer.subcomponents(parts)

    def fits(self, *parts: str) -> bool:
        """The character set holds all of it."""
        text = "".join(parts)
        return charset.limited(text, self.names) == text


class _Writing:
    """One message while it is filled."""

    def __init__(
        self, message: Any, structure: str, order: Order, notice: Notice, node: Node, text: _Text, zone: tzinfo
    ) -> None:
        self._message, self._prefix = message, structure.lower()
        self._order, self._notice, self._node, self._text, self._zone = order, notice, node, text, zone

    def write(self, ours: SendingParty, wanted: Feedback) -> None:
        self._header(ours, wanted)
        above = self._message  # hl7apy makes groups that are read on the fly, but loses what is added to these
        if self._prefix == "oru_r01":
            above = above.add_group("oru_r01_patient_result")
        patient = above.add_group(f"{self._prefix}_patient")
        self._pid(patient.pid, self._order.patient)
        self._pv1(patient)
        for number, procedure in enumerate(self._order.procedures, 1):
            self._group(above, number, procedure, wanted.version)

    def _time(self, at: float | None, form: str = "%Y%m%d%H%M%S") -> str:
        return datetime.fromtimestamp(at, self._zone).strftime(form) if at is not None else ""

    def _header(self, ours: SendingParty, wanted: Feedback) -> None:
        msh, text = self._message.msh, self._text
        kind = wanted.message if wanted.version == "2.3.1" else f"{wanted.message}^{self._prefix.upper()}"
        fields = {
            MSH.SENDING_APPLICATION: text.plain(ours.application),
            MSH.SENDING_FACILITY: text.plain(ours.facility),
            MSH.RECEIVING_APPLICATION: text.plain(self._node.application),
            MSH.RECEIVING_FACILITY: text.plain(self._node.facility),
            MSH.TIME: self._time(self._notice.at, "%Y%m%d%H%M%S%z"),
            MSH.MESSAGE_TYPE: kind,
            MSH.CONTROL_ID: self._notice.control_id,
            MSH.PROCESSING_ID: "P",
        }
        _fill(msh, fields)
        if wanted.charset:
            _repeat(msh, MSH.CHARACTER_SET, wanted.charset.split("~"))
        if "~" in wanted.charset:  # sets that are reached by escapes (HL7 2.5.1 §2.16.9.20)
            _fill(msh, {MSH.CHARACTER_SET_SCHEME: "ISO 2022-1994"})

    def _pid(self, pid: Any, patient: Patient) -> None:
        text, known = self._text, patient.attributes
        qualifiers = (known.get("IssuerOfPatientIDQualifiersSequence") or [{}])[0]
        universal = qualifiers.get("UniversalEntityID", "")
        namespace = "" if patient.issuer == universal else patient.issuer  # a sender may have only that one
        authority = text.under(namespace, universal, qualifiers.get("UniversalEntityIDType", ""))
        kind = text.exact(qualifiers.get("IdentifierTypeCode", ""))
        written = as_sent(known, "PatientID", patient.patient_id)
        number = "^".join((text.exact(written), "", "", authority, kind)).rstrip("^")
        _fill(pid, {PID.SET_ID: "1", PID.IDENTIFIERS: number})
        _repeat(pid, PID.NAME, self._names(known.get("PatientName", "")))
        _fill(pid, {PID.BIRTH_DATE: known.get("PatientBirthDate", ""), PID.SEX: known.get("PatientSex", "")})

    def _names(self, name: str) -> list[str]:
        """Writings of a name that the character set holds; the first one anyhow."""
        writings = names.to_xpn(name)
        held = [writing for writing in writings if self._text.fits(*writing[1])] or writings[:1]
        more = len(held) > 1 or any(letter != "A" for letter, _ in held)
        return [self._text.plain(*parts, "", "L", letter if more else "") for letter, parts in held]

    def _pv1(self, patient: Any) -> None:
        text, known = self._text, self._order.attributes
        number = known.get("AdmissionID", "")
        kinds = known.get("RouteOfAdmissions", "")
        if not number and not kinds:
            return
        pv1 = patient.add_group(f"{self._prefix}_patient_visit" if self._prefix != "oru_r01" else "oru_r01_visit").pv1
        _fill(pv1, {PV1.SET_ID: "1", PV1.CLASS: text.plain(kinds or "U")})
        issuer = (known.get("IssuerOfAdmissionIDSequence") or [{}])[0]
        if number:
            written = as_sent(known, "AdmissionID", number)
            visit = "^".join((text.exact(written), "", "", text.under(*_authority(issuer)))).rstrip("^")
            _fill(pv1, {PV1.VISIT_NUMBER: visit})

    def _group(self, above: Any, number: int, procedure: Procedure, version: str) -> None:
        """ORC, timing, OBR and what belongs to them, for one requested procedure."""
        oru, orm = self._prefix == "oru_r01", self._prefix == "orm_o01"
        group = above.add_group("oru_r01_order_observation" if oru else f"{self._prefix}_order")
        self._orc(group.orc)
        if version != "2.3.1" and not orm:
            self._tq1(group.add_group("oru_r01_timing_qty" if oru else f"{self._prefix}_timing").tq1, procedure)
        detail = group.add_group("orm_o01_order_detail").add_group(_CHOICES[version]) if orm else group
        self._obr(detail.obr, number, procedure)
        if orm:
            zds = group.add_segment("ZDS")
            zds.add_field(f"zds_{ZDS.STUDY_UID}")
            owner = self._text.plain(self._node.application, "Application", "DICOM")
            _fill(zds, {ZDS.STUDY_UID: f"{self._text.exact(procedure.study_instance_uid)}^{owner}"})
        elif oru or self._notice.event in _WITH_STUDY:
            self._obx(group.add_group(f"{self._prefix}_observation").obx, procedure)
        if self._prefix == "omi_o23":
            for step in procedure.steps:
                self._ipc(group.add_segment("IPC"), procedure, step)

    def _entity(self, entity: EntityId, keyword: str, authority: str) -> str:
        """An EI of an order number, as the orderer writes it."""
        known = self._order.attributes
        issuer = (known.get(authority) or [{}])[0]
        parts = number_as_sent(
            known, keyword, entity.number, *(_authority(issuer) if issuer else (entity.issuer, "", ""))
        )
        return self._text.exact(*parts) if parts[0] else ""

    def _placer(self) -> str:
        return self._entity(
            self._order.placer, "PlacerOrderNumberImagingServiceRequest", "OrderPlacerIdentifierSequence"
        )

    def _filler(self) -> str:
        return self._entity(
            self._order.filler, "FillerOrderNumberImagingServiceRequest", "OrderFillerIdentifierSequence"
        )

    def _accession(self) -> str:
        return as_sent(self._order.attributes, "AccessionNumber", self._order.accession)

    def _orc(self, orc: Any) -> None:
        fields = {
            ORC.CONTROL: "SC",
            ORC.PLACER: self._placer(),
            ORC.FILLER: self._filler(),
            ORC.STATUS: self._notice.status,
            ORC.TIME: self._time(self._notice.at),
        }
        _fill(orc, fields)
        if self._notice.event in _REASONS:
            _fill(orc, {ORC.REASON: self._text.plain(*_REASONS[self._notice.event], "L")})

    def _tq1(self, tq1: Any, procedure: Procedure) -> None:
        planned = min((step.start_at for step in procedure.steps if step.start_at), default="")
        fields = {
            TQ1.SET_ID: "1",
            TQ1.START: self._time(self._notice.began) or planned,
            TQ1.END: self._time(self._notice.ended) if self._notice.began is not None else "",
        }
        priority = _PRIORITIES.get(procedure.attributes.get("RequestedProcedurePriority", ""))
        if priority:
            fields[TQ1.PRIORITY] = self._text.plain(*priority, "HL70485")
        _fill(tq1, fields)

    def _obr(self, obr: Any, number: int, procedure: Procedure) -> None:
        text, steps = self._text, procedure.steps
        fields = {
            OBR.SET_ID: str(number),
            OBR.PLACER: self._placer(),
            OBR.FILLER: self._filler(),
            OBR.SERVICE: self._service(procedure.attributes),
            OBR.BEGAN: self._time(self._notice.began),
            OBR.ENDED: self._time(self._notice.ended),
            OBR.ACCESSION: text.exact(self._accession()),
            OBR.PROCEDURE_ID: text.exact(_procedure_id(procedure)),
            OBR.STEP_ID: text.exact(_step_id(steps[0])) if len(steps) == 1 else "",
            OBR.MODALITY: text.plain(steps[0].attributes.get("Modality", "")) if steps else "",
            OBR.RESULT_STATUS: self._notice.result,
        }
        _fill(obr, fields)

    def _service(self, known: Document) -> str:
        """OBR-4 as it was ordered: the code, else the description alone."""
        items: Sequence[Document] = known.get("RequestedProcedureCodeSequence") or []
        if not items:
            return self._text.plain("", known.get("RequestedProcedureDescription", ""))
        return self._code(items[0])

    def _code(self, item: Document) -> str:
        code = item.get("CodeValue") or item.get("LongCodeValue", "")
        scheme = item.get("CodingSchemeDesignator", "")
        # local codes came without a system or as L: the profile made them 99LOCAL
        return self._text.plain(code, item.get("CodeMeaning", ""), "L" if scheme == "99LOCAL" else scheme)

    def _obx(self, obx: Any, procedure: Procedure) -> None:
        fields = {OBX.SET_ID: "1", OBX.VALUE_TYPE: "ST", OBX.IDENTIFIER: "113014^DICOM Study^DCM"}
        if obx.version == "2.3.1":
            fields[OBX.SUB_ID] = "1"  # required there (HL7 2.3.1 §7.3.2)
        fields |= {OBX.VALUE: self._text.exact(procedure.study_instance_uid), OBX.STATUS: "O"}
        _fill(obx, fields)

    def _ipc(self, ipc: Any, procedure: Procedure, step: Step) -> None:
        text, known = self._text, step.attributes
        issuer = (self._order.attributes.get("IssuerOfAccessionNumberSequence") or [{}])[0]
        fields = {
            IPC.ACCESSION: text.exact(self._accession(), *_authority(issuer)),
            IPC.PROCEDURE_ID: text.exact(_procedure_id(procedure)),
            IPC.STUDY_UID: text.exact(procedure.study_instance_uid),
            IPC.STEP_ID: text.exact(_step_id(step)),
            IPC.MODALITY: text.plain(known.get("Modality", "")),
        }
        _fill(ipc, fields)
        _repeat(ipc, IPC.PROTOCOL, [self._code(item) for item in known.get("ScheduledProtocolCodeSequence", [])])
        fields = {
            IPC.STATION_NAME: text.plain(*known.get("ScheduledStationName", [])[:1]),
            IPC.LOCATION: text.plain(known.get("ScheduledProcedureStepLocation", "")),
            IPC.STATION_AE: text.plain(step.stations[0]) if step.stations else "",
        }
        _fill(ipc, fields)


def _procedure_id(procedure: Procedure) -> str:
    return as_sent(procedure.attributes, "RequestedProcedureID", procedure.requested_procedure_id)


def _step_id(step: Step) -> str:
    return as_sent(step.attributes, "ScheduledProcedureStepID", step.step_id)


def _fill(segment: Any, fields: Mapping[Any, str]) -> None:
    """Set fields of a segment of hl7apy, already escaped, by their numbers."""
    for number, value in fields.items():
        setattr(segment, f"{segment.name}_{number}".lower(), value)


def _repeat(segment: Any, number: int, values: Sequence[str]) -> None:
    """Repetitions of a field, already escaped."""
    for value in values:
        segment.add_field(f"{segment.name}_{number}".lower()).value = value


def _authority(item: Document) -> tuple[str, str, str]:
    """Namespace, universal id and its type of an issuer sequence item."""
    return (
        item.get("LocalNamespaceEntityID", ""),
        item.get("UniversalEntityID", ""),
        item.get("UniversalEntityIDType", ""),
    )
