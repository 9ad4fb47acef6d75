"""Every storage SOP class in every transfer syntax, HTJ2K, JPEG XL and all that is newer than Debian's tools included.

The foreign side is pynetdicom; what is proposed are the UIDs of PS3.6, retired ones.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import AllTransferSyntaxes
from pynetdicom import AE, AllStoragePresentationContexts, build_context
from support.dicom.archive import Archive
from support.dicom.asking import Asking
from support.dicom.objects import Encoded, fresh_uid
from support.peers.peers import association, orthanc, received, send, sink, storescp
from support.peers.tools import run, wait_until

from broker.dicom import uids
from broker.dicom.association.association import Association
from broker.dicom.association.user import Proposal
from broker.errors import PeerFault
from interop.cells import CT, write
from interop.running import Running

SYNTAXES = sorted(uids.TRANSFER_SYNTAXES)
PAIRS = list(product(sorted(uids.STORAGE_CLASSES), SYNTAXES))
# unknown to DCMTK 3.6.7: encapsulated uncompressed, fragmentable MPEG, JPEG XL, HTJ2K, SMPTE ST 2110, deflated frames
NEWER = {
    "1.2.840.10008.1.2.1.98", "1.2.840.10008.1.2.8.1", *(f"1.2.840.10008.1.2.4.{n}.1" for n in range(100, 107)),
    *(f"1.2.840.10008.1.2.4.{n}" for n in (110, 111, 112, 201, 202, 203, 204, 205)),
    *(f"1.2.840.10008.1.2.7.{n}" for n in (1, 2, 3)),
}  # fmt: skip
JPIP = {"1.2.840.10008.1.2.4.94", "1.2.840.10008.1.2.4.95"}
# retired JPEG processes and JPEG 2000 part 2, which storescp does not accept
NOT_STORESCP = {f"1.2.840.10008.1.2.4.{n}" for n in (*range(52, 67), 92, 93)}
HTJ2K = ["1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202", "1.2.840.10008.1.2.4.203"]


def batches() -> Iterator[list[tuple[str, str]]]:
    """The pairs in associations of 128 contexts."""
    for start in range(0, len(PAIRS), 128):
        yield PAIRS[start : start + 128]


def test_the_tables_hold_all_that_is_known() -> None:
    assert {str(context.abstract_syntax) for context in AllStoragePresentationContexts} <= uids.STORAGE_CLASSES
    assert {str(uid) for uid in AllTransferSyntaxes} | set(HTJ2K) <= uids.TRANSFER_SYNTAXES
    assert len(PAIRS) > 10_000


def test_pynetdicom_broker_negotiates_everything(broker: Running) -> None:
    for pairs in batches():
        with association(broker.site.dicom, pairs) as made:
            assert made.is_established
            accepted = {(str(c.abstract_syntax), str(c.transfer_syntax[0])) for c in made.accepted_contexts}
            assert accepted == set(pairs)


def test_pynetdicom_provider_negotiates_everything() -> None:
    ae = AE("PYNET")
    ae.add_supported_context(CT, SYNTAXES)
    running = ae.start_server(("127.0.0.1", 0), block=False)
    for pairs in batches():
        # it copies all that it supports for each association, which would take a quarter of a second
        running.contexts = [build_context(uid, SYNTAXES) for uid in dict.fromkeys(uid for uid, _ in pairs)]

        async def accepted(made: Association) -> set[tuple[str, str]]:
            return {(c.abstract_syntax, c.transfer_syntax) for c in made.contexts.values()}

        proposals = [Proposal(sop_class, (syntax,)) for sop_class, syntax in pairs]
        assert Asking(running.socket.getsockname()[1], "PYNET").on(proposals, accepted) == set(pairs)
    running.shutdown()


def encoded(syntax: str) -> Encoded:
    """An object in a transfer syntax; compressed pixels are fragments that nobody decodes."""
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = CT, fresh_uid()
    ds.PatientName, ds.PatientID = "Canary^Carl", "CANARY1"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = "2.999.7.1", "2.999.7.2"
    ds.Rows = ds.Columns = 16
    ds.BitsAllocated, ds.SamplesPerPixel, ds.PixelRepresentation = 16, 1, 0
    native = syntax in uids.UNCOMPRESSED
    ds.PixelData = bytes(range(256)) * 2 if native else encapsulate([bytes(range(256)), bytes(100)])
    ds["PixelData"].VR = "OW" if native else "OB"
    ds["PixelData"].is_undefined_length = not native
    out = DicomBytesIO()
    out.is_little_endian, out.is_implicit_VR = syntax != uids.EXPLICIT_BE, syntax == uids.IMPLICIT_LE
    write_dataset(out, ds)
    data = out.getvalue()
    if syntax in uids.DEFLATED_SYNTAXES:
        deflate = zlib.compressobj(wbits=-15)
        data = deflate.compress(data) + deflate.flush()
        data += bytes(len(data) % 2)
    return Encoded(CT, str(ds.SOPInstanceUID), syntax, data)


def test_pynetdicom_broker_objects_of_every_syntax_pass_unchanged(broker: Running, folder: Path) -> None:
    objects = [encoded(syntax) for syntax in SYNTAXES]
    found = send(broker.site.dicom, objects, folder)
    assert dict(zip(SYNTAXES, found, strict=True)) == dict.fromkeys(SYNTAXES, 0)
    for item, got in zip(objects, broker.delivered(objects), strict=True):
        assert (got.transfer_syntax, got.data) == (item.transfer_syntax, item.data)


def test_pynetdicom_provider_takes_objects_of_every_syntax() -> None:
    objects = [encoded(syntax) for syntax in SYNTAXES]
    with sink(CT, SYNTAXES) as (port, received):
        assert Asking(port, "SINK").store(*objects) == [0] * len(objects)
    assert list(received.values()) == objects


def test_dcmtk_user_sends_every_syntax_that_it_knows(ours: Archive, folder: Path) -> None:
    """dcmsend knows all but the newest and JPIP; the two native ones that it rewrites are in test_dcmtk."""
    objects = [encoded(syntax) for syntax in SYNTAXES]
    rewritten = {uids.IMPLICIT_LE, uids.EXPLICIT_BE}
    words = ("-dn", "-nh", "-aec", "ARCHIVE", "127.0.0.1", str(ours.port))
    run("dcmsend", *words, *write(folder, objects))
    unchanged = {item.transfer_syntax for item in objects if ours.objects.get(item.sop_instance) == item}
    assert unchanged == set(SYNTAXES) - NEWER - JPIP - rewritten
    assert rewritten <= {item.transfer_syntax for item in objects if item.sop_instance in ours.objects}


def test_dcmtk_provider_takes_every_syntax_that_it_knows(tmp_path: Path) -> None:
    objects = [encoded(syntax) for syntax in SYNTAXES]
    with storescp(tmp_path / "kept") as where:
        statuses = Asking(where, "STORESCP").store(*objects)
        taken = [item for item, status in zip(objects, statuses, strict=True) if status == 0]
        wait_until(lambda: len(received(tmp_path / "kept")) == len(taken), 10, "all are written")
    assert received(tmp_path / "kept") == {item.sop_instance: item.data for item in taken}
    assert {item.transfer_syntax for item in taken} == set(SYNTAXES) - NEWER - JPIP - NOT_STORESCP


def test_orthanc_provider_takes_every_syntax_that_it_knows(tmp_path: Path) -> None:
    """Contexts of JPIP it accepts, but it aborts when an object comes, since its DCMTK cannot read it."""
    objects = [encoded(syntax) for syntax in SYNTAXES if syntax not in JPIP]
    with orthanc(tmp_path / "orthanc") as where:
        ask = Asking(where.dicom, "ORTHANC")
        statuses = ask.store(*objects)
        for syntax in JPIP:
            with pytest.raises(PeerFault, match="aborted"):
                ask.store(encoded(syntax))
    refused = {item.transfer_syntax for item, status in zip(objects, statuses, strict=True) if status}
    assert refused == NEWER
