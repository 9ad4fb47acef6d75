"""Authorities by their two names."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "authority",
        sa.Column("use", sa.String(), nullable=False),
        sa.Column("namespace", sa.String(), nullable=False),
        sa.Column("universal_id", sa.String(), nullable=False),
        sa.Column("first_seen", sa.Float(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("use", "namespace", name="pk_authority"),
        sa.UniqueConstraint("use", "universal_id", name="uq_authority_use_universal_id"),
    )
    op.create_index("ix_authority_namespace", "authority", ["namespace"])
    op.create_index("ix_authority_universal_id", "authority", ["universal_id"])
