"""What was just received goes to folders and services in memory, with the bytes of what is claimed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from support.delivery.hospital import Hospital
from support.dicom.objects import ct_slice
from support.loops import run, until
from support.peers.s3_service import S3Store, s3_service
from support.peers.stow_service import stow_service
from support.queue.lanes import PACS, dispatching

from broker.delivery import object_feed
from broker.delivery.bucket.s3_sender import S3Carrier
from broker.delivery.folder.folder_sender import FolderCarrier, Folders
from broker.delivery.notices.trust import NoticeTls
from broker.delivery.object_sender import OneByOne
from broker.delivery.web.stow_sender import StowCarrier
from broker.queue import dispatcher as queue_dispatcher
from broker.site.nodes import parse_nodes
from broker.store.db.database import Database

Place = tuple[dict[str, Any], Any, Callable[[], list[bytes]]]  # the node, its carrier, and the files that it has


@pytest.fixture
def database_url(sqlite_template: Path, tmp_path: Path) -> str:
    """The lane is the same on both databases."""
    (tmp_path / "broker.db").write_bytes(sqlite_template.read_bytes())
    return f"sqlite:///{tmp_path / 'broker.db'}"


@pytest.fixture(params=["folder", "stow", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    tls = NoticeTls(tmp_path)
    with ExitStack() as stack:
        match request.param:
            case "folder":
                (tmp_path / "share").mkdir()
                carrier: Any = FolderCarrier(Folders(tmp_path, tmp_path / "data"))
                yield {"path": "share"}, carrier, lambda: [f.read_bytes() for f in (tmp_path / "share").rglob("*.dcm")]
            case "stow":
                service = stack.enter_context(stow_service())
                yield {"url": service.url}, StowCarrier(tls, tmp_path), lambda: [*service.stored.values()]
            case _:
                store: S3Store = stack.enter_context(s3_service())
                table = {"url": store.url, "s3": store.table(tmp_path)}
                yield table, S3Carrier(tls, tmp_path), lambda: [*store.files().values()]


def test_it_is_neither_claimed_nor_read_again(
    database: Database, tmp_path: Path, place: Place, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, carrier, files = place
    hospital = Hospital(database, tmp_path)
    kind = request.node.callspec.params["place"]
    node = parse_nodes([{"name": "pacs", "kind": kind, "roles": ["destination"], **table}])[0]
    hospital.nodes = {"pacs": node}
    monkeypatch.setattr(queue_dispatcher, "POLL", 30)

    def never(*args: object) -> object:
        raise AssertionError("it is read")

    async def work() -> None:
        sender = OneByOne(database, hospital.spool, hospital.nodes.get, carrier)
        async with dispatching(database, sender) as dispatcher:
            hospital.slices(1)
            dispatcher.wake()
            await until(lambda: dispatcher.hand_over.names == [PACS], "the lane is open")
            hospital.open_to(dispatcher.hand_over)
            monkeypatch.setattr(object_feed.instances, "stored", never)
            await asyncio.to_thread(hospital.take, ct_slice(1000))
            await asyncio.to_thread(hospital.take, ct_slice(3 << 20))
            await until(lambda: hospital.states() == ["done"] * 3, "all are done")
        if kind != "folder":
            await carrier.close()

    run(work())
    assert [row["attempts"] for row in hospital.queue.rows()] == [1, 1, 1]
    stored = files()
    assert len(stored) == 3
    assert all(b"CT01" in file[132:600] for file in stored)  # Source Application Entity Title (PS3.10 7.1)
