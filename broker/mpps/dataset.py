"""Reads data sets of performed procedure steps into documents of keywords, and writes them, within bounds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from broker.dicom import uids
from broker.dicom.dataset.charset import DEFAULT, lookup
from broker.dicom.dataset.encoding import SPECIFIC_CHARACTER_SET
from broker.dicom.dataset.read import Element, decode_data_set
from broker.dicom.dataset.write import DataSetWriter, ElementSpec
from broker.model.order import Document
from broker.mpps.attributes import ENUMERATED, MPPS, MppsAttribute
from broker.orders.documents.validity import Invalid, checked

MAX_BYTES = 4 * 1024 * 1024
MAX_ELEMENTS = 120_000  # elements and items: about 39 000 images in one step


@dataclass(frozen=True, slots=True)
class DataSet:
    """What a data set holds of what we support. An attribute without a value is `""` or `[]`, an absent one absent.

    `odd` are tags of values that do not fit their VR, `other` those that we do not support; `charset_known`: its
    Specific Character Set is one we read.
    """

    document: Document
    odd: tuple[int, ...] = ()
    other: tuple[int, ...] = ()
    charset_known: bool = True


def decode(data: bytes, transfer_syntax: str) -> DataSet:
    """Read a data set, little endian. Raises BadContent, whose text holds no values."""
    data_set = decode_data_set(data, transfer_syntax, max_bytes=MAX_BYTES, max_elements=MAX_ELEMENTS)
    odd: dict[int, None] = {}
    document = _document(data_set.elements, MPPS, odd)
    other = tuple(tag for tag in data_set.elements if tag not in MPPS and not tag >> 16 & 1)
    known = not data_set.charset or lookup(data_set.charset) is not None
    if not known:
        odd[SPECIFIC_CHARACTER_SET] = None
    return DataSet(document, tuple(odd), other, known)


def _document(elements: Mapping[int, Element], table: Mapping[int, MppsAttribute], odd: dict[int, None]) -> Document:
    document: Document = {}
    for tag, element in elements.items():
        attribute = table.get(tag)
        if attribute is None:
            continue
        if attribute.vr == "SQ":
            document[attribute.keyword] = [_document(item, attribute.items, odd) for item in element.items]
            continue
        values = [_clean(value) for value in _values(attribute, element.text)]
        if not all(_fits(attribute, value) for value in values):
            odd[tag] = None
        document[attribute.keyword] = values if attribute.many else "\\".join(values)
    return document


def _values(attribute: MppsAttribute, text: str) -> Iterator[str]:
    yield from text.split("\\") if attribute.many and text.strip(" \0") else [text] if not attribute.many else []


def _clean(value: str) -> str:
    """Without padding, and without what no database and no JSON text holds."""
    return value.strip(" \0").replace("\0", "").encode("utf-8", "replace").decode("utf-8")


def _fits(attribute: MppsAttribute, value: str) -> bool:
    allowed = ENUMERATED.get(attribute.keyword)
    if not value:
        return True
    if attribute.tag == SPECIFIC_CHARACTER_SET:
        return True  # judged as a whole
    try:
        checked(attribute.keyword, attribute.vr, value)
    except Invalid:
        return False
    return allowed is None or value in allowed


def encode(document: Mapping[str, Any], tags: Iterable[int], transfer_syntax: str, charset: str) -> bytes:
    """The attributes with these tags as a data set, sequences whole; in `charset` where plain ASCII does not do."""
    specs = [_spec(MPPS[tag], optional=False) for tag in tags if tag != SPECIFIC_CHARACTER_SET]
    implicit = transfer_syntax == uids.IMPLICIT_LE
    return DataSetWriter(specs, [lookup((charset,)) or DEFAULT], implicit=implicit).encode(document)


def _spec(attribute: MppsAttribute, *, optional: bool) -> ElementSpec:
    return ElementSpec(
        tag=attribute.tag,
        vr=attribute.vr,
        keyword=attribute.keyword,
        children=tuple(_spec(child, optional=child.type not in "12") for child in attribute.items.values()),
        one_item=attribute.keyword == "RequestedProcedureCodeSequence",  # PS3.4 table F.7.2-1
        optional=optional,
    )
