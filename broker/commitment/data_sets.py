"""Reads and writes the data sets of storage commitment (PS3.4 tables J.3-1 and J.3-2). Pure.

A request names up to 50,000 objects; to read so many takes about a second, so that this is work for a thread.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from broker.dicom import uids
from broker.dicom.dataset.charset import lookup
from broker.dicom.dataset.read import Element, decode_data_set
from broker.dicom.dataset.write import DataSetWriter, ElementSpec
from broker.dicom.dimse import status as st
from broker.errors import BadContent
from broker.store.commitments.packing import MOST
from broker.store.commitments.states import COMMITTED, ObjectReference

MAX_BYTES = 16 * 1024 * 1024  # of a request or report: 50,000 objects with UIDs of full length have 9 MB
_MAX_ELEMENTS = 6 * MOST  # elements and items
_TRANSACTION, _REFERENCED, _FAILED, _REASON = 0x00081195, 0x00081199, 0x00081198, 0x00081197
_CLASS, _INSTANCE = 0x00081150, 0x00081155
_OBJECT = (
    ElementSpec(_CLASS, "UI", "ReferencedSOPClassUID"),
    ElementSpec(_INSTANCE, "UI", "ReferencedSOPInstanceUID"),
)
_FAILED_OBJECT = (*_OBJECT, ElementSpec(_REASON, "US", "FailureReason"))
_SPECS = (
    ElementSpec(_TRANSACTION, "UI", "TransactionUID"),
    ElementSpec(_FAILED, "SQ", "FailedSOPSequence", _FAILED_OBJECT, optional=True),
    ElementSpec(_REFERENCED, "SQ", "ReferencedSOPSequence", _OBJECT, optional=True),
)
TOO_MANY = "too-many-objects"  # code of a request that names more than MOST
ALL_COMMITTED, SOME_FAILED = 1, 2  # event types (PS3.4 J.3.3)


@dataclass(frozen=True, slots=True)
class CommitmentRequest:
    """A request: its Transaction UID, and the objects that it names, each once."""

    transaction_uid: str
    references: Sequence[ObjectReference]


@dataclass(frozen=True, slots=True)
class CommitmentResult:
    """A report: of each object that it names COMMITTED, or the failure reason."""

    transaction_uid: str
    results: Mapping[ObjectReference, int]


def read_request(data: bytes, transfer_syntax: str) -> CommitmentRequest:
    """The data set of an N-ACTION. Raises BadContent, with the code TOO_MANY for too many objects."""
    elements = _decoded(data, transfer_syntax)
    references = list(dict.fromkeys(reference for reference, _ in _objects(elements, _REFERENCED)))
    if not references:
        raise BadContent("the list of objects is missing or empty", code="no-objects")
    if len(references) > MOST:
        raise BadContent("more objects than one request may name", code=TOO_MANY)
    return CommitmentRequest(_transaction(elements), references)


def read_report(data: bytes, transfer_syntax: str) -> CommitmentResult:
    """The data set of an N-EVENT-REPORT. What stands in both of its lists has failed. Raises BadContent."""
    elements = _decoded(data, transfer_syntax)
    results = {reference: COMMITTED for reference, _ in _objects(elements, _REFERENCED)}
    for reference, item in _objects(elements, _FAILED):
        reason = _text(item, _REASON)
        results[reference] = int(reason) if reason.isdecimal() and int(reason) else st.PROCESSING_FAILURE
    return CommitmentResult(_transaction(elements), results)


def write_request(transaction_uid: str, references: Sequence[ObjectReference], transfer_syntax: str) -> bytes:
    """The data set of an N-ACTION."""
    named = [_item(reference) for reference in references]
    return _writer(transfer_syntax).encode({"TransactionUID": transaction_uid, "ReferencedSOPSequence": named})


def write_report(
    transaction_uid: str, references: Sequence[ObjectReference], verdict: Sequence[int], transfer_syntax: str
) -> tuple[int, bytes]:
    """Event type and data set of an N-EVENT-REPORT: each object stands in exactly one of both lists."""
    good, failed = [], []
    for reference, reason in zip(references, verdict, strict=True):
        if reason == COMMITTED:
            good.append(_item(reference))
        else:
            failed.append({**_item(reference), "FailureReason": reason})
    document = {"TransactionUID": transaction_uid, "ReferencedSOPSequence": good, "FailedSOPSequence": failed}
    return SOME_FAILED if failed else ALL_COMMITTED, _writer(transfer_syntax).encode(document)


def _item(reference: ObjectReference) -> dict[str, str]:
    class_uid, instance_uid = reference
    return {"ReferencedSOPClassUID": class_uid, "ReferencedSOPInstanceUID": instance_uid}


@cache
def _writer(transfer_syntax: str) -> DataSetWriter:
    ascii_only = lookup(())
    assert ascii_only is not None
    return DataSetWriter(_SPECS, [ascii_only], implicit=transfer_syntax == uids.IMPLICIT_LE)


def _decoded(data: bytes, transfer_syntax: str) -> Mapping[int, Element]:
    return decode_data_set(data, transfer_syntax, max_bytes=MAX_BYTES, max_elements=_MAX_ELEMENTS).elements


def _transaction(elements: Mapping[int, Element]) -> str:
    uid = _text(elements, _TRANSACTION)
    if not _plausible(uid):
        raise BadContent("the Transaction UID is missing or no UID", code="no-transaction-uid")
    return uid


def _objects(elements: Mapping[int, Element], sequence: int) -> Iterator[tuple[ObjectReference, Mapping[int, Element]]]:
    found = elements.get(sequence)
    for item in found.items if found is not None else ():
        class_uid, instance_uid = _text(item, _CLASS), _text(item, _INSTANCE)
        if not _plausible(class_uid) or not _plausible(instance_uid):
            raise BadContent("an object without a SOP Class or SOP Instance UID", code="no-object-uid")
        yield ObjectReference(class_uid, instance_uid), item


def _text(elements: Mapping[int, Element], tag: int) -> str:
    element = elements.get(tag)
    return element.text.strip(" \0") if element is not None else ""


def _plausible(uid: str) -> bool:
    """Digits and dots, 64 characters at most: leading zeros, which PS3.5 9.1 forbids, are common."""
    return 0 < len(uid) <= 64 and uid.isascii() and uid.replace(".", "").isdigit()
