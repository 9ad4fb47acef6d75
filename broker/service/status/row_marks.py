"""Notices at the start that the database is another one than the broker had here: deleted, emptied, or an old copy.

How far the rows have come is kept in a file beside the data. A database with fewer rows has lost some of them, whatever
kind it is of. Without the file (a first start, an earlier version) objects in the spool tell of an empty database.
The alarm stays over restarts until a person has removed the file: only a person can tell that all is there again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from broker import telemetry
from broker.errors import StoreUnavailable
from broker.service.datadir import replace_file
from broker.store.db.database import Database
from broker.store.high_water import MARKS, reached

LOOKED_AT = 5_000  # files of the spool: empty ones are made ahead
UNCLAIMED = "unclaimed"  # folder of the spool for objects without a row: a person knows of them
_LONGEST = 4096  # bytes of the file


class RowMarks:
    """How far the database of a data folder has come, and whether it has lost rows."""

    def __init__(self, folder: Path, database: Database) -> None:
        """`folder`: of the data, in which the spool stands too."""
        self._folder, self._file, self._database = folder, folder / MARKS, database
        self._looked = False
        self.behind = False

    def keep(self) -> None:
        """Compare at first, then keep how far the rows are; while some are missing what was kept stays (blocking).

        Raises StoreUnavailable, OSError.
        """
        rows = self._database.read(reached).result()
        kept, known_behind = self._kept()
        if not self._looked:
            self._looked = True
            lacking = [kind for kind, number in (kept or {}).items() if rows.get(kind, 0) < number]
            if kept is None and not rows["objects"] and self._has_objects():
                lacking = ["objects"]
            self._tell(lacking or (["told-before"] if known_behind else []))
        elif kept is None:  # a person has removed the file: it is good as it is
            self._tell([])
        if not self.behind:
            kept = rows
        self._write(kept or {})

    def keep_at_the_end(self) -> None:
        """As `keep`; a stop without a database or a disk leaves what was kept last, which is as good."""
        try:
            self.keep()
        except (StoreUnavailable, OSError) as error:
            telemetry.logger().warning("store.rows_not_kept", error=telemetry.describe(error))

    def _tell(self, lacking: list[str]) -> None:
        was, self.behind = self.behind, bool(lacking)
        telemetry.STORE_BEHIND.set(self.behind)
        if self.behind:
            telemetry.logger().critical("store.rows_missing", what=" ".join(lacking))
        elif was:
            telemetry.logger().warning("store.rows_accepted")

    def _kept(self) -> tuple[dict[str, int] | None, bool]:
        """What was kept, None for nothing, and whether rows were missing then."""
        try:
            with self._file.open(encoding="ascii") as file:
                document = json.loads(file.read(_LONGEST))
            rows = {str(kind): int(number) for kind, number in document["rows"].items()}
            return rows, bool(document["behind"])
        except FileNotFoundError:
            return None, False
        except (ValueError, KeyError, TypeError, AttributeError):
            telemetry.logger().warning("store.rows_unreadable", path=str(self._file))
            return {}, False

    def _write(self, rows: dict[str, int]) -> None:
        replace_file(self._file, json.dumps({"rows": rows, "behind": self.behind}) + "\n")

    def _has_objects(self) -> bool:
        """The spool holds an object that nobody has set aside, among the first files that are met."""
        return any(file.stat().st_size for file in islice(self._files(), LOOKED_AT))

    def _files(self) -> Iterator[Path]:
        for folder, folders, names in os.walk(self._folder / "spool"):
            folders[:] = [name for name in folders if name != UNCLAIMED]
            yield from (Path(folder, name) for name in names if name.endswith(".dcm"))
