"""Bodies of the matrix' cells for peers that speak for themselves (`support.peers.talker`)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pydicom
from support.dicom.archive import (
    COMMITMENT,
    COMMITMENT_INSTANCE,
    MPPS,
    MPPS_RETRIEVE,
    Archive,
    archive,
    from_bytes,
    to_bytes,
)
from support.dicom.asking import Asking, keys
from support.dicom.objects import Encoded, ct_slice, fresh_uid
from support.loops import until
from support.peers.talker import Talker

from broker.dicom import uids
from broker.dicom.association.association import Association
from interop.running import Running

CT = "1.2.840.10008.5.1.4.1.1.2"


def study(count: int = 3) -> list[Encoded]:
    """Objects of one new study, in Explicit VR Little Endian."""
    uid = fresh_uid()
    return [ct_slice(20_000, StudyInstanceUID=uid, SeriesInstanceUID=uid + ".1", StudyID="1") for _ in range(count)]


def study_uid(objects: list[Encoded]) -> str:
    """Their Study Instance UID."""
    return str(from_bytes(objects[0].data, uids.EXPLICIT_LE).StudyInstanceUID)


def write(folder: Path, objects: list[Encoded]) -> list[Path]:
    """The objects as files."""
    paths = [folder / f"{item.sop_instance}.dcm" for item in objects]
    for path, item in zip(paths, objects, strict=True):
        path.write_bytes(item.part10())
    return paths


def same(sent: Encoded, got: bytes | Path) -> None:
    """A file that a peer wrote has every element of what was sent, pixel data included."""
    if isinstance(got, Path):
        got = got.read_bytes()
    one = from_bytes(sent.data, sent.transfer_syntax)
    other = pydicom.dcmread(pydicom.filebase.DicomBytesIO(got))
    missing = [element.keyword for element in one if element.tag not in other]
    assert missing == []
    assert [e.keyword for e in one if str(e.value) != str(other[e.tag].value)] == []


# --- the peer asks the archive on our provider -------------------------------------------------------------


def user_echo(peer: Talker, ours: Archive, folder: Path) -> None:
    assert peer.ask("echo", ours.port, "ARCHIVE") == [["0000"]]
    assert ours.done == [("C-ECHO", "")]


def user_store(peer: Talker, ours: Archive, folder: Path) -> None:
    objects = study()
    assert peer.ask("store", ours.port, "ARCHIVE", *write(folder, objects)) == [["0000"]] * 3
    for item in objects:
        same(item, ours.objects[item.sop_instance].part10())


def user_find(peer: Talker, ours: Archive, folder: Path) -> None:
    mine, other = study(), study()
    ours.put(*mine, *other)
    answer = peer.ask("find", ours.port, "ARCHIVE", f"StudyInstanceUID={study_uid(mine)}", "PatientID=")
    assert answer == [["ff00", study_uid(mine), "CANARY1"], ["0000"]]
    assert len(peer.ask("find", ours.port, "ARCHIVE", "StudyInstanceUID=", "PatientID=CANARY1")) == 3


def user_move(peer: Talker, ours: Archive, folder: Path) -> None:
    objects = study()
    ours.put(*objects)
    with archive("ELSEWHERE") as there:
        ours.nodes["ELSEWHERE"] = there.port
        assert peer.ask("move", ours.port, "ARCHIVE", "ELSEWHERE", study_uid(objects))[-1][0] == "0000"
        assert {uid: item.data for uid, item in there.objects.items()} == {o.sop_instance: o.data for o in objects}
        assert len(set(there.originators)) == 1


def user_get(peer: Talker, ours: Archive, folder: Path) -> None:
    objects = study()
    ours.put(*objects)
    assert peer.ask("get", ours.port, "ARCHIVE", study_uid(objects))[-1][0] == "0000"
    kept = peer.kept()
    for item in objects:
        same(item, kept[item.sop_instance])


def user_mpps(peer: Talker, ours: Archive, folder: Path) -> None:
    """N-CREATE, then N-SET."""
    uid = fresh_uid()
    begun = ["PerformedProcedureStepStatus=IN PROGRESS", "PerformedStationAETitle=CT01"]
    assert peer.ask("create", ours.port, "ARCHIVE", MPPS, uid, *begun) == [["0000"]]
    assert peer.ask("set", ours.port, "ARCHIVE", MPPS, uid, "PerformedProcedureStepStatus=COMPLETED") == [["0000"]]
    assert ours.instances[uid].PerformedProcedureStepStatus == "COMPLETED"
    assert ours.instances[uid].PerformedStationAETitle == "CT01"


def user_nget(peer: Talker, ours: Archive, folder: Path) -> None:
    uid = fresh_uid()
    ours.instances[uid] = pydicom.Dataset()
    ours.instances[uid].PerformedProcedureStepID = "STEP1"
    asked = ("nget", ours.port, "ARCHIVE", MPPS_RETRIEVE)
    assert peer.ask(*asked, uid, "PerformedProcedureStepID") == [["0000", "STEP1"]]
    assert peer.ask(*asked, fresh_uid(), "PerformedProcedureStepID")[0][0] == "0112"


def user_delete(peer: Talker, ours: Archive, folder: Path) -> None:
    uid = fresh_uid()
    ours.instances[uid] = pydicom.Dataset()
    assert peer.ask("delete", ours.port, "ARCHIVE", MPPS, uid) == [["0000"]]
    assert peer.ask("delete", ours.port, "ARCHIVE", MPPS, uid) == [["0112"]]
    assert ours.instances == {}


def user_commit(peer: Talker, ours: Archive, folder: Path) -> None:
    """N-ACTION, and an N-EVENT-REPORT to the peer on the same association."""
    item = study(1)[0]
    ours.put(item)
    transaction = fresh_uid()
    answer = peer.ask("commit", ours.port, "ARCHIVE", transaction, item.sop_class, item.sop_instance)
    assert answer == [["0000"], ["event", "1", transaction]]


USER: dict[str, Callable[[Talker, Archive, Path], None]] = {
    "echo": user_echo, "store": user_store, "find": user_find, "move": user_move, "get": user_get,
    "mpps": user_mpps, "nget": user_nget, "delete": user_delete, "commit": user_commit,
}  # fmt: skip


# --- our user side asks the peer ---------------------------------------------------------------------------


def provider_echo(peer: Talker, ask: Asking, folder: Path) -> None:
    assert ask.echo() == 0


def provider_store(peer: Talker, ask: Asking, folder: Path) -> None:
    objects = study()
    assert ask.store(*objects) == [0, 0, 0]
    kept = peer.kept()
    for item in objects:
        same(item, kept[item.sop_instance])


def hold(peer: Talker, folder: Path) -> list[Encoded]:
    """A study that the peer has."""
    objects = study()
    for path in write(folder, objects):
        peer.ask("hold", path)
    return objects


def provider_find(peer: Talker, ask: Asking, folder: Path) -> None:
    objects = hold(peer, folder)
    found = ask.find(keys("STUDY", StudyInstanceUID=study_uid(objects), PatientID=""))
    assert {(str(ds.StudyInstanceUID), ds.PatientID) for ds in found} == {(study_uid(objects), "CANARY1")}
    assert ask.find(keys("STUDY", StudyInstanceUID=fresh_uid())) == []


def provider_move(peer: Talker, ask: Asking, folder: Path) -> None:
    objects = hold(peer, folder)
    with archive("ELSEWHERE") as there:
        peer.ask("node", "ELSEWHERE", there.port)
        responses = ask.move(keys("STUDY", StudyInstanceUID=study_uid(objects)), "ELSEWHERE")
        assert responses[-1].status == 0
        for item in objects:
            same(item, there.objects[item.sop_instance].part10())


def provider_get(peer: Talker, ask: Asking, folder: Path) -> None:
    objects = hold(peer, folder)
    status, came = ask.get(keys("STUDY", StudyInstanceUID=study_uid(objects)), (CT, uids.EXPLICIT_LE))
    assert status == 0
    for item in objects:
        same(item, came[item.sop_instance].part10())


def _step(status: str) -> bytes:
    ds = pydicom.Dataset()
    ds.PerformedProcedureStepStatus = status
    return to_bytes(ds, uids.IMPLICIT_LE)


def provider_mpps(peer: Talker, ask: Asking, folder: Path) -> None:
    uid = fresh_uid()

    async def work(association: Association) -> tuple[int, int]:
        created = await association.n_create(MPPS, uid, _step("IN PROGRESS"))
        return created.status, (await association.n_set(MPPS, uid, _step("COMPLETED"))).status

    assert ask.normalized(MPPS, work) == (0, 0)


def provider_delete(peer: Talker, ask: Asking, folder: Path) -> None:
    """N-CREATE, N-GET, and N-DELETE twice."""
    uid = fresh_uid()

    async def work(association: Association) -> list[int]:
        created = await association.n_create(MPPS, uid, _step("IN PROGRESS"))
        got = await association.n_get(MPPS, uid)
        assert from_bytes(got.data, uids.IMPLICIT_LE).PerformedProcedureStepStatus == "IN PROGRESS"
        first, second = await association.n_delete(MPPS, uid), await association.n_delete(MPPS, uid)
        return [created.status, got.status, first.status, second.status]

    assert ask.normalized(MPPS, work) == [0, 0, 0, 0x0112]


def provider_commit(peer: Talker, ask: Asking, folder: Path) -> None:
    """N-ACTION, and an N-EVENT-REPORT to us on the same association."""
    ours, request = Archive(), pydicom.Dataset()
    request.TransactionUID = fresh_uid()
    request.ReferencedSOPSequence = []

    async def work(association: Association) -> int:
        data = to_bytes(request, uids.IMPLICIT_LE)
        answer = await association.n_action(COMMITMENT, COMMITMENT_INSTANCE, 1, data)
        await until(lambda: ours.reports, "the event report has come")
        return answer.status

    assert ask.normalized(COMMITMENT, work, ours.services()) == 0
    kind, report = ours.reports[0]
    assert (kind, report.TransactionUID) == (1, request.TransactionUID)


PROVIDER: dict[str, Callable[[Talker, Asking, Path], None]] = {
    "echo": provider_echo, "store": provider_store, "find": provider_find, "move": provider_move,
    "get": provider_get, "mpps": provider_mpps, "delete": provider_delete, "commit": provider_commit,
}  # fmt: skip


# --- the peer asks the broker ----------------------------------------------------------------------------------


def broker_echo(peer: Talker, broker: Running, folder: Path) -> None:
    assert peer.ask("echo", broker.site.dicom, "BROKER") == [["0000"]]


def broker_worklist(peer: Talker, broker: Running, folder: Path) -> None:
    answer = peer.ask("worklist", broker.site.dicom, "BROKER", "CT01")
    assert answer[0][0] in ("ff00", "ff01")  # FF01: some keys asked for are not supported
    assert [line[1:] for line in answer] == [["A1", "QZPAT1"], []]
    assert answer[-1] == ["0000"]
    assert peer.ask("worklist", broker.site.dicom, "BROKER", "NOWHERE") == [["0000"]]


def broker_store(peer: Talker, broker: Running, folder: Path) -> None:
    objects = study()
    assert peer.ask("store", broker.site.dicom, "BROKER", *write(folder, objects)) == [["0000"]] * 3
    for item, got in zip(objects, broker.delivered(objects), strict=True):
        same(item, got.part10())


BROKER: dict[str, Callable[[Talker, Running, Path], None]] = {
    "echo": broker_echo, "worklist": broker_worklist, "store": broker_store,
}  # fmt: skip
