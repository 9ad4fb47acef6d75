"""Serves nodes over REST: who is known, who knocks, and the one call that lets a device in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, Field, IPvAnyAddress
from sqlalchemy import Connection

from broker import telemetry
from broker.accounts.roles import Right
from broker.admin.api.site import SignedBody, in_force
from broker.admin.context import AdminContext
from broker.admin.problems import FieldError, Problem
from broker.admin.routers import NEEDS, admin_router
from broker.dicom import uids
from broker.errors import ConfigurationError
from broker.model.contact import NodeContacts
from broker.routing.site import NODES
from broker.settings.types import AETitle
from broker.site import admitting
from broker.site.admitting import AlreadyKnown, Newcomer
from broker.site.directory import Directory
from broker.site.nodes import Node
from broker.store import knocks
from broker.store.db.database import Database
from broker.store.knocks import Knock
from broker.store.worklist import device_queries
from broker.store.worklist.device_queries import DeviceQueries
from broker.versions.in_force import Conflict
from broker.worklist.explain import recall

MPPS = "1.2.840.10008.3.1.2.3.3"


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


class ContactView(BaseModel):
    """The last contact of one kind. `at` in s since the epoch; `inward`: the node came to us; `detail`: why in vain."""

    kind: str
    at: float
    inward: bool
    good: bool
    detail: str


class NodeDetailView(NodeView):
    """A node in force, and the last contacts with it."""

    last_in: float | None = Field(description="When it last came to us and was served, in s since the epoch")
    last_out: float | None = Field(description="When something was last done there, in s since the epoch")
    contacts: list[ContactView] = Field(description="The last one of each kind, newest first")


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


class AdmitBody(SignedBody):
    """Who shall be let in. A name is made of the AE title; `bind_address`: from this address only."""

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


def router(context: AdminContext) -> APIRouter:
    """Routes under /api/v1/nodes, for admins."""
    routes = admin_router("/api/v1/nodes", Right.STATUS, tags=["nodes"])

    @routes.get("")
    def nodes(response: Response) -> list[NodeView]:
        """List the nodes in force; the ETag is the version of the document."""
        response.headers["ETag"] = f'"{in_force(context, NODES)}"'
        return [view(node) for node in context.directory.nodes]

    @routes.get("/knocking")
    def knocking() -> list[KnockView]:
        """List devices that called and are no node, the last to call first."""
        context.write_behind()
        return strangers(context.database, context.directory)

    @routes.post(
        "/admit",
        dependencies=[NEEDS[Right.SITE]],
        status_code=201,
        responses={409: {"description": "It is a node already"}},
    )
    def admit(body: AdmitBody, request: Request) -> AdmittedView:
        """Let a device in: from its next association on, in other processes within a second. No restart."""
        newcomer = Newcomer(body.ae_title, str(body.address), body.name, tuple(body.roles), body.bind_address)
        context.write_behind()
        try:
            admitted = admitting.admit(context.site, newcomer, body.signature(request))
        except (AlreadyKnown, Conflict) as error:
            raise Problem(409, str(error)) from None
        except ConfigurationError as error:
            raise Problem(422, "This is no node", [FieldError("", str(error))]) from None
        telemetry.logger().info(
            "node.admitted", node=admitted.node.name, calling_ae=body.ae_title, version=admitted.version
        )
        return AdmittedView(node=view(admitted.node), version=admitted.version, knocked=admitted.knocked)

    @routes.get("/{name}", responses={404: {"description": "There is no node of this name"}})
    def node(name: Annotated[str, Path(max_length=64)]) -> NodeDetailView:
        """Show a node, and when it was last in contact."""
        found = context.directory.node(name)
        if found is None:
            raise Problem(404, "There is no node of this name")
        return detailed(found, context.contacts.of(name))

    return routes


def detailed(node: Node, contacts: NodeContacts) -> NodeDetailView:
    """A node with its last contacts."""
    last_in, last_out = contacts.last_in, contacts.last_out
    return NodeDetailView(
        **view(node).model_dump(),
        last_in=last_in.at if last_in is not None else None,
        last_out=last_out.at if last_out is not None else None,
        contacts=[
            ContactView(kind=c.kind.value, at=c.at, inward=c.inward, good=c.good, detail=c.detail)
            for c in sorted(contacts.by_kind.values(), key=lambda contact: -contact.at)
        ],
    )


def strangers(database: Database, directory: Directory) -> list[KnockView]:
    """Devices that called and are no node, the last to call first. Raises StoreUnavailable."""
    return [
        _knock(knock, asked)
        for knock, asked in database.read(_knocking).result()
        if directory.device(knock.ae_title, knock.address) is None
    ]


def _knocking(connection: Connection) -> list[tuple[Knock, DeviceQueries | None]]:
    found = []
    for knock in knocks.all_of(connection):
        asked = device_queries.of(connection, knock.ae_title, knock.address)
        found.append((knock, asked[0] if asked else None))
    return found


def _knock(knock: Knock, asked: DeviceQueries | None) -> KnockView:
    keys = [recall.summary(one["asked"]) for one in reversed(asked.queries)] if asked is not None else []
    return KnockView(
        ae_title=knock.ae_title,
        address=knock.address,
        first_at=knock.first_at,
        last_at=knock.last_at,
        count=knock.count,
        sop_classes=list(knock.contexts),
        wants=wants(knock.contexts),
        queries=[one for one in keys if one is not None][:5],
    )


def wants(contexts: Sequence[str]) -> list[str]:
    """What SOP classes are for, in words."""
    words = {uids.VERIFICATION: "verification", uids.MODALITY_WORKLIST: "worklist", MPPS: "performed procedure step"}
    storage = "1.2.840.10008.5.1.4.1.1."
    return sorted({words.get(one) or ("storage" if one.startswith(storage) else "other") for one in contexts})


def view(node: Node) -> NodeView:
    """A node without what it proves itself by."""
    return NodeView(
        name=node.name,
        kind=node.kind,
        ae_title=node.ae_title,
        application=node.application,
        facility=node.facility,
        host=node.host,
        port=node.port,
        roles=sorted(node.roles),
        tls=node.tls is not None,
        device=node.device.model_dump(exclude_defaults=True, mode="json") if node.device is not None else None,
    )
