"""HL7 messages as they are received and journaled."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedMessage:
    """A message as it came. `digest` is SHA-256 of `raw`, `received_at` seconds since the epoch.

    `head_only`: if it is refused, no more than its first bytes are kept.
    """

    raw: bytes
    digest: bytes
    listener: str
    peer: str
    sender: str  # MSH-3|MSH-4
    control_id: str
    message_type: str
    received_at: float
    head_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageSelection:
    """Which messages of the journal: by their rows, else by time (s since the epoch), sender and type."""

    rows: tuple[int, ...] = ()
    since: float = 0
    until: float | None = None
    sender: str = ""  # MSH-3|MSH-4, or MSH-3 alone
    message_type: str = ""  # `ORM^O01`, or `ORM` alone
    answer_code: str = ""
    limit: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class JournaledMessage:
    """A message of the journal with the code it was answered."""

    row: int
    received_at: float
    listener: str
    sender: str
    message_type: str
    raw: bytes
    accepted: bool
    answer_code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRecord:
    """A row of the journal for people. `raw` is empty in a list; `answer` is what was sent, empty for none."""

    row: int
    received_at: float
    listener: str
    peer: str
    sender: str
    control_id: str
    message_type: str
    accepted: bool
    answer_code: str
    answer: bytes
    note: str
    raw: bytes = b""
