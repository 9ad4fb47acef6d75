"""Finding and loading orders, and the locks that keep two messages about one order apart."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, select, text

from broker.store import tables
from broker.store.engine import is_sqlite
from broker.store.orders_rows import Document, EntityId, OpenAnswer, Order, Patient, Procedure, Step

_LOCK = text("SELECT pg_advisory_xact_lock(:key)")


def lock(connection: Connection, names: Iterable[str]) -> None:
    """Hold these names until the transaction ends. SQLite has one writer and needs none."""
    if is_sqlite(connection):
        return
    digests = {hashlib.blake2b(name.encode(), digest_size=8).digest() for name in names}
    for key in sorted(int.from_bytes(digest, "big", signed=True) for digest in digests):
        connection.execute(_LOCK, {"key": key})


def find_order(connection: Connection, filler: EntityId, placer: EntityId, accession: str) -> int | None:
    """Row of the order these keys name: filler number, placer number, accession, in this sequence.

    A later key counts only if the stored order has no other number of an earlier kind. A number
    without an issuer, stored or asked for, matches if it is the only one.
    """
    request = tables.service_request.c
    for kind, wanted, number in (
        (0, filler, request.filler_number),
        (1, placer, request.placer_number),
        (2, EntityId(accession), request.accession),
    ):
        if not wanted.number:
            continue
        query = select(
            request.id, request.filler_number, request.filler_issuer, request.placer_number, request.placer_issuer
        ).where(number == wanted.number)
        found = [_Keys(row[0], (row[1], row[3]), (row[2], row[4])) for row in connection.execute(query)]
        fit = [keys for keys in found if keys.compatible(filler, placer, kind)]
        if kind < 2:
            exact = [keys for keys in fit if keys.issuers[kind] == wanted.issuer]
            fit = exact or [keys for keys in fit if not keys.issuers[kind] or not wanted.issuer]
        if len(fit) == 1:
            return fit[0].row
    return None


@dataclass(frozen=True, slots=True)
class _Keys:
    """Filler and placer number of a stored order, and their issuers."""

    row: int
    numbers: tuple[str, str]
    issuers: tuple[str, str]

    def compatible(self, filler: EntityId, placer: EntityId, kind: int) -> bool:
        """No number of an earlier kind says that this is another order."""
        asked = (filler.number, placer.number)
        return not any(self.numbers[i] and asked[i] and self.numbers[i] != asked[i] for i in range(kind))


def find_patient(connection: Connection, patient_id: str, issuer: str) -> Patient | None:
    """The patient under an identifier and issuer."""
    table = tables.patient.c
    query = select(table.id, table.patient_id, table.issuer, table.attributes).where(
        table.patient_id == patient_id, table.issuer == issuer
    )
    row = connection.execute(query).one_or_none()
    return Patient(row[0], row[1], row[2], json.loads(row[3])) if row else None


def patient_changed(connection: Connection, patient_id: str, issuer: str, after: float, before: float) -> bool:
    """True if the patient was written last between two times (s since the epoch, both excluded)."""
    table = tables.patient.c
    query = select(table.id).where(
        table.patient_id == patient_id, table.issuer == issuer, table.updated_at > after, table.updated_at < before
    )
    return connection.execute(query).first() is not None


def load_order(connection: Connection, row: int) -> Order:
    """An order with its patient, procedures and steps."""
    request, patient = tables.service_request.c, tables.patient.c
    query = select(
        request.placer_number, request.placer_issuer, request.filler_number, request.filler_issuer,
        request.accession, request.attributes, patient.id, patient.patient_id, patient.issuer, patient.attributes,
    ).join_from(tables.service_request, tables.patient).where(request.id == row)  # fmt: skip
    found = connection.execute(query).one()
    return Order(
        row=row,
        patient=Patient(found[6], found[7], found[8], json.loads(found[9])),
        placer=EntityId(found[0], found[1]),
        filler=EntityId(found[2], found[3]),
        accession=found[4],
        attributes=json.loads(found[5]),
        procedures=_procedures(connection, row),
    )


def _procedures(connection: Connection, request: int) -> tuple[Procedure, ...]:
    procedure, step = tables.requested_procedure.c, tables.scheduled_step.c
    found = connection.execute(
        select(
            procedure.id, procedure.requested_procedure_id, procedure.study_instance_uid, procedure.attributes
        ).where(procedure.request == request).order_by(procedure.id)
    ).all()  # fmt: skip
    columns = (step.id, step.procedure, step.step_id, step.position, step.status, step.attributes)
    steps = connection.execute(
        select(*columns).where(step.procedure.in_([row[0] for row in found])).order_by(step.position, step.id)
    ).all()
    below: dict[int, list[Step]] = {}
    for row in steps:
        below.setdefault(row[1], []).append(Step(row[0], row[2], row[3], row[4], json.loads(row[5])))
    return tuple(Procedure(row[0], row[1], row[2], json.loads(row[3]), tuple(below.get(row[0], ()))) for row in found)


def study_owners(connection: Connection, uids: Sequence[str]) -> dict[str, int]:
    """Row of the order that each Study Instance UID belongs to; unknown ones are left out."""
    if not uids:
        return {}
    procedure = tables.requested_procedure.c
    query = select(procedure.study_instance_uid, procedure.request).where(procedure.study_instance_uid.in_(uids))
    return {uid: int(request) for uid, request in connection.execute(query)}


def open_answers(
    connection: Connection, patient: int, statuses: Sequence[str], other_than: int | None
) -> list[OpenAnswer]:
    """Answers of a patient's steps in `statuses`, those of one order left out."""
    step, procedure, request = tables.scheduled_step, tables.requested_procedure, tables.service_request
    query = (
        select(step.c.id, step.c.answer)
        .join_from(step, procedure)
        .join(request)
        .where(
            request.c.patient == bindparam("patient"),
            request.c.id != bindparam("other"),
            step.c.status.in_(statuses),
        )
        .order_by(step.c.id)
    )
    found = connection.execute(query, {"patient": patient, "other": other_than if other_than is not None else -1})
    return [OpenAnswer(row, json.loads(answer)) for row, answer in found]


