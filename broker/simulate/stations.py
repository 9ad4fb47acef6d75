"""Lists the modalities of a small virtual hospital: the procedures ordered on them, the objects they make."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Literal

from broker.dicom import uids

RLE_LOSSLESS = "1.2.840.10008.1.2.5"
JPEG_BASELINE = "1.2.840.10008.1.2.4.50"

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
US_MULTIFRAME = "1.2.840.10008.5.1.4.1.1.3.1"
CR_IMAGE = "1.2.840.10008.5.1.4.1.1.1"
DX_IMAGE = "1.2.840.10008.5.1.4.1.1.1.1"
MG_IMAGE = "1.2.840.10008.5.1.4.1.1.1.2"
DOSE_REPORT = "1.2.840.10008.5.1.4.1.1.88.67"

Code = tuple[str, str]  # value and meaning, of a local coding scheme
Interface = Literal["OMI", "ORM"]


@dataclass(frozen=True, slots=True)
class Series:
    """`count` objects of one SOP class in one transfer syntax. Pixels of `side` x `side`; 0 for a report."""

    modality: str
    sop_class: str
    transfer_syntax: str
    count: int
    side: int
    _: KW_ONLY
    bits: int = 16
    frames: int = 1


@dataclass(frozen=True, slots=True)
class Station:
    """A device. Orders for it come through `interface`: OMI^O23 names the station, ORM^O01 has no field for it."""

    ae_title: str
    modality: str
    room: str
    procedure: Code
    protocol: Code
    series: tuple[Series, ...]
    _: KW_ONLY
    interface: Interface = "OMI"

    @property
    def objects(self) -> int:
        """How many objects one examination makes."""
        return sum(series.count for series in self.series)


STATIONS = (
    Station(
        "SIM_CT", "CT", "Room 1", ("CTTHX", "CT thorax"), ("CTTHX1", "Thorax native, 5 mm"),
        (
            Series("CT", CT_IMAGE, uids.EXPLICIT_LE, 4, 256),
            Series("SR", DOSE_REPORT, uids.DEFLATED, 1, 0),
        ),
    ),
    Station(
        "SIM_CR", "CR", "Room 2", ("RXHAND", "Radiographie de la main"), ("RXHAND2", "Main, 2 incidences"),
        (Series("CR", CR_IMAGE, uids.EXPLICIT_BE, 2, 512),), interface="ORM",
    ),
    Station(
        "SIM_MR", "MR", "Room 3", ("MRHEAD", "MR Schädel"), ("MRHEAD1", "Schädel T2 transversal"),
        (Series("MR", MR_IMAGE, uids.IMPLICIT_LE, 5, 192),),
    ),
    Station(
        "SIM_US", "US", "Room 4", ("USABD", "US abdomen"), ("USABD1", "Abdomen, cine loops"),
        (Series("US", US_MULTIFRAME, JPEG_BASELINE, 2, 256, bits=8, frames=12),),
    ),
    Station(
        "SIM_DX", "DX", "Room 5", ("DXTHX", "Thorax 2 projections"), ("DXTHX2", "Thorax p.a. and lateral"),
        (Series("DX", DX_IMAGE, RLE_LOSSLESS, 2, 512),),
    ),
    Station(
        "SIM_MG", "MG", "Room 6", ("MAMBIL", "Mammography, both sides"), ("MG4V", "Mammography, 4 views"),
        (Series("MG", MG_IMAGE, uids.EXPLICIT_LE, 4, 512),),
    ),
)  # fmt: skip


def transfer_syntax_name(uid: str) -> str:
    """A short readable name of the transfer syntaxes used here."""
    return {
        uids.EXPLICIT_LE: "Explicit VR LE",
        uids.IMPLICIT_LE: "Implicit VR LE",
        uids.EXPLICIT_BE: "Explicit VR BE",
        uids.DEFLATED: "Deflated",
        RLE_LOSSLESS: "RLE Lossless",
        JPEG_BASELINE: "JPEG Baseline",
    }.get(uid, uid)
