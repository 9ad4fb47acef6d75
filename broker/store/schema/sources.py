"""The tables of what was taken over from other worklist servers and files. `store.schema.tables` has them all."""

from __future__ import annotations

from sqlmodel import Field

from broker.store.schema.base import BIG, Base


class SourceItemRow(Base, table=True):
    """One item of another worklist server and the order it belongs to here."""

    __tablename__ = "source_item"
    node: str = Field(primary_key=True)
    key: str = Field(primary_key=True)  # `study|UID|STEP` or `accession|NUMBER|STEP`, see `worklist.source.asking`
    request: int = Field(foreign_key="service_request.id", index=True, sa_type=BIG)
    step_id: str  # of the step here, which is that of the server if it has one
    start_at: str  # local wall clock YYYYMMDDHHMMSS
    digest: bytes  # SHA-256 of the order document it last was
    state: str  # theirs | ours | ended | gone
    misses: int  # complete imports in a row that did not have it
    updated_at: float


class ImportItemRow(Base, table=True):
    """One imported item that is not simply in place: refused, left out, ended, or taken with findings."""

    __tablename__ = "import_item"
    source: str = Field(primary_key=True)  # name of a node, empty for files
    key: str = Field(primary_key=True)  # of the item at its source
    accession: str
    place: str  # file and row
    outcome: str
    findings: str  # JSON: [path, text] of each
    first_at: float
    last_at: float = Field(index=True)
    times: int
