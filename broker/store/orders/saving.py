"""Writes orders: patient, request, procedures, steps with their search columns, links, event log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table, and_, bindparam, case, delete, insert, literal, select, update

from broker.model.order import Order, OrderLinkKind, Patient, Procedure, Step, StepIndex, Written
from broker.store.db import documents
from broker.store.db.prepared import Prepared
from broker.store.orders import patient_terms
from broker.store.schema import tables


class _Saved:
    """Inserts rows of a table or updates them, with statements that are compiled once."""

    def __init__(self, table: Table, columns: Sequence[str], new: Mapping[str, Any], old: Mapping[str, Any]) -> None:
        """`columns` are given; `new` and `old` are what a row gets besides when it is inserted or updated."""
        values: dict[str, Any] = {name: bindparam(name) for name in columns}
        self._insert = Prepared(any=insert(table).values({**values, **new}).returning(table.c.id))
        # a column's own name is not for a parameter of an update
        values = {name: bindparam(f"to_{name}") for name in columns}
        self._update = Prepared(any=update(table).where(table.c.id == bindparam("row")).values({**values, **old}))

    def save(self, connection: Connection, row: int | None, at: float, values: Mapping[str, Any], **new: Any) -> int:
        """Insert (without `row`) or update; the row. `at` is for the expressions of `new` and `old`, as is `**new`."""
        if row is None:
            return int(self._insert.rows(connection, {**values, **new, "at": at})[0][0])
        self._update.count(connection, {**{f"to_{name}": values[name] for name in values}, "row": row, "at": at})
        return row


_AT: Any = bindparam("at")
_COLUMNS = ("patient_id", "issuer", "attributes", "aliases")
_PATIENT = _Saved(tables.patient, _COLUMNS, {"updated_at": _AT}, {"updated_at": _AT})
_REQUEST = _Saved(
    tables.service_request,
    (
        "patient",
        "placer_number",
        "placer_issuer",
        "filler_number",
        "filler_issuer",
        "accession",
        "attributes",
        "changed_by",
        "ordered_from",
        "sent_from",
    ),
    {"created_at": _AT, "updated_at": _AT, "source": bindparam("source")},
    {},  # `ordered_again` says when somebody spoke of it
)
_PROCEDURE = _Saved(
    tables.requested_procedure, ("request", "requested_procedure_id", "study_instance_uid", "attributes"), {}, {}
)
_step = tables.scheduled_step
_STEP = _Saved(
    _step,
    (
        "procedure",
        "step_id",
        "position",
        "status",
        "start_at",
        "modality",
        "patient_id",
        "patient_name",
        "accession",
        "requested_procedure_id",
        "study_instance_uid",
        "attributes",
        "answer",
        "held",
    ),
    {"status_at": _AT, "updated_at": _AT, "revision": literal(1)},
    {
        "status_at": case((_step.c.status == bindparam("to_status"), _step.c.status_at), else_=_AT),
        "updated_at": _AT,
        "revision": _step.c.revision + 1,
    },
)
_station = tables.step_station
_NO_STATION = Prepared(any=delete(_station).where(_station.c.step == bindparam("row")))
_STATION = Prepared(any=insert(_station).values({name: bindparam(name) for name in ("step", "ae_title", "start_at")}))
_name = tables.step_name
_NO_NAME = Prepared(any=delete(_name).where(_name.c.step == bindparam("row")))
_NAME = Prepared(any=insert(_name).values({name: bindparam(name) for name in ("step", "words")}))
_event = tables.step_event
_EVENT = Prepared(
    any=insert(_event).values({c.name: bindparam(c.name) for c in _event.c if c.name != "id"}).returning(_event.c.id)
)
_SAID = Prepared(any=update(tables.patient).where(tables.patient.c.id == bindparam("row")).values(updated_at=_AT))
_SAID_ORDER = Prepared(
    any=update(tables.service_request).where(tables.service_request.c.id == bindparam("row")).values(updated_at=_AT)
)


def said_again(connection: Connection, patient: int, at: float) -> None:
    """Somebody spoke of a known patient (row): of two records that turn out to be one, the last word counts."""
    _SAID.count(connection, {"row": patient, "at": at})


def ordered_again(connection: Connection, order: int, at: float) -> None:
    """Somebody spoke of a known order (row): of two orders that turn out to be one, the last word counts.

    What ends a step of itself (its images, its age, an MPPS) is no word on the order.
    """
    _SAID_ORDER.count(connection, {"row": order, "at": at})


def save_patient(connection: Connection, patient: Patient, at: float, terms: Sequence[str] | None) -> int:
    """Insert or update a patient; the row.

    `terms`: what people find it by from now on. None: that has not changed, or it is new and `term_walk` writes them.
    """
    values = {
        "patient_id": patient.patient_id,
        "issuer": patient.issuer,
        "attributes": documents.encode(patient.attributes),
        "aliases": documents.encode([[alias.number, alias.issuer] for alias in patient.aliases]),
    }
    row = _PATIENT.save(connection, patient.row, at, values)
    if terms is not None:
        patient_terms.write(connection, row, terms)
    return row


def _written(written: Written) -> dict[str, Any]:
    return {"changed_by": written.by, "ordered_from": written.ordered_from, "sent_from": written.sent_from}


def save_written(connection: Connection, order: int, written: Written) -> None:
    """Note by whom and when an order (row) was last asked for as it is."""
    table = tables.service_request
    connection.execute(update(table).where(table.c.id == order).values(**_written(written)))


def save_request(connection: Connection, order: Order, patient: int, at: float, source: str = "") -> int:
    """Insert or update the Imaging Service Request of an order, without what is below it; the row.

    `source`: application and facility (`MSH-3|MSH-4`) that a new order comes from.
    """
    values = {
        "patient": patient,
        "placer_number": order.placer.number,
        "placer_issuer": order.placer.issuer,
        "filler_number": order.filler.number,
        "filler_issuer": order.filler.issuer,
        "accession": order.accession,
        "attributes": documents.encode(order.attributes),
        **_written(order.written),
    }
    return _REQUEST.save(connection, order.row, at, values, source=source)


def save_procedure(connection: Connection, procedure: Procedure, request: int) -> int:
    """Insert or update a Requested Procedure, without its steps; the row."""
    values = {
        "request": request,
        "requested_procedure_id": procedure.requested_procedure_id,
        "study_instance_uid": procedure.study_instance_uid,
        "attributes": documents.encode(procedure.attributes),
    }
    return _PROCEDURE.save(connection, procedure.row, 0, values)


def save_step(
    connection: Connection, step: Step, procedure: Procedure, owner: int, accession: str, index: StepIndex, at: float
) -> int:
    """Insert or update a step of the procedure in row `owner`, with its stations; the row."""
    values = {
        "procedure": owner,
        "step_id": step.step_id,
        "position": step.position,
        "status": step.status,
        "held": step.held,
        "start_at": step.start_at,
        "modality": step.attributes.get("Modality", ""),
        "patient_id": index.patient_id,
        "patient_name": index.patient_name,
        "accession": accession,
        "requested_procedure_id": procedure.requested_procedure_id,
        "study_instance_uid": procedure.study_instance_uid,
        "attributes": documents.encode(step.attributes),
        "answer": documents.encode(index.answer),
    }
    row = _STEP.save(connection, step.row, at, values)
    _save_names(connection, row, index, new=step.row is None)
    if step.row is not None:
        _NO_STATION.count(connection, {"row": row})
    for title in dict.fromkeys(step.stations):
        _STATION.rows(connection, {"step": row, "ae_title": title, "start_at": step.start_at})
    return row


def _save_names(connection: Connection, step: int, index: StepIndex, *, new: bool = False) -> None:
    """Write the further component groups of the patient's name."""
    if not new:
        _NO_NAME.count(connection, {"row": step})
    for words in name_groups(index.patient_name):
        _NAME.rows(connection, {"step": step, "words": words})


