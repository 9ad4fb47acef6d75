"""A matcher by the words of PS3.4 C.2.2.2 and K.6.1.2.2, straightforward and slow, to compare the real one with.

It shares nothing with the code under test: keys are what the test says, not what was read from bytes.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from datetime import date
from typing import Any

from pydicom.datadict import dictionary_VR

from support.worklist.worklist_table import ROWS

SPS = "ScheduledProcedureStepSequence"
START = ("ScheduledProcedureStepStartDate", "ScheduledProcedureStepStartTime")
NEVER = {row.keyword for row in ROWS if not row.matched}
Moment = tuple[int, ...]
LAST = (9999, 12, 31), (23, 59, 60, 999999)


def finds(document: Mapping[str, Any], keys: Mapping[str, Any]) -> bool:
    """Is this step an answer to a query for these keys? Raises ValueError for keys that mean nothing."""
    step = document[SPS][0]
    asked = (keys.get(SPS) or [{}])[0]
    fits = _fits(document, keys)  # first of all: a senseless key is refused whatever is stored
    if "Held" in document or not step[START[0]]:
        return False
    if _universal("CS", asked.get("ScheduledProcedureStepStatus", "")):
        fits = fits and step["ScheduledProcedureStepStatus"] in {"SCHEDULED", "ARRIVED", "READY"}
    return fits


def _fits(entity: Mapping[str, Any], keys: Mapping[str, Any], parent: str = "") -> bool:
    joined = parent == SPS and _combines(keys)
    separate = [name for name in keys if name not in NEVER and not (joined and name in START)]
    results = [_attribute(name, keys[name], entity) for name in separate]
    return all([*results, _start(entity, keys)] if joined else results)


def _attribute(keyword: str, key: Any, entity: Mapping[str, Any]) -> bool:
    vr = dictionary_VR(keyword)
    if vr == "SQ":
        item = key[0] if key else {}
        results = [_fits(stored, item, keyword) for stored in entity.get(keyword) or [{}]]
        return not _constrains(item) or (bool(entity.get(keyword)) and any(results))
    if _universal(vr, key):
        return True
    stored = [text for value in _list(entity.get(keyword)) if (text := _trim(vr, str(value)))]
    if vr in ("DA", "TM"):
        spans = [_span(vr, value) for value in _parts(vr, key)]
        moments = [_moment(vr, value)[0] for value in stored]
        return any(low <= moment <= high for low, high in spans for moment in moments)
    return any(_equal(vr, asked, value) for asked in _parts(vr, key) for value in stored)


def _constrains(item: Mapping[str, Any]) -> bool:
    for keyword, key in item.items():
        vr = dictionary_VR(keyword)
        if keyword in NEVER:
            continue
        if (_constrains(key[0]) if key else False) if vr == "SQ" else not _universal(vr, key):
            return True
    return False


def _list(value: Any) -> list[Any]:
    return [] if value is None else value if isinstance(value, list) else [value]


def _parts(vr: str, key: Any) -> list[str]:
    """The values of a key that are not empty."""
    text = "\\".join(str(value) for value in _list(key))
    values = [text] if vr in ("LT", "ST", "UT") else text.split("\\")
    return [part for value in values if (part := _trim(vr, value))]


def _trim(vr: str, value: str) -> str:
    """Without padding that is not significant (PS3.5 6.2)."""
    value = value.rstrip(" \0") if vr in ("LT", "ST", "UC", "UT") else value.strip(" \0")
    return "" if vr == "PN" and not re.sub(r"[\s^=]", "", value) else value


def _universal(vr: str, key: Any) -> bool:
    parts = _parts(vr, key)
    return not parts or any(not part.replace("*", "") for part in parts)


# --- texts and names ---------------------------------------------------------------------------------------------


def _equal(vr: str, asked: str, stored: str) -> bool:
    if vr == "PN":
        return _same_name(asked, stored)
    if vr in ("AE", "CS", "LO", "LT", "SH", "ST", "UC", "UT"):
        return _like(asked, stored)
    return asked == stored


def _like(pattern: str, value: str) -> bool:
    expression = "".join({"*": ".*", "?": "."}.get(char) or re.escape(char) for char in pattern)
    return re.fullmatch(expression, value, re.DOTALL) is not None


def _plain(name: str) -> list[str]:
    """The component groups without case, accents and padding."""
    text = unicodedata.normalize("NFKD", name.casefold())
    text = re.sub("[\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0670]", "", text)
    text = "".join(map(_letter, unicodedata.normalize("NFC", text).casefold()))
    groups = text.split("=")
    return [re.sub(r"\s*\^\s*", "^", group.strip()).rstrip("^").strip() for group in groups]


def _letter(char: str) -> str:
    """A Latin letter as it is written where it has no stroke, hook or ligature."""
    special = {"æ": "ae", "œ": "oe", "þ": "th", "ð": "d", "ı": "i", "ŋ": "n"}
    stroked = re.match("LATIN SMALL LETTER ([A-Z]) WITH STROKE", unicodedata.name(char, ""))
    return special.get(char) or (stroked[1].lower() if stroked else char)


def _same_name(asked: str, stored: str) -> bool:
    wanted, there = _plain(asked), _plain(stored)
    while len(wanted) > 1 and not wanted[-1]:
        wanted.pop()
    if len(wanted) == 1:
        return any(group and _like_group(wanted[0], group) for group in there)
    there += [""] * len(wanted)
    return all(not group or (there[i] and _like_group(group, there[i])) for i, group in enumerate(wanted))


def _like_group(asked: str, there: str) -> bool:
    """As it stands, or with the empty components at its end written out, five at most."""
    more = asked.count("^") - there.count("^") if asked.count("^") <= 4 else 0
    return any(_like(asked, there + "^" * n) for n in {0, max(0, more)})


# --- dates and times ---------------------------------------------------------------------------------------------


def _moment(vr: str, text: str) -> tuple[Moment, Moment]:
    """First and last moment of a value."""
    if vr == "DA":
        if not re.fullmatch(r"\d{8}|\d{4}\.\d\d\.\d\d", text, re.ASCII):
            raise ValueError("date")
        day = date.fromisoformat(text.replace(".", "-"))
        return (day.year, day.month, day.day), (day.year, day.month, day.day)
    if re.fullmatch(r"24(:?00(:?00(\.0*)?)?)?", text):
        return (0, 0, 0, 0), (23, 59, 59, 999999)  # midnight, of which a single value is only the end
    found = re.fullmatch(r"(\d\d)(?:(:?)(\d\d)(?:\2(\d\d)(?:\.(\d{0,6}))?)?)?", text, re.ASCII)
    if found is None or int(found[1]) > 23 or int(found[3] or 0) > 59 or int(found[4] or 0) > 60:
        raise ValueError("time")
    hour, minute, second, fraction = found[1], found[3], found[4], found[5] or ""
    first = (int(hour), int(minute or 0), int(second or 0), int(fraction.ljust(6, "0")))
    last = (int(hour), int(minute or 59), int(second or 59), int(fraction.ljust(6, "9")))
    return first, last


def _span(vr: str, text: str) -> tuple[Moment, Moment]:
    low, dash, high = (part.strip() for part in text.partition("-"))
    if not dash:
        return _moment(vr, low)
    if not low and not high:
        raise ValueError("range")
    earliest = (0, 0, 0) if vr == "DA" else (0, 0, 0, 0)
    return _moment(vr, low)[0] if low else earliest, _moment(vr, high)[1] if high else LAST[vr == "TM"]


def _form(spans: list[str]) -> str:
    """Which ends a key has; empty for what is not one range or value."""
    if len(spans) != 1:
        return ""
    low, dash, high = (part.strip() for part in spans[0].partition("-"))
    return "single" if not dash else f"{bool(low)}-{bool(high)}"


def _combines(keys: Mapping[str, Any]) -> bool:
    """Both start keys are ranges, of the same form (table K.6-1 for the two of them)."""
    day, clock = (_parts(vr, keys.get(name, "")) for name, vr in zip(START, ("DA", "TM"), strict=True))
    universal = any(_universal("DA", keys.get(name, "")) for name in START)
    return not universal and _form(day) == _form(clock) not in ("", "single")


def _start(step: Mapping[str, Any], keys: Mapping[str, Any]) -> bool:
    """Lower ends joined, upper ends joined: one interval."""
    days, times = (_span(vr, _parts(vr, keys[name])[0]) for name, vr in zip(START, ("DA", "TM"), strict=True))
    if not step.get(START[0]) or not step.get(START[1]):
        return False
    moment = _moment("DA", step[START[0]])[0] + _moment("TM", step[START[1]])[0]
    return days[0] + times[0] <= moment <= days[1] + times[1]
