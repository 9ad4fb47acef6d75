"""Reads the MSH segment alone: separators and what an answer needs, even if the rest cannot be read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from broker import telemetry
from broker.hl7 import work
from broker.hl7.findings import MalformedMessage
from broker.hl7.text import decoding, labels
from broker.hl7.text.decoding import Decoded, Doubt
from broker.hl7.tolerance import USUAL, Tolerance

_DEFAULTS = "^~\\&"
_BEFORE = b"\xef\xbb\xbf\r\n\0 \t"  # what may stand before a message
CONTROLS: Mapping[int, None] = dict.fromkeys((*range(32), *range(127, 160)))
_TYPE = re.compile(r"[A-Z][A-Z0-9]{2}\^([A-Z][A-Z0-9]{2})?")
_VERSION = re.compile(r"(\d{1,2})\.(\d{1,2})(?:\.(\d{1,2}))?")


def clean(text: str, keep: str = "") -> str:
    """Text without control characters (NUL, C0, DEL, C1) other than those of `keep`."""
    if len(text) > work.PIECE:
        return "".join([clean(text[start:end], keep) for start, end in work.pieces(len(text))])
    return text if text.isprintable() else text.translate(_unwanted(keep))


@lru_cache(maxsize=8)
def _unwanted(keep: str) -> Mapping[int, None]:
    return {code: None for code in CONTROLS if chr(code) not in keep}


@dataclass(frozen=True, slots=True)
class Separators:
    """MSH-1 and MSH-2. A mark that a message does not have is empty."""

    field: str = "|"
    component: str = "^"
    repetition: str = "~"
    escape: str = "\\"
    subcomponent: str = "&"


RECOMMENDED = Separators()  # HL7 2.5.1 §2.5.4


def pieces(text: str, mark: str) -> list[str]:
    """A text split by a mark, whole if there is no such mark."""
    return text.split(mark) if mark else [text]


def _marks(field: str, given: str) -> Separators | None:
    """The separators of MSH-1 and MSH-2, by their position (HL7 2.5.1 §2.5.4); None if they cannot be told apart.

    A short MSH-2 leaves the usual ones; a usual one that already stands for something else is not there.
    """
    named = field + given[:4]
    if len(set(named)) != len(named) or any(mark.isalnum() or mark in ' "' for mark in named):
        return None
    usual = (mark if mark not in named else "" for mark in _DEFAULTS[len(given[:4]) :])
    return Separators(*named, *usual)


@dataclass(frozen=True, slots=True)
class Header:
    """Fields of MSH as received (escaped), control characters removed. `fields[n]` is MSH-n.

    `doubt` says why the message was not simply read as it states.
    """

    separators: Separators
    fields: tuple[str, ...]
    codec: str
    doubt: Doubt = Doubt.NONE

    @classmethod
    def of(cls, message: Decoded, tolerance: Tolerance = USUAL) -> Header | None:
        """The header of a decoded message, None if it has no usable MSH. `tolerance` may fill or replace MSH-12."""
        line = clean(re.split(r"[\r\n]", message.text[: work.MSH], maxsplit=1)[0])
        if not line.startswith("MSH") or len(line) < 5:
            return None
        fields = line.split(line[3])
        separators = _marks(line[3], fields[1])
        if separators is None:
            return None
        stated = "".join(fields[11:12]).strip()
        if version := tolerance.override_version or ("" if stated else tolerance.version):
            fields += [""] * (12 - len(fields))
            fields[11] = version
        return cls(separators, ("MSH", line[3], *fields[1:]), message.codec, message.doubt)

    def get(self, number: int, component: int = 0) -> str:
        """A field as received, or one component of its first repetition."""
        text = self.fields[number] if number < len(self.fields) else ""
        if not component:
            return text
        parts = pieces(text, self.separators.repetition)[0].split(self.separators.component)
        return parts[component - 1].strip() if len(parts) >= component else ""

    @property
    def sender(self) -> str:
        """Sending application and facility as received: `MSH-3|MSH-4`."""
        return f"{self.get(3)}|{self.get(4)}"

    @property
    def control_id(self) -> str:
        """MSH-10."""
        return self.get(10)

    @property
    def message_type(self) -> str:
        """`ORM^O01`: MSH-9.1 and 9.2, whatever the separators."""
        return f"{self.get(9, 1)}^{self.get(9, 2)}"

    @property
    def names_a_type(self) -> bool:
        """Whether MSH-9 is the code of a message (HL7 table 0076). If not, any field may hold anything, also names."""
        return _TYPE.fullmatch(self.message_type) is not None

    @property
    def version(self) -> tuple[int, ...]:
        """MSH-12 as numbers, empty if it is not a version."""
        found = _VERSION.fullmatch(self.get(12, 1))
        return tuple(int(part) for part in found.groups() if part) if found else ()


def read_header(raw: bytes, tolerance: Tolerance = USUAL) -> Header | None:
    """The MSH of a message whose rest may be cut off or unreadable; None without a usable one."""
    head = raw[: labels.OVERVIEW].lstrip(_BEFORE)
    line = re.split(rb"[\r\n]", head, maxsplit=1)[0]
    try:
        message = decoding.decode(line, tolerance)
    except MalformedMessage:
        message = Decoded(line.decode("latin_1"), "latin_1")
    return Header.of(message, tolerance)


def read_remains(raw: bytes) -> tuple[str, ...]:
    """The fields of an MSH with useless separators, as plain text (Latin-1); empty if not even those can be told."""
    line = re.split(rb"[\r\n]", raw[: labels.OVERVIEW].lstrip(_BEFORE), maxsplit=1)[0]
    text = clean(line.decode("latin_1"))
    mark = text[3:4]
    if not text.startswith("MSH") or not mark or mark.isalnum() or mark in ' "':
        return ()
    name, *fields = text.split(mark)
    return (name, mark, *fields)


def log_names(header: Header | None) -> dict[str, str]:
    """Sender and type for the log. Where the type is none, the fields may be shifted and hold a patient."""
    if header is None:
        return {"sender": "", "message_type": ""}
    if header.names_a_type:
        return {"sender": header.sender, "message_type": header.message_type}
    return {"sender": telemetry.identifier(header.sender), "message_type": "other"}
