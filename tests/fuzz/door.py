"""What the doors of HL7 and HTTP have in common in memory: a loop, and a database that is made anew now and then."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from shutil import copyfile

from broker.store.db.database import Database
from fuzz.inline import InlineDatabase, InlineLoop


class Door(ABC):
    """`serve` builds a door on a database; `count_case` before each case."""

    NAME = ""
    FRESH = 0  # cases on one database, which should not grow for hours; 0: all of them

    def __init__(self, folder: Path) -> None:
        """Databases are made in `folder`."""
        self.loop = InlineLoop()
        self.cases = 0
        self._file = folder / f"{self.NAME}.db"
        self._template = folder / f"template-{self.NAME}.db"
        Database(f"sqlite:///{self._template}").close()
        self._database = self._opened()

    @abstractmethod
    def serve(self, database: InlineDatabase) -> None:
        """Build the door."""

    def count_case(self) -> int:
        """Count one more case, and go on with an empty database when it is time; the number of the case."""
        self.cases += 1
        if self.FRESH and self.cases % self.FRESH == 0:
            self._database.close()
            self._database = self._opened()
        return self.cases

    @abstractmethod
    def warm(self) -> None:
        """Run a case that opens what stays open: connections to the database are made as they are first needed."""

    def close(self) -> None:
        """Close the database and the loop."""
        self._database.close()
        self.loop.close()

    def _opened(self) -> Database:
        for file in self._file.parent.glob(f"{self._file.name}*"):
            file.unlink()
        copyfile(self._template, self._file)
        database = Database(f"sqlite:///{self._file}")
        self.serve(InlineDatabase(database, self.loop))
        return database
