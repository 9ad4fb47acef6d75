"""Builds the XML of an audit message by the schema of PS3.15 A.5.1."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, tzinfo
from ipaddress import ip_address
from xml.etree.ElementTree import Element, SubElement, tostring

from broker.audit.messages.meaning import (
    APPLICATION_ACTIVITY,
    AUDIT_LOG_USED,
    INSTANCES_TRANSFERRED,
    QUERY,
    SECURITY_ALERT,
    USER_AUTHENTICATION,
    Code,
    Meaning,
    meaning,
)
from broker.model.audit import LOCAL, AuditContext, AuditRecord

_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, production Char
APPLICATION, LAUNCHER = Code("110150", "Application"), Code("110151", "Application Launcher")
DESTINATION, SOURCE = Code("110152", "Destination Role ID"), Code("110153", "Source Role ID")
_PATIENT_NUMBER = Code("2", "Patient Number", "RFC-3881")
_URI = Code("12", "URI", "RFC-3881")
_STUDY, _SOP_CLASS, _NODE = (
    Code("110180", "Study Instance UID"),
    Code("110181", "SOP Class UID"),
    Code("110182", "Node ID"),
)
_OURS = "99BROKER"  # scheme of kinds of objects that have no code
_WORKLIST = "1.2.840.10008.5.1.4.31"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reporter:
    """Who reports: the host, our AE title, the zone of the site.

    `csd`: codes have the attribute `csd-code` of the standard, else `code` of RFC 3881. `names`: those of patients are
    told too.
    """

    host: str
    ae_title: str
    zone: tzinfo
    csd: bool = True
    names: bool = False


def build(record: AuditRecord, context: AuditContext, reporter: Reporter) -> bytes:
    """The message of a row, as UTF-8 without a declaration."""
    text: bytes = tostring(_Message(record, context, reporter).root, encoding="utf-8", xml_declaration=False)
    return text


class _Message:
    def __init__(self, record: AuditRecord, context: AuditContext, reporter: Reporter) -> None:
        self._record, self._context, self._reporter = record, context, reporter
        self._meaning: Meaning = meaning(record)
        self.root = Element("AuditMessage")
        self._event()
        for participant in self._participants():
            self._participant(*participant)
        source = _sub(self.root, "AuditSourceIdentification", AuditSourceID=reporter.host)
        code = _sub(source, "AuditSourceTypeCode")
        code.set(self._code_name, "4")  # application server
        self._objects()

    @property
    def _code_name(self) -> str:
        return "csd-code" if self._reporter.csd else "code"

    def _code(self, parent: Element, tag: str, code: Code) -> None:
        element = SubElement(parent, tag)
        element.set(self._code_name, code.value)
        element.set("codeSystemName", code.scheme)
        element.set("originalText", _clean(code.meaning))

    def _event(self) -> None:
        at = datetime.fromtimestamp(self._record.at, self._reporter.zone).isoformat(timespec="milliseconds")
        event = _sub(
            self.root,
            "EventIdentification",
            EventActionCode=self._meaning.action,
            EventDateTime=at,
            EventOutcomeIndicator=self._meaning.outcome,
        )
        self._code(event, "EventID", self._meaning.event)
        if self._meaning.kind is not None:
            self._code(event, "EventTypeCode", self._meaning.kind)

    # --- who ---------------------------------------------------------------------------------------------

    def _participants(self) -> Iterator[tuple[str, str, bool, Code | None]]:
        """User, address, whether it began, and its role. Exactly one began it."""
        event, ours = self._meaning.event, (self._reporter.ae_title, LOCAL)
        actor = (self._record.actor or "broker", self._record.address)
        if event is APPLICATION_ACTIVITY:
            yield *ours, False, APPLICATION
            yield *actor, True, LAUNCHER
        elif self._record.action == "objects.sent":
            yield *ours, True, SOURCE
            yield str(self._record.detail.get("node", "")), self._record.address, False, DESTINATION
        elif event in (QUERY, INSTANCES_TRANSFERRED):
            yield *actor, True, SOURCE
            yield *ours, False, DESTINATION
        else:
            yield *actor, True, None
            if self._record.actor != "broker" and event is not AUDIT_LOG_USED:
                yield *ours, False, None

    def _participant(self, user: str, address: str, began: bool, role: Code | None) -> None:
        element = _sub(self.root, "ActiveParticipant", UserID=user, UserIsRequestor="true" if began else "false")
        title = user.removeprefix("dicom:")
        if title != user or user == self._reporter.ae_title:
            element.set("AlternativeUserID", _clean(f"AETITLES={title}"))
        if address in ("", LOCAL):
            address = self._reporter.host if address == LOCAL else ""
        if address:
            element.set("NetworkAccessPointID", _clean(address))
            element.set("NetworkAccessPointTypeCode", "2" if _is_ip(address) else "1")
        if role is not None:
            self._code(element, "RoleIDCode", role)

    # --- what --------------------------------------------------------------------------------------------

    def _objects(self) -> None:
        event, record = self._meaning.event, self._record
        if event is AUDIT_LOG_USED:
            self._object("2", "13", _URI, "audit", "Security Audit Log")
        elif event is QUERY:
            self._query()
        elif event is SECURITY_ALERT:
            code = _NODE if record.kind in ("node", "nodes", "device") else Code(record.kind, record.kind, _OURS)
            element = self._object("2", "13", code, self._name())
            _detail(element, "Alert Description", self._said())
        elif event not in (APPLICATION_ACTIVITY, USER_AUTHENTICATION):
            self._studies()
        if event is not AUDIT_LOG_USED or self._context.patient is not None:
            self._patient()

    def _name(self) -> str:
        return f"{self._record.kind}/{self._record.object_id}" if self._record.object_id else self._record.kind

    def _said(self) -> str:
        return json.dumps({"action": self._record.action, **self._record.detail}, ensure_ascii=False)

    def _studies(self) -> None:
        """The studies of the object, or the object itself by our number if none is known."""
        described = self._context.accessions or self._context.mpps or self._context.sop_classes
        for uid in self._context.studies:
            element = self._object("2", "3", _STUDY, uid)
            self._trace(element)
            if described:
                self._describe(element)
        if not self._context.studies:
            element = self._object("2", "20", Code(self._record.kind, self._record.kind, _OURS), self._name())
            self._trace(element)

    def _describe(self, parent: Element) -> None:
        element = SubElement(parent, "ParticipantObjectDescription")
        if self._context.mpps:
            _sub(element, "MPPS", UID=self._context.mpps)
        for number in self._context.accessions:
            _sub(element, "Accession", Number=number)
        for uid, count in self._context.sop_classes.items():
            _sub(element, "SOPClass", UID=uid, NumberOfInstances=str(count))

    def _query(self) -> None:
        """What was asked: the keys of a device, the names of the filters of a person, whose values are not kept."""
        if self._record.kind == "worklist":
            element = self._object("2", "3", _SOP_CLASS, _WORKLIST, query=self._said())
        else:
            element = self._object(
                "2", "24", Code(self._record.kind, self._record.kind, _OURS), self._name(), query=self._said()
            )
        self._trace(element)

    def _patient(self) -> None:
        patient = self._context.patient
        if patient is not None:
            number = f"{patient.number}^^^{patient.issuer}" if patient.issuer else patient.number
            self._object("1", "1", _PATIENT_NUMBER, number, patient.name if self._reporter.names else "")

    def _object(
        self, kind: str, role: str, code: Code, number: str, name: str = "", query: str | None = None
    ) -> Element:
        element = _sub(
            self.root,
            "ParticipantObjectIdentification",
            ParticipantObjectID=number,
            ParticipantObjectTypeCode=kind,
            ParticipantObjectTypeCodeRole=role,
        )
        self._code(element, "ParticipantObjectIDTypeCode", code)
        if query is None:
            SubElement(element, "ParticipantObjectName").text = _clean(name)
        else:
            SubElement(element, "ParticipantObjectQuery").text = _base64(query)
        return element

    def _trace(self, element: Element) -> None:
        """Our number of the row, and what was done in our words."""
        _detail(element, "audit-row", str(self._record.row))
        _detail(element, "action", self._record.action)


def _sub(parent: Element, tag: str, **attributes: str) -> Element:
    return SubElement(parent, tag, {name: _clean(value) for name, value in attributes.items()})


def _detail(element: Element, kind: str, value: str) -> None:
    _sub(element, "ParticipantObjectDetail", type=kind, value=_base64(value))


def _base64(text: str) -> str:
    return base64.b64encode(text.encode("utf-8", "replace")).decode()


def _clean(text: str) -> str:
    """A text without what XML cannot hold."""
    return _NO_XML.sub("\ufffd", text)


def _is_ip(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
