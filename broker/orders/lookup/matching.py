"""Finds the scheduled step that a performed item or an image means, by a ladder of keys.

The first rung that fits decides. A person decides what the ladder cannot (several steps fit, no rung fits, another
patient). Nothing is ever linked by patient and time alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection

from broker.model.order import Document
from broker.model.performed import Linking
from broker.orders.core import lifecycle, persons, plan
from broker.orders.core.authorities import universal
from broker.orders.core.values import PatientChange
from broker.orders.lookup import recognizing
from broker.store.orders import matching, reading
from broker.store.orders.matching import Candidate

# why an item has no step
UNKNOWN, AMBIGUOUS, MISMATCH = "unknown", Linking.AMBIGUOUS.value, Linking.MISMATCH.value
# what may be wrong with a step that was found: its patient is another person, its study has another UID
OTHER_PERSON, OTHER_STUDY = "other-person", "other-study"
_LONGEST = 64  # characters of a key; what is longer is none of ours, and PostgreSQL indexes no more than 2700 bytes
_FIRST = ("step+study", "step+accession")  # rungs


@dataclass(frozen=True, slots=True)
class Keys:
    """What an item says of its step; any of it may be empty. `issuer` is that of the accession number."""

    step_id: str = ""
    study_instance_uid: str = ""
    accession: str = ""
    requested_procedure_id: str = ""
    issuer: str = ""


@dataclass(frozen=True, slots=True)
class Match:
    """The step (row) of an order (row) by which keys, or None and why. `doubts` are codes of what does not agree."""

    step: int | None
    order: int | None
    reason: str
    doubts: tuple[str, ...] = ()


def keys_of(item: Document) -> Keys:
    """Keys of an item of the Scheduled Step Attributes Sequence, or of the like in an image."""
    issuers = item.get("IssuerOfAccessionNumberSequence") or [{}]
    return Keys(
        _key(item, "ScheduledProcedureStepID"),
        _key(item, "StudyInstanceUID"),
        _key(item, "AccessionNumber"),
        _key(item, "RequestedProcedureID"),
        _text(issuers[0], "LocalNamespaceEntityID"),
    )


def _key(item: Document, keyword: str) -> str:
    value = _text(item, keyword)
    return value if len(value) <= _LONGEST else ""


def _text(item: Document, keyword: str) -> str:
    value: Any = item.get(keyword, "")
    return value if isinstance(value, str) else ""


def patient_of(document: Document) -> PatientChange | None:
    """Whom a data set is about; None if it names nobody."""
    number, issuer = _text(document, "PatientID"), _text(document, "IssuerOfPatientID")
    qualifiers = document.get("IssuerOfPatientIDQualifiersSequence") or [{}]
    universal_id = universal(_text(qualifiers[0], "UniversalEntityID"), _text(qualifiers[0], "UniversalEntityIDType"))
    described = {keyword: _text(document, keyword) for keyword in persons.KEYWORDS}
    return PatientChange(number, issuer or universal_id, described, universal=universal_id) if number else None


def find(connection: Connection, keys: Keys, patient: PatientChange | None) -> Match:
    """Find the step of an item about `patient`."""
    if patient is not None:
        patient = patient.settled(lambda use, identifier, _: recognizing.canonical(connection, use, identifier))
    candidates = matching.candidates(connection, keys.study_instance_uid, keys.accession, "")
    match = choose(keys, patient, candidates)
    if match.reason not in _FIRST and keys.step_id and keys.requested_procedure_id:
        # many steps may share a Requested Procedure ID: asked for only where it can still decide
        procedure = keys.requested_procedure_id
        candidates = matching.candidates(connection, keys.study_instance_uid, keys.accession, procedure)
        match = choose(keys, patient, candidates)
    found = next((one for one in candidates if one.step == match.step), None)
    return match if found is None else replace(match, doubts=_doubts(connection, keys, patient, found))


def _doubts(connection: Connection, keys: Keys, patient: PatientChange | None, found: Candidate) -> tuple[str, ...]:
    """What does not agree with the step that is meant: the person behind the identifier, or the study."""
    codes = []
    stored = reading.find_patient(connection, found.patient.patient_id, found.patient.issuer) if patient else None
    if patient is not None and stored is not None and persons.differ(patient.attributes, stored.attributes):
        codes.append(OTHER_PERSON)
    if keys.study_instance_uid not in ("", found.planned_study):
        codes.append(OTHER_STUDY)
    return tuple(codes)


def choose(keys: Keys, patient: PatientChange | None, candidates: Sequence[Candidate]) -> Match:
    """The step that the keys mean among those that share one of them. Pure."""
    for reason, fits, alone in _ladder(keys, candidates):
        # a step has several candidates if its order was joined with another: by the keys of each
        fitting = list({candidate.step: candidate for candidate in candidates if fits(candidate)}.values())
        if not fitting:
            continue
        if alone:
            opened = [candidate for candidate in fitting if candidate.status in lifecycle.OPEN]
            fitting = opened or fitting
        if len(fitting) > 1:
            return Match(None, None, AMBIGUOUS)
        (candidate,) = fitting
        if patient is None:  # without a patient to compare only keys of the step itself are enough
            return Match(None, None, AMBIGUOUS) if alone else Match(candidate.step, candidate.order, reason)
        if not plan.same_patient(candidate.patient, patient):
            return Match(None, None, MISMATCH)
        return Match(candidate.step, candidate.order, reason)
    return Match(None, None, UNKNOWN)


Rung = tuple[str, Callable[[Candidate], bool], bool]


def _ladder(keys: Keys, candidates: Sequence[Candidate]) -> Iterable[Rung]:
    """The rungs in their order: name, test, and whether one open step is to be alone in what it finds."""

    def accession(one: Candidate) -> bool:
        same = bool(keys.accession) and one.accession == keys.accession
        return same and (not keys.issuer or not one.issuer or keys.issuer == one.issuer)

    def study(one: Candidate) -> bool:
        return bool(keys.study_instance_uid) and one.study_instance_uid == keys.study_instance_uid

    def procedure(one: Candidate) -> bool:
        return bool(keys.requested_procedure_id) and one.requested_procedure_id == keys.requested_procedure_id

    def swapped(one: Candidate) -> bool:
        """The accession number stands in Requested Procedure ID, or the reverse."""
        return (bool(keys.requested_procedure_id) and one.accession == keys.requested_procedure_id) or (
            bool(keys.accession) and one.requested_procedure_id == keys.accession
        )

    def step(also: Callable[[Candidate], bool]) -> Callable[[Candidate], bool]:
        return lambda one: bool(keys.step_id) and one.step_id == keys.step_id and also(one)

    yield _FIRST[0], step(study), False
    yield _FIRST[1], step(accession), False
    yield "step+procedure", step(procedure), False
    yield "step+swapped", step(swapped), False
    yield "study", study, True
    yield "accession", accession, True


def summary(reasons: Iterable[tuple[int | None, str]]) -> str:
    """What the items of one MPPS come to together, each with its step (row) and reason."""
    items = list(reasons)
    why = {reason for step, reason in items if step is None}
    if MISMATCH in why or AMBIGUOUS in why:
        return Linking.MISMATCH if MISMATCH in why else Linking.AMBIGUOUS
    linked = [step for step, _ in items if step is not None]
    return (Linking.PARTLY if why else Linking.LINKED) if linked else Linking.UNSCHEDULED


WAITING = frozenset(
    {Linking.UNSCHEDULED, Linking.PARTLY, Linking.MISMATCH, Linking.AMBIGUOUS}
)  # linkings that wait for a person


def waits(linking: str, findings: Collection[str] = ()) -> str:
    """Why a person must look at an MPPS that is linked so with these findings; empty if nobody must."""
    return linking if linking in WAITING else OTHER_PERSON if OTHER_PERSON in findings else ""


def doubts(matches: Iterable[Match]) -> tuple[str, ...]:
    """What does not agree with the steps that were found, each once."""
    return tuple(dict.fromkeys(code for match in matches for code in match.doubts))
