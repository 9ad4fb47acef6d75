"""Offers what can be typed into the editor: fields of the catalogue, and values that were seen lately.

Values are those of fields that say nothing of a patient.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterable, Mapping, Sequence

from broker.model.modalities import known_modalities
from broker.routing.rules.fields import FIXED
from broker.site.nodes import Node
from broker.store.db.database import Database
from broker.store.images import held_objects

LATELY = 30 * 86_400.0  # seconds
OBJECTS = 500  # that are looked at
MOST = 50  # values of a field
_OFFERED = (
    "Modality StationName InstitutionName InstitutionalDepartmentName Manufacturer ManufacturerModelName "
    "BodyPartExamined Laterality StudyDescription SeriesDescription ProtocolName SOPClassUID ImageType "
    "SliceThickness Rows Columns NumberOfFrames PatientAge PatientSex PatientID IssuerOfPatientID "
    "AccessionNumber StudyDate StudyInstanceUID ReferringPhysicianName KVP BurnedInAnnotation "
    "LossyImageCompression PhotometricInterpretation ProcedureCodeSequence[1].CodeValue "
    "RequestedProcedureDescription PerformedProcedureStepDescription DeviceSerialNumber SoftwareVersions "
)
_TAGS = tuple(_OFFERED.split())
_SHOWN = frozenset(
    {"assoc.calling_ae", "assoc.called_ae", "order.priority", "order.patient_class", "order.ward", "order.modality"}
    | {"order.station", "order.procedure_code", "order.status", "match.status"}
    | {f"tag.{name}" for name in _TAGS[:8]}
    | {"tag.SOPClassUID", "tag.ImageType", "tag.BurnedInAnnotation", "tag.LossyImageCompression"}
)
_KNOWN: Mapping[str, Sequence[str]] = {
    "match.status": ("matched", "unmatched", "ambiguous", "demographics-differ"),
    "order.priority": ("STAT", "HIGH", "ROUTINE", "MEDIUM", "LOW"),
    "time.holiday": ("yes", "no"),
    "time.window": ("Mon-Fri 18:00-07:00", "18:00-07:00", "Sat,Sun,holiday"),
}


def field_names() -> list[str]:
    """The fields that are offered. There are more: each keyword of DICOM."""
    return [*FIXED, *(f"tag.{name}" for name in _TAGS)]


def seen_values(database: Database, nodes: Iterable[Node], names: Collection[str]) -> dict[str, Sequence[str]]:
    """Values of these fields that were seen lately, the newest first (blocking). Raises StoreUnavailable."""
    found: dict[str, dict[str, None]] = {name: dict.fromkeys(_KNOWN[name]) for name in names if name in _KNOWN}
    wanted = _SHOWN.intersection(names)
    if wanted:
        since = time.time() - LATELY
        for held in database.read(held_objects.received, since, held_objects.LAST, OBJECTS).result():
            kept = json.loads(held.facts or "{}")
            for name in wanted.intersection(kept):
                found.setdefault(name, {}).update(dict.fromkeys(str(value)[:64] for value in kept[name]))
    if "tag.Modality" in names:
        found.setdefault("tag.Modality", {}).update(dict.fromkeys(sorted(known_modalities(()))))
    if "assoc.calling_ae" in names:
        titles = [node.ae_title for node in nodes if node.ae_title and "modality" in node.roles]
        found.setdefault("assoc.calling_ae", {}).update(dict.fromkeys(titles))
    return {name: list(values)[:MOST] for name, values in found.items()}
