"""What else is negotiated, and C-CANCEL, with foreign peers at the other end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import AE, build_context, build_role, evt
from pynetdicom.pdu_primitives import (
    AsynchronousOperationsWindowNegotiation,
    SOPClassCommonExtendedNegotiation,
    SOPClassExtendedNegotiation,
    UserIdentityNegotiation,
)  # fmt: skip
from support.dicom.archive import FIND, GET, Archive, to_bytes
from support.dicom.asking import Asking, keys
from support.peers.dcmtk import dcmqrscp
from support.peers.tools import run

from broker.dicom import uids
from broker.dicom.association.association import Association
from broker.dicom.association.user import Proposal
from broker.dicom.wire.user_information import CommonExtended, UserIdentity
from interop.cells import CT, study, study_uid
from interop.running import Running

PRIVATE = "1.2.826.0.1.3680043.9.9999.1"


def asked() -> list[Any]:
    """Every item of the user information that pynetdicom can propose."""
    identity = UserIdentityNegotiation()
    identity.user_identity_type, identity.primary_field, identity.secondary_field = 2, b"ct1", b"secret"
    identity.positive_response_requested = True
    window = AsynchronousOperationsWindowNegotiation()
    window.maximum_number_operations_invoked = window.maximum_number_operations_performed = 5
    extended = SOPClassExtendedNegotiation()
    extended.sop_class_uid, extended.service_class_application_information = FIND["study"], b"\x01\x01\x01\x01"
    common = SOPClassCommonExtendedNegotiation()
    common.sop_class_uid, common.service_class_uid = PRIVATE, uids.STORAGE_SERVICE
    common.related_general_sop_class_identification = [CT]
    return [identity, window, extended, common, build_role(CT, scu_role=True, scp_role=True)]


def test_pynetdicom_broker_understands_every_item(broker: Running) -> None:
    """The window is answered honestly: one operation at a time. The broker is no user of storage on its own door."""
    ae = AE("PYNET")
    contexts = [build_context(uid, uids.IMPLICIT_LE) for uid in (CT, uids.VERIFICATION)]
    made = ae.associate("127.0.0.1", broker.site.dicom, contexts, ae_title="BROKER", ext_neg=asked())
    assert made.is_established
    assert made.send_c_echo().Status == 0
    window = made.acceptor.asynchronous_operations
    roles = {str(uid): (role.scu_role, role.scp_role) for uid, role in made.acceptor.role_selection.items()}
    made.release()
    made.join(10)
    assert window == (1, 1)
    assert roles == {CT: (True, False)}


def test_pynetdicom_user_has_a_private_class_accepted_by_its_kin(ours: Archive) -> None:
    ae = AE("PYNET")
    contexts = [build_context(PRIVATE), build_context(uids.VERIFICATION)]
    made = ae.associate("127.0.0.1", ours.port, contexts, ext_neg=asked())
    assert {str(context.abstract_syntax) for context in made.accepted_contexts} == {PRIVATE, uids.VERIFICATION}
    assert made.send_c_echo().Status == 0
    made.release()
    made.join(10)


def test_pynetdicom_provider_understands_every_item() -> None:
    """A positive response it gives to tickets only, not to user name and passcode."""
    seen: dict[str, Any] = {}

    def identified(event: evt.Event) -> tuple[bool, bytes | None]:
        seen["identity"] = (event.user_id_type, event.primary_field)
        return True, b"server ticket"

    def extended(event: evt.Event) -> dict[str, bytes]:
        seen["extended"] = dict(event.app_info)
        return {FIND["study"]: b"\x01\x00"}

    def common(event: evt.Event) -> dict[str, Any]:
        seen["common"] = {str(uid): str(item.service_class_uid) for uid, item in event.items.items()}
        return event.items  # type: ignore[no-any-return]

    def window(event: evt.Event) -> tuple[int, int]:
        seen["window"] = (event.nr_invoked, event.nr_performed)
        return 1, 1

    ae = AE("PYNET")
    for uid in (FIND["study"], CT, uids.VERIFICATION):
        ae.add_supported_context(uid, uids.IMPLICIT_LE)
    handlers = [
        (evt.EVT_USER_ID, identified), (evt.EVT_SOP_EXTENDED, extended), (evt.EVT_SOP_COMMON, common),
        (evt.EVT_ASYNC_OPS, window),
    ]  # fmt: skip
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    ask = Asking(server.socket.getsockname()[1], "PYNET")
    ask.remote = replace(ask.remote, operations=4, identity=UserIdentity(3, b"ticket", positive_response=True))

    async def work(association: Association) -> tuple[int, dict[str, bytes]]:
        return await association.echo(), dict(association.peer.extended)

    proposals = [
        Proposal(FIND["study"], (uids.IMPLICIT_LE,), extended=b"\x01\x01"),
        Proposal(CT, (uids.IMPLICIT_LE,), common=CommonExtended(CT, uids.STORAGE_SERVICE)),
        Proposal(uids.VERIFICATION, (uids.IMPLICIT_LE,)),
    ]
    try:
        assert ask.on(proposals, work) == (0, {FIND["study"]: b"\x01\x00"})
    finally:
        server.shutdown()
    assert seen == {
        "identity": (3, b"ticket"), "extended": {FIND["study"]: b"\x01\x01"},
        "common": {CT: uids.STORAGE_SERVICE}, "window": (4, 1),
    }  # fmt: skip


def test_dcmtk_user_with_identity(ours: Archive, tmp_path: Any) -> None:
    path = tmp_path / "object.dcm"
    item = study(1)[0]
    path.write_bytes(item.part10())
    words = ("-usr", "ct1", "-pwd", "secret", "-rsp", "-aec", "ARCHIVE", "127.0.0.1", str(ours.port), path)
    done = run("storescu", *words)
    assert done.returncode == 0, done.stdout
    assert ours.objects[item.sop_instance].data == item.data


# --- C-CANCEL -----------------------------------------------------------------------------------------------------


def test_pynetdicom_user_cancels_a_retrieval(ours: Archive) -> None:
    objects, came = study(30), []

    def keep(event: evt.Event) -> int:
        came.append(event.request.AffectedSOPInstanceUID)
        return 0

    ours.put(*objects)
    made = AE("PYNET").associate(
        "127.0.0.1", ours.port, [build_context(GET["study"]), build_context(CT)],
        ext_neg=[build_role(CT, scp_role=True)], evt_handlers=[(evt.EVT_C_STORE, keep)],
    )  # fmt: skip
    statuses = []
    wanted = keys("STUDY", StudyInstanceUID=study_uid(objects))
    for status, _ in made.send_c_get(wanted, GET["study"], msg_id=7):
        if not statuses:
            made.send_c_cancel(7, query_model=GET["study"])
        statuses.append(status)
    made.release()
    made.join(10)
    assert statuses[-1].Status == 0xFE00
    assert statuses[-1].NumberOfCompletedSuboperations == len(came) < 30
    assert statuses[-1].NumberOfRemainingSuboperations == 30 - len(came)


def leaves_early(identifier: bytes, model: str) -> Any:
    """Take one answer of a query, leave, and see that the association goes on."""

    async def work(association: Association) -> tuple[int, int]:
        async for response in association.find(model, identifier):
            first = response.status
            break
        return first, await association.echo()

    return work


def test_pynetdicom_provider_is_cancelled() -> None:
    cancelled = []
    pause = threading.Event()

    def find(event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        answer = keys("STUDY", StudyInstanceUID="1.2")
        for _ in range(5_000):
            pause.wait(0.002)  # its reading thread comes too late for a C-CANCEL while the other one only writes
            if event.is_cancelled:
                cancelled.append(True)
                yield 0xFE00, None
                return
            yield 0xFF00, answer

    ae = AE("PYNET")
    ae.add_supported_context(FIND["study"])
    ae.add_supported_context(uids.VERIFICATION)
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_FIND, find)])
    ask = Asking(server.socket.getsockname()[1], "PYNET")
    proposals = [Proposal(uid, (uids.IMPLICIT_LE,)) for uid in (FIND["study"], uids.VERIFICATION)]
    work = leaves_early(to_bytes(keys("STUDY", StudyInstanceUID=""), uids.IMPLICIT_LE), FIND["study"])
    try:
        assert ask.on(proposals, work) == (0xFF00, 0)
    finally:
        server.shutdown()
    assert cancelled == [True]


def test_dcmtk_provider_is_cancelled(tmp_path: Any) -> None:
    with dcmqrscp(tmp_path / "qr", {"ELSEWHERE": 1}) as port:
        ask = Asking(port, "QRSCP")
        objects = [item for _ in range(40) for item in study(1)]
        assert set(ask.store(*objects)) == {0}
        proposals = [Proposal(uid, (uids.IMPLICIT_LE,)) for uid in (FIND["study"], uids.VERIFICATION)]
        work = leaves_early(to_bytes(keys("STUDY", StudyInstanceUID=""), uids.IMPLICIT_LE), FIND["study"])
        assert ask.on(proposals, work) == (0xFF00, 0)
