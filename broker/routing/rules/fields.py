"""The catalogue of fields that rules may test, each with the kind of its values.

`assoc.*` is the association that brought an object, `tag.*` the object (`tag_paths.py`), `order.*` the order that it
belongs to, `match.status` how sure that is (matched, unmatched, ambiguous, demographics-differ), `time.*` when it was
received. `study.*` and `series.*` are known once the study or series is complete.
"""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache

from broker import telemetry
from broker.routing.rules.tag_paths import PREFIX, NoSuchField, tag_path


class FieldKind(StrEnum):
    """What the values of a field are, and so which operators it has and how they compare."""

    TEXT = "text"
    NAME = "name"  # a person name
    NUMBER = "number"
    DATE = "date"  # YYYYMMDD
    TIME = "time"  # HHMMSS.FFFFFF
    DATETIME = "datetime"  # YYYYMMDDHHMMSS.FFFFFF
    AGE = "age"  # nnnD, nnnW, nnnM, nnnY
    ITEMS = "items"  # of a sequence: their number
    WINDOW = "window"  # a time that lies in a window of the week, or not


FIXED: dict[str, FieldKind] = {
    "assoc.calling_ae": FieldKind.TEXT,
    "assoc.called_ae": FieldKind.TEXT,
    "assoc.address": FieldKind.TEXT,
    "assoc.tls_subject": FieldKind.TEXT,
    "order.accession_number": FieldKind.TEXT,
    "order.placer_order_number": FieldKind.TEXT,
    "order.filler_order_number": FieldKind.TEXT,
    "order.priority": FieldKind.TEXT,
    "order.patient_class": FieldKind.TEXT,
    "order.ward": FieldKind.TEXT,
    "order.procedure_code": FieldKind.TEXT,
    "order.procedure": FieldKind.TEXT,
    "order.modality": FieldKind.TEXT,
    "order.station": FieldKind.TEXT,
    "order.requesting_physician": FieldKind.NAME,
    "order.requesting_service": FieldKind.TEXT,
    "order.status": FieldKind.TEXT,
    "match.status": FieldKind.TEXT,
    "study.instances": FieldKind.NUMBER,  # objects
    "study.series": FieldKind.NUMBER,  # series
    "study.modalities": FieldKind.TEXT,
    "study.age": FieldKind.NUMBER,  # seconds since its first object
    "study.complete": FieldKind.TEXT,  # why it is complete
    "series.instances": FieldKind.NUMBER,
    "time.hour": FieldKind.NUMBER,
    "time.weekday": FieldKind.NUMBER,
    "time.date": FieldKind.DATE,
    "time.of_day": FieldKind.TIME,
    "time.holiday": FieldKind.TEXT,
    "time.local": FieldKind.DATETIME,
    "time.window": FieldKind.WINDOW,
}
OF_STUDY, OF_SERIES = "study.", "series."
_NUMBERS = frozenset({"DS", "IS", "US", "SS", "UL", "SL", "FL", "FD", "UV", "SV"})
_KINDS = {"PN": FieldKind.NAME, "DA": FieldKind.DATE, "TM": FieldKind.TIME, "DT": FieldKind.DATETIME} | {
    "AS": FieldKind.AGE,
    "SQ": FieldKind.ITEMS,
}
_NO_VALUES = frozenset({"", "OB", "OW", "OF", "OD", "OL", "OV", "UN"})


def kind_of(field: str) -> FieldKind:
    """What the values of a field are. Raises NoSuchField, which says why rules cannot test it."""
    found = _kind(field)
    if not isinstance(found, FieldKind):
        raise NoSuchField(found)
    return found


@lru_cache(4096)  # asked for each object; as many as there are fields
def _kind(field: str) -> FieldKind | str:
    """The kind, or why there is none."""
    if field in FIXED:
        return FIXED[field]
    if not field.startswith(PREFIX):
        namespace = field.partition(".")[0] + "."
        near = [name for name in FIXED if name.startswith(namespace)]
        return f"no such field; there are {', '.join(near)}" if near else "no such field"
    try:
        path = tag_path(field)
    except NoSuchField as error:
        return str(error)
    if path.part:
        return FieldKind.TEXT
    if path.vr in _NO_VALUES:
        return "its values cannot be tested"
    if path.vr == "SQ" and path.steps[-1].index:
        return "an item has no value of its own"
    return FieldKind.NUMBER if path.vr in _NUMBERS else _KINDS.get(path.vr, FieldKind.TEXT)


telemetry.count_entries("rule-field-kinds", _kind)
