"""Modality Performed Procedure Steps as a modality makes them, by pydicom and pynetdicom."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import AE, build_role, evt
from pynetdicom.association import Association

import support.peers.pausing  # noqa: F401
from support.dicom.objects import fresh_uid
from support.dicom.raw import command, element, p_data, us
from support.worklist.worklist import IMPLICIT, dataset, encoded

MPPS, RETRIEVE, NOTIFICATION = (f"1.2.840.10008.3.1.2.3.{number}" for number in (3, 4, 5))
CT = "1.2.840.10008.5.1.4.1.1.2"
STATUS, ITEMS, SERIES = (
    "PerformedProcedureStepStatus", "ScheduledStepAttributesSequence", "PerformedSeriesSequence",
)  # fmt: skip
REASON = "PerformedProcedureStepDiscontinuationReasonCodeSequence"


def item(number: int = 1, **more: Any) -> dict[str, Any]:
    """The item for the step of `support.service.site.order(number)`."""
    return {
        "StudyInstanceUID": f"2.999.7.{number}", "ReferencedStudySequence": [], "AccessionNumber": f"A{number}",
        "RequestedProcedureID": f"RP{number}", "RequestedProcedureDescription": "Thorax",
        "ScheduledProcedureStepID": f"SPS{number}", "ScheduledProcedureStepDescription": "", **more,
        "ScheduledProtocolCodeSequence": [],
    }  # fmt: skip


def unscheduled(study: str = "2.999.8.1", **more: Any) -> dict[str, Any]:
    """An item of an examination that no worklist knows."""
    names = ("AccessionNumber", "RequestedProcedureID", "ScheduledProcedureStepID", "RequestedProcedureDescription")
    return item(1, StudyInstanceUID=study, **{**dict.fromkeys(names, ""), **more})


def creation(*items: dict[str, Any], patient: str = "QZPAT1", **more: Any) -> dict[str, Any]:
    """A whole N-CREATE; `more` replaces values, None leaves an attribute out."""
    found = {
        "SpecificCharacterSet": "ISO_IR 192",
        ITEMS: list(items) or [item()],
        "PatientName": "Müller^Käthe", "PatientID": patient, "PatientBirthDate": "19760229", "PatientSex": "F",
        "ReferencedPatientSequence": [],
        "PerformedProcedureStepID": "PPS1", "PerformedStationAETitle": "CT01", "PerformedStationName": "",
        "PerformedLocation": "", "PerformedProcedureStepStartDate": "20300312",
        "PerformedProcedureStepStartTime": "103500", STATUS: "IN PROGRESS",
        "PerformedProcedureStepDescription": "", "PerformedProcedureTypeDescription": "",
        "ProcedureCodeSequence": [], "PerformedProcedureStepEndDate": "", "PerformedProcedureStepEndTime": "",
        REASON: [], "Modality": "CT", "StudyID": "", "PerformedProtocolCodeSequence": [], SERIES: [], **more,
    }  # fmt: skip
    return {keyword: value for keyword, value in found.items() if value is not None}


def series(*images: str) -> dict[str, Any]:
    """A performed series that references these images."""
    return {
        "PerformingPhysicianName": "", "ProtocolName": "Thorax", "OperatorsName": "",
        "SeriesInstanceUID": "2.999.9.1", "SeriesDescription": "", "RetrieveAETitle": "",
        "ReferencedImageSequence": [
            {"ReferencedSOPClassUID": CT, "ReferencedSOPInstanceUID": image} for image in images
        ],
        "ReferencedNonImageCompositeSOPInstanceSequence": [],
    }  # fmt: skip


def final(status: str = "COMPLETED", *, reason: str = "", images: Sequence[str] = ("2.999.9.1.1",), **more: Any) -> Any:
    """A whole final N-SET; `reason` is a code of CID 9300."""
    code = {"CodeValue": reason, "CodingSchemeDesignator": "DCM", "CodeMeaning": "why"}
    found = {
        STATUS: status, "PerformedProcedureStepEndDate": "20300312", "PerformedProcedureStepEndTime": "105000",
        SERIES: [series(*images)], **({REASON: [code]} if reason else {}), **more,
    }  # fmt: skip
    return {keyword: value for keyword, value in found.items() if value is not None}


def bytes_of(values: dict[str, Any]) -> bytes:
    """The data set in Implicit VR Little Endian."""
    charset = values.get("SpecificCharacterSet")
    rest = {keyword: value for keyword, value in values.items() if keyword != "SpecificCharacterSet"}
    return encoded(rest, charset=[charset] if charset else None)


def create_rq(uid: str, data: bytes, message_id: int = 1) -> tuple[bytes, ...]:
    """An N-CREATE in PDUs, for those who speak raw."""
    head = command(
        element(0x0002, MPPS.encode()), element(0x0100, us(0x0140)), element(0x0110, us(message_id)),
        element(0x0800, us(1)), element(0x1000, uid.encode()),
    )  # fmt: skip
    return (p_data(1, head, is_command=True), p_data(1, data, is_command=False))


def set_rq(uid: str, data: bytes, message_id: int = 1) -> tuple[bytes, ...]:
    """An N-SET in PDUs."""
    head = command(
        element(0x0003, MPPS.encode()), element(0x0100, us(0x0120)), element(0x0110, us(message_id)),
        element(0x0800, us(1)), element(0x1001, uid.encode()),
    )  # fmt: skip
    return (p_data(1, head, is_command=True), p_data(1, data, is_command=False))


class Modality:
    """A pynetdicom association that performs."""

    def __init__(self, association: Association, heard: list[Dataset]) -> None:
        """`heard`: command sets of answers, as they come; pynetdicom gives out only parts of them."""
        self.association = association
        self.heard = heard

    def create(self, values: dict[str, Any], uid: str | None = None) -> Dataset:
        """N-CREATE; the command set of the answer. The UID is made if none is given, empty: left out."""
        wanted = fresh_uid() if uid is None else uid
        self.association.send_n_create(dataset(values), MPPS, wanted or None)
        return self.heard[-1]

    def change(self, values: dict[str, Any], uid: str) -> Dataset:
        """N-SET; the command set of the answer."""
        self.association.send_n_set(dataset(values), MPPS, uid)
        return self.heard[-1]

    def get(self, uid: str, *tags: int) -> tuple[int, Dataset | None]:
        """N-GET by the Retrieve class."""
        status, found = self.association.send_n_get(list(tags), RETRIEVE, uid)
        return int(status.Status), found


@contextmanager
def modality(port: int, calling: str = "CT01", syntax: str = IMPLICIT) -> Iterator[Modality]:
    """A modality with an association for MPPS and its Retrieve class, roles negotiated as the class demands."""
    ae = AE(ae_title=calling)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 60
    for uid in (MPPS, RETRIEVE):
        ae.add_requested_context(uid, syntax)
    roles = [build_role(uid, scu_role=True, scp_role=False) for uid in (MPPS, RETRIEVE)]
    heard: list[Dataset] = []
    handlers = [(evt.EVT_DIMSE_RECV, lambda event: heard.append(event.message.command_set))]
    made = ae.associate("127.0.0.1", port, ae_title="BROKER", ext_neg=roles, evt_handlers=handlers)
    try:
        assert made.is_established
        yield Modality(made, heard)
    finally:
        if made.is_established:
            made.release()
        made.join(10)
