"""The schema. Every table of the product stands here; migrations follow it (a test compares them).

Times are seconds since the epoch (UTC, float). JSON columns are text written by us.
Order documents (`attributes`) map DICOM keywords to Unicode values; nested sequences are lists of such maps.
"""

from __future__ import annotations

from sqlalchemy import Index, UniqueConstraint, text
from sqlmodel import Field

from broker.store.schema import accounts as tables_accounts
from broker.store.schema import audit as tables_audit
from broker.store.schema import commitments as tables_commitments
from broker.store.schema import devices as tables_devices
from broker.store.schema import drafts as tables_drafts
from broker.store.schema import gatherings as tables_gatherings
from broker.store.schema import journal, orders
from broker.store.schema import mpps as tables_mpps
from broker.store.schema import notices as tables_notices
from broker.store.schema import pauses as tables_pauses
from broker.store.schema import senders as tables_senders
from broker.store.schema import sources as tables_sources
from broker.store.schema import studies as tables_studies
from broker.store.schema.base import BIG, EMPTY, ZERO, Base, table_of

_HAS_FILE = text("path <> ''")


class ConfigurationRow(Base, table=True):
    """Nodes, rules and mapping profiles as immutable versions; the newest version of a kind is in force."""

    __tablename__ = "configuration"
    kind: str = Field(primary_key=True)
    version: int = Field(primary_key=True)
    created_at: float
    source: str  # by which way it came in: `api`, `cli:anna`, `site file`
    document: str
    author: str = Field(default="", sa_column_kwargs=EMPTY)
    reason: str = Field(default="", sa_column_kwargs=EMPTY)


class KnockRow(Base, table=True):
    """Devices that called and are not known, for an admin to admit."""

    __tablename__ = "knock"
    ae_title: str = Field(primary_key=True)
    address: str = Field(primary_key=True)
    first_at: float
    last_at: float
    count: int
    contexts: str = Field(default="[]", sa_column_kwargs={"server_default": "[]"})  # proposed ones, JSON
    called: str = Field(default="", sa_column_kwargs=EMPTY)  # the wrong AE title that it called last, empty if right
    share: str = Field(default="", sa_column_kwargs=EMPTY)  # of its address, see `seats.share_of`


class InstanceRow(Base, table=True):
    """A received SOP Instance. Same UID with other bytes is a new version, never an overwrite."""

    __tablename__ = "instance"
    __table_args__ = (
        UniqueConstraint("sop_instance_uid", "version"),
        Index("ix_instance_purge", "state", "received_at"),
        Index("ix_instance_path", "path", sqlite_where=_HAS_FILE, postgresql_where=_HAS_FILE),
    )
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
    state: str  # store.images.instances.InstanceState
    reason: str
    discarded_at: float = Field(default=0, sa_column_kwargs=ZERO)  # 0: it is not discarded
    rules_version: int
    trace: str  # marks of the rules and tests that were tried (routing.rules.evaluate); before: what each test saw
    facts: str


class ContentRow(Base, table=True):
    """The data set of a small object: one commit makes it durable, where a file would need three syncs."""

    __tablename__ = "content"
    instance: int = Field(foreign_key="instance.id", primary_key=True, sa_type=BIG)
    data: bytes


class JobRow(Base, table=True):
    """One piece of work for one lane. Delivery has one row per instance and destination."""

    __tablename__ = "job"
    __table_args__ = (
        UniqueConstraint("kind", "lane", "subject"),
        Index(
            "ix_job_due",
            "lane",
            "priority",
            "due_at",
            "id",  # the order of claims: none of them sorts a backlog
            sqlite_where=text("state = 'ready'"),
            postgresql_where=text("state = 'ready'"),
        ),
        Index(
            "ix_job_lease",
            "lease_until",
            sqlite_where=text("state = 'leased'"),
            postgresql_where=text("state = 'leased'"),
        ),
        Index(
            "ix_job_group",
            "lane",
            "group_key",
            "id",
            sqlite_where=text("group_key is not null"),
            postgresql_where=text("group_key is not null"),
        ),
        Index("ix_job_state", "state", "lane"),
        Index(
            "ix_job_waiting",  # how long does the oldest wait?
            "lane",
            "created_at",
            sqlite_where=text("state = 'ready'"),
            postgresql_where=text("state = 'ready'"),
        ),
        Index("ix_job_subject", "subject", "kind"),  # is an object delivered everywhere?
    )
    id: int | None = Field(default=None, primary_key=True, sa_type=BIG)
    kind: str
    lane: str
    subject: int = Field(sa_type=BIG)  # id of what the kind works on
    group_key: str | None  # jobs of one group and lane run in order of id
    detail: str
    state: str  # model.lane.JobState
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


