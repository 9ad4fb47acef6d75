"""The tables of the audit trail. `store.schema.tables` has them all."""

from __future__ import annotations

from sqlalchemy import Index, text
from sqlmodel import Field

from broker.store.schema.base import BIG, EMPTY, Base

_CONCERNS = text("patient IS NOT NULL")
# each order that comes would write to these two indexes, and its rows are found as soon by their time
LINES, USUAL = "hl7:", "order.created"
NO_LINE = text(f"substr(actor, 1, {len(LINES)}) <> '{LINES}'")
UNUSUAL = text(f"action <> '{USUAL}'")


class AuditRow(Base, table=True):
    """Who did or saw what, of which object, when, and from where. Append only.

    Each index ends in time and row: a filter reads its rows newest first, from any place on. What HL7 lines did, and
    that orders came, is found by time.
    """

    __tablename__ = "audit"
    __table_args__ = (
        Index("ix_audit_at", "at", "id"),
        Index("ix_audit_actor", "actor", "at", "id", sqlite_where=NO_LINE, postgresql_where=NO_LINE),
        Index("ix_audit_action", "action", "at", "id", sqlite_where=UNUSUAL, postgresql_where=UNUSUAL),
        Index("ix_audit_object", "object_kind", "object_id", "at", "id"),
        Index("ix_audit_patient", "patient", "at", "id", sqlite_where=_CONCERNS, postgresql_where=_CONCERNS),
    )
    id: int | None = Field(default=None, primary_key=True, sa_type=BIG)
    at: float
    actor: str
    action: str
    object_kind: str
    object_id: int = Field(sa_type=BIG)
    detail: str
    address: str = Field(default="", sa_column_kwargs=EMPTY)  # of the caller: IP, `local` for this machine
    patient: int | None = Field(default=None, sa_type=BIG)  # whom the object was for when this was written


class AuditPlaceRow(Base, table=True):
    """How far the audit trail has been handed to the queue for an audit repository, which is a node."""

    __tablename__ = "audit_place"
    node: str = Field(primary_key=True)
    row: int = Field(sa_type=BIG)
