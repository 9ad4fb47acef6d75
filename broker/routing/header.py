"""Reads identity, and the facts that rules may see, from a data set at reception."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from broker.dicom.dataset.encoding import SPECIFIC_CHARACTER_SET
from broker.dicom.dataset.scan import DataSetScan
from broker.dicom.dimse.message import PeerAE
from broker.errors import BadContent
from broker.routing.elements import ElementReader, ascii_text, tags_for
from broker.routing.rules.tag_paths import PREFIX
from broker.routing.rules.times import LOCAL_TIME, local_time

# kept with every instance so that a draft of rules can be replayed over recent objects
BASE_FIELDS = (
    "tag.SOPClassUID", "tag.Modality", "tag.StudyInstanceUID", "tag.SeriesInstanceUID", "tag.AccessionNumber",
    "tag.PatientID", "tag.StationName", "tag.InstitutionName", "tag.BodyPartExamined", "tag.StudyDescription",
    "tag.SeriesDescription", "tag.ImageType", "tag.Manufacturer", "tag.StudyDate",
)  # fmt: skip
_SOP_CLASS, _SOP_INSTANCE, _STUDY, _SERIES = 0x00080016, 0x00080018, 0x0020000D, 0x0020000E


@dataclass(frozen=True, slots=True)
class Identity:
    """The UIDs of an object, from its data set."""

    sop_class: str
    sop_instance: str
    study: str
    series: str


def tags_of(fields: Iterable[str]) -> frozenset[int]:
    """Tags that identity and these fields need from a data set."""
    tags = {tag for field in fields for tag in tags_for(field)}
    return frozenset(tags | {_SOP_CLASS, _SOP_INSTANCE, _STUDY, _SERIES, SPECIFIC_CHARACTER_SET})


def identity(scan: DataSetScan, command_class: str, command_instance: str) -> Identity:
    """The object's UIDs. Raises BadContent when SOP class or instance disagree with the command (PS3.4 B.2.3, A900).

    Study and series UID may be missing: such an object is taken and routed, a refusal would lose it at the modality.
    """
    sop_class, sop_instance, study, series = (
        ascii_text(scan.elements.get(tag)) for tag in (_SOP_CLASS, _SOP_INSTANCE, _STUDY, _SERIES)
    )
    if sop_class != command_class or sop_instance != command_instance:
        raise BadContent("UIDs of command and data set differ", code="uid-mismatch")
    return Identity(sop_class, sop_instance, study[:64], series[:64])


def facts(
    scan: DataSetScan, peer: PeerAE, fields: Iterable[str], moment: datetime
) -> dict[str, tuple[str | float, ...]]:
    """Facts of these fields; a missing, empty or unreadable value is not there. `moment`: in the site's time zone."""
    found: dict[str, tuple[str | float, ...]] = {
        "assoc.calling_ae": (peer.calling_ae,),
        "assoc.called_ae": (peer.called_ae,),
        "assoc.address": (peer.address,),
        LOCAL_TIME: (local_time(moment),),
    }
    if peer.tls_subject:
        found["assoc.tls_subject"] = (peer.tls_subject,)
    reader = ElementReader(scan)
    for field in fields:
        if field.startswith(PREFIX):
            found.update(reader.read(field))
    return found
