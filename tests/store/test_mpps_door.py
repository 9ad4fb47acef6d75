"""The door of performed procedure steps with a fake request and a real database: statuses, UIDs, N-GET."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from support.mpps.performed import STATUS, bytes_of, creation, final
from support.worklist.worklist import IMPLICIT, read

from broker.dicom.dimse import command as cmd
from broker.mpps import showing
from broker.mpps.attributes import TAGS
from broker.mpps.scp import PerformedStepService
from broker.site.directory import Directory
from broker.site.nodes import parse_nodes
from broker.store.db.database import Database
from broker.store.mpps import performed_steps

UID = "2.999.7"
STRICT = parse_nodes(
    [{"name": "strict", "kind": "dicom", "ae_title": "CT02", "host": "127.0.0.1", "roles": ["modality"],
      "device": {"mpps": "strict"}}]
)  # fmt: skip


class _Data:
    def __init__(self, data: bytes) -> None:
        self._data = data

    async def read_all(self, limit: int) -> bytes:
        return self._data

    async def drain(self) -> None:
        """Nothing is left."""


class _Request:
    def __init__(self, uid: str, values: dict[str, Any] | bytes, calling: str, tags: Sequence[int] = ()) -> None:
        self.command = SimpleNamespace(sop_instance=uid, tags=lambda element: tuple(tags))
        self.context = SimpleNamespace(transfer_syntax=IMPLICIT)
        self.peer = SimpleNamespace(calling_ae=calling, address="127.0.0.1")
        self.data = _Data(values if isinstance(values, bytes) else bytes_of(values))
        self.status = -1
        self.answer: bytes | None = None
        self.more: dict[int, Any] = {}

    async def respond(
        self, status: int, data: bytes | None = None, *, comment: str = "", more: dict[int, Any] | None = None
    ) -> None:
        self.status, self.answer, self.more = status, data, more or {}


class Door:
    """The service with its requests; `woken` counts the commits that made work."""

    def __init__(self, database: Database) -> None:
        self.woken = 0
        self.service = PerformedStepService(
            database, Directory(STRICT), ZoneInfo("Europe/Zurich"), "ISO_IR 192", self._wake
        )

    def _wake(self) -> None:
        self.woken += 1

    def create(self, uid: str, values: dict[str, Any] | bytes, calling: str = "CT01") -> _Request:
        request = _Request(uid, values, calling)
        asyncio.run(self.service.create(request))  # type: ignore[arg-type]
        return request

    def change(self, uid: str, values: dict[str, Any]) -> _Request:
        request = _Request(uid, values, "CT01")
        asyncio.run(self.service.change(request))  # type: ignore[arg-type]
        return request

    def get(self, uid: str, *tags: int) -> _Request:
        request = _Request(uid, b"", "CT01", tags)
        asyncio.run(self.service.get(request))  # type: ignore[arg-type]
        return request


@pytest.fixture
def door(database: Database) -> Iterator[Door]:
    door = Door(database)
    yield door
    door.service.close()


def test_a_step_is_created_ended_and_never_changed_again(door: Door) -> None:
    created = door.create(UID, creation())
    assert (created.status, created.more[cmd.AFFECTED_SOP_INSTANCE]) == (0x0000, UID)
    assert door.change(UID, final()).status == 0x0000
    late = door.change(UID, {STATUS: "DISCONTINUED"})
    assert (late.status, late.more[cmd.ERROR_ID]) == (0x0110, 0xA710)
    assert door.woken == 3


def test_a_step_without_uid_gets_one_that_its_repeat_gets_too(door: Door) -> None:
    first, again = door.create("", creation()), door.create("", creation())
    uid = first.more[cmd.AFFECTED_SOP_INSTANCE]
    assert uid.startswith("2.25.")
    assert (again.status, again.more[cmd.AFFECTED_SOP_INSTANCE]) == (first.status, uid)


def test_a_strict_device_must_name_its_step(door: Door) -> None:
    assert door.create("", creation(), calling="CT02").status == 0x0117


@pytest.mark.parametrize(("uid", "status"), [("1.02.3", 0x0000), ("no-uid", 0x0117), ("1." * 40, 0x0117)])
def test_uids_that_are_none(door: Door, uid: str, status: int) -> None:
    assert door.create(uid, creation()).status == status


def test_what_cannot_be_done(door: Door) -> None:
    assert door.change(UID, final()).status == 0x0112
    assert door.create(UID, b"\x10\x00\x10\x00\xff\xff\xff\x7f").status == 0x0110
    assert door.get(UID).status == 0x0112


def test_a_step_is_given_back(door: Door) -> None:
    door.create(UID, creation())
    whole = door.get(UID)
    assert whole.status == 0x0000
    assert whole.answer is not None
    assert read(whole.answer).PerformedProcedureStepStatus == "IN PROGRESS"
    one = door.get(UID, TAGS[STATUS], 0x00091001)
    assert one.status == 0x0001
    assert one.answer is not None
    assert [element.keyword for element in read(one.answer)] == [STATUS]


def test_a_person_sees_a_step_with_its_items(door: Door, database: Database) -> None:
    door.create(UID, creation())
    performed = database.read(performed_steps.find, UID).result()
    assert performed is not None
    assert performed.row is not None
    shown = database.read(showing.show, performed.row).result()
    assert shown is not None
    assert shown.performed == performed
    assert [item.position for item in shown.items] == [0]
    assert shown.proposals == ()
    assert database.read(showing.show, performed.row + 1).result() is None
