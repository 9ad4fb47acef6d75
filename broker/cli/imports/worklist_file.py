"""Reads the data set in a worklist file (`.wl`). `worklist.source.order_document` makes an order of it."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from pathlib import Path

from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset

from broker.dicom import uids
from broker.dicom.dataset import part10
from broker.dicom.dataset.read import MAX_BYTES, Element, decode_data_set
from broker.errors import BadContent
from broker.whole_files import read_whole

MAX_FILE = MAX_BYTES + part10.FIRST


def read(path: Path) -> Mapping[int, Element]:
    """The elements of a DICOM file, or of a bare data set. Raises BadContent, OSError.

    Worklist files are no SOP instances: their header names a transfer syntax, and often nothing else.
    """
    header = part10.read(path, instance=False)
    data = read_whole(path, MAX_FILE)
    if header is None:
        return decode_data_set(data, uids.IMPLICIT_LE, passes_misfits=True).elements
    syntax, data = header.transfer_syntax, data[header.offset :]
    if syntax in uids.DEFLATED_SYNTAXES:
        raise BadContent("deflated: only uncompressed files are read", code="deflated")
    if syntax == uids.EXPLICIT_BE:
        data, syntax = _little_endian(data), uids.EXPLICIT_LE
    return decode_data_set(data, syntax, passes_misfits=True).elements


def _little_endian(data: bytes) -> bytes:
    """A data set of the retired big endian in the usual one. Raises BadContent."""
    out = DicomBytesIO()
    out.is_little_endian, out.is_implicit_VR = True, False
    try:
        with warnings.catch_warnings(action="ignore"):
            found = read_dataset(io.BytesIO(data), is_implicit_VR=False, is_little_endian=False)
            write_dataset(out, found)
    except Exception as error:  # whatever pydicom raises: the file is named with it
        raise BadContent(f"cannot be read as big endian: {type(error).__name__}", code="big-endian") from None
    return out.getvalue()
