"""Reads the document of an order that a worklist of before tells: what can be left out of it costs no examination.

Whoever writes an order today is refused where it is wrong (`document`). A worklist item of another server or of a file
is as its maker wrote it, and nobody corrects it there: what is wrong is left out, cut or read by the tables of HL7,
with a finding for each. An identifier that is too long gets its short form, the long one is kept beside it. All other
identifiers, and the time of a step, are never changed: with a wrong one the item is refused.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cache
from typing import Any

from broker.hl7.codes import ErrorCode, Severity
from broker.hl7.findings import Finding
from broker.model.order import Document, StepStatus
from broker.orders.core import identifiers
from broker.orders.core.names import GROUP
from broker.orders.core.values import MAX_STEPS, Conversion, OrderChange, ProcedureChange, StepChange
from broker.orders.documents import document, validity
from broker.orders.documents.document import FIELDS, STATUS
from broker.orders.documents.validity import Field, Fields, Invalid
from broker.orders.mapping.book import built_in
from broker.orders.mapping.representations import LENGTH

# what an order and its steps are known by, and when a step is: wrong ones are told by `document`
_KEPT = frozenset(
    {
        "PatientID", "IssuerOfPatientID", "AccessionNumber", "StudyInstanceUID", "RequestedProcedureID",
        "ScheduledProcedureStepID", "ScheduledProcedureStepStartDate", "ScheduledProcedureStepStartTime",
    }
)  # fmt: skip
_CUT = frozenset({"LO", "SH", "ST", "LT", "UC", "UT"})  # VRs of texts, of which the beginning says most
# what must not be shorter: without it the item of its sequence, or the attribute, is left out
_WHOLE = frozenset({"CodeValue", "CodingSchemeDesignator", "LongCodeValue", "URNCodeValue", "UniversalEntityID"})
_NUMBERS = frozenset(
    {"PlacerOrderNumberImagingServiceRequest", "FillerOrderNumberImagingServiceRequest", "AdmissionID"}
)
# as some servers write them; of one who has departed (PS3.3 C.4.10) nothing more is to be done
_STATUSES = {
    "CANCELLED": StepStatus.CANCELED, "IN PROGRESS": StepStatus.STARTED, "DEPARTED": StepStatus.DISCONTINUED,
}  # fmt: skip
_OLD_DATE = re.compile(r"(\d{4})\.(\d\d)\.(\d\d)", re.ASCII)  # of ACR-NEMA (PS3.5 6.2)
_DESCRIPTION = "RequestedProcedureDescription"
_STATION = "ScheduledStationAETitle"
_START = "ScheduledProcedureStepStartTime"


def convert(given: Document, modalities: Collection[str]) -> Conversion:
    """The order change of a worklist item, with a warning for each value that is not as it was told.

    `modalities` that devices know: another term is kept. With an error among the findings the item is refused.
    """
    if not _has_form(given):
        return document.convert(given, modalities)
    reading = _Reading()
    relaxed = reading.order(given)
    conversion = document.convert(relaxed, ())
    (change,) = conversion.changes
    assert isinstance(change, OrderChange)
    for number, procedure in enumerate(change.procedures):
        for below, step in enumerate(procedure.steps):
            modality = step.attributes.get("Modality", "")
            if modality and modality not in modalities:
                path = f"procedures/{number}/steps/{below}/Modality"
                reading.warn(path, f"{modality} is not a modality that worklist devices know", _TABLE)
    procedures = tuple(_apart(one, f"procedures/{n}", reading) for n, one in enumerate(change.procedures))
    change = replace(change, request={**change.request, **reading.kept("request")}, procedures=procedures)
    return Conversion((change,), (*conversion.findings, *reading.findings))


_TABLE = ErrorCode.TABLE_VALUE_NOT_FOUND


def _has_form(given: Any) -> bool:
    """It is made of objects and lists as an order document is, and not too many; all else `document` refuses."""
    if not isinstance(given, dict) or not isinstance(given.get("procedures"), list):
        return False
    if len(given["procedures"]) > MAX_STEPS:
        return False
    sections = [given.get(name, {}) for name in ("patient", "visit", "request")]
    for procedure in given["procedures"]:
        if not isinstance(procedure, dict) or not isinstance(procedure.get("steps"), list):
            return False
        if len(procedure["steps"]) > MAX_STEPS:
            return False
        sections += [procedure, *procedure["steps"]]
    return all(isinstance(section, dict) for section in sections)


def _apart(procedure: ProcedureChange, path: str, reading: _Reading) -> ProcedureChange:
    """A procedure whose steps are told apart from all others, each with its status."""
    steps = tuple(_step(step, f"{path}/steps/{number}", reading) for number, step in enumerate(procedure.steps))
    return replace(procedure, apart=True, steps=steps, attributes={**procedure.attributes, **reading.kept(path)})


def _step(step: StepChange, path: str, reading: _Reading) -> StepChange:
    attributes = {**step.attributes, **reading.kept(path)}
    return replace(step, apart=True, status=reading.statuses.get(path), attributes=attributes)


class _Reading:
    """Reads one document; collects warnings on the way. `statuses`: of steps, by their paths."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.statuses: dict[str, StepStatus] = {}
        self._long: dict[str, Document] = {}  # of shortened identifiers, by the path of their object

    def kept(self, path: str) -> Document:
        """What is stored in an object beside its identifiers: their long forms."""
        return self._long.get(path, {})

    def warn(self, path: str, text: str, code: ErrorCode = ErrorCode.DATA_TYPE) -> None:
        if len(self.findings) < 100:
            self.findings.append(Finding(path, code, text, Severity.WARNING))

    def order(self, given: Document) -> Document:
        parts = {
            name: self._section(FIELDS[name], given.get(name, {}), name) for name in ("patient", "visit", "request")
        }
        procedures = [
            self._procedure(procedure, f"procedures/{number}") for number, procedure in enumerate(given["procedures"])
        ]
        return {**given, **parts, "procedures": procedures}

    def _procedure(self, given: Document, path: str) -> Document:
        above = {keyword: value for keyword, value in given.items() if keyword != "steps"}
        procedure = self._section(FIELDS["procedure"], above, path)
        steps = [self._step(step, f"{path}/steps/{number}") for number, step in enumerate(given["steps"])]
        if steps and not procedure.get(_DESCRIPTION) and not procedure.get("RequestedProcedureCodeSequence"):
            text, source = _described(steps)
            if text:
                procedure[_DESCRIPTION] = text
                self.warn(f"{path}/{_DESCRIPTION}", f"missing: {source} is used", ErrorCode.REQUIRED_FIELD_MISSING)
        return {**procedure, "steps": steps}

    def _step(self, given: Document, path: str) -> Document:
        told = str(given.get(STATUS) or "")
        status = _status(told)
        if status is not None:
            self.statuses[path] = status
        if told and status != told:
            self.warn(f"{path}/{STATUS}", f"read as {status}" if status else "not a status that is known", _TABLE)
        step = {keyword: value for keyword, value in given.items() if keyword != STATUS}
        found = self._section(FIELDS["step"], step, path)
        if found.get("ScheduledProcedureStepStartDate") and not found.get(_START):
            self.warn(f"{path}/{_START}", "missing: the step is at midnight", ErrorCode.REQUIRED_FIELD_MISSING)
        return found

    def _section(self, known: Fields, given: Document, path: str) -> Document:
        """The attributes of one object that can be used; an object that has too many `document` refuses."""
        if len(given) > validity.MAX_MEMBERS:
            return given
        found: Document = {}
        for keyword, value in given.items():
            field = known.get(keyword)
            usable = value if field is None else self._attribute(field, value, f"{path}/{keyword}")
            if usable not in ("", [], None):
                found[keyword] = usable
        return found

    def _attribute(self, field: Field, value: Any, path: str) -> Any:
        if not field.multiple:
            return self._value(field, value, path)
        many = value if isinstance(value, list) else [value]
        if len(many) > validity.MAX_VALUES:
            self.warn(path, f"only the first {validity.MAX_VALUES} values are kept")
        usable = (self._one(field, one, f"{path}/{i}") for i, one in enumerate(many[: validity.MAX_VALUES]))
        found = [one for one in usable if one not in ("", {}, None)]
        if many and not found and field.keyword == _STATION:
            self.warn(path, "no station is left: the step is for the default one", ErrorCode.REQUIRED_FIELD_MISSING)
        return found

    def _one(self, field: Field, value: Any, path: str) -> Any:
        if field.vr != "SQ" or not isinstance(value, dict):
            return value if field.vr == "SQ" else self._value(field, value, path)
        before = len(self.findings)
        item = self._section(field.items, value, path)
        lost = next((keyword for keyword in _WHOLE if keyword in value and keyword not in item), "")
        if lost or any(keyword.endswith("UID") and keyword not in item for keyword in value):
            del self.findings[before:]
            self.warn(path, f"left out: {lost or 'its UID'} cannot be used")
            return {}
        return item

    def _value(self, field: Field, value: Any, path: str) -> Any:
        """A value as it is kept; empty where it is left out."""
        keyword, text = field.keyword, str(value)
        if field.vr == "DA" and (old := _OLD_DATE.fullmatch(text)):
            value = "".join(old.groups())
        try:
            return validity.checked(keyword, field.vr, value)
        except Invalid as error:
            reason = str(error)
        if keyword in _KEPT:
            return self._short(field, text, path) or value
        repaired, told = _repaired(field, text)
        usable: str | int = ""
        with suppress(Invalid):
            usable = validity.checked(keyword, field.vr, repaired) if repaired else ""
        self.warn(path, told if usable != "" else f"left out: {reason}")
        return usable

    def _short(self, field: Field, text: str, path: str) -> str:
        """What stands for an identifier that is only too long; empty for one that is wrong otherwise."""
        limit = LENGTH[field.vr] if field.vr in ("SH", "LO") else len(text)
        with suppress(Invalid):
            if len(text) > limit and all(validity.checked(field.keyword, field.vr, c) for c in text if c != " "):
                short = identifiers.short_form(text, limit)
                above = path.rpartition("/")[0]
                self._long.setdefault(above, {})[identifiers.kept_as(field.keyword)] = text
                self.warn(path, f"more than {limit} characters: {short} stands for it")
                return short
        return ""


