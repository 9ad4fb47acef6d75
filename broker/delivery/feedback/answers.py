"""Reads the answer of a RIS and decides what it means for the job (HL7 2.5.1 §2.9.2, table 0008)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from broker.hl7.codes import AckCode
from broker.hl7.findings import MalformedMessage
from broker.hl7.message import Message, parse
from broker.site.feedback import Feedback

_ACCEPTED, _ERROR, _REJECTED = {AckCode.AA, AckCode.CA}, {AckCode.AE, AckCode.CE}, {AckCode.AR, AckCode.CR}


class AnswerVerdict(StrEnum):
    """Says what becomes of the job of a message."""

    DONE = "done"
    HOLD = "hold"
    RETRY = "retry"


@dataclass(frozen=True, slots=True)
class RisAnswer:
    """MSA-1 and the first error code of table 0357, empty if none is told."""

    code: str
    error: str = ""

    def __str__(self) -> str:
        return f"{self.code}-{self.error}" if self.error else self.code


def answers(raw: bytes, control_id: str) -> bool:
    """A frame is the answer to the message of this control id: by MSA-2, never by its place in a row."""
    try:
        return parse(raw).get("MSA-2").strip() == control_id
    except MalformedMessage:
        return False


def read(raw: bytes) -> RisAnswer:
    """What an answer says. Texts of the peer are left out: they may quote the message."""
    message = parse(raw)
    code = message.get("MSA-1").strip().upper()
    known = code in _ACCEPTED | _ERROR | _REJECTED
    return RisAnswer(code if known else "unknown-code", _error(message))


def _error(message: Message) -> str:
    """ERR-3.1, before 2.5 ERR-1.4.1, or MSA-6.1; only if it is a number as those of the table are."""
    codes = (message.get(path).strip() for path in ("ERR-3.1", "ERR-1.4.1", "MSA-6.1"))
    return next((code for code in codes if code.isascii() and code.isdigit() and len(code) <= 4), "")


def verdict(answer: RisAnswer, feedback: Feedback, tries: int) -> AnswerVerdict:
    """What becomes of the job after `tries` negative answers, this one included. A code of no table is an error."""
    if answer.code in _ACCEPTED:
        return AnswerVerdict.DONE
    policy = feedback.on_reject if answer.code in _REJECTED else feedback.on_error
    again = policy == "retry" and tries < feedback.attempts
    return AnswerVerdict.RETRY if again else AnswerVerdict.HOLD
