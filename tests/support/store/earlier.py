"""Makes the database and the spool that an earlier version of the broker left behind."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

from alembic import command
from sqlalchemy import Connection, text

from broker.store.db import migrate
from broker.store.db.engine import open_engine
from support.store.earlier_objects import At, data_set
from support.store.earlier_rows import LARGE_FILE, LARGE_HEADER, ROWS

REVISION = "0018"
AGO = 600.0  # seconds between the start of the recording and now


def leave(database_url: str, data: Path, *, pacs: int, ris: int) -> None:
    """Write database and spool as the earlier version left them; `pacs` and `ris` are ports on this host."""
    large = data / "spool" / LARGE_FILE
    large.parent.mkdir(parents=True)
    large.write_bytes(LARGE_HEADER + data_set(2, 40_000, "CT"))
    engine = open_engine(database_url)
    try:
        _upgrade(engine)
        start = time.time() - AGO
        with engine.begin() as connection:
            for table, (columns, *rows) in ROWS.items():
                _insert(connection, table, columns.split(), rows, start, {"@pacs": str(pacs), "@ris": str(ris)})
    finally:
        engine.dispose()


def _upgrade(engine: Any) -> None:
    """Bring an empty database to the schema of that version."""
    real = command.upgrade
    with patch.object(migrate.command, "upgrade", lambda config, _: real(config, REVISION)):
        migrate.upgrade(engine)


def _insert(
    connection: Connection, table: str, columns: list[str], rows: list[Any], start: float, ports: dict[str, str]
) -> None:
    names = ", ".join(f'"{column}"' for column in columns)
    marks = ", ".join(f":{column}" for column in columns)
    for row in rows:
        values = {column: _value(value, start, ports) for column, value in zip(columns, row, strict=True)}
        if table == "lane":
            values["open_until"] = start  # the next try is due
        values |= {name: bool(values[name]) for name in ("accepted", "held") if name in values}
        connection.execute(text(f'INSERT INTO "{table}" ({names}) VALUES ({marks})'), values)
    if "id" in columns and connection.dialect.name == "postgresql":
        number = f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), (SELECT max(id) FROM \"{table}\"))"
        connection.execute(text(number))


def _value(value: Any, start: float, ports: dict[str, str]) -> Any:
    if isinstance(value, At):
        return start + value.seconds
    if isinstance(value, str):
        for mark, port in ports.items():
            value = value.replace(mark, port)
    return value
