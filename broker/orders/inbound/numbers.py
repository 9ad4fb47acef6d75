"""Reads the order numbers that an order is known by, as the profile maps them: what is shown is what identifies it."""

from __future__ import annotations

from collections.abc import Sequence

from broker.hl7.message import undeleted
from broker.hl7.paths import Path
from broker.model.order import Document, EntityId
from broker.orders.core.authorities import from_item, universal
from broker.orders.core.values import OrderKeys
from broker.orders.inbound.reader import Reader

PLACER = ("PlacerOrderNumberImagingServiceRequest", "OrderPlacerIdentifierSequence")
FILLER = ("FillerOrderNumberImagingServiceRequest", "OrderFillerIdentifierSequence")


def order_keys(reader: Reader, section: str = "request") -> OrderKeys:
    """Placer and filler order number by a section of the profile, each with its issuer; empty where there is none."""
    return OrderKeys(_entity(reader, section, *PLACER), _entity(reader, section, *FILLER))


def numbered(number: str, namespace: str, universal_id: str, kind: str) -> EntityId:
    """An identifier with the namespace, universal ID and its type of its authority (EI, CX, HD)."""
    named = undeleted(namespace).strip() or undeleted(universal_id).strip()
    return EntityId(number, named, universal(undeleted(universal_id), kind)) if number else EntityId()


def _entity(reader: Reader, section: str, number: str, issuer: str) -> EntityId:
    """The first source that holds a number; two quotes are none."""
    for attribute, source in reader.sources(section, number):
        if value := reader.read(attribute, source):
            return from_item(value, _issuer(reader, section, issuer, source.path))
    return EntityId()


def _issuer(reader: Reader, section: str, keyword: str, number: Path) -> Sequence[Document]:
    """The issuer in the field of the number, where the profile reads it from there; else the first that is stated."""
    found = reader.sources(section, keyword)
    beside = [one for one in found if (one[1].path.segment, one[1].path.field) == (number.segment, number.field)]
    for attribute, source in beside[:1] or found:
        if items := reader.read(attribute, source):
            stated: Sequence[Document] = items
            return stated
    return ()
