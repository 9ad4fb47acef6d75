"""Serves `/api/v1/mpps`: lists performed procedure steps without patient data; links, sets aside and ends them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi import Path as InPath
from pydantic import BaseModel, ConfigDict, Field

from broker.accounts.roles import Right
from broker.admin.context import AdminContext
from broker.admin.problems import Problem
from broker.admin.routers import NEEDS, admin_router
from broker.admin.viewing import SHOWS_NOTHING, shows, viewing_of
from broker.model.lane import Lane, LaneKind
from broker.mpps import deciding, showing
from broker.mpps.deciding import Undecided
from broker.mpps.showing import ShownStep
from broker.site.tables.roles import MPPS_NOTIFICATION
from broker.store.mpps import performed_steps

Row = Annotated[int, InPath(ge=1, le=2**63 - 1)]
Reason = Annotated[str, Field(min_length=3, max_length=500)]
Linking = Literal["linked", "partly", "unscheduled", "ambiguous", "mismatch", "set-aside"]
_STATUS = {"missing": 404, "conflict": 409}


class LinkBody(BaseModel):
    """The scheduled step (a number, as `GET /api/v1/mpps/{id}` proposes) that an item means; `item` counts from 0."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)
    step: Annotated[int, Field(ge=1, le=2**63 - 1)]
    item: Annotated[int, Field(ge=0, le=1000)] | None = None


class SetAsideBody(BaseModel):
    """Why nobody needs to look at it any more; it stands in the audit trail."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)
    reason: Reason


class EndBody(BaseModel):
    """How it ended, in place of its modality, and why a person says so; the reason stands in the audit trail."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)
    status: Literal["COMPLETED", "DISCONTINUED"]
    reason: Reason


class MppsView(BaseModel):
    """A performed procedure step without its patient. `attention`: why a person must look, empty for no need.

    Times in seconds since the epoch; `findings` are codes of what was wrong and forgiven.
    """

    id: int
    sop_instance_uid: str
    status: str
    linking: str
    attention: str
    calling_ae: str
    station: str
    modality: str
    started_at: float
    ended_at: float | None
    findings: list[str]
    revision: int


class ItemView(BaseModel):
    """A scheduled step that a performed one says it does: the step found and by which keys, or why none."""

    item: int
    step: int | None
    reason: str


class ProposalView(BaseModel):
    """A scheduled step of the same patient and modality. Never linked without a person."""

    step: int
    order: int
    status: str
    start: str


class MppsDetail(MppsView):
    """A performed procedure step whole: its attributes by keyword, its items, and proposals if one has no step."""

    document: dict[str, Any]
    items: list[ItemView]
    proposals: list[ProposalView]


_CONFLICT: dict[int | str, dict[str, Any]] = {409: {"description": "What is stored does not allow it"}}
_DECIDING = [NEEDS[Right.WORK], SHOWS_NOTHING]


def router(context: AdminContext) -> APIRouter:
    """Routes under /api/v1/mpps, for admins."""
    routes = admin_router("/api/v1/mpps", Right.PATIENTS, tags=["mpps"])
    database, directory = context.database, context.directory

    @routes.get("", dependencies=[shows("mpps")])
    def listed(
        request: Request,
        status: Literal["", "IN PROGRESS", "COMPLETED", "DISCONTINUED"] = "",
        linking: Linking | Literal[""] = "",
        waiting: bool = False,
        before: Annotated[int, Query(ge=1, le=2**63 - 1)] = 2**63 - 1,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> list[MppsView]:
        """List performed procedure steps, newest first; `waiting`: only those that a person must look at."""
        filters = {"status": status, "linking": linking, "attention": "*" if waiting else ""}
        values = {name: value for name, value in filters.items() if value}
        steps = [MppsView(**row) for row in database.read(performed_steps.listed, values, before, limit).result()]
        viewing_of(request).many(len(steps))
        return steps

    @routes.get("/{row}", dependencies=[shows("mpps")])
    def one(row: Row, request: Request) -> MppsDetail:
        """Show one of them with its attributes."""
        performed = database.read(showing.show, row).result()
        if performed is None:
            raise Problem(404, "No such performed procedure step")
        viewing_of(request).people(database.read(showing.patients, performed).result())
        return _detail(row, performed)

    @routes.post("/{row}/link", dependencies=_DECIDING, status_code=204, responses=_CONFLICT)
    def link(row: Row, body: LinkBody, request: Request) -> None:
        """Say which scheduled step it means; that one follows at once. 409 if no item is without a step."""
        with _refusals():
            database.execute(deciding.link, row, body.step, body.item, context.story(request))
        context.wake()

    @routes.post("/{row}/set-aside", dependencies=_DECIDING, status_code=204, responses=_CONFLICT)
    def set_aside(row: Row, body: SetAsideBody, request: Request) -> None:
        """Note that nobody needs to look at it any more."""
        with _refusals():
            database.execute(deciding.set_aside, row, body.reason, context.story(request))

    @routes.post("/{row}/end", dependencies=_DECIDING, status_code=204, responses=_CONFLICT)
    def end(row: Row, body: EndBody, request: Request) -> None:
        """End one that is IN PROGRESS; its modality can change it no more. 409 if it has ended."""
        listeners = directory.having(MPPS_NOTIFICATION)
        lanes = [Lane(LaneKind.DELIVER, node.name).name for node in directory.having("destination")]
        story = context.story(request)
        with _refusals():
            database.execute(deciding.end, row, body.status, body.reason, story, listeners, lanes)
        context.wake()

    return routes


def _detail(row: int, shown: ShownStep) -> MppsDetail:
    performed = shown.performed
    values = {name: getattr(performed, name) for name in MppsView.model_fields if name not in {"id", "findings"}}
    return MppsDetail(
        id=row,
        findings=list(performed.findings),
        document=performed.document,
        **values,
        items=[ItemView(item=item.position, step=item.step, reason=item.reason) for item in shown.items],
        proposals=[ProposalView(**proposal) for proposal in shown.proposals],
    )


@contextmanager
def _refusals() -> Iterator[None]:
    """Answer a decision that cannot be carried out."""
    try:
        yield
    except Undecided as error:
        raise Problem(_STATUS[error.kind], str(error)) from None
