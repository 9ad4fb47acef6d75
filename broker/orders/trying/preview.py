"""Says what a message would come to by a mapping profile if nothing were stored yet. No database is asked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any
from uuid import UUID

from broker.hl7.codes import AckCode, ErrorCode
from broker.hl7.findings import Finding, MalformedMessage
from broker.hl7.header import Header, read_header
from broker.hl7.text import charset, labels
from broker.model.order import Document
from broker.orders.core import lifecycle, plan
from broker.orders.core import worklist_item as answers
from broker.orders.core.appointments import AppointmentChange
from broker.orders.core.identifiers import Minter
from broker.orders.core.values import Change, OrderChange, PatientChange
from broker.orders.inbound import reception
from broker.orders.inbound.reception import Interface
from broker.orders.mapping.profile import Profile

_OFFSET = re.compile(r"(\d{8})(\d{4})?(\d{2})?(?:\.\d+)?([+-])(\d{2})(\d{2})")
_BENCH = Interface(name="test", processing_ids=frozenset({"P", "T", "D"}))
_STEPS = "ScheduledProcedureStepSequence"
_FRAME = re.compile(r"[\x0b\x1c]")


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
    """The answer's code (AA, AE, AR), all findings, and what would be ordered."""

    code: str
    findings: tuple[Finding, ...]
    ordered: tuple[Ordered, ...]


def as_bytes(text: str, override: str = "") -> bytes:
    """A message pasted as text, one segment per line, in the character set of its sender: `override`, else its MSH-18.

    As UTF-8 if that set does not hold the text, so that nothing of it is lost and the reader says so.
    """
    lines = [line.strip() for line in _FRAME.sub("", text).replace("\r", "\n").split("\n")]
    joined = "".join(line + "\r" for line in lines if line)
    try:
        codec = labels.codec_of(labels.named(override) if override else labels.declared(joined.encode("utf-8")))
    except MalformedMessage:
        codec = ""  # the reader of the message says so
    codec = {"": "utf-8", "iso8859_1": "cp1252"}.get(codec, codec)
    return charset.encode(joined, codec if charset.holds(codec, joined) else "utf-8")


def split(text: str) -> list[str]:
    """Messages of a text: each begins with a line that begins with MSH, what stands before the first is none."""
    parts = re.split(r"(?m)^[\s\x0b\x1c]*(?=MSH)", text.replace("\r\n", "\n").replace("\r", "\n"))
    return [part for part in parts if part.startswith("MSH")]


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


def preview(
    raw: bytes, profile: Profile, zone: tzinfo | None = None, *, default_station: str = "UNASSIGNED", token: int = 0
) -> Preview:
    """Convert a message and plan what it orders. Its MSH-7 is the time of receipt; `zone` None: also the site's zone.

    `token` makes the identifiers that would be generated.
    """
    header = read_header(raw)
    at = clock(header, zone)
    examined = reception.examine(raw, _BENCH, lambda _: profile, at.tzinfo or UTC)
    if examined is None:
        finding = Finding("MSH^1", ErrorCode.SEGMENT_SEQUENCE, "Message does not begin with a usable MSH segment")
        return Preview(AckCode.AR, (finding,), ())
    findings = examined.conversion.findings
    if examined.code:
        return Preview(examined.code, findings, ())
    mint = Minter(UUID(int=token))
    ordered: list[Ordered] = []
    for change in examined.conversion.changes:
        found, made = _planned(change, mint, at, default_station)
        findings += found
        ordered.append(Ordered(change, made))
    code = AckCode.AE if any(finding.is_error for finding in findings) else AckCode.AA
    return Preview(code, findings, tuple(ordered))


def _planned(
    change: Change, mint: Minter, at: datetime, default_station: str
) -> tuple[tuple[Finding, ...], tuple[Document, ...]]:
    """Findings and worklist answers of a change that writes an order, nothing for others."""
    if isinstance(change, AppointmentChange) and change.create is not None:
        wrong, ordered = _planned(change.create, mint, at, default_station)
        return (*change.create_findings, *wrong), ordered
    if not isinstance(change, OrderChange):
        return (), ()
    if lifecycle.action(change.control, change.order_status) is not lifecycle.Action.WRITE:
        return (), ()
    nothing = plan.Situation(stored=None, patient=None, owners={}, at=at, default_station=default_station, mint=mint)
    made = plan.make(change, nothing)
    order = made.order
    if order is None:
        return made.findings, ()
    found = [answers.build(order, procedure, step) for procedure in order.procedures for step in procedure.steps]
    return made.findings, tuple(found)


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
