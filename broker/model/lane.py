"""Names the lanes of the queue, the kinds of its jobs and their states, as database, logs and metrics spell them.

A lane is the work of one kind for one node, such as `deliver:pacs`. Whoever causes work enqueues a job into a lane
(`store.jobs.enqueue`); the dispatcher hands each lane to the handler of its kind (`queue.dispatcher`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class LaneKind(StrEnum):
    """Says what a lane's handler does for its node. The broker registers one handler for each kind."""

    DELIVER = "deliver"  # sends received objects: C-STORE, STOW-RS, files
    FEEDBACK = "feedback"  # tells a RIS about orders by HL7
    MPPS = "mpps"  # passes on N-CREATE and N-SET as they came
    MPPS_EVENT = "mpps-event"  # tells subscribers of performed steps by N-EVENT-REPORT
    AUDIT = "audit"  # sends the audit trail to a repository by syslog
    NOTIFY = "notify"  # tells people and programs that a rule matched, by a webhook or mail
    COMMITMENT = "commitment"  # asks archives for storage commitment, and tells modalities the result


class JobKind(StrEnum):
    """Says of which table a job's subject is a row. Kind, lane and subject of a job are unique together."""

    DELIVER = "deliver"  # instance
    FEEDBACK = "feedback"  # step_event: the change that is told
    IMAGES = "images"  # requested_procedure: its first image is told, on a feedback lane
    MPPS = "mpps"  # mpps_message
    MPPS_EVENT = "mpps-event"  # mpps_message: the event that it made
    AUDIT = "audit"  # audit: the last row of a run of rows
    NOTIFY = "notify"  # notice
    COMMITMENT_ASK = "commitment-ask"  # commitment_ask: an archive is asked, on a commitment lane
    COMMITMENT_REPORT = "commitment-report"  # commitment: its modality is told, on a commitment lane
    MPPS_CHANGE = "mpps-change"  # mpps: a change by the broker or a person; `-` and the revision follow when stored


class JobState(StrEnum):
    """Says how far a job is. HELD waits for a person; DONE and DISCARDED are final."""

    READY = "ready"
    LEASED = "leased"
    DONE = "done"
    HELD = "held"
    DISCARDED = "discarded"


STAT = 1  # the priority of a job that a rule makes STAT: the lower, the sooner
UNFINISHED = (JobState.READY, JobState.LEASED, JobState.HELD)


@dataclass(frozen=True, slots=True)
class Lane:
    """The work of one kind for one node."""

    kind: LaneKind
    node: str

    @property
    def name(self) -> str:
        """The stored text: `deliver:pacs`."""
        return f"{self.kind}:{self.node}"

    @classmethod
    def parse(cls, name: str) -> Lane:
        """The lane with a stored name. Raises ValueError for a kind that this version does not know."""
        kind, _, node = name.partition(":")
        return cls(LaneKind(kind), node)

    @classmethod
    def known(cls, name: str) -> Lane | None:
        """The lane with a stored name; None for a kind that this version does not know: a newer one wrote it."""
        try:
            return cls.parse(name)
        except ValueError:
            return None


def parts_of(name: str) -> tuple[str, str]:
    """Kind and node of a stored name as they stand there, also of a kind that this version does not know."""
    kind, _, node = name.partition(":")
    return kind, node
