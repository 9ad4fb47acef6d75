"""Makes the fields `order.*` and `match.status` of the order that an object belongs to.

They are looked up for an object only if a rule tests one of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from sqlalchemy import Connection

from broker.model.order import Document
from broker.orders.lookup import imaging
from broker.orders.lookup.imaging import ImageOrder
from broker.routing.rules.evaluate import Facts
from broker.routing.rules.ruleset import Fact

OF_ORDER = ("order.", "match.")  # how fields of the order begin
_REQUEST = "tag.RequestAttributesSequence"
_PATIENT_KEYWORDS = ("PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate", "PatientSex")
_KEYWORDS = ("StudyInstanceUID", "AccessionNumber", *_PATIENT_KEYWORDS)
_STEP_KEYWORDS = ("ScheduledProcedureStepID", "RequestedProcedureID")
MATCHING_FIELDS = frozenset(
    {f"tag.{keyword}" for keyword in _KEYWORDS} | {f"{_REQUEST}[1].{keyword}" for keyword in _STEP_KEYWORDS}
)  # what an order is found by


def needs_order(fields: Collection[str]) -> bool:
    """Some of these fields are about the order."""
    return any(field.startswith(OF_ORDER) for field in fields)


def order_facts(connection: Connection, facts: Facts) -> dict[str, tuple[Fact, ...]]:
    """What rules may test of the order of an object with these facts."""
    image: Document = {}
    for keyword in _KEYWORDS:
        if values := facts.get(f"tag.{keyword}"):
            image[keyword] = str(values[0])
    for keyword in _STEP_KEYWORDS:
        if values := facts.get(f"{_REQUEST}[1].{keyword}"):
            image[keyword] = str(values[0])
    found = imaging.of_image(connection, image)
    made = {"match.status": (found.match.value,)} | {name: tuple(values) for name, values in _of_order(found)}
    return {name: texts for name, values in made.items() if (texts := tuple(str(one) for one in values if one))}


def _of_order(found: ImageOrder) -> Iterator[tuple[str, Sequence[Any]]]:
    order = found.order
    if order is None:
        return
    yield "order.accession_number", [order.accession]
    yield "order.placer_order_number", [order.placer.number]
    yield "order.filler_order_number", [order.filler.number]
    yield "order.requesting_physician", [order.attributes.get("RequestingPhysician", "")]
    yield "order.requesting_service", [order.attributes.get("RequestingService", "")]
    location = order.attributes.get("CurrentPatientLocation", "")
    yield "order.ward", [location or (found.visit.location if found.visit else "")]
    admitted = order.attributes.get("RouteOfAdmissions", "")  # PV1-2
    yield "order.patient_class", [admitted or (found.visit.patient_class if found.visit else "")]
    procedures = [found.procedure] if found.procedure is not None else order.procedures
    yield "order.priority", [one.attributes.get("RequestedProcedurePriority", "") for one in procedures]
    yield "order.procedure", [one.attributes.get("RequestedProcedureDescription", "") for one in procedures]
    codes = [code for one in procedures for code in one.attributes.get("RequestedProcedureCodeSequence", ())]
    yield "order.procedure_code", [code.get("CodeValue", "") for code in codes]
    steps = [found.step] if found.step is not None else [step for one in procedures for step in one.steps]
    yield "order.modality", [step.attributes.get("Modality", "") for step in steps]
    yield "order.station", [station for step in steps for station in step.stations]
    yield "order.status", [step.status.value for step in steps]
