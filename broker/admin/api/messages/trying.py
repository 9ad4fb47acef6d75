"""Tries messages by a mapping over REST, and runs stored messages again."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import Base64Bytes, BaseModel, Field

from broker.accounts.roles import Right
from broker.admin.api.mappings import DraftBody, Toml, mapping_refusals
from broker.admin.bodies import Moment, RowNumber
from broker.admin.context import AdminContext
from broker.admin.routers import NEEDS, admin_router
from broker.admin.viewing import SHOWS_NOTHING, shows, viewing_of
from broker.model.message import MessageSelection
from broker.orders.interfaces import chosen, interfaces_of
from broker.orders.mapping.book import DEFAULT
from broker.orders.trying import preview
from broker.orders.trying.explanation import explain
from broker.orders.trying.profile_choice import ProfileChoice, choose
from broker.orders.trying.replay import replay as run_again


class MappingBody(DraftBody):
    """By which profile: a name in force, a profile as TOML, or neither: as the sender is served."""

    mapping: Annotated[str, Field(max_length=64)] = ""
    toml: Toml = ""

    @property
    def choice(self) -> ProfileChoice:
        """The profile that is meant."""
        return ProfileChoice(self.mapping, self.toml)


class TestBody(MappingBody):
    """A message, one segment per line, or its bytes; and the HL7 listener that takes it, without a name the first."""

    message: Annotated[str, Field(max_length=1024 * 1024)] = ""
    raw: Annotated[Base64Bytes, Field(max_length=1024 * 1024)] = b""
    listener: Annotated[str, Field(max_length=64)] = ""


class ReplayBody(MappingBody):
    """Messages of the journal by their numbers, or by time (s since the epoch), sender, type and answer.

    `force` is the reason why the checks of the interface (processing id, sender, receiver) do not count,
    `reason` why they are run again. Both stand in the audit trail.
    """

    rows: Annotated[list[RowNumber], Field(max_length=500, default_factory=list)]
    since: Moment = 0
    until: Moment | None = None
    sender: Annotated[str, Field(max_length=500)] = ""
    message_type: Annotated[str, Field(max_length=50)] = ""
    answer_code: Annotated[str, Field(max_length=2)] = ""
    limit: Annotated[int, Field(ge=1, le=500)] = 100
    write: bool = False
    force: Annotated[str, Field(max_length=500)] = ""
    reason: Annotated[str, Field(max_length=500)] = ""

    def selection(self) -> MessageSelection:
        """The messages that are meant."""
        return MessageSelection(
            rows=tuple(self.rows),
            since=self.since,
            until=self.until,
            sender=self.sender,
            message_type=self.message_type,
            answer_code=self.answer_code,
            limit=self.limit,
        )


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
    """What a message would be answered if nothing were stored yet, and where each attribute comes from.

    `sent` is the code that leaves (`none` for silence, `closed`), `ignored` says what the mapping leaves out,
    `limits` what was not looked at.
    """

    profile: str
    code: str
    sent: str
    acknowledgement: str
    ignored: str
    limits: str
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


def router(context: AdminContext) -> APIRouter:
    """Routes under /api/v1/messages, for admins."""
    routes = admin_router("/api/v1", Right.STATUS, tags=["mappings"])
    database, published, settings = context.database, context.mappings, context.settings

    @routes.post("/messages/test", dependencies=[NEEDS[Right.MESSAGES], SHOWS_NOTHING])
    def test(body: TestBody) -> TestView:
        """Run a message through a mapping without storing anything: the answer, and the origin of each attribute."""
        with mapping_refusals():
            interface = chosen(interfaces_of(settings, context.directory.knows_sender), body.listener)
            texts = published.texts() if body.toml else {}
            raw = body.raw or preview.as_bytes(body.message)
            profile = choose(body.choice, published.book, texts, raw, interface.profile or DEFAULT, interface.tolerance)
        raw = body.raw or preview.as_bytes(body.message, profile.reading.charset)
        station = settings.worklist.default_station
        explanation = explain(raw, profile, settings.zone(), interface=interface, default_station=station)
        return TestView.model_validate(asdict(explanation))

    @routes.post("/messages/replay", dependencies=[NEEDS[Right.MAPPINGS], shows("message", "replayed")])
    def replay(body: ReplayBody, request: Request) -> list[ReplayedView]:
        """Run stored messages again; what would change, or with `write` what has changed."""
        with mapping_refusals():
            bench = context.bench(request, body.choice, reason=body.reason, forced=body.force)
        replayed = run_again(database, body.selection(), bench, write=body.write)
        viewing_of(request).many(len(replayed), body.model_fields_set - {"limit"})
        return [ReplayedView.model_validate(asdict(message)) for message in replayed]

    return routes
