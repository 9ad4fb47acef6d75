"""Shows what is told to a RIS of an exam, with what became of it, and tells it again with a reason."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from fastapi.concurrency import run_in_threadpool

from broker.accounts.roles import Right
from broker.admin.context import AdminContext
from broker.admin.routers import page_router
from broker.admin.viewing import SHOWS_NOTHING
from broker.admin.web import forms, shell
from broker.admin.web.messages import words
from broker.admin.web.words import Sentence
from broker.model.lane import JobState
from broker.orders.journal import sending
from broker.status.causes import reason
from broker.store.journal.sent import FeedbackJob

REASON = range(3, 501)  # characters
Row = Annotated[int, Path(ge=1, lt=1 << 63)]
STATES = {
    JobState.READY: ("warn", Sentence("waits")),
    JobState.LEASED: ("", Sentence("is being sent")),
    JobState.DONE: ("ok", Sentence("heard")),
    JobState.HELD: ("bad", Sentence("held")),
    JobState.DISCARDED: ("", Sentence("given up")),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackLine:
    """Something that a RIS is told. `why`: what the last try came to, if it was not heard."""

    job: FeedbackJob
    event: Sentence | None
    pill: tuple[str, Sentence]
    why: Sentence | None


def lines(context: AdminContext, order: int) -> list[FeedbackLine]:
    """What RISs are told of an order (row), the newest first."""
    nodes = [node.name for node in context.directory.subscribers()]
    return [_line(job) for job in context.database.read(sending.jobs_of, order, nodes).result()]


def _line(job: FeedbackJob) -> FeedbackLine:
    heard = job.state is JobState.DONE
    return FeedbackLine(
        job=job,
        event=words.EVENTS.get(job.event),
        pill=STATES[job.state],
        why=reason(job.error) if job.error and not heard else None,
    )


def router(context: AdminContext) -> APIRouter:
    """The route that tells a RIS again."""
    routes = page_router(Right.MESSAGES)

    @routes.post("/messages/feedback/{job}/again", dependencies=[SHOWS_NOTHING])
    async def again(request: Request, job: Row) -> Response:
        form = await forms.read(request)
        why, back = form.get("reason"), form.get("exam")
        order = await run_in_threadpool(_again, context, request, job, why) if len(why) in REASON else None
        if len(why) not in REASON:
            note = Sentence("Say why, in 3 to 500 characters. Nothing was sent.")
        elif order is None:
            note = Sentence("This cannot be sent again: it has not ended, or is not there any more.")
        else:
            note = Sentence("It is sent again. The answer will stand in the list.")
        known = order if order is not None else int(back) if back.isdigit() and len(back) < 19 else None
        return shell.go("/messages" if known is None else f"/messages?exam={known}", note)

    return routes


def _again(context: AdminContext, request: Request, job: int, why: str) -> int | None:
    who, where = request.state.actor, request.state.address
    order = context.database.execute(sending.send_again, job, why, who, time.time(), where)
    if order is not None:
        context.wake()
    return order
