"""Converts HL7 data types to DICOM values, one function each. They raise Unusable, which says why, for what is none."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache

from broker.hl7.message import DELETE, Repetition, undeleted
from broker.model.order import Document
from broker.orders.core.values import Span
from broker.orders.mapping.representations import LENGTH, LINES, PATTERNS, misfit
from broker.orders.mapping.value_table import OTHERS, ValueTable

DTM = re.compile(r"(\d{4})(\d\d)?(\d\d)?(\d\d)?(\d\d)?(\d\d)?(?:\.(\d{1,6}))?([+-]\d{4})?", re.ASCII)
_UID = re.compile(r"(?:0|[1-9]\d*)(?:\.(?:0|[1-9]\d*))+", re.ASCII)
_ISO_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)", re.ASCII)
_NO_TIME = "no date and time as HL7 writes it (YYYYMMDDHHMMSS)"
_BREAK = str.maketrans({"\\": " ", "\t": " ", "\r": " ", "\n": " "})
# identifiers are never cut: a shorter one would be another one
EXACT = frozenset(
    {
        "PatientID", "AccessionNumber", "RequestedProcedureID", "ScheduledProcedureStepID", "StudyInstanceUID",
        "ScheduledStationAETitle", "PlacerOrderNumberImagingServiceRequest", "FillerOrderNumberImagingServiceRequest",
    }
)  # fmt: skip


class Unusable(ValueError):
    """The value is not one of its type; the text says why, without the value."""


def timestamp(text: str, zone: tzinfo) -> tuple[str, str]:
    """DA and TM of a TS/DTM, on the site's wall clock if it has an offset; empty where it is not precise enough.

    Fractions of a second are kept, but for zeros at their end.
    """
    written = DTM.fullmatch(text.strip())
    if not written:
        raise Unusable(_NO_TIME)
    return _day_and_clock(written[0], zone)


@lru_cache(256)  # several fields of a message hold the same time
def _day_and_clock(stamp: str, zone: tzinfo) -> tuple[str, str]:
    written = DTM.fullmatch(stamp)
    assert written
    year, month, day, hour, minute, second, fraction, offset = written.groups()
    part = (fraction or "").rstrip("0")
    if part and not second:
        raise Unusable(_NO_TIME)
    try:
        moment = datetime(  # noqa: DTZ001 - wall clock of the site
            int(year), int(month or 1), int(day or 1), int(hour or 0), int(minute or 0), int(second or 0)
        )
        if offset and hour:
            away = timedelta(hours=int(offset[1:3]), minutes=int(offset[3:]))
            moment = moment.replace(tzinfo=timezone(-away if offset[0] == "-" else away)).astimezone(zone)
    except (ValueError, OverflowError):
        raise Unusable("there is no such date and time") from None
    if not day:
        return "", ""
    date = f"{moment.year:04}{moment.month:02}{moment.day:02}"
    if not hour:
        return date, ""
    return date, f"{moment.hour:02}{moment.minute:02}{moment.second:02}" + (f".{part}" if part else "")


def date(text: str) -> str:
    """DA of the calendar date written in a TS/DTM or as YYYY-MM-DD, whatever its offset; empty for less than a date."""
    written = _ISO_DATE.fullmatch(text.strip()) or DTM.fullmatch(text.strip())
    if not written:
        raise Unusable("no date as HL7 writes it (YYYYMMDD)")
    return timestamp("".join(part or "" for part in written.groups()[:3]), UTC)[0]


def instant(text: str, zone: tzinfo) -> str:
    """A TS/DTM as digits in UTC, as precise as it is written (minutes or seconds), to compare with others.

    Empty for what cannot be compared: less than minutes, a wall clock that shows this time twice or never, nonsense.
    """
    written = DTM.fullmatch(text.strip())
    if not written or not written[5]:
        return ""
    try:
        day, clock = timestamp(text, UTC)
        moment = datetime.strptime(f"{day}{clock[:6]}", "%Y%m%d%H%M%S").replace(tzinfo=UTC)
        if not written[8]:
            moment = moment.replace(tzinfo=zone)
            if moment.utcoffset() != moment.replace(fold=1).utcoffset():
                return ""
            moment = moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return ""
    return f"{moment.year:04}{moment:%m%d%H%M}{written[6] or ''}"


def span(text: str, zone: tzinfo) -> Span | None:
    """All moments that a TS/DTM can mean: those of its last given unit, in both hours where a local hour comes twice.

    None for less than a date, and for what is none.
    """
    written = DTM.fullmatch(text.strip())
    return _span(written[0], zone) if written and written[3] else None


@lru_cache(256)
def _span(stamp: str, zone: tzinfo) -> Span | None:
    written = DTM.fullmatch(stamp)
    assert written
    year, month, day, hour, minute, second = (int(part or 0) for part in written.groups()[:6])
    offset = written[8]
    length = 1 if written[6] else 60 if written[5] else 3600 if written[4] else 86_400
    try:
        if offset:
            away = timedelta(hours=int(offset[1:3]), minutes=int(offset[3:]))
            zones: tuple[tzinfo, ...] = (timezone(-away if offset[0] == "-" else away),)
        else:
            zones = (zone,)
        moments = [
            datetime(year, month, day, hour, minute, second, tzinfo=where, fold=fold).timestamp()
            for where in zones
            for fold in (0, 1)
        ]
    except (ValueError, OverflowError):
        return None
    return Span(min(moments), max(moments) + length)


def oddity(date: str, time: str, zone: tzinfo) -> str:
    """`skipped` or `repeated` for a wall clock time (DA, TM) that a change of summer time removes or repeats."""
    clock = f"{time[:6]:0<6}"
    wall = datetime(  # noqa: DTZ001 - wall clock of the site
        int(date[:4]), int(date[4:6]), int(date[6:]), int(clock[:2]), int(clock[2:4]), int(clock[4:])
    )
    first, second = (wall.replace(tzinfo=zone, fold=fold).utcoffset() for fold in (0, 1))
    if first is None or second is None or first == second:
        return ""
    return "repeated" if first > second else "skipped"


def text(value: str, vr: str, *, exact: bool = False) -> str:
    """A text value of a VR. Too long ones are cut, with `exact` refused."""
    if vr in LINES:
        value = value.strip(" \t\r\n")
    elif exact and "\\" in value:
        raise Unusable("it holds a backslash")
    else:
        value = _unbroken(value).strip(" ")
    if vr == "CS":
        value = value.upper()
    limit = LENGTH.get(vr, 64)
    if len(value) > limit and (exact or vr in PATTERNS):
        raise Unusable(f"longer than {limit} characters")
    if vr == "UI" and value and not _UID.fullmatch(value):
        raise Unusable("no UID: numbers without leading zeros, joined by dots")
    if vr == "AE" and not (value.isascii() and value.isprintable()):
        raise Unusable("an AE title has ASCII characters only")
    if vr in PATTERNS and (wrong := misfit(vr, value)):
        raise Unusable(wrong)
    return value[:limit].rstrip(" ") if len(value) > limit else value


def _unbroken(value: str) -> str:
    """A text of one line: a space stands for what ends a line or a value."""
    return value if value.isprintable() and "\\" not in value else value.translate(_BREAK)


def unsigned(value: str) -> int:
    """A US value."""
    text = value.strip()
    if not re.fullmatch(r"\d{1,5}", text, re.ASCII) or int(text) > 0xFFFF:
        raise Unusable("a whole number from 0 to 65535 is expected")
    return int(text)


def pieces(value: str, vr: str) -> list[str]:
    """A text split into values of the length its VR allows, for attributes that take several."""
    limit = LENGTH.get(vr, 64)
    whole = _unbroken(value).strip(" ")
    if len(whole) <= limit:
        return [whole] if whole else []
    return [part.strip(" ") for part in (whole[i : i + limit] for i in range(0, len(whole), limit)) if part.strip(" ")]


def coded_text(repetition: Repetition, first: int) -> str:
    """Text of a coded element (CE, CWE) whose code is component `first`; its code without one."""
    return undeleted(repetition.get(first + 1)) or repetition.get(first)


def mapped(text: str, table: ValueTable | None) -> str | int | None:
    """A value by a table; the value itself without a table or entry, None if `*` says that others give nothing."""
    if table is None:
        return text
    value = table.find(text)
    if value is None and (value := table.get(OTHERS, text)) == "":
        return None
    return value


def code_item(repetition: Repetition, first: int, designators: ValueTable | None) -> Document | None:
    """Item of a code sequence, None without a code (PS3.3 8.8: meaning and designator are type 1).

    `designators` are those of DICOM by the names of coding systems in HL7 (table 0396). A code or a scheme is never
    cut: it would be another one.
    """
    code = repetition.get(first).strip()
    if not code or code == DELETE:
        return None
    scheme = mapped(undeleted(repetition.get(first + 2)).strip(), designators)
    if scheme is None:
        raise Unusable("its coding scheme is not in the table of the mapping")
    designator = _unbroken(str(scheme)).strip()
    if len(designator) > LENGTH["SH"]:
        raise Unusable(f"its coding scheme is longer than {LENGTH['SH']} characters")
    return {
        "CodeValue" if len(code) <= LENGTH["SH"] else "LongCodeValue": text(code, "UC", exact=True),
        "CodingSchemeDesignator": designator,
        "CodeMeaning": text(undeleted(repetition.get(first + 1)) or code, "LO"),
    }


def issuer(parts: Sequence[str]) -> Document:
    """Item of an issuer sequence from namespace, universal id, universal id type (HD, and EI from component 2)."""
    namespace, universal, kind = (undeleted(part).strip() for part in (*parts[:3], *[""] * (3 - len(parts[:3]))))
    item = {"LocalNamespaceEntityID": namespace, "UniversalEntityID": universal}
    if universal and kind:
        item["UniversalEntityIDType"] = kind
    if any(len(value) > LENGTH["LO"] for value in item.values()):
        raise Unusable(f"an authority is longer than {LENGTH['LO']} characters")
    return {keyword: value for keyword, value in item.items() if value}


def issuer_qualifiers(repetition: Repetition) -> Document:
    """Item of Issuer of Patient ID Qualifiers Sequence from a CX (PS3.3 table 10-18)."""
    item = issuer(repetition.components(4))
    item.pop("LocalNamespaceEntityID", None)
    kind = undeleted(repetition.get(5)).strip()
    if kind and item:
        item["IdentifierTypeCode"] = text(kind, "CS")
    return item


def other_id(repetition: Repetition) -> Document | None:
    """Item of Other Patient IDs Sequence from a CX."""
    number = repetition.get(1).strip()
    if not number or number == DELETE:
        return None
    item = {"PatientID": text(number, "LO", exact=True), "TypeOfPatientID": "TEXT"}
    authority = undeleted(repetition.get(4, 1)).strip() or undeleted(repetition.get(4, 2)).strip()
    if authority:
        item["IssuerOfPatientID"] = text(authority, "LO", exact=True)
    return item


def decimal(value: float) -> str:
    """A DS value: at most 16 characters."""
    return f"{value:.6g}"
