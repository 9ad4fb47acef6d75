"""Headers of DICOM files: what we write, what others write, and what is no header at all (PS3.10 7.1)."""

from __future__ import annotations

import os
import struct
import time
from pathlib import Path

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as some
from pydicom.filereader import read_file_meta_info
from support.dicom.objects import SAMPLES, ct_slice
from support.loops import SOON

from broker.dicom import uids
from broker.dicom.dataset import part10
from broker.errors import BadContent

CT = "1.2.840.10008.5.1.4.1.1.2"
DATA = b"\x08\x00\x16\x00UI\x1a\x001.2.840.10008.5.1.4.1.1.2\x00"


def element(number: int, vr: bytes, value: bytes) -> bytes:
    if vr in (b"OB", b"UN", b"UR"):
        return struct.pack("<HH2sHI", 2, number, vr, 0, len(value)) + value
    return struct.pack("<HH2sH", 2, number, vr, len(value)) + value


def meta(*more: bytes, syntax: str = uids.EXPLICIT_LE, length: int | None = None, group_length: bool = True) -> bytes:
    """A file up to its data set. `length`: what the group length says instead of the truth."""
    body = element(1, b"OB", b"\0\1") + element(2, b"UI", CT.encode() + b"\0")
    body += element(3, b"UI", b"1.2.30") + element(0x10, b"UI", syntax.encode() + b"\0" * (len(syntax) % 2))
    body += b"".join(more)
    first = element(0, b"UL", struct.pack("<I", len(body) if length is None else length)) if group_length else b""
    return bytes(128) + b"DICM" + first + body


def read(tmp_path: Path, content: bytes) -> part10.FileHeader | None:
    file = tmp_path / "file"
    file.write_bytes(content)
    return part10.read(file)


def test_what_we_write_is_what_we_read(tmp_path: Path) -> None:
    head = part10.header(CT, "1.2.3", uids.IMPLICIT_LE, "MODALITY")
    first = (CT, "1.2.3", uids.IMPLICIT_LE)
    assert read(tmp_path, head + DATA) == part10.FileHeader(*first, len(head), len(DATA), "MODALITY")
    assert part10.read(str(tmp_path / "file")) is not None


@pytest.mark.parametrize("address", ["", "10.0.0.9", "2001:db8::7", "::1"])
def test_who_sent_it_to_whom_and_from_where_comes_back(tmp_path: Path, address: str) -> None:
    head = part10.header(CT, "1.2.3", uids.IMPLICIT_LE, "MODALITY", "BROKER", address)
    found = read(tmp_path, head + DATA)
    assert found == part10.FileHeader(
        CT, "1.2.3", uids.IMPLICIT_LE, len(head), len(DATA), "MODALITY", "BROKER", address
    )
    theirs = read_file_meta_info(str(tmp_path / "file"))
    assert (theirs.SourceApplicationEntityTitle, theirs.ReceivingApplicationEntityTitle) == ("MODALITY", "BROKER")
    written = theirs.get("SourcePresentationAddress", "")
    assert str(written) == (f"dicom://[{address}]" if ":" in address else f"dicom://{address}" if address else "")
    assert theirs.FileMetaInformationGroupLength == len(head) - 144


@pytest.mark.parametrize(
    ("title", "address"),
    [
        (b"A" * 17, b"dicom://host.example"),
        (b"A\\B", b"http://10.0.0.1"),
        (b"A\x1bB", b"dicom://10.0.0.1:104/x"),
        (b"\xff\xfe", b"10.0.0.1"),
        (b"   ", b"dicom://" + b"1" * 50_000),
    ],
)
def test_a_sender_that_cannot_be_is_none(tmp_path: Path, title: bytes, address: bytes) -> None:
    more = element(0x16, b"AE", title), element(0x18, b"AE", title), element(0x26, b"UR", address)
    found = read(tmp_path, meta(*more) + DATA)
    assert found is not None
    assert (found.source_ae, found.receiving_ae, found.source_address) == ("", "", "")


def test_every_sample_of_pydicom_is_read_as_pydicom_does() -> None:
    seen = 0
    for path in sorted(SAMPLES.rglob("*.dcm")):
        if path.read_bytes()[128:132] != b"DICM":
            assert part10.read(path) is None, path.name
            continue
        try:
            theirs = read_file_meta_info(str(path))
            wanted = (theirs.MediaStorageSOPClassUID, theirs.MediaStorageSOPInstanceUID, theirs.TransferSyntaxUID)
        except AttributeError:
            continue  # a sample of a broken header
        try:
            ours = part10.read(path)
        except BadContent:
            assert not all(uids.is_uid(str(uid)) for uid in wanted) or path.stat().st_size < 400, path.name
            continue
        assert ours is not None
        assert ours[:3] == wanted, path.name
        if "FileMetaInformationGroupLength" in theirs:
            assert ours.offset == 144 + theirs.FileMetaInformationGroupLength, path.name
        assert ours.offset + ours.length == path.stat().st_size
        seen += 1
    assert seen > 50


