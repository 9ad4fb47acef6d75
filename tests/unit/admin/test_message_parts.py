"""What the pages and REST of messages say: states in words, filters, addresses, and views of both journals."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from fastapi import Request

from broker.accounts.roles import RIGHTS, Right, UserRole
from broker.admin.api.messages.views import MessageView, SentView, view_of
from broker.admin.context import AdminContext
from broker.admin.web.messages import filters, words
from broker.admin.web.messages.links import exam_path, message_path
from broker.admin.web.shell import PageLink
from broker.admin.web.words import Language, Sentence
from broker.model.message import Direction, MessageRecord, Refusal, SentMessage
from broker.orders.telling.feedback import OrderEvent
from broker.settings import load

ENGLISH = Language("en", load().zone())
RECEIVED = MessageRecord(
    row=5,
    received_at=1.0,
    listener="hl7",
    peer="10.0.0.1:4",
    sender="RIS|H",
    control_id="M1",
    message_type="ORM^O01",
    accepted=True,
    answer_code="AA",
    answer=b"",
    note="",
)
SENT = SentMessage(
    row=6,
    at=2.0,
    node="ris",
    request=7,
    job=8,
    event="completed",
    control_id="C1",
    message_type="ORM^O01",
    answer_code="AA",
    answer=b"",
    error="",
)
REFUSED = replace(RECEIVED, accepted=False, answer_code="AE")
DEALT = replace(REFUSED, dealt_at=3.0, dealt_by="user:anna", dealt_note="typed in")


@pytest.mark.parametrize(
    ("row", "tone", "text"),
    [
        (RECEIVED, "ok", "AA: taken"),
        (replace(RECEIVED, answer_code="none"), "ok", "taken, no answer"),
        (REFUSED, "bad", "AE: refused"),
        (DEALT, "", "AE: dealt with"),
        (SENT, "ok", "AA: heard"),
        (replace(SENT, answer_code="AE"), "bad", "AE: refused"),
        (replace(SENT, answer_code="", error="timeout"), "warn", "no answer"),
    ],
)
def test_the_state_of_a_message(row: MessageRecord | SentMessage, tone: str, text: str) -> None:
    found = words.answer_pill(row)
    assert (found[0], ENGLISH.say(found[1])) == (tone, text)


def test_every_event_has_words() -> None:
    assert set(words.EVENTS) == {event.value for event in OrderEvent}


def test_addresses() -> None:
    assert (message_path(RECEIVED), message_path(SENT)) == ("/messages/5", "/messages/sent/6")

    def asked(role: UserRole, *links: PageLink) -> Request:
        state = SimpleNamespace(shell=SimpleNamespace(links=links))
        made: Any = SimpleNamespace(app=SimpleNamespace(state=state), state=SimpleNamespace(rights=RIGHTS[role]))
        return cast(Request, made)

    exams = PageLink(title=Sentence("Exams"), path="/exams", icon="x", right=Right.PATIENTS)
    assert exam_path(asked(UserRole.ADMIN, exams), 7) == "/exams/7"
    assert exam_path(asked(UserRole.INTEGRATOR, exams), 7) == ""
    assert exam_path(asked(UserRole.ADMIN), 7) == ""


def test_what_filters_mean() -> None:
    context = cast(AdminContext, SimpleNamespace(settings=load()))
    query = {"state": "open", "since": "2030-03-12", "until": "2030-03-12", "finding": "x", "exam": "3.4", "only": "-1"}
    asked = filters.checked(filters.TABLE.ask(query))
    assert sorted(asked.values) == ["exam", "since", "state", "until"]
    assert list(asked.errors) == ["finding"]
    wanted = filters.wanted_of(context, asked.values)
    assert (wanted.refusal, wanted.direction) == (Refusal.OPEN, None)
    assert wanted.since is not None
    assert wanted.until == wanted.since + 86_400
    assert filters.subject_of(asked.values).orders == (3, 4)
    assert filters.wanted_of(context, {"direction": "out"}).direction is Direction.OUT


def test_rest_shows_both_journals() -> None:
    received, sent = view_of(DEALT), view_of(SENT)
    assert isinstance(received, MessageView)
    assert isinstance(sent, SentView)
    assert (received.direction, received.refused, received.dealt and received.dealt.note) == ("in", True, "typed in")
    assert (sent.direction, sent.node, sent.order, sent.answer) == ("out", "ris", 7, "AA")
    first = view_of(RECEIVED)
    assert isinstance(first, MessageView)
    assert first.dealt is None
