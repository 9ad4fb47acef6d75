"""The tables of patients, orders and what waits for them. `store.schema.tables` has them all."""

from __future__ import annotations

from sqlalchemy import Index, UniqueConstraint, false, text
from sqlmodel import Field

from broker.store.schema.base import BIG, BYTES, EMPTY, ZERO, Base

_UNFINDABLE = text("NOT findable")


class PatientRow(Base, table=True):
    """A patient under one identifier and issuer."""

    __tablename__ = "patient"
    __table_args__ = (
        UniqueConstraint("patient_id", "issuer"),
        Index("ix_patient_unfindable", "id", sqlite_where=_UNFINDABLE, postgresql_where=_UNFINDABLE),
    )
    id: int | None = Field(default=None, primary_key=True, sa_type=BIG)
    patient_id: str
    issuer: str
    attributes: str
    # retired identifiers as a list of [id, issuer], the same as in `patient_alias`: read with every order
    aliases: str = Field(sa_column_kwargs={"server_default": "[]"})
    updated_at: float
    # the words that people find it by stand in `patient_term`; false: `orders.term_walk` is still to write them
    findable: bool = Field(sa_column_kwargs={"server_default": false()})


class PatientTermRow(Base, table=True):
    """A folded word of a patient's name, or `=` and the birth date: what people search patients by."""

    __tablename__ = "patient_term"
    # by patient new rows come last, and SQLite keeps no third tree
    __table_args__ = (Index("ix_patient_term_term", "term", "patient"), {"sqlite_with_rowid": False})
    patient: int = Field(primary_key=True, sa_type=BIG)
    term: str = Field(primary_key=True, sa_type=BYTES)


class PatientAliasRow(Base, table=True):
    """A retired identifier and the patient it leads to, after a merge or a change of the identifier."""

    __tablename__ = "patient_alias"
    __table_args__ = (UniqueConstraint("patient_id", "issuer"),)
    id: int | None = Field(default=None, primary_key=True, sa_type=BIG)
    patient_id: str
    issuer: str
    patient: int = Field(foreign_key="patient.id", index=True, sa_type=BIG)
    retired_at: float


class FormerPatientRow(Base, table=True):
    """An identifier of a patient who was deleted, by the number that the audit trail has."""

    __tablename__ = "former_patient"
    __table_args__ = (Index("ix_former_patient_patient_id", "patient_id", "issuer"),)
    patient: int = Field(primary_key=True, sa_type=BIG)
    patient_id: str = Field(primary_key=True)
    issuer: str = Field(primary_key=True)
    gone_at: float = Field(index=True)


class AuthorityRow(Base, table=True):
    """A namespace and a universal ID that name one authority, for what it assigns (HL7 2.5.1 §2.A.33)."""

    __tablename__ = "authority"
    __table_args__ = (UniqueConstraint("use", "universal_id"), Index("ix_authority_universal_id", "universal_id"))
    use: str = Field(primary_key=True)  # model.authority.AuthorityUse
    namespace: str = Field(primary_key=True, index=True)
    universal_id: str
    first_seen: float
    source: str  # who told: `hl7:MSH-3|MSH-4`


class AuthorityJoinRow(Base, table=True):
    """What a use has stored by universal ID alone is still to get the namespace (`orders.authority_walk`)."""

    __tablename__ = "authority_join"
    use: str = Field(primary_key=True)
    universal_id: str = Field(primary_key=True)
    namespace: str
    at: float  # when it was learnt, or learnt again


class KeptApartRow(Base, table=True):
    """Two patients have an identifier under both names of its authority and are two persons: said and recorded once."""

    __tablename__ = "kept_apart"
    universal_id: str = Field(primary_key=True)
    patient_id: str = Field(primary_key=True)


class VisitRow(Base, table=True):
    """A visit of a patient; the admission number may be empty. Times are 0 where nothing was said."""

    __tablename__ = "visit"
    __table_args__ = (UniqueConstraint("patient", "admission_id", "issuer"),)
    id: int | None = Field(default=None, primary_key=True, sa_type=BIG)
    patient: int = Field(foreign_key="patient.id", sa_type=BIG)
    admission_id: str
    issuer: str
    location: str
    patient_class: str  # PV1-2
    state: str  # open | closed | canceled
    opened_at: float
    closed_at: float
    updated_at: float


class HeardRow(Base, table=True):
    """The newest message of a sender that was applied to a patient or visit: an older one does not overwrite."""

    __tablename__ = "heard"
    kind: str = Field(primary_key=True)  # patient | visit
    subject: int = Field(primary_key=True, sa_type=BIG)
    sender: str = Field(primary_key=True)
    event_at: str  # digits in UTC, as precise as the message


class ServiceRequestRow(Base, table=True):
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
    # `MSH-3|MSH-4` of the message that made it, empty for orders that came another way
    source: str = Field(default="", sa_column_kwargs=EMPTY)
    created_at: float
    updated_at: float
    # of the message that wrote last: who sent it, and the earliest moments that ORC-9 and MSH-7 can mean; 0: unknown
    changed_by: str = Field(default="", sa_column_kwargs=EMPTY)
    ordered_from: float = Field(default=0, sa_column_kwargs=ZERO)
    sent_from: float = Field(default=0, sa_column_kwargs=ZERO)


