"""Keeps what devices asked, and what knocking ones proposed."""

import sqlalchemy as sa
from alembic import op

from broker.store.schema.base import BIG

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "device_query",
        sa.Column("calling_ae", sa.String(), nullable=False),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("first_at", sa.Float(), nullable=False),
        sa.Column("last_at", sa.Float(), nullable=False),
        sa.Column("calls", BIG, nullable=False),
        sa.Column("queries", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("calling_ae", "address", name="pk_device_query"),
    )
    op.create_index("ix_device_query_last_at", "device_query", ["last_at"])
    op.add_column("knock", sa.Column("contexts", sa.String(), nullable=False, server_default="[]"))
