"""The table of what was taken over from other worklist servers. `store.schema.tables` has them all."""

from __future__ import annotations

from sqlmodel import Field

from broker.store.schema.base import BIG, Base


class SourceItemRow(Base, table=True):
    """One item of another worklist server and the order it belongs to here."""

    __tablename__ = "source_item"
    node: str = Field(primary_key=True)
    key: str = Field(primary_key=True)  # `study|UID|STEP` or `accession|NUMBER|STEP`
    request: int = Field(foreign_key="service_request.id", index=True, sa_type=BIG)
    step_id: str  # as the server names it, may be empty
    start_at: str  # local wall clock YYYYMMDDHHMMSS
    digest: bytes  # SHA-256 of the order document it last was
    state: str  # theirs | ours | ended | gone
    misses: int  # complete imports in a row that did not have it
    updated_at: float
