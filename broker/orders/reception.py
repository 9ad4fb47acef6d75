"""The first look at a message, pure: read it, check MSH, convert it; ready to be taken or refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import tzinfo

from broker.hl7 import header as headers
from broker.hl7 import message as hl7
from broker.hl7.findings import Finding, MalformedMessage
from broker.hl7.header import Header
from broker.orders import mapping
from broker.orders.profile import Profile
from broker.orders.values import Conversion

KnownSender = Callable[[str, str], bool]
ACCEPTED = {"ORM": frozenset({"O01"}), "OMI": frozenset({"O23"})}


@dataclass(frozen=True, slots=True)
class Examined:
    """A message with a header: `code` is empty for one to take, else AE or AR with the findings in `conversion`."""

    header: Header
    code: str
    conversion: Conversion


def examine(raw: bytes, profile: Profile, zone: tzinfo, known: KnownSender | None) -> Examined | None:
    """Read and convert a message; None if it has no usable MSH. `known` None admits every sender."""
    header = headers.read_header(raw)
    if header is None:
        return None
    code, finding = check(header, known)
    if finding is not None:
        return Examined(header, code, Conversion((), (finding,)))
    try:
        message = hl7.parse(raw)
    except MalformedMessage as error:
        return Examined(header, "AE", Conversion((), (error.finding,)))
    conversion = mapping.convert(message, profile, zone)
    return Examined(message.header, "" if conversion.usable else "AE", conversion)


def check(header: Header, known: KnownSender | None) -> tuple[str, Finding | None]:
    """What is wrong with MSH: AE or AR and the finding, or nothing."""
    kind, event = header.get(9, 1), header.get(9, 2)
    if not header.control_id.strip():
        return "AE", Finding("MSH^1^10", "101", "Message control id is missing")
    if kind not in ACCEPTED:
        return "AR", Finding("MSH^1^9", "200", "Message type is not supported")
    if event not in ACCEPTED[kind]:
        return "AR", Finding("MSH^1^9", "201", "Event is not supported")
    if header.get(11, 1) != "P":
        return "AR", Finding("MSH^1^11", "202", "Processing id is not P")
    if header.version[:1] != (2,):
        return "AR", Finding("MSH^1^12", "203", "Version is not 2.x")
    if known is not None and not known(header.get(3, 1), header.get(4, 1)):
        return "AR", Finding("MSH^1^3", "103", "Sending application is not known")
    return "", None
