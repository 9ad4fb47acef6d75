"""The storage door over a real spool and database."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select
from support.dicom import raw as wire
from support.dicom.objects import Encoded, ct_slice
from support.dicom.provider import peer, serving
from support.dicom.raw import ABORTED, CT
from support.loops import remains, run, until
from support.store.spool import spool_files

from broker import faults
from broker.dicom import uids
from broker.dicom.dimse import status as st
from broker.routing.reception import Reception
from broker.routing.rules.parsing import parse_rules
from broker.routing.scp import StorageService
from broker.store.db.database import Database
from broker.store.images.spool import Spool
from broker.store.schema import tables


@dataclass
class Store:
    """A storage service over a real spool and database."""

    service: StorageService
    reception: Reception
    database: Database
    spool: Spool

    def files(self) -> list[Path]:
        return spool_files(self.spool.root)

    def states(self) -> dict[str, int]:
        query = select(tables.instance.c.state)
        return Counter(self.database.read(lambda connection: connection.execute(query).scalars().all()).result(10))


@pytest.fixture
def store(sqlite_url: str, tmp_path: Path) -> Any:
    database = Database(sqlite_url)
    spool = Spool(tmp_path / "spool", ahead=0)
    reception = Reception(database, spool, lambda: parse_rules({}, set()), ZoneInfo("UTC"), lambda: None, small=0)
    made = Store(StorageService(reception), reception, database, spool)
    yield made
    made.service.close()
    database.close()


def pieces(item: Encoded, size: int = 16_000, *, last: bool = True) -> list[bytes]:
    parts = [item.data[start : start + size] for start in range(0, len(item.data), size)]
    return [
        wire.p_data(1, part, is_command=False, last=last and number == len(parts) - 1)
        for number, part in enumerate(parts)
    ]


@pytest.mark.parametrize(("beyond", "files"), [(0, 0), (1, 1)])
def test_the_limit_of_small_objects_holds_at_the_door(store: Store, beyond: int, files: int) -> None:
    item = ct_slice(1000)
    store.reception.small = len(item.data) - beyond

    async def work() -> None:
        async with serving(store.service.service()) as provider, peer(provider) as modality:
            await modality.associate((CT, uids.EXPLICIT_LE))
            await modality.send(wire.store_rq(item.sop_instance), *pieces(item, 100))
            assert await modality.status() == st.SUCCESS
            assert (store.states(), len(store.files())) == ({"held": 1}, files)

    run(work())


@pytest.mark.parametrize("size", [64, 3_000_000])
def test_an_object_is_stored_before_it_is_answered(store: Store, size: int) -> None:
    item = ct_slice(size)

    async def work() -> None:
        async with serving(store.service.service()) as provider, peer(provider) as modality:
            await modality.associate((CT, uids.EXPLICIT_LE))
            await modality.send(wire.store_rq(item.sop_instance), *pieces(item))
            assert await modality.status() == st.SUCCESS
            assert store.states() == {"held": 1}
            (file,) = store.files()
            assert file.read_bytes().endswith(item.data)

    run(work())


def test_an_object_that_is_cut_is_refused_and_the_association_goes_on(store: Store) -> None:
    item, good = ct_slice(2000), ct_slice(2000)

    async def work() -> None:
        async with serving(store.service.service()) as provider, peer(provider) as modality:
            await modality.associate((CT, uids.EXPLICIT_LE))
            await modality.send(wire.store_rq(item.sop_instance), wire.p_data(1, item.data[:-100], is_command=False))
            assert await modality.status() == st.CANNOT_UNDERSTAND
            await modality.send(wire.store_rq(good.sop_instance, 2), *pieces(good))
            assert await modality.status() == st.SUCCESS

    run(work())
    assert len(store.files()) == 1


@pytest.mark.parametrize("how", ["abort", "reset", "silence", "command"])
@pytest.mark.parametrize("size", [5_000, 2_500_000])
def test_ul17_half_an_object_leaves_no_file(store: Store, how: str, size: int) -> None:
    item = ct_slice(size * 2)
    half = item.data[:size]

    async def work() -> None:
        async with serving(store.service.service(), pdu_timeout=0.5) as provider, peer(provider) as modality:
            await modality.associate((CT, uids.EXPLICIT_LE))
            await modality.send(
                wire.store_rq(item.sop_instance),
                *(wire.p_data(1, half[n : n + 16_000], is_command=False, last=False) for n in range(0, size, 16_000)),
            )
            if size > 1 << 20:
                await until(store.files, "the spool file is open")
            if how == "abort":
                await modality.send(ABORTED)
            elif how == "command":
                await modality.send(wire.store_rq("1.2.4", 2))
            elif how == "reset":
                modality.reset()
            await until(lambda: not provider._sessions, "the session has ended")
            assert store.files() == []
            assert store.states() == {}

    run(work())


@pytest.mark.parametrize("over", [0, 1, 500_000])
def test_an_object_over_the_limit_is_refused_after_its_last_byte(store: Store, over: int) -> None:
    item = ct_slice(600_000)

    async def work() -> None:
        limit = len(item.data) - over
        async with serving(store.service.service(), max_object=limit) as provider, peer(provider) as modality:
            await modality.associate((CT, uids.EXPLICIT_LE))
            *most, last = pieces(item)
            await modality.send(wire.store_rq(item.sop_instance), *most)
            answering = asyncio.ensure_future(modality.status())
            await remains(lambda: not answering.done())
            await modality.send(last)
            assert await answering == (st.CANNOT_UNDERSTAND if over else st.SUCCESS)

    run(work())
    assert len(store.files()) == (0 if over else 1)


def test_a_full_disk_is_passing_trouble(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "_FILE", str(tmp_path / "faults"))
    (tmp_path / "faults").write_text("spool.write ENOSPC\n")
    item = ct_slice(2_000_000)

    async def work() -> None:
        async with serving(store.service.service()) as provider, peer(provider) as modality:
            await modality.associate((CT, uids.EXPLICIT_LE))
            await modality.send(wire.store_rq(item.sop_instance), *pieces(item))
            assert await modality.status() == st.OUT_OF_RESOURCES
            (tmp_path / "faults").write_text("")
            await modality.send(wire.store_rq(item.sop_instance, 2), *pieces(item))
            assert await modality.status() == st.SUCCESS

    run(work())
    assert len(store.files()) == 1
