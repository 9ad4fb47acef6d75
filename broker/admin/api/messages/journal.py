"""Serves `/api/v1/messages`: the journal of HL7 messages, received and sent, each with its answer and its text."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection

from broker.accounts.roles import Right
from broker.admin.api.messages.views import (
    MessageText,
    MessageView,
    SentText,
    SentView,
    received_text,
    sent_text,
    view_of,
)
from broker.admin.bodies import Moment, RowNumber
from broker.admin.context import AdminContext
from broker.admin.problems import Problem
from broker.admin.routers import admin_router
from broker.admin.viewing import shows, viewing_of
from broker.model.message import Direction, JournalFilter, Refusal
from broker.orders.journal import finding
from broker.orders.journal.finding import ListedMessages, Subject
from broker.orders.journal.reading import JournalReader
from broker.store.audit import trail
from broker.store.db import newest
from broker.store.journal import linked

_PLAIN = r"^[^\x00-\x1f\x7f]*$"
_Row = Annotated[int, Path(ge=1, lt=1 << 63)]


class MessageFilters(BaseModel):
    """Which messages: all that is given must fit."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    since: Annotated[Moment, Field(description="Not before (s since the epoch)")] = 0
    until: Annotated[Moment | None, Field(description="Before")] = None
    direction: Annotated[Literal["", "in", "out"], Field(description="Received (`in`) or sent (`out`)")] = ""
    state: Annotated[
        Literal["", "refused", "open", "dealt"],
        Field(description="Refused; those that wait for a person (`open`); those that somebody dealt with"),
    ] = ""
    sender: Annotated[
        str, Field(max_length=500, pattern=_PLAIN, description="MSH-3, or MSH-3|MSH-4; of a sent one the node")
    ] = ""
    message_type: Annotated[str, Field(max_length=50, pattern=_PLAIN, description="ORM, or ORM^O01")] = ""
    answer: Annotated[str, Field(max_length=4, pattern=_PLAIN, description="AA, AE, AR …")] = ""
    finding: Annotated[str, Field(pattern=r"^\d{0,4}$", description="Code of HL7 table 0357, like 101")] = ""
    order: Annotated[RowNumber | None, Field(description="Our own number of the order")] = None
    patient: Annotated[RowNumber | None, Field(description="Our own number of the patient")] = None
    after: Annotated[
        str, Field(max_length=60, pattern=rf"^({newest.PLACE})?$", description="From the link to the next page")
    ] = ""
    limit: Annotated[int, Field(ge=1, le=1000)] = 100

    def wanted(self) -> JournalFilter:
        """The filter that is meant."""
        return JournalFilter(
            direction=Direction(self.direction) if self.direction else None,
            refusal=Refusal(self.state) if self.state else None,
            since=self.since or None,
            until=self.until,
            party=self.sender,
            message_type=self.message_type,
            answer_code=self.answer,
            finding=self.finding,
        )


class MessageSearchBody(MessageFilters):
    """Which messages, also by numbers that belong into no URL."""

    AccessionNumber: Annotated[
        str, Field(max_length=250, pattern=_PLAIN, description="Or the placer or filler number of the order")
    ] = ""
    PatientID: Annotated[str, Field(max_length=250, pattern=_PLAIN)] = ""
    IssuerOfPatientID: Annotated[str, Field(max_length=64, pattern=_PLAIN)] = ""


def router(context: AdminContext) -> APIRouter:
    """Routes under /api/v1/messages. Texts hold patient data. They run in threads: a text may be long."""
    routes = admin_router("/api/v1/messages", Right.MESSAGES, tags=["messages"])
    database = context.database
    reader = JournalReader(database, context.settings, context.directory, context.mappings)

    @routes.get("", dependencies=[shows("message")])
    def journal(
        request: Request, response: Response, query: Annotated[MessageFilters, Query()]
    ) -> list[MessageView | SentView]:
        """List messages, the newest first. The header `Link` leads to the next page, also of a page that is short."""
        subject = Subject(
            orders=None if query.order is None else (query.order,),
            patients=None if query.patient is None else (query.patient,),
        )
        found = _listed(context, request, query, subject)
        if found.page.after is not None:
            given = query.model_dump(exclude_defaults=True) | {"after": newest.place_text(found.page.after)}
            response.headers["Link"] = f'</api/v1/messages?{urlencode(given)}>; rel="next"'
        return [view_of(row) for row in found.page.rows]

    @routes.post("/search", dependencies=[shows("message")])
    def search(request: Request, body: MessageSearchBody) -> list[MessageView | SentView]:
        """List messages, also by an accession number or by an identifier of a patient."""
        subject = database.read(_subject, body).result()
        return [view_of(row) for row in _listed(context, request, body, subject).page.rows]

    @routes.get("/sent/{row}", dependencies=[shows("message")])
    def sent(request: Request, row: _Row) -> SentText:
        """Show a message that was sent to a RIS, with its text and the answer."""
        detail = reader.sent(row)
        if detail is None:
            raise Problem(404, "No such message")
        viewing_of(request).more["journal"] = Direction.OUT.value
        return sent_text(detail)

    @routes.get("/{row}", dependencies=[shows("message")])
    def message(request: Request, row: _Row) -> MessageText:
        """Show a received message with its text and by segment and field, the answer, and what it changed."""
        detail = reader.received(row)
        if detail is None:
            raise Problem(404, "No such message")
        viewing_of(request).patient = detail.patient
        return received_text(detail)

    return routes


def _listed(context: AdminContext, request: Request, query: MessageFilters, subject: Subject) -> ListedMessages:
    after = newest.place_of(query.after)
    found: ListedMessages = context.database.read(
        finding.listed, query.wanted(), subject, after, query.limit, 0
    ).result()
    viewing = viewing_of(request)
    names = {name for name in query.model_fields_set if getattr(query, name)} - {"after", "limit"}
    viewing.many(len(found.page.rows), names)
    if subject.patients is not None and len(subject.patients) == 1:
        viewing.patient = subject.patients[0]
    return found


def _subject(connection: Connection, body: MessageSearchBody) -> Subject:
    """Whose messages a body means. A number that nobody has means no message. Raises Problem."""
    orders: tuple[int, ...] | None = None if body.order is None else (body.order,)
    patients: tuple[int, ...] | None = None if body.patient is None else (body.patient,)
    only: tuple[int, ...] | None = None
    if body.AccessionNumber:
        orders = linked.orders_with(connection, body.AccessionNumber)
        if not orders:  # what a refused message asks for is stored nowhere else
            orders, only = None, linked.refused_with(connection, body.AccessionNumber.encode(), finding.MOST)
    if body.PatientID or body.IssuerOfPatientID:
        if not body.PatientID:
            raise Problem(422, "IssuerOfPatientID goes with PatientID")
        patients = trail.patients(connection, body.PatientID, body.IssuerOfPatientID)
    return Subject(orders=orders, patients=patients, only=only)
