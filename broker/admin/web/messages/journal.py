"""The page of the journal: messages received and sent as one list, with filters; found by a number that somebody types.

A number of an exam or a patient belongs into no address. It is sent in a body and turned into our own numbers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from broker.accounts.roles import Right
from broker.admin.context import AdminContext
from broker.admin.routers import page_router
from broker.admin.viewing import SHOWS_NOTHING, shows, viewing_of
from broker.admin.web import forms, shell
from broker.admin.web.listing import CAP, NOTHING, Asked, Listing, Picked
from broker.admin.web.messages import feedback, filters, words
from broker.admin.web.messages.feedback import FeedbackLine
from broker.admin.web.messages.links import exam_path, message_path
from broker.admin.web.shell import PageLink
from broker.admin.web.words import Sentence
from broker.hl7.reply import ToldFinding, read_reply
from broker.model.message import Direction, JournalRow, MessageRecord, Refusal
from broker.orders.journal import finding
from broker.orders.journal.finding import ListedMessages, Subject
from broker.store.db import newest

LINK = PageLink(title=Sentence("Messages"), path="/messages", icon="messages", right=Right.MESSAGES)
FEW = 3  # findings that are shown of a message in the list


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalLine:
    """A message in words. `more`: findings that are not shown. `exam`: the address of the exam of a sent one."""

    row: JournalRow
    at: float
    incoming: bool
    path: str
    pill: tuple[str, Sentence]
    told: tuple[ToldFinding, ...]
    more: int
    event: Sentence | None
    exam: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalView:
    """The messages of one page. `subject`: whose they are, if not everybody's; `farther` as in the audit trail.

    `jobs`: what is told to a RIS of the one exam that they are about. `problem`: why nothing was changed; `reason` and
    `picked`: what was typed and picked before.
    """

    listing: Listing[JournalLine]
    tabs: list[tuple[Sentence, str, bool]]
    subject: Sentence | None
    exam: str
    farther: float | None
    jobs: list[FeedbackLine]
    problem: Sentence | None
    errors: forms.FieldErrors
    reason: str
    picked: Picked


class JournalPages:
    """The page with the parts of the broker that it works on."""

    def __init__(self, context: AdminContext) -> None:
        self._context = context

    def show(
        self,
        request: Request,
        problem: Sentence | None = None,
        status: int = 200,
        errors: forms.FieldErrors | None = None,
        reason: str = "",
        picked: Picked = NOTHING,
    ) -> Response:
        """Draw the list that the query asks for."""
        asked = filters.checked(filters.table_of(request).ask(request.query_params))
        subject, context = filters.subject_of(asked.values), self._context
        after = newest.place_of(asked.after)
        found: ListedMessages = context.database.read(
            finding.listed, filters.wanted_of(context, asked.values), subject, after, filters.TABLE.size, CAP
        ).result()
        viewing = viewing_of(request)
        viewing.many(len(found.page.rows), asked.values)
        if subject.patients is not None and len(subject.patients) == 1:
            viewing.patient = subject.patients[0]
        page, one = found.page, subject.orders[0] if subject.orders is not None and len(subject.orders) == 1 else None
        view = JournalView(
            listing=Listing(
                asked=asked,
                rows=[_line(request, row) for row in page.rows],
                total=found.total,
                next_key="" if page.after is None else newest.place_text(page.after),
                uncounted=not found.whole,
            ),
            tabs=list(_tabs(asked, datetime.now(context.settings.zone()).date())),
            subject=_whose(subject),
            exam="" if one is None else exam_path(request, one),
            farther=page.after[0] if page.after is not None and len(page.rows) < filters.TABLE.size else None,
            jobs=[] if one is None else feedback.lines(context, one),
            problem=problem,
            errors=errors or {},
            reason=reason,
            picked=picked,
        )
        return shell.render(request, "messages", view, status)


def router(context: AdminContext) -> APIRouter:
    """The routes of the page."""
    routes, pages = page_router(Right.MESSAGES), JournalPages(context)

    @routes.get("/messages", dependencies=[shows("message")])
    def page(request: Request) -> Response:
        return pages.show(request)

    @routes.post("/messages/find", dependencies=[SHOWS_NOTHING])
    async def find(request: Request) -> Response:
        typed = (await forms.read(request)).get("number")[:250]
        subject = await run_in_threadpool(_found, context, typed) if typed else None
        if subject is None:
            return shell.go("/messages", Sentence("No message here is known by this number."))
        if subject.only is not None and len(subject.only) == 1:
            return shell.go(f"/messages/{subject.only[0]}")
        return shell.go(f"/messages?{urlencode(_numbers(subject))}")

    return routes


def _found(context: AdminContext, typed: str) -> Subject | None:
    found: Subject | None = context.database.read(finding.by_text, typed).result()
    return found


def _numbers(subject: Subject) -> dict[str, str]:
    given = {"exam": subject.orders, "patient": subject.patients, "only": subject.only}
    return {name: ".".join(map(str, rows[:64])) for name, rows in given.items() if rows}


def _whose(subject: Subject) -> Sentence | None:
    if subject.orders is not None:
        return Sentence("Messages of one exam")
    if subject.patients is not None:
        return Sentence("Messages of one patient")
    return Sentence("Refused messages with the number that you typed") if subject.only is not None else None


def _tabs(asked: Asked, today: date) -> Iterable[tuple[Sentence, str, bool]]:
    """The lists that are asked for most."""
    for title, query in (
        (Sentence("All"), {}),
        (Sentence("Refused today"), refused_today(today)),
        (Sentence("All that wait for a person"), {"state": Refusal.OPEN.value}),
        (Sentence("Sent to a RIS"), {"direction": Direction.OUT.value}),
    ):
        path = f"{filters.TABLE.path}?{urlencode(query)}" if query else filters.TABLE.path
        yield title, path, dict(asked.values) == query


def refused_today(today: date) -> dict[str, str]:
    """The query of the list of messages that were refused today, and that nobody has dealt with."""
    return {"state": Refusal.OPEN.value, "since": today.isoformat()}


def _line(request: Request, row: JournalRow) -> JournalLine:
    told = read_reply(row.answer).findings if row.answer else ()
    incoming = isinstance(row, MessageRecord)
    return JournalLine(
        row=row,
        at=row.received_at if isinstance(row, MessageRecord) else row.at,
        incoming=incoming,
        path=message_path(row),
        pill=words.answer_pill(row),
        told=told[:FEW],
        more=max(0, len(told) - FEW),
        event=None if isinstance(row, MessageRecord) else words.EVENTS.get(row.event),
        exam="" if isinstance(row, MessageRecord) else exam_path(request, row.request),
    )
