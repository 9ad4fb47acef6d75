"""Messages straight into framer, reader and converters: no database, so many more of them."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from broker.hl7 import acknowledgement, batch, work
from broker.hl7.codes import AckCode
from broker.hl7.mllp.framing import Frame, Framer, Oversize, parts
from broker.orders.inbound import reception
from broker.orders.inbound.reception import Interface
from broker.orders.mapping.book import built_in
from fuzz import hl7_messages as messages
from fuzz.hl7_cases import LIMIT, codes, expected

INTERFACE = Interface(name="fuzz")
ZONE = ZoneInfo("Europe/Zurich")
TOKEN = UUID(int=1)
NOON = datetime(2030, 3, 12, 12, tzinfo=ZONE)


def check(case: tuple[bytes, ...]) -> None:
    """Run a case. Raises AssertionError, or what a defect raises."""
    payload, *pieces = case
    framed = cut(pieces)
    assert framed == cut([b"".join(pieces)]), "other frames of the same bytes in other pieces"
    assert len(framed) <= b"".join(pieces).count(b"\x1c") + 1, "more frames than ends"
    for message in {payload, *(item.payload for item in framed if isinstance(item, Frame))}:
        read(message)


def cut(pieces: list[bytes]) -> list[Frame | Oversize]:
    """The frames that pieces hold; whether a cut is told depends on what comes with it."""
    framer = Framer(LIMIT)
    found = [item for piece in pieces for item in framer.feed(piece)] + framer.finish()
    assert framer.held <= LIMIT
    return [Frame(item.payload) if isinstance(item, Frame) else item for item in found]


def read(raw: bytes) -> None:
    """A message or a batch, up to its answer."""
    if not batch.begins(raw):
        answer(raw)
        return
    file = batch.read(raw)
    assert file is not None
    assert file.messages <= work.MESSAGES
    told = [[answer(message) for message in part.messages] for part in file.batches]
    out = batch.answer(file, [[one for one in part if one] for part in told], token=TOKEN, at=NOON)
    assert out[:3] in (b"", b"FHS", b"BHS"), "an answer that is no batch"


def answer(raw: bytes) -> bytes:
    """The answer to a message, of what it says alone. Raises AssertionError for one that must not be."""
    examined = reception.examine(raw, INTERFACE, lambda header: built_in(), ZONE)
    named = expected(raw)
    if examined is None:
        assert named is None, "an MSH that is right was not read"
        return acknowledgement.unreadable(raw[: work.MSH], token=TOKEN, at=NOON) or b""
    if examined.failure is not None:
        raise examined.failure
    header, findings = examined.header, examined.conversion.findings
    if header.get(9, 1) in reception.ANSWERS:
        assert named is None, "a message that is no answer gets silence"
        return b""
    code = examined.code or AckCode.AA
    data = acknowledgement.reply(header, code, findings, token=TOKEN, at=NOON, received=len(raw)).data
    found = [pair for part in parts(data) for pair in codes(part)]
    assert len(data) <= work.room(len(raw)) + 1000, "an answer much longer than the message"
    assert named is None or found == [(code.encode(), named)], f"{found} to {named!r}"
    of_patient = "".join(finding.text for finding in findings if finding.location.startswith(("PID", "MRG", "PV1")))
    assert messages.CANARY not in of_patient, "a value of a patient in a finding"
    assert bool(examined.code) or all(change is not None for change in examined.conversion.changes)
    return data
