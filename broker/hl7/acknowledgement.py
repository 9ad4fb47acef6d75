"""Builds acknowledgements: MSH, MSA, one ERR per finding (HL7 2.5.1 §2.9, §2.15.5, §2.15.8; ERR-1 form before 2.5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from broker.hl7 import work
from broker.hl7.codes import ERROR_TEXTS, AckCode, ErrorCode
from broker.hl7.fields import ERR, MSA, MSH
from broker.hl7.findings import Finding, MalformedMessage
from broker.hl7.header import Header, Separators, read_remains
from broker.hl7.mllp.framing import join
from broker.hl7.text import charset
from broker.hl7.writer import Component, Escaped, SegmentWriter, Value

__all__ = [
    "Acknowledgement",
    "Body",
    "Finding",
    "MalformedMessage",
    "build",
    "control_id",
    "phases",
    "reply",
    "unreadable",
]

_FEW, _LONGEST = 10, 250  # findings that are always told; bytes of one
_TABLE = "HL70357"
NO_HEADER = Header(Separators(), ("MSH", "|", "^~\\&"), "ascii")


@dataclass(frozen=True, slots=True)
class Body:
    """An application answer: its type (`ORR`, `O02`) and the segments after MSA and ERR, ready and escaped."""

    kind: str
    event: str
    segments: tuple[str, ...]


def control_id(token: UUID) -> str:
    """MSH-10 of an answer: 20 characters, unique over restarts as the token is random."""
    return "BRK" + token.hex[:17].upper()


def phases(header: Header, code: str, *, stored: bool = True) -> tuple[str, str]:
    """Codes of the accept and the application acknowledgement, each empty for none (HL7 2.5.1 §2.9.2, §2.9.3).

    `code` is AA, AE or AR. Original mode knows only the second. In enhanced mode the first says CA for a message that
    is stored, whatever became of it, as long as the second tells that; else it has to tell it itself, by CE or CR.
    An AR, or a message that is not `stored`, ends with the accept phase where the sender listens to that.
    """
    accept, application = (
        _condition(header, field) for field in (MSH.ACCEPT_ACKNOWLEDGEMENT, MSH.APPLICATION_ACKNOWLEDGEMENT)
    )
    if not accept and not application:
        return "", code
    good = code == AckCode.AA
    second = code if _wanted(application, good) else ""
    if good or (stored and code == AckCode.AE and second):
        return (AckCode.CA if _wanted(accept, True) else ""), second
    first = "C" + code[1] if _wanted(accept, False) else ""
    return first, "" if first else second


def _condition(header: Header, field: int) -> str:
    """MSH-15 or MSH-16; blanks are no value, and neither are two quotes."""
    text = header.get(field).strip().upper()
    return "" if text == '""' else text


def _wanted(condition: str, good: bool) -> bool:
    """HL7 table 0155. Who writes something else there listens for an answer."""
    return {"": False, "NE": False, "SU": good, "ER": not good}.get(condition, True)


class Acknowledgement(NamedTuple):
    """What is sent for a message: the code it ends with (`none` for silence), and no, one or two acknowledgements.

    Two are joined by what stands between two frames (`framing.join`).
    """

    code: str
    data: bytes


def reply(
    header: Header,
    code: str,
    findings: Sequence[Finding] = (),
    *,
    token: UUID,
    at: datetime,
    text: str = "",
    stored: bool = True,
    body: Body | None = None,
    received: int = 0,
) -> Acknowledgement:
    """The answer to a message in the mode that its MSH-15 and MSH-16 ask for; the arguments are those of `build`.

    `body` is what an application acknowledgement holds more than an ACK. The message had `received` bytes: an answer
    that would be much longer than it leaves findings out.
    """
    first, second = phases(header, code, stored=stored)
    findings = _shown(findings, work.room(received))
    told = () if second else findings  # once is enough
    parts = []
    if first:
        parts.append(build(header, first, told, token=UUID(int=token.int ^ 1 << 127), at=at, text=text))
    if second:
        parts.append(build(header, second, findings, token=token, at=at, text=text, body=body))
    return Acknowledgement(second or first or "none", join(parts))


def build(
    header: Header,
    code: str,
    findings: Sequence[Finding] = (),
    *,
    token: UUID,
    at: datetime,
    text: str = "",
    body: Body | None = None,
) -> bytes:
    """The answer to the message of `header` in its separators, version and character set: ACK, or what `body` says.

    `token` makes MSH-10, `at` is aware and makes MSH-7, `text` is the MSA-3 of senders before 2.5.
    """
    writer = SegmentWriter(header.separators)
    segments = [_msh(writer, header, token, at, body), _msa(writer, header, code, findings, text)]
    if header.version >= (2, 5):
        segments += [_err(writer, finding) for finding in findings]
    elif told := [finding for finding in findings if finding.is_error or finding.code == ErrorCode.ACCEPTED]:
        # ERR-1 has no severity: a warning with an error code would look like an error
        segments.append(writer.segment("ERR", {ERR.CODE_AND_LOCATION: [_err_1(finding) for finding in told]}))
    segments += body.segments if body else ()
    return charset.encode("".join(segment + "\r" for segment in segments), header.codec)


def unreadable(raw: bytes, *, token: UUID, at: datetime) -> bytes | None:
    """AR for a frame that begins with MSH but cannot be read; None for anything else.

    MSA-2 is the control id where that can be told. UTF-16 and UTF-32 hold bytes of the framing: they are refused, but
    told from noise.
    """
    head = raw[:64].lstrip(b"\xef\xbb\xbf\xff\xfe\r\n\0 \t")
    if head.startswith(b"MSH"):
        finding = Finding("MSH^1", ErrorCode.SEGMENT_SEQUENCE, "Message does not begin with a usable MSH segment")
    elif head.replace(b"\0", b"").startswith(b"MSH"):
        finding = Finding("MSH^1^18", ErrorCode.TABLE_VALUE_NOT_FOUND, "Character set is not supported")
    else:
        return None
    return build(_remains(raw), AckCode.AR, [finding], token=token, at=at)


def _remains(raw: bytes) -> Header:
    """What can be told of an MSH that cannot be used: who sent it, its control id and its version."""
    found = read_remains(raw)
    told = (MSH.SENDING_APPLICATION, MSH.SENDING_FACILITY, MSH.CONTROL_ID, MSH.VERSION)
    write = SegmentWriter(NO_HEADER.separators).text
    fields = [write(text.strip()) if number in told else "" for number, text in enumerate(found)]
    return Header(NO_HEADER.separators, (*NO_HEADER.fields, *fields[len(NO_HEADER.fields) :]), "latin_1")


def _msh(writer: SegmentWriter, header: Header, token: UUID, at: datetime, body: Body | None) -> str:
    event = body.event if body else header.get(MSH.MESSAGE_TYPE, 2)
    event = event if event.isascii() and event.isalnum() else ""
    kind = [body.kind, event, f"{body.kind}_{event}"] if body else ["ACK", event, "ACK"]
    kind = kind if header.version >= (2, 4) else kind[:2]
    fields: dict[int, Value] = {
        MSH.SENDING_APPLICATION: Escaped(header.get(MSH.RECEIVING_APPLICATION)),
        MSH.SENDING_FACILITY: Escaped(header.get(MSH.RECEIVING_FACILITY)),
        MSH.RECEIVING_APPLICATION: Escaped(header.get(MSH.SENDING_APPLICATION)),
        MSH.RECEIVING_FACILITY: Escaped(header.get(MSH.SENDING_FACILITY)),
        MSH.TIME: Escaped(at.strftime("%Y%m%d%H%M%S%z")),
        MSH.MESSAGE_TYPE: tuple(kind if event else kind[:1]),
        MSH.CONTROL_ID: control_id(token),
        MSH.PROCESSING_ID: Escaped(header.get(MSH.PROCESSING_ID) or "P"),
        MSH.VERSION: Escaped(header.get(MSH.VERSION)),
        MSH.CHARACTER_SET: Escaped(header.get(MSH.CHARACTER_SET)),
    }
    return writer.segment("MSH", fields)


def _msa(writer: SegmentWriter, header: Header, code: str, findings: Sequence[Finding], text: str) -> str:
    fields: dict[int, Value] = {MSA.CODE: code, MSA.CONTROL_ID: Escaped(header.control_id)}
    if header.version < (2, 5):
        fields[MSA.TEXT] = (text or _text_of(code, findings))[:80]
    return writer.segment("MSA", fields, least=MSA.CONTROL_ID)


def _shown(findings: Sequence[Finding], room: int) -> Sequence[Finding]:
    """As many as fit into so many bytes and are told, in their order; of too many the errors first."""
    if len(findings) <= _FEW:
        return findings
    many = len(findings) * _LONGEST > room and sum(map(_size, findings)) > room
    if not many and len(findings) <= work.FINDINGS:
        return findings
    shown = sorted(findings, key=lambda finding: not finding.is_error)[: work.FINDINGS]
    while many and len(shown) > _FEW and sum(map(_size, shown)) > room:
        shown.pop()
    return shown


def _size(finding: Finding) -> int:
    return len(finding.location) + len(finding.text) + len(ERROR_TEXTS[finding.code]) + len(_TABLE) + 20


def _text_of(code: str, findings: Sequence[Finding]) -> str:
    """The text that tells why: of the first error, of the first warning only where the message is accepted."""
    good = code[-1:] == "A"
    return next(
        (finding.text for finding in findings if finding.is_error), findings[0].text if good and findings else ""
    )


def _err(writer: SegmentWriter, finding: Finding) -> str:
    fields: dict[int, Value] = {
        ERR.LOCATION: tuple(finding.location.split("^")),
        ERR.CODE: (finding.code, ERROR_TEXTS[finding.code], _TABLE),
        ERR.SEVERITY: finding.severity,
        ERR.USER_MESSAGE: finding.text,
    }
    return writer.segment("ERR", fields)


def _err_1(finding: Finding) -> tuple[Component, ...]:
    segment, sequence, field = [*finding.location.split("^"), "", ""][:3]
    return (segment, sequence, field, (finding.code, ERROR_TEXTS[finding.code], _TABLE))
