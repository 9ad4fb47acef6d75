"""What the answer to an N-CREATE, N-SET or N-EVENT-REPORT of ours means for the job (PS3.4 F.7). Pure."""

from __future__ import annotations

from typing import Literal

from broker.dicom.dimse import status as st
from broker.dicom.dimse.invocation import Response

Verdict = Literal["done", "busy", "refused", "not-there"]


def created(response: Response, *, again: bool) -> Verdict:
    """Of an N-CREATE; `again`: an earlier one of ours may have arrived. Then 0111 says that the step is there."""
    if response.status == st.DUPLICATE_SOP_INSTANCE and again:
        return "done"
    return _common(response.status)


def updated(response: Response, *, again: bool, final: bool) -> Verdict:
    """Of an N-SET, `final` if it ends the step. `not-there`: the receiver does not have the step (any more)."""
    if response.status == st.NO_SUCH_SOP_INSTANCE:
        return "not-there"
    if response.status == st.PROCESSING_FAILURE and response.error_id == st.NO_LONGER_UPDATABLE:
        return "done" if again and final else "refused"
    return _common(response.status)


def told(response: Response) -> Verdict:
    """Of an N-EVENT-REPORT."""
    return _common(response.status)


def _common(status: int) -> Verdict:
    """`busy` is worth another try, `refused` needs a person."""
    if st.is_success_or_warning(status):
        return "done"
    passing = status in (st.PROCESSING_FAILURE, st.RESOURCE_LIMITATION) or st.is_out_of_resources(status)
    return "busy" if passing else "refused"
