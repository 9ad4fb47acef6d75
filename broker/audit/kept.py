"""Keeps audit rows in a file of the data directory when the database is away as the broker stops.

The next start takes them up. A file is deleted once its rows are in the database: after a crash in between they would
stand there twice, but none is lost.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from broker.model.audit import AuditRecord

_NAME = "audit-waiting-"  # and when (ns), and the process: in a container that is always the same


def keep(folder: Path, records: Sequence[AuditRecord]) -> None:
    """Write rows into a file that only our user reads. Raises OSError."""
    file = folder / f"{_NAME}{time.time_ns()}-{os.getpid()}"
    part = file.with_suffix(".part")
    with os.fdopen(os.open(part, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "w", encoding="ascii") as out:
        for record in records:
            out.write(json.dumps(asdict(record)) + "\n")
        out.flush()
        os.fsync(out.fileno())
    part.replace(file)


def files_of(folder: Path) -> list[Path]:
    """The files that earlier processes have kept, the oldest first."""
    return sorted(file for file in folder.glob(f"{_NAME}*") if not file.suffix)


def read(file: Path) -> list[AuditRecord]:
    """The rows of a file. Raises OSError, and ValueError for one that cannot be understood."""
    try:
        return [AuditRecord(**json.loads(line)) for line in file.read_text(encoding="ascii").splitlines()]
    except TypeError as error:
        raise ValueError(str(error)) from None
