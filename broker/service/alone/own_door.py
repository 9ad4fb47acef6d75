"""Opens the door by which files are adopted while no broker runs."""

from __future__ import annotations

import contextlib

from broker.audit.book import AuditBook
from broker.routing.adopting.one_file import AdoptingDoor, door_of
from broker.routing.reception import Reception
from broker.routing.site import Site
from broker.settings import Settings
from broker.site.directory import Directory
from broker.store.db.database import Database
from broker.store.images import spool_owner
from broker.store.images.spool import Spool
from broker.store.room import DiskRoom, Marks
from broker.versions.in_force import InForce


class OwnDoor:
    """Opens reception and spool when the first file is to go in, and closes them at the end."""

    def __init__(
        self, settings: Settings, database: Database, site: InForce[Site], directory: Directory, book: AuditBook
    ) -> None:
        self._settings = settings
        self._database = database
        self._site = site
        self._directory = directory
        self._book = book
        self._stack = contextlib.ExitStack()

    def open(self) -> AdoptingDoor:
        """The door of the broker that does not run. Raises SpoolUnavailable if the spool is that of another one."""
        settings, limits = self._settings, self._settings.limits
        data = settings.service.data_dir
        spool_owner.check(self._database, data, data / "spool")
        marks = Marks(limits.disk_for_large, limits.disk_for_objects, limits.disk_for_orders)
        spool = Spool(data / "spool", ahead=0, room=DiskRoom(data / "spool", "spool", marks))
        self._stack.callback(spool.close)
        reception = Reception(
            self._database,
            spool,
            lambda: self._site.value.rules,
            settings.zone(),
            lambda: None,
            small=limits.small_object,
            subscribers=self._directory.subscribers,
            tally=self._book.tally,
        )
        return door_of(settings, self._database, reception, spool)

    def close(self) -> None:
        """Close what was opened, and write down what the audit trail counted."""
        self._stack.close()
        self._book.flush(everything=True)
