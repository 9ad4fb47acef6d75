"""Takes batches apart, FHS {BHS {messages} BTS} FTS, and answers them by batches of acknowledgements (HL7 §2.10.3)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from uuid import UUID

from broker.hl7 import acknowledgement
from broker.hl7.codes import AckCode, ErrorCode
from broker.hl7.fields import BHS, BTS, MSH
from broker.hl7.findings import Finding
from broker.hl7.header import Header
from broker.hl7.text import charset
from broker.hl7.text.decoding import Decoded
from broker.hl7.writer import Escaped, SegmentWriter, Value

MAX_MESSAGES = 1000  # in one frame: each is a transaction of its own
_START = re.compile(rb"(?:\A|(?<=[\r\n]))(FHS|BHS|MSH|BTS|FTS)(?=[^A-Za-z0-9]|\Z)")
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
    """Batches in order. `header` is FHS read like MSH, None if there is none."""

    header: Header | None
    batches: tuple[Batch, ...]

    @property
    def messages(self) -> int:
        """Messages in all batches."""
        return sum(len(batch.messages) for batch in self.batches)


def read(raw: bytes) -> File | None:
    """A frame that begins with FHS or BHS; None for any other. Linear; messages are not read."""
    raw = raw.lstrip(b"\xef\xbb\xbf\r\n\0 \t")
    if not re.match(rb"[FB]HS[^A-Za-z0-9\r\n]", raw):
        return None
    starts = [(found.start(), found[1]) for found in _START.finditer(raw)] + [(len(raw), b"")]
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


def _header(text: bytes) -> Header | None:
    line = re.split(rb"[\r\n]", text, maxsplit=1)[0]
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


def refuse(file: File, *, token: UUID, at: datetime) -> bytes:
    """AR for a file with too many messages: none of them was looked at. MSA-2 is the id of file or batch (BHS-11)."""
    header = file.header or file.batches[0].header or acknowledgement.NO_HEADER
    fields = (*header.fields, *[""] * 12)[:12]
    named = Header(header.separators, (*fields[:8], "", "", fields[11]), "utf-8")
    finding = Finding("BHS^1", ErrorCode.DATA_TYPE, f"More than {MAX_MESSAGES} messages in one frame")
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
