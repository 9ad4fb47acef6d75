"""Takes batches apart, FHS {BHS {messages} BTS} FTS, and answers them by batches of acknowledgements (HL7 §2.10.3)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from math import inf
from uuid import UUID

from broker.hl7 import acknowledgement, work
from broker.hl7.codes import AckCode
from broker.hl7.fields import BHS, BTS, MSH
from broker.hl7.findings import Finding
from broker.hl7.header import Header
from broker.hl7.text import charset
from broker.hl7.text.decoding import Decoded
from broker.hl7.writer import Escaped, SegmentWriter, Value

_BEGIN = re.compile(rb"[\xef\xbb\xbf\r\n\0 \t]{0,4096}[FB]HS[^A-Za-z0-9\r\n]")
_NAMES = (b"FHS", b"BHS", b"MSH", b"BTS", b"FTS")
_MANY = (
    "Too many files in one frame",
    f"More than {work.BATCHES} batches in one frame",
    f"More than {work.MESSAGES} messages in one frame",
    "",
    "",
)
_TOO_MUCH = "Too much to look at in one frame"
_COUNT_WRONG = "count of messages is wrong"


@dataclass(frozen=True, slots=True)
class Batch:
    """Messages in order. `header` is BHS read like MSH, None if there is none; `count` is BTS-1, -1 for none."""

    header: Header | None
    messages: tuple[bytes, ...]
    count: int

    @property
    def complete(self) -> bool:
        """BTS is there and counts what came."""
        return self.count == len(self.messages)


@dataclass(frozen=True, slots=True)
class File:
    """Batches in order. `header` is FHS read like MSH, None if there is none.

    `excess` says what there is more of than one frame may hold; then there are no messages.
    """

    header: Header | None
    batches: tuple[Batch, ...]
    excess: str = ""

    @property
    def messages(self) -> int:
        """Messages in all batches."""
        return sum(len(batch.messages) for batch in self.batches)


def read(raw: bytes) -> File | None:
    """A frame that begins with FHS or BHS; None for any other. Linear; messages are counted and not read."""
    if not begins(raw):
        return None
    raw = raw.lstrip(b"\xef\xbb\xbf\r\n\0 \t")
    starts, excess = _starts(raw)
    if excess:
        first = {name: _header(raw[at : at + work.MSH]) for at, name in reversed(starts) if name in _NAMES[:2]}
        return File(first.get(b"FHS"), (Batch(first.get(b"BHS"), (), -1),), excess)
    starts.append((len(raw), b""))
    file: Header | None = None
    batches: list[Batch] = []
    header: Header | None = None
    messages: list[bytes] = []
    opened = False
    for (start, name), (end, _) in pairwise(starts):
        text = raw[start:end]
        if name == b"FHS":
            file = _header(text)
        elif name == b"MSH":
            messages.append(text)
        if name in (b"BHS", b"BTS", b"FTS") and (messages or opened):
            batches.append(Batch(header, tuple(messages), _count(text) if name == b"BTS" else -1))
            header, messages, opened = None, [], False
        if name == b"BHS":
            header, opened = _header(text), True
    if messages or opened:
        batches.append(Batch(header, tuple(messages), -1))
    return File(file, tuple(batches))


def begins(raw: bytes) -> bool:
    """True for a frame that begins with FHS or BHS."""
    return not raw.startswith(b"MSH") and _BEGIN.match(raw) is not None


def _starts(raw: bytes) -> tuple[list[tuple[int, bytes]], str]:
    """Where the segments begin that make a batch; if they are too many the first of file and batch, and what is."""
    starts: list[tuple[int, bytes]] = []
    left = work.NAMES
    for name, most, what in zip(_NAMES, (work.BATCHES, work.BATCHES, work.MESSAGES, inf, inf), _MANY, strict=True):
        at, count = raw.find(name), 0
        while at >= 0:
            left -= 1
            if (not at or raw[at - 1] in b"\r\n") and not raw[at + 3 : at + 4].isalnum():
                count += 1
                starts.append((at, name))
            if count > most or not left:
                return [found for found in starts if found[1] in _NAMES[:2]][:1], what if count > most else _TOO_MUCH
            at = raw.find(name, at + 3)
    return sorted(starts), ""


def _header(text: bytes) -> Header | None:
    line = re.split(rb"[\r\n]", text[: work.MSH], maxsplit=1)[0]
    return Header.of(Decoded("MSH" + line.decode("utf-8", "replace")[3:], "utf-8"))


def _count(text: bytes) -> int:
    found = re.match(rb"BTS.(\d{1,9})(?=\D|\Z)", text, re.DOTALL)
    return int(found[1]) if found else -1


def answer(file: File, acknowledgements: Sequence[Sequence[bytes]], *, token: UUID, at: datetime) -> bytes:
    """A batch of acknowledgements for each batch, in a file if they came in one; empty if nobody wants an answer.

    Who sends no message wants to know that none came. A batch that does not count its messages rightly is told so in
    BTS-2.
    """
    if file.messages and not any(acknowledgements):
        return b""
    out: list[bytes] = [_line("FHS", file.header, token, at)] if file.header else []
    for number, (batch, messages) in enumerate(zip(file.batches, acknowledgements, strict=True), 1):
        writer = SegmentWriter((batch.header or file.header or acknowledgement.NO_HEADER).separators)
        comment = "" if batch.complete else _COUNT_WRONG
        out.append(_line("BHS", batch.header, UUID(int=token.int ^ number << 96), at))
        out += messages
        trailer = writer.segment("BTS", {BTS.COUNT: str(len(messages)), BTS.COMMENT: comment})
        out.append(f"{trailer}\r".encode())
    if file.header:
        trailer = SegmentWriter(file.header.separators).segment("FTS", {BTS.COUNT: str(len(file.batches))})
        out.append(f"{trailer}\r".encode())
    return b"".join(out)


def refuse(file: File, finding: Finding, *, token: UUID, at: datetime) -> bytes:
    """AR for a file that is refused as a whole. MSA-2 is the id of file or batch (BHS-11)."""
    header = file.header or next((b.header for b in file.batches if b.header), None) or acknowledgement.NO_HEADER
    fields = (*header.fields, *[""] * 12)[:12]
    named = Header(header.separators, (*fields[:8], "", "", fields[11]), "utf-8")
    return acknowledgement.build(named, AckCode.AR, [finding], token=token, at=at)


def _line(name: str, to: Header | None, token: UUID, at: datetime) -> bytes:
    """BHS or FHS of an answer (HL7 2.5.1 §2.15.2, §2.15.4): MSH fields 3 to 7, then 11 our id and 12 theirs."""
    header = to or acknowledgement.NO_HEADER
    fields: dict[int, Value] = {
        MSH.SENDING_APPLICATION: Escaped(header.get(MSH.RECEIVING_APPLICATION)),
        MSH.SENDING_FACILITY: Escaped(header.get(MSH.RECEIVING_FACILITY)),
        MSH.RECEIVING_APPLICATION: Escaped(header.get(MSH.SENDING_APPLICATION)),
        MSH.RECEIVING_FACILITY: Escaped(header.get(MSH.SENDING_FACILITY)),
        MSH.TIME: Escaped(at.strftime("%Y%m%d%H%M%S%z")),
        BHS.CONTROL_ID: acknowledgement.control_id(token),
        BHS.REFERENCE: Escaped(header.get(BHS.CONTROL_ID)),
    }
    return charset.encode(SegmentWriter(header.separators).segment(name, fields) + "\r", header.codec)
