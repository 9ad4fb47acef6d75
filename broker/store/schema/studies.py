"""The tables of studies of which objects were received. `store.schema.tables` has all tables."""

from __future__ import annotations

from sqlalchemy import Index
from sqlmodel import Field

from broker.store.schema.base import BIG, Base


class StudyRow(Base, table=True):
    """A study by our own number. It stays when the bytes of its objects are deleted."""

    __tablename__ = "study"
    __table_args__ = (Index("ix_study_first_at", "first_at", "id"),)
    id: int | None = Field(default=None, primary_key=True, sa_type=BIG)
    study_instance_uid: str = Field(unique=True)
    first_at: float  # when its first object was received


class StudyKeyRow(Base, table=True):
    """What objects of a study say together of patient, order, modality and sender: one row for all that say the same.

    A study has mostly one. Where objects of two patients came under one UID, it is found by both.
    """

    __tablename__ = "study_key"
    __table_args__ = (
        Index("ix_study_key_patient_id", "patient_id", "study"),
        Index("ix_study_key_accession", "accession", "study"),
    )
    study: int = Field(foreign_key="study.id", primary_key=True, sa_type=BIG)
    patient_id: str = Field(primary_key=True)
    accession: str = Field(primary_key=True)
    modality: str = Field(primary_key=True)
    calling_ae: str = Field(primary_key=True)
