"""Carries out an appointment: writes what `orders.core.booking` decides, or keeps it until its order comes."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlalchemy import Connection

from broker.hl7.codes import ErrorCode, Severity
from broker.hl7.findings import Finding
from broker.model.appointment import Appointment, AppointmentState
from broker.model.order import Document, Order, StepStatus
from broker.orders.core import booking, plan
from broker.orders.core.appointments import AppointmentAction, AppointmentChange, slots_document
from broker.orders.core.booking import Booked, Wish
from broker.orders.core.closing import Cause
from broker.orders.core.context import AuditEntry, StoryContext
from broker.orders.core.identifiers import Minter
from broker.orders.lookup import several
from broker.orders.stories import ordering, writing
from broker.orders.stories.planned import Planned
from broker.store.orders import by_number, reading, saving, waiting

NO_SHOW = "110507"  # Patient did not arrive (PS3.16 CID 9300)
_AHEAD = 86_400  # seconds: a time of a message further in our future must not make others look old
_ACTIONS = {
    AppointmentAction.BOOK: "booked",
    AppointmentAction.UNBOOK: "canceled",
    AppointmentAction.NO_SHOW: "no-show",
    AppointmentAction.START: "started",
    AppointmentAction.COMPLETE: "completed",
}


@dataclass(frozen=True, slots=True)
class _Decided:
    """What an appointment comes to.

    `kept` is its row to be; the others of the order have lost steps to it. `created` is the order that it makes.
    """

    change: AppointmentChange
    action: str
    findings: tuple[Finding, ...] = ()
    stored: Order | None = None
    made: Booked | None = None
    kept: Appointment | None = None
    others: tuple[Appointment, ...] = ()
    created: Planned | None = None

    def planned(self) -> Planned:
        accession = self.created.accession if self.created else self.stored.accession if self.stored else ""
        reply = self.created.reply if self.created else None
        return Planned(findings=self.findings, accession=accession, write=self.write, reply=reply)

    def write(self, connection: Connection, context: StoryContext) -> tuple[AuditEntry, ...]:
        """Write the order's steps and the appointment; its audit entries."""
        at, kept, row = context.at.timestamp(), self.kept, None
        entries: list[AuditEntry] = []
        if self.created is not None:
            entries += self.created.write(connection, context)
            row = entries[0].row
            if kept is not None:
                steps = reading.load_order(connection, row).steps()
                kept = replace(kept, request=row, steps=frozenset(step.row or 0 for step in steps))
        elif self.stored is not None:
            row = self.stored.row
            if self.made is not None and self.made.order != self.stored:
                reopened = self.made.reopened
                writing.write(connection, self.made.order, self.stored, self.change.cause, context, reopened)
            saving.ordered_again(connection, row or 0, at)
        for other in self.others:
            waiting.save_appointment(connection, other, at)
        number = waiting.save_appointment(connection, kept, at) if kept is not None else 0
        detail: Document = {"event": self.change.event}
        if self.action == _ACTIONS[AppointmentAction.NO_SHOW]:
            detail["reason"] = NO_SHOW
        if row is not None:
            return (*entries, AuditEntry(f"appointment.{self.action}", "order", row, detail))
        return (AuditEntry(f"appointment.{self.action}", "appointment", number, detail),)


def story(connection: Connection, change: AppointmentChange, context: StoryContext, mint: Minter) -> Planned:
    """Plan one appointment."""
    return _decide(connection, change, context, mint).planned()


def _decide(connection: Connection, change: AppointmentChange, context: StoryContext, mint: Minter) -> _Decided:
    rows = by_number.find_orders(connection, change.keys.filler, change.keys.placer, "")
    rows = several.of_patient(connection, rows, change.patient)
    stored = reading.load_order(connection, rows[0]) if len(rows) == 1 else None
    if stored is not None and change.patient is not None and not plan.same_patient(stored.patient, change.patient):
        if not change.guessed:
            finding = Finding("PID^1^3", ErrorCode.DUPLICATE_KEY, "The order belongs to another patient")
            return _Decided(change, "refused", (finding,), stored)
        stored = None  # an appointment number that happens to be an order number
    known = _known(connection, change, stored, context)
    mine = next((one for one in known if (one.sender, one.number) == (context.actor, change.number)), None)
    if mine is not None and change.sent is not None and mine.sent_from and change.sent.end <= mine.sent_from:
        return _late(change, stored, "A newer message about the appointment was applied: recorded without effect")
    if len(rows) > 1 and change.create is None:
        text = f"{several.HAVE_IT}: recorded without effect"
        return _Decided(change, "late", (_warning(change, ErrorCode.DUPLICATE_KEY, text),))
    if stored is None:
        return _unknown(connection, change, mine, context, mint)
    return _apply(connection, change, stored, known, mine, context)


