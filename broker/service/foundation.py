"""Builds what every process of the broker stands on: database, spool, and the nodes and rules in force."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sqlalchemy import Connection

from broker import telemetry
from broker.audit.book import AuditBook
from broker.errors import StoreUnavailable
from broker.orders.core.lifecycle import OPEN
from broker.routing.drafts.four_eyes import permit_of
from broker.routing.rules.ruleset import RuleSet
from broker.routing.site import Site, UseNodes, first_import, site_in_force
from broker.settings import Settings
from broker.site.contacts import ContactBook
from broker.site.directory import Directory
from broker.store.db.database import Database
from broker.store.images import spool_owner
from broker.store.images.spool import Spool
from broker.store.room import DiskRoom, Marks, Reserve
from broker.store.worklist.candidates import Criteria, search
from broker.versions.in_force import InForce

PROBED = 20  # steps that a health check reads


@dataclass(frozen=True, slots=True, kw_only=True)
class Foundation:
    """The parts that all other parts of a process use. `log_key` keys the hashes of identifiers and queries."""

    settings: Settings
    database: Database
    spool: Spool
    directory: Directory
    contacts: ContactBook
    site: InForce[Site]
    log_key: bytes
    reserve: Reserve  # of the SQLite database
    audit: AuditBook  # what is to be written behind into the audit trail
    rooms: tuple[DiskRoom, ...]  # of the file systems that objects and the SQLite database stand on

    def rules(self) -> RuleSet:
        """The rules in force just then."""
        return self.site.value.rules

    @property
    def worklist_copy(self) -> Path:
        """Where the copy of the worklist for outages of the database stands."""
        return self.settings.service.data_dir / "worklist-copy.db"


def import_if_writable(first: Callable[[], None], source: Path) -> None:
    """Import what the database lacks; a disk without room keeps the worklist from nobody. Raises ConfigurationError."""
    try:
        first()
    except StoreUnavailable:
        telemetry.logger().error("site.not_imported", path=str(source))


def _opened(url: str, reserve: Reserve) -> Database:
    """The database; with the room of the reserve if it cannot be opened without."""
    try:
        return Database(url)
    except StoreUnavailable:
        if not reserve.give_up():
            raise
        return Database(url)


def _first_steps(connection: Connection) -> None:
    """Ask the worklist as a query does: whether it answers is what health checks and C-ECHO are to know."""
    search(connection, Criteria(statuses=OPEN), None, PROBED)


def lay(
    settings: Settings,
    log_key: bytes,
    stack: ExitStack,
    *,
    verify: Sequence[UseNodes] = (),
    site_file: Path | None = None,
) -> Foundation:
    """Open the database and put the stored nodes and rules in force; `stack` closes what is opened. Blocking.

    Each of `verify` may refuse nodes. What the database lacks yet is imported from `site_file`.

    Raises ConfigurationError (also for what is stored and cannot be used), StoreUnavailable, SpoolUnavailable.
    """
    reserve = Reserve(settings.service.data_dir)
    database = _opened(settings.database_url(), reserve)
    stack.callback(database.close)
    database.question = _first_steps
    marks = Marks(settings.limits.disk_for_large, settings.limits.disk_for_objects, settings.limits.disk_for_orders)
    folder = settings.service.data_dir
    rooms = DiskRoom(folder, "data", marks), DiskRoom(folder / "spool", "spool", marks)
    if database.dialect == "sqlite":
        database.check_room = rooms[0].check_order
    spool_owner.check(database, folder, folder / "spool")
    spool = Spool(folder / "spool", room=rooms[1])
    stack.callback(spool.close)
    audit = AuditBook(database)
    stack.callback(audit.close, folder)
    directory = Directory()
    contacts = ContactBook(database, directory)
    stack.callback(contacts.close)
    site = site_in_force(database, verify, directory.take, permit_of(settings))
    if site_file is not None:
        import_if_writable(partial(first_import, site, site_file), site_file)
    foundation = Foundation(
        settings=settings,
        database=database,
        spool=spool,
        directory=directory,
        contacts=contacts,
        site=site,
        log_key=log_key,
        reserve=reserve,
        audit=audit,
        rooms=rooms,
    )
    foundation.rules()  # what is stored must be usable before anything else begins
    directory.resolve()
    site.follow(partial(directory.resolve, unknown=True))
    return foundation
