"""The catalogue of fields that rules may test, with their types. DICOM's quirks end here.

`assoc.calling_ae`, `assoc.called_ae`, `assoc.address`; `tag.<DICOM keyword>` of a top-level element;
`time.hour` (0-23), `time.weekday` (1 Monday to 7 Sunday) in the site's time zone.
"""

from __future__ import annotations

from functools import cache
from typing import Literal

from pydicom.datadict import dictionary_VR, tag_for_keyword

Kind = Literal["text", "number"]
_FIXED: dict[str, Kind] = {
    "assoc.calling_ae": "text",
    "assoc.called_ae": "text",
    "assoc.address": "text",
    "time.hour": "number",
    "time.weekday": "number",
}
_NUMBERS = frozenset({"DS", "IS", "US", "SS", "UL", "SL", "FL", "FD", "UV", "SV"})
_NO_VALUES = frozenset({"SQ", "OB", "OW", "OF", "OD", "OL", "OV", "UN", "OB or OW"})


@cache  # asked for each object; as many as there are fields
def kind_of(field: str) -> Kind | None:
    """Type of a field, None if rules cannot test it."""
    if field in _FIXED:
        return _FIXED[field]
    tag = tag_of(field)
    if tag is None:
        return None
    vr = dictionary_VR(tag)
    if vr in _NO_VALUES:
        return None
    return "number" if vr.split(" ")[0] in _NUMBERS else "text"


@cache
def tag_of(field: str) -> int | None:
    """The tag of a `tag.Keyword` field."""
    namespace, _, keyword = field.partition(".")
    return tag_for_keyword(keyword) if namespace == "tag" and keyword else None