@pytest.mark.parametrize("content", [b"", b"DICM", bytes(132), bytes(128) + b"DICN" + bytes(400), b"%PDF-1.7" * 100])
def test_what_is_no_dicom_file(tmp_path: Path, content: bytes) -> None:
    assert read(tmp_path, content) is None


def test_what_is_no_file_at_all_is_left_alone(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    began = time.monotonic()
    assert part10.read(tmp_path / "pipe") is None
    assert part10.read("/dev/zero") is None
    assert time.monotonic() - began < SOON
    with pytest.raises(IsADirectoryError):
        part10.read(tmp_path)
    with pytest.raises(FileNotFoundError):
        part10.read(tmp_path / "nothing")


@pytest.mark.parametrize("wrong", [None, 0, 4, 100_000, 0xFFFFFFFF])
def test_a_wrong_or_missing_group_length_does_not_matter(tmp_path: Path, wrong: int | None) -> None:
    head = meta(length=wrong) if wrong is not None else meta(group_length=False)
    header = read(tmp_path, head + DATA)
    assert header is not None
    assert (header.offset, header.length) == (len(head), len(DATA))


@pytest.mark.parametrize("group_length", [True, False])
def test_long_private_information(tmp_path: Path, group_length: bool) -> None:
    head = meta(element(0x102, b"OB", bytes(900_000)), group_length=group_length)
    header = read(tmp_path, head + DATA)
    assert header is not None
    assert header.offset == len(head)
    with pytest.raises(BadContent, match="cut off or too long"):
        read(tmp_path, meta(element(0x102, b"OB", bytes(2_000_000)), group_length=group_length) + DATA)


def test_deflated_bytes_that_look_like_a_header(tmp_path: Path) -> None:
    head = meta(syntax=uids.DEFLATED)
    header = read(tmp_path, head + b"\x02\x00" + bytes(90))
    assert header is not None
    assert header.offset == len(head)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (meta(), "ends with its header"),
        (meta()[:-3], "cut off"),
        (meta()[:150], "cut off"),
        (meta().replace(b"1.2.30", b"1.2.3x") + DATA, "no usable SOP instance"),
        (meta().replace(b"1.2.30", b"\0\0\0\0\0\0") + DATA, "no usable SOP instance"),
        (meta().replace(b"1.2.30", b"../../") + DATA, "no usable SOP instance"),
        (meta().replace(element(0x10, b"UI", uids.EXPLICIT_LE.encode() + b"\0"), b"") + DATA, "transfer syntax"),
        (bytes(128) + b"DICM" + DATA, "no usable SOP class"),
        (meta(struct.pack("<HH2sHI", 2, 0x102, b"OB", 0, 0xFFFFFFFF)) + DATA, "cut off"),
    ],
)
def test_a_damaged_header_has_a_reason(tmp_path: Path, content: bytes, reason: str) -> None:
    with pytest.raises(BadContent, match=reason):
        read(tmp_path, content)


@given(some.binary(max_size=300), some.integers(0, 300), some.binary(max_size=12))
def test_any_bytes_behind_the_prefix_are_a_header_or_bad_content(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, position: int, patch: bytes
) -> None:
    good = meta() + DATA
    folder = tmp_path_factory.getbasetemp()
    for content in (bytes(128) + b"DICM" + noise, good[: 132 + position] + patch + good[132 + position + len(patch) :]):
        try:
            header = read(folder, content)
        except BadContent:
            continue
        assert header is not None
        assert 132 < header.offset < len(content)
        assert header.offset + header.length == len(content)


def test_a_file_of_pydicom(tmp_path: Path) -> None:
    thing = ct_slice(1024)
    (tmp_path / "file").write_bytes(thing.part10())
    header = part10.read(tmp_path / "file")
    assert header is not None
    assert header[:3] == (thing.sop_class, thing.sop_instance, thing.transfer_syntax)
    assert (tmp_path / "file").read_bytes()[header.offset :] == thing.data
    assert pydicom.dcmread(tmp_path / "file").SOPInstanceUID == header.sop_instance
