"""Takes in a message: journals it, recognizes a repeat, applies what it asks for; all of it or nothing.

The answer is built inside the transaction and stored with the message, so that a repeat gets the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from broker.hl7 import acknowledgement
from broker.hl7.acknowledgement import Body
from broker.hl7.codes import AckCode, ErrorCode, Severity
from broker.hl7.findings import Finding
from broker.hl7.header import Header
from broker.model.message import ReceivedMessage
from broker.orders.core.appointments import AppointmentChange
from broker.orders.core.context import AuditEntry, StoryContext
from broker.orders.core.identifiers import Minter
from broker.orders.core.patients import IdentifierChange, Merge, PatientArrival, PatientUpdate, VisitChange, VisitMove
from broker.orders.core.values import Change, Conversion, OrderChange
from broker.orders.inbound.reception import AnswerKind, Examined, Interface
from broker.orders.inbound.results import ResultChange
from broker.orders.lookup import recognizing
from broker.orders.stories import (
    appointing,
    identity,
    merging,
    ordering,
    registering,
    replies,
    resulting,
    visiting,
    writing,
)
from broker.orders.stories.identity import Settled
from broker.orders.stories.planned import Planned, Story
from broker.store.db.engine import savepoint
from broker.store.orders import authorities, messages, reading
from broker.store.room import needs_room

STORIES: Mapping[type[Change], Story] = {
    OrderChange: ordering.story,
    AppointmentChange: appointing.story,
    ResultChange: resulting.story,
    PatientUpdate: registering.story,
    VisitChange: visiting.story,
    PatientArrival: visiting.arrival,
    VisitMove: visiting.move,
    Merge: merging.story,
    IdentifierChange: merging.change_identifier,
}

_REUSED = Finding(
    "MSH^1^10", ErrorCode.DUPLICATE_KEY, "Message control id was used before for another message", Severity.WARNING
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The answer to send (empty for none), its code, and what to log."""

    answer: bytes
    code: str
    findings: int = 0
    repeated: bool = False
    accession: str = ""
    told: tuple[Finding, ...] = ()
    plans: tuple[Planned, ...] = ()

    @property
    def refusal(self) -> str:
        """The code of an answer that refuses, empty for one that takes (perhaps without an answer)."""
        return self.code if self.code[-1:] in ("E", "R") else ""


@needs_room
def settle(
    connection: Connection, received: ReceivedMessage, examined: Examined, context: StoryContext, interface: Interface
) -> Outcome:
    """Take a message or refuse it, as it was found when it was read."""
    if examined.code:
        return refuse(connection, received, examined.header, examined.code, examined.conversion.findings, context)
    return take(
        connection,
        received,
        examined.header,
        examined.conversion,
        context,
        order_answers=interface.answers == AnswerKind.ORDER,
        refuse_reused=interface.refuse_reused,
        note=examined.note,
    )


def take(
    connection: Connection,
    received: ReceivedMessage,
    header: Header,
    conversion: Conversion,
    context: StoryContext,
    *,
    order_answers: bool = False,
    refuse_reused: bool = False,
    note: str = "",
) -> Outcome:
    """Apply the changes of a message. A refused message changes nothing but is journaled.

    With `order_answers` the answer tells of the orders too (`orders.stories.replies`), else it is an acknowledgement.
    `refuse_reused`: a control id that the sender used for other bytes is an error instead of a warning. `note` is for
    the journal.
    """
    names = [f"message|{received.sender}|{received.control_id}"]
    reading.lock(connection, names + [name for change in conversion.changes for name in change.names()])
    earlier = messages.earlier(connection, received)
    if earlier.answered is not None:
        return Outcome(earlier.answered[1], earlier.answered[0], repeated=True)
    if not conversion.usable:
        return refuse(connection, received, header, AckCode.AE, conversion.findings, context)
    reused = (_REUSED,) if earlier.used else ()
    if reused and refuse_reused:
        return refuse(connection, received, header, AckCode.AE, (replace(_REUSED, severity=Severity.ERROR),), context)
    sender = (header.get(3, 1), header.get(4, 1))
    context = replace(context, actor=f"hl7:{received.sender}", sender=sender)
    plans, audit = apply(connection, conversion.changes, context, joining=earlier.joining)
    findings = conversion.findings + reused + tuple(finding for planned in plans for finding in planned.findings)
    body = replies.make(header, plans, applied=audit is not None) if order_answers else None
    if audit is None:
        return refuse(connection, received, header, AckCode.AE, findings, context, plans=plans, body=body)
    note = " ".join(filter(None, ("control-id-reused" if reused else "", note)))
    code, answer = _reply(received, header, AckCode.AA, findings, context, body)
    row = messages.record(connection, received, accepted=True, answer_code=code, answer=answer, note=note)
    for entry in audit:
        add_audit(connection, entry, context, message=row)
    accession = next((planned.accession for planned in plans if planned.accession), "")
    return Outcome(answer, code, len(findings), accession=accession, told=findings, plans=tuple(plans))


