"""The data directory: who it is in leases, and when it was last in use."""

from __future__ import annotations

import errno
import time
from pathlib import Path

import pytest

from broker.errors import Unavailable
from broker.service.datadir import DataDirectory


def owner(path: Path) -> tuple[str, str]:
    """Identity and start, as one start of a broker has them."""
    data = DataDirectory(path)
    try:
        identity, _, start = data.owner().partition(":")
    finally:
        data.close()
    return identity, start


def test_each_start_of_a_directory_has_its_identity_and_a_number(tmp_path: Path) -> None:
    first, other = owner(tmp_path / "a"), owner(tmp_path / "b")
    assert [owner(tmp_path / "a") for _ in range(2)] == [(first[0], "2"), (first[0], "3")]
    assert first[0] != other[0]
    assert (first[1], other[1]) == ("1", "1")


def test_the_clock_of_the_last_use_is_kept(tmp_path: Path) -> None:
    data = DataDirectory(tmp_path)
    try:
        assert data.last_clock() is None
        data.keep_clock()
        assert data.last_clock() == pytest.approx(time.time(), abs=60)
        for left in (b"", b"nan", b"inf", b"\xff", b"yesterday"):
            (tmp_path / "last-clock").write_bytes(left)
            assert data.last_clock() is None
    finally:
        data.close()


@pytest.mark.parametrize("left", [b"", b"\xff\xfe", b"pacs:1\n", b"0" * 40])
def test_a_damaged_identity_is_made_anew(tmp_path: Path, left: bytes) -> None:
    (tmp_path / "identity").write_bytes(left)
    identity, start = owner(tmp_path)
    assert (len(identity), start) == (32, "1")
    assert owner(tmp_path) == (identity, "2")


def test_a_directory_that_cannot_be_written_has_another_owner_for_each_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = owner(tmp_path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("broker.service.datadir.replace_file", full)
    starts = [owner(tmp_path) for _ in range(2)]
    assert [identity for identity, _ in starts] == [known[0]] * 2
    assert len({known[1], *(start for _, start in starts)}) == 3


def sealing(path: Path) -> bytes:
    """The key that seals secrets, as one start of a broker has it."""
    data = DataDirectory(path)
    try:
        return data.seal_key()
    finally:
        data.close()


def test_the_key_that_seals_secrets_stays(tmp_path: Path) -> None:
    key = sealing(tmp_path)
    assert (len(key), sealing(tmp_path), (tmp_path / "seal.key").read_bytes()) == (32, key, key)
    assert (tmp_path / "seal.key").stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "seal.new").exists()


@pytest.mark.parametrize("left", [b"", b"short", b"x" * 33])
def test_a_damaged_key_of_secrets_is_not_replaced(tmp_path: Path, left: bytes) -> None:
    (tmp_path / "seal.key").write_bytes(left)
    with pytest.raises(Unavailable):
        sealing(tmp_path)
    assert (tmp_path / "seal.key").read_bytes() == left


def test_a_key_of_secrets_is_kept_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("broker.service.datadir.os.fsync", full)
        with pytest.raises(Unavailable):
            sealing(tmp_path)
    assert not (tmp_path / "seal.key").exists()
    assert len(sealing(tmp_path)) == 32