def _repaired(field: Field, text: str) -> tuple[str, str]:
    """What a wrong value is read as (empty: left out), and what is told of it."""
    keyword, vr = field.keyword, field.vr
    table = _tables().get(keyword)
    if table is not None:
        meant = str(table.get(text.strip().upper(), table.get("*", "")))
        return meant or text.strip().upper(), f"read as {meant or text.strip().upper()}"
    if vr == "PN":
        return _name(text), "more or longer parts than a name has: the first ones are kept"
    if vr == "CS":
        return text.strip().upper(), "written in capital letters"
    if vr not in _CUT or keyword in _WHOLE or keyword in _NUMBERS:
        return "", ""
    plain = _plain(text, lines=vr in ("ST", "LT", "UT"))
    limit = LENGTH[vr]
    if len(plain) > limit:
        return plain[:limit].rstrip(), f"cut after {limit} characters"
    return plain, "control characters and backslashes are left out"


@cache
def _tables() -> Mapping[str, Mapping[str, str | int]]:
    """The value tables of HL7 for attributes with a closed list of terms."""
    values = built_in().values
    return {keyword: values.get(keyword, {}) for keyword in (*validity.ENUMERATED, "Modality")}


def _plain(text: str, *, lines: bool) -> str:
    kept = "\r\n\t\f" if lines else ""
    gone = {"Cc", "Cs"}
    plain = "".join(" " if unicodedata.category(c) in gone and c not in kept else c for c in text)
    return (plain if lines else " ".join(plain.replace("\\", " ").split())).strip()


