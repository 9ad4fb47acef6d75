"""Rules are changed in drafts, and come into force at once or at a time."""

import sqlalchemy as sa
from alembic import op

from broker.store.schema.base import BIG

revision = "0040"
down_revision = "0039"
branch_labels = None
depends_on = None

ZERO, EMPTY = sa.text("0"), sa.text("''")


def upgrade() -> None:
    op.create_table(
        "rule_draft",
        sa.Column("id", BIG, nullable=False),
        sa.Column("author", sa.String(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("base", sa.Integer(), nullable=False),
        sa.Column("document", sa.String(), nullable=False),
        sa.Column("changed_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_rule_draft"),
        sa.UniqueConstraint("author", name="uq_rule_draft_author"),
    )
    op.create_table(
        "rule_plan",
        sa.Column("id", BIG, nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("due_at", sa.Float(), nullable=False),
        sa.Column("base", sa.Integer(), nullable=False),
        sa.Column("again", sa.Integer(), nullable=False, server_default=ZERO),
        sa.Column("document", sa.String(), nullable=False),
        sa.Column("author", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("planned_by", sa.String(), nullable=False),
        sa.Column("planned_at", sa.Float(), nullable=False),
        sa.Column("address", sa.String(), nullable=False, server_default=EMPTY),
        sa.Column("version", sa.Integer(), nullable=False, server_default=ZERO),
        sa.Column("failure", sa.String(), nullable=False, server_default=EMPTY),
        sa.PrimaryKeyConstraint("id", name="pk_rule_plan"),
    )
    op.create_index("ix_rule_plan_state", "rule_plan", ["state", "due_at"])
