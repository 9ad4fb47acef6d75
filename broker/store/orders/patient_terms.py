"""Writes the words that people find patients by, and reads whose are still to be written.

A new patient has none yet: they are many places of an index, so `orders.term_walk` writes those of many patients at
once. Whoever searches looks at the attributes of these patients.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, insert, literal, select, true, update

from broker.model.order import Document
from broker.store.db import documents
from broker.store.db.pace import padded
from broker.store.db.prepared import Prepared
from broker.store.schema import tables

_t, _patient = tables.patient_term, tables.patient
_AT_ONCE = 8  # words of one statement: each way to the database costs more than a row


def _adding(count: int) -> Prepared:
    """Adds so many words of one patient."""
    rows: list[Any] = [{"patient": bindparam("patient"), "term": bindparam(f"term_{place}")} for place in range(count)]
    return Prepared(any=insert(_t).values(rows))


_ADD = tuple(_adding(count) for count in range(1, _AT_ONCE + 1))
_REMOVE = Prepared(any=delete(_t).where(_t.c.patient == bindparam("patient")))

_FINDABLE = Prepared(any=update(_patient).where(_patient.c.id == bindparam("row")).values(findable=true()))


def write(connection: Connection, patient: int, terms: Sequence[str]) -> None:
    """Write what a known patient (row) is found by from now on."""
    _REMOVE.count(connection, {"patient": patient})
    _FINDABLE.count(connection, {"row": patient})
    for start in range(0, len(terms), _AT_ONCE):
        part = terms[start : start + _AT_ONCE]
        values = {f"term_{place}": term for place, term in enumerate(part)}
        _ADD[len(part) - 1].count(connection, {"patient": patient, **values})


def forget(connection: Connection, patient: int) -> None:
    """Remove what a patient (row) that goes away was found by: SQLite may give its number to somebody else."""
    _REMOVE.count(connection, {"patient": patient})


def unfindable(connection: Connection, limit: int, *, newest: bool = False) -> dict[int, Document]:
    """Attributes of patients (rows) whose words are still to be written: the oldest rows, or the newest ones."""
    order = _patient.c.id.desc() if newest else _patient.c.id
    query = select(_patient.c.id, _patient.c.attributes).where(~_patient.c.findable).order_by(order)
    return {row: documents.decode(text) for row, text in connection.execute(query.limit(limit))}


def left(connection: Connection, most: int) -> int:
    """How many patients are still to be made findable, at most so many."""
    some = select(literal(1)).select_from(_patient).where(~_patient.c.findable).limit(most).subquery()
    return int(connection.execute(select(func.count()).select_from(some)).scalar_one())


def make_findable(connection: Connection, terms: Mapping[int, Sequence[str]]) -> None:
    """Write the words of patients (rows). Who was written meanwhile, or is gone, stays as it is."""
    rows = padded(list(terms))
    query = select(_patient.c.id).where(_patient.c.id.in_(rows), ~_patient.c.findable).with_for_update()
    still = padded(list(connection.execute(query).scalars()))
    if not still:
        return
    connection.execute(delete(_t).where(_t.c.patient.in_(still)))
    words = [{"patient": row, "term": term} for row in dict.fromkeys(still) for term in terms[row]]
    if words:
        connection.execute(insert(_t), words)
    connection.execute(update(_patient).where(_patient.c.id.in_(still)).values(findable=true()))
