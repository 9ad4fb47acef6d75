"""Moves a step that has not begun to another station or another time, as a person says.

What the RIS says later is in force again: a message states station and time of its own (`orders.stories.ordering`).
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from broker.hl7.codes import ErrorCode
from broker.hl7.findings import Finding
from broker.model.order import Document, Order, Procedure, Step
from broker.orders.core import lifecycle
from broker.orders.core.context import StoryContext
from broker.orders.core.values import OrderChange, PatientChange, ProcedureChange, StepChange
from broker.orders.direct.placing import OrderRefused, Placed, applied, locked, unless_changed
from broker.orders.documents import validity
from broker.orders.documents.document import FIELDS
from broker.store.room import needs_room

STATION = "ScheduledStationAETitle"
DATE, TIME = "ScheduledProcedureStepStartDate", "ScheduledProcedureStepStartTime"


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """Where and when a step is to be done: AE titles, `YYYYMMDD` and `HHMMSS`. What is empty stays as it is."""

    step_id: str
    stations: tuple[str, ...] = ()
    date: str = ""
    time: str = ""

    def values(self) -> Document:
        """As attributes of a document."""
        given = {STATION: list(self.stations), DATE: self.date, TIME: self.time}
        return {keyword: value for keyword, value in given.items() if value}


@needs_room
def move(connection: Connection, row: int, asked: Move, revision: str | None, context: StoryContext) -> Placed:
    """Move a step of an order (row), if the order still is as at `revision`. Raises OrderRefused."""
    stored = locked(connection, row)
    unless_changed(stored, revision)
    procedure, step = _step(stored, asked.step_id)
    if step.status not in lifecycle.WAITING:
        raise OrderRefused("conflict", "The step has begun or ended")
    values, wrong = validity.section(FIELDS["step"], asked.values())
    if wrong or not values:
        findings = [Finding(path, ErrorCode.DATA_TYPE, text) for path, text in wrong]
        raise OrderRefused("invalid", "Say another station or another time that can be used", findings)
    if not step.start_at and values.get(TIME) and not values.get(DATE):
        missing = Finding(DATE, ErrorCode.REQUIRED_FIELD_MISSING, "missing")
        raise OrderRefused("invalid", "Say another station or another time that can be used", [missing])
    if not step.start_at and values.get(DATE):  # a date alone is a start at midnight, as in a document
        values.setdefault(TIME, "000000")
    stations = tuple(values.pop(STATION, ()))
    changed = StepChange(step.step_id, stations, values, start_location=DATE)
    change = OrderChange(
        control="XO",
        order_status="",
        control_location="",
        placer=stored.placer,
        filler=stored.filler,
        accession=stored.accession,
        patient=PatientChange(stored.patient.patient_id, stored.patient.issuer, {}),
        visit={},
        request={},
        procedures=(ProcedureChange(procedure.requested_procedure_id, "", {}, (changed,)),),
        row=row,
    )
    return applied(connection, [change], context)


def _step(stored: Order, step_id: str) -> tuple[Procedure, Step]:
    found = [(one, step) for one in stored.procedures for step in one.steps if step.step_id == step_id]
    if len(found) != 1:
        raise OrderRefused("missing", "The order has no such step")
    return found[0]
