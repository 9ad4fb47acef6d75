"""People sign in."""

import sqlalchemy as sa
from alembic import op

from broker.store.schema.base import BIG

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None

FOREIGN = sa.text("issuer <> ''")


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.String(), nullable=False, server_default=sa.text("''"))


def upgrade() -> None:
    op.create_table(
        "user_account",
        sa.Column("id", BIG, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        _text("full_name"),
        sa.Column("role", sa.String(), nullable=False),
        _text("language"),
        _text("password"),
        sa.Column("password_at", sa.Float(), nullable=True),
        _text("issuer"),
        _text("subject"),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("disabled_at", sa.Float(), nullable=True),
        sa.Column("last_sign_in_at", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_user_account"),
    )
    op.create_index("ix_user_account_name", "user_account", ["name"], unique=True)
    op.create_index(
        "uq_user_account_subject",
        "user_account",
        ["issuer", "subject"],
        unique=True,
        sqlite_where=FOREIGN,
        postgresql_where=FOREIGN,
    )
    op.create_table(
        "user_session",
        sa.Column("id", BIG, nullable=False),
        sa.Column("user", BIG, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("method", sa.String(), nullable=False),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("browser", sa.String(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("seen_at", sa.Float(), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=False),
        sa.Column("ended_at", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_user_session"),
    )
    op.create_index("ix_user_session_user", "user_session", ["user"])
    op.create_index("ix_user_session_digest", "user_session", ["digest"], unique=True)
    op.create_index("ix_user_session_expires_at", "user_session", ["expires_at"])
    op.create_table(
        "sign_in_link",
        sa.Column("id", BIG, nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("user", BIG, nullable=True),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=False),
        sa.Column("ended_at", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_sign_in_link"),
    )
    op.create_index("ix_sign_in_link_user", "sign_in_link", ["user"])
    op.create_index("ix_sign_in_link_digest", "sign_in_link", ["digest"], unique=True)
    op.create_table(
        "sign_in_try",
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("level", sa.Float(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("source", name="pk_sign_in_try"),
    )
    op.create_index("ix_sign_in_try_at", "sign_in_try", ["at"])
