"""Writes a stored order as the JSON document that `document` reads, with what only the broker knows of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo
from typing import Any

from broker.model.order import Document, Order, Procedure, Step, StepEvent
from broker.orders.core import lifecycle
from broker.orders.documents.document import FIELDS, STATUS


def document(order: Order) -> dict[str, Any]:
    """An order with the revision of this state."""
    patient, of_patient = _parted(order.patient.attributes)
    request, visit = _parted(order.attributes)
    body = {
        "patient": patient | {"PatientID": order.patient.patient_id},
        "visit": of_patient | visit,  # messages tell some of it of the patient, as allergies in AL1
        "request": request | ({"AccessionNumber": order.accession} if order.accession else {}),
        "procedures": [_procedure(procedure) for procedure in order.procedures],
    }
    text = json.dumps(body, sort_keys=True, ensure_ascii=False).encode()
    revision = hashlib.blake2b(text, digest_size=12).hexdigest()
    return {"id": order.row, "revision": revision, **body}


def _parted(attributes: Mapping[str, Any]) -> tuple[Document, Document]:
    """Attributes that stand at the visit in a document, behind the others."""
    visit = {keyword: value for keyword, value in attributes.items() if keyword in FIELDS["visit"]}
    return {keyword: value for keyword, value in attributes.items() if keyword not in visit}, visit


def _procedure(procedure: Procedure) -> Document:
    return {
        **procedure.attributes,
        "RequestedProcedureID": procedure.requested_procedure_id,
        "StudyInstanceUID": procedure.study_instance_uid,
        "steps": [_step(step) for step in procedure.steps],
    }


def _step(step: Step) -> Document:
    shown = {**step.attributes, "ScheduledProcedureStepID": step.step_id, STATUS: step.status}
    waits = step.status in lifecycle.WAITING and not step.start_at
    return shown | ({"held": True} if step.held else {}) | ({"unscheduled": True} if waits else {})


def with_events(
    body: dict[str, Any], order: Order, events: Mapping[int, Sequence[StepEvent]], zone: tzinfo
) -> dict[str, Any]:
    """The document with the changes of status of each step, oldest first."""
    for procedure, shown in zip(order.procedures, body["procedures"], strict=True):
        for step, item in zip(procedure.steps, shown["steps"], strict=True):
            item["events"] = [_event(event, zone) for event in events.get(step.row or 0, ())]
    return body


def _event(event: StepEvent, zone: tzinfo) -> dict[str, str]:
    at = datetime.fromtimestamp(event.at, zone).isoformat(timespec="seconds")
    return {"at": at, "before": event.before, "after": event.after, "cause": event.cause, "actor": event.actor}
