"""REST for nodes: `/api/v1/nodes`. Who is known, who knocks, and the one call that lets a device in."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Protocol

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, IPvAnyAddress

from broker.settings.types import AETitle


class NodeView(BaseModel):
    """A node in force; `device` is what its profile says."""

    name: str
    kind: str
    ae_title: str
    application: str
    facility: str
    host: str
    port: int
    roles: list[str]
    tls: bool
    device: dict[str, Any] | None


class KnockView(BaseModel):
    """A device that called and is no node. Times in s since the epoch; `queries`: keys of its last ones."""

    ae_title: str
    address: str
    first_at: float
    last_at: float
    count: int
    sop_classes: list[str]
    wants: list[str] = Field(description="What these SOP classes are for")
    queries: list[dict[str, str]] = Field(description="What it asked, if it was let in; values of patients left out")


class AdmitBody(BaseModel):
    """Who shall be let in. A name is made of the AE title; `bind_address`: from this address only."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    ae_title: AETitle
    address: IPvAnyAddress
    name: Annotated[str, Field(max_length=64)] = ""
    roles: list[Literal["modality", "mpps", "worklist"]] = Field(default=["modality"], min_length=1, max_length=3)
    bind_address: bool = True


class AdmittedView(BaseModel):
    """The node that was made, the version of the nodes it stands in, and whether it had knocked."""

    node: NodeView
    version: int
    knocked: bool


class Desk(Protocol):
    """What the broker can do with nodes."""

    def nodes(self) -> list[NodeView]:
        """The nodes in force."""
        ...

    def knocking(self) -> list[KnockView]:
        """Devices that called and are no node, the last to call first."""
        ...

    def admit(self, body: AdmitBody, actor: str) -> AdmittedView:
        """Make a node of a device. Raises Problem."""
        ...


def router(desk: Desk) -> APIRouter:
    """Routes under /api/v1/nodes, for admins."""
    routes = APIRouter(prefix="/api/v1/nodes", tags=["nodes"])

    @routes.get("")
    def nodes() -> list[NodeView]:
        """The nodes in force."""
        return desk.nodes()

    @routes.get("/knocking")
    def knocking() -> list[KnockView]:
        """Devices that called and are no node, the last to call first."""
        return desk.knocking()

    @routes.post("/admit", status_code=201, responses={409: {"description": "It is a node already"}})
    def admit(body: AdmitBody, request: Request) -> AdmittedView:
        """Let a device in: from its next association on, in other processes within seconds. No restart."""
        return desk.admit(body, request.state.actor)

    return routes
