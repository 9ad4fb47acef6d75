"""Providers of DCMTK beside its storescp: archive (dcmqrscp), worklist (wlmscpfs), printer (dcmprscp), dcmrecv."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydicom.dataset import Dataset, FileMetaDataset

from support.peers.tools import background, free_port, waits

PRINTER = """
Type = LOCALPRINTER
Hostname = localhost
Description = printer
DisplayFormat = 1,1
FilmDestination = MAGAZINE\\PROCESSOR
FilmSizeID = 8INX10IN\\14INX17IN
ImplicitOnly = false
DisableNewVRs = false
MagnificationType = REPLICATE\\CUBIC\\NONE
MaxDensity = 320
MediumType = PAPER\\BLUE FILM
MinDensity = 20
MaxPDU = 32768
Supports12Bit = true
SupportsPresentationLUT = false
"""

# of our own, as the package's lies in /etc and is not there where Debian's tools were only unpacked
RECEIVER = """
[[TransferSyntaxes]]
[Any]
TransferSyntax1 = LittleEndianExplicit
TransferSyntax2 = LittleEndianImplicit
TransferSyntax3 = JPEGLossless:Non-hierarchical-1stOrderPrediction
TransferSyntax4 = JPEGBaseline
[[PresentationContexts]]
[Storage]
PresentationContext1 = VerificationSOPClass\\Any
PresentationContext2 = ComputedRadiographyImageStorage\\Any
PresentationContext3 = CTImageStorage\\Any
PresentationContext4 = MRImageStorage\\Any
PresentationContext5 = SecondaryCaptureImageStorage\\Any
[[Profiles]]
[Default]
PresentationContexts = Storage
"""


@contextmanager
def dcmqrscp(folder: Path, nodes: dict[str, int]) -> Iterator[int]:
    """An empty archive of the AE title QRSCP, which knows other nodes of this machine; its port."""
    store = folder / "store"
    store.mkdir(parents=True)
    port = free_port()
    hosts = "".join(f"{title.lower()} = ({title}, 127.0.0.1, {where})\n" for title, where in nodes.items())
    everybody = ", ".join(title.lower() for title in nodes)
    configuration = folder / "dcmqrscp.cfg"
    configuration.write_text(
        f"NetworkTCPPort = {port}\nMaxPDUSize = 65536\nMaxAssociations = 16\n"
        f"HostTable BEGIN\n{hosts}peers = {everybody}\nHostTable END\n"
        f"VendorTable BEGIN\nVendorTable END\nAETable BEGIN\nQRSCP {store} RW (100, 1024mb) ANY\nAETable END\n"
    )
    with background("dcmqrscp", "-c", configuration, ready=lambda: waits(port), cwd=folder):
        yield port


@contextmanager
def dcmrecv(folder: Path) -> Iterator[int]:
    """A receiver that keeps every file bit by bit; its port."""
    folder.mkdir(parents=True)
    port = free_port()
    configuration = folder.parent / "dcmrecv.cfg"
    configuration.write_text(RECEIVER)
    words = ("--config-file", configuration, "default", "--bit-preserving", "-od", folder, str(port))
    with background("dcmrecv", *words, ready=lambda: waits(port), cwd=folder.parent):
        yield port


def worklist_files(folder: Path, *items: Dataset) -> None:
    """Worklist items as files, which Orthanc reads too."""
    folder.mkdir(parents=True)
    (folder / "lockfile").touch()
    for number, item in enumerate(items):
        item.file_meta = FileMetaDataset()
        item.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
        item.file_meta.MediaStorageSOPClassUID = "1.2.276.0.7230010.3.1.0.1"
        item.file_meta.MediaStorageSOPInstanceUID = f"2.999.{number + 1}"
        item.save_as(folder / f"{number}.wl", enforce_file_format=True)


@contextmanager
def wlmscpfs(folder: Path, *items: Dataset) -> Iterator[int]:
    """A worklist of the AE title WORKLIST; its port."""
    worklist_files(folder / "WORKLIST", *items)
    port = free_port()
    words = ("--single-process", "-dfp", folder, str(port))
    with background("wlmscpfs", *words, ready=lambda: waits(port), cwd=folder):
        yield port


def print_configuration(folder: Path, port: int, title: str) -> Path:
    """A configuration file of DCMTK's print programs, for one printer."""
    names = ("spool", "database", "lut", "reports", "log")
    spool, database, lut, reports, log = (folder / name for name in names)
    for name in names:
        (folder / name).mkdir(parents=True)
    path = folder / "dcmpstat.cfg"
    path.write_text(
        f"[[GENERAL]]\n[APPLICATION]\nLogDirectory = {log}\n[DATABASE]\nDirectory = {database}\n"
        f"[LUT]\nDirectory = {lut}\n[REPORT]\nDirectory = {reports}\n[NETWORK]\naetitle = DCMTK\n"
        f"[PRINT]\nDirectory = {spool}\nDetailedLog = false\nBinaryLog = false\nSleep = 1\n"
        "MinPrintResolution = 64\\64\nMaxPrintResolution = 8192\\8192\n"
        f"[[COMMUNICATION]]\n[{title}]\nAetitle = {title}\nPort = {port}{PRINTER}"
    )
    return path


@contextmanager
def dcmprscp(folder: Path) -> Iterator[int]:
    """A printer of the AE title PRINTSCP; its port."""
    port = free_port()
    configuration = print_configuration(folder, port, "PRINTSCP")
    words = ("-c", configuration, "-p", "PRINTSCP")
    with background("dcmprscp", *words, ready=lambda: waits(port), cwd=folder):
        yield port
