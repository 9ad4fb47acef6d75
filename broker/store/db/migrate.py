"""Brings a database to the schema of this program, from nothing or from an older version.

`alembic` runs the scripts of `store/migrations`. A database newer than the program is refused.
"""

from __future__ import annotations

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
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    script = ScriptDirectory.from_config(config)
    with engine.connect() as connection:
        if _revision(connection) == script.get_current_head():
            return False
        connection.rollback()
        _lock(connection)
        try:
            return _apply(connection, config, script)
        except Exception:
            connection.rollback()
            if engine.dialect.name == "sqlite" and connection.connection.dbapi_connection.in_transaction:  # type: ignore[union-attr]
                connection.exec_driver_sql("ROLLBACK")
            raise


def is_current(engine: Engine) -> bool:
    """Nothing is missing. Changes nothing."""
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    with engine.connect() as connection:
        return _revision(connection) == ScriptDirectory.from_config(config).get_current_head()


def _apply(connection: Connection, config: Config, script: ScriptDirectory) -> bool:
    current = _revision(connection)  # again, under the lock: another process may have been faster
    known = {revision.revision for revision in script.walk_revisions()}
    if current is not None and current not in known:
        raise ConfigurationError("the database was made by a newer version of the broker")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("COMMIT")
    connection.commit()
    return current != script.get_current_head()


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _lock(connection: Connection) -> None:
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
