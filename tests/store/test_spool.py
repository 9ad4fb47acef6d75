"""Files of received objects: what is kept is on the disk, what failed leaves nothing."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from support.peers.tools import wait_until
from support.store.spool import spool_files

from broker import faults
from broker.errors import SpoolUnavailable
from broker.store.images import spool as module
from broker.store.images.spool import Spool, SpoolFile


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "data" / "spool", ahead=0)


@pytest.fixture
def fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "faults"
    file.touch()
    monkeypatch.setattr(faults, "_FILE", str(file))
    return file


def files(spool: Spool) -> list[Path]:
    return spool_files(spool.root)


def kept(spool: Spool, data: bytes = b"x") -> SpoolFile:
    """A file on stable storage, closed."""
    file = spool.create(data)
    file.keep()
    file.close()
    return file


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_kept_file_holds_head_and_data(spool: Spool) -> None:
    file = spool.create(b"head")
    file.write(b"abc")
    file.write(b"defg")
    file.keep()
    file.close()
    path = spool.locate(file.name)
    assert path.read_bytes() == b"headabcdefg"
    assert (file.data_offset, file.data_length, file.digest) == (4, 7, sha256(b"abcdefg").digest())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(spool.root.stat().st_mode) == 0o700


def test_names_are_ours_unique_and_below_the_spool(spool: Spool) -> None:
    names = set()
    for _ in range(50):
        names.add(kept(spool, b"").name)
    assert len(names) == 50
    for name in names:
        assert not name.startswith("/")
        assert ".." not in name
        assert spool.locate(name).is_file()


def test_everything_is_synced_before_it_counts(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """File, hour folder; and for a new folder the folder it stands in."""
    synced: list[str] = []
    real = os.fsync

    def spy(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        real(descriptor)

    monkeypatch.setattr(module.os, "fsync", spy)
    file = spool.create(b"x")
    day, hour = file.path.parent.parent, file.path.parent
    assert synced == [str(spool.root), str(day)]
    synced.clear()
    file.keep()
    assert synced == [str(file.path), str(hour)]
    file.close()


def test_abandoning_removes_the_file(spool: Spool) -> None:
    before = descriptors()
    file = spool.create(b"x")
    file.write(b"y")
    file.abandon()
    file.abandon()
    assert files(spool) == []
    assert descriptors() == before


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_disk_that_cannot_take_the_head_leaves_nothing(spool: Spool, fault: Path, number: int) -> None:
    """A full disk must cost neither a file nor a descriptor for each try of each modality."""
    spool.create(b"x").abandon()
    before = descriptors()
    fault.write_text(f"spool.write {errno.errorcode[number]}\n")
    for _ in range(5):
        with pytest.raises(SpoolUnavailable) as caught:
            spool.create(b"head")
        assert caught.value.code == f"spool-{errno.errorcode[number]}"
        assert caught.value.retryable
    assert files(spool) == []
    assert descriptors() == before


def test_a_failing_write_and_a_failing_sync_say_so(spool: Spool, fault: Path) -> None:
    file = spool.create(b"head")
    fault.write_text("spool.write ENOSPC\n")
    with pytest.raises(SpoolUnavailable):
        file.write(b"more")
    file.abandon()
    fault.write_text("")
    file = spool.create(b"head")
    fault.write_text("spool.sync EIO\n")
    with pytest.raises(SpoolUnavailable):
        file.keep()
    file.abandon()
    assert files(spool) == []


def test_short_writes_are_continued(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(module.os, "write", lambda descriptor, data: real(descriptor, bytes(data[:3])))
    file = spool.create(b"0123456789")
    file.write(b"abcdefghij")
    file.keep()
    file.close()
    assert spool.locate(file.name).read_bytes() == b"0123456789abcdefghij"


def test_a_folder_that_cannot_be_made_is_passing_trouble(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("a file")
    with pytest.raises(SpoolUnavailable):
        Spool(tmp_path / "spool" / "x")


def test_a_folder_removed_behind_our_back_is_made_again(spool: Spool) -> None:
    """Somebody tidies up empty folders: only this object may suffer, not the whole hour."""
    file = spool.create(b"x")
    file.abandon()
    file.path.parent.rmdir()
    file.path.parent.parent.rmdir()
    with pytest.raises(SpoolUnavailable):
        spool.create(b"x")
    kept(spool)
    assert len(files(spool)) == 1


def test_removing_twice_is_fine(spool: Spool) -> None:
    file = kept(spool)
    spool.remove(file.name)
    spool.remove(file.name)
    assert files(spool) == []


def test_folders_are_those_of_hours_oldest_first(spool: Spool) -> None:
    for name in ("20260312/09", "20260311/23", "20260312/10", "unclaimed/x"):
        (spool.root / name).mkdir(parents=True)
    (spool.root / "20260312" / "note.txt").touch()
    assert [path.relative_to(spool.root).as_posix() for path in spool.folders()] == [
        "20260311/23", "20260312/09", "20260312/10",
    ]  # fmt: skip


def test_a_file_set_aside_is_moved_whole(spool: Spool) -> None:
    file = kept(spool)
    spool.set_aside(file.path)
    assert [path.parent.name for path in files(spool)] == ["unclaimed"]
    assert files(spool)[0].read_bytes() == b"x"
    assert spool.folders() == [file.path.parent]


# --- files made ahead ------------------------------------------------------------------------------------


@pytest.fixture
def stream(tmp_path: Path) -> Iterator[Spool]:
    made = Spool(tmp_path / "stream", ahead=4)
    yield made
    made.close()


def empty_files(spool: Spool) -> list[Path]:
    return [path for path in spool.root.rglob("*.dcm") if not path.stat().st_size]


def test_one_object_alone_makes_nothing_ahead(stream: Spool) -> None:
    stream.create(b"head").close()
    assert not empty_files(stream)


def test_a_stream_of_objects_finds_its_files_made_and_their_folder_synced(
    stream: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        stream.create(b"head").close()
    wait_until(lambda: len(stream._ahead) == 4, 10, "files are made ahead")
    waiting = set(empty_files(stream))
    monkeypatch.setattr(module, "sync_folder", lambda folder: pytest.fail("the folder is synced already"))
    monkeypatch.setattr(stream, "_make_ahead", lambda: None)
    for _ in range(4):
        file = stream.create(b"head")
        assert file.path in waiting
        file.write(b"data")
        file.keep()
        file.close()
        assert file.path.read_bytes() == b"headdata"


def test_files_made_ahead_long_ago_are_not_used(stream: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sweep may have taken them for forgotten ones."""
    for _ in range(2):
        stream.create(b"head").close()
    wait_until(lambda: len(stream._ahead) == 4, 10, "files are made ahead")
    old = set(empty_files(stream))
    monkeypatch.setattr(module, "AHEAD_AGE", -1.0)
    file = stream.create(b"head")
    assert file.path not in old
    file.close()
    assert not old & set(empty_files(stream))


def test_closing_leaves_no_empty_files(stream: Spool) -> None:
    for _ in range(2):
        stream.create(b"head").close()
    wait_until(lambda: len(stream._ahead) == 4, 10, "files are made ahead")
    stream.close()
    assert not empty_files(stream)
    assert len(spool_files(stream.root)) == 2


def test_a_file_that_somebody_removed_is_not_kept(stream: Spool) -> None:
    file = stream.create(b"head")
    file.path.unlink()
    with pytest.raises(SpoolUnavailable):
        file.keep()
    file.abandon()
