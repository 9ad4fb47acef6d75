"""Notices that rules make: one for each node, rule and study."""

import sqlalchemy as sa
from alembic import op

from broker.store.schema.base import BIG

revision = "0042"
down_revision = "0041"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "notice",
        sa.Column("id", BIG, nullable=False),
        sa.Column("node", sa.String(), nullable=False),
        sa.Column("rule", sa.String(), nullable=False),
        sa.Column("study", sa.String(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("detail", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_notice"),
        sa.UniqueConstraint("study", "rule", "node", name="uq_notice_study_rule_node"),
    )
