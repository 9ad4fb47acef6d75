"""What is wrong with a message, in the terms of an ERR segment. Texts never quote the message."""

from __future__ import annotations

from dataclasses import dataclass

from broker.errors import BadContent

# HL7 table 0357; 200-203 are answered AR, the others AE
CODES = {
    "0": "Message accepted",
    "100": "Segment sequence error",
    "101": "Required field missing",
    "102": "Data type error",
    "103": "Table value not found",
    "200": "Unsupported message type",
    "201": "Unsupported event code",
    "202": "Unsupported processing id",
    "203": "Unsupported version id",
    "204": "Unknown key identifier",
    "205": "Duplicate key identifier",
    "206": "Application record locked",
    "207": "Application internal error",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One ERR: `location` as in ERR-2 (`PID^1^3`), `code` of table 0357, severity E, W or I.

    The texts are ours and hold no value of the message: they go to the peer and may be printed.
    """

    location: str
    code: str
    text: str
    severity: str = "E"

    @property
    def is_error(self) -> bool:
        """True if the message cannot be used because of it."""
        return self.severity == "E"


class MalformedMessage(BadContent):
    """The bytes are no HL7 v2 message that can be read; `finding` says where and why."""

    code = "malformed-message"

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.text)
        self.finding = finding
