"""Declares the bodies of `/api/v1/deliveries`: which jobs are meant, and how lanes and jobs are shown."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from broker.admin.api.routing.holds import JobSelection
from broker.admin.bodies import RowNumber
from broker.admin.context import AdminContext
from broker.model.lane import parts_of
from broker.model.wording import in_english
from broker.status.causes import reason
from broker.status.lane_words import LaneCondition, words_of
from broker.store.queued.shapes import AGES, CAP, LaneShape
from broker.store.queued.waiting_jobs import WaitingJob

MOST = 1000  # jobs of one request
WaitsText = Literal["waiting", "held"]
Reason = Annotated[str, Field(min_length=3, max_length=500)]


class DeliverySelection(JobSelection):
    """Jobs by filters, as the list has them."""

    @property
    def personal(self) -> bool:
        """A filter would tell who is asked for whether it waits."""
        return bool(self.study or self.accession or self.device)


class SelectedDeliveries(BaseModel):
    """The jobs that are meant: rows, or those that match, behind the job `after`.

    `expected`: all that match, if they are no more than a person saw; without it they are as many as one request
    takes.
    """

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    rows: Annotated[list[RowNumber], Field(max_length=MOST)] = []
    matching: DeliverySelection | None = None
    state: WaitsText = "waiting"
    after: Annotated[int, Field(ge=0, le=2**63 - 1)] = 0
    expected: Annotated[int, Field(ge=1, le=MOST)] | None = None

    @model_validator(mode="after")
    def _one_way(self) -> SelectedDeliveries:
        if bool(self.rows) == (self.matching is not None):
            raise ValueError("either rows, or matching")
        return self


class RetryBody(SelectedDeliveries):
    """The jobs that are tried at once, and why if there is something to say."""

    reason: Annotated[str, Field(max_length=500)] = ""


class DiscardDeliveriesBody(SelectedDeliveries):
    """The jobs, and why they are given up."""

    reason: Reason


class RerouteBody(SelectedDeliveries):
    """The deliveries, the destination that gets the objects instead, and why."""

    to: Annotated[str, Field(min_length=1, max_length=64)]
    reason: Reason


class PauseBody(BaseModel):
    """Why a node is paused, drained, resumed or tried at once; it stands in the audit trail."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    reason: Reason


class DeliveriesDoneView(BaseModel):
    """What became of the jobs, by how they ended. `after`: the next ones begin behind this job; 0: that was all.

    `notes` say in words why some wait on although they were to be tried now.
    """

    endings: dict[str, int]
    after: int
    notes: list[str] = []


class NodeRetriedView(BaseModel):
    """Why some of what waits for a node is not sent now, in words; none: all of it is tried."""

    notes: list[str]


class LaneShapeView(BaseModel):
    """A lane. `ages`: what waits or is being sent, younger than each of `age_ends` (s), and what is older.

    `ready`: due now; `put_off`: for a retry; `sending`; `held`: for a person; `urgent`: more urgent than usual.
    A count above 10000 means “more than 10000”. `state` with `why` and `advice` in words. Times in s since the epoch.
    """

    lane: str
    node: str
    kind: str
    state: LaneCondition
    why: str
    advice: str
    age_ends: list[float]
    ages: list[int]
    waiting: int
    capped: bool
    ready: int
    put_off: int
    sending: int
    held: int
    urgent: int
    oldest: float | None
    failures: int
    since: float
    next_try: float
    goes_to: str = Field(description="The destination that gets what waits, as `failover` says; empty: none")


class WaitingJobView(BaseModel):
    """A job that waits or is held. `cause`: the code of its last try, `why` in words. Times in s since the epoch."""

    id: int
    lane: str
    node: str
    kind: str
    held: bool
    cause: str
    why: str
    since: float
    due_at: float
    tries: int
    failures: int
    study: str
    device: str
    accession: str
    patient: str
    modality: str
    size: int


def shape_view(
    context: AdminContext, shape: LaneShape, lanes: Sequence[LaneShape], paused: Collection[str], now: float
) -> LaneShapeView:
    """A lane as it is shown, beside all of them and the nodes that are paused."""
    kind, name = parts_of(shape.name)
    node = context.directory.node(name)
    active, closing = node is None or node.active, context.closing(node)
    other = context.other_for(node, lanes, paused, now)
    words = words_of(shape, known=node is not None, active=active, closing=closing, other=other)
    zone = context.settings.zone()
    return LaneShapeView(
        lane=shape.name,
        node=name,
        kind=kind,
        state=words.condition,
        why=words.why.english(zone, now) if words.why is not None else "",
        advice=words.advice.english(zone, now),
        age_ends=list(AGES),
        ages=list(shape.ages),
        waiting=shape.waiting,
        capped=shape.waiting > CAP,
        ready=shape.ready,
        put_off=shape.put_off,
        sending=shape.sending,
        held=shape.held,
        urgent=shape.urgent,
        oldest=shape.oldest,
        failures=shape.failures,
        since=shape.since,
        next_try=shape.open_until,
        goes_to=other if words.condition is LaneCondition.DOWN else "",
    )


def delivery_view(job: WaitingJob) -> WaitingJobView:
    """A job as it is shown."""
    kind, node = parts_of(job.lane)
    return WaitingJobView(
        id=job.id,
        lane=job.lane,
        node=node,
        kind=kind,
        held=job.held,
        cause=job.error,
        why=in_english(reason(job.error)) if job.error else "",
        since=job.created_at,
        due_at=job.due_at,
        tries=job.attempts,
        failures=job.failures,
        study=job.study,
        device=job.device,
        accession=job.fact("tag.AccessionNumber"),
        patient=job.fact("tag.PatientID"),
        modality=job.fact("tag.Modality"),
        size=job.size,
    )
