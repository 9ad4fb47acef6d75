"""Reads ADT messages: changes of patients and visits, by the patient and visit sections of a profile.

HL7 2.5.1 chapter 3. Routed by the trigger in MSH-9.2; EVN-1 is not looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import tzinfo

from broker.hl7 import work
from broker.hl7.codes import ErrorCode
from broker.hl7.message import DELETE, Message, Repetition, Segment, Segments
from broker.model.order import Document, EntityId
from broker.model.visit import VisitState
from broker.orders.core.authorities import from_item
from broker.orders.core.identifiers import by_authority, short_form
from broker.orders.core.patients import (
    AdtEvent,
    IdentifierChange,
    Merge,
    PatientArrival,
    PatientUpdate,
    VisitChange,
    VisitMove,
)
from broker.orders.core.values import Change, Conversion, PatientChange
from broker.orders.inbound.doubts import Findings
from broker.orders.inbound.numbers import numbered
from broker.orders.inbound.orm import read_patient
from broker.orders.inbound.reader import Reader
from broker.orders.mapping.data_types import Unusable, instant, text
from broker.orders.mapping.profile import LongIdentifiers, Profile
from broker.orders.mapping.representations import LENGTH

# what an event makes of the visit in PV1: its state, None for "as it is"
_VISITS = {
    "A01": VisitState.OPEN, "A04": VisitState.OPEN, "A05": VisitState.OPEN, "A28": VisitState.OPEN,
    "A13": VisitState.OPEN, "A03": VisitState.CLOSED, "A11": VisitState.CANCELED,
    "A02": None, "A12": None, "A06": None, "A07": None, "A08": None,
}  # fmt: skip
_NEEDS_VISIT = frozenset({"A02", "A03", "A11", "A12", "A13"})  # events that are about nothing else


class _Reading:
    """One message being read."""

    def __init__(self, message: Message, profile: Profile, zone: tzinfo) -> None:
        self.message, self.profile, self.zone = message, profile, zone
        self.findings = Findings()
        header = message.header
        self.event = AdtEvent(header.get(9, 2), header.sender, _recorded(message, zone))

    def patient(self, view: Segments) -> PatientChange:
        """The patient of a PID; a name can be missing but not be deleted."""
        change = read_patient(view, self.profile, self.zone, self.findings)
        if change.attributes.get("PatientName") == "":
            self.findings.add(view.at("PID-5"), ErrorCode.REQUIRED_FIELD_MISSING, "Patient name is missing")
        return change

    def update(self) -> PatientUpdate:
        """The patient of the message, allergies (AL1) included: they are the patient's, whatever the visit."""
        if len(self.message.all("PID")) > 1:
            self.findings.add("PID^2", ErrorCode.SEGMENT_SEQUENCE, "More than one patient in a message")
        change = self.patient(self.message)
        change.attributes.update(self._visit_section(Segments(self.message.all("AL1"))))
        return PatientUpdate(self.event, change, self.message.at("PID-5"))

    def visit(self, view: Segments) -> Document:
        """The visit section without allergies. A pregnancy is told but never taken back: PV1-15 is rarely complete."""
        found = self._visit_section(Segments(segment for segment in view if segment.name != "AL1"))
        return {keyword: value for keyword, value in found.items() if keyword != "PregnancyStatus" or value}

    def _visit_section(self, view: Segments) -> Document:
        return Reader(view, self.profile, self.zone, self.findings).section("visit")

    def number(self, repetition: Repetition | None, location: str) -> EntityId:
        """An identifier and its authority (CX) as the profile reads PID-3.1 and PID-3.4."""
        if repetition is None or repetition.get(1).strip() in {"", DELETE}:
            return EntityId()
        written = repetition.get(1).strip()
        if self.profile.reading.long_identifiers is LongIdentifiers.SHORT and len(written) > LENGTH["LO"]:
            written = short_form(written, LENGTH["LO"])
        try:
            number = text(written, "LO", exact=True)
        except Unusable as error:
            self.findings.add(location, ErrorCode.DATA_TYPE, f"Value cannot be used: {error}")
            return EntityId()
        return numbered(number, *(text(repetition.get(4, part), "LO") for part in (1, 2, 3)))


def _recorded(message: Message, zone: tzinfo) -> str:
    """When the sender recorded the event: EVN-2, else MSH-7, else EVN-6.

    EVN-6, when it happened, comes last: a correction made today of what happened yesterday is newer.
    """
    written = (message.get("EVN-2.1"), message.header.get(7, 1), message.get("EVN-6.1"))
    return next((at for at in (instant(moment, zone) for moment in written) if at), "")


def _identified(patient: PatientChange) -> EntityId:
    return patient.identifier


def _patient_and_visit(reading: _Reading) -> list[Change]:
    """A01-A08, A11-A13, A28: demographics, then the visit."""
    trigger, view = reading.event.trigger, reading.message
    update = reading.update()
    attributes = reading.visit(view)
    number = _visit_number(attributes)
    if view.first("PV1") is None and trigger in _NEEDS_VISIT:
        reading.findings.add("PV1^1", ErrorCode.REQUIRED_FIELD_MISSING, "Visit is missing")
    if not number.number and (view.first("PV1") is None or view.get("PV1-2.1").strip() == "N"):
        return [update]  # class N (table 0004): not applicable
    visit = VisitChange(reading.event, _identified(update.patient), number, _VISITS[trigger], attributes)
    return [update, visit]


