"""Writes the queries to another worklist server, and reads its answers as orders. Pure."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from broker.dicom import uids
from broker.dicom.dataset.charset import UTF_8
from broker.dicom.dataset.encoding import SPECIFIC_CHARACTER_SET, element
from broker.dicom.dataset.read import decode_data_set
from broker.dicom.dataset.write import DataSetWriter, ElementSpec
from broker.errors import BadContent
from broker.model.order import Document
from broker.orders.core.values import OrderChange
from broker.orders.documents import document
from broker.site.source import Source
from broker.worklist.query.attributes import (
    START_DATE,
    STATIONS,
    STEP_SEQUENCE,
    WORKLIST,
    WorklistAttribute,
)
from broker.worklist.source.order_document import order

UNUSABLE = frozenset({"item-too-large", "item-unusable", "no-key"})  # codes of items that were read
MAX_ITEM = 128 * 1024  # bytes of an item as an order document


@dataclass(frozen=True, slots=True)
class Window:
    """The days asked for, both included, as DICOM DA."""

    first: str
    last: str

    @classmethod
    def around(cls, source: Source, today: date) -> Window:
        """The window of a source on a day of the site."""
        ends = (today - timedelta(days=source.days_back), today + timedelta(days=source.days_ahead))
        return cls(*(day.strftime("%Y%m%d") for day in ends))

    def holds(self, start_at: str) -> bool:
        """A start `YYYYMMDDHHMMSS` lies in it."""
        return self.first <= start_at[:8] <= self.last


@dataclass(frozen=True, slots=True)
class Offer:
    """An item of another server. `key` names it there, `digest` tells whether it has changed."""

    key: str
    study_instance_uid: str
    accession: str
    step_id: str
    start_at: str
    digest: bytes
    change: OrderChange


def keys(source: Source, window: Window) -> Iterator[Document]:
    """The keys of each query that an import asks."""
    for station in source.stations or ("",):
        for modality in source.modalities or ("",):
            step = {START_DATE: f"{window.first}-{window.last}", STATIONS: [station], "Modality": modality}
            yield {STEP_SEQUENCE: [{keyword: value for keyword, value in step.items() if value not in ("", [""])}]}


def keys_of(key: str) -> Document:
    """The keys of a query for one item alone, at whatever time it is now (`key` as in an offer)."""
    kind, number, step_id = key.split("|", 2)
    step = {"ScheduledProcedureStepID": step_id} if step_id else {}
    return {"StudyInstanceUID" if kind == "study" else "AccessionNumber": number, STEP_SEQUENCE: [step]}


def identifier(keys: Document, transfer_syntax: str) -> bytes:
    """The identifier of a query: these keys, and all that a worklist may tell as return keys."""
    return _WRITERS[transfer_syntax].encode(_itemised(keys, WORKLIST))


def _everything(table: Mapping[int, WorklistAttribute]) -> tuple[ElementSpec, ...]:
    return tuple(
        ElementSpec(tag=key.tag, vr=key.vr, keyword=key.keyword, children=_everything(key.children))
        for key in table.values()
    )


_WRITERS = {
    syntax: DataSetWriter(_everything(WORKLIST), [UTF_8], implicit=syntax == uids.IMPLICIT_LE)
    for syntax in (uids.EXPLICIT_LE, uids.IMPLICIT_LE)
}


def _itemised(given: Document, table: Mapping[int, WorklistAttribute]) -> dict[str, Any]:
    """With one item in each sequence that has none: what is in it is asked for (PS3.4 C.2.2.2.6)."""
    filled = dict(given)
    for key in table.values():
        if key.vr == "SQ":
            items: list[Any] = filled.get(key.keyword) or [{}]
            filled[key.keyword] = [_itemised(item, key.children) for item in items]
    return filled


def read(data: bytes, transfer_syntax: str, source: Source, left_out: Counter[str]) -> Document:
    """An answer as an order document. Raises BadContent, whose text holds no values."""
    answer = decode_data_set(data, transfer_syntax)
    if not answer.charset and source.charset:
        # the element that the answer should have begun with
        named = element(
            SPECIFIC_CHARACTER_SET, b"CS", source.charset.encode("ascii"), implicit=transfer_syntax == uids.IMPLICIT_LE
        )
        answer = decode_data_set(named + data, transfer_syntax)
    order_document = order(answer.elements, left_out)
    if source.issuer and order_document["patient"].get("PatientID"):
        order_document["patient"].setdefault("IssuerOfPatientID", source.issuer)
    return order_document


def offer(order_document: Document) -> Offer:
    """An order document as it is offered. Raises BadContent, whose text holds paths and no values."""
    text = json.dumps(order_document, sort_keys=True, ensure_ascii=False)
    if len(text) > MAX_ITEM:
        raise BadContent("item too large", code="item-too-large")
    conversion = document.convert(order_document, ())
    if not conversion.usable:
        wrong = [f"{finding.location}: {finding.text}" for finding in conversion.findings if finding.is_error]
        raise BadContent("; ".join(wrong[:5]), code="item-unusable")
    change = conversion.changes[0]
    assert isinstance(change, OrderChange)
    procedure = change.procedures[0]
    step = procedure.steps[0]
    uid = procedure.study_instance_uid
    if not uid and not change.accession:
        raise BadContent("neither StudyInstanceUID nor AccessionNumber: nothing to know it by again", code="no-key")
    name = f"study|{uid}" if uid else f"accession|{change.accession}"
    start = str(step.attributes.get(START_DATE, "")) + str(step.attributes.get("ScheduledProcedureStepStartTime", ""))
    return Offer(
        f"{name}|{step.step_id}",
        uid,
        change.accession,
        step.step_id,
        f"{start[:14]:0<14}" if start else "",
        hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest(),
        change,
    )
