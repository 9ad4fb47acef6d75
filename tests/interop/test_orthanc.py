"""Orthanc (Debian 1.10.1) in both roles, driven over its REST API.

It cannot be a user of C-GET (only newer versions can), nor of N-services other than storage commitment.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydicom.dataset import Dataset
from support.dicom.archive import COMMITMENT, COMMITMENT_INSTANCE, Archive, archive, to_bytes
from support.dicom.asking import Asking, keys
from support.dicom.objects import Encoded, fresh_uid
from support.peers.dcmtk import worklist_files
from support.peers.peers import Orthanc, orthanc
from support.peers.tools import wait_until
from support.worklist.worklist import dataset, document

from broker.dicom import uids
from broker.dicom.association.association import Association
from interop.cells import CT, same, study, study_uid
from interop.running import Running

PLUGIN = "/usr/share/orthanc/plugins/libModalityWorklists.so"


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    folder = tmp_path_factory.mktemp("orthanc")
    worklist_files(folder / "worklist", dataset(document()))
    worklists = {"Enable": True, "Database": str(folder / "worklist")}
    with orthanc(folder / "peer", Plugins=[PLUGIN], Worklists=worklists, DicomModalitiesInDatabase=True) as running:
        yield running


@pytest.fixture
def remote(peer: Orthanc, ours: Archive) -> str:
    """Path of our archive as a node of Orthanc, and Orthanc as a node of ours."""
    ours.nodes["ORTHANC"] = peer.dicom
    return node(peer, ours.ae_title, ours.port)


def node(peer: Orthanc, title: str, port: int) -> str:
    """Tell it a node."""
    peer.put(f"/modalities/{title}", {"AET": title, "Host": "127.0.0.1", "Port": port, "AllowStorageCommitment": True})
    return f"/modalities/{title}"


def put(peer: Orthanc, objects: list[Encoded]) -> list[str]:
    """Have it hold objects; its names of them."""
    return [peer.post("/instances", item.part10())["ID"] for item in objects]


def test_orthanc_broker_echo(peer: Orthanc, broker: Running) -> None:
    assert peer.post(f"{node(peer, 'BROKER', broker.site.dicom)}/echo", {}) == {}


def test_orthanc_broker_store(peer: Orthanc, broker: Running) -> None:
    objects = study()
    answer = peer.post(f"{node(peer, 'BROKER', broker.site.dicom)}/store", put(peer, objects))
    assert answer["FailedInstancesCount"] == 0
    for item, got in zip(objects, broker.delivered(objects), strict=True):
        same(item, got.part10())


def test_orthanc_broker_worklist(peer: Orthanc, broker: Running) -> None:
    asked = {"PatientID": "", "AccessionNumber": "", "ScheduledProcedureStepSequence": [{"Modality": "CT"}]}
    found = peer.post(f"{node(peer, 'BROKER', broker.site.dicom)}/find-worklist", asked)
    assert [(item["PatientID"], item["AccessionNumber"]) for item in found] == [("QZPAT1", "A1")]


def test_orthanc_user_echo(peer: Orthanc, remote: str, ours: Archive) -> None:
    assert peer.post(f"{remote}/echo", {}) == {}
    assert ours.done == [("C-ECHO", "")]


def test_orthanc_user_store_with_commitment(peer: Orthanc, remote: str, ours: Archive) -> None:
    """C-STORE, N-ACTION, and our N-EVENT-REPORT to it on an association of our own."""
    objects = study()
    names = put(peer, objects)
    answer = peer.post(f"{remote}/store", {"Resources": names, "Synchronous": True, "StorageCommitment": True})
    for item in objects:
        same(item, ours.objects[item.sop_instance].part10())
    where = f"/storage-commitment/{answer['StorageCommitmentTransactionUID']}"
    wait_until(lambda: peer.get(where)["Status"] != "Pending", 10, "the report has come")
    assert peer.get(where)["Status"] == "Success"
    assert len(peer.get(where)["Success"]) == 3


def test_orthanc_user_find_and_move(peer: Orthanc, remote: str, ours: Archive) -> None:
    """C-FIND, then C-MOVE to itself."""
    objects = study()
    ours.put(*objects)
    query = {"StudyInstanceUID": study_uid(objects), "PatientID": ""}
    found = peer.post(f"{remote}/query", {"Level": "Study", "Query": query})
    answers = peer.get(f"{found['Path']}/answers/0/content?simplify")
    assert (answers["StudyInstanceUID"], answers["PatientID"]) == (study_uid(objects), "CANARY1")
    before = peer.count()
    peer.post(f"{found['Path']}/retrieve", {"TargetAet": "ORTHANC", "Synchronous": True})
    assert peer.count() == before + 3


def test_orthanc_provider_archive(peer: Orthanc) -> None:
    """Echo, store, find, move and get."""
    objects = study()
    wanted = keys("STUDY", StudyInstanceUID=study_uid(objects), PatientID="")
    with archive("ELSEWHERE") as there:
        node(peer, "ELSEWHERE", there.port)
        node(peer, "ASKING", there.port)
        ask = Asking(peer.dicom, "ORTHANC", "ASKING")
        assert ask.echo() == 0
        assert ask.store(*objects) == [0, 0, 0]
        assert [str(ds.PatientID) for ds in ask.find(wanted)] == ["CANARY1"]
        del wanted.PatientID
        assert ask.move(wanted, "ELSEWHERE")[-1].status == 0
        for item in objects:
            same(item, there.objects[item.sop_instance].part10())
        status, came = ask.get(wanted, (CT, uids.EXPLICIT_LE))
        assert status == 0
        for item in objects:
            same(item, came[item.sop_instance].part10())


def test_orthanc_provider_worklist(peer: Orthanc) -> None:
    node(peer, "ASKING", 1)
    asked = dataset({"PatientID": "", "ScheduledProcedureStepSequence": [{"Modality": "CT"}]})
    found = Asking(peer.dicom, "ORTHANC", "ASKING").find(asked, uids.MODALITY_WORKLIST)
    assert [ds.PatientID for ds in found] == ["P1"]


def test_orthanc_provider_commitment(peer: Orthanc) -> None:
    """N-ACTION; its N-EVENT-REPORT comes on an association of its own, in which it is the provider."""
    objects, missing = study(1), fresh_uid()
    put(peer, objects)
    request = Dataset()
    request.TransactionUID, request.ReferencedSOPSequence = fresh_uid(), []
    for uid in (objects[0].sop_instance, missing):
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = CT, uid
        request.ReferencedSOPSequence.append(item)

    async def work(association: Association) -> int:
        data = to_bytes(request, uids.IMPLICIT_LE)
        return (await association.n_action(COMMITMENT, COMMITMENT_INSTANCE, 1, data)).status

    with archive("COMMITTED") as there:
        node(peer, "COMMITTED", there.port)
        assert Asking(peer.dicom, "ORTHANC", "COMMITTED").normalized(COMMITMENT, work) == 0
        wait_until(lambda: there.reports, 10, "the report has come")
        kind, report = there.reports[0]
    assert (kind, report.TransactionUID) == (2, request.TransactionUID)
    assert [i.ReferencedSOPInstanceUID for i in report.ReferencedSOPSequence] == [objects[0].sop_instance]
    assert [i.ReferencedSOPInstanceUID for i in report.FailedSOPSequence] == [missing]
