"""The stories of N-CREATE and N-SET: keep what came, link it, let scheduled steps follow; each is one transaction."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from broker.dicom.dimse import status as st
from broker.model.order import Document
from broker.model.performed import PerformedMessage, PerformedStep, StepLink
from broker.mpps import notification, passing_on, performed
from broker.mpps.attributes import ITEMS, STATUS
from broker.mpps.checks import FINAL, FINISHED, Answer, changed
from broker.mpps.dataset import DataSet
from broker.orders.core.story import Context
from broker.orders.stories import matching, performing
from broker.orders.stories.matching import Match
from broker.site.nodes import MPPS, MPPS_NOTIFICATION, Node
from broker.store.mpps import objects, overdue, performed_steps
from broker.store.orders import reading, saving

RETRY = 600.0  # seconds in which the same bytes of the same AE are a repeat


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a message: the answer, and the linking for the log."""

    answer: Answer
    linking: str = ""


def create(
    connection: Connection,
    uid: str,
    message: PerformedMessage,
    found: DataSet,
    answer: Answer,
    context: Context,
    nodes: Collection[Node],
    lanes: Sequence[str] = (),
) -> Outcome:
    """Keep a new performed procedure step; `answer` is what its checks say, `nodes` those it goes to.

    For `lanes` see `keep_back`.
    """
    document = {keyword: value for keyword, value in found.document.items() if keyword != "SpecificCharacterSet"}
    lock(connection, uid, document)
    known = performed_steps.find(connection, uid)
    if known is not None:
        if performed_steps.repeats(connection, known.row or 0, message, RETRY):
            return Outcome(Answer(findings=("repeated",)), known.linking)
        other = "duplicate" if known.calling_ae == message.calling_ae else "duplicate-of-other-ae"
        return Outcome(Answer(st.DUPLICATE_SOP_INSTANCE, comment="the instance exists", findings=(other,)))
    if not answer.good:
        return Outcome(answer)
    patient = matching.patient_of(document)
    keys = [matching.keys_of(item) for item in document[ITEMS]]
    matches = [matching.find(connection, one, patient) for one in keys]
    reading.lock(connection, performing.lock_names(connection, _steps(matches)))
    one = _new(uid, message, document, matches, answer, context)
    row = performed_steps.save(connection, one)
    performed_steps.add_links(
        connection,
        row,
        [
            StepLink(
                position=position,
                step=match.step,
                reason=match.reason,
                study_instance_uid=key.study_instance_uid,
                accession=key.accession,
                requested_procedure_id=key.requested_procedure_id,
            )
            for position, (match, key) in enumerate(zip(matches, keys, strict=True))
        ],
    )
    one = replace(one, row=row)
    told(connection, one, _steps(matches), "created", context)
    keep_back(connection, one, lanes)
    _keep(connection, one, message, nodes, context)
    return Outcome(answer, one.linking)


def _new(
    uid: str, message: PerformedMessage, document: Document, matches: list[Match], answer: Answer, context: Context
) -> PerformedStep:
    at, zone = context.at.timestamp(), context.at.tzinfo
    assert zone is not None
    outcome, attention = performed.outcome(document)
    linking = matching.summary((one.step, one.reason) for one in matches)
    status = document[STATUS]
    ended = (performed.moment(document, "End", zone) or at) if status in FINAL else None
    return PerformedStep(
        row=None,
        sop_instance_uid=uid,
        status=status,
        linking=linking,
        calling_ae=message.calling_ae,
        station=document["PerformedStationAETitle"][:64],
        modality=document["Modality"][:64],
        started_at=performed.moment(document, "Start", zone) or at,
        ended_at=ended,
        document=document,
        findings=answer.findings,
        revision=1,
        created_at=at,
        updated_at=at,
        outcome=outcome,
        attention=attention or matching.waits(linking),
    )


