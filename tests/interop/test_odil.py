"""odil in both roles."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from support.dicom.archive import MPPS, Archive, archive
from support.dicom.asking import Asking
from support.dicom.objects import fresh_uid
from support.peers.talker import Talker, talker
from support.peers.tools import wait_until, waits

from interop.cells import BROKER, PROVIDER, USER
from interop.running import Running

SCRIPT = Path(__file__).parents[1] / "support" / "foreign" / "odil_peer.py"


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Talker]:
    folder = tmp_path_factory.mktemp("odil") / "objects"
    with talker(folder, ["/usr/bin/python3", SCRIPT]) as running:
        yield running


@pytest.mark.parametrize("service", BROKER)
def test_odil_broker(service: str, peer: Talker, broker: Running, folder: Path) -> None:
    BROKER[service](peer, broker, folder)


@pytest.mark.parametrize("service", ["echo", "store", "find", "move", "get"])
def test_odil_user(service: str, peer: Talker, ours: Archive, folder: Path) -> None:
    USER[service](peer, ours, folder)


@pytest.mark.parametrize("service", ["echo", "store", "find", "move", "get", "mpps"])
def test_odil_provider(service: str, peer: Talker, folder: Path) -> None:
    def listen() -> None:
        peer.ask("serve")
        wait_until(lambda: waits(peer.port), 10, "odil listens for its next and only association")

    PROVIDER[service](peer, Asking(peer.port, "ODIL", before=listen), folder)


def test_odil_user_set(peer: Talker) -> None:
    """The instance is set, but odil looks for Requested SOP Class UID in the response.

    PS3.7 table 10.3-5 has Affected SOP Class UID there, so its user can be content with no conforming provider.
    """
    uid = fresh_uid()
    with archive() as ours:
        ours.instances[uid] = Dataset()
        answer = peer.ask("set", ours.port, "ARCHIVE", MPPS, uid, "PerformedProcedureStepStatus=COMPLETED")
    assert answer == [["error", "Exception: No such element 00000003"]]
    assert ours.instances[uid].PerformedProcedureStepStatus == "COMPLETED"
