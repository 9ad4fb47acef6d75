"""Reads a message, checks its MSH by what the listener takes, and converts it; then it is ready to be taken or refused.

Open this file first: `CONVERTERS` says which module reads which message.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import tzinfo
from enum import StrEnum

from broker.hl7 import header as headers
from broker.hl7 import message as hl7
from broker.hl7.codes import AckCode, ErrorCode, Severity
from broker.hl7.fields import MSH
from broker.hl7.findings import Finding, MalformedMessage
from broker.hl7.header import Header
from broker.hl7.message import Message, Segment
from broker.hl7.tolerance import USUAL, Tolerance
from broker.model.message import ReceivedMessage
from broker.orders.core.values import Conversion
from broker.orders.inbound import adt, results, siu
from broker.orders.inbound import orm as mapping
from broker.orders.mapping.ignoring import IgnoreRule, ignored, sift
from broker.orders.mapping.profile import ControlId, Profile

Converter = Callable[[Message, Profile, tzinfo], Conversion]
# what we act on: by MSH-9.1 and MSH-9.2 how it is read; each kind of change has its story in `orders.stories.intake`
CONVERTERS: Mapping[str, Mapping[str, Converter]] = {
    "ORM": {"O01": mapping.convert},
    "OMI": {"O23": mapping.convert},
    "OMG": {"O19": mapping.convert},
    "ADT": dict.fromkeys(adt.EVENTS, adt.convert),
    "ORU": {"R01": results.convert},
    "SIU": dict.fromkeys(siu.EVENTS, siu.convert),
}

# repeats are looked for by sender and control id in an index, which cannot hold everything that a message can
ANSWERS = frozenset({"ACK", "MCF"})  # MSH-9.1 of what is not answered
MAX_CONTROL_ID = 199  # characters (HL7 2.7 §2.14.9.10)
MAX_PARTY = 227  # characters of MSH-3 and MSH-4 (HL7 2.5.1 §2.15.9.3)
_NAMES = {
    MSH.SENDING_APPLICATION: "Sending application",
    MSH.SENDING_FACILITY: "Sending facility",
    MSH.RECEIVING_APPLICATION: "Receiving application",
    MSH.RECEIVING_FACILITY: "Receiving facility",
    MSH.TIME: "Date/time of message",
}


DEFECT = Finding("MSH^1", ErrorCode.INTERNAL_ERROR, "Internal error: the message could not be processed")

NO_MSH = Finding("MSH^1", ErrorCode.SEGMENT_SEQUENCE, "Message does not begin with a usable MSH segment")

KnownSender = Callable[[str, str], bool]  # sending application, sending facility
Profiles = Callable[[Header], Profile]  # the mapping profile for the sender of a message


class OnTransient(StrEnum):
    """Says what is done with a message while the database is away."""

    CLOSE = "close"  # the connection: the sender keeps its message
    AE = "AE"
    AR = "AR"


class AnswerKind(StrEnum):
    """Says what orders are answered with."""

    ACKNOWLEDGEMENT = "ack"
    ORDER = "order"  # an application answer that tells of the order


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """One listener, by its name in logs and journal; the keys of `[hl7]` in `broker.toml`.

    `known` None admits every sender. Messages with another MSH-11 than `processing_ids` are refused, and so are those
    for others than `receiving`: `APPLICATION` or `APPLICATION|FACILITY` as in MSH-5 and MSH-6, empty for all.
    `profile` names the mapping profile of senders that no profile claims. `refuse_reused`: a control id with
    other bytes than before is refused instead of taken with a warning.
    """

    name: str
    known: KnownSender | None = None
    on_transient: OnTransient = OnTransient.CLOSE
    processing_ids: frozenset[str] = frozenset({"P"})
    answers: AnswerKind = AnswerKind.ACKNOWLEDGEMENT
    profile: str = ""
    receiving: frozenset[str] = frozenset()
    optional_fields: frozenset[str] = frozenset({"MSH-3", "MSH-4", "MSH-5", "MSH-6", "MSH-7"})
    tolerance: Tolerance = USUAL
    refuse_reused: bool = False


def defect(reference: str) -> Finding:
    """What the sender of a message is told that a defect keeps from being processed; the log has the reference too."""
    return replace(DEFECT, text=f"{DEFECT.text}, reference {reference}")


@dataclass(frozen=True, slots=True)
class Examined:
    """A message with a header: `code` is empty for one to take, else AE or AR with the findings in `conversion`.

    `failure` is a defect, of ours or of the profile, that a message has brought to light while it was read.
    """

    header: Header
    code: str
    conversion: Conversion
    control_id: str = ""  # by which a repeat is known, if it is another one than MSH-10
    failure: Exception | None = None
    rule: IgnoreRule | None = None  # by which all of it is ignored
    groups: int = 0  # how many of its order groups are ignored

    @property
    def note(self) -> str:
        """For the journal: what of the message is ignored."""
        if self.rule is not None:
            return self.rule.text
        return f"{self.groups} order groups ignored" if self.groups else ""


@dataclass(frozen=True, slots=True)
class Opened:
    """The MSH of a message, and how its sender's messages are read."""

    header: Header
    profile: Profile
    tolerance: Tolerance
    control_id: str = ""  # made for a message without one, where the profile says so


