"""Builds what a RIS is told of an order by hl7apy (ORM^O01, OMG^O19, OMI^O23, ORU^R01), from the stored order alone.

Fields as in IHE RAD-4 and RAD-13. Every value is escaped before it enters the message, so that none of it can begin a
component, field or segment. Retries give the same bytes as long as nobody changes the order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any

from hl7apy.core import Message

from broker.errors import BadContent
from broker.hl7 import charset
from broker.hl7.header import Separators
from broker.model.order import Document, EntityId, Order, Patient, Procedure, Step
from broker.orders.core import names
from broker.orders.telling.feedback import Event, Notice
from broker.site.feedback import Feedback
from broker.site.nodes import Node

_REASONS = {
    Event.ARRIVED: ("ARRIVED", "Patient has arrived"),
    Event.IMAGES: ("IMAGES", "First images received"),
}  # ORC-16, for what ORC-5 has no code for
_PRIORITIES = {
    "STAT": ("S", "Stat"), "HIGH": ("A", "ASAP"), "ROUTINE": ("R", "Routine"), "MEDIUM": ("T", "Timing critical"),
    "LOW": ("R", "Routine"),
}  # fmt: skip
_WITH_STUDY = (Event.PARTIAL, Event.COMPLETED, Event.IMAGES)  # events after which there may be images
_CHOICES = {"2.3.1": "orm_o01_choice", "2.5.1": "orm_o01_obrrqdrq1rxoodsodt_suppgrp"}  # hl7apy's names


@dataclass(frozen=True, slots=True)
class Ours:
    """MSH-3 and MSH-4 of what we send."""

    application: str
    facility: str


class Unfit(BadContent):
    """An identifier cannot be written in the character set of the receiver: it would be another one."""

    code = "not-in-charset"


def build(order: Order, notice: Notice, node: Node, ours: Ours, zone: tzinfo) -> bytes:
    """The message of a notice for a node with feedback, times on the site's clock. Raises Unfit."""
    assert node.feedback is not None
    wanted = node.feedback
    structure = wanted.message.replace("^", "_")
    message = Message(structure, version=wanted.version)
    text = _Text(tuple(wanted.charset.split("~")))
    _Writing(message, structure, order, notice, node, text, zone).write(ours, wanted)
    # hl7apy separates segments, but each of them is to end (HL7 2.5.1 §2.5.2)
    return charset.encode(charset.limited(f"{message.to_er7()}\r", text.names), charset.codec_of(text.names))