def apply(
    connection: Connection, changes: Sequence[Change], context: StoryContext, *, joining: bool | None = None
) -> tuple[list[Planned], list[AuditEntry] | None]:
    """Plan and write changes, each seeing those before it; all plans, and the audit entries.

    None instead of these if one of them is refused: then nothing is written, and the plans have all findings.
    `joining`: names of authorities are still being joined; None: that is to be looked up.
    """
    mint = Minter(context.token)
    plans: list[Planned] = []
    audit: list[AuditEntry] = []
    good = True
    if joining is None:
        joining = bool(authorities.joins(connection))
    known = None if joining else recognizing.remembered(changes, context.authorities)
    alone = len(changes) == 1 and known is not None
    with nullcontext(lambda: None) if alone else savepoint(connection) as undo:
        settled = (
            Settled(known) if known is not None else identity.settle(connection, changes, context, joining=joining)
        )
        for change in settled.changes:
            planned = STORIES[type(change)](connection, change, context, mint)
            if not plans:
                planned = replace(planned, findings=(*settled.findings, *planned.findings))
            plans.append(planned)
            good = good and not any(finding.is_error for finding in planned.findings)
            if good:
                audit += planned.write(connection, context)
        audit += settled.audit
        if not good:
            undo()
    return plans, audit if good else None


def add_audit(connection: Connection, entry: AuditEntry, context: StoryContext, **more: object) -> None:
    """Append an entry to the audit trail; `more` completes its detail."""
    writing.audit(connection, context, entry.action, entry.kind, entry.row, {**more, **entry.detail})


def refuse(
    connection: Connection,
    received: ReceivedMessage,
    header: Header,
    code: str,
    findings: tuple[Finding, ...],
    context: StoryContext,
    *,
    plans: Sequence[Planned] = (),
    body: Body | None = None,
) -> Outcome:
    """Journal a message that is not accepted, with its answer (`code` is AE or AR).

    That a known order refused it stands in the audit trail too.
    """
    code, answer = _reply(received, header, code, findings, context, body)
    note = " ".join(f"{finding.location}:{finding.code}" for finding in findings[:10] if finding.is_error)
    row = messages.record(connection, received, accepted=False, answer_code=code, answer=answer, note=note)
    for planned in plans:
        entry = planned.audit_refusal
        if entry is not None and reading.lock_names(connection, entry.row):  # not one of the message, undone again
            add_audit(connection, entry, context, message=row)
    return Outcome(answer, code, len(findings), told=findings, plans=tuple(plans))


def _reply(
    received: ReceivedMessage,
    header: Header,
    code: str,
    findings: tuple[Finding, ...],
    context: StoryContext,
    body: Body | None,
) -> acknowledgement.Acknowledgement:
    size = len(received.raw)
    return acknowledgement.reply(header, code, findings, token=context.token, at=context.at, body=body, received=size)


@needs_room
def keep_unreadable(connection: Connection, received: ReceivedMessage, answer: bytes) -> Outcome:
    """Journal bytes without a usable MSH, answered AR."""
    messages.record(connection, received, accepted=False, answer_code=AckCode.AR, answer=answer, note="unreadable")
    return Outcome(answer, AckCode.AR, 1)


@needs_room
def keep_failed(
    connection: Connection,
    received: ReceivedMessage,
    header: Header | None,
    finding: Finding,
    reference: str,
    context: StoryContext,
) -> Outcome:
    """Journal a message that a defect of ours kept from being processed, answered AE; `reference` names it in the log.

    Without a usable MSH (`header`) the answer names no message.
    """
    known = header or acknowledgement.NO_HEADER
    code, answer = acknowledgement.reply(
        known, AckCode.AE, (finding,), token=context.token, at=context.at, text=finding.text
    )
    note = f"internal-error:{reference}"
    messages.record(connection, received, accepted=False, answer_code=code, answer=answer, note=note)
    return Outcome(answer, code, 1)
