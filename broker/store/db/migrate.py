"""Brings a database to the schema of this program, from nothing or from an older version.

`alembic` runs the scripts of `store/migrations`. A database newer than the program is refused.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from broker.errors import ConfigurationError

_SCRIPTS = Path(__file__).parent / "migrations"
_LOCK = 0x6D776C  # advisory lock: two processes starting at once migrate one after the other


def upgrade(engine: Engine) -> bool:
    """Apply what is missing; True if something was. Raises ConfigurationError for a newer database."""
    with engine.connect() as connection:
        if _revision(connection) == newest():
            return False
        connection.rollback()
        _lock(connection)
        try:
            return _apply(connection)
        except Exception:
            connection.rollback()
            if engine.dialect.name == "sqlite" and connection.connection.dbapi_connection.in_transaction:  # type: ignore[union-attr]
                connection.exec_driver_sql("ROLLBACK")
            raise


def is_current(engine: Engine) -> bool:
    """Nothing is missing. Changes nothing."""
    return revision(engine) == newest()


def revision(engine: Engine) -> str | None:
    """The revision of the schema, None for an empty database. Changes nothing."""
    with engine.connect() as connection:
        return _revision(connection)


@cache
def newest() -> str | None:
    """The revision of this program. The scripts are read once for it, which takes a while."""
    return ScriptDirectory.from_config(_config()).get_current_head()


def check_known(found: str | None) -> None:
    """Raise ConfigurationError for a revision of a newer version."""
    known = {revision.revision for revision in ScriptDirectory.from_config(_config()).walk_revisions()}
    if found is not None and found not in known:
        raise ConfigurationError("the database was made by a newer version of the broker")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    return config


def _apply(connection: Connection) -> bool:
    config = _config()
    current = _revision(connection)  # again, under the lock: another process may have been faster
    check_known(current)
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("COMMIT")
    connection.commit()
    return current != newest()


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _lock(connection: Connection) -> None:
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
