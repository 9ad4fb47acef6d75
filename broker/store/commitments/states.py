"""Says what storage commitment is asked for, and how far requests of modalities and our own are (PS3.4 annex J)."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

COMMITTED = 0  # stands for an object that is committed, where others have a failure reason
OPEN = -1  # stands for an object that is not judged yet


class ObjectReference(NamedTuple):
    """An object as a request names it. It tells nothing that the broker has checked."""

    sop_class_uid: str
    sop_instance_uid: str


class CommitmentState(StrEnum):
    """Says how far a request of a modality is. Whether it was told, its job says."""

    OPEN = "open"  # an object of it is not judged yet
    JUDGED = "judged"  # the result of each object stands


class AskState(StrEnum):
    """Says how far a request of ours to an archive is."""

    WAITING = "waiting"  # to be sent
    ASKED = "asked"  # the archive has taken it, and is to report
    ANSWERED = "answered"  # it has reported
    REFUSED = "refused"  # it did not take it
    UNANSWERED = "unanswered"  # it took it and did not report in time
