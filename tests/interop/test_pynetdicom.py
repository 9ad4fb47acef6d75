"""pynetdicom in both roles, all eleven services; and what is newer than Debian's tools (see also test_syntaxes)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE, build_context, build_role, evt
from pynetdicom.association import Association as Foreign
from pynetdicom.presentation import PresentationContext
from support.dicom.archive import (  # fmt: skip
    COMMITMENT,
    COMMITMENT_INSTANCE,
    FILM_SESSION,
    FIND,
    GET,
    MOVE,
    MPPS,
    MPPS_RETRIEVE,
    PRINT,
    Archive,
    archive,
    from_bytes,
    to_bytes,
)
from support.dicom.asking import Asking, keys
from support.dicom.objects import Encoded, fresh_uid
from support.peers.peers import association, send
from support.peers.tools import wait_until

from broker.dicom import uids
from broker.dicom.association.association import Association
from broker.dicom.association.user import Proposal
from interop.cells import CT, same, study, study_uid
from interop.running import Running

EXPLICIT, IMPLICIT = uids.EXPLICIT_LE, uids.IMPLICIT_LE


def statuses(answers: Any) -> list[int]:
    """Of all responses of a query."""
    return [status.Status for status, _ in answers]


def status(answer: Any) -> int:
    """Of an N-service's (status, data set), or of a bare status."""
    return int((answer[0] if isinstance(answer, tuple) else answer).Status)


@contextmanager
def scu(ours: Archive, *sop_classes: str) -> Iterator[Foreign]:
    """An association of pynetdicom to our archive."""
    with association(ours.port, [(uid, IMPLICIT) for uid in sop_classes], called="ARCHIVE", calling="PYNET") as made:
        assert made.is_established
        yield made


# --- users -------------------------------------------------------------------------------------------------------


def test_pynetdicom_broker_echo(broker: Running) -> None:
    with association(broker.site.dicom, [(uids.VERIFICATION, IMPLICIT)]) as made:
        assert made.send_c_echo().Status == 0


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
def test_pynetdicom_broker_worklist(syntax: str, broker: Running) -> None:
    step, asked = Dataset(), Dataset()
    step.ScheduledStationAETitle = "CT01"
    asked.PatientID, asked.ScheduledProcedureStepSequence = "", [step]
    with association(broker.site.dicom, [(uids.MODALITY_WORKLIST, syntax)]) as made:
        found = list(made.send_c_find(asked, uids.MODALITY_WORKLIST))
    assert statuses(found) == [0xFF00, 0]
    assert found[0][1].PatientID == "QZPAT1"


def test_pynetdicom_broker_store(broker: Running, folder: Any) -> None:
    objects = study()
    assert send(broker.site.dicom, objects, folder) == [0, 0, 0]
    assert [got.data for got in broker.delivered(objects)] == [item.data for item in objects]


def test_pynetdicom_user_echo(ours: Archive) -> None:
    with scu(ours, uids.VERIFICATION) as made:
        assert made.send_c_echo().Status == 0


def test_pynetdicom_user_store(ours: Archive, folder: Any) -> None:
    objects = study()
    assert send(ours.port, objects, folder, called="ARCHIVE") == [0, 0, 0]
    assert {uid: item.data for uid, item in ours.objects.items()} == {o.sop_instance: o.data for o in objects}


@pytest.mark.parametrize("root", ["patient", "study"])
def test_pynetdicom_user_find(root: str, ours: Archive) -> None:
    mine = study()
    ours.put(*mine, *study())
    with scu(ours, FIND[root]) as made:
        asked = keys("STUDY", StudyInstanceUID=study_uid(mine), PatientID="")
        found = list(made.send_c_find(asked, FIND[root]))
    assert statuses(found) == [0xFF00, 0]
    assert found[0][1].PatientID == "CANARY1"


def test_pynetdicom_user_move(ours: Archive) -> None:
    objects = study()
    ours.put(*objects)
    with archive("ELSEWHERE") as there, scu(ours, MOVE["study"]) as made:
        ours.nodes["ELSEWHERE"] = there.port
        wanted = keys("STUDY", StudyInstanceUID=study_uid(objects))
        answers = list(made.send_c_move(wanted, "ELSEWHERE", MOVE["study"], msg_id=77))
        assert statuses(answers) == [0xFF00, 0xFF00, 0]
        assert answers[-1][0].NumberOfCompletedSuboperations == 3
        assert set(there.originators) == {("PYNET", 77)}
        assert statuses(made.send_c_move(wanted, "NOWHERE", MOVE["study"])) == [0xA801]


