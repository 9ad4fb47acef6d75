"""Puts held jobs into a database, for pages that show them."""

from __future__ import annotations

from sqlalchemy import Connection, delete, select, update

from broker.model.lane import JobState
from broker.store import jobs
from broker.store.db.database import Database
from broker.store.jobs import NewJob
from broker.store.schema import tables


def hold_jobs(database: Database, count: int, lane: str = "deliver:pacs", error: str = "0xA700") -> None:
    """Leave nothing in the queue but so many held jobs of a lane."""

    def put(connection: Connection) -> None:
        connection.execute(delete(tables.job))
        new = [NewJob(kind="deliver", lane=lane, subject=subject, detail={}) for subject in range(count)]
        jobs.enqueue(connection, new, 1_796_094_005.0)
        connection.execute(update(tables.job).values(state=JobState.HELD, last_error=error, failures=3))

    database.submit(put).result(60)


def states(database: Database) -> list[str]:
    """The states of all jobs, in their order."""
    query = select(tables.job.c.state).order_by(tables.job.c.id)
    return database.read(lambda connection: list(connection.execute(query).scalars())).result(20)
