"""Nodes that a person has paused: what is for them waits."""

import sqlalchemy as sa
from alembic import op

from broker.store.schema.base import BIG

revision = "0043"
down_revision = "0042"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "pause",
        sa.Column("node", sa.String(), nullable=False),
        sa.Column("last_job", BIG, nullable=False),
        sa.Column("since", sa.Float(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("node", name="pk_pause"),
    )
