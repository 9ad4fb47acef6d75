"""Reads files in pieces ahead of the wire: the next piece while the one before is sent."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

from broker.dicom import uids
from broker.errors import BadContent

PIECE = 1024 * 1024  # bytes


def padding(length: int, transfer_syntax: str) -> bytes:
    """PS3.5 A.5: a deflated data set is padded to even length; some writers forget."""
    return b"\0" if length % 2 and transfer_syntax in uids.DEFLATED_SYNTAXES else b""


def piece(path: Path | str, offset: int, length: int) -> bytes:
    """Bytes of a file. Raises OSError, BadContent for a file that has become shorter."""
    with open(path, "rb", buffering=0) as file:
        file.seek(offset)
        return _exactly(file.fileno(), offset, length)


async def stream(path: Path | str, offset: int, length: int, transfer_syntax: str) -> AsyncIterator[bytes]:
    """A data set of any length with two pieces in memory. Raises as `piece`."""
    loop = asyncio.get_running_loop()
    end = offset + length
    descriptor = await loop.run_in_executor(None, os.open, path, os.O_RDONLY | os.O_CLOEXEC)
    ahead = loop.run_in_executor(None, _exactly, descriptor, offset, min(PIECE, length))
    try:
        while offset < end:
            data = await asyncio.shield(ahead)
            offset += len(data)
            if offset < end:
                ahead = loop.run_in_executor(None, _exactly, descriptor, offset, min(PIECE, end - offset))
            yield data
        if odd := padding(length, transfer_syntax):
            yield odd
    finally:
        # not before the reader is done: the number might belong to another file by then
        ahead.add_done_callback(lambda done: _close(descriptor, done))


def _close(descriptor: int, done: asyncio.Future[bytes]) -> None:
    if not done.cancelled():
        done.exception()  # who iterated has seen it, or does not care any more
    os.close(descriptor)


def _exactly(descriptor: int, offset: int, length: int) -> bytes:
    data = os.pread(descriptor, length, offset)
    while len(data) < length:
        more = os.pread(descriptor, length - len(data), offset + len(data))
        if not more:
            raise BadContent("the file has become shorter", code="file-shorter")
        data += more
    return data
