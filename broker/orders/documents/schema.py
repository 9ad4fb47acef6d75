"""Makes JSON schemas of order documents from the tables by which `documents.document` reads them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from pydicom.datadict import dictionary_description

from broker.model.modalities import MODALITIES
from broker.model.order import StepStatus
from broker.orders.core.values import MAX_STEPS
from broker.orders.documents import validity
from broker.orders.documents.document import FIELDS, STATUS
from broker.orders.documents.validity import Field
from broker.orders.mapping.representations import LENGTH, PATTERNS

Schema = dict[str, Any]
_PATTERNS = {
    "DA": r"^\d{4}-?\d\d-?\d\d$", "TM": r"^\d\d:?\d\d(:?\d\d(\.\d{1,6})?)?$", "UI": r"^[0-9.]{1,64}$",
    "AE": r"^[ -\[\]-~]{1,16}$",
    **{vr: f"^({pattern})$" for vr, pattern in PATTERNS.items()},
}  # fmt: skip


def order() -> Schema:
    """Schema of an order."""
    step = _object("step", ["Modality"])
    step["properties"]["Modality"]["examples"] = sorted(MODALITIES)
    step["properties"]["Modality"]["description"] = "Of PS3.16 CID 29, or one of `[worklist] modalities`."
    step["properties"][STATUS] = {"type": "string", "enum": [status.value for status in StepStatus], "readOnly": True}
    held = "By the RIS: in no worklist until it is released."
    step["properties"]["held"] = {"type": "boolean", "readOnly": True, "description": held}
    unscheduled = "Without a start: in no worklist until one comes."
    step["properties"]["unscheduled"] = {"type": "boolean", "readOnly": True, "description": unscheduled}
    step["properties"]["events"] = {"type": "array", "items": _EVENT, "readOnly": True}
    procedure = _object("procedure", ["steps"])
    procedure["properties"]["steps"] = {"type": "array", "minItems": 1, "maxItems": MAX_STEPS, "items": step}
    procedure["anyOf"] = [
        {"required": ["RequestedProcedureDescription"]},
        {"required": ["RequestedProcedureCodeSequence"]},
    ]
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["patient", "procedures"],
        "properties": {
            "id": {"type": "integer", "readOnly": True, "description": "Our own number of the order."},
            "revision": {"type": "string", "readOnly": True, "description": "The ETag of this state."},
            "patient": _object("patient", ["PatientID", "PatientName"]),
            "visit": _object("visit"),
            "request": _object("request"),
            "procedures": {"type": "array", "minItems": 1, "items": procedure},
        },
    }


_EVENT: Schema = {
    "type": "object",
    "properties": {
        "at": {"type": "string", "format": "date-time"},
        "before": {"type": "string", "description": "Status before; empty for a new step."},
        "after": {"type": "string"},
        "cause": {"type": "string"},
        "actor": {"type": "string"},
    },
}


def _object(name: str, required: Collection[str] = ()) -> Schema:
    schema = _attributes(FIELDS[name])
    if required:
        schema["required"] = list(required)
    return schema


def _attributes(known: Mapping[str, Field]) -> Schema:
    properties = {keyword: attribute(field) for keyword, field in known.items()}
    return {"type": "object", "additionalProperties": False, "properties": properties}


def attribute(field: Field) -> Schema:
    """Schema of one attribute; an empty value deletes it."""
    title = {"title": dictionary_description(field.keyword)}
    if field.vr == "SQ":
        items = _attributes(field.items)
        return {**title, "type": ["array", "null"], "maxItems": validity.MAX_VALUES, "items": items}
    value = _value(field)
    if not field.multiple:
        return {**title, **value}
    many = {"type": ["array", "null"], "maxItems": validity.MAX_VALUES, "items": value}
    return {**title, "anyOf": [value, many]}


def _value(field: Field) -> Schema:
    if field.vr == "US":
        return {"type": ["integer", "null"], "minimum": 0, "maximum": 0xFFFF}
    schema: Schema = {"type": ["string", "number", "null"] if field.vr in {"DS", "IS"} else ["string", "null"]}
    if field.keyword in validity.ENUMERATED:
        schema["enum"] = [*sorted(validity.ENUMERATED[field.keyword]), "", None]
    elif field.vr in _PATTERNS:
        schema["pattern"] = rf"^$|{_PATTERNS[field.vr]}"
    elif field.vr == "PN":
        schema["description"] = "FAMILY^GIVEN^MIDDLE^PREFIX^SUFFIX; alphabetic=ideographic=phonetic"
    else:
        schema["maxLength"] = LENGTH.get(field.vr, 64)
    return schema