class OrderLinkRow(Base, table=True):
    """One order stands for another: `request` replaces `other`, was joined with it, or has it as its parent."""

    __tablename__ = "order_link"
    request: int = Field(foreign_key="service_request.id", primary_key=True, sa_type=BIG)
    kind: str = Field(primary_key=True)  # replaces | joined | parent
    other: int = Field(foreign_key="service_request.id", primary_key=True, index=True, sa_type=BIG)


class TombstoneRow(Base, table=True):
    """A cancel that came before its order: the order is stored as cancelled when it comes."""

    __tablename__ = "tombstone"
    id: int | None = Field(default=None, primary_key=True, sa_type=BIG)
    at: float = Field(index=True)
    actor: str
    control: str
    order_status: str
    placer_number: str = Field(index=True)
    placer_issuer: str
    filler_number: str = Field(index=True)
    filler_issuer: str
    accession: str = Field(index=True)
    patient_id: str = Field(index=True)
    issuer: str
    steps: str  # identifiers of the steps it names, JSON; an empty list: all


class RequestedProcedureRow(Base, table=True):
    """Requested Procedure: owner of one Study Instance UID."""

    __tablename__ = "requested_procedure"
    __table_args__ = (UniqueConstraint("request", "requested_procedure_id"),)
    id: int | None = Field(default=None, primary_key=True, sa_type=BIG)
    request: int = Field(foreign_key="service_request.id", sa_type=BIG)
    requested_procedure_id: str
    study_instance_uid: str = Field(unique=True)
    attributes: str


class ScheduledStepRow(Base, table=True):
    """Scheduled Procedure Step with the keys that modalities search by and the whole answer as a document."""

    __tablename__ = "scheduled_step"
    __table_args__ = (
        UniqueConstraint("procedure", "step_id"),
        Index("ix_scheduled_step_start", "status", "start_at", "id"),
        Index(
            "ix_scheduled_step_held",
            "status",
            "start_at",
            "id",
            sqlite_where=text("held = 1"),
            postgresql_where=text("held"),
        ),
    )
    id: int | None = Field(default=None, primary_key=True, sa_type=BIG)
    procedure: int = Field(foreign_key="requested_procedure.id", sa_type=BIG)
    step_id: str
    position: int
    status: str
    status_at: float
    start_at: str = Field(sa_type=BYTES)  # local wall clock YYYYMMDDHHMMSS
    modality: str
    patient_id: str = Field(index=True, sa_type=BYTES)
    patient_name: str = Field(index=True, sa_type=BYTES)  # folded, see worklist.match; further groups in `step_name`
    accession: str = Field(index=True, sa_type=BYTES)
    requested_procedure_id: str = Field(index=True, sa_type=BYTES)
    study_instance_uid: str = Field(index=True, sa_type=BYTES)
    held: bool = Field(default=False, sa_column_kwargs={"server_default": false()})  # by the RIS: in no worklist
    attributes: str  # of the step alone
    answer: str  # merged document: patient, visit, request, procedure, step
    revision: int
    updated_at: float


class StepStationRow(Base, table=True):
    """Scheduled Station AE Titles of a step (VM 1-n), with the start for one indexed search."""

    __tablename__ = "step_station"
    __table_args__ = (Index("ix_step_station_search", "ae_title", "start_at", "step"),)
    step: int = Field(foreign_key="scheduled_step.id", primary_key=True, sa_type=BIG)
    ae_title: str = Field(primary_key=True, sa_type=BYTES)
    start_at: str = Field(sa_type=BYTES)


class StepNameRow(Base, table=True):
    """Component groups of the patient's name behind the first, folded: ideographic and phonetic writings."""

    __tablename__ = "step_name"
    step: int = Field(foreign_key="scheduled_step.id", primary_key=True, sa_type=BIG)
    words: str = Field(primary_key=True, index=True, sa_type=BYTES)


class StepEventRow(Base, table=True):
    """Event log of steps: each change of status with its cause. Append only."""

    __tablename__ = "step_event"
    id: int | None = Field(default=None, primary_key=True, sa_type=BIG)
    step: int = Field(foreign_key="scheduled_step.id", index=True, sa_type=BIG)
    at: float
    before: str  # status, empty for a new step
    after: str
    cause: str  # `order:CA`
    actor: str


class IdempotencyRow(Base, table=True):
    """Outcomes of requests that were sent with an idempotency key."""

    __tablename__ = "idempotency"
    actor: str = Field(primary_key=True)
    key: str = Field(primary_key=True)
    digest: bytes  # SHA-256 of what was asked
    # null: it is of no order
    request: int | None = Field(default=None, foreign_key="service_request.id", index=True, sa_type=BIG)
    action: str
    answer: str
    at: float = Field(index=True)


class AppointmentRow(Base, table=True):
    """An appointment of one order: which steps it has booked, or what is to be booked when the order comes."""

    __tablename__ = "appointment"
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
    patient_id: str = Field(index=True)
    issuer: str
    start_at: str  # local wall clock YYYYMMDDHHMMSS
    steps: str  # rows of steps, JSON
    slots: str  # services with their attributes, JSON
    sent_from: float  # the earliest moment that MSH-7 of the last message can mean; 0: unknown
