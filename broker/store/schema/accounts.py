"""The tables of who may come in. `store.schema.tables` has them all."""

from __future__ import annotations

from sqlalchemy import Index, text
from sqlmodel import Field

from broker.store.schema.base import BIG, EMPTY, Base

_STANDS = text("revoked_at IS NULL")
_FOREIGN = text("issuer <> ''")


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


class UserAccountRow(Base, table=True):
    """A person who may sign in. A row is never deleted: the audit trail names it."""

    __tablename__ = "user_account"
    __table_args__ = (
        Index(
            "uq_user_account_subject",
            "issuer",
            "subject",
            unique=True,
            sqlite_where=_FOREIGN,
            postgresql_where=_FOREIGN,
        ),
    )
    id: int | None = Field(default=None, primary_key=True, sa_type=BIG)
    name: str = Field(index=True, unique=True)  # lower case
    full_name: str = Field(default="", sa_column_kwargs=EMPTY)
    role: str
    language: str = Field(default="", sa_column_kwargs=EMPTY)
    password: str = Field(default="", sa_column_kwargs=EMPTY)  # argon2id in PHC form; empty: none
    password_at: float | None = None
    issuer: str = Field(default="", sa_column_kwargs=EMPTY)  # of OpenID Connect; empty: a local account
    subject: str = Field(default="", sa_column_kwargs=EMPTY)
    created_at: float
    created_by: str
    disabled_at: float | None = None
    last_sign_in_at: float | None = None


class UserSessionRow(Base, table=True):
    """A browser in which a user is signed in; only the hash of its cookie is here."""

    __tablename__ = "user_session"
    id: int | None = Field(default=None, primary_key=True, sa_type=BIG)
    user: int = Field(index=True, sa_type=BIG)
    digest: bytes = Field(index=True, unique=True)  # SHA-256
    method: str  # `password`, `link`, `oidc`
    address: str
    browser: str  # as it names itself
    created_at: float
    seen_at: float
    expires_at: float = Field(index=True)
    ended_at: float | None = None


class SignInLinkRow(Base, table=True):
    """A link that is used once: to make the first admin (no user), or to set a password."""

    __tablename__ = "sign_in_link"
    id: int | None = Field(default=None, primary_key=True, sa_type=BIG)
    kind: str  # `first-admin`, `invitation`
    user: int | None = Field(default=None, index=True, sa_type=BIG)
    digest: bytes = Field(index=True, unique=True)  # SHA-256
    created_at: float
    created_by: str
    expires_at: float
    ended_at: float | None = None  # used, or replaced by another one


class SignInTryRow(Base, table=True):
    """Failed tries to sign in, of an address or for an account: a bucket that leaks."""

    __tablename__ = "sign_in_try"
    source: str = Field(primary_key=True)
    level: float
    at: float = Field(index=True)  # of this level


class SignInFlowRow(Base, table=True):
    """A sign-in that has begun and waits for its second part; only the hash of its cookie is here."""

    __tablename__ = "sign_in_flow"
    __table_args__ = (Index("ix_sign_in_flow_kind_began_at", "kind", "began_at"),)
    digest: bytes = Field(primary_key=True)  # SHA-256
    kind: str  # `oidc`, `code`, `set-up`
    method: str  # of the first part: `password`, `link`, `oidc`
    user: int | None = Field(default=None, sa_type=BIG)
    next_path: str
    began_at: float
    expires_at: float = Field(index=True)
    wrong: int  # codes so far


class SecondFactorRow(Base, table=True):
    """The second factor of a local account: a secret in force, and one that waits for its first code. Both sealed."""

    __tablename__ = "second_factor"
    user: int = Field(primary_key=True, sa_type=BIG)
    secret: bytes | None = None
    since: float | None = None
    fresh: bytes | None = None
    fresh_at: float
    last_step: int = Field(sa_type=BIG)  # of the code that was used last (RFC 6238)


class RecoveryCodeRow(Base, table=True):
    """A code that stands once for one of the app; only its hash is here."""

    __tablename__ = "recovery_code"
    id: int | None = Field(default=None, primary_key=True, sa_type=BIG)
    user: int = Field(index=True, sa_type=BIG)
    digest: bytes  # SHA-256
    used_at: float | None = None
