"""DICOM objects to send: pydicom's own sample files made unique, and synthetic slices."""

from __future__ import annotations

import copy
import os
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_file_meta_info
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

SAMPLES = Path(pydicom.__file__).parent / "data" / "test_files"


@dataclass(frozen=True)
class Encoded:
    """An object as bytes: what goes over the wire."""

    sop_class: str
    sop_instance: str
    transfer_syntax: str
    data: bytes

    def part10(self) -> bytes:
        """The object as a file."""
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = self.sop_class
        meta.MediaStorageSOPInstanceUID = self.sop_instance
        meta.TransferSyntaxUID = self.transfer_syntax
        buffer = DicomBytesIO()
        pydicom.filewriter.write_file_meta_info(buffer, meta)
        return bytes(128) + b"DICM" + buffer.getvalue() + self.data


def from_sample(path: Path) -> Encoded | None:
    """A sample file with a fresh SOP Instance UID patched into its bytes; None if it is no storable object.

    The data set bytes are kept but for the UID, so that odd encodings stay as they are.
    """
    raw = path.read_bytes()
    if raw[128:132] != b"DICM":
        return None
    meta = read_file_meta_info(str(path))
    if "FileMetaInformationGroupLength" not in meta or "TransferSyntaxUID" not in meta:
        return None
    data = raw[144 + int(meta.FileMetaInformationGroupLength) :]
    header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["SOPClassUID", "SOPInstanceUID"])
    if "SOPInstanceUID" not in header or "SOPClassUID" not in header:
        return None
    old = str(header.SOPInstanceUID)
    if meta.TransferSyntaxUID.is_deflated:  # cannot be patched; its UID is unique among the samples
        return Encoded(str(header.SOPClassUID), old, str(meta.TransferSyntaxUID), data + bytes(len(data) % 2))
    if len(old) < 12:
        return None
    fresh = fresh_uid(len(old))
    patched = data.replace(old.encode("ascii"), fresh.encode("ascii"))
    return Encoded(str(header.SOPClassUID), fresh, str(meta.TransferSyntaxUID), patched)


def fresh_uid(length: int = 40) -> str:
    """A unique UID of exactly this length."""
    digits = str(int.from_bytes(os.urandom(32), "big"))
    uid = "2.25.1" + digits
    return uid[:length]


def ct_slice(size: int = 512 * 1024, **attributes: str) -> Encoded:
    """A CT slice of `size` bytes of pixel data with fresh UIDs, Explicit VR Little Endian."""
    ds = Dataset()
    ds.SOPClassUID = CTImageStorage
    ds.SOPInstanceUID = fresh_uid()
    ds.StudyDate, ds.Modality = "20300312", "CT"
    ds.PatientName, ds.PatientID, ds.PatientBirthDate = "Canary^Carl", "CANARY1", "19010203"
    ds.StudyInstanceUID = "2.999.7.1"
    ds.SeriesInstanceUID = "2.999.7.1.1"
    ds.AccessionNumber = "A1"
    columns = 512 if size >= 1024 else max(size // 2, 1)
    ds.Rows, ds.Columns, ds.BitsAllocated, ds.BitsStored, ds.HighBit = size // 2 // columns, columns, 16, 16, 15
    ds.SamplesPerPixel, ds.PixelRepresentation, ds.PhotometricInterpretation = 1, 0, "MONOCHROME2"
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    ds.PixelData = os.urandom(size // 2 * 2)
    return encode(ds)


def encode(ds: Dataset, transfer_syntax: str = ExplicitVRLittleEndian) -> Encoded:
    """Encode a data set in a little endian, native syntax."""
    buffer = DicomBytesIO()
    buffer.is_little_endian = True
    buffer.is_implicit_VR = transfer_syntax != ExplicitVRLittleEndian
    pydicom.filewriter.write_dataset(buffer, copy.deepcopy(ds))
    return Encoded(str(ds.SOPClassUID), str(ds.SOPInstanceUID), transfer_syntax, buffer.getvalue())
