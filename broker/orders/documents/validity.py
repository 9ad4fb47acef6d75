"""Values of attributes in JSON, checked strictly by VR (PS3.5 6.2). Pure; texts of errors hold no values.

What a person or a program of today writes is refused where it is wrong; HL7 senders get more patience (`convert`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from pydicom.datadict import dictionary_VM, dictionary_VR, tag_for_keyword

from broker.dicom.uids import is_uid
from broker.orders.core import identifiers
from broker.orders.core.attributes import Table
from broker.orders.core.names import GROUP
from broker.orders.mapping.as_sent import sent_as
from broker.orders.mapping.representations import LENGTH, LINES, misfit

MAX_VALUES = 64  # values or items of one attribute
MAX_MEMBERS = 500  # attributes of one object, those counted that nobody knows
ENUMERATED: Mapping[str, frozenset[str]] = {
    "PatientSex": frozenset({"M", "F", "O"}),
    "RequestedProcedurePriority": frozenset({"STAT", "HIGH", "ROUTINE", "MEDIUM", "LOW"}),
    "PregnancyStatus": frozenset({"1", "2", "3", "4"}),
}
_DATE = re.compile(r"(\d{4})-?(\d\d)-?(\d\d)", re.ASCII)
_TIME = re.compile(r"([01]\d|2[0-3])(?::?([0-5]\d)(?::?([0-5]\d|60)(?:\.(\d{1,6}))?)?)?", re.ASCII)
_NO_DATE = "a date is YYYYMMDD or YYYY-MM-DD"


class Invalid(ValueError):
    """The value cannot be one of its attribute; the text says what is expected."""


@dataclass(frozen=True, slots=True)
class Field:
    """An attribute of a document; `items` of a sequence by keyword."""

    keyword: str
    vr: str
    multiple: bool
    items: Fields


class Fields(dict[str, Field]):
    """The attributes that an object may have, by keyword.

    `beside`: names under which an order keeps how a sender writes an identifier.
    """

    def __init__(self, known: Mapping[str, Field]) -> None:
        super().__init__(known)
        self.beside = frozenset(name for one in known for name in (identifiers.kept_as(one), sent_as(one)))


def fields(table: Table) -> Fields:
    """The attributes of a table."""
    found: dict[str, Field] = {}
    for keyword, entry in table.items():
        tag = tag_for_keyword(keyword)
        assert tag is not None, keyword
        vr = dictionary_VR(tag)
        multiple = vr == "SQ" or dictionary_VM(tag) != "1"
        found[keyword] = Field(keyword, vr, multiple, fields(entry[1] if isinstance(entry, tuple) else {}))
    return Fields(found)


Failures = list[tuple[str, str]]  # path below what was checked, and what is wrong there


def section(known: Fields, given: Any) -> tuple[dict[str, Any], Failures]:
    """Attributes of one object as values of a document, empty ones to be deleted; and what is wrong, by path."""
    if not isinstance(given, dict):
        return {}, [("", "an object is expected")]
    if len(given) > MAX_MEMBERS:
        return {}, [("", f"at most {MAX_MEMBERS} attributes")]
    values: dict[str, Any] = {}
    wrong: Failures = []
    for keyword, value in given.items():
        field = known.get(keyword)
        if field is None and _beside(known, keyword, value):
            values[keyword] = value
            continue
        if field is None:
            wrong.append((keyword, "unknown attribute"))
            continue
        values[keyword], failures = _attribute(field, value)
        wrong += [(f"{keyword}{path}", text) for path, text in failures]
    return values, wrong


def _beside(known: Fields, keyword: str, value: Any) -> bool:
    """True for what an order's document has beside an identifier: how its sender writes it, a text or components."""
    parts = value if isinstance(value, list) else [value]
    return (
        keyword in known.beside
        and len(parts) <= 4
        and all(isinstance(part, str) and len(part) <= 250 for part in parts)
    )