class _Text:
    """Values as they stand in a message: escaped, and in its character set."""

    def __init__(self, names: tuple[str, ...]) -> None:
        """`names` of its character sets (HL7 table 0211)."""
        self.names = names
        self._escape: Callable[[str], str] = Separators().escaped

    def plain(self, *parts: str) -> str:
        """Components of text."""
        return "^".join(self._escape(part) for part in parts).rstrip("^")

    def exact(self, *parts: str) -> str:
        """Components of an identifier. Raises Unfit."""
        if not self.fits(*parts):
            raise Unfit
        return self.plain(*parts)

    def under(self, *parts: str) -> str:
        """Subcomponents of an identifier. Raises Unfit."""
        if not self.fits(*parts):
            raise Unfit
        return "&".join(self._escape(part) for part in parts).rstrip("&")

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

    def write(self, ours: Ours, wanted: Feedback) -> None:
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

    def _header(self, ours: Ours, wanted: Feedback) -> None:
        msh, text = self._message.msh, self._text
        msh.msh_3, msh.msh_4 = text.plain(ours.application), text.plain(ours.facility)
        msh.msh_5, msh.msh_6 = text.plain(self._node.application), text.plain(self._node.facility)
        msh.msh_7 = self._time(self._notice.at, "%Y%m%d%H%M%S%z")
        msh.msh_9 = wanted.message if wanted.version == "2.3.1" else f"{wanted.message}^{self._prefix.upper()}"
        msh.msh_10 = self._notice.control_id
        msh.msh_11 = "P"
        if wanted.charset:
            _repeat(msh, "msh_18", wanted.charset.split("~"))
        if "~" in wanted.charset:  # sets that are reached by escapes (HL7 2.5.1 §2.16.9.20)
            msh.msh_20 = "ISO 2022-1994"

    def _pid(self, pid: Any, patient: Patient) -> None:
        text, known = self._text, patient.attributes
        pid.pid_1 = "1"
        qualifiers = (known.get("IssuerOfPatientIDQualifiersSequence") or [{}])[0]
        universal = qualifiers.get("UniversalEntityID", "")
        namespace = "" if patient.issuer == universal else patient.issuer  # a sender may have only that one
        authority = text.under(namespace, universal, qualifiers.get("UniversalEntityIDType", ""))
        kind = text.exact(qualifiers.get("IdentifierTypeCode", ""))
        pid.pid_3 = "^".join((text.exact(patient.patient_id), "", "", authority, kind)).rstrip("^")
        _repeat(pid, "pid_5", self._names(known.get("PatientName", "")))
        pid.pid_7 = known.get("PatientBirthDate", "")
        pid.pid_8 = known.get("PatientSex", "")

    def _names(self, name: str) -> list[str]:
        """Writings of a name that the character set holds; the first one anyhow."""
        found = names.to_xpn(name)
        held = [writing for writing in found if self._text.fits(*writing[1])] or found[:1]
        more = len(held) > 1 or any(letter != "A" for letter, _ in held)
        return [self._text.plain(*parts, "", "L", letter if more else "") for letter, parts in held]

    def _pv1(self, patient: Any) -> None:
        text, known = self._text, self._order.attributes
        number = known.get("AdmissionID", "")
        kinds = known.get("RouteOfAdmissions", "")
        if not number and not kinds:
            return
        pv1 = patient.add_group(f"{self._prefix}_patient_visit" if self._prefix != "oru_r01" else "oru_r01_visit").pv1
        pv1.pv1_1, pv1.pv1_2 = "1", text.plain(kinds or "U")
        issuer = (known.get("IssuerOfAdmissionIDSequence") or [{}])[0]
        if number:
            pv1.pv1_19 = "^".join((text.exact(number), "", "", text.under(*_authority(issuer)))).rstrip("^")

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
            zds.add_field("zds_1")
            owner = self._text.plain(self._node.application, "Application", "DICOM")
            zds.zds_1 = f"{self._text.exact(procedure.study_instance_uid)}^{owner}"
        elif oru or self._notice.event in _WITH_STUDY:
            self._obx(group.add_group(f"{self._prefix}_observation").obx, procedure)
        if self._prefix == "omi_o23":
            for step in procedure.steps:
                self._ipc(group.add_segment("IPC"), procedure, step)

    def _entity(self, found: EntityId, keyword: str) -> str:
        """An EI of an order number."""
        issuer = (self._order.attributes.get(keyword) or [{}])[0]
        parts = _authority(issuer) if issuer else (found.issuer, "", "")
        return self._text.exact(found.number, *parts) if found.number else ""

    def _placer(self) -> str:
        return self._entity(self._order.placer, "OrderPlacerIdentifierSequence")

    def _filler(self) -> str:
        return self._entity(self._order.filler, "OrderFillerIdentifierSequence")

    def _orc(self, orc: Any) -> None:
        orc.orc_1 = "SC"
        orc.orc_2, orc.orc_3 = self._placer(), self._filler()
        orc.orc_5 = self._notice.status
        orc.orc_9 = self._time(self._notice.at)
        if self._notice.event in _REASONS:
            orc.orc_16 = self._text.plain(*_REASONS[self._notice.event], "L")

    def _tq1(self, tq1: Any, procedure: Procedure) -> None:
        tq1.tq1_1 = "1"
        planned = min((step.start_at for step in procedure.steps if step.start_at), default="")
        tq1.tq1_7 = self._time(self._notice.began) or planned
        tq1.tq1_8 = self._time(self._notice.ended) if self._notice.began is not None else ""
        priority = _PRIORITIES.get(procedure.attributes.get("RequestedProcedurePriority", ""))
        if priority:
            tq1.tq1_9 = self._text.plain(*priority, "HL70485")

    def _obr(self, obr: Any, number: int, procedure: Procedure) -> None:
        text, steps = self._text, procedure.steps
        obr.obr_1 = str(number)
        obr.obr_2, obr.obr_3 = self._placer(), self._filler()
        obr.obr_4 = self._service(procedure.attributes)
        obr.obr_7, obr.obr_8 = self._time(self._notice.began), self._time(self._notice.ended)
        obr.obr_18 = text.exact(self._order.accession)
        obr.obr_19 = text.exact(procedure.requested_procedure_id)
        obr.obr_20 = text.exact(steps[0].step_id) if len(steps) == 1 else ""
        obr.obr_24 = text.plain(steps[0].attributes.get("Modality", "")) if steps else ""
        obr.obr_25 = self._notice.result

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
        obx.obx_1 = "1"
        obx.obx_2 = "ST"
        obx.obx_3 = "113014^DICOM Study^DCM"
        if obx.version == "2.3.1":
            obx.obx_4 = "1"  # required there (HL7 2.3.1 §7.3.2)
        obx.obx_5 = self._text.exact(procedure.study_instance_uid)
        obx.obx_11 = "O"

    def _ipc(self, ipc: Any, procedure: Procedure, step: Step) -> None:
        text, known = self._text, step.attributes
        issuer = (self._order.attributes.get("IssuerOfAccessionNumberSequence") or [{}])[0]
        ipc.ipc_1 = text.exact(self._order.accession, *_authority(issuer))
        ipc.ipc_2 = text.exact(procedure.requested_procedure_id)
        ipc.ipc_3 = text.exact(procedure.study_instance_uid)
        ipc.ipc_4 = text.exact(step.step_id)
        ipc.ipc_5 = text.plain(known.get("Modality", ""))
        _repeat(ipc, "ipc_6", [self._code(item) for item in known.get("ScheduledProtocolCodeSequence", [])])
        ipc.ipc_7 = text.plain(*known.get("ScheduledStationName", [])[:1])
        ipc.ipc_8 = text.plain(known.get("ScheduledProcedureStepLocation", ""))
        ipc.ipc_9 = text.plain(step.stations[0]) if step.stations else ""


def _repeat(segment: Any, field: str, values: Sequence[str]) -> None:
    """Repetitions of a field, already escaped."""
    for value in values:
        segment.add_field(field).value = value


def _authority(item: Document) -> tuple[str, str, str]:
    """Namespace, universal id and its type of an issuer sequence item."""
    return (
        item.get("LocalNamespaceEntityID", ""),
        item.get("UniversalEntityID", ""),
        item.get("UniversalEntityIDType", ""),
    )
