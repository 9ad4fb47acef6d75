"""Acknowledgements: MSH, MSA, one ERR per finding (HL7 2.5.1 §2.9, §2.15.5, §2.15.8; ERR-1 form before 2.5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from broker.hl7 import charset
from broker.hl7.findings import CODES, Finding, MalformedMessage
from broker.hl7.header import Header, Separators

__all__ = ["Finding", "MalformedMessage", "Reply", "build", "codes_for", "control_id", "unreadable"]

MAX_FINDINGS = 100
_UNREADABLE = Header(Separators(), ("MSH", "|", "^~\\&"), "ascii")


@dataclass(frozen=True, slots=True)
class Reply:
    """An application answer: its type (`ORR`, `O02`) and the segments after MSA and ERR, ready and escaped."""

    kind: str
    event: str
    segments: tuple[str, ...]


def control_id(token: UUID) -> str:
    """MSH-10 of an answer: 20 characters, unique over restarts as the token is random."""
    return "BRK" + token.hex[:17].upper()


def codes_for(header: Header) -> dict[str, str]:
    """Codes for accepted, error and reject: AA AE AR, or CA CE CR for a sender that wants only accept answers.

    Processing is synchronous, so in enhanced mode one answer serves (HL7 2.5.1 §2.9.3).
    """
    enhanced = header.get(15) in {"AL", "SU", "ER"} and header.get(16) in {"", "NE"}
    return {code: ("C" if enhanced else "A") + code[1] for code in ("AA", "AE", "AR")}


def build(
    header: Header,
    code: str,
    findings: Sequence[Finding] = (),
    *,
    token: UUID,
    at: datetime,
    text: str = "",
    reply: Reply | None = None,
) -> bytes:
    """The answer to the message of `header` in its separators, version and character set: ACK, or what `reply` says.

    `token` makes MSH-10, `at` is aware and makes MSH-7, `text` is the MSA-3 of senders before 2.5.
    """
    mark = header.separators
    shown = list(findings[:MAX_FINDINGS])
    segments = [_msh(header, token, at, reply), _msa(header, code, shown, text)]
    if header.version >= (2, 5):
        segments += [_err(finding, mark) for finding in shown]
    elif told := [finding for finding in shown if finding.is_error or finding.code == "0"]:
        # ERR-1 has no severity: a warning with an error code would look like an error
        segments.append("ERR" + mark.field + mark.repetition.join(_err_1(finding, mark) for finding in told))
    segments += reply.segments if reply else ()
    return charset.encode("".join(segment + "\r" for segment in segments), header.codec)


def unreadable(raw: bytes, *, token: UUID, at: datetime) -> bytes | None:
    """AR with an empty MSA-2 for a frame that begins with MSH but cannot be read; None for anything else."""
    if not raw.lstrip(b"\xef\xbb\xbf\r\n\0 \t").startswith(b"MSH"):
        return None
    finding = Finding("MSH^1", "100", "Message does not begin with a usable MSH segment")
    return build(_UNREADABLE, "AR", [finding], token=token, at=at)


def _msh(header: Header, token: UUID, at: datetime, reply: Reply | None) -> str:
    mark = header.separators
    event = reply.event if reply else header.get(9, 2)
    event = event if event.isascii() and event.isalnum() else ""
    kind = [reply.kind, event, f"{reply.kind}_{event}"] if reply else ["ACK", event, "ACK"]
    kind = kind if header.version >= (2, 4) else kind[:2]
    fields = {
        3: header.get(5), 4: header.get(6), 5: header.get(3), 6: header.get(4),
        7: at.strftime("%Y%m%d%H%M%S%z"),
        9: mark.component.join(kind if event else kind[:1]),
        10: control_id(token),
        11: header.get(11) or "P",
        12: header.get(12),
        18: header.get(18),
    }  # fmt: skip
    marks = mark.component + mark.repetition + mark.escape + mark.subcomponent
    values = [fields.get(number, "") for number in range(3, 19)]
    return mark.field.join(["MSH", marks, *values]).rstrip(mark.field)


def _msa(header: Header, code: str, findings: Sequence[Finding], text: str) -> str:
    mark = header.separators
    fields = ["MSA", code, header.control_id]
    if header.version < (2, 5):
        text = text or (findings[0].text if findings else "")
        if text:
            fields.append(mark.escaped(text[:80]))
    return mark.field.join(fields)


def _err(finding: Finding, mark: Separators) -> str:
    location = mark.component.join(finding.location.split("^"))
    code = mark.component.join([finding.code, CODES[finding.code], "HL70357"])
    return mark.field.join(["ERR", "", location, code, finding.severity, "", "", "", mark.escaped(finding.text)])


def _err_1(finding: Finding, mark: Separators) -> str:
    segment, sequence, field = [*finding.location.split("^"), "", ""][:3]
    code = mark.subcomponent.join([finding.code, CODES[finding.code], "HL70357"])
    return mark.component.join([segment, sequence, field, code])
