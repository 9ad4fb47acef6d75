"""Places, amends, cancels, reopens and reads orders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo
from typing import Any, Literal

from pydicom.datadict import dictionary_VR
from sqlalchemy import Connection

from broker.errors import BrokerError
from broker.hl7.codes import ErrorCode
from broker.hl7.findings import Finding
from broker.model.order import Document, Order, StepStatus
from broker.orders.core import identifiers
from broker.orders.core.context import StoryContext
from broker.orders.core.identifiers import Minter
from broker.orders.core.values import Conversion, OrderChange
from broker.orders.documents import outline, replacing
from broker.orders.mapping.representations import LENGTH
from broker.orders.stories import ending, identity, intake
from broker.store import idempotency
from broker.store.db.engine import savepoint
from broker.store.idempotency import Key
from broker.store.orders import by_number, reading
from broker.store.orders import search as order_search
from broker.store.room import needs_room

Kind = Literal["missing", "conflict", "changed", "invalid", "key-reused"]
# codes that speak of what is stored
_CONFLICTS = frozenset({ErrorCode.UNKNOWN_KEY, ErrorCode.DUPLICATE_KEY, ErrorCode.RECORD_LOCKED})


class OrderRefused(BrokerError):
    """An order is not placed, changed or cancelled. `findings` hold no values."""

    code = "order-refused"

    def __init__(self, kind: Kind, text: str, findings: Sequence[Finding] = ()) -> None:
        super().__init__(text)
        self.kind = kind
        self.findings = tuple(findings)

    def report(self) -> dict[str, Any]:
        """The refusal as JSON, for one order of many. It holds paths of fields, never their values."""
        return {"outcome": "refused", "detail": str(self), "errors": report_findings(self.findings)}


@dataclass(frozen=True, slots=True)
class Placed:
    """What became of an order: `action` is created, updated, unchanged or canceled. `fresh`: that was done just now."""

    row: int
    action: str
    warnings: tuple[Finding, ...]
    document: Document
    fresh: bool = True

    def report(self, *, dry: bool = False) -> dict[str, Any]:
        """The outcome as JSON, for one order of many; our number unless nothing was written."""
        numbered = {} if dry else {"id": self.row}
        return {"outcome": self.action, **numbered, "warnings": report_findings(self.warnings)}


def field_path(finding: Finding) -> str:
    """The field of a finding; stories that know only HL7 locations name the patient by PID-3."""
    if "^" in finding.location:
        return "patient/PatientID" if finding.location.startswith("PID^1^3") else ""
    return finding.location


def report_findings(findings: Sequence[Finding]) -> list[dict[str, str]]:
    """Findings as JSON, by the paths of their fields."""
    return [{"path": field_path(finding), "text": finding.text} for finding in findings]


def usable(conversion: Conversion) -> OrderChange:
    """The order change of a document. Raises OrderRefused."""
    if not conversion.usable:
        raise OrderRefused("invalid", "The order cannot be used as it is", conversion.findings)
    change = conversion.changes[0]
    assert isinstance(change, OrderChange)
    return change


@needs_room
def place(
    connection: Connection, change: OrderChange, context: StoryContext, key: Key | None = None, *, dry: bool = False
) -> Placed:
    """Create or update an order. Under a `key` that was used the stored outcome; `dry`: nothing is written.

    Raises OrderRefused.
    """
    reading.lock(connection, [*change.names(), *([key.name] if key else [])])
    change = identity.as_known(connection, change, context)
    if key is not None:
        known = idempotency.find(connection, key, context.at.timestamp())
        if known is not None and known.digest != key.digest:
            raise OrderRefused("key-reused", "The idempotency key was used for another request")
        if known is not None:
            return Placed(known.row, known.action, (), known.answer, fresh=False)
    with savepoint(connection) as undo:
        placed = applied(connection, [_numbered(connection, change, context)], context)
        if dry:
            undo()
    if key is not None and not dry:
        idempotency.add(connection, key, placed.row, placed.action, placed.document, context.at.timestamp())
    return placed


@needs_room
def amend(connection: Connection, row: int, change: OrderChange, revision: str, context: StoryContext) -> Placed:
    """Make an order what a whole document says, if it still is as at `revision`. Raises OrderRefused."""
    stored = locked(connection, row, change)
    change = identity.as_known(connection, change, context)
    unless_changed(stored, revision)
    changes = replacing.changes(change, stored)
    first = changes[0]
    if by_number.find_order(connection, first.filler, first.placer, first.accession) != row:
        raise OrderRefused("conflict", "These numbers name no order or another one")
    return applied(connection, changes, context)


def cancel(connection: Connection, row: int, revision: str | None, context: StoryContext) -> Placed:
    """Cancel what has not started of an order; again is no error. Raises OrderRefused."""
    stored = locked(connection, row)
    unless_changed(stored, revision)
    if stored.steps() and all(step.status == StepStatus.CANCELED for step in stored.steps()):
        return Placed(row, "unchanged", (), outline.document(stored), fresh=False)
    return applied(connection, [replacing.canceling(stored)], context)


def reopen(connection: Connection, row: int, step_id: str, reason: str, context: StoryContext) -> Placed:
    """A person lets an ended step (Scheduled Procedure Step ID) begin again. Raises OrderRefused."""
    stored = locked(connection, row)
    steps = [step.row or 0 for step in stored.steps() if step.step_id == step_id]
    if len(steps) != 1:
        raise OrderRefused("missing", "The order has no such step")
    try:
        ending.reopen(connection, row, steps[0], reason, context)
    except ending.NotReopened as error:
        raise OrderRefused("conflict", str(error)) from None
    return Placed(row, "reopened", (), outline.document(reading.load_order(connection, row)))


def unless_changed(stored: Order, revision: str | None) -> None:
    """Raises OrderRefused if an order is not as at a revision; None is any."""
    if revision is not None and outline.document(stored)["revision"] != revision:
        raise OrderRefused("changed", "The order has changed meanwhile")


def locked(connection: Connection, row: int, change: OrderChange | None = None) -> Order:
    """A stored order, nobody else changing it until the transaction ends."""
    names = reading.lock_names(connection, row)
    if not names:
        raise OrderRefused("missing", "No such order")
    reading.lock(connection, [*names, *(change.names() if change else ())])
    return reading.load_order(connection, row)


def _numbered(connection: Connection, change: OrderChange, context: StoryContext) -> OrderChange:
    """A new order without an accession number, and without an order number that can be one, gets one of ours."""
    if identifiers.accession(change.accession, "", change.filler.number, change.placer.number):
        return change
    if by_number.find_order(connection, change.filler, change.placer, "") is not None:
        return change
    return replace(change, accession=Minter(context.token).short("ACC"))


def applied(connection: Connection, changes: Sequence[OrderChange], context: StoryContext) -> Placed:
    """What changes made of an order, with its rows of the audit trail. Raises OrderRefused."""
    plans, audit = intake.apply(connection, changes, context)
    findings = [finding for planned in plans for finding in planned.findings]
    if audit is None:
        errors = [finding for finding in findings if finding.is_error]
        conflict = any(finding.code in _CONFLICTS for finding in errors)
        raise OrderRefused("conflict" if conflict else "invalid", errors[0].text, errors)
    actions = [entry.action.removeprefix("order.") for entry in audit if entry.kind == "order"]
    if "late" in actions:
        raise OrderRefused("conflict", "The order has ended", findings)
    for entry in audit:
        intake.add_audit(connection, entry, context)
    action = next((action for action in actions if action != "unchanged"), "unchanged")
    row = audit[0].row
    return Placed(row, action, tuple(findings), outline.document(reading.load_order(connection, row)))


def read(connection: Connection, row: int, zone: tzinfo) -> Document | None:
    """The document of an order with the events of its steps on the clock of `zone`; None if there is no such row."""
    if not order_search.exists(connection, row):
        return None
    order = reading.load_order(connection, row)
    return outline.with_events(outline.document(order), order, reading.events_of_order(connection, row), zone)


def stored(connection: Connection, row: int) -> Order | None:
    """An order; None if there is no such row."""
    return reading.load_order(connection, row) if order_search.exists(connection, row) else None


def search(connection: Connection, wanted: Mapping[str, str], after: int, limit: int) -> list[Document]:
    """The documents of at most `limit` orders with these values (keywords of `search`), with rows above `after`.

    An identifier that is longer than DICOM allows is stored by its short form.
    """
    stored = {}
    for keyword, value in wanted.items():
        vr = dictionary_VR(keyword)
        is_long = vr in ("SH", "LO") and len(value) > LENGTH[vr]
        stored[keyword] = identifiers.short_form(value, LENGTH[vr]) if is_long else value
    rows = order_search.find(connection, stored, after, limit)
    return [outline.document(reading.load_order(connection, row)) for row in rows]
