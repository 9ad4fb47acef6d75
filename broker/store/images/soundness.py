"""Reads the bytes of received objects again and says whether they are those that were received.

An object is missing (no file), damaged (another length) or altered (another SHA-256). Its deliveries are held for one
of these reasons until it comes again, or its file does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from sqlalchemy import Connection, literal, select, update

from broker.model.lane import JobKind, JobState
from broker.store.images.instances import InstanceState
from broker.store.schema import tables

MISSING, DAMAGED, ALTERED = "file-missing", "file-damaged", "file-altered"
FILE_FAULTS = (MISSING, DAMAGED, ALTERED)
_PIECE = 1 << 20  # bytes read at once
_t, _content, _job = tables.instance, tables.content, tables.job


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBytes:
    """Where the data set of an object lies (bytes), and the SHA-256 of its reception. `content`: in the database."""

    id: int
    path: str
    data_offset: int
    data_length: int
    digest: bytes
    content: bytes | None


def stored_bytes(connection: Connection, after: int, limit: int) -> list[StoredBytes]:
    """The next objects behind a row whose bytes the broker keeps."""
    columns = (_t.c.id, _t.c.path, _t.c.data_offset, _t.c.data_length, _t.c.digest, _content.c.data.label("content"))
    query = (
        select(*columns)
        .join(_content, _content.c.instance == _t.c.id, isouter=True)
        .where(_t.c.id > after, _t.c.state != InstanceState.PURGED)
        .order_by(_t.c.id)
        .limit(limit)
    )
    return [StoredBytes(**row) for row in connection.execute(query).mappings()]


def kept_files(connection: Connection, after: int, limit: int) -> list[StoredBytes]:
    """The next objects behind a row whose bytes the broker keeps in a file."""
    query = (
        select(_t.c.id, _t.c.path, _t.c.data_offset, _t.c.data_length, _t.c.digest, literal(None).label("content"))
        .where(_t.c.id > after, _t.c.state != InstanceState.PURGED, _t.c.path != "")
        .order_by(_t.c.id)
        .limit(limit)
    )
    return [StoredBytes(**row) for row in connection.execute(query).mappings()]


def fault_of(root: Path, item: StoredBytes) -> str:
    """What is wrong with the bytes of an object whose file stands below `root`; empty for nothing. Raises OSError."""
    if item.content is not None:
        return "" if sha256(item.content).digest() == item.digest else ALTERED
    if not item.path:
        return MISSING
    digest, left = sha256(), item.data_length
    try:
        with (root / item.path).open("rb") as file:
            if file.seek(0, 2) != item.data_offset + item.data_length:
                return DAMAGED
            file.seek(item.data_offset)
            while left and (piece := file.read(min(left, _PIECE))):
                digest.update(piece)
                left -= len(piece)
    except FileNotFoundError:
        return MISSING
    return DAMAGED if left else "" if digest.digest() == item.digest else ALTERED


def hold_spoiled(connection: Connection, faults: Sequence[tuple[int, str]]) -> int:
    """Hold the deliveries of some objects (row, fault) that nobody has begun to send; how many."""
    return sum(
        connection.execute(
            update(_job)
            .where(_job.c.kind == JobKind.DELIVER, _job.c.subject == row, _job.c.state == JobState.READY)
            .values(state=JobState.HELD, last_error=fault)
        ).rowcount
        for row, fault in faults
    )
