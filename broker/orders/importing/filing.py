"""Takes in the orders of files, each in one transaction: what is open is placed, what has ended ends here too."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection

from broker.hl7.codes import ErrorCode, Severity
from broker.hl7.findings import Finding
from broker.model.imported import ImportNote
from broker.model.order import Order, StepStatus
from broker.orders.core import lifecycle
from broker.orders.core.context import StoryContext
from broker.orders.core.values import Conversion, OrderChange
from broker.orders.direct import placing
from broker.orders.direct.placing import OrderRefused, report_findings
from broker.orders.documents import document, leniency
from broker.orders.importing import ending, known
from broker.orders.stories import identity
from broker.store.db.engine import savepoint
from broker.store.orders import imported, reading
from broker.store.room import needs_room

IN_PLACE = frozenset({"created", "updated", "unchanged"})
_Findings = tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class FiledOrder:
    """An order of a file: where it stands there, its accession number as it is written, and what it asks for."""

    place: str
    accession: str
    conversion: Conversion


@dataclass(frozen=True, slots=True)
class Filed:
    """What became of an order of a file.

    `outcome`: created, updated, unchanged; skipped, as it has ended; canceled, completed or discontinued, as it ended
    there; kept, as it cannot end here; refused. `row` is the order, if there is one.
    """

    outcome: str
    accession: str
    findings: _Findings = ()
    row: int | None = None
    detail: str = ""

    def report(self, *, dry: bool = False) -> dict[str, Any]:
        """The outcome as JSON, for one order of many; our number unless nothing was written."""
        errors = [finding for finding in self.findings if finding.is_error]
        warnings = [finding for finding in self.findings if not finding.is_error]
        known_as: dict[str, Any] = {} if dry or self.row is None else {"id": self.row}
        refused = {"detail": self.detail, "errors": report_findings(errors)} if self.outcome == "refused" else {}
        shown = {"outcome": self.outcome, "accession": self.accession, **known_as, **refused}
        return {**shown, "warnings": report_findings(warnings if refused else self.findings)}

    def note(self, place: str) -> ImportNote | None:
        """What is noted of it; None if it is simply in place. The same order of another file is the same item."""
        if self.outcome in IN_PLACE and not self.findings:
            return None
        findings = tuple((placing.field_path(finding), finding.text) for finding in self.findings)
        return ImportNote(
            source="",
            key=self.key(place),
            accession=self.accession,
            outcome="taken" if self.outcome in IN_PLACE else self.outcome,
            findings=findings,
            place=place,
        )

    def key(self, place: str) -> str:
        """What the item is noted under."""
        return f"accession|{self.accession[:64]}|{place[:150]}" if self.accession else f"place|{place[:200]}"


def read(place: str, given: Any, modalities: Collection[str], *, lenient: bool) -> FiledOrder:
    """An order of a file, from its document; a `lenient` one is an item of a worklist of before."""
    convert = leniency.convert if lenient else document.convert
    request = given.get("request") if isinstance(given, dict) else None
    accession = request.get("AccessionNumber", "") if isinstance(request, dict) else ""
    return FiledOrder(place, accession if isinstance(accession, str) else "", convert(given, modalities))


def record(connection: Connection, results: Iterable[tuple[FiledOrder, Filed]], context: StoryContext) -> None:
    """Note what became of orders of files: those that are simply in place are noted no more."""
    notes: list[ImportNote] = []
    in_place: set[str] = set()
    for order, filed in results:
        note = filed.note(order.place)
        if note is None:
            in_place.add(filed.key(order.place))
        else:
            notes.append(note)
    imported.record(connection, "", notes, in_place, context.at.timestamp())


@needs_room
def take_in(connection: Connection, order: FiledOrder, context: StoryContext, *, dry: bool = False) -> Filed:
    """Make of an order of a file what it says; `dry`: only say what would become of it."""
    if not order.conversion.usable:
        text = "The order cannot be used as it is"
        return Filed("refused", order.accession, order.conversion.findings, detail=text)
    change = order.conversion.changes[0]
    assert isinstance(change, OrderChange)
    reading.lock(connection, change.names())
    change = identity.as_known(connection, change, context)
    with savepoint(connection) as undo:
        try:
            filed = _taken_in(connection, change, context)
        except OrderRefused as error:
            filed = Filed("refused", "", error.findings, detail=str(error))
        if dry or filed.outcome == "refused":
            undo()
    return replace(filed, accession=order.accession, findings=(*filed.findings, *order.conversion.findings))


def _taken_in(connection: Connection, change: OrderChange, context: StoryContext) -> Filed:
    row = known.order_of(connection, change)
    stored = reading.load_order(connection, row) if row is not None else None
    change = known.stepped(known.named(change, stored, context), stored, context.default_station)
    over = ending.open_part(change)
    filed: Filed | None = None
    if over is not None:
        findings = _beside(over, stored)
        placed = placing.place(connection, over, context)
        filed = Filed(placed.action, "", (*placed.warnings, *findings), placed.row)
    gone = [step for procedure in change.procedures for step in procedure.steps if step.status in lifecycle.ENDED]
    if not gone:
        assert filed is not None
        return filed
    ended = _ended(connection, change, stored, context)
    return ended if filed is None else replace(filed, findings=(*filed.findings, *ended.findings))


def _ended(connection: Connection, change: OrderChange, stored: Order | None, context: StoryContext) -> Filed:
    """End the steps here that have ended in the file. Such an order that is not known is left out."""
    pairs = [] if stored is None else known.steps_of(stored, change)
    statuses = [step.status for procedure in change.procedures for step in procedure.steps]
    told = tuple(_over(status) for status in dict.fromkeys(statuses) if status in lifecycle.ENDED)
    outcomes: list[str] = []
    findings: list[Finding] = []
    for status in lifecycle.ENDED:
        steps = [step for asked, step in pairs if asked.status == status and step is not None]
        if not steps or stored is None:
            continue
        if stored.written.by.startswith("hl7:") and any(step.status in lifecycle.OPEN for step in steps):
            text = "A RIS has written the order: its status is not taken from a file"
            outcomes.append("kept")
            findings.append(Finding("", ErrorCode.ACCEPTED, text, Severity.WARNING))
            continue
        ended = ending.end(connection, reading.load_order(connection, stored.row or 0), steps, status, context)
        outcomes.append(ended.outcome)
        findings += ended.findings
    outcome = next((one for one in outcomes if one != "unchanged"), "unchanged" if outcomes else "skipped")
    shown = () if outcome == "unchanged" else (*told, *(_as_warning(finding) for finding in findings))
    return Filed(outcome, "", shown, stored.row if stored is not None else None)


def _over(status: StepStatus) -> Finding:
    text = f"The examination is {status} there: it is not offered"
    return Finding("ScheduledProcedureStepStatus", ErrorCode.ACCEPTED, text, Severity.WARNING)


def _as_warning(finding: Finding) -> Finding:
    """The item is not refused: its order stays as it is."""
    return replace(finding, severity=Severity.WARNING)


def _beside(change: OrderChange, stored: Order | None) -> _Findings:
    """A warning for each step without an identifier that comes beside others of its order."""
    if stored is None or not stored.steps():
        return ()
    text = "No step of the order has these stations and this start: added beside the others"
    return tuple(
        Finding(step.start_location, ErrorCode.ACCEPTED, text, Severity.WARNING)
        for step, known_step in known.steps_of(stored, change)
        if step.apart and not step.step_id and known_step is None
    )