def name_groups(folded: str) -> list[str]:
    """The component groups of a name behind the first: what `step_name` holds of it."""
    return [words for words in dict.fromkeys(folded.split("=")[1:]) if words]


def save_index(connection: Connection, step: int, index: StepIndex, at: float) -> None:
    """Give a step a new answer and the patient columns that go with it."""
    table = tables.scheduled_step
    connection.execute(
        update(table)
        .where(table.c.id == step)
        .values(
            patient_id=index.patient_id,
            patient_name=index.patient_name,
            answer=documents.encode(index.answer),
            revision=table.c.revision + 1,
            updated_at=at,
        )
    )
    _save_names(connection, step, index)


def link(connection: Connection, request: int, kind: OrderLinkKind, other: int) -> bool:
    """Note that one order `replaces` another or has it as its `parent`; false if it is known already."""
    table = tables.order_link
    values = {"request": request, "kind": kind, "other": other}
    same = and_(*(table.c[name] == value for name, value in values.items()))
    if connection.execute(select(table.c.request).where(same)).first():
        return False
    connection.execute(insert(table), values)
    return True


def add_event(connection: Connection, step: int, at: float, before: str, after: str, cause: str, actor: str) -> int:
    """Append an event of a step (row) to its event log, which is append-only; the row of the event."""
    values = {"step": step, "at": at, "before": before, "after": after, "cause": cause, "actor": actor}
    return int(_EVENT.rows(connection, values)[0][0])
