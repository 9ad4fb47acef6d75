"""Writes the row of a study with its first object, and what people find it by with the first object that says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, select
from sqlalchemy.dialects import postgresql, sqlite

from broker.store.db.prepared import Prepared
from broker.store.schema import tables

LONGEST = 64  # characters: what PS3.5 6.2 allows the values that are kept
_FIELDS = ("tag.PatientID", "tag.AccessionNumber", "tag.Modality")
_t, _key = tables.study, tables.study_key
_NEW: dict[str, Any] = {name: bindparam(name) for name in ("study_instance_uid", "first_at")}
_ADD = Prepared(
    sqlite=sqlite.insert(_t).values(_NEW).on_conflict_do_nothing().returning(_t.c.id),
    postgresql=postgresql.insert(_t).values(_NEW).on_conflict_do_nothing().returning(_t.c.id),
)
_FIND = Prepared(any=select(_t.c.id).where(_t.c.study_instance_uid == bindparam("study_instance_uid")))
_NEW_KEY: dict[str, Any] = {column.name: bindparam(column.name) for column in _key.c}
_ADD_KEY = Prepared(
    sqlite=sqlite.insert(_key).values(_NEW_KEY).on_conflict_do_nothing(),
    postgresql=postgresql.insert(_key).values(_NEW_KEY).on_conflict_do_nothing(),
)
StudyKeys = tuple[str, str, str, str]  # Patient ID, accession number, modality, calling AE title


@dataclass(frozen=True, slots=True)
class StudyArrival:
    """An object of a study (UID) has come, with these keys. Time in seconds since the epoch."""

    study: str
    keys: StudyKeys
    at: float


def add(connection: Connection, arrival: StudyArrival) -> int:
    """Write what is not there yet; the row of the study."""
    added = _ADD.rows(connection, {"study_instance_uid": arrival.study, "first_at": arrival.at})
    row = int((added or _FIND.rows(connection, {"study_instance_uid": arrival.study}))[0][0])
    values = dict(zip(("patient_id", "accession", "modality", "calling_ae"), arrival.keys, strict=True))
    _ADD_KEY.count(connection, {"study": row, **values})
    return row


def keys_of(facts: Mapping[str, Sequence[object]], calling_ae: str) -> StudyKeys:
    """What an object says by which its study is found."""
    patient, accession, modality = ("\\".join(map(str, facts.get(name, ()))) for name in _FIELDS)
    return searchable(patient), searchable(accession), searchable(modality), searchable(calling_ae)


def searchable(value: str) -> str:
    """A value as it is kept and looked for: without what no database takes, and not without end."""
    return "".join(filter(str.isprintable, value)).strip()[:LONGEST]
