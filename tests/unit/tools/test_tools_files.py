"""Files handed out to several senders, read ahead."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from support.dicom.objects import ct_slice
from support.loops import remains, run, until

from broker.dicom.dataset import file_pieces
from broker.tools import files
from broker.tools.files import DicomFile, Supply, find
from broker.tools.send_report import SendReport


def made(tmp_path: Path, count: int, size: int = 64) -> list[DicomFile]:
    tmp_path.mkdir(exist_ok=True)
    for number in range(count):
        (tmp_path / f"{number:04}").write_bytes(ct_slice(size).part10())
    return find([tmp_path], SendReport(), lambda: None)


@pytest.mark.parametrize("takers", [1, 2, 9])
@pytest.mark.parametrize("slow", [False, True])
def test_each_file_is_handed_out_once_and_in_order(tmp_path: Path, takers: int, slow: bool) -> None:
    found = made(tmp_path, 300)
    taken: list[str] = []

    async def take(supply: Supply) -> None:
        while (loaded := await supply.take()) is not None:
            file, data = loaded
            taken.append(file.path)
            assert isinstance(data, bytes)
            assert len(data) == file.header.length
            if slow:  # what was read ahead is ready by then
                await asyncio.sleep(0.001)

    async def work() -> None:
        supply = Supply(found)
        await asyncio.gather(*(take(supply) for _ in range(takers)))
        assert supply.left == 0

    run(work())
    assert taken == [file.path for file in found]


def test_what_was_read_before_it_is_wanted_is_handed_out_at_once(tmp_path: Path) -> None:
    async def work() -> None:
        supply = Supply(made(tmp_path, 70))
        for _ in range(64):
            assert await supply.take() is not None
        coming = supply._coming
        assert coming is not None
        await until(coming.done, "the next ones are read")
        for _ in range(6):
            assert await supply.take() is not None
        assert await supply.take() is None

    run(work(), 10)


def test_memory_is_bounded_and_large_files_are_left_to_be_streamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "BATCH_BYTES", 10_000)
    monkeypatch.setattr(files, "SMALL", 8000)
    found = made(tmp_path / "a", 20, 4000) + made(tmp_path / "b", 3, 9000)

    async def work() -> None:
        supply = Supply(found)
        for number in range(23):
            loaded = await supply.take()
            assert loaded is not None
            assert (loaded[1] is None) == (number >= 20)
            assert sum(len(data) for _, data in supply._ready if isinstance(data, bytes)) <= 10_000

    run(work())


def test_one_that_waits_can_be_cancelled_and_the_others_go_on(tmp_path: Path) -> None:
    found = made(tmp_path, 100)

    async def work() -> None:
        supply = Supply(found)
        waiting = asyncio.ensure_future(supply.take())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        for file in found:
            loaded = await supply.take()
            assert loaded is not None
            assert loaded[0] is file
        assert await supply.take() is None

    run(work())


def test_files_that_vanish_or_shrink_come_as_what_is_wrong(tmp_path: Path) -> None:
    found = made(tmp_path, 3)
    Path(found[0].path).unlink()
    Path(found[2].path).write_bytes(b"")

    async def work() -> None:
        supply = Supply(found)
        seen = [await supply.take() for _ in range(3)]
        wrong = [loaded[1] for loaded in seen if loaded is not None]
        assert isinstance(wrong[0], FileNotFoundError)
        assert isinstance(wrong[1], bytes)
        assert files.reason(wrong[0]) == "cannot be read: No such file or directory"
        assert isinstance(wrong[2], Exception)
        assert files.reason(wrong[2]) == "the file has become shorter"

    run(work())


@pytest.mark.parametrize("size", [0, 1, 999, 1000, 1001, 5000])
def test_a_stream_is_the_file_from_its_offset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(file_pieces, "PIECE", 1000)
    content = bytes(n % 251 for n in range(size + 7))
    (tmp_path / "file").write_bytes(content)

    async def work() -> None:
        got = [piece async for piece in file_pieces.stream(tmp_path / "file", 7, size, "1.2")]
        assert b"".join(got) == content[7:]
        assert all(len(piece) <= 1000 for piece in got)

    run(work())


def test_a_stream_that_is_left_early_closes_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_pieces, "PIECE", 10)
    (tmp_path / "file").write_bytes(bytes(1000))
    closed: list[int] = []
    close = file_pieces.os.close
    monkeypatch.setattr(file_pieces.os, "close", lambda number: (closed.append(number), close(number)))

    async def work() -> None:
        stream = file_pieces.stream(tmp_path / "file", 0, 1000, "1.2")
        assert await anext(stream) == bytes(10)
        await stream.aclose()  # type: ignore[attr-defined]
        await until(lambda: len(closed) == 1, "it is closed")
        await remains(lambda: len(closed) == 1)

    run(work())
