"""REST for performed procedure steps: `/api/v1/mpps`. The list has no patients; three decisions of a person."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Protocol

from fastapi import APIRouter, Query, Request
from fastapi import Path as InPath
from pydantic import BaseModel, ConfigDict, Field

from broker.admin.problems import Problem
from broker.mpps.deciding import Undecided

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


class Desk(Protocol):
    """What the broker can do with performed procedure steps. Decisions raise Undecided."""

    def listed(self, wanted: Mapping[str, str], before: int, limit: int) -> list[MppsView]:
        """Those with these values, newest first, numbers below `before`."""
        ...

    def one(self, row: int) -> MppsDetail | None:
        """One of them."""
        ...

    def link(self, row: int, step: int, item: int | None, actor: str) -> None:
        """Link an item to a scheduled step."""
        ...

    def set_aside(self, row: int, reason: str, actor: str) -> None:
        """Nobody needs to look at it."""
        ...

    def end(self, row: int, status: str, reason: str, actor: str) -> None:
        """End it in place of its modality."""
        ...


def router(desk: Desk) -> APIRouter:
    """Routes under /api/v1/mpps, for admins."""
    routes = APIRouter(prefix="/api/v1/mpps", tags=["mpps"])

    @routes.get("")
    def listed(
        status: Literal["", "IN PROGRESS", "COMPLETED", "DISCONTINUED"] = "",
        linking: Linking | Literal[""] = "",
        waiting: bool = False,
        before: Annotated[int, Query(ge=1, le=2**63 - 1)] = 2**63 - 1,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> list[MppsView]:
        """Performed procedure steps, newest first; `waiting`: only those that a person must look at."""
        wanted = {"status": status, "linking": linking, "attention": "*" if waiting else ""}
        return desk.listed({name: value for name, value in wanted.items() if value}, before, limit)

    @routes.get("/{row}")
    def one(row: Row) -> MppsDetail:
        """One of them with its attributes."""
        found = desk.one(row)
        if found is None:
            raise Problem(404, "No such performed procedure step")
        return found

    @routes.post("/{row}/link", status_code=204)
    def link(row: Row, body: LinkBody, request: Request) -> None:
        """Say which scheduled step it means; that one follows at once. 409 if no item is without a step."""
        _decide(lambda: desk.link(row, body.step, body.item, request.state.actor))

    @routes.post("/{row}/set-aside", status_code=204)
    def set_aside(row: Row, body: SetAsideBody, request: Request) -> None:
        """Nobody needs to look at it any more."""
        _decide(lambda: desk.set_aside(row, body.reason, request.state.actor))

    @routes.post("/{row}/end", status_code=204)
    def end(row: Row, body: EndBody, request: Request) -> None:
        """End one that is IN PROGRESS; its modality can change it no more. 409 if it has ended."""
        _decide(lambda: desk.end(row, body.status, body.reason, request.state.actor))

    return routes


def _decide(decision: Callable[[], None]) -> None:
    try:
        decision()
    except Undecided as error:
        raise Problem(_STATUS[error.kind], str(error)) from None
