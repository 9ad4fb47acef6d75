"""Finds DICOM files in folders and hands them out in order, with small ones read ahead."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from broker.dicom.dataset import file_pieces, part10
from broker.errors import BadContent
from broker.tools.send_report import SendReport
from broker.whole_files import files_below

SMALL = file_pieces.PIECE  # bytes; longer ones are streamed
BATCH_FILES, BATCH_BYTES = 64, 4 * 1024 * 1024  # read at once; two batches are in memory at most
DIRECTORY = "1.2.840.10008.1.3.10"  # Media Storage Directory: DICOMDIR is no object to send


@dataclass(frozen=True, slots=True)
class DicomFile:
    """A file to send."""

    path: str
    header: part10.FileHeader

    @property
    def pair(self) -> tuple[str, str]:
        """SOP class and transfer syntax."""
        return self.header.sop_class, self.header.transfer_syntax


Loaded = tuple[DicomFile, "bytes | Exception | None"]  # None: to be streamed


def find(paths: Iterable[Path], report: SendReport, progress: Callable[[], None]) -> list[DicomFile]:
    """DICOM files of these paths, folders with all that is in them, in order of their names; the rest is counted."""
    files: list[DicomFile] = []

    def missed(folder: str, why: str) -> None:
        report.files += 1  # or all would be well
        report.fail(folder, f"cannot be read: {why}")

    for path in files_below(paths, missed):
        progress()
        try:
            header = part10.read(path)
        except (BadContent, OSError) as error:
            report.files += 1
            report.fail(path, reason(error))
            continue
        if header is None or header.sop_class == DIRECTORY:
            report.not_dicom += 1
            continue
        report.files += 1
        report.bytes += header.length
        files.append(DicomFile(path, header))
    return files


def reason(error: Exception) -> str:
    """Why a file cannot be read."""
    if isinstance(error, OSError):
        return f"cannot be read: {error.strerror or type(error).__name__}"
    return str(error)


class Supply:
    """Hands out files to those who send; reads small ones ahead, many in one hop into a thread."""

    def __init__(self, files: Sequence[DicomFile]) -> None:
        self._files = deque(files)
        self._ready: deque[Loaded] = deque()
        self._coming: asyncio.Future[list[Loaded]] | None = None

    @property
    def left(self) -> int:
        """Files not handed out."""
        return len(self._files) + len(self._ready)

    async def take(self) -> Loaded | None:
        """The next file, None at the end."""
        while not self._ready:
            if not self._files:
                return None
            coming = self._fetch()
            loaded = await asyncio.shield(coming)
            if coming is self._coming:  # nobody else who waited has taken it over
                self._coming = None
                self._ready.extend(loaded)
                for _ in loaded:
                    self._files.popleft()
        first = self._ready.popleft()
        if self._files and len(self._ready) < BATCH_FILES // 2:
            self._fetch()
        return first

    def _fetch(self) -> asyncio.Future[list[Loaded]]:
        """What is read now; begins to read the next files if that is nothing."""
        if self._coming is None:
            batch: list[DicomFile] = []
            size = 0
            for file in self._files:
                if batch and (len(batch) == BATCH_FILES or size + _memory(file) > BATCH_BYTES):
                    break
                batch.append(file)
                size += _memory(file)
            self._coming = asyncio.get_running_loop().run_in_executor(None, _load, batch)
        return self._coming


def _memory(file: DicomFile) -> int:
    return file.header.length if file.header.length <= SMALL else 0


def _load(batch: Sequence[DicomFile]) -> list[Loaded]:
    loaded: list[Loaded] = []
    for file in batch:
        header = file.header
        data: bytes | Exception | None = None
        if header.length <= SMALL:
            try:
                data = file_pieces.piece(file.path, header.offset, header.length)
                data += file_pieces.padding(header.length, header.transfer_syntax)
            except (BadContent, OSError) as error:
                data = error
        loaded.append((file, data))
    return loaded
