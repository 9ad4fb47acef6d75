"""Programs prove by tokens who they are."""

import sqlalchemy as sa
from alembic import op

from broker.store.schema.base import BIG

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

STANDS = sa.text("revoked_at IS NULL")


def upgrade() -> None:
    op.create_table(
        "api_token",
        sa.Column("id", BIG, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=False),
        sa.Column("revoked_at", sa.Float(), nullable=True),
        sa.Column("last_used_at", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_api_token"),
    )
    op.create_index(
        "uq_api_token_name", "api_token", ["name"], unique=True, sqlite_where=STANDS, postgresql_where=STANDS
    )
    op.create_index("ix_api_token_digest", "api_token", ["digest"], unique=True)
