"""The past of a broker: objects that were delivered or purged, their jobs, their files; of any size, in plain SQL."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path

HOURS, FILES = 24, 50  # folders of the spool with files, and files in each
_DAY = 86_400.0
_SMALL = 4  # one object of so many stands in the database


def add_history(connection: sqlite3.Connection, count: int, spool: Path | None = None) -> None:
    """Add `count` objects to an SQLite file. `spool`: the folder that gets files of the youngest of them."""
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("PRAGMA cache_size=-400000")
    for statement in history(count, "randomblob(32)"):
        connection.execute(statement)
    connection.commit()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    if spool is not None:
        _add_files(spool, count, time.time())


def history(count: int, some_bytes: str) -> tuple[str, ...]:
    """Statements that add objects 1 to `count`, each with a done delivery; `some_bytes` is SQL for a digest.

    The older half came 60 days ago and is purged, the others came 20 days ago.
    """
    now = time.time()
    numbers = f"WITH RECURSIVE n(v) AS (SELECT 1 UNION ALL SELECT v + 1 FROM n WHERE v < {count})"
    folder = "'20260101/' || substr(CAST(100 + v % 24 AS VARCHAR), 2)"
    old = f"v <= {count // 2}"
    at = f"{now} + v - CASE WHEN {old} THEN {60 * _DAY} ELSE {20 * _DAY} + {count} END"
    return (
        f"{numbers} INSERT INTO instance (id, sop_instance_uid, version, sop_class_uid, transfer_syntax_uid,"
        " study_instance_uid, series_instance_uid, calling_ae, called_ae, peer, path, data_offset, data_length,"
        " digest, received_at, state, reason, rules_version, trace, facts) SELECT v, '2.25.9' || (1000000 + v), 1,"
        " '1.2.840.10008.5.1.4.1.1.2', '1.2.840.10008.1.2.1', '2.25.8' || (v / 20), '2.25.7' || (v / 10), 'CT01',"
        f" 'BROKER', '10.0.0.7', CASE WHEN v % {_SMALL} = 0 THEN '' ELSE {folder} || '/' || v || '.dcm' END, 300,"
        f" 524288, {some_bytes}, {at}, CASE WHEN {old} THEN 'purged' ELSE 'routed' END, '', 1,"
        ' \'[{"rule": "all", "matched": true, "leaves": [["tag.Modality", "is", "CT", true]]}]\','
        ' \'{"tag.Modality": ["CT"], "assoc.calling_ae": ["CT01"]}\' FROM n',
        f"{numbers} INSERT INTO content (instance, data) SELECT v, {some_bytes} FROM n"
        f" WHERE v % {_SMALL} = 0 AND NOT {old}",
        f"{numbers} INSERT INTO job (kind, lane, subject, detail, state, priority, due_at, attempts, failures,"
        " lease_owner, lease_until, fence, last_error, created_at, done_at) SELECT 'deliver', 'deliver:archive', v,"
        f" '{{\"rules\": [\"all\"], \"rules_version\": 1}}', 'done', 5, {at}, 1, 0, '', 0, 1, '', {at}, {at} + 30"
        " FROM n",
    )


def _add_files(spool: Path, count: int, now: float) -> None:
    """Empty-looking files of known objects, as old as they, in the folders of their hours."""
    for number in range(count, max(0, count - HOURS * FILES), -1):
        if number % _SMALL:
            file = spool / f"20260101/{number % 24:02d}" / f"{number}.dcm"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"x")
            os.utime(file, (now - 20 * _DAY,) * 2)
