"""Makes the report that tells a modality its result, and says what its answer means for the job (PS3.7 10.1.1)."""

from __future__ import annotations

from dataclasses import dataclass

from broker.commitment.data_sets import write_report
from broker.delivery.outcome import JobVerdict, RequestKind, verdict
from broker.model.lane import JobState
from broker.store.commitments.requests import CommitmentReport


@dataclass(frozen=True, slots=True)
class JobEnd:
    """What becomes of a job: DONE, HELD or READY, to be tried again. `code` says why, empty for success."""

    state: JobState
    code: str = ""


_ENDS = {JobVerdict.DONE: JobState.DONE, JobVerdict.BUSY: JobState.READY}


def written(report: CommitmentReport, transfer_syntax: str) -> tuple[int, bytes]:
    """Event type and data set of a report. With 50,000 objects this is work for a thread."""
    return write_report(report.transaction_uid, report.references, report.verdict, transfer_syntax)


def end_of(status: int) -> JobEnd:
    """What a status means for the job whose request it answers, an N-ACTION or N-EVENT-REPORT."""
    code = f"status-{status:04X}" if status else ""
    return JobEnd(_ENDS.get(verdict(RequestKind.EVENT, status), JobState.HELD), code)
