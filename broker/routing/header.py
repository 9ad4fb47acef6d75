"""Reads identity, and the facts that rules may see, from a data set at reception. Decodes only what is asked for."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from pydicom.charset import python_encoding
from pydicom.datadict import dictionary_has_tag, dictionary_VR

from broker.dicom.dataset.encoding import SPECIFIC_CHARACTER_SET, TEXT_VRS
from broker.dicom.dataset.scan import DataSetScan, RawElement
from broker.dicom.dimse.message import PeerAE
from broker.errors import BadContent
from broker.routing.fields import Kind, kind_of, tag_of

# kept with every instance so that a draft of rules can be replayed over recent objects
BASE_FIELDS = (
    "tag.SOPClassUID", "tag.Modality", "tag.StudyInstanceUID", "tag.SeriesInstanceUID", "tag.AccessionNumber",
    "tag.PatientID", "tag.StationName", "tag.InstitutionName", "tag.BodyPartExamined", "tag.StudyDescription",
    "tag.SeriesDescription", "tag.ImageType", "tag.Manufacturer", "tag.StudyDate",
)  # fmt: skip
MAX_TEXT, MAX_VALUES = 1024, 64

_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", re.ASCII)
_ESCAPE = re.compile(r"\x1b[ -/]+[0-~]")  # ISO 2022 designations that a codec left in the text
_SINGLE_VALUED = frozenset({"LT", "ST", "UT", "UR"})
_BINARY = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d", "UV": "Q", "SV": "q"}
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
    tags = {tag for field in fields if (tag := tag_of(field)) is not None}
    return frozenset(tags | {_SOP_CLASS, _SOP_INSTANCE, _STUDY, _SERIES, SPECIFIC_CHARACTER_SET})


def identity(scan: DataSetScan, command_class: str, command_instance: str) -> Identity:
    """The object's UIDs. Raises BadContent when SOP class or instance disagree with the command (PS3.4 B.2.3, A900).

    Study and series UID may be missing: such an object is taken and routed, a refusal would lose it at the modality.
    """
    sop_class, sop_instance, study, series = (
        _ascii(scan.elements.get(tag)) for tag in (_SOP_CLASS, _SOP_INSTANCE, _STUDY, _SERIES)
    )
    if sop_class != command_class or sop_instance != command_instance:
        raise BadContent("UIDs of command and data set differ", code="uid-mismatch")
    return Identity(sop_class, sop_instance, study[:64], series[:64])


def facts(
    scan: DataSetScan, peer: PeerAE, fields: Iterable[str], local_time: datetime
) -> dict[str, tuple[str | float, ...]]:
    """Facts of these fields; a missing, empty or unreadable value is not there."""
    found: dict[str, tuple[str | float, ...]] = {
        "assoc.calling_ae": (peer.calling_ae,),
        "assoc.called_ae": (peer.called_ae,),
        "assoc.address": (peer.address,),
        "time.hour": (float(local_time.hour),),
        "time.weekday": (float(local_time.isoweekday()),),
    }
    for field in fields:
        tag = tag_of(field)
        element = scan.elements.get(tag) if tag is not None else None
        if element is not None and element.value:
            values = _of_kind(kind_of(field), _values(element, scan))
            if values:
                found[field] = values
    return found


def _of_kind(kind: Kind | None, values: tuple[str | float, ...]) -> tuple[str | float, ...]:
    """Values of the kind that the field has in the catalogue, whatever VR the device wrote."""
    if kind == "text":
        return tuple(value for value in values if isinstance(value, str))
    numbers = (_decimal(value) if isinstance(value, str) else value for value in values)
    return tuple(number for number in numbers if number is not None)


def _ascii(element: RawElement | None) -> str:
    return element.value.decode("latin-1").strip(" \0").replace("\0", "") if element else ""


def _values(element: RawElement, scan: DataSetScan) -> tuple[str | float, ...]:
    vr = element.vr
    if not vr or vr == "UN":
        vr = dictionary_VR(element.tag).split(" ")[0] if dictionary_has_tag(element.tag) else "UN"
    if vr in _BINARY:
        return _numbers(element.value, (">" if scan.big_endian else "<") + _BINARY[vr])
    text = _decode(element.value, scan.elements, vr)
    parts = [text] if vr in _SINGLE_VALUED else text.split("\\")[:MAX_VALUES]
    clean = [part.strip(" \0")[:MAX_TEXT].replace("\0", "") for part in parts]
    return tuple(part for part in clean if part)


def _numbers(value: bytes, code: str) -> tuple[float, ...]:
    size = struct.calcsize(code)
    count = min(len(value) // size, MAX_VALUES)
    numbers = (float(struct.unpack_from(code, value, i * size)[0]) for i in range(count))
    return tuple(number for number in numbers if math.isfinite(number))


def _decimal(text: str) -> float | None:
    """A DS or IS value (PS3.5 6.2); Python's own reading would also take `nan` and `1_000`."""
    if len(text) > 24 or not _DECIMAL.fullmatch(text):
        return None
    number = float(text)
    return number if math.isfinite(number) else None


def _decode(value: bytes, elements: Mapping[int, RawElement], vr: str) -> str:
    """Text by Specific Character Set; undecodable bytes become replacement characters, never an error."""
    if vr not in TEXT_VRS:
        return value.decode("latin-1")
    terms = _ascii(elements.get(SPECIFIC_CHARACTER_SET)).split("\\")
    codec = python_encoding.get(terms[-1].strip(), "latin-1")  # with ISO 2022 the last term holds the escapes
    return _ESCAPE.sub("", value.decode(codec, "replace"))
