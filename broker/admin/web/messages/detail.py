"""The page of one message: as it came and by segment and field, the answer, and what it changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from broker.accounts.roles import Right
from broker.admin.context import AdminContext
from broker.admin.problems import Problem
from broker.admin.routers import page_router
from broker.admin.viewing import shows, viewing_of
from broker.admin.web import shell
from broker.admin.web.messages import words
from broker.admin.web.messages.links import exam_path
from broker.admin.web.words import Sentence
from broker.audit import actions
from broker.model.message import Direction, JournalRow, MessageRecord
from broker.orders.journal.anatomy import Anatomy
from broker.orders.journal.reading import JournalReader
from broker.store.journal.linked import MessageEffect

MOST_TEXT = 100_000  # characters of a text that are shown
Row = Annotated[int, Path(ge=1, lt=1 << 63)]


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectLine:
    """What a message changed, in words; `path` leads to the exam."""

    effect: MessageEffect
    deed: Sentence | None
    thing: Sentence | None
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageDetailView:
    """A message. `record` is a received one or a sent one; `exam` of a sent one; `cut`: a text is longer than shown."""

    record: JournalRow
    incoming: bool
    at: float
    pill: tuple[str, Sentence]
    text: str
    reply: str
    cut: bool
    anatomy: Anatomy
    effects: list[EffectLine]
    profile: str
    event: Sentence | None
    exam: str
    accession: str
    uses: dict[str, Sentence]


def router(context: AdminContext) -> APIRouter:
    """The routes of the page."""
    routes = page_router(Right.MESSAGES)
    reader = JournalReader(context.database, context.settings, context.directory, context.mappings)

    @routes.get("/messages/sent/{row}", dependencies=[shows("message")])
    def sent(request: Request, row: Row) -> Response:
        found = reader.sent(row)
        if found is None:
            raise Problem(404, "No such message")
        viewing_of(request).more["journal"] = Direction.OUT.value
        view = _view(
            found.message,
            found.text,
            found.reply,
            found.anatomy,
            event=words.EVENTS.get(found.message.event),
            exam=exam_path(request, found.message.request),
            accession=found.accession,
        )
        return shell.render(request, "message", view)

    @routes.get("/messages/{row:int}", dependencies=[shows("message")])
    def received(request: Request, row: Row) -> Response:
        found = reader.received(row)
        if found is None:
            raise Problem(404, "No such message")
        viewing_of(request).patient = found.patient
        effects = [_effect(request, effect) for effect in found.effects]
        view = _view(found.record, found.text, found.reply, found.anatomy, effects=effects, profile=found.profile)
        return shell.render(request, "message", view)

    return routes


def _view(
    record: JournalRow,
    text: str,
    reply: str,
    anatomy: Anatomy,
    *,
    effects: list[EffectLine] | None = None,
    profile: str = "",
    event: Sentence | None = None,
    exam: str = "",
    accession: str = "",
) -> MessageDetailView:
    incoming = isinstance(record, MessageRecord)
    return MessageDetailView(
        record=record,
        incoming=incoming,
        at=record.received_at if isinstance(record, MessageRecord) else record.at,
        pill=words.answer_pill(record),
        text=text[:MOST_TEXT],
        reply=reply[:MOST_TEXT],
        cut=len(text) > MOST_TEXT or len(reply) > MOST_TEXT,
        anatomy=anatomy,
        effects=effects or [],
        profile=profile,
        event=event,
        exam=exam,
        accession=accession,
        uses={use.value: word for use, word in words.USES.items()},
    )


def _effect(request: Request, effect: MessageEffect) -> EffectLine:
    return EffectLine(
        effect=effect,
        deed=actions.deed(effect.action),
        thing=actions.THINGS.get(effect.kind),
        path=exam_path(request, effect.object_id) if effect.kind == "order" else "",
    )
