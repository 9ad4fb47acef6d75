"""Declares the bodies of `/api/v1/studies`: which studies are meant, and how they are shown."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from broker.admin.api.routing.rules_views import DecisionView, GatheringView, NoticeStateView
from broker.admin.bodies import Moment
from broker.store.db.newest import PLACE

Text = Annotated[str, Field(max_length=64, pattern=r"^[^\x00-\x1f\x7f]*$")]
Reason = Annotated[str, Field(min_length=3, max_length=500)]
After = Annotated[str, Field(pattern=rf"^({PLACE})?$", description="`after` of the page before")]
Limit = Annotated[int, Field(ge=1, le=200)]


class FindStudiesBody(BaseModel):
    """Which studies; an empty text is any. `device`: AE title of a sender. `node`: a destination of its objects.

    `incomplete`: an object is held or waits, or a delivery waits, is held or was given up; with `node`: for that one.
    `since` and `until`: when the first object came, in s since the epoch. `order`: our own number of the exam.
    """

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    study: Text = ""
    patient: Text = Field("", description="Patient ID, as the objects have it")
    accession: Text = Field("", description="As the objects have it, or of the order")
    modality: Text = ""
    device: Text = ""
    node: Text = ""
    order: Annotated[int, Field(ge=0, le=2**63 - 1)] = 0
    since: Moment | None = None
    until: Moment | None = None
    incomplete: bool = False
    after: After = ""
    limit: Limit = 50


class ResendBody(BaseModel):
    """The destination that gets the objects anew, and why. `after`: where a round before ended.

    `undecided`: also objects that are held, wait for their study, or were discarded; this decides about them.
    """

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    to: Annotated[str, Field(min_length=1, max_length=64)]
    reason: Reason
    undecided: bool = False
    after: Annotated[int, Field(ge=0, le=2**63 - 1)] = 0


class RerouteStudyBody(BaseModel):
    """The destination that gets what waits or is held for `node`; without that for all others. And why."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    to: Annotated[str, Field(min_length=1, max_length=64)]
    node: Text = ""
    reason: Reason


class StudyDoneView(BaseModel):
    """How many objects ended how. `paused`: the destination is, so that they wait. `after`: for the next round."""

    endings: dict[str, int]
    paused: bool
    after: int = 0


class CauseView(BaseModel):
    """A code that stands with deliveries in a state, in words too, and how many have it."""

    state: str
    cause: str
    why: str
    objects: int


class DestinationView(BaseModel):
    """What a destination has of a study: deliveries by what became of them, each counted once.

    `states`: sent, warning (sent, answered with a warning), waiting, sending, held, given-up, elsewhere (a person sent
    it to another one). `known`: it is still a destination. `committed`: of what it took, what it has proven to have.
    """

    node: str
    known: bool
    paused: bool
    committed: int
    states: dict[str, int]
    causes: list[CauseView]


class StudyView(BaseModel):
    """A study by our own number. `objects`: by SOP Instance UID; `versions`: other bytes of one each count.

    `states`: versions by what the rules did: routed, held, waiting, discarded, purged. `capped`: there is more than was
    counted; then `complete` is false. Times in s since the epoch, `size` in bytes. `order`: of the exam, 0 for none.
    """

    id: int
    study: str
    order: int
    patients: list[str]
    accessions: list[str]
    modalities: list[str]
    devices: list[str]
    objects: int
    versions: int
    size: int
    first_at: float
    last_at: float
    states: dict[str, int]
    complete: bool
    capped: bool
    destinations: list[DestinationView]


class StudiesView(BaseModel):
    """Studies, the newest first. `after` is empty behind the last page; a short page says that so far was looked."""

    studies: list[StudyView]
    after: str


class SeriesView(BaseModel):
    """A series of a study. Times of its first and its last object in s since the epoch."""

    series: str
    objects: int
    first_at: float
    last_at: float


class StudyDetailView(StudyView):
    """A study with its series, and how its objects were decided on, as `/api/v1/rules/explain` says it."""

    series: list[SeriesView]
    decisions: list[DecisionView]
    levels: list[GatheringView]
    notices: list[NoticeStateView]
