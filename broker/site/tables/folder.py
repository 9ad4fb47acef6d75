"""Defines the table `files` of a folder node: which name an object gets, and what becomes of one that is there."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema
from pydicom.datadict import dictionary_VR, tag_for_keyword

PLACE = re.compile(r"\{([A-Za-z0-9]+)(?:\|([A-Za-z0-9 _=+()-]+))?\}")  # an attribute, and what stands for an empty one
_LITERAL = re.compile(r"[A-Za-z0-9 _.,=+()#~-]*")
_TEXTS = frozenset({"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "PN", "SH", "TM", "UI"})
MOST_PARTS = 16


def _template(value: str) -> str:
    parts = value.split("/")
    if len(parts) > MOST_PARTS:
        raise ValueError(f"at most {MOST_PARTS} names between slashes")
    for part in parts:
        literal = PLACE.sub("x", part)
        if not literal or literal[0] == "." or literal[-1] in ". ":
            raise ValueError("a name is not empty, begins with no dot, and ends with no dot or blank")
        if not _LITERAL.fullmatch(literal):
            raise ValueError("names have letters, digits, blanks and _.,=+()#~- and attributes like {PatientID}")
    for keyword in keywords(value):
        tag = tag_for_keyword(keyword)
        if tag is None or tag < 0x00080000 or dictionary_VR(tag) not in _TEXTS:
            raise ValueError(f"{keyword}: no keyword of an attribute with a short text")
    if "SOPInstanceUID" not in keywords(value):
        raise ValueError("has {SOPInstanceUID}, or objects would have one name")
    return value


def keywords(template: str) -> list[str]:
    """The attributes that a template names."""
    return [found[1] for found in PLACE.finditer(template)]


Template = Annotated[
    str,
    Field(min_length=1, max_length=500),
    AfterValidator(_template),
    WithJsonSchema({"type": "string", "format": "path of literal names and {Keyword} or {Keyword|instead}"}),
]


class FolderFiles(BaseModel):
    """`files` of a node with kind folder: names of the files that objects become (PS3.10 7)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Template = Field(
        default="{PatientID|unknown}/{StudyInstanceUID}/{SeriesInstanceUID}/{SOPInstanceUID}.dcm",
        description="Path below the folder. An attribute without a value holds the object; `{PatientID|unknown}` says "
        "what stands in its place.",
    )
    existing: Literal["hold", "beside", "replace"] = Field(
        default="hold",
        description="A file of this name with other bytes is there. hold: a person decides. beside: the new one gets a "
        "number behind its name. replace: it takes the place of the old one.",
    )
    marker: str = Field(
        default="",
        max_length=200,
        pattern=r"^([A-Za-z0-9_.-]*[A-Za-z0-9_-])?$",
        description="A file or folder that must be in the folder: without it, it counts as not mounted.",
    )