def open_message(raw: bytes, interface: Interface, profiles: Profiles) -> Opened | None:
    """Read MSH, and choose the profile of its sender; None if there is no usable MSH.

    What the profile decides about reading counts more than what the listener does.
    """
    header = headers.read_header(raw, interface.tolerance)
    if header is None:
        return None
    profile = profiles(header)
    tolerance = profile.reading.over(interface.tolerance)
    if tolerance is not interface.tolerance:
        header = headers.read_header(raw, tolerance) or header
    made = profile.reading.control_id is ControlId.MADE and not header.control_id.strip()
    return Opened(header, profile, tolerance, f"made-{hashlib.sha256(raw).hexdigest()[:32]}" if made else "")


def examine(raw: bytes, interface: Interface, profiles: Profiles, zone: tzinfo) -> Examined | None:
    """Read and convert a message; None if it has no usable MSH."""
    opened = open_message(raw, interface, profiles)
    return convert(raw, opened, interface, zone) if opened else None


def convert(raw: bytes, opened: Opened, interface: Interface, zone: tzinfo) -> Examined:
    """Check an opened message by what the interface takes, read and convert it."""
    examined = _examined(raw, opened, interface, zone)
    return replace(examined, control_id=opened.control_id) if opened.control_id else examined


def check_opened(opened: Opened, interface: Interface) -> tuple[str, Finding | None]:
    """What is wrong with the MSH of an opened message: AE or AR and the finding, or nothing."""
    ignoring, made = bool(opened.profile.ignores), bool(opened.control_id)
    return check(opened.header, interface, any_type=ignoring, any_id=made)


def _examined(raw: bytes, opened: Opened, interface: Interface, zone: tzinfo) -> Examined:
    header, rules = opened.header, opened.profile.ignores
    code, finding = check_opened(opened, interface)
    if finding is not None:
        return Examined(header, code, Conversion((), (finding,)))
    if rule := ignored(rules, header):
        return Examined(header, "", Conversion(), rule=rule)
    try:
        return _converted(raw, opened, zone)
    except MalformedMessage as error:
        code, finding = _type(header) or (AckCode.AE, error.finding)
        return Examined(header, code, Conversion((), (finding,)))
    except Exception as error:  # this message is refused, those behind it are read
        return Examined(header, AckCode.AE, Conversion((), (DEFECT,)), failure=error)


def _converted(raw: bytes, opened: Opened, zone: tzinfo) -> Examined:
    """What the message asks for, without what the profile ignores. Raises MalformedMessage."""
    message = hl7.parse(raw, opened.tolerance)
    header, sifted = message.header, sift(opened.profile.ignores, message)
    if sifted.rule is not None:
        return Examined(header, "", Conversion(), rule=sifted.rule)
    if refusal := _type(header):
        return Examined(header, refusal[0], Conversion((), (refusal[1],)))
    read = CONVERTERS[header.get(MSH.MESSAGE_TYPE, 1)][header.get(MSH.MESSAGE_TYPE, 2)]
    conversion = read(sifted.message, opened.profile, zone)
    findings = message.findings + tuple(_left_out(segment, rule) for segment, rule in sifted.groups)
    conversion = replace(conversion, findings=findings + conversion.findings)
    return Examined(header, "" if conversion.usable else AckCode.AE, conversion, groups=len(sifted.groups))


