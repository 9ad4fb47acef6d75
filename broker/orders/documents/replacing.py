"""Finds the changes that put a whole new document in the place of a stored order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from broker.model.order import Document, Order, Procedure, Step
from broker.orders.core import lifecycle
from broker.orders.core.values import OrderChange, PatientChange, ProcedureChange, StepChange
from broker.orders.documents.document import FIELDS

# what an order is found by stays when the document leaves it out
_KEYS = frozenset(
    {
        "PlacerOrderNumberImagingServiceRequest", "OrderPlacerIdentifierSequence", "RequestedProcedureID",
        "FillerOrderNumberImagingServiceRequest", "OrderFillerIdentifierSequence", "ScheduledProcedureStepID",
        "ScheduledProcedureStepStartDate", "ScheduledProcedureStepStartTime", "ScheduledStationAETitle",
    }
)  # fmt: skip


def changes(change: OrderChange, stored: Order) -> list[OrderChange]:
    """The changes that make `stored` what `change` says: attributes it leaves out are deleted, steps are cancelled.

    The patient's attributes are not: they belong to all orders of the patient, so absent ones stay. Procedures and
    steps without an identifier are those of the stored order that the document does not name, in their sequence.
    """
    procedures = _paired(change.procedures, stored.procedures)
    gone = _gone(stored.attributes, {**change.visit, **change.request})
    whole = replace(
        change,
        control="XO",
        placer=change.placer if change.placer.number else stored.placer,
        filler=change.filler if change.filler.number else stored.filler,
        accession=change.accession or stored.accession,
        visit={**{k: v for k, v in gone.items() if k in FIELDS["visit"]}, **change.visit},
        request={**{k: v for k, v in gone.items() if k not in FIELDS["visit"]}, **change.request},
        procedures=tuple(_procedure(one, old) for one, old in procedures),
    )
    named = {step.step_id for procedure in whole.procedures for step in procedure.steps}
    left_out = [step for step in stored.steps() if step.step_id not in named and step.status not in lifecycle.ENDED]
    return [whole, canceling(stored, left_out)] if left_out else [whole]


def canceling(stored: Order, steps: Iterable[Step] = ()) -> OrderChange:
    """The change that cancels an order, or some of its steps."""
    named = tuple(StepChange(step.step_id, (), {}) for step in steps)
    patient = stored.patient
    return OrderChange(
        control="CA",
        order_status="",
        control_location="",
        placer=stored.placer,
        filler=stored.filler,
        accession=stored.accession,
        patient=PatientChange(patient.patient_id, patient.issuer, {}),
        visit={},
        request={},
        procedures=(ProcedureChange("", "", {}, named),) if named else (),
    )


def _gone(stored: Document, given: Document) -> Document:
    """Empty values for what the document leaves out."""
    return {
        keyword: [] if isinstance(value, list) else ""
        for keyword, value in stored.items()
        if keyword not in given and keyword not in _KEYS
    }


def _paired(
    given: tuple[ProcedureChange, ...], stored: tuple[Procedure, ...]
) -> list[tuple[ProcedureChange, Procedure | None]]:
    known = {procedure.requested_procedure_id: procedure for procedure in stored}
    named = {procedure.requested_procedure_id for procedure in given}
    rest = iter([procedure for procedure in stored if procedure.requested_procedure_id not in named])
    pairs = []
    for one in given:
        wanted = one.requested_procedure_id
        pairs.append((one, known.get(wanted) if wanted else next(rest, None)))
    return pairs


def _procedure(change: ProcedureChange, stored: Procedure | None) -> ProcedureChange:
    if stored is None:
        return change
    known = {step.step_id: step for step in stored.steps}
    named = {step.step_id for step in change.steps}
    rest = iter([step for step in stored.steps if step.step_id not in named])
    pairs = [(one, known.get(one.step_id) if one.step_id else next(rest, None)) for one in change.steps]
    return replace(
        change,
        requested_procedure_id=change.requested_procedure_id or stored.requested_procedure_id,
        attributes={**_gone(stored.attributes, change.attributes), **change.attributes},
        steps=tuple(_step(one, old) for one, old in pairs),
    )


def _step(change: StepChange, stored: Step | None) -> StepChange:
    if stored is None:
        return change
    attributes = {**_gone(stored.attributes, change.attributes), **change.attributes}
    return replace(change, step_id=change.step_id or stored.step_id, attributes=attributes)