def _attribute(field: Field, value: Any) -> tuple[Any, Failures]:
    if value is None or value in ("", []):
        return ([] if field.multiple else ""), []
    if not field.multiple:
        return _single(field, value)
    many = value if isinstance(value, list) else [value]
    if len(many) > MAX_VALUES:
        return [], [("", f"at most {MAX_VALUES} values")]
    found: list[Any] = []
    wrong: Failures = []
    for number, one in enumerate(many):
        checked, failures = section(field.items, one) if field.vr == "SQ" else _single(field, one)
        found += [checked] if checked not in ("", {}) else []
        wrong += [(f"/{number}{'/' if path and field.vr == 'SQ' else ''}{path}", text) for path, text in failures]
    return found, wrong


def _single(field: Field, value: Any) -> tuple[Any, Failures]:
    try:
        return checked(field.keyword, field.vr, value), []
    except Invalid as error:
        return "", [("", str(error))]


def checked(keyword: str, vr: str, value: Any) -> str | int:
    """One value as it is kept. Raises Invalid."""
    text = _text(vr, value)
    allowed = ENUMERATED.get(keyword)
    if allowed is not None and text not in allowed:
        raise Invalid(f"one of {', '.join(sorted(allowed))} is expected")
    return _BY_VR.get(vr, _plain)(vr, text)


def _text(vr: str, value: Any) -> str:
    """A value as text without padding and without characters that no text holds (PS3.5 6.1.3)."""
    if isinstance(value, int | float) and not isinstance(value, bool) and vr in {"DS", "IS", "US"}:
        if not abs(value) < 1e15 or (vr != "DS" and value != int(value)):  # also true for what is no number
            raise Invalid("a whole number is expected" if vr != "DS" else "a number is expected")
        return f"{value:.10g}" if vr == "DS" else str(int(value))
    if not isinstance(value, str):
        raise Invalid("text is expected")
    text = value.strip("\r\n\t " if vr in LINES else " ")
    kept = "\r\n\t\f" if vr in LINES else ""
    if any(unicodedata.category(c) in {"Cc", "Cs"} and c not in kept for c in text):
        raise Invalid("control characters are not allowed")
    return text


def _plain(vr: str, text: str) -> str:
    if "\\" in text and vr not in LINES:
        raise Invalid("a backslash is not allowed: several values are a list")
    limit = LENGTH.get(vr, 64)
    if len(text) > limit:
        raise Invalid(f"at most {limit} characters")
    if wrong := misfit(vr, text):
        raise Invalid(wrong)
    return text


def _name(vr: str, text: str) -> str:
    """PN: up to three groups of up to five components (PS3.5 6.2.1)."""
    groups = text.split("=")
    if "\\" in text or len(groups) > 3 or any(len(g) > GROUP or g.count("^") > 4 for g in groups):
        raise Invalid("a name is FAMILY^GIVEN^MIDDLE^PREFIX^SUFFIX, at most three of them joined by =")
    return "" if not text.strip("^= ") else text


def _date(vr: str, text: str) -> str:
    found = _DATE.fullmatch(text)
    if found is None:
        raise Invalid(_NO_DATE)
    try:
        return date(int(found[1]), int(found[2]), int(found[3])).isoformat().replace("-", "")
    except ValueError:
        raise Invalid(_NO_DATE) from None


def _time(vr: str, text: str) -> str:
    found = _TIME.fullmatch(text)
    if found is None:
        raise Invalid("a time is HHMMSS or HH:MM[:SS]")
    second = "59" if found[3] == "60" else found[3] or "00"  # a leap second stays in its minute
    fraction = (found[4] or "").rstrip("0")
    return f"{found[1]}{found[2] or '00'}{second}" + (f".{fraction}" if fraction else "")


def _uid(vr: str, text: str) -> str:
    if not is_uid(text):
        raise Invalid("a UID is numbers without leading zeros, joined by dots, 64 characters at most")
    return text


def _ae_title(vr: str, text: str) -> str:
    if not all(" " <= c <= "~" for c in text):
        raise Invalid("an AE title is 1 to 16 printable ASCII characters without backslash")
    return _plain(vr, text)


def _unsigned(vr: str, text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 5 or int(text) > 0xFFFF:
        raise Invalid("a whole number from 0 to 65535 is expected")
    return int(text)


_BY_VR: Mapping[str, Callable[[str, str], str | int]] = {
    "PN": _name, "DA": _date, "TM": _time, "UI": _uid, "AE": _ae_title, "US": _unsigned,
}  # fmt: skip
