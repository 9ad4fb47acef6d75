"""Orthanc (Debian) as DICOMweb service: it stores what the broker sends by STOW-RS, in the syntaxes that it came in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.delivery.hospital import Hospital
from support.dicom.objects import SAMPLES, ct_slice, from_sample
from support.loops import run, until
from support.peers.peers import Orthanc, orthanc
from support.peers.tools import missing
from support.queue.lanes import dispatching

from broker.delivery.notices.trust import NoticeTls
from broker.delivery.object_sender import OneByOne
from broker.delivery.web.stow_sender import StowCarrier
from broker.site.nodes import parse_nodes
from broker.store.db.database import Database

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
NAMES = ("JPEG2000.dcm", "MR_small_RLE.dcm", "MR_small_implicit.dcm", "MR_small.dcm")


@pytest.fixture
def database_url(sqlite_template: Path, tmp_path: Path) -> str:
    """What goes over the wire is the same on both databases."""
    (tmp_path / "broker.db").write_bytes(sqlite_template.read_bytes())
    return f"sqlite:///{tmp_path / 'broker.db'}"


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    if not PLUGIN.exists():
        missing("orthanc-dicomweb")
    web = {"Enable": True, "Root": "/dicom-web/"}
    with orthanc(tmp_path_factory.mktemp("orthanc"), Plugins=[str(PLUGIN)], DicomWeb=web) as running:
        yield running


def test_orthanc_stores_what_is_sent(peer: Orthanc, database: Database, tmp_path: Path) -> None:
    hospital = Hospital(database, tmp_path)
    items = [from_sample(SAMPLES / name) for name in NAMES]
    sent = [hospital.take(item) for item in [*items, ct_slice(3 << 20)] if item is not None]
    assert len(sent) == 5
    url = f"http://127.0.0.1:{peer.http}/dicom-web"
    hospital.nodes = {
        node.name: node
        for node in parse_nodes([{"name": "pacs", "kind": "stow", "url": url, "roles": ["destination"]}])
    }

    async def work() -> None:
        carrier = StowCarrier(NoticeTls(tmp_path), tmp_path)
        async with dispatching(database, OneByOne(database, hospital.spool, hospital.nodes.get, carrier)):
            await until(lambda: hospital.states() == ["done"] * 5, "all are stored", 30)
        await carrier.close()

    run(work())
    assert hospital.queue.errors() == [""] * 5
    assert peer.count() == 5
    for item in sent:
        (name,) = peer.post("/tools/lookup", item.sop_instance.encode())
        assert peer.get(f"/instances/{name['ID']}/file").endswith(item.data)
