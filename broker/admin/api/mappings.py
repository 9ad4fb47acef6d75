"""Serves mapping profiles over REST: list, check, publish, roll back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated, Any, TypedDict

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, ConfigDict, Field

from broker.accounts.roles import Right
from broker.admin.api.routing.site import MAX_NUMBER, IfVersion, SignedBody, version_of
from broker.admin.context import AdminContext, profiles_of
from broker.admin.problems import FieldError, Problem
from broker.admin.routers import NEEDS, admin_router
from broker.errors import ConfigurationError
from broker.orders.mapping_versions import ExamplesFailed
from broker.versions.in_force import Conflict

_REFUSED: dict[int | str, dict[str, Any]] = {
    409: {"description": "Others publish at the same time"},
    412: {"description": "The version in force is not that of If-Match"},
    422: {"description": "The profile cannot be used, or examples do not come out as they say"},
}
Toml = Annotated[str, Field(max_length=1024 * 1024, description="A mapping profile as TOML")]


class DraftBody(BaseModel):
    """A body whose values no refusal repeats."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class ProfileBody(DraftBody):
    """A profile to check."""

    toml: Toml


class PublishProfileBody(SignedBody):
    """A profile to publish, why, and on whose behalf."""

    toml: Toml


class RollbackProfileBody(SignedBody):
    """The version that is to be in force again, why, and on whose behalf.

    0 is the built-in profile. Without a number it is the version before the one in force.
    """

    version: Annotated[int, Field(ge=0, le=MAX_NUMBER)] | None = None


class MappingView(BaseModel):
    """A profile in force: when, by which way, on whose behalf and why it was published.

    Version 0 is a built-in one, `at` seconds since the epoch. `listeners` take their messages by it where no profile
    claims the sender.
    """

    name: str
    version: int
    description: str
    extends: str
    senders: list[str]
    stations: int
    examples: int
    at: float
    source: str
    author: str
    reason: str
    listeners: list[str]


class VersionView(BaseModel):
    """One version of a profile: when, by which way, on whose behalf, and why."""

    version: int
    at: float
    source: str
    author: str
    reason: str


class CheckedView(BaseModel):
    """A profile that may be published."""

    name: str
    examples: int
    unchanged: bool


class PublishedView(BaseModel):
    """A profile that is in force now."""

    name: str
    version: int


def router(context: AdminContext) -> APIRouter:
    """Routes under /api/v1/mappings."""
    routes = admin_router("/api/v1", Right.STATUS, tags=["mappings"])
    _publishing(routes, context)
    return routes


def _publishing(routes: APIRouter, context: AdminContext) -> None:
    published = context.mappings

    @routes.get("/mappings")
    def in_force() -> list[MappingView]:
        """List all mapping profiles in force."""
        return [MappingView.model_validate(asdict(profile)) for profile in profiles_of(context)]

    @routes.post("/mappings", dependencies=[NEEDS[Right.MAPPINGS]], status_code=201, responses=_REFUSED)
    def publish(body: PublishProfileBody, request: Request, if_match: IfVersion = None) -> PublishedView:
        """Put a profile in force, if all examples come out as they say; it reads the next message.

        With If-Match only if that version of it is still in force.
        """
        expected, actor = version_of(if_match, "the profile"), request.state.actor
        with mapping_refusals(conflict=409 if expected is None else 412):
            name, version = published.publish(body.toml, actor, expected=expected, **_signed(body, request))
        return PublishedView(name=name, version=version)

    @routes.post("/mappings/check", dependencies=[NEEDS[Right.MAPPINGS]])
    def check(body: ProfileBody) -> CheckedView:
        """Read a profile and run all examples without putting it in force.

        What is wrong is told with its line: `line 12/values.Modality`.
        """
        with mapping_refusals():
            checked = published.draft(body.toml)
        if checked.wrong:
            errors = [FieldError(f"line {one.line}/{one.key}", str(one)) for one in checked.wrong]
            raise Problem(422, "The profile cannot be published as it is", errors)
        return CheckedView(name=checked.name, examples=len(checked.examples), unchanged=checked.unchanged)

    @routes.get("/mappings/{name}", response_class=PlainTextResponse)
    def export(name: str, response: Response, version: Annotated[int, Field(ge=0, le=MAX_NUMBER)] | None = None) -> str:
        """Print a profile as TOML, that in force or an older version. The ETag is the version."""
        with mapping_refusals(404):
            number = published.history(name)[0].version if version is None else version
            text = published.export(name, number)
        response.headers["ETag"] = f'"{number}"'
        return text

    @routes.get("/mappings/{name}/history")
    def history(name: str) -> list[VersionView]:
        """List all versions of a profile, newest first."""
        with mapping_refusals(404):
            return [VersionView.model_validate(asdict(entry)) for entry in published.history(name)]

    @routes.post("/mappings/{name}/rollback", dependencies=[NEEDS[Right.MAPPINGS]], status_code=201, responses=_REFUSED)
    def rollback(name: str, body: RollbackProfileBody, request: Request, if_match: IfVersion = None) -> PublishedView:
        """Put an older version in force again, as a new version. Without a number: undo, back to the one before.

        With If-Match only if that version is still in force.
        """
        expected, actor = version_of(if_match, "the profile"), request.state.actor
        if body.version is not None:
            with mapping_refusals(404):
                published.export(name, body.version)
        with mapping_refusals(conflict=409 if expected is None else 412):
            version = published.rollback(name, body.version, actor, expected=expected, **_signed(body, request))
        return PublishedView(name=name, version=version)


class _Signed(TypedDict):
    author: str
    reason: str
    address: str


def _signed(body: SignedBody, request: Request) -> _Signed:
    return {"author": body.author, "reason": body.reason, "address": request.state.address}


@contextmanager
def mapping_refusals(status: int = 422, conflict: int = 409) -> Iterator[None]:
    """Answer a profile that cannot be used, does not exist, or was published by somebody else meanwhile."""
    try:
        yield
    except Conflict as error:
        raise Problem(conflict, str(error)) from None
    except ExamplesFailed as error:
        raise Problem(422, str(error), [FieldError("example", text) for text in error.failures[:100]]) from None
    except ConfigurationError as error:
        raise Problem(status, str(error)) from None
