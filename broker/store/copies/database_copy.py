"""Copies the whole database to a file as it is at one moment, and puts such a file back into an empty database.

SQLite: in one step of its backup (page by page it would begin anew at each write of the broker). PostgreSQL: by
`pg_dump` and `pg_restore`, which must be on the PATH and not older than the server.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL, Engine, inspect, make_url

from broker.errors import ConfigurationError, StoreUnavailable
from broker.store.db import migrate
from broker.store.db.engine import open_engine

SQLITE, POSTGRESQL = "sqlite", "postgresql"
FILES = {SQLITE: "broker.db", POSTGRESQL: "broker.dump"}  # names of copies
WAIT = 30.0  # seconds for a lock of SQLite, which the broker holds for milliseconds


@dataclass(frozen=True, slots=True)
class Revision:
    """The schema of a database: its revision, and whether it is that of this program."""

    name: str
    current: bool


def kind_of(url: str) -> str:
    """SQLITE or POSTGRESQL, of a URL."""
    return SQLITE if url.startswith("sqlite") else POSTGRESQL


def revision_of(engine: Engine) -> Revision:
    """The revision of a database, without changing it. Raises SQLAlchemyError."""
    found = migrate.revision(engine)
    return Revision(found or "", found == migrate.newest())


def copy_out(url: str, target: Path) -> None:
    """Write a copy of the database to a new file. Others go on writing meanwhile. Raises StoreUnavailable."""
    if kind_of(url) == SQLITE:
        _copy_sqlite(_file_of(url), target)
    else:
        _run("pg_dump", url, "--format=custom", f"--file={target}")


def put_in(url: str, source: Path) -> None:
    """Fill an empty database from a copy. Raises StoreUnavailable."""
    if kind_of(url) == SQLITE:
        target = _file_of(url)
        part = target.with_name(target.name + ".restoring")
        shutil.copyfile(source, part)
        os.chmod(part, 0o600)
        check(SQLITE, part)
        part.replace(target)
    else:
        _run("pg_restore", url, "--exit-on-error", "--single-transaction", str(source))


def is_empty(url: str) -> bool:
    """There is nothing in the database yet. Raises StoreUnavailable, ConfigurationError."""
    if kind_of(url) == SQLITE:
        return not _file_of(url).exists()
    engine = open_engine(url, readers=1)
    try:
        with engine.connect() as connection:
            return not inspect(connection).get_table_names()
    except Exception as error:
        raise StoreUnavailable(f"the database cannot be reached: {type(error).__name__}") from None
    finally:
        engine.dispose()


def check(kind: str, file: Path) -> None:
    """Read a copy as a whole. Raises StoreUnavailable if it is damaged."""
    if kind == POSTGRESQL:
        _call([_program("pg_restore"), "--file=/dev/null", str(file)], {})
        return
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as copy:
            (told,) = copy.execute("PRAGMA integrity_check(1)").fetchone()
    except sqlite3.Error as error:
        raise StoreUnavailable(f"{file}: {error}") from None
    if told != "ok":
        raise StoreUnavailable(f"{file}: the database is damaged")


def _copy_sqlite(source: Path, target: Path) -> None:
    if not source.exists():
        raise StoreUnavailable(f"{source}: there is no database")
    try:
        with (
            closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=rw", uri=True, timeout=WAIT)) as live,
            closing(sqlite3.connect(target)) as copy,
        ):
            live.execute("PRAGMA query_only=ON").close()
            live.backup(copy, pages=-1)
            copy.execute("PRAGMA journal_mode=DELETE").close()  # the copy is one file; who opens it sets what is needed
    except sqlite3.Error as error:
        raise StoreUnavailable(f"the database cannot be copied: {error}") from None


def _file_of(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))


def _run(program: str, url: str, *arguments: str) -> None:
    """Run a program of PostgreSQL on a database. The password goes by its environment, where others do not see it."""
    parsed: URL = make_url(url)
    password = {"PGPASSWORD": parsed.password} if parsed.password else {}
    shown = parsed.set(drivername="postgresql", password=None).render_as_string(hide_password=False)
    usual = ["--no-owner", "--no-privileges", "--no-password", "--dbname", shown]
    _call([_program(program), *usual, *arguments], password)


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise ConfigurationError(f"{name} is not on the PATH: install the client programs of PostgreSQL")
    return found


def _call(command: list[str], more: dict[str, str]) -> None:
    done = subprocess.run(command, env=os.environ | more, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise StoreUnavailable(f"{Path(command[0]).name}: {said[0]}")
