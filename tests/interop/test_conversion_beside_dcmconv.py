"""Objects of real devices that were converted: DCMTK's dcmconv finds in them, bit by bit, what the originals hold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from support.dicom.objects import SAMPLES, Encoded, from_sample
from support.peers.tools import run

from broker.dicom.conversion.converting import recoded
from broker.dicom.uids import EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE

FARTHEST = {EXPLICIT_LE: EXPLICIT_BE, IMPLICIT_LE: EXPLICIT_BE, EXPLICIT_BE: IMPLICIT_LE}


def by_dcmconv(item: Encoded, folder: Path) -> bytes:
    """The object in Implicit VR Little Endian with undefined lengths and no group lengths, as DCMTK writes it."""
    source, target = folder / "source.dcm", folder / "target.dcm"
    source.write_bytes(item.part10())
    done = run("dcmconv", "+ti", "-g", "-e", source, target)
    assert done.returncode == 0, done.stdout
    return target.read_bytes()


@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom about what devices write
def test_dcmconv_reads_the_same_in_what_was_converted(tmp_path: Path) -> None:
    samples = [from_sample(path) for path in sorted(SAMPLES.glob("*.dcm")) if "truncated" not in path.name]
    objects = [one for one in samples if one is not None and one.transfer_syntax in FARTHEST]
    assert len(objects) > 15
    for one in objects:
        target = FARTHEST[one.transfer_syntax]
        turned = replace(one, transfer_syntax=target, data=recoded(one.data, one.transfer_syntax, target))
        assert by_dcmconv(turned, tmp_path) == by_dcmconv(one, tmp_path), one.transfer_syntax
