"""Records N-CREATE and N-SET: keeps what came, links it, lets scheduled steps follow. Each is one transaction."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from broker.dicom.dimse import status as st
from broker.model.authority import AuthorityUse
from broker.model.order import Document
from broker.model.performed import PerformedMessage, PerformedStep, StepLink
from broker.mpps import meaning, passing_on
from broker.mpps.attributes import ITEMS, STATUS
from broker.mpps.checks import FINAL, FINISHED, MppsAnswer, changed
from broker.mpps.dataset import DataSet
from broker.orders.core.context import StoryContext
from broker.orders.lookup import matching
from broker.orders.lookup.matching import Match
from broker.orders.stories import identity, performing, writing
from broker.site.nodes import Node
from broker.site.tables.roles import MPPS, MPPS_NOTIFICATION
from broker.store.images import gatherings
from broker.store.mpps import objects, overdue, performed_steps
from broker.store.orders import reading


@dataclass(frozen=True, slots=True)
class RecordingOutcome:
    """What became of a message: the answer, and the linking for the log."""

    answer: MppsAnswer
    linking: str = ""


def create(
    connection: Connection,
    uid: str,
    message: PerformedMessage,
    data_set: DataSet,
    answer: MppsAnswer,
    context: StoryContext,
    nodes: Collection[Node],
    lanes: Sequence[str] = (),
) -> RecordingOutcome:
    """Keep a new performed procedure step; `answer` is what its checks say, `nodes` those it goes to.

    For `lanes` see `keep_back`.
    """
    document = {keyword: value for keyword, value in data_set.document.items() if keyword != "SpecificCharacterSet"}
    lock(connection, uid, document)
    known = performed_steps.find(connection, uid)
    if known is not None:
        if performed_steps.repeats(connection, known.row or 0, message):
            return RecordingOutcome(MppsAnswer(findings=("repeated",)), known.linking)
        other = "duplicate" if known.calling_ae == message.calling_ae else "duplicate-of-other-ae"
        return RecordingOutcome(MppsAnswer(st.DUPLICATE_SOP_INSTANCE, comment="the instance exists", findings=(other,)))
    if not answer.good:
        return RecordingOutcome(answer)
    patient = matching.patient_of(document)
    if patient is not None:
        numbers = {AuthorityUse.PATIENT: {patient.patient_id: ""}}
        identity.join_recorded(connection, numbers, context)
    keys = [matching.keys_of(item) for item in document[ITEMS]]
    matches = [matching.find(connection, item_keys, patient) for item_keys in keys]
    reading.lock(connection, performing.lock_names(connection, _steps(matches)))
    performed = _new(uid, message, document, matches, answer, context)
    row = performed_steps.save(connection, performed)
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
    performed = replace(performed, row=row)
    told(connection, performed, _steps(matches), "created", context)
    keep_back(connection, performed, lanes)
    _keep(connection, performed, message, nodes, context)
    return RecordingOutcome(answer, performed.linking)


def _new(
    uid: str,
    message: PerformedMessage,
    document: Document,
    matches: list[Match],
    answer: MppsAnswer,
    context: StoryContext,
) -> PerformedStep:
    at, zone = context.at.timestamp(), context.at.tzinfo
    assert zone is not None
    outcome, attention = meaning.outcome(document)
    linking = matching.summary((match.step, match.reason) for match in matches)
    status, doubts = document[STATUS], matching.doubts(matches)
    ended = (meaning.moment(document, "End", zone) or at) if status in FINAL else None
    return PerformedStep(
        row=None,
        sop_instance_uid=uid,
        status=status,
        linking=linking,
        calling_ae=message.calling_ae,
        station=document["PerformedStationAETitle"][:64],
        modality=document["Modality"][:64],
        started_at=meaning.moment(document, "Start", zone) or at,
        ended_at=ended,
        document=document,
        findings=(*answer.findings, *doubts),
        revision=1,
        created_at=at,
        updated_at=at,
        outcome=outcome,
        attention=attention or matching.waits(linking, doubts),
    )


def change(
    connection: Connection,
    uid: str,
    message: PerformedMessage,
    data_set: DataSet,
    context: StoryContext,
    nodes: Collection[Node],
    *,
    strict: bool,
    lanes: Sequence[str] = (),
) -> RecordingOutcome:
    """Change a performed procedure step that is IN PROGRESS. For `lanes` see `keep_back`."""
    performed = locked(connection, uid)
    if performed is None:
        return RecordingOutcome(MppsAnswer(st.NO_SUCH_SOP_INSTANCE, findings=("orphan",)))
    assert performed.row is not None
    if performed_steps.repeats(connection, performed.row, message):
        return RecordingOutcome(MppsAnswer(findings=("repeated",)), performed.linking)
    if performed.status in FINAL:
        return RecordingOutcome(FINISHED, performed.linking)
    answer, document = changed(data_set, performed.document, strict=strict)
    if not answer.good:
        return RecordingOutcome(answer, performed.linking)
    updated = advanced(performed, document, answer.findings, context)
    performed_steps.save(connection, updated)
    if updated.status in FINAL:
        steps = [link.step for link in performed_steps.links(connection, performed.row) if link.step is not None]
        told(connection, updated, steps, updated.status.lower(), context)
    keep_back(connection, updated, lanes)
    _keep(connection, updated, message, nodes, context)
    return RecordingOutcome(answer, updated.linking)


def advanced(
    performed: PerformedStep, document: Document, findings: Iterable[str], context: StoryContext
) -> PerformedStep:
    """A performed procedure step with other attributes, and what follows from these."""
    at, zone = context.at.timestamp(), context.at.tzinfo
    assert zone is not None
    outcome, attention = meaning.outcome(document)
    ended = (meaning.moment(document, "End", zone) or at) if document[STATUS] in FINAL else None
    # that it was silent for too long is nobody's concern any more once it has ended
    before = "" if ended is not None and performed.attention == overdue.NOTED else performed.attention
    return replace(
        performed,
        status=document[STATUS],
        document=document,
        ended_at=ended,
        outcome=outcome,
        attention=attention or before,
        revision=performed.revision + 1,
        updated_at=at,
        findings=tuple(dict.fromkeys((*performed.findings, *findings))),
    )


def keep_back(connection: Connection, performed: PerformedStep, lanes: Sequence[str]) -> None:
    """Hold what was made by a wrong worklist entry: what comes later, and what has not left yet by these lanes."""
    if performed.row is not None and performed.attention == objects.WRONG_ENTRY:
        objects.keep_back(connection, performed.row, meaning.objects(performed.document), lanes)


def told(
    connection: Connection, performed: PerformedStep, steps: Iterable[int], event: str, context: StoryContext
) -> None:
    """Let the linked steps follow; what they could not follow is for a person.

    Studies whose rules wait for its objects are looked at.
    """
    studies = {uid for item in performed.document.get(ITEMS, []) if (uid := item.get("StudyInstanceUID"))}
    gatherings.hurry(connection, studies, context.at.timestamp())
    codes = performing.follow(connection, dict.fromkeys(steps), performed.row or 0, event, context)
    if codes:
        findings = tuple(dict.fromkeys((*performed.findings, *sorted(codes))))
        performed_steps.save(connection, replace(performed, attention=min(codes), findings=findings))


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


def _linked(connection: Connection, performed: PerformedStep) -> list[int]:
    return [link.step for link in performed_steps.links(connection, performed.row or 0) if link.step is not None]


def lock(connection: Connection, uid: str, document: Document, steps: Iterable[int] = ()) -> None:
    """Hold an instance and the patient it names, and those of the steps."""
    patient = matching.patient_of(document)
    names = {f"mpps|{uid}"} | ({f"patient|{patient.patient_id}"} if patient else set())
    reading.lock(connection, names | performing.lock_names(connection, steps))


def _steps(matches: Iterable[Match]) -> list[int]:
    return [match.step for match in matches if match.step is not None]


def _keep(
    connection: Connection,
    performed: PerformedStep,
    message: PerformedMessage,
    nodes: Collection[Node],
    context: StoryContext,
) -> None:
    """Keep the message, pass it on, and tell those who want to know."""
    assert performed.row is not None
    row, at = performed.row, context.at.timestamp()
    kept = performed_steps.add_message(connection, row, message)
    passing_on.pass_on(connection, [node for node in nodes if MPPS in node.roles], row, kept, at)
    event = passing_on.event_of(message.kind, performed.status)
    if event is not None:
        subscribers = [node for node in nodes if MPPS_NOTIFICATION in node.roles]
        passing_on.tell_message(connection, subscribers, row, kept, event, at)
    writing.audit(connection, context, f"mpps.{message.kind}", "mpps", row, {"message": kept})
