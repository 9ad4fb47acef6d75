"""Says states of messages and what feedback tells, in words."""

from __future__ import annotations

from collections.abc import Mapping

from broker.admin.web.words import Sentence
from broker.model.message import Direction, JournalRow, MessageRecord, Refusal
from broker.orders.journal.anatomy import FieldUse
from broker.orders.telling.feedback import OrderEvent

DIRECTIONS = {Direction.IN: Sentence("received"), Direction.OUT: Sentence("sent")}
REFUSALS = {
    Refusal.ANY: Sentence("refused"),
    Refusal.OPEN: Sentence("refused, waits for a person"),
    Refusal.DEALT: Sentence("refused, dealt with"),
}
EVENTS: Mapping[str, Sentence] = {
    OrderEvent.ARRIVED: Sentence("patient arrived"),
    OrderEvent.STARTED: Sentence("started"),
    OrderEvent.PARTIAL: Sentence("partly completed"),
    OrderEvent.COMPLETED: Sentence("completed"),
    OrderEvent.DISCONTINUED: Sentence("discontinued"),
    OrderEvent.CANCELLED: Sentence("cancelled"),
    OrderEvent.REOPENED: Sentence("reopened"),
    OrderEvent.IMAGES: Sentence("first images are there"),
}
USES = {
    FieldUse.READ: Sentence("read by the broker"),
    FieldUse.UNUSED: Sentence("not used"),
}


def answer_pill(row: JournalRow) -> tuple[str, Sentence]:
    """The state of a message: a tone, and words with the code of its answer."""
    if isinstance(row, MessageRecord):
        if row.accepted:
            silent = row.answer_code == "none"
            return "ok", Sentence("taken, no answer") if silent else _with(Sentence("taken"), row.answer_code)
        tone = "bad" if row.dealt_at is None else ""
        return tone, _with(Sentence("refused") if row.dealt_at is None else Sentence("dealt with"), row.answer_code)
    if not row.answer_code:
        return "warn", Sentence("no answer")
    good = row.answer_code in ("AA", "CA")
    return ("ok" if good else "bad"), _with(Sentence("heard") if good else Sentence("refused"), row.answer_code)


def _with(word: Sentence, code: str) -> Sentence:
    return Sentence("%(code)s: %(word)s", {"code": code, "word": word})