class LaneRow(Base, table=True):
    """Circuit breaker of one lane: not tried before `open_until`."""

    __tablename__ = "lane"
    name: str = Field(primary_key=True)
    failures: int
    open_until: float
    last_error: str
    since: float = Field(default=0, sa_column_kwargs=ZERO)  # when the failures began that are in a row now


METADATA = Base.metadata

configuration = table_of(ConfigurationRow)
knock = table_of(KnockRow)
message = table_of(journal.MessageRow)
sent_message = table_of(journal.SentMessageRow)
audit = table_of(tables_audit.AuditRow)
audit_place = table_of(tables_audit.AuditPlaceRow)
patient = table_of(orders.PatientRow)
patient_term = table_of(orders.PatientTermRow)
patient_alias = table_of(orders.PatientAliasRow)
former_patient = table_of(orders.FormerPatientRow)
authority = table_of(orders.AuthorityRow)
authority_join = table_of(orders.AuthorityJoinRow)
kept_apart = table_of(orders.KeptApartRow)
visit = table_of(orders.VisitRow)
heard = table_of(orders.HeardRow)
service_request = table_of(orders.ServiceRequestRow)
requested_procedure = table_of(orders.RequestedProcedureRow)
scheduled_step = table_of(orders.ScheduledStepRow)
step_station = table_of(orders.StepStationRow)
step_name = table_of(orders.StepNameRow)
step_event = table_of(orders.StepEventRow)
order_link = table_of(orders.OrderLinkRow)
tombstone = table_of(orders.TombstoneRow)
idempotency = table_of(orders.IdempotencyRow)
appointment = table_of(orders.AppointmentRow)
mpps = table_of(tables_mpps.MppsRow)
mpps_message = table_of(tables_mpps.MppsMessageRow)
mpps_link = table_of(tables_mpps.MppsLinkRow)
kept_back = table_of(tables_mpps.KeptBackRow)
source_item = table_of(tables_sources.SourceItemRow)
import_item = table_of(tables_sources.ImportItemRow)
api_token = table_of(tables_accounts.ApiTokenRow)
user_account = table_of(tables_accounts.UserAccountRow)
user_session = table_of(tables_accounts.UserSessionRow)
sign_in_link = table_of(tables_accounts.SignInLinkRow)
sign_in_try = table_of(tables_accounts.SignInTryRow)
sign_in_flow = table_of(tables_accounts.SignInFlowRow)
second_factor = table_of(tables_accounts.SecondFactorRow)
recovery_code = table_of(tables_accounts.RecoveryCodeRow)
device_query = table_of(tables_devices.DeviceQueryRow)
node_contact = table_of(tables_devices.NodeContactRow)
node_test = table_of(tables_devices.NodeTestRow)
sender = table_of(tables_senders.SenderRow)
rule_draft = table_of(tables_drafts.RuleDraftRow)
rule_plan = table_of(tables_drafts.RulePlanRow)
instance = table_of(InstanceRow)
gathering = table_of(tables_gatherings.GatheringRow)
content = table_of(ContentRow)
job = table_of(JobRow)
lane = table_of(LaneRow)
pause = table_of(tables_pauses.PauseRow)
notice = table_of(tables_notices.NoticeRow)
study = table_of(tables_studies.StudyRow)
study_key = table_of(tables_studies.StudyKeyRow)
commitment = table_of(tables_commitments.CommitmentRow)
commitment_object = table_of(tables_commitments.CommitmentObjectRow)
commitment_ask = table_of(tables_commitments.CommitmentAskRow)
commitment_uid = table_of(tables_commitments.CommitmentUidRow)
committed = table_of(tables_commitments.CommittedRow)
