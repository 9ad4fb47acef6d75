"""Serves the documents of the site over REST: rules and nodes as versions that are checked, published and rolled back.

`/api/v1/rules` and `/api/v1/nodes` are one document each, `/api/v1/site` changes both at once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from broker.accounts.roles import Right
from broker.admin.api.routing.refusals import refusals, told_what_names
from broker.admin.context import AdminContext
from broker.admin.problems import Problem
from broker.admin.routers import NEEDS, admin_router
from broker.routing.editing import SiteEdit
from broker.routing.rules.checking import doubts
from broker.routing.rules.parsing import DOCUMENT_KEYS
from broker.routing.site import NODES, RULES, build
from broker.store.configurations import Publication
from broker.versions.difference import Difference, difference, masked
from broker.versions.in_force import MAX_TEXT, Signature

Kind = Literal["nodes", "rules"]
Text = Annotated[str, Field(max_length=MAX_TEXT, pattern=r"^[^\x00-\x1f\x7f]*$")]
Tables = Annotated[list[dict[str, Any]], Field(max_length=10_000)]
MAX_NUMBER = 2**31 - 1  # of a version
IfVersion = Annotated[str | None, Header(description="The ETag of the version that the change is made from; `*`: any")]
_TAG = re.compile(r'(?:W/)?"(\d{1,9})"')
_REFUSED: dict[int | str, dict[str, Any]] = {
    403: {"description": "Rules need another person: the site asks for four eyes"},
    409: {"description": "Somebody else published meanwhile, or nodes would be removed"},
    412: {"description": "The version in force is not that of If-Match"},
    422: {"description": "The document cannot be used; the text names rule or node, and key"},
}

_NO_VERSION: dict[int | str, dict[str, Any]] = {404: {"description": "There is no such version"}}


class SignedBody(BaseModel):
    """Why a version is published, and on whose behalf if not the caller's."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    reason: Text = ""
    author: Text = ""

    def signature(self, request: Request) -> Signature:
        """The caller, as it was authenticated."""
        state = request.state
        return Signature(actor=state.actor, author=self.author, reason=self.reason, address=state.address)


class RulesBody(SignedBody):
    """The whole set of rules, as in site.toml."""

    rule: Annotated[Tables, Field(description="In the order in which they are evaluated")] = []
    default: Annotated[dict[str, Any], Field(description="What happens when no rule matched")] = {}
    calendar: Annotated[dict[str, Any], Field(description="Holidays of the site")] = {}
    completion: Annotated[dict[str, Any], Field(description="When series and studies are complete")] = {}

    def contents(self) -> dict[str, Any]:
        """The document."""
        return {RULES: {key: getattr(self, key) for key in DOCUMENT_KEYS if key in self.model_fields_set}}


class NodesBody(SignedBody):
    """All nodes, as in site.toml. A passcode of eight asterisks means the one in force."""

    node: Tables
    replace: Annotated[bool, Field(description="Remove nodes that are in force and missing here")] = False

    def contents(self) -> dict[str, Any]:
        """The document."""
        return {NODES: self.node}


class SiteBody(RulesBody):
    """Nodes and rules together: both are published, or neither."""

    node: Tables = []
    replace: Annotated[bool, Field(description="Remove nodes that are in force and missing here")] = False

    def contents(self) -> dict[str, Any]:
        """The documents."""
        return {NODES: self.node, **super().contents()}


class DocumentRollbackBody(SignedBody):
    """The version that is to be in force again; the one before the present one, if none is given."""

    version: Annotated[int, Field(ge=1, le=MAX_NUMBER)] | None = None


class ChangeView(BaseModel):
    """One difference between two versions: in words, and in its parts."""

    words: str
    thing: str
    kind: str
    key: str
    before: str
    after: str


class DocumentCheckView(BaseModel):
    """What a document would change, and what it says although hardly anybody means it."""

    changes: list[ChangeView]
    examples: int
    doubts: list[str] = []


class PublishedVersionView(BaseModel):
    """The versions that are in force now, by kind, and what has changed."""

    versions: dict[str, int]
    changes: list[ChangeView]


class PublicationView(BaseModel):
    """When, by whom and why a version was published. `at` in s since the epoch; `source`: by which way it came in."""

    kind: str
    version: int
    at: float
    author: str
    reason: str
    source: str


class DocumentView(BaseModel):
    """One version of a document, as in site.toml; secrets are masked."""

    kind: str
    version: int
    at: float
    author: str
    reason: str
    source: str
    document: Any


def router(context: AdminContext) -> APIRouter:
    """Routes for the documents of the site, for admins."""
    routes = admin_router("/api/v1", Right.STATUS)
    _edit(routes, context, RULES, RulesBody)
    _edit(routes, context, NODES, NodesBody)
    _edit(routes, context, "site", SiteBody)
    for kind in (RULES, NODES):
        _versions(routes, context, kind)

    @routes.get("/rules", tags=["rules"])
    def rules(response: Response) -> DocumentView:
        """Show the rules in force. The ETag is their version."""
        number = in_force(context, RULES)
        response.headers["ETag"] = f'"{number}"'
        return _document(context, RULES, number)

    return routes


