"""The main job with foreign peers: raw MLLP order, DCMTK worklist query, sample files to DCMTK and Orthanc."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian
from support.dicom.objects import SAMPLES, Encoded, from_sample
from support.peers.peers import orthanc, received, send, storescp
from support.peers.tools import run, wait_until
from support.service.site import Mllp, Site, destination, order

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")  # the samples are odd on purpose
# the first two are refused (see test_bad_input); the others Orthanc answers with C000 or cannot read
DAMAGED = {"MR_truncated.dcm", "rtplan_truncated.dcm"}
NOT_FOR_ORTHANC = {"SC_rgb_jpeg.dcm", "rtdose_rle.dcm", "rtdose_rle_1frame.dcm"}

RULES = """
[[rule]]
name = "everything to the archive"
when = { field = "assoc.calling_ae", op = "is", value = "MODALITY" }
send = ["archive"]

[[rule]]
name = "what has a study to Orthanc"
when = { all = [
  { field = "assoc.calling_ae", op = "glob", value = "MODAL*" },
  { field = "tag.StudyInstanceUID", op = "regex", value = "^[0-9.]+$" },
  { not = { field = "tag.SOPInstanceUID", op = "is", value = "1.2.3" } },
] }
send = ["orthanc"]
"""


def samples() -> list[Encoded]:
    """pydicom's sample files, each with a SOP Instance UID of its own."""
    found = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for path in sorted(SAMPLES.glob("*.dcm")):
            item = None if path.name in DAMAGED | NOT_FOR_ORTHANC else from_sample(path)
            if item is not None:
                found[item.sop_instance] = item
    return list(found.values())


def same_content(sent: Encoded, got: bytes) -> None:
    """Every element of what was sent is in what Orthanc holds, pixel data included."""
    one = pydicom.dcmread(io.BytesIO(sent.part10()), force=True)
    other = pydicom.dcmread(io.BytesIO(got), force=True)
    assert other.file_meta.TransferSyntaxUID == sent.transfer_syntax
    for element in one:
        if element.tag.element == 0:
            continue  # group lengths are optional
        assert element.tag in other, element.tag
        if element.VR != "SQ":
            assert _plain(one, element.tag) == _plain(other, element.tag), element.tag


def _plain(ds: Dataset, tag: pydicom.tag.BaseTag) -> object:
    value = ds[tag].value
    return value.rstrip(b"\0 ") if isinstance(value, bytes) else str(value).strip()


def people(objects: list[Encoded]) -> set[str]:
    """Words of patient names, and birth dates, that stand in the samples."""
    found: set[str] = set()
    for item in objects:
        ds = pydicom.dcmread(io.BytesIO(item.part10()), force=True, stop_before_pixels=True)
        words = str(ds.get("PatientName", "")).replace("=", "^").split("^")
        found |= {word.casefold() for word in (*words, str(ds.get("PatientBirthDate", ""))) if len(word) >= 5}
    return found - {"first"}  # a sample is called Last^First, and the log has words too


def test_order_reaches_the_worklist_and_images_reach_both_destinations(tmp_path: Path) -> None:
    objects = samples()
    assert len(objects) > 50
    assert len({item.transfer_syntax for item in objects}) >= 10
    with (
        storescp(tmp_path / "archive") as archive,
        orthanc(tmp_path / "orthanc") as pacs,
        Site(
            tmp_path / "site", site=destination("archive", archive) + destination("orthanc", pacs.dicom) + RULES
        ) as site,
    ):
        with Mllp(site.hl7) as ris:
            answer = ris.exchange(order(1))
            assert answer["MSA"][0][1] == "AA"
            assert ris.exchange(order(2, station="MR01", modality="MR"))["MSA"][0][1] == "AA"
        found = run(
            "findscu", "-W", "-aec", "BROKER", "-k", "0010,0010", "-k", "0008,0050", "-k", "0020,000D",
            "-k", "0040,0100[0].0040,0001=CT01", "-k", "0040,0100[0].0040,0002=20300312",
            "-k", "0040,0100[0].0008,0060=CT", "-k", "0040,0100[0].0040,0009", "127.0.0.1", str(site.dicom),
        )  # fmt: skip
        assert found.stdout.count("Find Response") == 1, found.stdout
        assert "[A1]" in found.stdout
        assert "[SPS1]" in found.stdout
        assert "[2.999.7.1]" in found.stdout

        statuses = send(site.dicom, objects, tmp_path)
        assert {item.sop_instance: status for item, status in zip(objects, statuses, strict=True) if status} == {}
        wait_until(lambda: len(received(tmp_path / "archive")) >= len(objects), 60, "the archive has all")
        with_study = [item for item in objects if b"\x20\x00\x0d\x00" in item.data or b"\x00\x20\x00\x0d" in item.data]
        with_study += [item for item in objects if item.transfer_syntax == DeflatedExplicitVRLittleEndian]
        assert 50 < len(with_study) < len(objects)
        wait_until(lambda: pacs.count() >= len(with_study), 60, "Orthanc has all")
        wait_until(lambda: site.rows("select count(*) from job where state <> 'done'") == [(0,)], 30, "all are done")

        kept = received(tmp_path / "archive")
        assert {uid: kept[uid] for uid in kept} == {item.sop_instance: item.data for item in objects}
        stored = {
            pacs.get(f"/instances/{key}/simplified-tags")["SOPInstanceUID"]: key for key in pacs.get("/instances")
        }
        assert stored.keys() == {item.sop_instance for item in with_study}
        for item in with_study:
            same_content(item, pacs.get(f"/instances/{stored[item.sop_instance]}/file"))
        assert site.rows("select count(*) from job") == [(len(objects) + len(with_study),)]
    names = people(objects)
    assert len(names) > 5
    log = site.logged().casefold()
    assert "delivery.answered" in log  # at debug level
    assert [name for name in names if name in log] == []
