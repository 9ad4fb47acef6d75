"""One large multi-frame object in and out: how much memory the broker takes meanwhile.

    python tests/bench/large.py                     2 GiB
    python tests/bench/large.py --mib 64            the short variant of CI

DCMTK's storescu sends, the broker receives, commits, and delivers to DCMTK's storescp; the bytes are compared. The
peak of resident memory is the kernel's own (VmHWM), reset before; the page cache does not count.
"""

from __future__ import annotations

import hashlib
import struct
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from pydicom.dataset import Dataset
from pydicom.uid import MultiFrameGrayscaleWordSecondaryCaptureImageStorage, generate_uid
from support.bench import forwarder, options, storescu, write_files
from support.dicom.objects import Encoded, encode
from support.peers.peers import storescp
from support.peers.tools import wait_until

BLOCK = 1024 * 1024


def write_large(path: Path, mib: int) -> None:
    """A Multi-frame Grayscale Word Secondary Capture, two frames a MiB, written in pieces; each MiB has its number."""
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = MultiFrameGrayscaleWordSecondaryCaptureImageStorage, generate_uid()
    ds.StudyInstanceUID, ds.SeriesInstanceUID = "2.999.7.1", "2.999.7.1.1"
    ds.Modality, ds.ConversionType, ds.PatientID, ds.PatientName = "OT", "SYN", "CANARY1", "Canary^Carl"
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
    ds.NumberOfFrames, ds.Rows, ds.Columns = 2 * mib, 512, 512
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 16, 15
    model = encode(ds)
    head = model.data + b"\xe0\x7f\x10\x00OW\0\0" + struct.pack("<I", mib * BLOCK)
    with path.open("wb") as file:
        file.write(Encoded(model.sop_class, model.sop_instance, model.transfer_syntax, head).part10())
        for number in range(mib):
            file.write(struct.pack("<I", number) * (BLOCK // 4))


def peak(pid: int) -> int:
    """Peak of resident memory in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmHWM")


def tail_digest(path: Path, size: int) -> str:
    """SHA-256 of the last `size` bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        file.seek(-size, 2)
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def main() -> None:
    """Run and print."""
    chosen = options(__doc__, mib=2048).parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        with forwarder(folder / "broker") as (site, port), storescp(folder / "out", port=port):
            storescu(write_files(folder / "warm", 20, 512 * 1024), site.dicom, "BROKER")
            wait_until(lambda: len(list((folder / "out").iterdir())) == 20, 60, "warmed up")
            assert site.process is not None
            pid = site.process.pid
            large = folder / "large.dcm"
            write_large(large, chosen.mib)
            Path(f"/proc/{pid}/clear_refs").write_text("5")
            before = peak(pid)
            seconds = storescu([str(large)], site.dicom, "BROKER")
            received = peak(pid) - before
            done = "select count(*) from job where state = 'done'"
            wait_until(lambda: site.rows(done)[0][0] == 21, 600, "delivered")
            whole = peak(pid) - before
            arrived = max((folder / "out").iterdir(), key=lambda path: path.stat().st_size)
            assert tail_digest(arrived, chosen.mib * BLOCK) == tail_digest(large, chosen.mib * BLOCK)
    print(f"\nlarge: {chosen.mib} MiB in {seconds:.1f} s ({chosen.mib / seconds:.0f} MiB/s), delivered bit by bit")
    print(f"  peak memory grew by {received / BLOCK:.1f} MiB receiving, {whole / BLOCK:.1f} MiB with delivery")
    print(f"  asked: under 64 MiB; seen: {whole / BLOCK:.1f}  {'met' if whole < 64 * BLOCK else 'MISSED'}")


if __name__ == "__main__":
    main()