def _edit(routes: APIRouter, context: AdminContext, name: str, body_type: type[Any]) -> None:
    def publish(body: Any, request: Request, response: Response, if_match: IfVersion = None) -> PublishedVersionView:
        edit = SiteEdit(body.contents(), replace=getattr(body, "replace", False))
        expected = _expected(if_match, name)
        with refusals(conflict=412 if expected else 409), told_what_names(context):
            numbers = context.site.publish(edit, body.signature(request), expected=expected)
        if name in numbers:
            response.headers["ETag"] = f'"{numbers[name]}"'
        versions = {kind: numbers[kind] for kind in body.contents()}
        return PublishedVersionView(versions=versions, changes=_changes(edit))

    def check(body: Any) -> DocumentCheckView:
        edit = SiteEdit(body.contents(), replace=True)
        with refusals():
            checked = context.site.checked(edit)
        rules = checked[RULES].document.get("rule", []) if RULES in checked else []
        return DocumentCheckView(
            changes=_changes(edit),
            examples=sum(len(rule.get("example", [])) for rule in rules),
            doubts=list(doubts(build(checked).rules)) if RULES in checked else [],
        )

    words = {RULES: "the rules", NODES: "the nodes", "site": "nodes and rules"}[name]
    publish.__annotations__["body"] = check.__annotations__["body"] = body_type
    for method in ("PUT", "POST"):
        routes.add_api_route(
            f"/{name}",
            publish,
            methods=[method],
            status_code=200 if method == "PUT" else 201,
            dependencies=[NEEDS[Right.SITE]],
            tags=[name],
            responses=_REFUSED,
            name=f"publish_{name}_{method.lower()}",
            operation_id=f"publish_{name}_{method.lower()}",
            description=f"Put a new version of {words} in force, in every process within a second. With If-Match only "
            "if that version is still the one in force.",
        )
    routes.add_api_route(
        f"/{name}/check",
        check,
        methods=["POST"],
        dependencies=[NEEDS[Right.SITE]],
        tags=[name],
        responses={422: _REFUSED[422]},
        name=f"check_{name}",
        operation_id=f"check_{name}",
        description=f"Check {words} beside what is in force, and say what they would change. Nothing is stored.",
    )


def _versions(routes: APIRouter, context: AdminContext, kind: str) -> None:
    @routes.get(f"/{kind}/history", tags=[kind], operation_id=f"history_{kind}")
    def history(limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> list[PublicationView]:
        """List the versions, newest first."""
        return [_publication(entry) for entry in context.site.history(kind, limit)]

    @routes.get(f"/{kind}/versions/{{number}}", tags=[kind], operation_id=f"version_{kind}")
    def version(number: Annotated[int, Path(ge=1, le=MAX_NUMBER)]) -> DocumentView:
        """Show one version."""
        with refusals():
            return _document(context, kind, number)

    @routes.get(f"/{kind}/diff", tags=[kind], operation_id=f"diff_{kind}", responses=_NO_VERSION)
    def diff(
        before: Annotated[int, Query(alias="from", ge=0, le=MAX_NUMBER, description="0: nothing yet")],
        after: Annotated[int, Query(alias="to", ge=0, le=MAX_NUMBER)],
    ) -> list[ChangeView]:
        """Say in words what differs between two versions."""
        with refusals():
            return [
                change_view(one)
                for one in difference(kind, _stored(context, kind, before), _stored(context, kind, after))
            ]

    @routes.post(
        f"/{kind}/rollback",
        dependencies=[NEEDS[Right.SITE]],
        tags=[kind],
        status_code=201,
        responses={**_REFUSED, **_NO_VERSION},
        operation_id=f"rollback_{kind}",
    )
    def rollback(
        body: DocumentRollbackBody, request: Request, response: Response, if_match: IfVersion = None
    ) -> PublishedVersionView:
        """Put an older version in force again, as a new version."""
        expected = _expected(if_match, kind)
        before = context.site.stored().get(kind)
        with refusals(conflict=412 if expected else 409):
            number = context.site.rollback(kind, body.version, body.signature(request), expected=expected)
            now = context.site.at_version(kind, number).document
        response.headers["ETag"] = f'"{number}"'
        changes = difference(kind, before.document if before is not None else _empty(kind), now)
        return PublishedVersionView(versions={kind: number}, changes=[change_view(one) for one in changes])


def in_force(context: AdminContext, kind: str) -> int:
    """The number of the version in force, 0 for none. Raises StoreUnavailable."""
    version = context.site.stored().get(kind)
    return version.version if version is not None else 0


def _empty(kind: str) -> Any:
    return [] if kind == NODES else {}


def _stored(context: AdminContext, kind: str, number: int) -> Any:
    return context.site.at_version(kind, number).document if number else _empty(kind)


def _document(context: AdminContext, kind: str, number: int) -> DocumentView:
    """Raises NoSuchVersion."""
    entry = context.site.publication(kind, number) or Publication(kind=kind, version=number)
    return DocumentView(**asdict(entry), document=masked(_stored(context, kind, number)))


def _publication(entry: Publication) -> PublicationView:
    return PublicationView(**asdict(entry))


def change_view(one: Difference) -> ChangeView:
    """A difference in words and in its parts."""
    return ChangeView(
        words=one.words, thing=one.thing, kind=one.kind.value, key=one.key, before=one.before, after=one.after
    )


def _changes(edit: SiteEdit) -> list[ChangeView]:
    return [change_view(one) for one in edit.differences]


def _expected(if_match: str | None, kind: str) -> Mapping[str, int] | None:
    """The version that If-Match names. Raises Problem."""
    number = version_of(if_match, "the rules or nodes")
    if number is not None and kind == "site":
        raise Problem(412, "If-Match: both documents at once have no ETag")
    return None if number is None else {kind: number}


def version_of(if_match: str | None, what: str) -> int | None:
    """The version that an If-Match header names; None for any (RFC 9110 13.1.1). Raises Problem."""
    value = "*" if if_match is None else if_match.strip()
    if value == "*":
        return None
    if (tag := _TAG.fullmatch(value)) is None:
        raise Problem(412, f"If-Match: an ETag of {what}")
    return int(tag[1])
