"""Reads an acknowledgement for people: MSA and ERR in words (HL7 2.5.1 §2.9, §2.15.5, §2.15.8)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from broker.hl7.codes import ERROR_TEXTS, AckCode, Severity
from broker.hl7.findings import MalformedMessage
from broker.hl7.message import Message, Segment, parse

_WORDS: Mapping[str, str] = {
    AckCode.AA: "accepted",
    AckCode.CA: "received and stored",
    AckCode.AE: "refused: content",
    AckCode.CE: "refused: content",
    AckCode.AR: "rejected",
    AckCode.CR: "rejected",
}
_SEVERITIES: Mapping[str, str] = {
    Severity.ERROR: "error",
    Severity.WARNING: "warning",
    Severity.INFORMATION: "information",
}


@dataclass(frozen=True, slots=True)
class ToldFinding:
    """What an answer says is wrong, and where: ERR-2 (`PID^1^3`), empty for the message as a whole."""

    severity: str
    code: str
    location: str
    text: str

    def __str__(self) -> str:
        return f"{self.severity} {self.code or '?'} at {self.location or 'the message'}: {self.text}"


@dataclass(frozen=True, slots=True)
class Reply:
    """Code (MSA-1, empty for no acknowledgement), the message it answers (MSA-2), and the findings, also as lines."""

    code: str
    control_id: str
    lines: tuple[str, ...]
    findings: tuple[ToldFinding, ...] = ()

    @property
    def positive(self) -> bool:
        """The message was accepted."""
        return self.code in (AckCode.AA, AckCode.CA)

    @property
    def words(self) -> str:
        """The code in words."""
        return _WORDS.get(self.code, "no acknowledgement")


def read_reply(raw: bytes) -> Reply:
    """Read an answer; one that is no acknowledgement has an empty code."""
    try:
        message = parse(raw)
    except MalformedMessage as error:
        return Reply("", "", (error.finding.text,))
    findings = [finding for segment in message.all("ERR") for finding in _findings(segment)]
    lines = [str(finding) for finding in findings]
    text = message.get("MSA-3").strip()
    if text and not any(text in line for line in lines):
        lines.insert(0, text)
    return Reply(_code(message), message.get("MSA-2"), tuple(lines), tuple(findings))


def _code(message: Message) -> str:
    code = message.get("MSA-1").strip().upper()
    return code if code in _WORDS else ""


def _findings(segment: Segment) -> list[ToldFinding]:
    """What an ERR says: ERR-2 to ERR-8 from v2.5 on, repetitions of ERR-1 before."""
    if code := segment.get(3, 1).strip():
        severity = _SEVERITIES.get(segment.get(4).strip(), "error")
        text = segment.get(8).strip() or segment.get(7).strip() or segment.get(3, 2) or ERROR_TEXTS.get(code, "")
        return [ToldFinding(severity, code, segment.get(2), text)]
    found = []
    for repetition in segment.repetitions(1):
        place = "^".join(part for part in repetition.components()[:3] if part)
        code = repetition.get(4, 1).strip()
        found.append(ToldFinding("error", code, place, repetition.get(4, 2) or ERROR_TEXTS.get(code, "")))
    return found
