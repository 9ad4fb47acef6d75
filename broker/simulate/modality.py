"""Simulates a modality: asks for its worklist, makes objects of an answer, sends them, remembers only checksums."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date, datetime
from io import BytesIO

from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.sequence import Sequence

from broker.dicom import uids
from broker.dicom.association.user import Proposal, Remote, associate
from broker.dicom.dimse import status as st
from broker.errors import PeerFault, Refused
from broker.simulate.objects import Encoded, encode, examination
from broker.simulate.stations import Station

_RETURNED = (
    "AccessionNumber",
    "ReferringPhysicianName",
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyInstanceUID",
    "RequestedProcedureDescription",
    "RequestedProcedureID",
)
_STEP_RETURNED = (
    "ScheduledProcedureStepStartTime",
    "ScheduledProcedureStepDescription",
    "ScheduledProcedureStepID",
    "ScheduledStationName",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """An object that the peer confirmed. `modality` is that of the object, which may be a report."""

    sop_instance: str
    sop_class: str
    transfer_syntax: str
    station: str
    modality: str
    accession: str
    length: int
    sha256: str


class VirtualModality:
    """One device, calling by its own AE title."""

    def __init__(self, station: Station, host: str, port: int, called_ae: str) -> None:
        self.station = station
        self._remote = Remote(host, port, called_ae, station.ae_title, response_timeout=30)

    async def worklist(self, day: date) -> list[Dataset]:
        """The steps scheduled for this station on `day`. Raises PeerFault, or Refused for a failure status."""
        contexts = [Proposal(uids.MODALITY_WORKLIST, (uids.EXPLICIT_LE, uids.IMPLICIT_LE))]
        answers: list[Dataset] = []
        async with associate(self._remote, contexts) as association:
            context = association.context(uids.MODALITY_WORKLIST)
            if context is None:
                raise PeerFault("the peer serves no worklist", code="no-context")
            query = encode(worklist_query(self.station, day), context.transfer_syntax)
            async for response in association.find(uids.MODALITY_WORKLIST, query):
                if st.is_pending(response.status):
                    answers.append(_decode(response.data, context.transfer_syntax))
                elif response.status != st.SUCCESS:
                    raise Refused("the query failed", code=f"status-{response.status:04X}")
        return answers

    async def examine(self, answer: Dataset, now: datetime) -> AsyncIterator[Sent]:
        """Make the objects of a worklist answer and send them over one association; each as it is confirmed.

        Raises PeerFault, or Refused for a failure status.
        """
        objects = await asyncio.to_thread(lambda: list(examination(answer, self.station, now)))
        modalities = {(s.sop_class, s.transfer_syntax): s.modality for s in self.station.series}
        async with associate(self._remote, [Proposal(c, (s,)) for c, s in modalities]) as association:
            for item in objects:
                context = association.context(item.sop_class, item.transfer_syntax)
                if context is None:
                    raise PeerFault("the peer does not take these objects", code="no-context")
                response = await association.store(context, item.sop_instance, item.data)
                if response.status != st.SUCCESS:
                    raise Refused("the object was refused", code=f"status-{response.status:04X}")
                yield self._sent(item, modalities[item.sop_class, item.transfer_syntax], answer)

    def _sent(self, item: Encoded, modality: str, answer: Dataset) -> Sent:
        return Sent(
            sop_instance=item.sop_instance,
            sop_class=item.sop_class,
            transfer_syntax=item.transfer_syntax,
            station=self.station.ae_title,
            modality=modality,
            accession=str(answer.AccessionNumber),
            length=len(item.data),
            sha256=hashlib.sha256(item.data).hexdigest(),
        )


def worklist_query(station: Station, day: date) -> Dataset:
    """The identifier of a broad worklist query: station, date and modality (PS3.4 K.6.1.2.2, IHE RAD-5)."""
    query = Dataset()
    for keyword in _RETURNED:
        setattr(query, keyword, "")
    step = Dataset()
    for keyword in _STEP_RETURNED:
        setattr(step, keyword, "")
    step.ScheduledStationAETitle = station.ae_title
    step.ScheduledProcedureStepStartDate = f"{day:%Y%m%d}"
    step.Modality = station.modality
    step.ScheduledProtocolCodeSequence = Sequence([])
    query.ScheduledProcedureStepSequence = Sequence([step])
    return query


def _decode(data: bytes, transfer_syntax: str) -> Dataset:
    return read_dataset(
        BytesIO(data), is_implicit_VR=transfer_syntax == uids.IMPLICIT_LE, is_little_endian=True, bytelength=len(data)
    )