def _visit_number(attributes: Document) -> EntityId:
    number = attributes.get("AdmissionID", "")
    return from_item(number, attributes.get("IssuerOfAdmissionIDSequence") or []) if number else EntityId()


def _patient_alone(reading: _Reading) -> list[Change]:
    """A31: its PV1 has no meaning."""
    return [reading.update()]


def _arrival(reading: _Reading) -> list[Change]:
    """A10: of its location nobody knows whether it is the one left or the one reached, so it is not taken."""
    update = reading.update()
    number = _visit_number(reading.visit(reading.message))
    return [update, PatientArrival(reading.event, _identified(update.patient), number)]


def _replacements(reading: _Reading) -> list[Change]:
    """A34, A40, A47: pairs of PID and MRG, in their order."""
    kind = IdentifierChange if reading.event.trigger == "A47" else Merge
    changes: list[Change] = []
    _, runs = reading.message.groups("PID")
    for run in runs:
        if _crowded(reading, run):
            continue
        patient = reading.patient(run)
        if run.first("MRG") is None:
            reading.findings.add(run.at("PID-3"), ErrorCode.REQUIRED_FIELD_MISSING, "Merge segment is missing")
        others = _by_further_identifiers(reading, run)
        for merge in run.all("MRG"):
            priors = _priors(reading, merge)
            made = [kind(reading.event, patient, prior, merge.at(1), others, priors) for prior in priors]
            if made and made[0].refusal():
                reading.findings.add(merge.at(1), ErrorCode.DUPLICATE_KEY, made[0].refusal())
            changes += [change for change in made if change.replaces(change.prior)]
    if not runs:
        reading.findings.add("PID^1", ErrorCode.REQUIRED_FIELD_MISSING, "Patient is missing")
    return changes


def _crowded(reading: _Reading, run: Segments) -> bool:
    """More identifiers than a person has: each is read with each."""
    fields = [(segment, 3) for segment in run.all("PID")] + [(segment, 1) for segment in run.all("MRG")]
    places = [segment.at(field) for segment, field in fields if len(segment.repetitions(field)) > work.IDENTIFIERS]
    for place in places:
        reading.findings.add(place, ErrorCode.DATA_TYPE, f"More than {work.IDENTIFIERS} identifiers")
    return bool(places)


def _by_further_identifiers(reading: _Reading, run: Segments) -> tuple[PatientChange, ...]:
    """The patient of a PID by each further repetition of PID-3 that has an identifier."""
    pid = run.all("PID")[0]
    rest = [segment for segment in run if segment is not pid]
    return tuple(
        read_patient(Segments([pid.with_first(3, position), *rest]), reading.profile, reading.zone, Findings())
        for position, repetition in enumerate(pid.repetitions(3))
        if position and repetition.get(1).strip() not in {"", DELETE}
    )


def _priors(reading: _Reading, merge: Segment) -> tuple[EntityId, ...]:
    """Identifiers in MRG-1; which of them give way to which of the patient's, `orders.stories.merging` decides."""
    found = [reading.number(repetition, merge.at(1)) for repetition in merge.repetitions(1)]
    priors = tuple(prior for prior in found if prior.number)
    if not priors:
        reading.findings.add(merge.at(1), ErrorCode.REQUIRED_FIELD_MISSING, "Prior identifier is missing")
    return priors


def _visit_moves(reading: _Reading) -> list[Change]:
    """A45: one PID, pairs of MRG and PV1."""
    update = reading.update()
    _, runs = reading.message.groups("MRG")
    changes: list[Change] = [update]
    for run in runs:
        merge = run.all("MRG")[0]
        prior, visit = (reading.number(next(iter(merge.repetitions(field)), None), merge.at(field)) for field in (1, 5))
        for found, field in ((prior, 1), (visit, 5)):
            if not found.number:
                reading.findings.add(
                    merge.at(field), ErrorCode.REQUIRED_FIELD_MISSING, "Prior patient and visit are both needed"
                )
        prior = prior if prior.issuer else replace(update.patient.identifier, number=prior.number)
        attributes = reading.visit(run)
        changes.append(
            VisitMove(
                event=reading.event,
                patient=_identified(update.patient),
                prior=prior,
                prior_number=visit,
                number=_visit_number(attributes),
                attributes=attributes,
            )
        )
    if not runs:
        reading.findings.add("MRG^1", ErrorCode.REQUIRED_FIELD_MISSING, "Merge segment is missing")
    return changes


EVENTS: Mapping[str, Callable[[_Reading], list[Change]]] = {
    **dict.fromkeys(_VISITS, _patient_and_visit),
    "A31": _patient_alone,
    "A10": _arrival,
    **dict.fromkeys(("A34", "A40", "A47"), _replacements),
    "A45": _visit_moves,
}


def convert(message: Message, profile: Profile, zone: tzinfo) -> Conversion:
    """The changes an ADT message asks for, times on the site's wall clock."""
    reading = _Reading(by_authority(message, profile.identifiers.patient_authorities), profile, zone)
    changes = EVENTS[reading.event.trigger](reading)
    return Conversion(tuple(changes), reading.findings.all())
