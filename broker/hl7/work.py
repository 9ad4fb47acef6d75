"""Says how much work one HL7 frame may ask for, and counts it in the bytes before anything is made of them.

A list of a million parts is one call of the interpreter, in which no other thread runs. So parts are counted first,
and what is long is read piece by piece. The limits are far above what senders need. What is over one is refused.
"""

from __future__ import annotations

from collections.abc import Iterator

from broker.hl7.codes import ErrorCode
from broker.hl7.findings import Finding, MalformedMessage

FREE = 4096  # bytes that are read without being counted: they cannot hold much
ON_LOOP = 3072  # bytes up to which a frame is read on the event loop; of many small orders that takes 50 ms
PIECE = 64 * 1024  # bytes or characters that one call may look at in long texts: about a millisecond
MSH = 8192  # bytes of the MSH segment; real ones have 200
CHARACTER_SETS = 16  # repetitions of MSH-18; HL7 table 0211 has fewer sets that code extension reaches
SEGMENTS = 50_000  # a report of 50,000 lines
LINES = 200_000  # ends of lines, where CRLF has two and blank lines are left out
ALIKE = 256  # segments of one name; each order is work of a millisecond in one transaction
TEXTUAL = frozenset({"OBX", "NTE"})  # that may come in any number, like segments of the site (Z..)
FIELDS = 2000  # of one segment; HL7 defines less than 100
ON_LOOP_REPETITIONS = 64  # in a frame that is read on the event loop
IDENTIFIERS = 32  # of a patient who is merged with others
REPETITIONS = 10_000  # of all fields of one segment, and of all segments that are not textual together
MARKS = 500_000  # of one separator in a message: 50,000 results of ten fields each
ESCAPES = 100_000  # shifts of the character set by ISO 2022
FIELD = 64 * 1024  # characters of a field that is no text or document (OBX, NTE, Z..)
ESCAPED = 64 * 1024  # hexadecimal digits of one escape sequence
MESSAGES = 1000  # of one batch: each is a transaction of its own
BATCHES = 100  # of one file
NAMES = 20_000  # occurrences of BHS, MSH … in a batch, wherever they stand: each is looked at
FINDINGS = 100  # that an answer tells
ANSWER = 4096  # bytes that an answer may always have; more only up to ANSWER_TIMES of what is answered
ANSWER_TIMES = 2
_USUAL = b"|^~\\&"


def _refusal(text: str, where: str = "MSH^1", code: ErrorCode = ErrorCode.SEGMENT_SEQUENCE) -> MalformedMessage:
    return MalformedMessage(Finding(where, code, text))


def check(raw: bytes) -> None:
    """Count what a message is to be split by; `raw` begins with MSH. Takes a millisecond for a megabyte and mark.

    Raises MalformedMessage. Bytes of two-byte characters may count too, which the limits leave room for.
    """
    if len(raw) <= FREE:
        return
    ends = [at for at in (raw.find(b"\r", 0, MSH), raw.find(b"\n", 0, MSH)) if at >= 0]
    if not ends and len(raw) > MSH:
        raise _refusal("MSH segment is too long")
    if raw.count(b"\r") + raw.count(b"\n") > LINES:
        raise _refusal("Too many segments")
    for mark in {*raw[3:8], *_USUAL} - set(b"\r\n"):
        if raw.count(mark) > MARKS:
            raise _refusal("Too many separators or escape sequences", code=ErrorCode.DATA_TYPE)
    if raw.count(b"\x1b") + raw.count(b"\x0e") > ESCAPES:
        raise _refusal("Too many shifts of the character set", "MSH^1^18", ErrorCode.DATA_TYPE)


def repeats_little(raw: bytes, mark: str) -> bool:
    """A short frame may be read on the event loop: repetitions may be compared with each other, so few can be much."""
    return not mark or raw.count(mark.encode()) <= ON_LOOP_REPETITIONS


def pieces(length: int) -> Iterator[tuple[int, int]]:
    """Begin and end of the pieces by which something long is looked at."""
    return ((start, min(start + PIECE, length)) for start in range(0, length, PIECE))


def room(received: int) -> int:
    """Bytes that the answer to so many bytes may have."""
    return max(ANSWER, ANSWER_TIMES * received)