def test_pynetdicom_user_get(ours: Archive) -> None:
    objects, came = study(), {}

    def keep(event: evt.Event) -> int:
        came[event.request.AffectedSOPInstanceUID] = event.request.DataSet.getvalue()
        return 0

    ours.put(*objects)
    ae = AE("PYNET")
    made = ae.associate(
        "127.0.0.1", ours.port, [build_context(GET["study"], IMPLICIT), build_context(CT, EXPLICIT)],
        ext_neg=[build_role(CT, scp_role=True)], evt_handlers=[(evt.EVT_C_STORE, keep)],
    )  # fmt: skip
    assert made.is_established
    wanted = keys("STUDY", StudyInstanceUID=study_uid(objects))
    assert statuses(made.send_c_get(wanted, GET["study"])) == [0xFF00, 0xFF00, 0]
    made.release()
    made.join(10)
    assert came == {item.sop_instance: item.data for item in objects}


def test_pynetdicom_user_get_of_what_it_does_not_take(ours: Archive) -> None:
    """Without a context in which we are SCU every object fails, and the final response says which."""
    objects = study()
    ours.put(*objects)
    with scu(ours, GET["study"], CT) as made:
        answers = list(made.send_c_get(keys("STUDY", StudyInstanceUID=study_uid(objects)), GET["study"]))
    assert answers[-1][0].Status == 0xB000
    assert answers[-1][0].NumberOfFailedSuboperations == 3
    assert set(answers[-1][1].FailedSOPInstanceUIDList) == {item.sop_instance for item in objects}


def test_pynetdicom_user_normalized(ours: Archive) -> None:
    """N-CREATE, N-SET, N-GET, N-DELETE."""
    begun, over, uid = Dataset(), Dataset(), fresh_uid()
    begun.PerformedProcedureStepStatus, begun.PerformedStationAETitle = "IN PROGRESS", "CT01"
    over.PerformedProcedureStepStatus = "COMPLETED"
    with scu(ours, MPPS, MPPS_RETRIEVE) as made:
        assert status(made.send_n_create(begun, MPPS, uid)) == 0
        assert status(made.send_n_set(over, MPPS, uid)) == 0
        got = made.send_n_get([0x00400252], MPPS_RETRIEVE, uid)
        assert status(got) == 0
        assert [element.keyword for element in got[1]] == ["PerformedProcedureStepStatus"]
        assert got[1].PerformedProcedureStepStatus == "COMPLETED"
        assert status(made.send_n_delete(MPPS, uid)) == 0
        assert status(made.send_n_delete(MPPS, uid)) == 0x0112
        created = made.send_n_create(begun, MPPS)
        assert status(created) == 0
    assert len(ours.instances) == 1


def test_pynetdicom_user_print_meta_class(ours: Archive) -> None:
    session, uid = Dataset(), fresh_uid()
    session.NumberOfCopies = 1  # an empty data set it announces and never sends
    with scu(ours, PRINT) as made:
        assert status(made.send_n_create(session, FILM_SESSION, uid, meta_uid=PRINT)) == 0
        assert status(made.send_n_action(session, 1, FILM_SESSION, uid, meta_uid=PRINT)) == 0
        assert status(made.send_n_delete(FILM_SESSION, uid, meta_uid=PRINT)) == 0


def test_pynetdicom_user_commitment(ours: Archive) -> None:
    """N-ACTION, and N-EVENT-REPORT on the same association."""
    item, events, request = study(1)[0], [], Dataset()
    ours.put(item)
    request.TransactionUID, request.ReferencedSOPSequence = fresh_uid(), [Dataset()]
    request.ReferencedSOPSequence[0].ReferencedSOPClassUID = CT
    request.ReferencedSOPSequence[0].ReferencedSOPInstanceUID = item.sop_instance

    def report(event: evt.Event) -> tuple[int, None]:
        events.append((event.event_type, event.event_information.TransactionUID))
        return 0, None

    ae = AE("PYNET")
    made = ae.associate(
        "127.0.0.1", ours.port, [build_context(COMMITMENT, IMPLICIT)],
        evt_handlers=[(evt.EVT_N_EVENT_REPORT, report)],
    )  # fmt: skip
    assert status(made.send_n_action(request, 1, COMMITMENT, COMMITMENT_INSTANCE)) == 0
    wait_until(lambda: events, 10, "the report has come")
    made.release()
    made.join(10)
    assert events == [(1, request.TransactionUID)]


