"""The tables of who may come in. `store.schema.tables` has them all."""

from __future__ import annotations

from sqlalchemy import Index, text
from sqlmodel import Field

from broker.store.schema.base import BIG, Base

_STANDS = text("revoked_at IS NULL")


class ApiTokenRow(Base, table=True):
    """A secret by which a program proves who it is; only its hash is here. One that has ended stays, for the audit."""

    __tablename__ = "api_token"
    __table_args__ = (Index("uq_api_token_name", "name", unique=True, sqlite_where=_STANDS, postgresql_where=_STANDS),)
    id: int | None = Field(default=None, primary_key=True, sa_type=BIG)
    name: str
    role: str
    digest: bytes = Field(index=True, unique=True)  # SHA-256
    created_at: float
    created_by: str
    expires_at: float
    revoked_at: float | None = None
    last_used_at: float | None = None
