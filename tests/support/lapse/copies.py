"""The finished exams of a day once more, many times: copies of the rows that the product wrote, with new numbers.

Times are those of the original. Bytes of messages and data sets are not changed: nothing that deletes reads them.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, String, Table, case, func, insert, literal, or_, select
from sqlmodel import AutoString

from broker.model.lane import JobKind
from broker.store.db.database import Database
from broker.store.schema import tables
from support.lapse.day import token

COPIED = frozenset(
    (
        *("patient", "patient_term", "visit", "heard", "service_request", "requested_procedure", "scheduled_step"),
        *("step_station", "step_name", "step_event", "message", "sent_message", "audit", "mpps", "mpps_message"),
        *("mpps_link", "instance", "content", "study", "study_key", "gathering", "job"),
    )
)
BY_KIND: dict[str, tuple[str, str, dict[str, str]]] = {  # column, that of the kind, and the table of a kind
    "heard": ("subject", "kind", {"patient": "patient", "visit": "visit"}),
    "audit": (
        "object_id",
        "object_kind",
        {"order": "service_request", "patient": "patient", "visit": "visit", "mpps": "mpps"},
    ),
    "job": (
        "subject",
        "kind",
        {
            JobKind.DELIVER: "instance",
            JobKind.FEEDBACK: "step_event",
            JobKind.IMAGES: "requested_procedure",
            JobKind.MPPS: "mpps_message",
        },
    ),
}
NAMED = {
    ("sent_message", "request"): "service_request",
    ("sent_message", "job"): "job",
    ("audit", "patient"): "patient",
    ("patient_term", "patient"): "patient",
}


class Copies:
    """Notes where the tables end before the exams of a day, and copies what stands behind that."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._ordered = [table for table in tables.METADATA.sorted_tables if table.name in COPIED]
        self._marks: dict[str, int] = {}

    def begin(self) -> None:
        """What comes from now on is copied."""
        self._marks = self._database.read(self._ends).result(60)

    def make(self, day: int, count: int) -> None:
        """Copy it so many times; `day` is the number that its token has."""
        if count:
            self._database.submit(self._copy, day, count).result(3600)

    def _ends(self, connection: Connection) -> dict[str, int]:
        return {
            table.name: connection.execute(select(func.coalesce(func.max(table.c.id), 0))).scalar_one()
            for table in self._ordered
            if "id" in table.c
        }

    def _copy(self, connection: Connection, day: int, count: int) -> None:
        ends = self._ends(connection)
        for table in self._ordered:
            self._copy_table(connection, table, ends, day, count)
        if connection.dialect.name == "postgresql":
            for name, end in self._ends(connection).items():
                if end:
                    connection.execute(select(func.setval(func.pg_get_serial_sequence(name, "id"), end)))

    def _copy_table(self, connection: Connection, table: Table, ends: dict[str, int], day: int, count: int) -> None:
        numbers = select(literal(1).label("copy")).cte(f"numbers_{table.name}", recursive=True)
        numbers = numbers.union_all(select(numbers.c.copy + 1).where(numbers.c.copy < count))
        copy: ColumnElement[int] = numbers.c.copy
        fresh = literal(token(day)[:6]).op("||")(func.substr(func.cast(10000 + copy, String), 2))
        values = [self._value(column, copy, fresh, ends, day) for column in table.c]
        query = (
            select(*values)
            .select_from(table.join(numbers, literal(1) == literal(1)))
            .where(self._today(table, ends, day))
        )
        connection.execute(
            insert(table).from_select(list(table.c.keys()), query.order_by(copy, *table.primary_key.columns))
        )

    def _today(self, table: Table, ends: dict[str, int], day: int) -> ColumnElement[bool]:
        """The rows of today that are no copies."""
        if table.name == "gathering":
            study: ColumnElement[bool] = table.c.study_instance_uid.startswith(f"2.999.7.{token(day)}")
            return study
        if "id" in table.c:
            return (table.c.id > self._marks[table.name]) & (table.c.id <= ends[table.name])
        if table.name in BY_KIND:
            subject, kind, of = BY_KIND[table.name]
            return or_(*(
                (table.c[kind] == value) & (table.c[subject] > self._marks[name]) & (table.c[subject] <= ends[name])
                for value, name in of.items()
            ))  # fmt: skip
        column, name = next((column, name) for column in table.primary_key if (name := _target(column)))
        return (column > self._marks[name]) & (column <= ends[name])

    def _value(
        self, column: Column[Any], copy: ColumnElement[int], fresh: Any, ends: dict[str, int], day: int
    ) -> ColumnElement[Any]:
        table = column.table.name
        if column.name == "id":
            return self._moved(column, table, copy, ends)
        if table in BY_KIND and column.name == BY_KIND[table][0]:
            _, kind, of = BY_KIND[table]
            moves = [
                (column.table.c[kind] == value, self._moved(column, name, copy, ends)) for value, name in of.items()
            ]
            return case(*moves, else_=column)
        if name := _target(column):
            return self._moved(column, name, copy, ends)
        if isinstance(column.type, String | AutoString):
            return func.replace(column, token(day), fresh)
        return column

    def _moved(
        self, column: Column[Any], table: str, copy: ColumnElement[int], ends: dict[str, int]
    ) -> ColumnElement[Any]:
        """The number of the copy of a row; a row of before has none."""
        mark = self._marks[table]
        return case((column > mark, column + copy * (ends[table] - mark)), else_=column)


def _target(column: Column[Any]) -> str:
    """The table whose rows a column names; empty for none."""
    keys = [key.column.table.name for key in column.foreign_keys]
    return keys[0] if keys else NAMED.get((column.table.name, column.name), "")
