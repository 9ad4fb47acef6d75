"""Files that are named or stand in folders: without end, no files at all, in folders that are closed."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from broker.cli.imports.run import Account, gather
from broker.errors import ConfigurationError
from broker.orders.mapping_versions import Mappings
from broker.store.db.database import Database
from broker.tools.files import find
from broker.tools.send_report import SendReport
from broker.whole_files import files_below, read_text, read_whole


def test_what_is_too_long_is_not_read(tmp_path: Path) -> None:
    """A device has no size and no end; a sparse file has a size and no bytes."""
    sparse = tmp_path / "sparse"
    with sparse.open("wb") as file:
        file.truncate(10 << 30)
    for path in (Path("/dev/zero"), sparse):
        with pytest.raises(OSError, match="more than 1000 bytes") as raised:
            read_whole(path, 1000)
        assert raised.value.errno == errno.EFBIG
    sparse.write_bytes(b"x" * 1000)
    assert read_whole(sparse, 1000) == b"x" * 1000


def test_text_is_as_an_editor_shows_it(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes(b"\xef\xbb\xbfa\r\nb\rc\n")
    assert read_text(path) == "a\nb\nc\n"


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """A folder with what is no file, but for one."""
    folder = tmp_path / "odd"
    (folder / "below").mkdir(parents=True)
    os.mkfifo(folder / "pipe.wl")
    (folder / "loop.wl").symlink_to(folder / "loop.wl")
    (folder / "circle").symlink_to(folder)
    (folder / "zero.wl").symlink_to("/dev/zero")
    (folder / "large.csv").touch()
    os.truncate(folder / "large.csv", 10 << 30)
    (folder / "below" / "good.csv").write_text("PatientID\n", encoding="utf-8")
    return folder


def test_folders_hold_no_surprise_for_an_import(odd: Path) -> None:
    """Each is named; a reader of the pipe would never come back, and one of the device would take all memory."""
    account = Account()
    gather([odd], account, "utf-8", skip_unknown=False)
    told = {place: reason for place, _, reason in account.failures}
    assert {"pipe.wl", "loop.wl", "zero.wl", "large.csv"} <= set(told)
    assert told["pipe.wl"] == told["zero.wl"] == "cannot be read: not a file"
    assert "more than" in told["large.csv"]


def test_folders_hold_no_surprise_for_who_sends_objects(odd: Path) -> None:
    report = SendReport()
    assert find([odd], report, lambda: None) == []
    assert report.not_dicom >= 3


def test_a_folder_that_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was left out without a word: what stood in it was neither imported nor missed."""
    real, closed = os.scandir, str(tmp_path / "closed")
    (tmp_path / "closed").mkdir()

    def scandir(path: str) -> object:  # root may read every folder
        if str(path) == closed:
            raise PermissionError(errno.EACCES, "Permission denied", closed)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    missed: list[tuple[str, str]] = []
    assert list(files_below([tmp_path], lambda *told: missed.append(told))) == []
    assert missed == [(closed, "Permission denied")]
    account, report = Account(), SendReport()
    gather([tmp_path], account, "utf-8", skip_unknown=False)
    assert [place for place, _, _ in account.failures] == [closed]
    find([tmp_path], report, lambda: None)
    assert ([failure[0] for failure in report.failures], report.files, report.failed) == ([closed], 1, 1)


def test_a_pipe_among_the_mappings_does_not_hold_up_the_start(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "wait.toml")
    database = Database(f"sqlite:///{tmp_path / 'broker.db'}")
    try:
        with pytest.raises(ConfigurationError, match=r"wait.toml: not a file"):
            Mappings(database, frozenset({"CT"})).first_import(tmp_path)
    finally:
        database.close()
