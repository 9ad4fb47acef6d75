"""The tables of Modality Performed Procedure Steps. `store.schema.tables` has them all."""

from __future__ import annotations

from sqlalchemy import Index, text
from sqlmodel import Field

from broker.store.schema.base import BIG, EMPTY, Base

_WAITS = text("step IS NULL")
_OPEN = text("status = 'COMPLETED' AND compared_at IS NULL")
_NAMED = text("study_instance_uid <> ''")


class MppsRow(Base, table=True):
    """Modality Performed Procedure Step: the state that its messages have made (PS3.4 annex F)."""

    __tablename__ = "mpps"
    __table_args__ = (Index("ix_mpps_compared_at", "updated_at", sqlite_where=_OPEN, postgresql_where=_OPEN),)
    id: int | None = Field(default=None, primary_key=True, sa_type=BIG)
    sop_instance_uid: str = Field(unique=True)
    status: str = Field(index=True)  # model.performed.PerformedStatus
    linking: str = Field(index=True)  # model.performed.Linking
    calling_ae: str  # who sent the N-CREATE
    station: str  # Performed Station AE Title
    modality: str
    started_at: float
    ended_at: float | None
    document: str  # all attributes as set by now, JSON by keyword
    findings: str  # what was wrong and forgiven, JSON list of codes
    revision: int
    created_at: float
    updated_at: float
    # what its scheduled steps are if nothing else is known: STARTED | COMPLETED | SCHEDULED | CANCELED | DISCONTINUED
    outcome: str = Field(default="", sa_column_kwargs=EMPTY)
    attention: str = Field(default="", index=True, sa_column_kwargs=EMPTY)  # why a person must look; empty: no need
    compared_at: float | None = None  # when what it lists was looked for among the objects received


class MppsMessageRow(Base, table=True):
    """An N-CREATE or N-SET as it came, for those it is passed on to and for the repeat of one."""

    __tablename__ = "mpps_message"
    id: int | None = Field(default=None, primary_key=True, sa_type=BIG)
    mpps: int = Field(foreign_key="mpps.id", index=True, sa_type=BIG)
    at: float
    kind: str  # model.performed.MessageKind
    calling_ae: str
    transfer_syntax_uid: str
    data: bytes  # the data set
    digest: bytes  # SHA-256 of it


class MppsLinkRow(Base, table=True):
    """One item of the Scheduled Step Attributes Sequence of an MPPS and the step it means."""

    __tablename__ = "mpps_link"
    # only of what waits: every new order asks, and what is linked is the most by far
    __table_args__ = (
        *(
            Index(f"ix_mpps_link_{name}", name, sqlite_where=_WAITS, postgresql_where=_WAITS)
            for name in ("study_instance_uid", "accession", "requested_procedure_id")
        ),
        # the steps of a study, for rules that wait until it is complete
        Index("ix_mpps_link_study", "study_instance_uid", sqlite_where=_NAMED, postgresql_where=_NAMED),
    )
    mpps: int = Field(foreign_key="mpps.id", primary_key=True, sa_type=BIG)
    position: int = Field(primary_key=True)
    step: int | None = Field(default=None, foreign_key="scheduled_step.id", index=True, sa_type=BIG)
    reason: str  # by which keys it was found, or why it was not
    # of the item, for an order that comes later
    study_instance_uid: str = Field(default="", sa_column_kwargs=EMPTY)
    accession: str = Field(default="", sa_column_kwargs=EMPTY)
    requested_procedure_id: str = Field(default="", sa_column_kwargs=EMPTY)


class KeptBackRow(Base, table=True):
    """A SOP instance that must not go anywhere until a person says so, whenever it comes."""

    __tablename__ = "kept_back"
    sop_instance_uid: str = Field(primary_key=True)
    mpps: int = Field(foreign_key="mpps.id", index=True, sa_type=BIG)
