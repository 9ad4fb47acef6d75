"""Makes objects as a modality does: identity from the worklist answer, pixels of its own, encoded by pydicom."""

from __future__ import annotations

import random
import uuid
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.pixels.encoders.base import RLELosslessEncoder
from pydicom.sequence import Sequence

from broker.dicom import uids
from broker.simulate import jpeg
from broker.simulate.stations import JPEG_BASELINE, RLE_LOSSLESS, US_MULTIFRAME, Series, Station

# what goes from the answer into the objects unchanged (IHE RAD TF-2 table A.1-1)
_COPIED = (
    "SpecificCharacterSet", "PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex",
    "AccessionNumber", "ReferringPhysicianName", "StudyInstanceUID",
)  # fmt: skip
_STEP_COPIED = ("ScheduledProcedureStepID", "ScheduledProcedureStepDescription", "ScheduledProtocolCodeSequence")


@dataclass(frozen=True, slots=True)
class Encoded:
    """The bytes of a data set and what a C-STORE says of it."""

    sop_instance: str
    sop_class: str
    transfer_syntax: str
    data: bytes


def examination(answer: Dataset, station: Station, now: datetime) -> Iterator[Encoded]:
    """All objects of the step that a worklist answer describes."""
    for number, series in enumerate(station.series, 1):
        series_uid = _uid()
        for instance in range(1, series.count + 1):
            dataset = _identity(answer, station, now)
            dataset.SOPClassUID = series.sop_class
            dataset.SOPInstanceUID = _uid()
            dataset.SeriesInstanceUID = series_uid
            dataset.Modality = series.modality
            dataset.SeriesNumber, dataset.InstanceNumber = number, instance
            if series.side:
                _image(dataset, series, instance)
            else:
                _dose_report(dataset)
            data = encode(dataset, series.transfer_syntax)
            yield Encoded(str(dataset.SOPInstanceUID), series.sop_class, series.transfer_syntax, data)


def encode(dataset: Dataset, transfer_syntax: str) -> bytes:
    """Bytes of a data set; its pixels must be in the form of the transfer syntax already."""
    out = DicomBytesIO()
    out.is_little_endian = transfer_syntax != uids.EXPLICIT_BE
    out.is_implicit_VR = transfer_syntax == uids.IMPLICIT_LE
    write_dataset(out, dataset)
    data = out.getvalue()
    if transfer_syntax == uids.DEFLATED:  # PS3.5 A.5: raw deflate, padded to an even length
        packer = zlib.compressobj(wbits=-15)
        data = packer.compress(data) + packer.flush()
        data += b"\0" * (len(data) % 2)
    return data


def _uid() -> str:
    return f"2.25.{uuid.uuid4().int}"


def _identity(answer: Dataset, station: Station, now: datetime) -> Dataset:
    dataset = Dataset()
    for keyword in _COPIED:
        if keyword in answer:
            dataset[keyword] = answer[keyword]
    step = answer.ScheduledProcedureStepSequence[0]
    dataset.StudyID = answer.get("RequestedProcedureID", "")
    dataset.StudyDescription = answer.get("RequestedProcedureDescription", "")
    dataset.SeriesDescription = step.get("ScheduledProcedureStepDescription", "")
    item = Dataset()
    if "RequestedProcedureID" in answer:
        item.RequestedProcedureID = answer.RequestedProcedureID
    for keyword in _STEP_COPIED:
        if keyword in step:
            item[keyword] = step[keyword]
    dataset.RequestAttributesSequence = Sequence([item])
    for name in ("Study", "Series", "Content"):
        setattr(dataset, f"{name}Date", f"{now:%Y%m%d}")
        setattr(dataset, f"{name}Time", f"{now:%H%M%S}")
    dataset.Manufacturer = "Simulator"
    dataset.StationName = station.ae_title
    dataset.InstitutionName = "Simulated hospital"
    return dataset


