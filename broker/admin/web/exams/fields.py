"""Names the fields of the form of an exam, and carries them into the document of an order and out of it.

A field that nobody changed leaves its attribute exactly as it was, with all that the form does not show of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Literal

from broker.admin.web.exams import words
from broker.admin.web.forms import FormFields
from broker.admin.web.words import Sentence
from broker.hl7.findings import Finding
from broker.model.order import Document

Kind = Literal["text", "date", "time", "choice", "person", "long"]
_PROCEDURE: tuple[str | int, ...] = ("procedures", 0)
_STEP: tuple[str | int, ...] = (*_PROCEDURE, "steps", 0)
SEX = (("F", Sentence("female")), ("M", Sentence("male")), ("O", Sentence("other")))
PRIORITY = (
    ("STAT", Sentence("emergency")),
    ("HIGH", Sentence("urgent")),
    ("ROUTINE", Sentence("routine")),
    ("MEDIUM", Sentence("medium")),
    ("LOW", Sentence("low")),
)
UNUSABLE = Sentence("This cannot be used.")
FILL_IN = Sentence("Fill this in.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExamField:
    """A field. `path`: of its attribute in the document. `fresh`: only of a new exam, what it names stays for ever."""

    name: str
    path: tuple[str | int, ...]
    title: Sentence
    kind: Kind = "text"
    hint: Sentence | None = None
    choices: Sequence[tuple[str, Sentence]] = ()
    fresh: bool = False
    needed: bool = False


FIELDS = (
    ExamField(name="family", path=("patient", "PatientName"), title=Sentence("Family name"), needed=True),
    ExamField(name="given", path=("patient", "PatientName"), title=Sentence("Given name")),
    ExamField(name="patient_id", path=("patient", "PatientID"), title=Sentence("Patient ID"), fresh=True, needed=True),
    ExamField(
        name="issuer", path=("patient", "IssuerOfPatientID"), title=Sentence("Who issued the Patient ID"), fresh=True
    ),
    ExamField(name="born", path=("patient", "PatientBirthDate"), title=Sentence("Birth date"), kind="date"),
    ExamField(name="sex", path=("patient", "PatientSex"), title=Sentence("Sex"), kind="choice", choices=SEX),
    ExamField(name="weight", path=("patient", "PatientWeight"), title=Sentence("Weight (kg)")),
    ExamField(
        name="accession",
        path=("request", "AccessionNumber"),
        title=Sentence("Accession number"),
        hint=Sentence("Empty: the broker makes one."),
        fresh=True,
    ),
    ExamField(
        name="procedure",
        path=(*_PROCEDURE, "RequestedProcedureDescription"),
        title=Sentence("What is done"),
        needed=True,
    ),
    ExamField(
        name="priority",
        path=(*_PROCEDURE, "RequestedProcedurePriority"),
        title=Sentence("Priority"),
        kind="choice",
        choices=PRIORITY,
    ),
    ExamField(
        name="modality",
        path=(*_STEP, "Modality"),
        title=Sentence("Modality"),
        hint=Sentence("like CT"),
        fresh=True,
        needed=True,
    ),
    ExamField(
        name="station",
        path=(*_STEP, "ScheduledStationAETitle"),
        title=Sentence("Station"),
        hint=Sentence("AE title"),
        fresh=True,
    ),
    ExamField(
        name="date", path=(*_STEP, "ScheduledProcedureStepStartDate"), title=Sentence("Day"), kind="date", fresh=True
    ),
    ExamField(
        name="time", path=(*_STEP, "ScheduledProcedureStepStartTime"), title=Sentence("Time"), kind="time", fresh=True
    ),
    ExamField(
        name="referring",
        path=("visit", "ReferringPhysicianName"),
        title=Sentence("Referring physician"),
        kind="person",
        hint=Sentence("Family name, given name"),
    ),
    ExamField(
        name="reason_for", path=(*_PROCEDURE, "ReasonForTheRequestedProcedure"), title=Sentence("Reason for the exam")
    ),
    ExamField(
        name="comments", path=(*_PROCEDURE, "RequestedProcedureComments"), title=Sentence("Comments"), kind="long"
    ),
)


def of(document: Document | None) -> Sequence[ExamField]:
    """The fields of a form: all of a new exam. Of a document those that can change, without procedures if several."""
    if document is None:
        return FIELDS
    several = len(document["procedures"]) != 1
    return [one for one in FIELDS if not one.fresh and not (several and one.path[0] == "procedures")]


def shown(document: Document) -> dict[str, str]:
    """What stands in the fields of a document."""
    return {one.name: _shown(one, _at(document, one.path)) for one in of(document)}


def changed(document: Document, form: FormFields) -> Document:
    """A document with what the form says where that differs from what stood there."""
    after = deepcopy(document)
    for one in of(document):
        before, typed = _at(after, one.path), form.get(one.name)
        if typed != _shown(one, before):
            _put(after, one.path, _stored(one, before, typed))
    return after


def fresh(form: FormFields) -> Document:
    """The document of a new exam."""
    document: Document = {"patient": {}, "visit": {}, "request": {}, "procedures": [{"steps": [{}]}]}
    for one in FIELDS:
        if typed := form.get(one.name):
            _put(document, one.path, _stored(one, _at(document, one.path), typed))
    return document


def beside(findings: Sequence[Finding], fields: Sequence[ExamField]) -> dict[str, Sentence]:
    """What is wrong, by field; the errors that no field is to blame for are left out."""
    by_path: dict[str, str] = {}
    for one in fields:
        by_path.setdefault("/".join(map(str, one.path)), one.name)
    told: dict[str, Sentence] = {}
    for finding in findings:
        name = next((name for path, name in by_path.items() if finding.location.startswith(path)), "")
        if name and finding.is_error:
            told[name] = FILL_IN if finding.text == "missing" else UNUSABLE
    return told


def _at(document: Document, path: Sequence[str | int]) -> Any:
    found: Any = document
    for part in path:
        found = found.get(part) if isinstance(part, str) else found[part]
        if found is None:
            return ""
    return found


def _put(document: Document, path: Sequence[str | int], value: Any) -> None:
    place: Any = document
    for part in path[:-1]:
        place = place.setdefault(part, {}) if isinstance(part, str) else place[part]
    place[path[-1]] = value


def _shown(field: ExamField, value: Any) -> str:
    if field.name in ("family", "given"):
        return _component(str(value), 0 if field.name == "family" else 1)
    if field.kind == "person":
        return words.person(str(value))
    if field.kind == "date":
        return words.day_of(str(value))
    return str(value)


def _stored(field: ExamField, before: Any, typed: str) -> Any:
    if field.name in ("family", "given"):
        return _renamed(str(before), 0 if field.name == "family" else 1, typed)
    if field.kind == "person":
        return "^".join(part.strip() for part in typed.replace("^", " ").split(",", 1))
    return list(words.stations_of(typed)) if field.name == "station" else typed


def _component(name: str, number: int) -> str:
    parts = name.partition("=")[0].split("^")
    return parts[number].strip() if number < len(parts) else ""


def _renamed(name: str, number: int, typed: str) -> str:
    """A person's name with another family or given name in its first group; other writings stay."""
    group, sign, others = name.partition("=")
    parts = [*group.split("^"), "", ""]
    parts[number] = typed.replace("^", " ").replace("=", " ")
    return "^".join(parts).rstrip("^") + sign + others
