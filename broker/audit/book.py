"""Keeps audit rows of what was seen until they are written: an answer waits for no commit.

A change writes its audit row in its own transaction. A view changes nothing, so its row is written behind, within
seconds, and at the latest at an orderly stop; if the database is away then, into a file for the next start (`kept`).
The book is bounded. When it is full, because the database has been away for long, nothing more may be shown.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import Connection

from broker import telemetry
from broker.audit import kept
from broker.audit.tally import Tally
from broker.errors import StoreUnavailable
from broker.model.audit import AuditRecord
from broker.store.audit.adding import add_audit
from broker.store.db.database import Database
from broker.store.db.pace import Pace

MOST = 10_000  # rows that wait


class AuditFull(StoreUnavailable):
    """The audit trail cannot be written now, so nothing of patients can be shown."""

    code = "audit-full"


class AuditBook:
    """The audit rows of one process that wait to be written. Its methods may be called in any thread."""

    def __init__(self, database: Database) -> None:
        self._pace = Pace(database)
        self._lock = threading.Lock()
        self._flushing = threading.Lock()
        self._waiting: deque[AuditRecord] = deque()
        self._files: list[Path] = []  # their rows are among those that wait
        self.tally = Tally()  # what devices do

    def check_room(self) -> None:
        """Raise AuditFull if no further row can wait: ask before anything is shown."""
        if len(self._waiting) >= MOST:
            raise AuditFull

    def add(self, record: AuditRecord) -> None:
        """Note what was seen. It is written with the next `flush`."""
        with self._lock:
            self._waiting.append(record)

    def flush(self, *, everything: bool = False) -> None:
        """Write what waits, in small steps (blocking); `everything`: also what is still being counted.

        Raises StoreUnavailable: what is not written waits on.
        """
        with self._flushing:
            whole = False
            while not whole:
                with self._lock:
                    room = len(self._waiting) < MOST  # else the tally keeps what it has
                    if room:
                        self._waiting.extend(self.tally.due(everything=everything))
                    waiting, files = list(self._waiting), list(self._files)
                for written in self._pace.write(_write, waiting):
                    with self._lock:
                        for _ in range(written):
                            self._waiting.popleft()
                whole = room or not everything
            for file in files:
                file.unlink(missing_ok=True)
                self._files.remove(file)

    def take_up(self, folder: Path) -> None:
        """Let the rows wait that earlier processes have kept in the data directory."""
        for file in reversed(kept.files_of(folder)):
            try:
                records = kept.read(file)
            except (OSError, ValueError) as error:
                telemetry.logger().error("audit.kept_not_read", path=str(file), error=telemetry.describe(error))
                continue
            with self._lock:
                self._waiting.extendleft(reversed(records))
                self._files.append(file)

    def close(self, folder: Path) -> None:
        """Write all that waits, or keep it in the data directory while the database is away (blocking)."""
        try:
            self.flush(everything=True)
        except StoreUnavailable as error:
            telemetry.logger().error("audit.not_written", error=telemetry.describe(error))
            with self._lock:
                waiting, files = [*self._waiting, *self.tally.due(everything=True)], self._files
            try:
                kept.keep(folder, waiting)
                telemetry.logger().warning("audit.kept", count=len(waiting))
            except OSError as trouble:
                telemetry.logger().error("audit.not_kept", error=telemetry.describe(trouble))
                return
            for file in files:  # its rows stand in the new one
                file.unlink(missing_ok=True)


def _write(connection: Connection, records: Sequence[AuditRecord]) -> int:
    for one in records:
        add_audit(
            connection,
            one.at,
            one.actor,
            one.action,
            one.kind,
            one.object_id,
            one.detail,
            address=one.address,
            patient=one.patient,
        )
    return len(records)
