"""UIDs as text, and the choice of transfer syntax."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as some
from pydicom._uid_dict import UID_dictionary
from pydicom.uid import UID
from pynetdicom import ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts

from broker.dicom import uids
from broker.dicom.dataset.part10 import header

JPEG, J2K = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.90"


@pytest.mark.parametrize("text", ["1.2", "0.0", "2.25." + "9" * 59, "1.2.840.10008.1.1", "1.0.3"])
def test_uids_that_can_be(text: str) -> None:
    assert uids.is_uid(text)


@pytest.mark.parametrize(
    "text",
    ["", "1", "1.", ".1", "1..2", "1.02", "00.1", "1.2.", "1.2 ", " 1.2", "1.2\n", "1.2\0", "a.b", "1.2a", "１.２",
     "2.25." + "9" * 60, "../../etc/passwd", "/etc", "1.2/3", "-1.2", "1.+2"],
)  # fmt: skip
def test_uids_that_cannot_be(text: str) -> None:
    assert not uids.is_uid(text)


@given(some.text(max_size=70) | some.from_regex(r"[0-9.]{0,70}", fullmatch=True))
def test_we_are_never_laxer_than_pydicom(text: str) -> None:
    if uids.is_uid(text):
        assert UID(text).is_valid


def test_what_passes_is_safe_in_a_path() -> None:
    assert not any(uids.is_uid(bad) for bad in ("1.2/..", "..", "1.2\\3"))


def test_our_own_uids_are_valid() -> None:
    assert uids.is_uid(uids.IMPLEMENTATION_CLASS)
    assert len(uids.IMPLEMENTATION_VERSION) <= 16


def test_nothing_that_pynetdicom_knows_is_missing() -> None:
    """In a process of its own: pynetdicom adds UIDs to pydicom's dictionary when it is imported."""
    script = "from broker.dicom import uids; print(*uids.STORAGE_CLASSES, '|', *uids.TRANSFER_SYNTAXES)"
    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    storage, syntaxes = (set(part.split()) for part in printed.split("|"))
    assert {str(context.abstract_syntax) for context in AllStoragePresentationContexts} - storage <= uids._NO_STORAGE
    assert set(ALL_TRANSFER_SYNTAXES) <= syntaxes
    known = {uid for uid, entry in UID_dictionary.items() if entry[1] == "Transfer Syntax"}
    assert known - syntaxes == uids._NO_SYNTAX_OF_OBJECTS


def test_a_choice_follows_our_preference() -> None:
    choose = uids.first_of(uids.EXPLICIT_LE, uids.IMPLICIT_LE)
    assert choose([uids.IMPLICIT_LE, uids.EXPLICIT_LE]) == uids.EXPLICIT_LE
    assert choose([JPEG, uids.IMPLICIT_LE]) == uids.IMPLICIT_LE
    assert choose([JPEG]) is None
    assert choose([]) is None


@pytest.mark.parametrize(
    ("proposed", "chosen"),
    [
        ([uids.IMPLICIT_LE, uids.EXPLICIT_LE], uids.EXPLICIT_LE),
        ([uids.IMPLICIT_LE, JPEG, J2K], JPEG),
        ([J2K, JPEG, uids.IMPLICIT_LE], J2K),
        ([JPEG, uids.EXPLICIT_LE], uids.EXPLICIT_LE),
        ([uids.EXPLICIT_BE, uids.IMPLICIT_LE], uids.IMPLICIT_LE),
        ([uids.EXPLICIT_BE], uids.EXPLICIT_BE),
        ([uids.DEFLATED], uids.DEFLATED),
        ([uids.DEFLATED, uids.IMPLICIT_LE], uids.IMPLICIT_LE),
        (["1.2.3"], None),
        (["1.2.3", uids.IMPLICIT_LE], uids.IMPLICIT_LE),
        ([], None),
    ],
)
def test_storage_takes_what_loses_nothing(proposed: list[str], chosen: str | None) -> None:
    assert uids.for_storage(proposed) == chosen


def test_a_file_header_is_read_by_pydicom() -> None:
    from pydicom.filebase import DicomBytesIO
    from pydicom.filereader import dcmread

    for ae in ("CT01", "CT1", "", "ÄÖÜ"):
        raw = header("1.2.840.10008.5.1.4.1.1.2", "1.2.3", uids.EXPLICIT_LE, ae)
        assert not any(raw[:128])  # DS-11: no room for a program in the preamble
        meta = dcmread(DicomBytesIO(raw)).file_meta
        assert meta.MediaStorageSOPInstanceUID == "1.2.3"
        assert meta.TransferSyntaxUID == uids.EXPLICIT_LE
        assert meta.FileMetaInformationGroupLength == len(raw) - 144
        assert meta.get("SourceApplicationEntityTitle", "") == ae.encode("ascii", "replace").decode()
