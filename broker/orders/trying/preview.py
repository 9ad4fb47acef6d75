"""Says what a door would answer to a message, and what would be ordered, if nothing were stored yet.

It is the way of the door (`orders.listener`): the same checks, the same stories, on an empty database in memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from itertools import pairwise
from typing import Any
from uuid import UUID

from broker.hl7 import acknowledgement
from broker.hl7.codes import AckCode
from broker.hl7.findings import Finding, MalformedMessage
from broker.hl7.header import Header, read_header
from broker.hl7.mllp.framing import Frame, Framer
from broker.hl7.text import charset, labels
from broker.model.order import Document
from broker.orders.core import lifecycle
from broker.orders.core import worklist_item as answers
from broker.orders.core.appointments import AppointmentChange
from broker.orders.core.context import StoryContext
from broker.orders.core.values import Change, OrderChange, PatientChange
from broker.orders.inbound import reception
from broker.orders.inbound.reception import Interface
from broker.orders.mapping.profile import Profile
from broker.orders.stories import intake
from broker.orders.stories.planned import Planned
from broker.store.scratch import scratch

_OFFSET = re.compile(r"(\d{8})(\d{4})?(\d{2})?(?:\.\d+)?([+-])(\d{2})(\d{2})")
_STEPS = "ScheduledProcedureStepSequence"
STANDARD = Interface(name="test")

_FRAME = re.compile(r"[\x0b\x1c]")
_START = re.compile(rb"(?:\A|(?<=[\r\n]))(?=(?:\xef\xbb\xbf)?[ \t\0]*MSH)")


@dataclass(frozen=True, slots=True)
class Ordered:
    """A change and the worklist answers of its steps; none if it would only touch what is stored."""

    change: Change
    answers: tuple[Document, ...]

    def documents(self) -> tuple[Document, ...]:
        """The answers; without any, the attributes of the patient, with what each service of an appointment changes."""
        asked = self.change if isinstance(self.change, PatientChange) else getattr(self.change, "patient", None)
        patient: Document = dict(asked.attributes) if isinstance(asked, PatientChange) else {}
        slots = self.change.slots if isinstance(self.change, AppointmentChange) else ()
        booked = tuple({**patient, _STEPS: [slot.attributes]} for slot in slots if slot.attributes)
        return self.answers or booked or ((patient,) if patient else ())


@dataclass(frozen=True, slots=True)
class Preview:
    """What becomes of a message (AA, AE, AR; empty if it is not answered), all findings, and what would be ordered.

    `answer` is what the door sends: empty for silence, None where it closes the connection. `sent` is its last code.
    `ignored` says what of the message the mapping ignores.
    """

    code: str
    findings: tuple[Finding, ...]
    ordered: tuple[Ordered, ...]
    sent: str = ""
    answer: bytes | None = b""
    ignored: str = ""


def as_bytes(text: str, override: str = "") -> bytes:
    """A message pasted as text, one segment per line, in the character set of its sender: `override`, else its MSH-18.

    As UTF-8 if that set does not hold the text, so that nothing of it is lost and the reader says so.
    """
    lines = _FRAME.sub("", text).lstrip().replace("\r", "\n").split("\n")
    joined = "".join(line + "\r" for line in lines if line.strip())
    try:
        codec = labels.codec_of(labels.named(override) if override else labels.declared(joined.encode("utf-8")))
    except MalformedMessage:
        codec = ""  # the reader of the message says so
    codec = {"": "utf-8", "iso8859_1": "cp1252"}.get(codec, codec)
    return charset.encode(joined, codec if charset.holds(codec, joined) else "utf-8")


def split(text: str) -> list[str]:
    """Messages of a pasted text: each begins with a line that begins with MSH, what stands before the first is none."""
    parts = re.split(r"(?m)^[\s\x0b\x1c\ufeff]*(?=MSH)", text.replace("\r\n", "\n").replace("\r", "\n"))
    return [part for part in parts if part.startswith("MSH")]


def messages_of(data: bytes) -> list[bytes]:
    """Messages of a file as a listener would read them: its frames, or what begins with a line that begins with MSH.

    In a file of lines a line end ends a segment, as CR does on the wire; nothing else of the bytes is changed.
    """
    if b"\x0b" in data:
        framer = Framer(len(data))
        return [item.payload for item in framer.feed(data) + framer.finish() if isinstance(item, Frame)]
    starts = [found.start() for found in _START.finditer(data)] + [len(data)]
    found = [data[start:end].rstrip(b"\r\n\x1c") + b"\n" for start, end in pairwise(starts)]
    return [re.sub(rb"\r?\n", b"\r", part) for part in found]


def clock(header: Header | None, zone: tzinfo | None = None) -> datetime:
    """MSH-7 on the wall clock of `zone`, without one on that of its own offset; 2000 if there is none."""
    found = _OFFSET.match(header.get(7)) if header else None
    if found:
        minutes = int(found[5]) * 60 + int(found[6])
        offset = timedelta(minutes=-minutes if found[4] == "-" else minutes)
        digits = f"{found[1]}{found[2] or '0000'}{found[3] or '00'}"
        try:
            moment = datetime.strptime(digits, "%Y%m%d%H%M%S").replace(tzinfo=timezone(offset))
            return moment.astimezone(zone) if zone else moment
        except (ValueError, OverflowError):
            pass
    digits = header.get(7)[:14] if header else ""
    try:
        return datetime.strptime(digits.ljust(14, "0"), "%Y%m%d%H%M%S").replace(tzinfo=zone or UTC)
    except ValueError:
        return datetime(2000, 1, 1, tzinfo=zone or UTC)


def moment(raw: bytes, interface: Interface, profile: Profile, zone: tzinfo | None = None) -> datetime:
    """When a tried message is received: its MSH-7 (see `clock`)."""
    opened = reception.open_message(raw, interface, lambda _: profile)
    return clock(opened.header if opened else None, zone)


def preview(
    raw: bytes,
    profile: Profile,
    zone: tzinfo | None = None,
    *,
    interface: Interface = STANDARD,
    default_station: str = "UNASSIGNED",
    token: int = 0,
) -> Preview:
    """Answer a message as the door of an interface does on an empty database; nothing of it is kept.

    Its MSH-7 is the time of receipt; `zone` None: also the site's zone. `token` makes the identifiers that would be
    generated, and the control id of the answer.
    """
    opened = reception.open_message(raw, interface, lambda _: profile)
    at = clock(opened.header if opened else None, zone)
    context = StoryContext(UUID(int=token), at, default_station)
    if opened is None:
        answer = acknowledgement.unreadable(raw, token=context.token, at=at)
        code = AckCode.AR if answer else ""
        return Preview(code, (reception.NO_MSH,), (), sent=code or "closed", answer=answer)
    if opened.header.get(9, 1) in reception.ANSWERS:  # an answer is not answered
        return Preview("", (), (), sent="none", answer=b"")
    examined = reception.convert(raw, opened, interface, at.tzinfo or UTC)
    received = reception.received(raw, examined.header, interface, "", context.at.timestamp(), examined.control_id)
    try:
        if examined.failure is not None:
            raise examined.failure
        outcome = scratch().execute(intake.settle, received, examined, context, interface)
    except Exception:
        reference = context.token.hex[:12]
        finding = reception.defect(reference)
        outcome = scratch().execute(intake.keep_failed, received, examined.header, finding, reference, context)
        return Preview(AckCode.AE, (finding,), (), sent=outcome.code, answer=outcome.answer)
    verdict = examined.code or (AckCode.AE if any(finding.is_error for finding in outcome.told) else AckCode.AA)
    ordered = () if examined.code else tuple(_ordered(examined.conversion.changes, outcome.plans))
    return Preview(verdict, outcome.told, ordered, outcome.code, outcome.answer, examined.note)


def _ordered(changes: Sequence[Change], plans: Sequence[Planned]) -> Iterator[Ordered]:
    """Changes with the worklist answers of the orders that they write."""
    for change, planned in zip(changes, plans, strict=False):
        order = planned.reply.order if planned.reply else None
        if order is None or not _writes(change):
            yield Ordered(change, ())
        else:
            yield Ordered(change, tuple(answers.build(order, p, step) for p in order.procedures for step in p.steps))


def _writes(change: Change) -> bool:
    """It writes an order, also one that an appointment makes."""
    if isinstance(change, OrderChange):
        return lifecycle.action(change.control, change.order_status) is lifecycle.Action.WRITE
    return isinstance(change, AppointmentChange)


def readable(answer: bytes) -> str:
    """An answer, two where both phases are answered, as lines of text."""
    header = read_header(answer)
    codec = (header.codec if header else "") or "utf-8"
    text = answer.replace(b"\x1c\r\x0b", b"\r").decode(codec if "+" not in codec else "utf-8", "replace")
    return text.replace("\r", "\n").rstrip("\n")


def documents(found: Preview) -> Iterator[Document]:
    """What is known of each step, over all orders."""
    for ordered in found.ordered:
        yield from ordered.documents()


def value(document: Document, keyword: str) -> Any:
    """Value of a keyword in a worklist answer: at its root or in the step; None if absent."""
    if keyword in document:
        return document[keyword]
    items = document.get(_STEPS) or [{}]
    return items[0].get(keyword)
