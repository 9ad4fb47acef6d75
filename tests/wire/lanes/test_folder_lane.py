"""Objects go into folders: whole files, never over others, and a folder that fails keeps them waiting."""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.delivery.hospital import Hospital
from support.dicom.objects import Encoded, ct_slice
from support.kills.trouble import mounted
from support.loops import run, until
from support.queue.lanes import PACS, QUICK, dispatching

from broker.delivery.folder import landing
from broker.delivery.folder.folder_sender import FolderCarrier, Folders
from broker.delivery.folder.landing import Landing
from broker.delivery.object_sender import OneByOne
from broker.dicom.dataset import part10
from broker.errors import ConfigurationError, PeerFault
from broker.site.nodes import parse_nodes
from broker.store.db.database import Database

NAME = "{PatientID}/{SOPInstanceUID}.dcm"


@pytest.fixture
def database_url(sqlite_template: Path, tmp_path: Path) -> str:
    """The lane is the same on both databases."""
    (tmp_path / "broker.db").write_bytes(sqlite_template.read_bytes())
    return f"sqlite:///{tmp_path / 'broker.db'}"


class Share:
    """A hospital whose destination is a folder."""

    def __init__(self, database: Database, folder: Path, **files: Any) -> None:
        self.hospital, self.root = Hospital(database, folder), folder / "share"
        self.root.mkdir()
        table = {"name": "pacs", "kind": "folder", "path": "share", "roles": ["destination"]}
        node = parse_nodes([table | {"files": {"name": NAME} | files}])[0]
        self.hospital.nodes = {"pacs": node}
        self.sender = OneByOne(
            database, self.hospital.spool, self.hospital.nodes.get, FolderCarrier(Folders(folder, folder / "data"))
        )

    def settles(self, *states: str, before: Any = None) -> None:
        async def work() -> None:
            async with dispatching(self.hospital.database, self.sender, policy=QUICK):
                if before is not None:
                    await before()
                await until(lambda: self.hospital.states() == [*states], f"{states}", 15)

        run(work())

    def files(self) -> dict[str, bytes]:
        found = (path for path in self.root.rglob("*") if path.is_file())
        return {str(path.relative_to(self.root)): path.read_bytes() for path in found}

    @property
    def errors(self) -> list[str]:
        return self.hospital.queue.errors()


def data_of(path: Path) -> bytes:
    header = part10.read(path)
    assert header is not None
    return path.read_bytes()[header.offset :]


@pytest.fixture
def share(database: Database, tmp_path: Path) -> Share:
    return Share(database, tmp_path)


def test_objects_become_files_with_the_bytes_that_came(share: Share) -> None:
    items = [*share.hospital.slices(3), share.hospital.take(ct_slice(3 << 20, PatientID="../../x"))]
    share.settles("done", "done", "done", "done")
    assert len(share.files()) == 4
    for item, patient in zip(items, ["CANARY1"] * 3 + ["%2E.%2F..%2Fx"], strict=True):
        path = share.root / patient / f"{item.sop_instance}.dcm"
        header = part10.read(path)
        assert header is not None
        assert header[:3] == (item.sop_class, item.sop_instance, item.transfer_syntax)
        assert data_of(path) == item.data


def again(item: Encoded, **changes: str) -> Encoded:
    other = ct_slice(1000, **changes)
    data = other.data.replace(other.sop_instance.encode(), item.sop_instance.encode())
    return Encoded(item.sop_class, item.sop_instance, item.transfer_syntax, data)


def there(share: Share, item: Encoded) -> Path:
    """The file of an object, as it is written."""
    share.hospital.take(item)
    share.settles("done")
    return share.root / "CANARY1" / f"{item.sop_instance}.dcm"


def test_the_same_file_is_there_already(share: Share) -> None:
    path = there(share, ct_slice(1000))
    inode = path.stat().st_ino
    share.hospital.queue.put(99)  # no object
    share.hospital.database.execute(lambda c: c.exec_driver_sql("UPDATE job SET state='ready' WHERE subject=1"))
    share.settles("done", "held")
    assert path.stat().st_ino == inode
    assert share.errors == ["folder-there", "no-instance"]


@pytest.mark.parametrize(
    ("existing", "state", "code", "count"),
    [("hold", "held", "folder-other-bytes", 1), ("beside", "done", "folder-beside", 2),
     ("replace", "done", "folder-replaced", 1)],
)  # fmt: skip
def test_other_bytes_are_there(
    database: Database, tmp_path: Path, existing: str, state: str, code: str, count: int
) -> None:
    share = Share(database, tmp_path, existing=existing)
    item = ct_slice(1000)
    path = share.root / "CANARY1" / f"{item.sop_instance}.dcm"
    path.parent.mkdir()
    path.write_bytes(b"of others")
    share.hospital.take(item)
    share.settles(state)
    assert share.errors == [code]
    assert len(share.files()) == count
    assert (path.read_bytes() == b"of others") is (existing != "replace")


