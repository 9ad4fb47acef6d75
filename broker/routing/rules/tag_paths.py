"""Reads the `tag.` fields of rules: which element of an object a field means.

tag.Modality                                        all values of an element
tag.ImageType[3]                                    its third value; values that are empty count
tag.PatientName.family                              a component of a person name, in any of its component groups
tag.PatientName.ideographic                         a component group of a person name
tag.ProcedureCodeSequence.CodeValue                 in any item of a sequence
tag.RequestAttributesSequence[1].AccessionNumber    in its first item
tag.RequestAttributesSequence                       how many items a sequence has
tag.(0019,xx0C,"SIEMENS MR HEADER")                 a private element, by its creator (PS3.5 7.8.1)
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from pydicom.datadict import private_dictionary_VR, tag_for_keyword

from broker import telemetry
from broker.dicom.dataset.encoding import dictionary_vr

PREFIX = "tag."
EACH = -1  # the index of a step that means each item for itself
MAX_STEPS = 5
MAX_LENGTH = 300  # characters of a field
COMPONENTS = ("family", "given", "middle", "prefix", "suffix")  # of a person name (PS3.5 6.2.1.1)
GROUPS = ("alphabetic", "ideographic", "phonetic")
_STEP = re.compile(
    r"(?:(?P<keyword>[A-Za-z][A-Za-z0-9]*)"
    r'|\((?P<group>[0-9A-Fa-f]{4}),xx(?P<number>[0-9A-Fa-f]{2}),(?:"(?P<quoted>[^"]{1,64})"|(?P<creator>[^")]{1,64}))\))'
    r"(?:\[(?P<index>[0-9]{1,3}|\*)\])?(?:\.|$)"
)


class NoSuchField(ValueError):
    """A field that rules cannot test; the text says why."""


@dataclass(frozen=True, slots=True)
class PathStep:
    """An element on the way to a value. `creator`: of a private one, whose tag has 00 for its block.

    `index`: which item or value, from 1; 0 for any, EACH for each item for itself.
    """

    tag: int
    vr: str
    creator: str = ""
    index: int = 0


@dataclass(frozen=True, slots=True)
class TagPath:
    """The way to the values of a field; all steps but the last are sequences. `part`: of a person name."""

    steps: tuple[PathStep, ...]
    part: str = ""

    @property
    def vr(self) -> str:
        """Value representation of the values."""
        return self.steps[-1].vr


def tag_path(field: str) -> TagPath:
    """The path that a `tag.` field means. Raises NoSuchField."""
    found = _parsed(field)
    if isinstance(found, str):
        raise NoSuchField(found)
    return found


@lru_cache(4096)
def _parsed(field: str) -> TagPath | str:
    """The path, or why there is none."""
    if len(field) > MAX_LENGTH or not field.startswith(PREFIX):
        return "no such field"
    steps: list[PathStep] = []
    position = len(PREFIX)
    while position < len(field):
        if steps and steps[-1].vr == "PN":
            part = field[position:]
            if part not in COMPONENTS + GROUPS:
                return f"a person name has no part {part!r}; it has {', '.join(COMPONENTS + GROUPS)}"
            return TagPath(tuple(steps), part)
        match = _STEP.match(field, position)
        if match is None:
            return "not a path of keywords"
        step = _step(match)
        if isinstance(step, str):
            return step
        if steps and steps[-1].vr != "SQ":
            return f"only a sequence has something below it: {field[:position].rstrip('.')!r} is none"
        steps.append(step)
        position = match.end()
        if len(steps) > MAX_STEPS:
            return f"more than {MAX_STEPS} steps"
    if not steps or field.endswith("."):
        return "a keyword is missing"
    return TagPath(tuple(steps))


def _step(match: re.Match[str]) -> PathStep | str:
    index = EACH if match["index"] == "*" else int(match["index"] or 0)
    if match["index"] in ("0", "00", "000"):
        return "items and values are counted from 1"
    if match["keyword"]:
        tag = tag_for_keyword(match["keyword"])
        if tag is None:
            return f"{match['keyword']!r} is no keyword of the data dictionary (PS3.6)"
        return PathStep(tag, dictionary_vr(tag).split(" ")[0], index=index)
    group, creator = int(match["group"], 16), (match["quoted"] or match["creator"]).strip()
    if not group % 2:
        return "only an odd group is private"
    tag = group << 16 | int(match["number"], 16)
    return PathStep(tag, _private_vr(tag, creator), creator, index)


def _private_vr(tag: int, creator: str) -> str:
    """VR of a private element that is widely known, else that of text."""
    try:
        return private_dictionary_VR(tag | 0x1000, creator).split(" ")[0]
    except KeyError:
        return "LO"


telemetry.count_entries("rule-fields", _parsed)
