"""Puts held jobs into a database, for pages that show them."""

from __future__ import annotations

import json
from collections.abc import Mapping

from sqlalchemy import Connection, delete, insert, select, update

from broker.model.lane import JobState
from broker.store import jobs
from broker.store.db.database import Database
from broker.store.jobs import NewJob
from broker.store.schema import tables
from broker.store.studies import registering
from broker.store.studies.registering import StudyArrival
from support.dicom.objects import Encoded, ct_slice


def hold_jobs(database: Database, count: int, lane: str = "deliver:pacs", error: str = "0xA700") -> None:
    """Leave nothing in the queue but so many held jobs of a lane."""

    def put(connection: Connection) -> None:
        connection.execute(delete(tables.job))
        new = [NewJob(kind="deliver", lane=lane, subject=subject, detail={}) for subject in range(count)]
        jobs.enqueue(connection, new, 1_796_094_005.0)
        connection.execute(update(tables.job).values(state=JobState.HELD, last_error=error, failures=3))

    database.submit(put).result(60)


def hold_objects(database: Database, count: int, *, modality: str = "CT") -> None:
    """Leave nothing but so many small objects of one study that no rule matched."""
    data = ct_slice(64, Modality=modality if len(modality) <= 16 else "CT")

    def put(connection: Connection) -> None:
        for table in (tables.job, tables.content, tables.instance, tables.study_key, tables.study):
            connection.execute(delete(table))
        for number in range(count):
            facts = {"assoc.calling_ae": ["CT01"], "tag.Modality": [modality], "time.local": ["2026-12-01T08:00:00"]}
            _hold(connection, number, data, "2.999.66", 1_796_094_005.0 + number, facts)

    database.submit(put).result(60)


def hold_object(database: Database, number: int, at: float, local: str, **attributes: str) -> None:
    """A small object that no rule matched, received by CT01 at a time, which is `local` on the clock of the site."""
    facts = {"assoc.calling_ae": ["CT01"], "time.local": [local]}
    study = attributes.get("StudyInstanceUID", "2.999.66")
    database.submit(_hold, number, ct_slice(64, **attributes), study, at, facts).result(60)


def _hold(
    connection: Connection, number: int, data: Encoded, study: str, at: float, facts: Mapping[str, list[str]]
) -> None:
    values = {
        "sop_instance_uid": f"2.999.66.{number}", "version": 1, "sop_class_uid": data.sop_class,
        "transfer_syntax_uid": data.transfer_syntax, "study_instance_uid": study,
        "series_instance_uid": "2.999.66.0", "calling_ae": "CT01", "called_ae": "BROKER", "peer": "10.0.0.9",
        "path": "", "data_offset": 0, "data_length": len(data.data), "digest": b"x",
        "received_at": at, "state": "held", "reason": "no-rule-matched",
        "rules_version": 0, "trace": "[]", "facts": json.dumps(facts),
    }  # fmt: skip
    row = connection.execute(insert(tables.instance).values(values).returning(tables.instance.c.id)).scalar_one()
    connection.execute(insert(tables.content).values(instance=row, data=data.data))
    registering.add(connection, StudyArrival(study, registering.keys_of(facts, "CT01"), at))


def object_states(database: Database) -> list[str]:
    """The states of all objects, in their order."""
    query = select(tables.instance.c.state).order_by(tables.instance.c.id)
    return database.read(lambda connection: list(connection.execute(query).scalars())).result(20)


def states(database: Database) -> list[str]:
    """The states of all jobs, in their order."""
    query = select(tables.job.c.state).order_by(tables.job.c.id)
    return database.read(lambda connection: list(connection.execute(query).scalars())).result(20)