def test_an_object_without_a_path_is_held_and_others_pass(share: Share) -> None:
    share.hospital.take(ct_slice(1000, PatientID=""))
    (share.root / "B").write_bytes(b"a file where a folder has to be")
    share.hospital.take(ct_slice(1000, PatientID="B"))
    (share.root / "C").symlink_to(share.root.parent)
    share.hospital.take(ct_slice(1000, PatientID="C"))
    share.hospital.slices(1)
    share.settles("held", "held", "held", "done")
    assert share.errors == ["folder-no-path", "folder-name-taken", "folder-name-taken", ""]


def test_altered_bytes_never_get_a_name(share: Share) -> None:
    share.hospital.take(ct_slice(3 << 20))
    (path,) = (path for path in share.hospital.spool.root.rglob("*.dcm") if path.stat().st_size)
    with path.open("r+b") as file:
        file.seek(2 << 20)
        file.write(b"altered")
    share.settles("held")
    assert share.errors == ["file-altered"]
    assert share.files() == {}


def test_a_folder_that_is_gone_or_without_its_marker_is_waited_for(database: Database, tmp_path: Path) -> None:
    share = Share(database, tmp_path, marker=".mounted")
    share.hospital.slices(2)

    async def comes_back() -> None:
        await until(lambda: share.hospital.queue.breaker(PACS)[2] == "folder-gone", "no marker", 10)
        shutil.rmtree(share.root)
        await until(lambda: share.hospital.queue.breaker(PACS)[0] > 2, "no folder", 10)
        assert share.hospital.states() == ["ready", "ready"]
        assert not share.root.exists()
        share.root.mkdir()
        (share.root / ".mounted").touch()

    share.settles("done", "done", before=comes_back)


def test_a_full_file_system_keeps_objects_waiting(share: Share) -> None:
    with mounted(share.root, "2m") as made:
        if not made:
            pytest.skip("no file system can be mounted here")
        (share.root / "filler").write_bytes(bytes((2 << 20) - 65536))
        share.hospital.take(ct_slice(500_000))
        share.hospital.take(ct_slice(500_000))

        async def room() -> None:
            await until(lambda: share.hospital.queue.breaker(PACS)[2] == "folder-full", "full", 10)
            assert list(share.files()) == ["filler"]  # no part is left
            (share.root / "filler").unlink()

        share.settles("done", "done", before=room)
        assert len(share.files()) == 2


def test_a_folder_that_hangs_counts_as_away_while_a_thread_is_stuck(share: Share) -> None:
    node = share.hospital.nodes["pacs"]
    carrier = FolderCarrier(Folders(share.root.parent, share.root))
    free = threading.Event()

    async def scenario() -> None:
        quick = replace(node, answer_timeout=0)

        def hang(beat: Any) -> str:
            free.wait(30)
            return ""

        for work in (hang, lambda beat: "never"):
            with pytest.raises(PeerFault) as raised:
                await carrier.in_thread(quick, work)
            assert raised.value.code == "folder-hangs"
        free.set()

        stuck = [thread for thread in threading.enumerate() if thread.name == "folder-pacs"]
        for thread in stuck:
            await asyncio.to_thread(thread.join, 10)
        assert await carrier.in_thread(node, lambda beat: "again") == "again"

    run(scenario())


def test_a_name_of_other_case_is_told_where_the_file_system_takes_both_for_one(
    share: Share, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a file system opens `canary1` as `CANARY1`, and lists it as it was made."""
    (share.root / "canary1").mkdir()
    (share.root / "CANARY1").symlink_to("canary1")
    usual, listed = os.open, os.listdir

    def opened(path: Any, flags: int, *mode: Any, **more: Any) -> int:
        return usual("canary1" if path == "CANARY1" else path, flags, *mode, **more)

    monkeypatch.setattr(os, "open", opened)
    monkeypatch.setattr(os, "listdir", lambda path: [name for name in listed(path) if name != "CANARY1"])
    share.hospital.slices(1)
    share.settles("held")
    assert share.errors == ["folder-other-case"]


def test_the_order_of_system_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bytes are on the disk before the name is, and the name before it counts."""
    calls: list[str] = []
    sync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (calls.append(os.readlink(f"/proc/self/fd/{fd}")), sync(fd))[1])
    rename = landing.rename_new
    monkeypatch.setattr(landing, "rename_new", lambda *where: (calls.append("rename"), rename(*where))[1])
    Landing(tmp_path, "").put(("a", "b"), [b"x"], "hold")
    part = calls.pop(1)
    assert part.endswith(".part")
    assert calls == [str(tmp_path), str(tmp_path), "rename", str(tmp_path / "a")]


def test_no_folder_in_the_data_of_the_broker(tmp_path: Path) -> None:
    for path in ("data", "data/spool", "."):
        node = parse_nodes([{"name": "x", "kind": "folder", "path": path, "roles": ["destination"]}])
        with pytest.raises(ConfigurationError, match="own data"):
            Folders(tmp_path, tmp_path / "data").prepare(node)
