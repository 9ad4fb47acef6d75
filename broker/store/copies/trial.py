"""Restores a copy of a database into a temporary place, as a restore does it, and removes it again.

SQLite: a file of its own in a folder that is given. PostgreSQL: a database of its own on the same server, if its role
may make one (`CREATEDB`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from sqlalchemy import Engine, make_url, text
from sqlalchemy.exc import DBAPIError

from broker.errors import StoreUnavailable, Unavailable
from broker.store.copies import database_copy
from broker.store.db.engine import open_engine

PREFIX = "broker_trial_"  # of a database on PostgreSQL; hex digits of the name of the one that was copied follow
_IN_USE = "55006"  # object_in_use


@contextmanager
def restored(url: str, copy: Path, place: Path) -> Iterator[Engine | None]:
    """A database that was filled from a copy, for as long as the block lasts; None where none may be made.

    `url` is that of the database that was copied, `place` a folder with room. Raises StoreUnavailable if the copy
    cannot be restored, Unavailable while another trial is under way, OSError.
    """
    if database_copy.kind_of(url) == database_copy.POSTGRESQL:
        with _on_server(url, copy) as engine:
            yield engine
        return
    with tempfile.TemporaryDirectory(prefix="trial-", suffix=".part", dir=place) as folder:
        trial = f"sqlite:///{Path(folder).absolute() / 'broker.db'}"
        database_copy.put_in(trial, copy)
        engine = open_engine(trial, readers=1)
        try:
            yield engine
        finally:
            engine.dispose()


@contextmanager
def _on_server(url: str, copy: Path) -> Iterator[Engine | None]:
    name = PREFIX + sha256(str(make_url(url).database).encode()).hexdigest()[:16]
    server = open_engine(url)
    try:
        made = _made(server, name)
        try:
            trial = make_url(url).set(database=name).render_as_string(hide_password=False) if made else ""
            if not trial or not _reached(trial):  # a pool before PostgreSQL may know none but its own databases
                yield None
                return
            database_copy.put_in(trial, copy)
            engine = open_engine(trial, readers=1)
            try:
                yield engine
            finally:
                engine.dispose()
        finally:
            if made:
                _run(server, f"DROP DATABASE {name}")
    finally:
        server.dispose()


def _made(server: Engine, name: str) -> bool:
    """Make an empty database as the one that was copied is; False if the role may make none."""
    may = "SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user"
    how = (
        "SELECT pg_encoding_to_char(encoding), datcollate, datctype FROM pg_database WHERE datname = current_database()"
    )
    try:
        with server.connect() as connection:
            if not connection.execute(text(may)).scalar():
                return False
            encoding, collate, ctype = connection.execute(text(how)).one()
    except DBAPIError as error:
        raise StoreUnavailable(f"the database cannot be reached: {type(error).__name__}") from None
    _run(server, f"DROP DATABASE IF EXISTS {name}")  # a trial that was killed left it
    _run(
        server,
        f"CREATE DATABASE {name} TEMPLATE template0 ENCODING {_quoted(encoding)}"
        f" LC_COLLATE {_quoted(collate)} LC_CTYPE {_quoted(ctype)}",
    )
    return True


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _run(server: Engine, statement: str) -> None:
    """Run a statement that stands in no transaction. Raises StoreUnavailable, Unavailable."""
    try:
        with server.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("SET statement_timeout = 0"))  # files of a database are copied or removed
            try:
                connection.exec_driver_sql(statement)
            finally:
                connection.invalidate()  # nobody gets one without a time-out
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) == _IN_USE:
            raise Unavailable("another trial of a backup is under way", code="backup-locked") from None
        raise StoreUnavailable(f"no database for a trial of the backup: {type(error.orig).__name__}") from None


def _reached(trial: str) -> bool:
    engine = open_engine(trial, readers=1)
    try:
        with engine.connect():
            return True
    except DBAPIError:
        return False
    finally:
        engine.dispose()
