"""A destination with a bandwidth gets its objects no faster, whatever its kind, and with all their bytes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.delivery.hospital import Hospital, pacs
from support.dicom.objects import Encoded, ct_slice
from support.loops import run, until
from support.peers.s3_service import s3_service
from support.peers.stow_service import stow_service
from support.queue.lanes import dispatching

from broker.delivery.bucket.s3_sender import S3Carrier
from broker.delivery.folder.folder_sender import FolderCarrier, Folders
from broker.delivery.notices.trust import NoticeTls
from broker.delivery.object_sender import OneByOne
from broker.delivery.web.stow_sender import StowCarrier
from broker.site.nodes import parse_nodes
from broker.store.db.database import Database

RATE, SIZE, COUNT = 600_000, 150_000, 4


@pytest.fixture
def database_url(sqlite_template: Path, tmp_path: Path) -> str:
    """The lane is the same on both databases."""
    (tmp_path / "broker.db").write_bytes(sqlite_template.read_bytes())
    return f"sqlite:///{tmp_path / 'broker.db'}"


class Place:
    """A destination of a kind: who sends to it, and the ends of the files that it has."""

    def __init__(self, hospital: Hospital, sender: Any, close: Any, stored: Callable[[], list[bytes]]) -> None:
        self.hospital, self.sender, self.close, self.stored = hospital, sender, close, stored


@pytest.fixture(params=["dicom", "folder", "stow", "s3"])
def place(request: pytest.FixtureRequest, database: Database, tmp_path: Path) -> Iterator[Place]:
    hospital, kind, tls = Hospital(database, tmp_path), request.param, NoticeTls(tmp_path)

    def elsewhere(table: dict[str, Any], carrier: Any, stored: Callable[[], list[bytes]]) -> Place:
        nodes = parse_nodes([{"name": "pacs", "kind": kind, "roles": ["destination"], **table}])
        hospital.nodes = {"pacs": replace(nodes[0], bandwidth=RATE, associations=2)}
        sender = OneByOne(database, hospital.spool, hospital.nodes.get, carrier)
        return Place(hospital, sender, getattr(carrier, "close", None), stored)

    with ExitStack() as stack:
        match kind:
            case "dicom":
                found: list[bytes] = []

                def store(event: Any) -> int:
                    found.append(event.request.DataSet.getvalue())
                    return 0

                stack.enter_context(pacs(hospital, store, bandwidth=RATE, associations=2))
                delivery = hospital.delivery()
                yield Place(hospital, delivery, delivery.close, lambda: found)
            case "folder":
                (tmp_path / "share").mkdir()
                folder = FolderCarrier(Folders(tmp_path, tmp_path / "data"))
                yield elsewhere(
                    {"path": "share"}, folder, lambda: [f.read_bytes() for f in (tmp_path / "share").rglob("*.dcm")]
                )
            case "stow":
                service = stack.enter_context(stow_service())
                yield elsewhere({"url": service.url}, StowCarrier(tls, tmp_path), lambda: [*service.stored.values()])
            case _:
                bucket = stack.enter_context(s3_service())
                table = {"url": bucket.url, "s3": bucket.table(tmp_path)}
                yield elsewhere(table, S3Carrier(tls, tmp_path), lambda: [*bucket.files().values()])


def test_all_associations_together_are_no_faster(place: Place) -> None:
    items: list[Encoded] = [place.hospital.take(ct_slice(SIZE)) for _ in range(COUNT)]
    began = time.monotonic()

    async def work() -> None:
        async with dispatching(place.hospital.database, place.sender, concurrency=2):
            await until(lambda: place.hospital.states() == ["done"] * COUNT, "all are sent", 30)
        if place.close is not None:
            await place.close()

    run(work())
    assert time.monotonic() - began >= COUNT * SIZE / RATE - 0.3
    stored = place.stored()
    assert len(stored) == COUNT
    assert all(any(file.endswith(item.data) for file in stored) for item in items)