def _known(
    connection: Connection, change: AppointmentChange, stored: Order | None, context: StoryContext
) -> list[Appointment]:
    if stored is not None and stored.row is not None:
        return waiting.appointments_of(connection, stored.row)
    return waiting.appointments(connection, change.keys.filler, change.keys.placer)


def _late(change: AppointmentChange, stored: Order | None, text: str) -> _Decided:
    return _Decided(change, "late", (_warning(change, ErrorCode.ACCEPTED, text),), stored)


def _warning(change: AppointmentChange, code: ErrorCode, text: str) -> Finding:
    return Finding(change.location, code, text, Severity.WARNING)


def _mine(
    change: AppointmentChange, mine: Appointment | None, stored: Order | None, context: StoryContext
) -> Appointment:
    """The row of the appointment as this message leaves it."""
    sent = change.sent.start if change.sent is not None else 0
    starts = [
        slot.attributes["ScheduledProcedureStepStartDate"] + slot.attributes["ScheduledProcedureStepStartTime"]
        for slot in change.slots
        if slot.attributes.get("ScheduledProcedureStepStartDate")
    ]
    books = change.asked is AppointmentAction.BOOK
    return Appointment(
        row=mine.row if mine else None,
        sender=context.actor,
        number=change.number,
        request=stored.row if stored else None,
        state=AppointmentState.OFF
        if change.asked in {AppointmentAction.UNBOOK, AppointmentAction.NO_SHOW}
        else AppointmentState.BOOKED,
        event=change.event,
        filler=change.keys.filler,
        placer=change.keys.placer,
        patient_id=change.patient.patient_id if change.patient else "",
        issuer=change.patient.issuer if change.patient else "",
        start_at=min(starts, default=mine.start_at if mine else ""),
        steps=mine.steps if mine else frozenset(),
        slots=tuple(slots_document(change.slots)) if books else mine.slots if mine else (),
        sent_from=sent if sent <= context.at.timestamp() + _AHEAD else 0,
    )


def _unknown(
    connection: Connection, change: AppointmentChange, mine: Appointment | None, context: StoryContext, mint: Minter
) -> _Decided:
    """Keep an appointment until its order comes; if the mapping says so, make the order."""
    kept = _mine(change, mine, None, context)
    if change.create is not None:
        created = ordering.story(connection, change.create, context, mint)
        kept = replace(kept, slots=())
        findings = (*change.create_findings, *created.findings)
        return _Decided(change, "booked", findings, None, kept=kept, created=created)
    text = "The order is not known yet: the appointment is kept for it"
    return _Decided(change, "kept", (_warning(change, ErrorCode.UNKNOWN_KEY, text),), kept=kept)


def _apply(
    connection: Connection,
    change: AppointmentChange,
    stored: Order,
    known: list[Appointment],
    mine: Appointment | None,
    context: StoryContext,
) -> _Decided:
    others = [one for one in known if one is not mine and one.state == AppointmentState.BOOKED]
    wish = Wish(
        change.asked,
        change.event,
        change.slots,
        change.cancels,
        own=mine.steps if mine and mine.state == AppointmentState.BOOKED else frozenset(),
        others=frozenset(step for one in others for step in one.steps),
        no_shows=_no_shows(connection, stored),
    )
    made = booking.booked(stored, wish, context.default_station)
    if not made.moved:
        text = "The examination has started or ended: recorded without effect"
        if not made.late:
            text = "The appointment has no step of the order any more: recorded without effect"
        return _late(change, stored, text)
    findings = []
    if made.late:
        text = "Steps that have started or ended stay as they are"
        findings.append(_warning(change, ErrorCode.ACCEPTED, text))
    if made.unmatched:
        text = "A service of the appointment fits no step of the order: left out"
        findings.append(Finding("AIS^1^3", ErrorCode.ACCEPTED, text, Severity.WARNING))
    kept = replace(_mine(change, mine, stored, context), slots=())
    if change.asked is AppointmentAction.BOOK:
        kept = replace(kept, steps=made.moved)
        others = [replace(one, steps=one.steps - made.moved) for one in others if one.steps & made.moved]
    else:
        others = []
    action = _ACTIONS[change.asked] if made.order != stored else "unchanged"
    return _Decided(change, action, tuple(findings), stored, made, kept, tuple(others))


def _no_shows(connection: Connection, order: Order) -> frozenset[int]:
    """Rows of the steps that an appointment, or nobody coming to it, has ended: their last change of status says so."""
    rows = [step.row for step in order.steps() if step.status == StepStatus.DISCONTINUED and step.row is not None]
    causes = {row: reading.last_cause(connection, row) for row in rows}
    return frozenset(row for row, why in causes.items() if why.startswith("appointment:") or why == Cause.NO_SHOW)
