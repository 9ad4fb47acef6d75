"""Completes what a person types into a mapping profile: tables, keys, DICOM keywords, paths of HL7 fields, values."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from pydicom.datadict import dictionary_description, tag_for_keyword

from broker.hl7 import dictionary
from broker.model.modalities import MODALITIES
from broker.orders.core.identifiers import Identifiers
from broker.orders.mapping.effects import KEYWORDS
from broker.orders.mapping.parsing import TERMS
from broker.orders.mapping.profile import SECTIONS, FieldType, Policy, Reading

MOST = 30  # suggestions
LONGEST = 1000  # characters of a line that is looked at
Suggested = Iterator[tuple[str, str]]  # a text with a note about it

_CHOICES: Mapping[str, type[Any]] = {"identifiers": Identifiers, "policy": Policy, "reading": Reading}
_TABLES: Mapping[str, str] = {  # as they are written, with what they are for
    "[senders]": "whose messages it reads",
    **{f"[{section}]": "DICOM keywords and their HL7 fields" for section in SECTIONS},
    "[values.": "a value table of one keyword",
    "[measures.": "a measurement of OBX",
    "[defaults]": "values of what the first message leaves out",
    "[names]": "which of several names is taken",
    "[check]": "modalities that orders may name",
    "[identifiers]": "where numbers come from",
    "[policy]": "what is done about what is missing",
    "[reading]": "how messages are read before they are mapped",
    "[[station]]": "a rule that gives a step its station",
    "[[ignore]]": "a rule for what is not for this broker",
    "[[example]]": "a message and what is expected of it",
    "[example.expect]": "what is expected of it",
}
_KEYS: Mapping[str, Mapping[str, str]] = {
    "": {
        "name": "letters, digits, - and _",
        "extends": "the profile that it completes",
        "description": "a line about it",
        "sample": "true: an example",
    },
    "senders": {"match": 'a list like [{ application = "RIS*", facility = "CHU" }]'},
    "names": {
        "order": "types of names, the first that is there",
        "never": "types that are not shown",
        "writings": "japanese, script or declared",
    },
    "check": {"modalities": "a list; CID29: all that are known"},
    "station": {
        "when": "conditions, all must fit",
        "ae_title": "one or several",
        "station_name": "a text",
        "location": "a text",
        "trust_message": "false: not the station of the message",
    },
    "ignore": {"when": "conditions, all must fit"},
    "example": {
        "name": "what it shows",
        "message": "the message, between '''",
        "answer": "AA, AE or AR",
        "findings": "places and codes",
        "timezone": "of the site",
        "orders": "how many",
        "steps": "how many",
    },
    "measures": {"codes": "of OBX-3", "texts": "of OBX-3", "units": "unit = factor", "limits": "least and greatest"},
}
_BARE = re.compile(r"[A-Za-z0-9_.\-\[]*$")
_PATH = re.compile(r"(?:([A-Z][A-Z0-9]{2})/)?([A-Z][A-Z0-9]{2})-(\d{0,3})$")
_TYPED = re.compile(r"[A-Z][A-Z0-9]{2}[-.\[][^:\"]*:([A-Z]*)$")


@dataclass(frozen=True, slots=True)
class Completion:
    """What may stand at the caret: `text` takes the place of the last `over` characters before it."""

    text: str
    over: int
    note: str = ""


def completions(table: str, line: str) -> list[Completion]:
    """What may be written behind the beginning of a line, in the table whose header stands above it (`[step]`).

    At most MOST, those that begin as what was typed first.
    """
    line, name = line[-LONGEST:], re.sub(r"[\[\]\s]", "", table)[:200]
    if line.lstrip().startswith("#"):
        return []
    if line.lstrip().startswith("["):
        typed = line.lstrip()
        return _fitting(typed, iter(_TABLES.items())) or _of_table(typed)
    quoted = _open_text(line)
    if quoted is not None:
        return _in_text(name, line, quoted)
    found = _BARE.search(line)
    typed = found[0] if found else ""
    if "=" not in line:
        return _fitting(typed, _keys(name))
    if "{" in line and not line.rstrip().endswith("="):
        return _fitting(typed, _inline(name, line))
    return []


def _of_table(typed: str) -> list[Completion]:
    """`[values.` and what stands behind it."""
    head, dot, begun = typed.partition(".")
    if not dot or head not in ("[values", "[measures"):
        return []
    return [Completion(f"{one.text}]", one.over, one.note) for one in _fitting(begun, _keywords(*SECTIONS))]


def _fitting(typed: str, suggested: Suggested) -> list[Completion]:
    """Those that begin with, and then those that hold what was typed."""
    small = typed.casefold()
    every = [(text, note) for text, note in suggested if text != typed]
    first = [one for one in every if one[0].casefold().startswith(small)]
    others = [one for one in every if len(small) > 2 and one not in first and small in " ".join(one).casefold()]
    return [Completion(text, len(typed), note) for text, note in (first + others)[:MOST]]


def _open_text(line: str) -> str | None:
    """What stands behind an opening quote that is not closed yet; None outside of texts."""
    mark, begin = "", 0
    for place, character in enumerate(line):
        if mark:
            mark = "" if character == mark else mark
        elif character in "\"'":
            mark, begin = character, place + 1
        elif character == "#":
            return None
    return line[begin:] if mark else None


def _keys(table: str) -> Suggested:
    """Keys of a table."""
    head, _, rest = table.partition(".")
    if head in SECTIONS:
        yield from _keywords(head)
    elif head == "defaults" or (head == "example" and rest):
        yield from _keywords(*SECTIONS)
    elif head in _CHOICES:
        yield from ((field.name, " | ".join(TERMS[field.name])) for field in fields(_CHOICES[head]))
    elif head != "values":
        yield from _KEYS.get(head, {}).items()


def _keywords(*sections: str) -> Suggested:
    """DICOM keywords of sections with their names."""
    for keyword in sorted({keyword for section in sections for keyword in KEYWORDS[section]}):
        yield keyword, dictionary_description(tag_for_keyword(keyword) or 0)


def _inline(table: str, line: str) -> Suggested:
    """Keys of a table in one line: conditions, and senders."""
    key = line.partition("=")[0].strip()
    if key == "when":
        yield from {"sender": "MSH-3|MSH-4", "type": "MSH-9, in [[ignore]]"}.items()
        if table == "station":
            yield from _keywords(*SECTIONS)
    elif key == "match":
        yield from {"application": "MSH-3", "facility": "MSH-4"}.items()


def _in_text(table: str, line: str, typed: str) -> list[Completion]:
    """Between quotes: paths of HL7 fields, terms of a choice, modalities."""
    head, _, keyword = table.partition(".")
    key = line.partition("=")[0].strip()
    if head in SECTIONS or (head in ("station", "ignore") and _is_name(line, typed)):
        return _paths(typed)
    if head in _CHOICES and key in TERMS:
        return _fitting(typed, ((str(term), "") for term in TERMS[key]))
    modality = (head == "values" and keyword == "Modality" and "=" in line) or key in ("Modality", "modalities")
    return _fitting(typed, ((one, "") for one in sorted(MODALITIES))) if modality else []


def _is_name(line: str, typed: str) -> bool:
    """An open text is the name of a condition, not its value."""
    return line[: len(line) - len(typed) - 1].rstrip().endswith(("{", ","))


def _paths(typed: str) -> list[Completion]:
    """A segment, a field of one, or a type behind a path."""
    if kind := _TYPED.search(typed):
        return _fitting(kind[1], ((one.value, _KINDS[one]) for one in FieldType if one.value))
    if found := _PATH.search(typed):
        names = enumerate(dictionary.names_of(found[2]), 1)
        begun = [(f"{found[2]}-{number}", name) for number, name in names if str(number).startswith(found[3])]
        return [Completion(text, len(found[2]) + 1 + len(found[3]), name) for text, name in begun[:MOST]]
    return _fitting(typed.rpartition("/")[2], ((f"{name}-", title) for name, title in dictionary.titles().items()))


_KINDS: Mapping[FieldType, str] = {
    FieldType.PLAIN: "",
    FieldType.XPN: "a person's name",
    FieldType.XCN: "a person's name behind an identifier",
    FieldType.CN: "a person's name behind an identifier, HL7 2.3",
    FieldType.TEXT: "the text of a coded element, else its code",
    FieldType.NOTES: "free text, all repetitions, one line each",
    FieldType.MEASURE: "a measurement",
    FieldType.CODE: "a code sequence",
    FieldType.OTHER_IDS: "further patient identifiers",
    FieldType.EI: "an issuer of numbers",
    FieldType.HD: "an issuer",
    FieldType.CX_QUALIFIERS: "qualifiers of the issuer",
}
