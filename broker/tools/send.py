"""Sends DICOM files to a node over one or several associations, each object in its own transfer syntax."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence

from broker.dicom.association.pool import Lease, Pair, Pool
from broker.dicom.association.user import Remote
from broker.dicom.dataset import file_pieces
from broker.dicom.dimse import status as st
from broker.dicom.dimse import words
from broker.dicom.dimse.message import Data
from broker.dicom.wire.negotiation import MAX_CONTEXTS
from broker.errors import BadContent, PeerFault
from broker.tools.files import DicomFile, Loaded, Supply, reason
from broker.tools.send_report import SendReport

GIVE_UP = 3  # associations that ended with an object in flight, one after the other
FAREWELL = 2.0  # seconds in which a node may see that we abort
REFRESH = 0.1  # seconds between two looks at the report


async def send(
    remote: Remote, files: Sequence[DicomFile], report: SendReport, *, associations: int, progress: Callable[[], None]
) -> None:
    """Send all files and note in the report what became of each; `progress` is called ten times a second.

    When it is cancelled it aborts its associations; the report is right up to that moment.
    """
    report.began = time.monotonic()
    ticking = asyncio.get_running_loop().create_task(_tick(progress))
    pool = Pool(lambda: remote, limit=associations)
    try:
        for pairs, members in _groups(files):
            sending = _Sending(pool, pairs, Supply(members), report)
            await sending.run(min(associations, len(members)))
        await pool.close()
    except asyncio.CancelledError:
        report.interrupted = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL):
                await pool.close()
        raise
    finally:
        report.ended = time.monotonic()
        ticking.cancel()


async def _tick(progress: Callable[[], None]) -> None:
    while True:
        progress()
        await asyncio.sleep(REFRESH)


def _groups(files: Sequence[DicomFile]) -> list[tuple[list[Pair], list[DicomFile]]]:
    """Files by what fits into one association: 128 pairs of SOP class and transfer syntax."""
    number: dict[Pair, int] = {}
    for file in files:
        number.setdefault(file.pair, len(number))
    pairs = list(number)
    groups = [(pairs[i : i + MAX_CONTEXTS], list[DicomFile]()) for i in range(0, len(pairs), MAX_CONTEXTS)]
    for file in files:
        groups[number[file.pair] // MAX_CONTEXTS][1].append(file)
    return groups


class _Sending:
    """Files of one group on their way."""

    def __init__(self, pool: Pool, pairs: Sequence[Pair], supply: Supply, report: SendReport) -> None:
        self._pool = pool
        self._pairs = pairs
        self._supply = supply
        self._report = report
        self._further = 0  # associations to open once one stands
        self._failed_in_a_row = 0
        self._trouble = ""

    async def run(self, associations: int) -> None:
        """Send until nothing is left, or nobody can send any more."""
        if self._report.trouble:  # in an earlier group
            self._report.unsent += self._supply.left
            return
        self._further = associations - 1
        async with asyncio.TaskGroup() as group:
            group.create_task(self._work(group))
        if self._supply.left:
            self._report.unsent += self._supply.left
            self._report.trouble = self._trouble

    async def _work(self, group: asyncio.TaskGroup) -> None:
        """Send over one association; over a new one when it ends early and the node still takes objects."""
        while self._supply.left and self._failed_in_a_row < GIVE_UP:
            sending = False
            try:
                async with self._pool.lease(self._pairs) as lease:
                    sending = True
                    while self._further:  # only now: a node that is away or full is not to be asked many times at once
                        self._further -= 1
                        group.create_task(self._work(group))
                    while (loaded := await self._supply.take()) is not None:
                        await self._send_one(lease, loaded)
            except PeerFault as error:
                self._trouble = words.failure(error)
                if not sending:
                    return  # away, or it wants no more associations: those that stand go on
                self._failed_in_a_row += 1
            except (BadContent, OSError):
                continue  # a file that ended before its length; half an object can only be aborted

    async def _send_one(self, lease: Lease, loaded: Loaded) -> None:
        file, data = loaded
        if isinstance(data, Exception):
            self._report.fail(file.path, reason(data))
            return
        header = file.header

        def source() -> Data:
            return data if data is not None else self._stream(file)

        try:
            response = await lease.store(file.pair, header.sop_instance, source)
        except PeerFault as error:
            self._report.fail(file.path, words.failure(error))
            raise
        except (BadContent, OSError) as error:
            self._report.fail(file.path, reason(error))
            raise
        self._failed_in_a_row = 0
        self._report.moved += len(data or b"")
        if response is None:
            self._report.lack_context(file.path)
        elif st.is_success_or_warning(response.status):
            self._report.arrived(header.length, response.status)
        else:
            self._report.refuse(file.path, response.status)

    async def _stream(self, file: DicomFile) -> AsyncIterator[bytes]:
        header = file.header
        async for piece in file_pieces.stream(file.path, header.offset, header.length, header.transfer_syntax):
            yield piece
            self._report.moved += len(piece)
