"""Writes the queries to another worklist server, and reads its answers as orders. Pure."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from broker.dicom import uids
from broker.dicom.dataset.encoding import SPECIFIC_CHARACTER_SET, element
from broker.dicom.dataset.read import decode_data_set
from broker.errors import BadContent
from broker.hl7.findings import Finding
from broker.model.order import Document
from broker.orders.core import lifecycle
from broker.orders.core.identifiers import kept_as
from broker.orders.core.values import OrderChange
from broker.orders.documents import leniency
from broker.site.source import Source
from broker.worklist.query.attributes import START_DATE, START_TIME, STATIONS, STEP_SEQUENCE
from broker.worklist.source.order_document import order

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
    """An item of another server. `key` names it there, `digest` tells whether it has changed.

    `name` is that of its study or order. `findings`: values that are not as the server told them. `over`: the
    examination has ended there.
    """

    key: str
    name: str
    accession: str
    step_id: str
    start_at: str
    digest: bytes
    change: OrderChange
    findings: tuple[Finding, ...] = ()
    over: bool = False


class ItemRefused(BadContent):
    """An answer that was read and cannot be used; the texts hold paths and no values.

    `accession` is its number as the server told it, `key` names the item as long as it is the same.
    """

    def __init__(self, code: str, document: Document, texts: Sequence[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{path}: {text}" if path else text for path, text in texts[:5]), code=code)
        self.accession = str(document.get("request", {}).get("AccessionNumber", ""))
        self.texts = tuple(texts)
        self.key = f"refused|{hashlib.sha256(_text(document)).hexdigest()[:32]}"


def keys(source: Source, window: Window) -> Iterator[Document]:
    """The keys of each query that an import asks."""
    for station in source.stations or ("",):
        for modality in source.modalities or ("",):
            step = {START_DATE: f"{window.first}-{window.last}", STATIONS: [station], "Modality": modality}
            yield {STEP_SEQUENCE: [{keyword: value for keyword, value in step.items() if value not in ("", [""])}]}


def keys_of(key: str) -> Document:
    """The keys of a query for one item alone, at whatever time it is now (`key` as in an offer)."""
    kind, number, step_id = key.split("|", 2)
    step = {"ScheduledProcedureStepID": step_id} if not unnamed(key) else {}
    return {"StudyInstanceUID" if kind == "study" else "AccessionNumber": number, STEP_SEQUENCE: [step]}


def unnamed(key: str) -> bool:
    """The server gave the item no step identifier: its key holds the stations and the start instead."""
    step_id = key.split("|", 2)[2]
    return not step_id or step_id.startswith("\\")


def name_of(key: str) -> str:
    """The name of its study or order."""
    return "|".join(key.split("|", 2)[:2])


def read(data: bytes, transfer_syntax: str, source: Source, left_out: Counter[str]) -> Document:
    """An answer as an order document. Raises BadContent, whose text holds no values."""
    answer = decode_data_set(data, transfer_syntax, passes_misfits=True)
    if not answer.charset and source.charset:
        # the element that the answer should have begun with
        named = element(
            SPECIFIC_CHARACTER_SET, b"CS", source.charset.encode("ascii"), implicit=transfer_syntax == uids.IMPLICIT_LE
        )
        answer = decode_data_set(named + data, transfer_syntax, passes_misfits=True)
    order_document = order(answer.elements, left_out)
    if source.issuer and order_document["patient"].get("PatientID"):
        order_document["patient"].setdefault("IssuerOfPatientID", source.issuer)
    return order_document


def offer(order_document: Document, modalities: Collection[str]) -> Offer:
    """An order document as it is offered; `modalities` that devices know. Raises ItemRefused."""
    text = _text(order_document)
    if len(text) > MAX_ITEM:
        raise ItemRefused("item-too-large", order_document, [("", "item too large")])
    conversion = leniency.convert(order_document, modalities)
    if not conversion.usable:
        wrong = [(finding.location, finding.text) for finding in conversion.findings if finding.is_error]
        raise ItemRefused("item-unusable", order_document, wrong)
    change = conversion.changes[0]
    assert isinstance(change, OrderChange)
    procedure = change.procedures[0]
    step = procedure.steps[0]
    uid = procedure.study_instance_uid
    if not uid and not change.accession:
        nameless = "neither StudyInstanceUID nor AccessionNumber: nothing to know it by again"
        raise ItemRefused("no-key", order_document, [("", nameless)])
    # the server knows only the long forms of what is too long for us
    accession = str(change.request.get(kept_as("AccessionNumber"), change.accession))
    step_id = str(step.attributes.get(kept_as("ScheduledProcedureStepID"), step.step_id))
    name = f"study|{uid}" if uid else f"accession|{accession}"
    start = str(step.attributes.get(START_DATE, "")) + str(step.attributes.get(START_TIME, ""))
    apart = "\\".join(("", *sorted(step.stations), start))  # a backslash is in no identifier
    return Offer(
        f"{name}|{step_id or apart}",
        name,
        accession,
        step.step_id,
        f"{start[:14]:0<14}" if start else "",
        hashlib.sha256(text).digest(),
        change,
        conversion.findings,
        all(one.status in lifecycle.ENDED for one in procedure.steps),
    )


def _text(order_document: Document) -> bytes:
    return json.dumps(order_document, sort_keys=True, ensure_ascii=False).encode("utf-8", "surrogatepass")
