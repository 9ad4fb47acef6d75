"""What follows for one object of a request: the table of `broker.commitment.deciding`, row by row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from broker.commitment.deciding import LONGEST_LOOK, Age, CommitmentTimes, ObjectCase, decide
from broker.dicom.dimse import status as st
from broker.model.lane import JobState
from broker.site.tables.roles import Commitment
from broker.store.commitments.asks import ArchiveAsk
from broker.store.commitments.judged import ObjectSent, ObjectVersion
from broker.store.commitments.states import COMMITTED, OPEN, AskState, ObjectReference
from broker.store.images.instances import REROUTED, InstanceState

CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
TIMES = CommitmentTimes(unknown=100, delivery=1000, together=50, answer=200, again=10, asks=3)
NOW, MANY = 5000.0, 10_000  # looks
ROUTED, HELD, PURGED = InstanceState.ROUTED, InstanceState.HELD, InstanceState.PURGED
DONE, READY, LEASED = JobState.DONE, JobState.READY, JobState.LEASED
PROOFS: Mapping[str, Commitment] = {"pacs": "ask", "vna": "delivered"}


def version(row: int = 1, state: InstanceState = ROUTED, digest: bytes = b"a", sop_class: str = CT) -> ObjectVersion:
    return ObjectVersion(row, sop_class, digest, state)


def sent(node: str, state: JobState = DONE, job: int = 10, error: str = "", done_at: float = 4000.0) -> ObjectSent:
    return ObjectSent(job=job, node=node, state=state, error=error, done_at=done_at if state is DONE else 0.0)


def asked(state: AskState, *answer: int, attempt: int = 1, at: float = 4900.0) -> tuple[ArchiveAsk, int]:
    return ArchiveAsk(
        id=7, node="pacs", attempt=attempt, positions=[3], state=state, asked_at=at, answered_at=at, answer=answer
    ), 0


def found(
    *versions: ObjectVersion, deliveries: Any = (), asks: Any = None, seconds: float = 1, looks: int = MANY,
    proofs: Mapping[str, Commitment] = PROOFS, sop_class: str = CT,
) -> Any:  # fmt: skip
    case = ObjectCase(
        reference=ObjectReference(sop_class, "1.2.3"),
        versions=versions,
        sent=deliveries if isinstance(deliveries, dict) else {1: deliveries},
        asks={} if asks is None else {"pacs": asks},
    )
    return decide(case, proofs, {CT, MR}, Age(seconds, looks), NOW, TIMES)


def test_an_object_that_has_not_come() -> None:
    assert found().reason == OPEN
    assert set(found().awaited) == {"pacs", "vna"}
    assert found(seconds=101).reason == st.NO_SUCH_SOP_INSTANCE
    assert found(seconds=101, looks=0).reason == OPEN  # a clock that is ahead makes nothing old
    assert found(sop_class="2.999.1").reason == st.SOP_CLASS_NOT_SUPPORTED
    assert found(version(sop_class=MR)).reason == st.CLASS_INSTANCE_CONFLICT


@pytest.mark.parametrize(
    ("state", "early", "late"),
    [
        (HELD, OPEN, st.PROCESSING_FAILURE),
        (InstanceState.WAITING, OPEN, st.PROCESSING_FAILURE),
        (ROUTED, st.PROCESSING_FAILURE, st.PROCESSING_FAILURE),  # the broker alone has it
        (InstanceState.DISCARDED, st.NO_SUCH_SOP_INSTANCE, st.NO_SUCH_SOP_INSTANCE),
        (PURGED, st.NO_SUCH_SOP_INSTANCE, st.NO_SUCH_SOP_INSTANCE),
    ],
)
def test_an_object_that_no_destination_that_counts_was_to_get(state: InstanceState, early: int, late: int) -> None:
    elsewhere = [sent("workstation"), sent("pacs", JobState.DISCARDED, error=REROUTED)]
    assert found(version(state=state), deliveries=elsewhere).reason == early
    assert found(version(state=state), deliveries=elsewhere, seconds=1001).reason == late


@pytest.mark.parametrize("state", [READY, LEASED, JobState.HELD])
def test_a_delivery_under_way_is_waited_for(state: JobState) -> None:
    deliveries = [sent("pacs", state), sent("vna")]
    assert found(version(), deliveries=deliveries).reason == OPEN
    assert set(found(version(), deliveries=deliveries).awaited) == {"pacs"}
    assert found(version(), deliveries=deliveries, seconds=1001).reason == st.PROCESSING_FAILURE


def test_what_a_person_gave_up_has_failed() -> None:
    gone = [sent("pacs", JobState.DISCARDED, error="held-too-long"), sent("vna")]
    assert found(version(), deliveries=gone).reason == st.PROCESSING_FAILURE


def test_delivered_counts_where_the_node_says_so() -> None:
    assert found(version(), deliveries=[sent("vna", job=4)]).reason == COMMITTED
    assert found(version(), deliveries=[sent("vna", job=4)]).proven == [4]
    assert found(version(state=PURGED), deliveries=[sent("vna")]).reason == COMMITTED
    assert found(version(), deliveries=[sent("vna")], proofs={"pacs": "ask"}).reason == st.PROCESSING_FAILURE


def test_every_destination_that_counts_must_prove_it() -> None:
    both = [sent("pacs"), sent("vna")]
    first = found(version(), deliveries=both)
    assert (first.reason, dict(first.ask)) == (OPEN, {"pacs": 1})
    assert found(version(), deliveries=both, asks=asked(AskState.WAITING)).reason == OPEN
    assert found(version(), deliveries=both, asks=asked(AskState.ASKED)).reason == OPEN
    assert found(version(), deliveries=both, asks=asked(AskState.ASKED), seconds=1001).reason == st.PROCESSING_FAILURE
    assert found(version(), deliveries=both, asks=asked(AskState.ANSWERED, 0)).reason == COMMITTED
    assert found(version(), deliveries=both, asks=asked(AskState.REFUSED)).reason == st.PROCESSING_FAILURE
    half = [sent("pacs"), sent("vna", READY)]
    assert found(version(), deliveries=half, asks=asked(AskState.ANSWERED, 0)).reason == OPEN


def test_earlier_versions_count_if_their_bytes_are_the_same() -> None:
    twins = (version(2), version(1, PURGED))
    assert found(*twins, deliveries={1: [sent("vna")]}).reason == COMMITTED
    others = (version(2, digest=b"b"), version(1))
    assert found(*others, deliveries={1: [sent("vna")]}).reason == st.PROCESSING_FAILURE
    assert found(*others, deliveries={1: [sent("vna")], 2: [sent("vna", READY)]}).reason == OPEN
    again = {1: [sent("vna", JobState.DISCARDED, error="x")], 2: [sent("vna")]}
    assert found(*twins, deliveries=again).reason == COMMITTED


def test_an_archive_is_asked_again() -> None:
    here = [sent("pacs")]
    no, busy = st.NO_SUCH_SOP_INSTANCE, st.RESOURCE_LIMITATION
    fresh = asked(AskState.ANSWERED, busy, at=NOW - 5)
    soon = found(version(), deliveries=here, asks=fresh)
    assert (soon.reason, dict(soon.ask)) == (OPEN, {})
    assert found(version(), deliveries=here, asks=asked(AskState.ANSWERED, busy)).ask == {"pacs": 2}
    assert found(version(), deliveries=here, asks=asked(AskState.UNANSWERED)).ask == {"pacs": 2}
    assert found(version(), deliveries=here, asks=asked(AskState.UNANSWERED, attempt=3)).reason == st.PROCESSING_FAILURE
    # the second time that it has it not, it is sent again, and then asked for
    second = asked(AskState.ANSWERED, no, attempt=2)
    assert found(version(), deliveries=here, asks=second).resend == 10
    assert found(version(state=PURGED), deliveries=here, asks=second).resend == 0
    resent = found(version(), deliveries=[sent("pacs", done_at=4950)], asks=second)
    assert (resent.resend, dict(resent.ask)) == (0, {"pacs": 3})
    assert found(version(), deliveries=here, asks=asked(AskState.ANSWERED, no, attempt=3)).reason == no


@pytest.mark.parametrize(
    ("said", "told"), [(0x0119, 0x0119), (0x0122, 0x0122), (0x0131, 0x0110), (0xA700, 0x0110), (0xC000, 0x0110)]
)
def test_what_an_archive_says_for_good_is_told_in_the_words_of_the_standard(said: int, told: int) -> None:
    assert found(version(), deliveries=[sent("pacs")], asks=asked(AskState.ANSWERED, said)).reason == told


def test_a_request_is_looked_at_less_and_less_often() -> None:
    waits = [TIMES.look(looks) for looks in range(40)]
    assert waits[:3] == [1.0, 2.0, 4.0]
    assert waits == sorted(waits)
    assert waits[-1] == LONGEST_LOOK
