"""Serves `/api/v1/messages`: the journal of received HL7 messages, each with its answer and its text."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, Field

from broker.accounts.roles import Right
from broker.admin.bodies import Moment
from broker.admin.context import AdminContext
from broker.admin.problems import Problem
from broker.admin.routers import admin_router
from broker.admin.viewing import shows, viewing_of
from broker.hl7.reply import read_reply
from broker.model.message import MessageRecord, MessageSelection
from broker.orders.interfaces import interfaces_of
from broker.orders.trying.reading import text_of
from broker.store.audit import trail
from broker.store.orders import messages


class MessageView(BaseModel):
    """A received message. `received_at` in s since the epoch; `findings` as they were told in words."""

    row: int
    received_at: float
    listener: str
    peer: str
    sender: str = Field(description="MSH-3|MSH-4")
    control_id: str
    message_type: str
    answer: str = Field(description="The code it was answered; `none` for silence")
    findings: list[str]
    note: str


class MessageText(MessageView):
    """A message with its text: a line for each segment, decoded as its sender's messages are read."""

    text: str
    reply: str


def router(context: AdminContext) -> APIRouter:
    """Routes under /api/v1/messages, for admins; texts hold patient data. They run in threads: a text may be long."""
    routes = admin_router("/api/v1/messages", Right.MESSAGES, tags=["messages"])
    database = context.database

    @routes.get("", dependencies=[shows("message")])
    def journal(
        request: Request,
        since: Annotated[Moment, Query(description="Received since (s since the epoch)")] = 0,
        until: Annotated[Moment | None, Query(description="Received before")] = None,
        sender: Annotated[str, Query(max_length=500, description="MSH-3, or MSH-3|MSH-4")] = "",
        message_type: Annotated[str, Query(max_length=50, description="ORM, or ORM^O01")] = "",
        answer: Annotated[str, Query(max_length=4, description="AA, AE, AR …")] = "",
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> list[MessageView]:
        """List received messages, the newest first."""
        selection = MessageSelection(
            since=since, until=until, sender=sender, message_type=message_type, answer_code=answer, limit=limit
        )
        found = database.read(messages.records, selection).result()
        viewing_of(request).many(len(found))
        return [MessageView.model_validate(_shown(record)) for record in found]

    @routes.get("/{row}", dependencies=[shows("message")])
    def message(request: Request, row: Annotated[int, Path(ge=1, lt=1 << 63)]) -> MessageText:
        """Show a message with its text and the answer to it."""
        record = database.read(messages.load_record, row).result()
        if record is None:
            raise Problem(404, "No such message")
        interfaces = interfaces_of(context.settings, context.directory.knows_sender)
        text = text_of(record.raw, record.listener, interfaces, context.mappings.profiles)
        reply = text_of(record.answer, record.listener, interfaces, context.mappings.profiles)
        if number := patient_number(text):
            patients = database.read(trail.patients, number).result()
            viewing_of(request).patient = patients[0] if len(patients) == 1 else None
        return MessageText.model_validate({**_shown(record), "text": text, "reply": reply})

    return routes


def patient_number(text: str) -> str:
    """The first identifier in PID-3 of a message as it is shown, a line for each segment; empty for none."""
    head = next((line for line in text.splitlines() if line.startswith("MSH")), "")
    field, component, repetition = head[3:4], head[4:5], head[5:6]
    pid = next((line for line in text.splitlines() if field and line.startswith(f"PID{field}")), "")
    values = pid.split(field) if pid else []
    first = values[3].partition(repetition)[0] if len(values) > 3 and repetition else ""
    return first.partition(component)[0].strip()[:250] if component else ""


def _shown(record: MessageRecord) -> dict[str, object]:
    return {
        "row": record.row,
        "received_at": record.received_at,
        "listener": record.listener,
        "peer": record.peer,
        "sender": record.sender,
        "control_id": record.control_id,
        "message_type": record.message_type,
        "answer": record.answer_code,
        "findings": list(read_reply(record.answer).lines) if record.answer else [],
        "note": record.note,
    }