def change(
    connection: Connection,
    uid: str,
    message: PerformedMessage,
    found: DataSet,
    context: Context,
    nodes: Collection[Node],
    *,
    strict: bool,
    lanes: Sequence[str] = (),
) -> Outcome:
    """Change a performed procedure step that is IN PROGRESS. For `lanes` see `keep_back`."""
    one = locked(connection, uid)
    if one is None:
        return Outcome(Answer(st.NO_SUCH_SOP_INSTANCE, findings=("orphan",)))
    assert one.row is not None
    if performed_steps.repeats(connection, one.row, message, RETRY):
        return Outcome(Answer(findings=("repeated",)), one.linking)
    if one.status in FINAL:
        return Outcome(FINISHED, one.linking)
    answer, document = changed(found, one.document, strict=strict)
    if not answer.good:
        return Outcome(answer, one.linking)
    made = advanced(one, document, answer.findings, context)
    performed_steps.save(connection, made)
    if made.status in FINAL:
        steps = [link.step for link in performed_steps.links(connection, one.row) if link.step is not None]
        told(connection, made, steps, made.status.lower(), context)
    keep_back(connection, made, lanes)
    _keep(connection, made, message, nodes, context)
    return Outcome(answer, made.linking)


def advanced(one: PerformedStep, document: Document, findings: Iterable[str], context: Context) -> PerformedStep:
    """A performed procedure step with other attributes, and what follows from these."""
    at, zone = context.at.timestamp(), context.at.tzinfo
    assert zone is not None
    outcome, attention = performed.outcome(document)
    ended = (performed.moment(document, "End", zone) or at) if document[STATUS] in FINAL else None
    # that it was silent for too long is nobody's concern any more once it has ended
    before = "" if ended is not None and one.attention == overdue.NOTED else one.attention
    return replace(
        one,
        status=document[STATUS],
        document=document,
        ended_at=ended,
        outcome=outcome,
        attention=attention or before,
        revision=one.revision + 1,
        updated_at=at,
        findings=tuple(dict.fromkeys((*one.findings, *findings))),
    )


def keep_back(connection: Connection, one: PerformedStep, lanes: Sequence[str]) -> None:
    """Hold what was made by a wrong worklist entry: what comes later, and what has not left yet by these lanes."""
    if one.row is not None and one.attention == objects.WRONG_ENTRY:
        objects.keep_back(connection, one.row, performed.objects(one.document), lanes)


def told(connection: Connection, one: PerformedStep, steps: Iterable[int], event: str, context: Context) -> None:
    """Let the linked steps follow; what they could not follow is for a person."""
    codes = performing.follow(connection, dict.fromkeys(steps), one.row or 0, event, context)
    if codes:
        findings = tuple(dict.fromkeys((*one.findings, *sorted(codes))))
        performed_steps.save(connection, replace(one, attention=min(codes), findings=findings))


def locked(connection: Connection, uid: str) -> PerformedStep | None:
    """A performed procedure step, nobody else changing it, its patient or orders until the transaction ends."""
    known = performed_steps.find(connection, uid)
    if known is None:
        return None
    lock(connection, uid, known.document, _linked(connection, known))
    again = performed_steps.find(connection, uid)  # as it is now that we hold it
    if again is not None:
        reading.lock(connection, performing.lock_names(connection, _linked(connection, again)))
    return again


def _linked(connection: Connection, one: PerformedStep) -> list[int]:
    return [link.step for link in performed_steps.links(connection, one.row or 0) if link.step is not None]


def lock(connection: Connection, uid: str, document: Document, steps: Iterable[int] = ()) -> None:
    """Hold an instance and the patient it names, and those of the steps."""
    patient = matching.patient_of(document)
    names = {f"mpps|{uid}"} | ({f"patient|{patient.patient_id}"} if patient else set())
    reading.lock(connection, names | performing.lock_names(connection, steps))


def _steps(matches: Iterable[Match]) -> list[int]:
    return [one.step for one in matches if one.step is not None]


def _keep(
    connection: Connection, one: PerformedStep, message: PerformedMessage, nodes: Collection[Node], context: Context
) -> None:
    """Keep the message, pass it on, and tell those who want to know."""
    assert one.row is not None
    row, at = one.row, context.at.timestamp()
    kept = performed_steps.add_message(connection, row, message)
    passing_on.enqueue(connection, [node for node in nodes if MPPS in node.roles], kept, row, at)
    event = notification.event_of(message.kind, one.status)
    if event is not None:
        subscribers = [node for node in nodes if MPPS_NOTIFICATION in node.roles]
        notification.of_message(connection, subscribers, row, kept, event, at)
    saving.add_audit(connection, at, context.actor, f"mpps.{message.kind}", "mpps", row, {"message": kept})
