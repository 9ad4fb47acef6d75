"""Reads the order numbers that an order is known by, as the profile maps them: what is shown is what identifies it."""

from __future__ import annotations

from collections.abc import Sequence

from broker.hl7.message import Segments, undeleted
from broker.hl7.paths import Path
from broker.model.order import Document, EntityId
from broker.orders.core.authorities import from_item, universal
from broker.orders.core.values import OrderKeys
from broker.orders.inbound.reader import Reader
from broker.orders.mapping.as_sent import sent_as
from broker.orders.mapping.profile import Profile

PLACER = ("PlacerOrderNumberImagingServiceRequest", "OrderPlacerIdentifierSequence")
FILLER = ("FillerOrderNumberImagingServiceRequest", "OrderFillerIdentifierSequence")
SENT = (sent_as(PLACER[0]), sent_as(FILLER[0]))


def order_keys(reader: Reader, section: str = "request") -> OrderKeys:
    """Placer and filler order number by a section of the profile, each with its issuer; empty where there is none."""
    return OrderKeys(_entity(reader, section, *PLACER), _entity(reader, section, *FILLER))


def as_sent(view: Segments, keys: OrderKeys, profile: Profile) -> Document:
    """The order numbers in ORC-2 and ORC-3, or OBR-2 and OBR-3, where the profile takes another number or a short form.

    Who tells the sender of the order names it so (`orders.mapping.as_sent`).
    """
    found: Document = {}
    for keyword, field, number in ((PLACER[0], 2, keys.placer.number), (FILLER[0], 3, keys.filler.number)):
        if _as_is(profile, keyword, field):
            continue
        parts = next((parts for name in ("ORC", "OBR") if (parts := _components(view, f"{name}-{field}"))), [])
        found[sent_as(keyword)] = parts if parts and parts[0] != number else []
    return found


def _as_is(profile: Profile, keyword: str, field: int) -> bool:
    """True if a profile takes an order number from this field of ORC and OBR as it stands there."""
    sources = [source.path for one in profile.sections["request"] if one.keyword == keyword for source in one.sources]
    usual = bool(sources) and all(path.segment in ("ORC", "OBR") and path.field == field for path in sources)
    return usual and not profile.reading.is_lenient and keyword not in profile.values


def _components(view: Segments, field: str) -> list[str]:
    """Components of an EI without empty ones at its end; none of an empty number."""
    parts = [undeleted(view.get(f"{field}.{component}")).strip() for component in range(1, 5)]
    while parts and not parts[-1]:
        parts.pop()
    return parts if parts and parts[0] else []


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