def _image(dataset: Dataset, series: Series, instance: int) -> None:
    dataset.ImageType = ["ORIGINAL", "PRIMARY"]
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows = dataset.Columns = series.side
    dataset.BitsAllocated = series.bits
    dataset.BitsStored = 12 if series.bits == 16 else 8
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = 0
    if series.frames > 1:
        dataset.NumberOfFrames = series.frames
    if series.sop_class == US_MULTIFRAME:
        dataset.FrameTime = "40"
        dataset.FrameIncrementPointer = 0x00181063
    if series.transfer_syntax == JPEG_BASELINE:
        dataset.LossyImageCompression = "01"
        dataset.LossyImageCompressionRatio = "20"
        dataset.LossyImageCompressionMethod = "ISO_10918_1"
    dataset.PixelData = _pixels(series, instance)
    element = dataset["PixelData"]
    if series.transfer_syntax in (RLE_LOSSLESS, JPEG_BASELINE):
        element.VR, element.is_undefined_length = "OB", True
    else:
        element.VR = "OW"


@lru_cache(maxsize=64)
def _pixels(series: Series, instance: int) -> bytes:
    """Value of Pixel Data. Examinations share pixels, since making them costs more than sending them."""
    if series.transfer_syntax == JPEG_BASELINE:
        return encapsulate([_cine(series.side, instance, number) for number in range(series.frames)])
    if series.transfer_syntax == RLE_LOSSLESS:
        return encapsulate([_rle(_bars(series.side, instance), series)])
    noise = bytearray(random.Random(instance).randbytes(2 * series.side**2))  # noqa: S311 - pixels
    high = slice(0, None, 2) if series.transfer_syntax == uids.EXPLICIT_BE else slice(1, None, 2)
    noise[high] = bytes(value & 0x0F for value in noise[high])  # 12 bits stored
    return bytes(noise)


def _cine(side: int, instance: int, number: int) -> bytes:
    blocks = side // 8
    return jpeg.frame(
        side, side, ((x * 7 + y * (5 + instance) + number * 11) % 256 for y in range(blocks) for x in range(blocks))
    )


def _bars(side: int, instance: int) -> bytes:
    """Little endian 12 bit pixels of vertical and horizontal bars."""
    rows = []
    for y in range(side):
        row = bytearray()
        for x in range(0, side, 16):
            row += (((x // 16) * 97 + (y // 8) * 31 * instance) % 4096).to_bytes(2, "little") * min(16, side - x)
        rows.append(bytes(row))
    return b"".join(rows)


def _rle(pixels: bytes, series: Series) -> bytes:
    return RLELosslessEncoder.encode(
        pixels,
        encoding_plugin="pydicom",
        rows=series.side,
        columns=series.side,
        samples_per_pixel=1,
        bits_allocated=16,
        bits_stored=12,
        pixel_representation=0,
        photometric_interpretation="MONOCHROME2",
        number_of_frames=1,
        transfer_syntax_uid=uids.EXPLICIT_LE,
    )


def _dose_report(dataset: Dataset) -> None:
    """The frame of an X-Ray Radiation Dose SR (PS3.3 A.35.8): a container with one number."""
    dataset.CompletionFlag = "COMPLETE"
    dataset.VerificationFlag = "UNVERIFIED"
    dataset.ReferencedPerformedProcedureStepSequence = Sequence([])
    dataset.PerformedProcedureCodeSequence = Sequence([])
    dataset.ValueType = "CONTAINER"
    dataset.ContinuityOfContent = "SEPARATE"
    dataset.ConceptNameCodeSequence = _code("113701", "DCM", "X-Ray Radiation Dose Report")
    value = Dataset()
    value.MeasurementUnitsCodeSequence = _code("mGy.cm", "UCUM", "mGy.cm")
    value.NumericValue = "123.4"
    item = Dataset()
    item.RelationshipType = "CONTAINS"
    item.ValueType = "NUM"
    item.ConceptNameCodeSequence = _code("113813", "DCM", "CT Dose Length Product Total")
    item.MeasuredValueSequence = Sequence([value])
    dataset.ContentSequence = Sequence([item])


def _code(value: str, scheme: str, meaning: str) -> Sequence:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return Sequence([item])