def received(
    raw: bytes,
    header: Header | None,
    interface: Interface,
    peer: str,
    at: float,
    made: str = "",
    stranger: bool = False,
) -> ReceivedMessage:
    """A message for the journal, received `at` seconds since the epoch; `made` is its control id if it has none.

    Of a `stranger` only the head is kept if it is refused.
    """
    return ReceivedMessage(
        raw=raw,
        digest=hashlib.sha256(raw).digest(),
        listener=interface.name,
        peer=peer,
        sender=header.sender if header else "",
        control_id=made or (header.control_id if header else ""),
        message_type=header.message_type if header else "",
        received_at=at,
        head_only=stranger,
    )


def _left_out(segment: Segment, rule: IgnoreRule) -> Finding:
    """That an order group is ignored, for its sender."""
    text = f"The order is {rule.text} of the mapping"
    return Finding(segment.at(1), ErrorCode.ACCEPTED, text, Severity.INFORMATION)


def check(
    header: Header, interface: Interface, *, any_type: bool = False, any_id: bool = False
) -> tuple[str, Finding | None]:
    """What is wrong with MSH: AE or AR and the finding, or nothing.

    `any_type`: its type and event do not matter; `any_id`: nor does a missing control id.
    """
    if not header.control_id.strip() and not any_id:
        return AckCode.AE, Finding("MSH^1^10", ErrorCode.REQUIRED_FIELD_MISSING, "Message control id is missing")
    if len(header.control_id) > MAX_CONTROL_ID:
        return AckCode.AE, Finding("MSH^1^10", ErrorCode.DATA_TYPE, "Message control id is too long")
    refusal = None if any_type else _type(header)
    return refusal or _terms(header, interface) or _parties(header, interface) or ("", None)


def _type(header: Header) -> tuple[str, Finding] | None:
    """What kind of message it is."""
    kind, event = header.get(MSH.MESSAGE_TYPE, 1), header.get(MSH.MESSAGE_TYPE, 2)
    if kind not in CONVERTERS:
        return AckCode.AR, Finding("MSH^1^9", ErrorCode.UNSUPPORTED_MESSAGE_TYPE, "Message type is not supported")
    if event not in CONVERTERS[kind]:
        return AckCode.AR, Finding("MSH^1^9", ErrorCode.UNSUPPORTED_EVENT, "Event is not supported")
    return None


def _terms(header: Header, interface: Interface) -> tuple[str, Finding] | None:
    """Whether it is for production, and its version."""
    processing = header.get(MSH.PROCESSING_ID, 1)
    if processing not in interface.processing_ids and (processing or "MSH-11" not in interface.optional_fields):
        return AckCode.AR, Finding("MSH^1^11", ErrorCode.UNSUPPORTED_PROCESSING_ID, "Processing id is not taken here")
    if header.version[:1] != (2,):
        return AckCode.AR, Finding("MSH^1^12", ErrorCode.UNSUPPORTED_VERSION, "Version is not 2.x")
    return None


def _parties(header: Header, interface: Interface) -> tuple[str, Finding] | None:
    """Who sends it, to whom, and when."""
    for number, name in _NAMES.items():
        if not header.get(number).strip() and f"MSH-{number}" not in interface.optional_fields:
            return AckCode.AE, Finding(f"MSH^1^{number}", ErrorCode.REQUIRED_FIELD_MISSING, f"{name} is missing")
    for number in (MSH.SENDING_APPLICATION, MSH.SENDING_FACILITY):
        if len(header.get(number)) > MAX_PARTY:
            return AckCode.AE, Finding(f"MSH^1^{number}", ErrorCode.DATA_TYPE, f"{_NAMES[number]} is too long")
    application, facility = header.get(MSH.RECEIVING_APPLICATION, 1), header.get(MSH.RECEIVING_FACILITY, 1)
    if interface.receiving and not interface.receiving & {application, f"{application}|{facility}"}:
        return AckCode.AR, Finding(
            "MSH^1^5", ErrorCode.TABLE_VALUE_NOT_FOUND, "Receiving application or facility is another one"
        )
    if interface.known is not None and not interface.known(
        header.get(MSH.SENDING_APPLICATION, 1), header.get(MSH.SENDING_FACILITY, 1)
    ):
        return AckCode.AR, Finding("MSH^1^3", ErrorCode.TABLE_VALUE_NOT_FOUND, "Sending application is not known")
    return None