def answers_of(connection: Connection, order: int) -> list[tuple[str, Document]]:
    """Status and answer of each step of an order, in its sequence."""
    step, procedure = tables.scheduled_step, tables.requested_procedure
    query = (
        select(step.c.status, step.c.answer)
        .join_from(step, procedure)
        .where(procedure.c.request == order)
        .order_by(procedure.c.id, step.c.position, step.c.id)
    )
    return [(status, json.loads(answer)) for status, answer in connection.execute(query)]


def order_rows(connection: Connection) -> list[int]:
    """Rows of all orders, oldest first."""
    request = tables.service_request.c
    return list(connection.execute(select(request.id).order_by(request.id)).scalars())


def answers_written(
    connection: Connection, orders: Sequence[int], patients: Sequence[int], at: float
) -> dict[int, Document]:
    """Answers by step of those written at a time (s since the epoch), among the steps of all orders of some patients.

    The patients of `orders` count too: what is told of one order may change what is shown in the others.
    """
    step, procedure, request = tables.scheduled_step, tables.requested_procedure, tables.service_request
    owners = connection.execute(select(request.c.patient).where(request.c.id.in_(orders))).scalars()
    query = (
        select(step.c.id, step.c.answer)
        .join_from(step, procedure)
        .join(request)
        .where(request.c.patient.in_({*patients, *owners}), step.c.updated_at == at)
        .order_by(step.c.id)
    )
    return {row: json.loads(answer) for row, answer in connection.execute(query)}


def answers_by_step(connection: Connection, steps: Sequence[int]) -> dict[int, Document]:
    """Answers of some steps, by their rows."""
    step = tables.scheduled_step.c
    query = select(step.id, step.answer).where(step.id.in_(steps))
    return {row: json.loads(answer) for row, answer in connection.execute(query)}
