"""Serves over REST the devices that are not let in: admit one in one call, block it, forget it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, IPvAnyAddress
from sqlalchemy import Connection

from broker import telemetry
from broker.accounts.roles import Right
from broker.admin.api.nodes.nodes import NodeView, refusals, view
from broker.admin.api.nodes.once import IdempotencyHeader, Once
from broker.admin.api.routing.site import SignedBody
from broker.admin.context import AdminContext
from broker.admin.problems import Problem
from broker.admin.routers import NEEDS, admin_router
from broker.settings.types import AETitle
from broker.site import admitting
from broker.site.admitting import Newcomer
from broker.worklist.explain.strangers import Stranger, strangers


class KnockView(BaseModel):
    """A device that called and was not let in. Times in s since the epoch; `queries`: keys of its last ones."""

    ae_title: str
    address: str
    first_at: float
    last_at: float
    count: int
    called: str = Field(description="The AE title that it called last, if that is not ours; else empty")
    node: str = Field(description="The node that it is: one that calls a wrong AE title; else empty")
    sop_classes: list[str]
    wants: list[str] = Field(description="What these SOP classes are for")
    queries: list[dict[str, str]] = Field(description="What it asked, if it was let in; values of patients left out")


class DeviceBody(SignedBody):
    """A device that knocked."""

    ae_title: AETitle
    address: IPvAnyAddress


class AdmitBody(DeviceBody):
    """Who shall be let in. A name is made of the AE title; `bind_address`: from this address only.

    `device` is its profile as in site.toml, `like` the name of a node whose profile it gets.
    """

    name: Annotated[str, Field(max_length=64)] = ""
    roles: list[Literal["modality", "mpps", "worklist"]] = Field(default=["modality"], min_length=1, max_length=3)
    bind_address: bool = True
    device: dict[str, Any] | None = None
    like: Annotated[str, Field(max_length=64)] = ""


class AdmittedView(BaseModel):
    """The node that was made, the version of the nodes it stands in, and whether it had knocked."""

    node: NodeView
    version: int
    knocked: bool


class ForgottenView(BaseModel):
    """How many entries were forgotten."""

    model_config = ConfigDict(json_schema_extra={"example": {"forgotten": 1}})
    forgotten: int


_TAKEN: dict[int | str, dict[str, Any]] = {409: {"description": "It is a node already"}}


def router(context: AdminContext) -> APIRouter:
    """Routes of devices that knock, under /api/v1/nodes."""
    routes = admin_router("/api/v1/nodes", Right.STATUS, tags=["nodes"])

    @routes.get("/knocking")
    def knocking() -> list[KnockView]:
        """List devices that called and were not let in, the last to call first."""
        context.write_behind()
        found = strangers(context.database, context.directory, context.contacts.all())
        return [knock_view(one) for one in found]

    @routes.post("/admit", dependencies=[NEEDS[Right.SITE]], status_code=201, responses=_TAKEN)
    def admit(body: AdmitBody, request: Request, idempotency_key: IdempotencyHeader = None) -> AdmittedView:
        """Let a device in: from its next association on, in other processes within a second. No restart."""
        newcomer = Newcomer(
            body.ae_title,
            str(body.address),
            body.name,
            tuple(body.roles),
            body.bind_address,
            profile=body.device or {},
            like=body.like,
        )
        return _enter(context, newcomer, body, request, idempotency_key)

    @routes.post("/knocking/block", dependencies=[NEEDS[Right.SITE]], status_code=201, responses=_TAKEN)
    def block(body: DeviceBody, request: Request, idempotency_key: IdempotencyHeader = None) -> AdmittedView:
        """Refuse a device from now on: it becomes a node that is blocked, and knocks no more."""
        newcomer = Newcomer(body.ae_title, str(body.address), blocked=True)
        return _enter(context, newcomer, body, request, idempotency_key)

    @routes.post(
        "/knocking/forget",
        dependencies=[NEEDS[Right.SITE]],
        responses={404: {"description": "This device is not on the list"}},
    )
    def forget(body: DeviceBody, request: Request) -> ForgottenView:
        """Take a device off the list. It comes back when it calls again."""
        context.write_behind()
        forgotten = admitting.forget(context.database, body.ae_title, str(body.address), body.signature(request))
        if not forgotten:
            raise Problem(404, "This device is not on the list")
        return ForgottenView(forgotten=forgotten)

    return routes


def _enter(
    context: AdminContext, newcomer: Newcomer, body: DeviceBody, request: Request, key: str | None
) -> AdmittedView:
    once = Once(context.database, request, key, body.model_dump(mode="json"))
    if (before := once.answer()) is not None:
        return AdmittedView.model_validate(before)
    context.write_behind()

    def keep(connection: Connection, admitted: admitting.Admitted) -> None:
        once.keep(connection, admitted_view(admitted).model_dump(mode="json"))

    with refusals():
        admitted = admitting.admit(context.site, newcomer, body.signature(request), also=keep)
    event = "node.blocked" if newcomer.blocked else "node.admitted"
    telemetry.logger().info(event, node=admitted.node.name, calling_ae=body.ae_title, version=admitted.version)
    return admitted_view(admitted)


def admitted_view(admitted: admitting.Admitted) -> AdmittedView:
    """What became of a device that knocked."""
    return AdmittedView(node=view(admitted.node), version=admitted.version, knocked=admitted.knocked)


def knock_view(stranger: Stranger) -> KnockView:
    """A device as REST shows it."""
    knock = stranger.knock
    return KnockView(
        ae_title=knock.ae_title,
        address=knock.address,
        first_at=knock.first_at,
        last_at=knock.last_at,
        count=knock.count,
        called=knock.called,
        node=stranger.node,
        sop_classes=list(knock.contexts),
        wants=stranger.wants,
        queries=list(stranger.queries),
    )
