"""Damages an SQLite file as a bad disk does."""

from __future__ import annotations

import sqlite3
from pathlib import Path


def damage(file: Path, table: str) -> None:
    """Overwrite the root pages of a table and of its indexes. Nobody may have the file open."""
    connection = sqlite3.connect(file)
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    roots = [page for (page,) in connection.execute("SELECT rootpage FROM sqlite_master WHERE tbl_name = ?", (table,))]
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    with file.open("r+b") as pages:
        for page in filter(None, roots):
            pages.seek((page - 1) * size)
            pages.write(b"\xa5" * size)
