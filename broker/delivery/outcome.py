"""Decides what a peer's DIMSE status means for the job that sent the request (PS3.4 B.2.3, F.7.2; PS3.7 annex C).

A success or a warning is done, and so is what an earlier request of the same job has done already. A status that the
table does not name is refused. What the queue makes of each verdict: see `broker.queue.dispatcher`.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum

from broker.dicom.dimse import status as st


class JobVerdict(StrEnum):
    """Says what becomes of the job."""

    DONE = "done"
    BUSY = "busy"  # worth another try, no fault of the item
    REFUSED = "refused"  # a person must look
    NOT_THERE = "not-there"  # of N-SET: the receiver does not have the step (any more)


class RequestKind(IntEnum):
    """The request that was answered: a column of the table."""

    STORE = 0
    CREATE = 1
    SET = 2
    EVENT = 3


BUSY, REFUSED, NOT_THERE = JobVerdict.BUSY, JobVerdict.REFUSED, JobVerdict.NOT_THERE
VERDICTS = {
    #                          C-STORE  N-CREATE N-SET      N-EVENT-REPORT
    st.OUT_OF_RESOURCES:       (BUSY,    BUSY,    BUSY,      BUSY),  # the class A7xx
    st.PROCESSING_FAILURE:     (BUSY,    BUSY,    BUSY,      BUSY),
    st.RESOURCE_LIMITATION:    (REFUSED, BUSY,    BUSY,      BUSY),
    st.NO_SUCH_SOP_INSTANCE:   (REFUSED, REFUSED, NOT_THERE, REFUSED),
    st.DUPLICATE_SOP_INSTANCE: (REFUSED, REFUSED, REFUSED,   REFUSED),  # but for `again`
}  # fmt: skip


def verdict(
    sent: RequestKind, status: int, error_id: int = 0, *, again: bool = False, final: bool = False
) -> JobVerdict:
    """What a status means; `error_id` is (0000,0903) of an N service.

    `again`: an earlier request of the job may have arrived and its answer been lost. Then an instance that is there
    already (0111) is ours, and so is the end of a step that may no longer be updated, if this N-SET is the `final` one.
    """
    if st.is_success_or_warning(status):
        return JobVerdict.DONE
    if status == st.DUPLICATE_SOP_INSTANCE and again and sent in (RequestKind.STORE, RequestKind.CREATE):
        return JobVerdict.DONE
    if sent is RequestKind.SET and (status, error_id) == (st.PROCESSING_FAILURE, st.NO_LONGER_UPDATABLE):
        return JobVerdict.DONE if again and final else JobVerdict.REFUSED
    named = st.OUT_OF_RESOURCES if st.is_out_of_resources(status) else status
    return VERDICTS[named][sent] if named in VERDICTS else JobVerdict.REFUSED
