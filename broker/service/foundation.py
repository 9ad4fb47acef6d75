"""Builds what every process of the broker stands on: database, spool, and the nodes and rules in force."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from broker.routing.rules import RuleSet
from broker.routing.site import Site, UseNodes, first_import, site_in_force
from broker.settings import Settings
from broker.site.directory import Directory
from broker.store.db.database import Database
from broker.store.images.spool import Spool
from broker.versions.in_force import InForce


@dataclass(frozen=True, slots=True, kw_only=True)
class Foundation:
    """The parts that all other parts of a process use. `log_key` keys the hashes of identifiers and queries."""

    settings: Settings
    database: Database
    spool: Spool
    directory: Directory
    site: InForce[Site]
    log_key: bytes

    def rules(self) -> RuleSet:
        """The rules in force just then."""
        return self.site.value.rules

    @property
    def worklist_copy(self) -> Path:
        """Where the copy of the worklist for outages of the database stands."""
        return self.settings.service.data_dir / "worklist-copy.db"


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
    database = Database(settings.database_url())
    stack.callback(database.close)
    spool = Spool(settings.service.data_dir / "spool")
    stack.callback(spool.close)
    directory = Directory()
    site = site_in_force(database, verify, directory.take)
    if site_file is not None:
        first_import(site, site_file)
    foundation = Foundation(
        settings=settings, database=database, spool=spool, directory=directory, site=site, log_key=log_key
    )
    foundation.rules()  # what is stored must be usable before anything else begins
    directory.resolve()
    site.follow(partial(directory.resolve, unknown=True))
    return foundation
