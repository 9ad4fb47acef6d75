"""Turns a worklist answer into an order document: one data set, one order with one step. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from pydicom.datadict import keyword_for_tag

from broker.dicom.dataset.encoding import SPECIFIC_CHARACTER_SET
from broker.dicom.dataset.read import Element
from broker.model.order import Document
from broker.orders.documents.document import FIELDS
from broker.orders.documents.validity import Field
from broker.worklist.query.attributes import STEP_SEQUENCE

_LINES = frozenset({"LT", "ST", "UT"})  # VRs of one value, in which a backslash is one
_SECTIONS = {keyword: name for name, fields in FIELDS.items() for keyword in fields}


def order(elements: Mapping[int, Element], left_out: Counter[str]) -> Document:
    """The document of one order; counts what orders do not keep in `left_out`, by keyword or tag."""
    document: Document = {"patient": {}, "visit": {}, "request": {}}
    procedure: Document = {"steps": []}
    for tag, element in elements.items():
        keyword = keyword_for_tag(tag)
        if keyword == STEP_SEQUENCE and element.vr == "SQ":
            procedure["steps"] = [_section(item, FIELDS["step"], left_out) for item in element.items]
            continue
        section = _SECTIONS.get(keyword, "step")
        if section == "step":
            _leave_out(tag, element, left_out)
            continue
        value = _value(element, FIELDS[section][keyword], left_out)
        if value not in ("", []):
            (procedure if section == "procedure" else document[section])[keyword] = value
    return {**document, "procedures": [procedure]}


def _section(item: Mapping[int, Element], known: Mapping[str, Field], left_out: Counter[str]) -> Document:
    section: Document = {}
    for tag, element in item.items():
        keyword = keyword_for_tag(tag)
        if keyword not in known:
            _leave_out(tag, element, left_out)
            continue
        value = _value(element, known[keyword], left_out)
        if value not in ("", []):
            section[keyword] = value
    return section


def _value(element: Element, field: Field, left_out: Counter[str]) -> Any:
    if (element.vr == "SQ") != (field.vr == "SQ"):  # text in a sequence, or items where text belongs
        _leave_out(element.tag, element, left_out)
        return ""
    if field.vr == "SQ":
        items = (_section(item, field.items, left_out) for item in element.items)
        return [item for item in items if item]
    text = element.text.strip(" \0")
    if not field.multiple or field.vr in _LINES:
        return text
    return [part for part in (part.strip(" \0") for part in text.split("\\")) if part]


def _leave_out(tag: int, element: Element, left_out: Counter[str]) -> None:
    """Values that are lost are told; what only concerns the file is not one."""
    if tag >> 16 <= 0x0002 or tag == SPECIFIC_CHARACTER_SET:
        return
    if element.text.strip(" \0") or element.items:
        left_out[keyword_for_tag(tag) or f"({tag >> 16:04x},{tag & 0xFFFF:04x})"] += 1
