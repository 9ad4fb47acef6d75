"""Serves over REST what differs between versions of a mapping profile, and what a draft would change."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from broker.accounts.roles import Right
from broker.admin.api.mappings import Toml, mapping_refusals
from broker.admin.api.messages.trying import DifferenceView, FindingView
from broker.admin.api.routing.site import MAX_NUMBER, ChangeView, change_view
from broker.admin.bodies import Moment
from broker.admin.context import AdminContext
from broker.admin.problems import Problem
from broker.admin.routers import NEEDS, admin_router
from broker.admin.viewing import shows, viewing_of
from broker.orders.trying.changes import DAYS, RUN, DraftEffect, TrialBusy, TrialEnd
from broker.orders.trying.profile_choice import ProfileChoice
from broker.versions.text_difference import LineKind

Number = Annotated[int, Query(ge=0, le=MAX_NUMBER)]


class ChangesBody(BaseModel):
    """A draft, and since when messages are looked at (s since the epoch; without it those of the last 7 days)."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    toml: Toml
    since: Moment | None = None
    limit: Annotated[int, Field(ge=1, le=RUN, description="At most so many messages are run, newest first")] = RUN


class TextLineView(BaseModel):
    """A line of one of two texts, or of both; its number is 0 where it is not."""

    kind: LineKind
    before: int
    after: int
    text: str


class MappingDiffView(BaseModel):
    """What differs between two versions: by keys, and by lines in places with some lines around."""

    before: int
    after: int
    changes: list[ChangeView]
    places: list[list[TextLineView]]


class TriedMessageView(BaseModel):
    """A message that would not do what it does now: codes, profiles, and the worklist entries beside each other.

    `now` is by the mapping in force, `then` by the draft; `differences` have negative steps for new entries.
    """

    message: int
    received_at: float
    sender: str
    message_type: str
    effect: DraftEffect
    now: str
    then: str
    profile_now: str
    profile_then: str
    findings: list[FindingView]
    differences: list[DifferenceView]


class DraftChangesView(BaseModel):
    """What a draft would change: counts by effect, and the newest of the messages that change.

    `total` messages came since then (more if not `whole`), `looked` were looked at; `unread` of them are not kept as a
    whole. `end` says why no more were looked at.
    """

    since: float
    total: int
    whole: bool
    looked: int
    unread: int
    counts: dict[DraftEffect, int]
    end: TrialEnd
    messages: list[TriedMessageView]


def router(context: AdminContext) -> APIRouter:
    """Routes under /api/v1/mappings about drafts and differences."""
    routes = admin_router("/api/v1", Right.STATUS, tags=["mappings"])

    @routes.get("/mappings/{name}/diff")
    def diff(
        name: str,
        before: Annotated[Number | None, Query(alias="from", description="Without it the one before")] = None,
        after: Annotated[Number | None, Query(alias="to", description="Without it the one in force")] = None,
    ) -> MappingDiffView:
        """Say what differs between two versions of a profile."""
        with mapping_refusals(404):
            found = context.mappings.difference(name, before, after)
        return MappingDiffView(
            before=found.before,
            after=found.after,
            changes=[change_view(one) for one in found.keys],
            places=[[TextLineView(**asdict(line) | {"text": line.text}) for line in place] for place in found.lines],
        )

    @routes.post("/mappings/changes", dependencies=[NEEDS[Right.MAPPINGS], shows("message", "replayed")])
    def changes(body: ChangesBody, request: Request) -> DraftChangesView:
        """Say which messages of the journal would change something else by a draft. Nothing is written."""
        since = time.time() - DAYS * 86_400 if body.since is None else body.since
        with mapping_refusals():
            bench = context.bench(request, ProfileChoice())
            try:
                found = context.mappings.changes(body.toml, bench, since, body.limit)
            except TrialBusy as error:
                raise Problem(503, str(error), headers={"Retry-After": "15"}) from None
        viewing_of(request).many(found.looked, body.model_fields_set - {"limit", "toml"})
        return DraftChangesView.model_validate(asdict(found))

    return routes
