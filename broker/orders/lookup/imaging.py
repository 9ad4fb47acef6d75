"""Finds the order that an image belongs to, by the ladder of `matching.py`.

An image of several steps of one order names the study alone: the order is sure then, the step is not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from sqlalchemy import Connection

from broker.model.order import Document, EntityId, Order, Procedure, Step
from broker.model.visit import Visit
from broker.orders.lookup import matching
from broker.orders.lookup.matching import AMBIGUOUS, MISMATCH, OTHER_PERSON, Keys
from broker.store.orders import matching as store
from broker.store.orders import patients, reading


class ImageMatch(StrEnum):
    """Says how sure it is which order an image belongs to."""

    MATCHED = "matched"
    UNMATCHED = "unmatched"
    AMBIGUOUS = "ambiguous"
    DIFFERS = "demographics-differ"  # the order is another patient's, or the patient is described otherwise


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageOrder:
    """The order of an image with what of it is meant; `procedure` and `step` are None where that is not sure."""

    match: ImageMatch
    order: Order | None = None
    procedure: Procedure | None = None
    step: Step | None = None
    visit: Visit | None = None


def of_image(connection: Connection, image: Document) -> ImageOrder:
    """The order of an image by its attributes, which may hold those of an item of its Request Attributes Sequence.

    PS3.3 C.7.3.1.1.1.
    """
    keys, patient = matching.keys_of(image), matching.patient_of(image)
    found = matching.find(connection, keys, patient)
    if found.reason == AMBIGUOUS and patient is not None and (first := _first_step(connection, keys)) is not None:
        found = replace(matching.find(connection, replace(keys, step_id=first), patient), step=None)
    if found.order is None:
        return ImageOrder(match=_UNSURE.get(found.reason, ImageMatch.UNMATCHED))
    order = reading.load_order(connection, found.order)
    procedure, step = _meant(order, found.step, keys.study_instance_uid)
    return ImageOrder(
        match=ImageMatch.DIFFERS if OTHER_PERSON in found.doubts else ImageMatch.MATCHED,
        order=order,
        procedure=procedure,
        step=step,
        visit=_visit_of(connection, order),
    )


_UNSURE = {AMBIGUOUS: ImageMatch.AMBIGUOUS, MISMATCH: ImageMatch.DIFFERS}


def _first_step(connection: Connection, keys: Keys) -> str | None:
    """The ID of a step of a study all of whose steps are of one order; None if they are not."""
    if not keys.study_instance_uid:
        return None
    candidates = store.candidates(connection, keys.study_instance_uid, "", "")
    orders = {candidate.order for candidate in candidates}
    return candidates[0].step_id if len(orders) == 1 else None


def _meant(order: Order, step: int | None, study: str) -> tuple[Procedure | None, Step | None]:
    """The procedure of a step or of a study, and the step."""
    for procedure in order.procedures:
        for one in procedure.steps:
            if step is not None and one.row == step:
                return procedure, one
    of_study = (one for one in order.procedures if study and one.study_instance_uid == study)
    return next(of_study, None), None


def _visit_of(connection: Connection, order: Order) -> Visit | None:
    number, patient = order.attributes.get("AdmissionID", ""), order.patient.row
    if not number or patient is None:
        return None
    issuers = order.attributes.get("IssuerOfAdmissionIDSequence") or [{}]
    return patients.find_visit(connection, patient, EntityId(number, issuers[0].get("LocalNamespaceEntityID", "")))