# --- providers ---------------------------------------------------------------------------------------------------


class Served:
    """What a pynetdicom provider holds and was asked."""

    def __init__(self, *objects: Encoded) -> None:
        self.objects = {item.sop_instance: item for item in objects}
        self.instances: dict[str, Dataset] = {}
        self.asked: list[str] = []
        self.nodes: dict[str, int] = {}
        self.reports: list[tuple[int, Dataset]] = []

    def store(self, event: evt.Event) -> int:
        request, context = event.request, event.context
        data = request.DataSet.getvalue()
        self.objects[request.AffectedSOPInstanceUID] = Encoded(
            str(request.AffectedSOPClassUID), str(request.AffectedSOPInstanceUID), str(context.transfer_syntax), data
        )
        return 0

    def datasets(self) -> list[Dataset]:
        return [dcmread(BytesIO(item.part10())) for item in self.objects.values()]

    def find(self, event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        for ds in self.datasets():
            if event.is_cancelled:
                yield 0xFE00, None
                return
            answer = Dataset()
            answer.QueryRetrieveLevel, answer.SOPInstanceUID = "IMAGE", ds.SOPInstanceUID
            yield 0xFF00, answer

    def move(self, event: evt.Event) -> Iterator[Any]:
        port = self.nodes.get(event.move_destination)
        if port is None:
            yield None, None
            return
        yield "127.0.0.1", port, {"contexts": [build_context(CT, EXPLICIT)]}
        yield from self.get(event)

    def get(self, event: evt.Event) -> Iterator[Any]:
        found = self.datasets()
        yield len(found)
        for ds in found:
            yield 0xFF00, ds

    def create(self, event: evt.Event) -> tuple[int, Dataset]:
        ds = event.attribute_list
        self.instances[event.request.AffectedSOPInstanceUID] = ds
        return 0, ds

    def set(self, event: evt.Event) -> tuple[int, Dataset]:
        ds = self.instances[event.request.RequestedSOPInstanceUID]
        ds.update(event.modification_list)
        return 0, ds

    def n_get(self, event: evt.Event) -> tuple[int, Dataset]:
        return 0, self.instances[event.request.RequestedSOPInstanceUID]

    def delete(self, event: evt.Event) -> int:
        return 0 if self.instances.pop(event.request.RequestedSOPInstanceUID, None) is not None else 0x0112

    def action(self, event: evt.Event) -> tuple[int, None]:
        self.asked.append(event.action_information.TransactionUID)
        return 0, None

    def event(self, event: evt.Event) -> tuple[int, None]:
        self.reports.append((event.event_type, event.event_information))
        return 0, None


@contextmanager
def scp(served: Served, contexts: Sequence[PresentationContext]) -> Iterator[Asking]:
    """A provider of pynetdicom, as our user side sees it."""
    ae = AE("PYNET")
    for context in contexts:
        ae.add_supported_context(context.abstract_syntax, context.transfer_syntax, scu_role=True, scp_role=True)
    handlers = [
        (evt.EVT_C_STORE, served.store), (evt.EVT_C_FIND, served.find), (evt.EVT_C_MOVE, served.move),
        (evt.EVT_C_GET, served.get), (evt.EVT_N_CREATE, served.create), (evt.EVT_N_SET, served.set),
        (evt.EVT_N_GET, served.n_get), (evt.EVT_N_DELETE, served.delete), (evt.EVT_N_ACTION, served.action),
        (evt.EVT_N_EVENT_REPORT, served.event),
    ]  # fmt: skip
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    try:
        yield Asking(server.socket.getsockname()[1], "PYNET")
    finally:
        server.shutdown()


def contexts(*sop_classes: str) -> list[PresentationContext]:
    """Contexts of both native syntaxes."""
    return [build_context(uid, [EXPLICIT, IMPLICIT]) for uid in sop_classes]


def test_pynetdicom_provider_echo() -> None:
    with scp(Served(), contexts(uids.VERIFICATION)) as ask:
        assert ask.echo() == 0


def test_pynetdicom_provider_store() -> None:
    objects, served = study(), Served()
    with scp(served, contexts(CT)) as ask:
        assert ask.store(*objects) == [0, 0, 0]
    assert {uid: item.data for uid, item in served.objects.items()} == {o.sop_instance: o.data for o in objects}


def test_pynetdicom_provider_find() -> None:
    objects = study()
    with scp(Served(*objects), contexts(FIND["study"])) as ask:
        found = ask.find(keys("IMAGE", SOPInstanceUID=""))
    assert {ds.SOPInstanceUID for ds in found} == {item.sop_instance for item in objects}


def test_pynetdicom_provider_move() -> None:
    objects = study()
    served = Served(*objects)
    with archive("ELSEWHERE") as there, scp(served, contexts(MOVE["study"])) as ask:
        served.nodes["ELSEWHERE"] = there.port
        answers = ask.move(keys("STUDY", StudyInstanceUID=study_uid(objects)), "ELSEWHERE")
        assert [answer.status for answer in answers] == [0xFF00] * 3 + [0]
        for item in objects:
            same(item, there.objects[item.sop_instance].part10())
        assert ask.move(keys("STUDY"), "NOWHERE")[-1].status == 0xA801


def test_pynetdicom_provider_get() -> None:
    objects = study()
    with scp(Served(*objects), contexts(GET["study"], CT)) as ask:
        status_, came = ask.get(keys("STUDY", StudyInstanceUID=study_uid(objects)), (CT, EXPLICIT))
    assert status_ == 0
    for item in objects:
        same(item, came[item.sop_instance].part10())


def test_pynetdicom_provider_normalized() -> None:
    """N-CREATE, N-SET, N-GET, N-DELETE, in a context of a meta SOP class."""
    uid, served = fresh_uid(), Served()
    begun, over = Dataset(), Dataset()
    begun.NumberOfCopies, over.NumberOfCopies = 1, 2

    async def work(made: Association) -> list[int]:
        context = made.context(PRINT)
        created = await made.n_create(FILM_SESSION, uid, to_bytes(begun, IMPLICIT), context=context)
        changed = await made.n_set(FILM_SESSION, uid, to_bytes(over, IMPLICIT), context=context)
        got = await made.n_get(FILM_SESSION, uid, context=context)
        assert from_bytes(got.data, IMPLICIT).NumberOfCopies == 2
        first = await made.n_delete(FILM_SESSION, uid, context=context)
        second = await made.n_delete(FILM_SESSION, uid, context=context)
        return [answer.status for answer in (created, changed, got, first, second)]

    with scp(served, contexts(PRINT)) as ask:
        assert ask.normalized(PRINT, work) == [0, 0, 0, 0, 0x0112]


def test_pynetdicom_provider_action() -> None:
    served, request = Served(), Dataset()
    request.TransactionUID = fresh_uid()

    async def work(made: Association) -> int:
        return (await made.n_action(COMMITMENT, COMMITMENT_INSTANCE, 1, to_bytes(request, IMPLICIT))).status

    with scp(served, contexts(COMMITMENT)) as ask:
        assert ask.normalized(COMMITMENT, work) == 0
    assert served.asked == [request.TransactionUID]


def test_pynetdicom_provider_takes_our_event_report() -> None:
    """As the user of storage commitment does: it accepts an association in which the requestor is the provider."""
    served, result = Served(), Dataset()
    result.TransactionUID = fresh_uid()

    async def work(made: Association) -> int:
        answer = await made.event_report(COMMITMENT, COMMITMENT_INSTANCE, 1, to_bytes(result, IMPLICIT))
        return answer.status

    with scp(served, contexts(COMMITMENT)) as ask:
        assert ask.on([Proposal(COMMITMENT, (IMPLICIT,), scu=False, scp=True)], work) == 0
    assert [(kind, ds.TransactionUID) for kind, ds in served.reports] == [(1, result.TransactionUID)]
