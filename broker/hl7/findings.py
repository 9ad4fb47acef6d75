"""Says what is wrong with a message, in the terms of an ERR segment. Texts never quote the message."""

from __future__ import annotations

from dataclasses import dataclass

from broker.errors import BadContent
from broker.hl7.codes import ErrorCode, Severity


@dataclass(frozen=True, slots=True)
class Finding:
    """One ERR; `location` as in ERR-2 (`PID^1^3`).

    The texts are ours and hold no value of the message: they go to the peer and may be printed.
    """

    location: str
    code: ErrorCode
    text: str
    severity: Severity = Severity.ERROR

    @property
    def is_error(self) -> bool:
        """True if the message cannot be used because of it."""
        return self.severity == Severity.ERROR


class MalformedMessage(BadContent):
    """The bytes are no HL7 v2 message that can be read; `finding` says where and why."""

    code = "malformed-message"

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.text)
        self.finding = finding
