"""Says where identifiers come from that a message leaves out. An identifier that was given out is kept.

Generated values come from a random token of the message, so that a transaction that is run twice makes the same ones.
A UID is `2.25.` and the integer of a version 4 UUID (PS3.5 B.2). An identifier of at most 16 characters is a prefix and
13 characters of base 32 (65 bits). Row numbers are no source, as they are known only after the insert.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal
from uuid import UUID, uuid5

from broker.hl7.message import DELETE, Message, Segment

SHORT = 16  # characters of an SH value
TEMPORARY = "TMP"  # how temporary patient identifiers begin; 13 characters of base 32 follow
_LED = {"PID": (3, 18), "PV1": (19,)}  # fields of which the first identifier counts
_STUDIES = UUID("6f1b1d0e-56a0-5d0b-9a5e-1f0b8f5a7c11")  # name space of study UIDs made from accession numbers

_OURS = re.compile(r"A[A-Z2-7]{15}", re.ASCII)  # accession numbers of `Minter.short`
_TEMPORARY = re.compile(TEMPORARY + r"[A-Z2-7]{13}", re.ASCII)

AccessionSource = Literal["message", "filler", "placer", "generate", "refuse"]
ProcedureSource = Literal["message", "accession", "generate", "refuse"]
StepSource = Literal["message", "generate", "refuse"]
UidPolicy = Literal["generate", "from-accession", "require"]


@dataclass(frozen=True, slots=True)
class Identifiers:
    """Policies of a mapping. Each sequence is tried in its order; `generate` and `refuse` end it."""

    patient_authorities: tuple[str, ...] = ()
    accession: tuple[AccessionSource, ...] = ("message", "filler", "placer")
    study_instance_uid: UidPolicy = "generate"
    requested_procedure_id: tuple[ProcedureSource, ...] = ("message", "accession", "generate")
    step_id: tuple[StepSource, ...] = ("message", "generate")


DEFAULT = Identifiers()


class Minter:
    """Makes identifiers from a random token."""

    def __init__(self, token: UUID) -> None:
        self._token = token.bytes
        self._count = 0

    def _bytes(self) -> bytes:
        self._count += 1
        return hashlib.blake2b(self._count.to_bytes(4, "big"), key=self._token, digest_size=16).digest()

    def uid(self) -> str:
        """A UID under 2.25."""
        return f"2.25.{UUID(bytes=self._bytes(), version=4).int}"

    def short(self, prefix: str) -> str:
        """An identifier of 16 characters that begins with `prefix` (at most 3)."""
        return prefix + base64.b32encode(self._bytes()).decode("ascii")[: SHORT - len(prefix)]


def is_ours(number: str) -> bool:
    """True for an accession number that has the form of those we make."""
    return _OURS.fullmatch(number) is not None


def is_temporary(number: str) -> bool:
    """True for an identifier that we gave a patient nobody knew: it is the only one of its kind, whoever names it."""
    return _TEMPORARY.fullmatch(number) is not None


def short_form(text: str, length: int = SHORT) -> str:
    """A stand-in for an identifier that is longer than `length`: always the same for it, and of no other (75 bits)."""
    digest = base64.b32encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
    return ("L" + digest)[: min(length, 32)]


def kept_as(keyword: str) -> str:
    """The name under which the long form of an identifier is stored beside it: no DICOM keyword, no device sees it."""
    return f"Long{keyword}"


def _fits(number: str) -> str:
    return number if 0 < len(number) <= SHORT and "\\" not in number else ""


def _first(order: Sequence[str], message: str, stored: str, others: dict[str, str], made: str) -> str:
    """Value of the first source that has one. A stored value gives way only to one of the message, if that leads."""
    if message and order[:1] == ("message",):
        return message
    if stored:
        return stored
    for source in order:
        if value := made if source == "generate" else {"message": message, **others}.get(source, ""):
            return value
    return ""


def accession(
    message: str,
    stored: str,
    filler: str,
    placer: str,
    order: Sequence[AccessionSource] = DEFAULT.accession,
    mint: Minter | None = None,
) -> str:
    """Accession number by the sources of `order`; empty if none has one. Order numbers count only if they fit."""
    made = mint.short("A") if mint is not None and "generate" in order else ""
    return _first(order, message, stored, {"filler": _fits(filler), "placer": _fits(placer)}, made)


def too_long(filler: str, placer: str, order: Sequence[AccessionSource], taken: str) -> tuple[AccessionSource, ...]:
    """The order numbers that `accession` passed over before it took one, because they do not fit."""
    passed: list[AccessionSource] = []
    for source in order:
        number = {"filler": filler, "placer": placer}.get(source, "")
        if source in ("generate", "refuse") or (number and number == taken):
            break
        if number and not _fits(number):
            passed.append(source)
    return tuple(passed)


def study_instance_uid(message: str, stored: str, mint: Minter) -> str:
    """Study Instance UID: message, stored, generated once."""
    return message or stored or mint.uid()


def study_from_accession(accession: str, issuer: str, procedure: str, number: str) -> tuple[str, ...]:
    """Study Instance UIDs made from an accession number, the first that is free is to be used (PS3.5 B.2).

    The same number of the same issuer always makes the same: `2.25.` and the integer of a version 5 UUID. Further
    procedures of one number differ by their identifier, further orders with one number by their order number.
    """
    named = (f"{issuer}^{accession}", f"{issuer}^{accession}^{procedure}", f"{issuer}^{accession}^{procedure}^{number}")
    return tuple(f"2.25.{uuid5(_STUDIES, name).int}" for name in named) if accession else ()


def requested_procedure_id(
    message: str,
    stored: str,
    accession: str,
    used: Collection[str],
    mint: Minter,
    order: Sequence[ProcedureSource] = DEFAULT.requested_procedure_id,
) -> str:
    """Requested Procedure ID by the sources of `order`; the accession number only if no other procedure has it."""
    derived = _fits(accession)
    value = _first(order, message, stored, {"accession": derived if derived not in used else ""}, "")
    return value or (mint.short("RP") if "generate" in order else "")


def step_id(message: str, stored: str, mint: Minter, order: Sequence[StepSource] = DEFAULT.step_id) -> str:
    """Scheduled Procedure Step ID: message, stored, generated if `order` says so; two steps never share one."""
    return _first(order, message, stored, {}, "") or (mint.short("SPS") if "generate" in order else "")


def stations(message: tuple[str, ...], stored: tuple[str, ...], default: str) -> tuple[str, ...]:
    """Scheduled Station AE Titles: message, stored, the default."""
    return message or stored or (default,)


def by_authority(message: Message, authorities: Sequence[str]) -> Message:
    """The message with the PID-3 of the first authority in front that has one there; unchanged if none has.

    An authority is named by its namespace or universal identifier (PID-3.4.1, PID-3.4.2). A repetition without an
    identifier, or with `""`, gives way to one that has one (HL7 2.5.1 §2.5.3), here and in account and visit number.
    """
    changed = [_led(segment, authorities) for segment in message]
    same = all(new is old for new, old in zip(changed, message, strict=True))
    return message if same else Message(message.header, changed)


def _led(segment: Segment, authorities: Sequence[str]) -> Segment:
    for number in _LED.get(segment.name, ()):
        segment = _with_identifier(segment, number)
    return _promoted(segment, authorities) if authorities and segment.name == "PID" else segment


def _with_identifier(segment: Segment, number: int) -> Segment:
    """A segment whose field begins with a repetition that has an identifier, if it has one."""
    text = segment.field(number)
    if not text or text[0].isalnum():
        return segment
    for position, repetition in enumerate(segment.repetitions(number)):
        if repetition.get(1).strip() not in {"", DELETE}:
            return segment.with_first(number, position) if position else segment
    return segment


def _promoted(pid: Segment, authorities: Sequence[str]) -> Segment:
    repetitions = pid.repetitions(3)
    for authority in authorities:
        for number, repetition in enumerate(repetitions):
            named = (repetition.get(4, 1).strip(), repetition.get(4, 2).strip())
            if repetition.get(1).strip() and authority in named:
                return pid.with_first(3, number)
    return pid
