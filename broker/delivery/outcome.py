"""What a destination's C-STORE status means for the job (PS3.4 B.2.3), pure."""

from __future__ import annotations

from typing import Literal

from broker.dicom.dimse import status as st

Verdict = Literal["done", "busy", "refused"]


def verdict(status: int, attempts: int) -> Verdict:
    """`busy` is worth another try; `refused` needs a person.

    0111 (duplicate) after an earlier attempt of ours is our own object: the answer to that attempt was lost.
    """
    if st.is_success_or_warning(status):
        return "done"
    if st.is_out_of_resources(status) or status == st.PROCESSING_FAILURE:
        return "busy"
    if status == st.DUPLICATE_SOP_INSTANCE and attempts > 1:
        return "done"
    return "refused"
