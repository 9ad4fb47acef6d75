"""Reads HL7 data types that become sequences: codes (CE, CWE), identifiers (CX) and authorities (HD, EI)."""

from __future__ import annotations

from collections.abc import Sequence

from broker.hl7.message import DELETE, Repetition, Segment, undeleted
from broker.model.order import Document
from broker.orders.inbound.doubts import Doubts
from broker.orders.mapping import data_types
from broker.orders.mapping.profile import FieldSource, FieldType, MappedAttribute
from broker.orders.mapping.representations import LENGTH
from broker.orders.mapping.value_table import ValueTable


def codes(
    attribute: MappedAttribute,
    source: FieldSource,
    segments: Sequence[Segment],
    designators: ValueTable | None,
    doubts: Doubts,
) -> list[Document] | None:
    """Items of a code sequence, one for each repetition with a code; `designators` as in `data_types.code_item`."""
    offers = [(r, segment) for segment in segments for r in segment.offered(source.path)]
    if offers and offers[0][0].text == DELETE:
        return []
    first, items = source.path.component or 1, []
    for repetition, segment in offers:
        place = segment.at(source.path.field)
        try:
            item = data_types.code_item(repetition, first, designators)
        except data_types.Unusable as error:
            doubts.unusable(place, attribute.keyword, repetition.get(first), error)
            continue
        if item:
            items.append(item)
        if item and len(repetition.get(first + 1).strip()) > LENGTH["LO"]:
            doubts.note(place, f"Text of a code is longer than {LENGTH['LO']} characters and is cut")
    return items or None


def other_ids(
    attribute: MappedAttribute, source: FieldSource, segment: Segment, patient: Segment, doubts: Doubts
) -> list[Document]:
    """Items of Other Patient IDs Sequence: the identifiers of a field but the first one in PID-3 of `patient`."""
    field = source.path.field
    repetitions = segment.offered(source.path)[1 if field == 3 and not source.path.repetitions else 0 :]
    if not repetitions:
        return []
    try:
        own = next((data_types.other_id(primary) for primary in patient.repetitions(3)[:1]), None)
    except data_types.Unusable:
        own = None  # it is told where it is read as Patient ID
    items = []
    for repetition in repetitions:
        try:
            item = data_types.other_id(repetition)
        except data_types.Unusable as error:
            doubts.unusable(segment.at(field), attribute.keyword, "", error)
            continue
        # senders repeat PID-3 in PID-2, old ones without its authority
        if item and not (own and item.items() <= own.items()):
            items.append(item)
    return items


def issuer(attribute: MappedAttribute, source: FieldSource, segment: Segment, doubts: Doubts) -> list[Document] | None:
    """The item of an issuer, of the first repetition; none if it is deleted."""
    repetitions = segment.offered(source.path)
    if not repetitions:
        return None
    component = source.path.component or 1
    if DELETE in repetitions[0].text:
        named = 4 if source.kind is FieldType.CX_QUALIFIERS else component
        if DELETE in (repetitions[0].text, repetitions[0].get(named)):
            return []
    try:
        if source.kind is FieldType.CX_QUALIFIERS:
            item = data_types.issuer_qualifiers(repetitions[0])
        elif source.kind is FieldType.HD:
            item = data_types.issuer(repetitions[0].components(component))
        else:
            item = data_types.issuer(repetitions[0].components()[component - 1 :])
    except data_types.Unusable as error:
        doubts.unusable(segment.at(source.path.field), attribute.keyword, "", error)
        return None
    return [item] if item else None


def identifies(kind: FieldType, repetition: Repetition, component: int) -> bool:
    """True if a name that is empty stands beside an identifier."""
    if kind is FieldType.XCN:
        return bool(undeleted(repetition.get(1)).strip())
    return kind is FieldType.CN and bool(undeleted(repetition.components(component)[0]).strip())