def _name(text: str) -> str:
    """A person name with no more groups and components than PS3.5 6.2.1 has, none of them longer."""
    groups = []
    for group in _plain(text.partition("\\")[0], lines=False).split("=")[:3]:
        parts = group.split("^")
        parts = [*parts[:4], " ".join(part for part in parts[4:] if part)] if len(parts) > 5 else parts
        groups.append("^".join(parts)[:GROUP].rstrip("^ "))
    return "=".join(groups).rstrip("=")


def _described(steps: list[Document]) -> tuple[str, str]:
    """What a procedure without a description is called, and where that comes from."""
    for step in steps:
        if step.get("ScheduledProcedureStepDescription"):
            return str(step["ScheduledProcedureStepDescription"]), "that of the step"
    for step in steps:
        for code in step.get("ScheduledProtocolCodeSequence", []):
            if code.get("CodeMeaning"):
                return str(code["CodeMeaning"]), "the meaning of the protocol code"
    modality = next((str(step["Modality"]) for step in steps if step.get("Modality")), "")
    return modality, "the modality"


def _status(told: str) -> StepStatus | None:
    """The status that a server tells of a step; None for none, and for one that is not known."""
    text = " ".join(told.upper().split())
    return StepStatus(text) if text in {status.value for status in StepStatus} else _STATUSES.get(text)
