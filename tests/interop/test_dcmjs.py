"""dcmjs-dimse (npm) in both roles, all services."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.dicom.archive import Archive
from support.dicom.asking import Asking
from support.peers.talker import Talker, talker
from support.peers.tools import node_modules

from interop.cells import BROKER, PROVIDER, USER
from interop.running import Running

SCRIPT = Path(__file__).parents[1] / "support" / "foreign" / "dcmjs_peer.js"


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Talker]:
    folder = tmp_path_factory.mktemp("dcmjs") / "objects"
    with talker(folder, ["node", SCRIPT], more={"NODE_PATH": node_modules("dcmjs-dimse")}) as running:
        yield running


@pytest.mark.parametrize("service", BROKER)
def test_dcmjs_broker(service: str, peer: Talker, broker: Running, folder: Path) -> None:
    BROKER[service](peer, broker, folder)


@pytest.mark.parametrize("service", ["echo", "store", "find", "move", "get", "mpps", "nget", "delete", "commit"])
def test_dcmjs_user(service: str, peer: Talker, ours: Archive, folder: Path) -> None:
    USER[service](peer, ours, folder)


@pytest.mark.parametrize("service", ["echo", "store", "find", "move", "get", "mpps", "delete", "commit"])
def test_dcmjs_provider(service: str, peer: Talker, folder: Path) -> None:
    PROVIDER[service](peer, Asking(peer.port, "DCMJS"), folder)
