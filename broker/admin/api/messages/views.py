"""Says how REST shows messages: in a list, and one with its text, its fields and what it changed."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Literal

from pydantic import BaseModel, Field

from broker.hl7.reply import read_reply
from broker.model.message import JournalRow, MessageRecord, SentMessage
from broker.orders.journal.anatomy import Anatomy
from broker.orders.journal.reading import ReceivedDetail, SentDetail


class DealtView(BaseModel):
    """That a person has dealt with a refused message. `at` in s since the epoch."""

    at: float
    actor: str
    note: str


class MessageView(BaseModel):
    """A received message. `received_at` in s since the epoch; `findings` as they were told in words."""

    direction: Literal["in"] = "in"
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
    refused: bool
    dealt: DealtView | None


class SentView(BaseModel):
    """A message that was sent to a RIS, one row for each try. `at` in s since the epoch: when the answer came."""

    direction: Literal["out"] = "out"
    row: int
    at: float
    node: str
    order: int = Field(description="Our own number of the order that it tells of")
    job: int
    event: str
    control_id: str
    message_type: str
    answer: str = Field(description="The code it was answered; empty if no answer came")
    findings: list[str]
    error: str


class ToldView(BaseModel):
    """What the sender of a message was told, and where (as in ERR-2)."""

    severity: str
    code: str
    location: str
    text: str


class BecameView(BaseModel):
    """An attribute that a field became."""

    keyword: str
    value: str


class MessageFieldView(BaseModel):
    """A field with HL7's name for it. `use`: mapped, read (it decides about the message), unused."""

    number: int
    name: str
    text: str
    use: str
    became: list[BecameView]
    findings: list[ToldView]


class MessageSegmentView(BaseModel):
    """A segment with the fields that are not empty."""

    name: str
    title: str
    sequence: int
    fields: list[MessageFieldView]
    findings: list[ToldView]


class EffectView(BaseModel):
    """What a message changed: `action` on our object. `order` has its accession number."""

    at: float
    actor: str
    action: str
    kind: str
    object_id: int
    accession: str


class MessageText(MessageView):
    """A message with its text: a line for each segment, decoded as its sender's messages are read."""

    text: str
    reply: str
    profile: str
    segments: list[MessageSegmentView]
    effects: list[EffectView]


class SentText(SentView):
    """A message that was sent, with its text and that of the answer."""

    accession: str
    text: str
    reply: str
    segments: list[MessageSegmentView]


def view_of(row: JournalRow) -> MessageView | SentView:
    """A row of the journal."""
    if isinstance(row, MessageRecord):
        return MessageView.model_validate(_received(row))
    return SentView.model_validate(_sent(row))


def received_text(detail: ReceivedDetail) -> MessageText:
    """A received message with all that is known of it."""
    more = {
        "text": detail.text,
        "reply": detail.reply,
        "profile": detail.profile,
        "segments": _segments(detail.anatomy),
        "effects": [asdict(effect) for effect in detail.effects],
    }
    return MessageText.model_validate(_received(detail.record) | more)


def sent_text(detail: SentDetail) -> SentText:
    """A sent message with all that is known of it."""
    more = {"accession": detail.accession, "text": detail.text, "reply": detail.reply}
    return SentText.model_validate(_sent(detail.message) | more | {"segments": _segments(detail.anatomy)})


def _segments(anatomy: Anatomy) -> list[dict[str, Any]]:
    return [asdict(segment) for segment in anatomy.segments]


def _received(record: MessageRecord) -> dict[str, object]:
    dealt = {"at": record.dealt_at, "actor": record.dealt_by, "note": record.dealt_note}
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
        "refused": not record.accepted,
        "dealt": None if record.dealt_at is None else dealt,
    }


def _sent(message: SentMessage) -> dict[str, object]:
    return {
        "row": message.row,
        "at": message.at,
        "node": message.node,
        "order": message.request,
        "job": message.job,
        "event": message.event,
        "control_id": message.control_id,
        "message_type": message.message_type,
        "answer": message.answer_code,
        "findings": list(read_reply(message.answer).lines) if message.answer else [],
        "error": message.error,
    }
