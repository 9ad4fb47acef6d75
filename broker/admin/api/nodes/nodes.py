"""Serves nodes over REST, one at a time: list, show, add, change, disable, enable, block, remove.

The document of all nodes, with its history, is `api/site.py`; devices that knock are `knocking.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Path, Request, Response
from pydantic import BaseModel, Field
from sqlalchemy import Connection

from broker import telemetry
from broker.accounts.roles import Right
from broker.admin.api.nodes.once import IdempotencyHeader, Once
from broker.admin.api.routing.site import ChangeView, SignedBody, change_view, in_force
from broker.admin.context import AdminContext
from broker.admin.problems import FieldError, Problem
from broker.admin.routers import NEEDS, admin_router
from broker.errors import ConfigurationError
from broker.model.contact import Contact, NodeContacts
from broker.model.wording import in_english
from broker.routing.references import NodeNamed, consequence, references, refuse_if_named
from broker.routing.site import NODES
from broker.site import editing
from broker.site.admitting import AlreadyKnown
from broker.site.contact_words import reason
from broker.site.editing import NodeChange, NodeExists, NodeUnknown, Table
from broker.site.nodes import Node, NodeMistakes
from broker.versions.difference import masked
from broker.versions.in_force import Conflict, Signature

Name = Annotated[str, Path(max_length=64)]
IfMatch = Annotated[str | None, Header(description="The ETag of the node that the change is made from")]
_REFUSED: dict[int | str, dict[str, Any]] = {
    404: {"description": "There is no node of this name"},
    409: {"description": "Others published at the same time, the name is taken, or something still names the node"},
    422: {"description": "This is no node; the errors name the keys"},
}
_CHANGED: dict[int | str, dict[str, Any]] = {412: {"description": "The node was changed since: the text says by whom"}}


class NodeView(BaseModel):
    """A node in force; `device` is what its profile says. Times in s since the epoch, null for never."""

    name: str
    kind: str
    state: Literal["active", "disabled", "blocked"]
    ae_title: str
    application: str
    facility: str
    host: str
    port: int
    roles: list[str]
    tls: bool
    device: dict[str, Any] | None
    last_in: float | None = Field(default=None, description="When it last came to us and was served")
    last_out: float | None = Field(default=None, description="When something was last done there")


class ContactView(BaseModel):
    """The last contact of one kind. `at` in s since the epoch; `inward`: the node came to us.

    `detail`: the code of why it was in vain; `words`: why, and what to do.
    """

    kind: str
    at: float
    inward: bool
    good: bool
    detail: str
    words: str


class NodeDetailView(NodeView):
    """A node in force, the last contacts with it, what names it, and its table as in site.toml (secrets masked)."""

    contacts: list[ContactView] = Field(description="The last one of each kind, newest first")
    named_by: list[str] = Field(description="Rules, jobs, open steps and imported orders that name it")
    table: dict[str, Any]


class AddBody(SignedBody):
    """A node as in site.toml."""

    node: Annotated[dict[str, Any], Field(examples=[{"name": "ct2", "kind": "dicom", "ae_title": "CT02"}])]


class PatchBody(SignedBody):
    """Keys of a node as in site.toml, as a JSON merge patch (RFC 7386): null removes a key."""

    changes: Annotated[dict[str, Any], Field(examples=[{"port": 104, "host": None}])]


class RemoveBody(SignedBody):
    """`anyway`: also if jobs, open steps or imported orders name the node. Rules that send to it come first."""

    anyway: bool = False


class NodeChangedView(BaseModel):
    """The version of the nodes that is in force now, and what has changed; `note` says what follows from it."""

    version: int
    changes: list[ChangeView]
    note: str = ""


def router(context: AdminContext) -> APIRouter:
    """Routes under /api/v1/nodes."""
    routes = admin_router("/api/v1/nodes", Right.STATUS, tags=["nodes"])
    _reading(routes, context)
    _changing(routes, context)
    return routes


def _reading(routes: APIRouter, context: AdminContext) -> None:
    @routes.get("")
    def nodes(response: Response) -> list[NodeView]:
        """List the nodes in force; the ETag is the version of the document."""
        response.headers["ETag"] = f'"{in_force(context, NODES)}"'
        contacts = context.contacts.all()
        return [view(node, contacts.get(node.name)) for node in context.directory.nodes]

    @routes.get("/{name}", responses={404: _REFUSED[404]})
    def node(name: Name, response: Response) -> NodeDetailView:
        """Show a node, when it was last in contact, and what names it. The ETag is that of this node alone."""
        detail, tag = detailed(context, name)
        response.headers["ETag"] = tag
        return detail


def _changing(routes: APIRouter, context: AdminContext) -> None:
    needs = [NEEDS[Right.SITE]]

    @routes.post("/add", dependencies=needs, status_code=201, responses=_REFUSED)
    def add(body: AddBody, request: Request, idempotency_key: IdempotencyHeader = None) -> NodeChangedView:
        """Put a node more in force; no other one is touched."""

        def story(signature: Signature, also: editing.Also) -> NodeChange:
            return editing.add(context.site, body.node, signature, also=also)

        return changed(context, request, body, idempotency_key, story)

    @routes.patch("/{name}", dependencies=needs, responses={**_REFUSED, **_CHANGED})
    def edit(
        name: Name,
        body: PatchBody,
        request: Request,
        response: Response,
        if_match: IfMatch = None,
        idempotency_key: IdempotencyHeader = None,
    ) -> NodeChangedView:
        """Change a node; no other one is touched. With If-Match only if nobody has changed it since."""
        seen = seen_by(context, if_match)

        def story(signature: Signature, also: editing.Also) -> NodeChange:
            return editing.edit(context.site, name, body.changes, signature, seen=seen, also=also)

        done = changed(context, request, body, idempotency_key, story)
        response.headers["ETag"] = detailed(context, name)[1]
        return done

    @routes.post("/{name}/remove", dependencies=needs, responses={**_REFUSED, **_CHANGED})
    def remove(
        name: Name,
        body: RemoveBody,
        request: Request,
        if_match: IfMatch = None,
        idempotency_key: IdempotencyHeader = None,
    ) -> NodeChangedView:
        """Take a node out of force. What still names it is told, and keeps it unless `anyway` is said."""
        seen = seen_by(context, if_match)

        def story(signature: Signature, also: editing.Also) -> NodeChange:
            node, rules = context.directory.node(name), context.site.value.rules
            refuse_if_named(context.database, node, rules, anyway=body.anyway)
            return editing.remove(context.site, name, signature, seen=seen, also=also)

        return changed(context, request, body, idempotency_key, story)

    for word in editing.STATES:
        _state_route(routes, context, word)


def _state_route(routes: APIRouter, context: AdminContext, word: str) -> None:
    def set_state(
        name: Name, body: SignedBody, request: Request, idempotency_key: IdempotencyHeader = None
    ) -> NodeChangedView:
        def story(signature: Signature, also: editing.Also) -> NodeChange:
            return editing.set_state(context.site, name, word, signature, also=also)

        done = changed(context, request, body, idempotency_key, story)
        node = context.directory.node(name)
        note = in_english(consequence(context.database, node)) if node is not None else ""
        return done.model_copy(update={"note": note})

    routes.add_api_route(
        f"/{{name}}/{word}",
        set_state,
        methods=["POST"],
        dependencies=[NEEDS[Right.SITE]],
        responses=_REFUSED,
        operation_id=f"{word}_node",
        description={
            "disable": "Neither serve a node nor send to it for now; what is for it waits.",
            "enable": "Serve a node again, and send it what waits.",
            "block": "Refuse a node when it calls, and send nothing to it.",
        }[word],
    )


def changed(
    context: AdminContext,
    request: Request,
    body: SignedBody,
    key: str | None,
    story: Callable[[Signature, editing.Also], NodeChange],
) -> NodeChangedView:
    """Do a change once for its idempotency key, and say what changed. Raises Problem."""
    once = Once(context.database, request, key, body.model_dump(mode="json"))
    if (before := once.answer()) is not None:
        return NodeChangedView.model_validate(before)

    def keep(connection: Connection, change: NodeChange) -> None:
        once.keep(connection, changed_view(change).model_dump())

    with refusals():
        change = story(body.signature(request), keep)
    if not change.differences:
        once.keep_alone(changed_view(change).model_dump())
    else:
        telemetry.logger().info("nodes.changed", version=change.version, count=len(change.differences))
    return changed_view(change)


def changed_view(change: NodeChange) -> NodeChangedView:
    """What a change did."""
    return NodeChangedView(version=change.version, changes=[change_view(one) for one in change.differences])


def seen_by(context: AdminContext, tag: str | None) -> Callable[[Table], bool] | None:
    """Whether a table is the one that an If-Match header names; None without one."""
    if tag is None or tag.strip() == "*":
        return None
    wanted = tag.strip().removeprefix("W/").strip('"')
    return lambda table: editing.digest(table, context.secret) == wanted


@contextmanager
def refusals() -> Iterator[None]:
    """Answer what keeps a node from being changed as a problem in words."""
    try:
        yield
    except NodeUnknown as error:
        raise Problem(404, str(error)) from None
    except NodeNamed as error:
        text = str(error) + ("" if error.binding else " (`anyway`, or --anyway to a command)")
        raise Problem(409, text, [FieldError("node", in_english(one.words)) for one in error.references]) from None
    except (AlreadyKnown, NodeExists) as error:
        raise Problem(409, str(error)) from None
    except Conflict as error:
        raise Problem(412 if "changed meanwhile" in str(error) else 409, str(error)) from None
    except NodeMistakes as error:
        fields = [FieldError(one.key.replace(".", "/"), one.words) for one in error.mistakes]
        raise Problem(422, f"This is no node: {error}"[:500], fields) from None
    except ConfigurationError as error:
        raise Problem(422, f"This cannot be in force: {error}"[:500], [FieldError("", str(error)[:500])]) from None


def detailed(context: AdminContext, name: str) -> tuple[NodeDetailView, str]:
    """A node with all that is known of it, and its ETag. Raises Problem, StoreUnavailable."""
    node = context.directory.node(name)
    if node is None:
        raise Problem(404, "There is no node of this name")
    with refusals():
        table = editing.table_in_force(context.site, name)
    contacts = context.contacts.of(name)
    named = references(context.database, node, context.site.value.rules)
    detail = NodeDetailView(
        **view(node, contacts).model_dump(),
        contacts=[_contact_view(one) for one in sorted(contacts.by_kind.values(), key=lambda contact: -contact.at)],
        named_by=[in_english(one.words) for one in named],
        table=masked(table),
    )
    return detail, f'"{editing.digest(table, context.secret)}"'


def _contact_view(one: Contact) -> ContactView:
    words = in_english(reason(one))
    return ContactView(kind=one.kind.value, at=one.at, inward=one.inward, good=one.good, detail=one.detail, words=words)


def view(node: Node, contacts: NodeContacts | None = None) -> NodeView:
    """A node without what it proves itself by."""
    last_in, last_out = (contacts.last_in, contacts.last_out) if contacts is not None else (None, None)
    return NodeView(
        name=node.name,
        kind=node.kind,
        state=node.state,
        ae_title=node.ae_title,
        application=node.application,
        facility=node.facility,
        host=node.host,
        port=node.port,
        roles=sorted(node.roles),
        tls=node.encrypted,
        device=node.device.model_dump(exclude_defaults=True, mode="json") if node.device is not None else None,
        last_in=last_in.at if last_in is not None else None,
        last_out=last_out.at if last_out is not None else None,
    )
