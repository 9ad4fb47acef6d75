"""Asks the broker for storage commitment as a modality does."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from pydicom.dataset import Dataset

from broker.dicom import uids
from broker.dicom.association.association import Association
from broker.dicom.association.user import Proposal
from broker.dicom.dimse.request import Service
from support.dicom.archive import COMMITMENT, COMMITMENT_INSTANCE, NATIVE, Archive, to_bytes
from support.dicom.asking import Asking
from support.dicom.objects import Encoded, fresh_uid

CT = "1.2.840.10008.5.1.4.1.1.2"
Named = tuple[str, str]  # SOP Class UID, SOP Instance UID


def named(*objects: Encoded) -> list[Named]:
    """Objects as a request names them."""
    return [(one.sop_class, one.sop_instance) for one in objects]


def request(objects: Sequence[Named], transaction: str = "") -> Dataset:
    """The data set of an N-ACTION (PS3.4 table J.3-1)."""
    asked = Dataset()
    asked.TransactionUID, asked.ReferencedSOPSequence = transaction or fresh_uid(), []
    for sop_class, instance in objects:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, instance
        asked.ReferencedSOPSequence.append(item)
    return asked


def ask(asking: Asking, asked: Dataset, *, action: int = 1, instance: str = COMMITMENT_INSTANCE) -> int:
    """The status of an N-ACTION; -1 where the SOP class is refused."""

    async def work(association: Association) -> int:
        if association.context(COMMITMENT) is None:
            return -1
        data = to_bytes(asked, uids.IMPLICIT_LE)
        return (await association.n_action(COMMITMENT, instance, action, data)).status

    return asking.normalized(COMMITMENT, work)


def stay(asking: Asking, asked: Dataset | None, heard: Archive, count: int) -> int:
    """Ask, if there is something to ask, and stay until `heard` has `count` reports; the status."""
    events = next(one for one in heard.services() if COMMITMENT in one.abstract_syntaxes)
    service = Service(events.abstract_syntaxes, NATIVE, events.handlers)

    async def work(association: Association) -> int:
        status = 0
        if asked is not None:
            data = to_bytes(asked, uids.IMPLICIT_LE)
            status = (await association.n_action(COMMITMENT, COMMITMENT_INSTANCE, 1, data)).status
        await asyncio.wait_for(heard.has(count), 30)
        return status

    return asking.on([Proposal(COMMITMENT, (uids.IMPLICIT_LE,))], work, [service])


def told(report: tuple[int, Dataset]) -> dict[str, int]:
    """What a report says: 0 or the failure reason by SOP Instance UID. No object stands in it twice."""
    kind, ds = report
    good = [(str(item.ReferencedSOPInstanceUID), 0) for item in ds.get("ReferencedSOPSequence") or ()]
    failed = [
        (str(item.ReferencedSOPInstanceUID), int(item.FailureReason)) for item in ds.get("FailedSOPSequence") or ()
    ]
    assert kind == (2 if failed else 1)
    assert len(dict(good + failed)) == len(good + failed)
    return dict(good + failed)
