"""HL7 messages as they are received and journaled."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


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
    dealt_at: float | None = None
    dealt_by: str = ""
    dealt_note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SentMessage:
    """A try to tell a RIS (`node`) of an order (row): the bytes, and the answer. `at`: seconds since the epoch.

    `answer_code` is MSA-1, empty if no answer came; `error` says why, or is the error code of the answer. `raw` is
    empty in a list.
    """

    at: float
    node: str
    request: int
    job: int
    event: str
    control_id: str
    message_type: str
    answer_code: str
    answer: bytes
    error: str
    raw: bytes = b""
    row: int = 0  # 0 before it is stored


class Direction(StrEnum):
    """Says which way a message went."""

    IN = "in"
    OUT = "out"


class Refusal(StrEnum):
    """Says which refused messages are meant."""

    ANY = "refused"
    OPEN = "open"  # nobody has dealt with them
    DEALT = "dealt"


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalFilter:
    """Which messages of the journal are meant: all that is given must fit. Times in seconds since the epoch.

    `party` is MSH-3, or MSH-3|MSH-4, of who sent it, or the node that it was sent to; `message_type` is `ORM^O01`, or
    `ORM`; `finding` a code of HL7 table 0357. `received` and `sent` are rows of the two journals: no others.
    """

    direction: Direction | None = None
    refusal: Refusal | None = None
    since: float | None = None
    until: float | None = None
    party: str = ""
    message_type: str = ""
    answer_code: str = ""
    finding: str = ""
    received: tuple[int, ...] | None = None
    sent: tuple[int, ...] | None = None


JournalRow = MessageRecord | SentMessage
