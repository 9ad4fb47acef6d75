"""Decides whether an object is committed, has failed or waits, from what is stored of it. Pure.

    What is known of the object                              Result
    -------------------------------------------------------  ------------------------------------------------------
    it has not come                                          waits `unknown` seconds, then 0112
    the same, and its SOP class is none that is accepted     0122
    its SOP class is another one than was named              0119
    it is held, or waits for its study                       waits, then 0110
    no destination that counts was to get it                 0110; 0112 if it was discarded or is no longer kept
    a delivery to a destination that counts is under way     waits, then 0110
    the same, given up by a person                           0110
    all are done, but a destination that is asked has not
      answered                                               waits, then 0110
      answered that it has it                                as below
      answered that it has it not                            asked again; sent again at its second 0112; its reason
    all are done, and all that are asked have it             committed, unless its bytes here are spoiled: 0110

A destination counts by its key `commitment`. Deliveries of earlier versions count if their bytes are the same. The
broker never says that an object is committed because it has it itself. Failure reasons: PS3.3 C.14.1.1.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from broker.dicom.dimse import status as st
from broker.model.lane import JobState
from broker.site.tables.roles import ASK, Commitment
from broker.store.commitments.asks import ArchiveAsk
from broker.store.commitments.judged import ObjectSent, ObjectVersion
from broker.store.commitments.states import COMMITTED, OPEN, AskState, ObjectReference
from broker.store.images.instances import REROUTED, InstanceState

LONGEST_LOOK = 300.0  # seconds between two looks at a request, at most
_FIRST_LOOK = 1.0
_TRANSIENT = frozenset({st.PROCESSING_FAILURE, st.NO_SUCH_SOP_INSTANCE, st.RESOURCE_LIMITATION})
# failure reasons that mean something to a modality (PS3.3 C.14.1.1); any other one of an archive becomes 0110
_REASONS = frozenset(
    {
        st.PROCESSING_FAILURE,
        st.NO_SUCH_SOP_INSTANCE,
        st.CLASS_INSTANCE_CONFLICT,
        st.SOP_CLASS_NOT_SUPPORTED,
        st.RESOURCE_LIMITATION,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitmentTimes:
    """How long a request waits, in seconds. `asks`: so often an archive is asked for the same objects.

    `unknown`: for an object that has not come; `delivery`: for deliveries and all else. `together`: for the other
    objects of a request, until an archive is asked for those that it has. `answer`: for the report of an archive;
    `again`: from a failure that may pass to the next time that an archive is asked, more with each.
    """

    unknown: float = 600
    delivery: float = 72 * 3600
    together: float = 600
    answer: float = 24 * 3600
    again: float = 60
    asks: int = 3

    @staticmethod
    def look(looks: int) -> float:
        """The wait from one look at a request to the next."""
        return min(_FIRST_LOOK * float(2 ** min(looks, 16)), LONGEST_LOOK)


@dataclass(frozen=True, slots=True)
class Age:
    """How old a request is, in seconds, and how often it was looked at. A clock that is ahead makes nothing old."""

    seconds: float
    looks: int

    def over(self, limit: float) -> bool:
        """It is older than a limit, and was looked at as often as half of that has room for."""
        return self.seconds > limit and self.looks >= limit / LONGEST_LOOK / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectCase:
    """What is known of one object of a request.

    `versions`: the newest first; `sent`: deliveries by version (row); `asks`: the latest one of each node that named
    it, with the place of the object in that.
    """

    reference: ObjectReference
    versions: Sequence[ObjectVersion]
    sent: Mapping[int, Sequence[ObjectSent]]
    asks: Mapping[str, tuple[ArchiveAsk, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectFinding:
    """What follows for an object. `reason` is OPEN while it waits; COMMITTED only if its bytes are not spoiled.

    `ask`: the nodes to ask for it, and which time that is; `awaited`: nodes to which it is under way, `resend`: a
    delivery (job) to begin anew. `proven`: deliveries whose nodes have said that they have it, or that count as done.
    """

    reason: int
    ask: Mapping[str, int] = field(default_factory=dict)
    awaited: Collection[str] = ()
    resend: int = 0
    proven: Sequence[int] = ()


def decide(
    case: ObjectCase,
    proofs: Mapping[str, Commitment],
    accepted: Collection[str],
    age: Age,
    now: float,
    times: CommitmentTimes,
) -> ObjectFinding:
    """What follows for an object. `proofs`: the nodes that count; `accepted`: SOP classes that the broker takes."""
    if not case.versions:
        return _not_come(case.reference, proofs, accepted, late=age.over(times.unknown))
    newest = case.versions[0]
    if newest.sop_class_uid != case.reference.sop_class_uid:
        return ObjectFinding(reason=st.CLASS_INSTANCE_CONFLICT)
    wait = ObjectFinding(reason=st.PROCESSING_FAILURE if age.over(times.delivery) else OPEN)
    if newest.state in (InstanceState.HELD, InstanceState.WAITING):
        return wait
    sent = _by_node(case, proofs)
    if not sent:
        gone = newest.state in (InstanceState.DISCARDED, InstanceState.PURGED)
        return ObjectFinding(reason=st.NO_SUCH_SOP_INSTANCE if gone else st.PROCESSING_FAILURE)
    if any(one.state is JobState.DISCARDED for one in sent.values()):
        return ObjectFinding(reason=st.PROCESSING_FAILURE)
    under_way = [node for node, one in sent.items() if one.state is not JobState.DONE]
    if wait.reason != OPEN and under_way:
        return wait
    asked = _Asking(case, now, times)
    for node, one in sent.items():
        if proofs[node] == ASK and one.state is JobState.DONE:
            asked.look(node, one, kept=newest.state is InstanceState.ROUTED)
    if asked.failed:
        return ObjectFinding(reason=asked.failed)
    if under_way or asked.waits or asked.ask or asked.resend:
        return ObjectFinding(reason=wait.reason, ask=asked.ask, awaited=under_way, resend=asked.resend)
    return ObjectFinding(reason=COMMITTED, proven=[one.job for one in sent.values()])


def _not_come(
    reference: ObjectReference, proofs: Mapping[str, Commitment], accepted: Collection[str], *, late: bool
) -> ObjectFinding:
    """What follows for an object of which nothing is known."""
    if reference.sop_class_uid not in accepted:
        return ObjectFinding(reason=st.SOP_CLASS_NOT_SUPPORTED)
    return ObjectFinding(reason=st.NO_SUCH_SOP_INSTANCE) if late else ObjectFinding(reason=OPEN, awaited=proofs.keys())


def _by_node(case: ObjectCase, proofs: Mapping[str, Commitment]) -> dict[str, ObjectSent]:
    """The delivery of the newest bytes to each node that counts: the one that is furthest."""
    order = (JobState.DISCARDED, JobState.HELD, JobState.READY, JobState.LEASED, JobState.DONE)
    digest = case.versions[0].digest
    found: dict[str, ObjectSent] = {}
    for version in case.versions:
        for one in case.sent.get(version.id, ()) if version.digest == digest else ():
            rerouted = one.state is JobState.DISCARDED and one.error == REROUTED
            if one.node not in proofs or rerouted:
                continue
            before = found.get(one.node)
            if before is None or order.index(one.state) > order.index(before.state):
                found[one.node] = one
    return found


class _Asking:
    """What the nodes that are asked say of one object."""

    def __init__(self, case: ObjectCase, now: float, times: CommitmentTimes) -> None:
        self._case, self._now, self._times = case, now, times
        self.ask: dict[str, int] = {}
        self.resend = 0
        self.waits = False
        self.failed = 0

    def look(self, node: str, sent: ObjectSent, *, kept: bool) -> None:
        """Look what a node says. `kept`: the bytes of the object are here."""
        if node not in self._case.asks:
            self.ask[node] = 1
            return
        ask, place = self._case.asks[node]
        if ask.state in (AskState.WAITING, AskState.ASKED):
            self.waits = True
        elif ask.state is AskState.ANSWERED:
            self._answered(node, sent, ask, ask.answer[place], kept)
        elif ask.state is AskState.UNANSWERED and ask.attempt < self._times.asks:
            self.ask[node] = ask.attempt + 1
        else:
            self.failed = st.PROCESSING_FAILURE

    def _answered(self, node: str, sent: ObjectSent, ask: ArchiveAsk, reason: int, kept: bool) -> None:
        if reason == COMMITTED:
            return
        if reason not in _TRANSIENT or ask.attempt >= self._times.asks:
            self.failed = reason if reason in _REASONS else st.PROCESSING_FAILURE
        elif reason == st.NO_SUCH_SOP_INSTANCE and kept and sent.done_at <= ask.answered_at and ask.attempt > 1:
            self.resend = sent.job  # it said so twice
        elif self._now >= ask.answered_at + self._times.again * ask.attempt:
            self.ask[node] = ask.attempt + 1
        else:
            self.waits = True
