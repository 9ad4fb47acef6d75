"""Ends the examinations of an order when its result comes, if the mapping says so; begins none again."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from functools import partial

from sqlalchemy import Connection

from broker.hl7.codes import ErrorCode, Severity
from broker.hl7.findings import Finding
from broker.model.order import Order, Step
from broker.orders.core import lifecycle, plan
from broker.orders.core.booking import codes_of
from broker.orders.core.context import AuditEntry, StoryContext
from broker.orders.core.identifiers import Minter
from broker.orders.core.lifecycle import Action
from broker.orders.inbound.results import ResultChange
from broker.orders.lookup import several
from broker.orders.stories import writing
from broker.orders.stories.planned import Planned
from broker.store.orders import by_number, reading, saving


def story(connection: Connection, change: ResultChange, context: StoryContext, mint: Minter) -> Planned:
    """Plan one result."""
    rows = by_number.find_orders(connection, change.keys.filler, change.keys.placer, change.accession)
    rows = several.of_patient(connection, rows, change.patient)
    row = rows[0] if len(rows) == 1 else by_number.find_study(connection, change.study_instance_uid)
    stored = reading.load_order(connection, row) if row is not None else None
    if not change.completes:
        return _recorded(change, stored)
    if stored is None and rows:
        text = f"{several.HAVE_IT}: recorded without effect"
        return _recorded(change, None, Finding(change.number_location, ErrorCode.DUPLICATE_KEY, text, Severity.WARNING))
    if stored is None:
        text = "The order of the result is not known: recorded without effect"
        return _recorded(change, None, Finding(change.location, ErrorCode.UNKNOWN_KEY, text, Severity.WARNING))
    if change.patient is not None and not plan.same_patient(stored.patient, change.patient):
        return Planned(findings=(Finding("PID^1^3", ErrorCode.DUPLICATE_KEY, "The order belongs to another patient"),))
    order = completed(stored, change, context.without_results)
    if order == stored:
        open_ = any(step.status in lifecycle.OPEN for step in order.steps())
        text = "Results end no step of this device" if open_ else "The examination has ended"
        text += ": recorded without effect"
        return _recorded(change, stored, Finding(change.location, ErrorCode.ACCEPTED, text, Severity.WARNING))
    return Planned(accession=stored.accession, write=partial(_complete, change, stored, order))


def _recorded(change: ResultChange, stored: Order | None, *findings: Finding) -> Planned:
    """A result that changes no step."""
    if stored is None:
        return Planned(findings=findings)
    entry = _entry("recorded", change, stored)
    return Planned(findings=findings, accession=stored.accession, write=lambda *_: (entry,))


def _complete(
    change: ResultChange, stored: Order, order: Order, connection: Connection, context: StoryContext
) -> tuple[AuditEntry, ...]:
    row = writing.write(connection, order, stored, f"result:{change.status}", context)
    saving.ordered_again(connection, row, context.at.timestamp())
    return (_entry("completed", change, stored),)


def _entry(action: str, change: ResultChange, order: Order) -> AuditEntry:
    return AuditEntry(f"result.{action}", "order", order.row or 0, {"status": change.status})


def completed(order: Order, change: ResultChange, without: Collection[str] = ()) -> Order:
    """An order whose open steps are done: those of the procedure that the result names, else all.

    `without` are stations whose steps no result ends.
    """
    meant = _meant(order, change)
    procedures = []
    for procedure in order.procedures:
        steps = procedure.steps
        if procedure.row in meant:
            steps = tuple(step if _spared(step, without) else _done(step) for step in steps)
        procedures.append(replace(procedure, steps=steps))
    return replace(order, procedures=tuple(procedures))


def _spared(step: Step, without: Collection[str]) -> bool:
    return any(station in without for station in step.stations)


def _done(step: Step) -> Step:
    return replace(step, status=lifecycle.apply(Action.COMPLETE, step.status)[1])


def _meant(order: Order, change: ResultChange) -> set[int | None]:
    """Rows of the procedures that a result is about: by study, by their identifier, by code, else all."""
    tests = (
        lambda p: bool(change.study_instance_uid) and change.study_instance_uid == p.study_instance_uid,
        lambda p: bool(change.procedure_id) and change.procedure_id == p.requested_procedure_id,
        lambda p: change.code in codes_of(p.attributes, "RequestedProcedureCodeSequence"),
        lambda p: True,
    )
    found = ({procedure.row for procedure in order.procedures if test(procedure)} for test in tests)
    return next((rows for rows in found if rows), set())
