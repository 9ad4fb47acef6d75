"""Says what the routes about rules get and give: bodies and views of `/api/v1/rules/test`, `replay` and `explain`."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from broker.admin.api.routing.site import Tables
from broker.admin.bodies import Moment

MOST_OBJECTS = 2000  # of a study that is tried
Facts = Annotated[dict[str, Any], Field(max_length=1000, description="Values by field, one or a list of them")]


class RulesTestBody(BaseModel):
    """What an object has, and the rules that it meets: those given, or without any those in force."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    facts: Facts
    rule: Tables | None = None
    default: dict[str, Any] = {}
    calendar: dict[str, Any] = {}
    completion: dict[str, Any] = {}


class StudyTestBody(BaseModel):
    """What each object of a study has, facts that count for the study, and the rules that it meets."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    objects: Annotated[list[Facts], Field(min_length=1, max_length=MOST_OBJECTS)]
    study: Annotated[Facts, Field(description="Facts that the objects do not tell, such as study.complete")] = {}
    rule: Tables | None = None
    default: dict[str, Any] = {}
    calendar: dict[str, Any] = {}
    completion: dict[str, Any] = {}


class RulesReplayBody(BaseModel):
    """The rules of a draft, and since when objects are looked at (s since the epoch)."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    since: Moment
    rule: Tables
    default: dict[str, Any] = {}
    calendar: dict[str, Any] = {}
    completion: dict[str, Any] = {}


class StudyBody(BaseModel):
    """The Study Instance UID of a study, or the accession number of its order."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    study: Annotated[str, Field(max_length=64, pattern=r"^[0-9.]*$")] = ""
    accession: Annotated[str, Field(max_length=64, pattern=r"^[^\x00-\x1f\x7f]*$")] = ""

    @model_validator(mode="after")
    def _one(self) -> StudyBody:
        if bool(self.study) == bool(self.accession):
            raise ValueError("either study or accession")
        return self


class DeliveryView(BaseModel):
    """A delivery that rules want: to which node, how urgent (1 to 7), whether it waits for a person."""

    node: str
    priority: int
    held: bool


class NoticeView(BaseModel):
    """A node that is told that a rule acted, once for a study."""

    node: str
    rule: str


class ObjectTestView(BaseModel):
    """What rules do with an object. `action`: send, hold, discard; wait if nothing is sent before its level.

    `waits`: the levels whose rules are still to be tried. `notices`: who is told of it.
    """

    action: str
    reason: str
    deliveries: list[DeliveryView]
    rules: list[str]
    waits: list[str] = []
    notices: list[NoticeView] = []


class RulesTestView(ObjectTestView):
    """What rules do with an object, and what each test of them saw and gave."""

    trace: list[dict[str, Any]]


class LevelTestView(BaseModel):
    """The judgement of a complete series or study; `series` is empty for the study. `reason`: why it is held."""

    level: str
    series: str
    reason: str
    rules: list[str]
    trace: list[dict[str, Any]]


class StudyTestView(BaseModel):
    """What becomes of each object once the study is complete, and how series and study are judged."""

    objects: list[ObjectTestView]
    levels: list[LevelTestView]


class OutcomeView(BaseModel):
    """What rules do with an object, where it goes, and who is told; `NODE (held)` waits for a person."""

    action: str
    to: list[str]
    notify: list[str] = []


class StudyDifferenceView(BaseModel):
    """Objects of a study from one device with which the draft would do something else than the rules in force."""

    study: str
    device: str
    before: OutcomeView
    after: OutcomeView
    objects: int


class RulesReplayView(BaseModel):
    """What a draft would have done. `untold`: objects of which too little is kept to say it.

    `whole`: all objects since then were looked at; `more`: differences beside those in the list.
    """

    objects: int
    same: int
    untold: int
    whole: bool
    more: int
    differences: list[StudyDifferenceView]


class DecisionView(BaseModel):
    """Objects of a study that met the same rules with the same result. Times in s since the epoch.

    `trace` is empty where the rules of that version are not there any more.
    """

    rules_version: int
    state: str
    reason: str
    device: str
    objects: int
    first_at: float
    last_at: float
    rules: list[str]
    trace: list[dict[str, Any]]


class GatheringView(BaseModel):
    """A series or study that waits or was judged; `series` is empty for the study. Times in s since the epoch.

    `state`: open, judged (its objects are leaving) or done. `waits`: what keeps an open one from being complete;
    `due_at`: when that is looked at. `complete`: why it was complete when it was judged last; `sent_to`: nodes that got
    it by rules of its level.
    """

    level: str
    series: str
    state: str
    objects: int
    first_at: float
    last_at: float
    waits: str
    due_at: float
    complete: str
    judged_at: float | None
    rules_version: int
    sent_to: list[str]
    rules: list[str]
    trace: list[dict[str, Any]]


class StudyDeliveryView(BaseModel):
    """How many objects of a study are in a state on their way to a node."""

    node: str
    state: str
    objects: int


class NoticeStateView(BaseModel):
    """A node that was, or is to be, told that a rule acted. `at`: of the first object, in s since the epoch.

    `state` of its job: ready, leased, done, held, discarded; empty where that is no longer kept. `error`: why it waits.
    """

    node: str
    rule: str
    at: float
    state: str
    error: str


class StudyDecisionsView(BaseModel):
    """How the objects of a study were decided on, and how far they are."""

    decisions: list[DecisionView]
    deliveries: list[StudyDeliveryView]
    levels: list[GatheringView] = []
    notices: list[NoticeStateView] = []
