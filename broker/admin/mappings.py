"""REST of mapping profiles: list, check, publish, roll back; try messages by them, run stored messages again."""

from __future__ import annotations

from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, ConfigDict, Field

Toml = Annotated[str, Field(max_length=1024 * 1024, description="A mapping profile as TOML")]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class ProfileBody(_Body):
    """A profile to check or to publish."""

    toml: Toml


class RollbackBody(_Body):
    """The version that is to be in force again; 0 is the built-in profile."""

    version: Annotated[int, Field(ge=0)]


class MappingBody(_Body):
    """By which profile: a name in force, a profile as TOML, or neither: as the sender is served."""

    mapping: Annotated[str, Field(max_length=64)] = ""
    toml: Toml = ""


class TestBody(MappingBody):
    """A message, one segment per line."""

    message: Annotated[str, Field(max_length=1024 * 1024)]


class ReplayBody(MappingBody):
    """Messages of the journal by their numbers, or by time (s since the epoch), sender, type and answer."""

    rows: Annotated[list[int], Field(max_length=500)] = []
    since: float = 0
    until: float | None = None
    sender: Annotated[str, Field(max_length=500)] = ""
    message_type: Annotated[str, Field(max_length=50)] = ""
    answer_code: Annotated[str, Field(max_length=2)] = ""
    limit: Annotated[int, Field(ge=1, le=500)] = 100
    write: bool = False


class MappingView(BaseModel):
    """A profile in force; version 0 is a built-in one, `at` seconds since the epoch."""

    name: str
    version: int
    description: str
    extends: str
    senders: list[str]
    stations: int
    examples: int
    at: float
    source: str


class VersionView(BaseModel):
    """One version of a profile."""

    version: int
    at: float
    source: str


class CheckedView(BaseModel):
    """A profile that may be published."""

    name: str
    examples: int
    unchanged: bool


class PublishedView(BaseModel):
    """A profile that is in force now."""

    name: str
    version: int


class FindingView(BaseModel):
    """What is wrong with a message, and where (as in ERR-2)."""

    location: str
    code: str
    text: str
    severity: str


class OriginView(BaseModel):
    """Where an attribute got its value: `how` is message, table, default, station or identifiers."""

    keyword: str
    value: Any
    how: str
    path: str
    location: str
    raw: str
    note: str


class PartView(BaseModel):
    """The patient, an order, a step, or what is added to a worklist entry."""

    title: str
    rows: list[OriginView]


class TestView(BaseModel):
    """What a message would be answered if nothing were stored yet, and where each attribute comes from."""

    profile: str
    code: str
    findings: list[FindingView]
    parts: list[PartView]


class DifferenceView(BaseModel):
    """An attribute of a worklist entry before and after; step 0 is a new one."""

    step: int
    keyword: str
    before: Any
    after: Any


class ReplayedView(BaseModel):
    """A stored message that was run again: the code it got when it came, the one it gets now, and what changes."""

    message: int
    received_at: float
    sender: str
    message_type: str
    answered: str
    code: str
    profile: str
    new_steps: int
    findings: list[FindingView]
    differences: list[DifferenceView]


class Desk(Protocol):
    """What the broker can do with mappings. Each raises `Problem`."""

    def in_force(self) -> list[MappingView]:
        """All profiles in force."""
        ...

    def check(self, body: ProfileBody) -> CheckedView:
        """Read a profile and run its examples."""
        ...

    def publish(self, body: ProfileBody, actor: str) -> PublishedView:
        """Put a profile in force."""
        ...

    def export(self, name: str, version: int | None) -> str:
        """A profile as TOML."""
        ...

    def history(self, name: str) -> list[VersionView]:
        """Versions of a profile."""
        ...

    def rollback(self, name: str, body: RollbackBody, actor: str) -> PublishedView:
        """Put an older version in force."""
        ...

    def test(self, body: TestBody) -> TestView:
        """Explain a message."""
        ...

    def replay(self, body: ReplayBody, actor: str) -> list[ReplayedView]:
        """Run stored messages again."""
        ...


def router(desk: Desk) -> APIRouter:
    """Routes under /api/v1/mappings and /api/v1/messages, for admins."""
    routes = APIRouter(prefix="/api/v1", tags=["mappings"])

    @routes.get("/mappings")
    def in_force() -> list[MappingView]:
        """All mapping profiles in force."""
        return desk.in_force()

    @routes.post("/mappings", status_code=201)
    def publish(body: ProfileBody, request: Request) -> PublishedView:
        """Put a profile in force, if all examples come out as they say; it reads the next message."""
        return desk.publish(body, request.state.actor)

    @routes.post("/mappings/check")
    def check(body: ProfileBody) -> CheckedView:
        """Read a profile and run all examples without putting it in force."""
        return desk.check(body)

    @routes.get("/mappings/{name}", response_class=PlainTextResponse)
    def export(name: str, version: int | None = None) -> str:
        """A profile as TOML, that in force or an older version."""
        return desk.export(name, version)

    @routes.get("/mappings/{name}/history")
    def history(name: str) -> list[VersionView]:
        """All versions of a profile, newest first."""
        return desk.history(name)

    @routes.post("/mappings/{name}/rollback", status_code=201)
    def rollback(name: str, body: RollbackBody, request: Request) -> PublishedView:
        """Put an older version in force again, as a new version."""
        return desk.rollback(name, body, request.state.actor)

    @routes.post("/messages/test")
    def test(body: TestBody) -> TestView:
        """Run a message through a mapping without storing anything: the answer, and the origin of each attribute."""
        return desk.test(body)

    @routes.post("/messages/replay")
    def replay(body: ReplayBody, request: Request) -> list[ReplayedView]:
        """Run stored messages again; what would change, or with `write` what has changed."""
        return desk.replay(body, request.state.actor)

    return routes
