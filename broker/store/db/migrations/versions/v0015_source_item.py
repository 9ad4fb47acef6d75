"""Keeps what was taken over from other worklist servers."""

import sqlalchemy as sa
from alembic import op

from broker.store.schema.base import BIG

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "source_item",
        sa.Column("node", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("request", BIG, nullable=False),
        sa.Column("step_id", sa.String(), nullable=False),
        sa.Column("start_at", sa.String(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("misses", sa.Integer(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("node", "key", name="pk_source_item"),
        sa.ForeignKeyConstraint(["request"], ["service_request.id"], name="fk_source_item_request"),
    )
    op.create_index("ix_source_item_request", "source_item", ["request"])
