"""The schema. Every table of the product stands here; migrations follow it (a test compares them).

Times are seconds since the epoch (UTC, float). JSON columns are text written by us.
Order documents (`attributes`) map DICOM keywords to Unicode values; nested sequences are lists of such maps.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Index, Integer, MetaData, Table, UniqueConstraint, text
from sqlmodel import Field, SQLModel

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}

BIG: Any = BigInteger().with_variant(Integer(), "sqlite")  # SQLite numbers rows only in an INTEGER key


class _Base(SQLModel):
    metadata = MetaData(naming_convention=NAMING)


class Configuration(_Base, table=True):
    """Nodes and rules as immutable versions; the newest version of a kind is in force."""

    kind: str = Field(primary_key=True)
    version: int = Field(primary_key=True)
    created_at: float
    source: str
    document: str


class Knock(_Base, table=True):
    """Devices that called and are not known, for an admin to admit."""

    ae_title: str = Field(primary_key=True)
    address: str = Field(primary_key=True)
    first_at: float
    last_at: float
    count: int


class Message(_Base, table=True):
    """Journal of received HL7 messages: raw bytes and the answer given."""

    __table_args__ = (
        Index(
            "uq_message_accepted", "sender", "control_id", "digest", unique=True,
            sqlite_where=text("accepted"), postgresql_where=text("accepted"),
        ),
    )  # fmt: skip
    id: int | None = Field(default=None, primary_key=True, sa_type=BIG)
    received_at: float = Field(index=True)
    listener: str
    peer: str
    sender: str
    control_id: str
    message_type: str
    digest: bytes
    raw: bytes
    accepted: bool
    answer_code: str
    answer: bytes
    note: str


class Audit(_Base, table=True):
    """Who did what to which object, and when. Append only."""

    id: int | None = Field(default=None, primary_key=True, sa_type=BIG)
    at: float = Field(index=True)
    actor: str
    action: str
    object_kind: str
    object_id: int = Field(sa_type=BIG)
    detail: str


class Patient(_Base, table=True):
    """A patient under one identifier and issuer."""

    __table_args__ = (UniqueConstraint("patient_id", "issuer"),)
    id: int | None = Field(default=None, primary_key=True, sa_type=BIG)
    patient_id: str
    issuer: str
    attributes: str
    updated_at: float


class ServiceRequest(_Base, table=True):
    """Imaging Service Request: one order as the RIS knows it."""

    __tablename__ = "service_request"
    id: int | None = Field(default=None, primary_key=True, sa_type=BIG)
    patient: int = Field(foreign_key="patient.id", index=True, sa_type=BIG)
    placer_number: str = Field(index=True)
    placer_issuer: str
    filler_number: str = Field(index=True)
    filler_issuer: str
    accession: str = Field(index=True)
    attributes: str
    created_at: float
    updated_at: float


class RequestedProcedure(_Base, table=True):
    """Requested Procedure: owner of one Study Instance UID."""

    __tablename__ = "requested_procedure"
    __table_args__ = (UniqueConstraint("request", "requested_procedure_id"),)
    id: int | None = Field(default=None, primary_key=True, sa_type=BIG)
    request: int = Field(foreign_key="service_request.id", sa_type=BIG)
    requested_procedure_id: str
    study_instance_uid: str = Field(unique=True)
    attributes: str


class ScheduledStep(_Base, table=True):
    """Scheduled Procedure Step with the keys that modalities search by and the whole answer as a document."""

    __tablename__ = "scheduled_step"
    __table_args__ = (
        UniqueConstraint("procedure", "step_id"),
        Index("ix_scheduled_step_start", "status", "start_at"),
    )
    id: int | None = Field(default=None, primary_key=True, sa_type=BIG)
    procedure: int = Field(foreign_key="requested_procedure.id", sa_type=BIG)
    step_id: str
    position: int
    status: str
    status_at: float
    start_at: str  # local wall clock YYYYMMDDHHMMSS
    modality: str
    patient_id: str = Field(index=True)
    patient_name: str = Field(index=True)  # folded, see worklist.match
    accession: str = Field(index=True)
    requested_procedure_id: str = Field(index=True)
    study_instance_uid: str = Field(index=True)
    attributes: str  # of the step alone
    answer: str  # merged document: patient, visit, request, procedure, step
    revision: int
    updated_at: float


class StepStation(_Base, table=True):
    """Scheduled Station AE Titles of a step (VM 1-n), with the start for one indexed search."""

    __tablename__ = "step_station"
    __table_args__ = (Index("ix_step_station_search", "ae_title", "start_at"),)
    step: int = Field(foreign_key="scheduled_step.id", primary_key=True, sa_type=BIG)
    ae_title: str = Field(primary_key=True)
    start_at: str


class StepEvent(_Base, table=True):
    """Event log of steps: each change of status with its cause. Append only."""

    __tablename__ = "step_event"
    id: int | None = Field(default=None, primary_key=True, sa_type=BIG)
    step: int = Field(foreign_key="scheduled_step.id", index=True, sa_type=BIG)
    at: float
    before: str  # status, empty for a new step
    after: str
    cause: str  # `order:CA`
    actor: str


class Appointment(_Base, table=True):
    """An appointment of one order: which steps it has booked, or what is to be booked when the order comes."""

    id: int | None = Field(default=None, primary_key=True, sa_type=BIG)
    at: float = Field(index=True)  # of the last message
    sender: str
    number: str
    request: int | None = Field(default=None, foreign_key="service_request.id", index=True, sa_type=BIG)
    state: str  # booked | off
    event: str  # S12
    filler_number: str = Field(index=True)
    filler_issuer: str
    placer_number: str = Field(index=True)
    placer_issuer: str
    patient_id: str
    issuer: str
    start_at: str  # local wall clock YYYYMMDDHHMMSS
    steps: str  # rows of steps, JSON
    slots: str  # services with their attributes, JSON
    sent_from: float  # the earliest moment that MSH-7 of the last message can mean; 0: unknown


class Instance(_Base, table=True):
    """A received SOP Instance. Same UID with other bytes is a new version, never an overwrite."""

    __table_args__ = (UniqueConstraint("sop_instance_uid", "version"),)
    id: int | None = Field(default=None, primary_key=True, sa_type=BIG)
    sop_instance_uid: str
    version: int
    sop_class_uid: str
    transfer_syntax_uid: str
    study_instance_uid: str = Field(index=True)
    series_instance_uid: str
    calling_ae: str
    called_ae: str
    peer: str
    path: str  # below the spool, made of our own names; empty: the data set is in `content`
    data_offset: int  # where the data set starts in the file
    data_length: int = Field(sa_type=BIG)
    digest: bytes  # SHA-256 of the data set bytes
    received_at: float = Field(index=True)
    state: str = Field(index=True)  # routed | held | discarded | purged
    reason: str
    rules_version: int
    trace: str  # per rule and leaf: what was seen, why it matched or not
    facts: str


class Content(_Base, table=True):
    """The data set of a small object: one commit makes it durable, where a file would need three syncs."""

    instance: int = Field(foreign_key="instance.id", primary_key=True, sa_type=BIG)
    data: bytes


class Job(_Base, table=True):
    """One piece of work for one lane. Delivery has one row per instance and destination."""

    __table_args__ = (
        UniqueConstraint("kind", "lane", "subject"),
        Index(
            "ix_job_due", "lane", "due_at", "id",
            sqlite_where=text("state = 'ready'"), postgresql_where=text("state = 'ready'"),
        ),
        Index(
            "ix_job_lease", "lease_until",
            sqlite_where=text("state = 'leased'"), postgresql_where=text("state = 'leased'"),
        ),
        Index(
            "ix_job_group", "lane", "group_key", "id",
            sqlite_where=text("group_key is not null"), postgresql_where=text("group_key is not null"),
        ),
        Index("ix_job_state", "state", "lane"),
    )  # fmt: skip
    id: int | None = Field(default=None, primary_key=True, sa_type=BIG)
    kind: str
    lane: str
    subject: int = Field(sa_type=BIG)  # id of what the kind works on
    group_key: str | None  # jobs of one group and lane run in order of id
    detail: str
    state: str  # ready | leased | done | held | discarded
    priority: int
    due_at: float
    attempts: int  # counted at claim, so that a job which kills the process is counted
    failures: int  # faults of this item; faults of the destination do not count
    lease_owner: str
    lease_until: float
    fence: int = Field(sa_type=BIG)
    last_error: str
    created_at: float
    done_at: float | None


class Lane(_Base, table=True):
    """Circuit breaker of one lane: not tried before `open_until`."""

    name: str = Field(primary_key=True)
    failures: int
    open_until: float
    last_error: str


METADATA = _Base.metadata


def _table(model: type[SQLModel]) -> Table:
    found: Table = model.__table__  # type: ignore[attr-defined]
    return found


configuration = _table(Configuration)
knock = _table(Knock)
message = _table(Message)
audit = _table(Audit)
patient = _table(Patient)
service_request = _table(ServiceRequest)
requested_procedure = _table(RequestedProcedure)
scheduled_step = _table(ScheduledStep)
step_station = _table(StepStation)
step_event = _table(StepEvent)
appointment = _table(Appointment)
instance = _table(Instance)
content = _table(Content)
job = _table(Job)
lane = _table(Lane)
