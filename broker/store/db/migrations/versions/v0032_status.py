"""*Now* says since when a lane is down, how long the oldest job waits, and whether a sender is silent."""

import sqlalchemy as sa
from alembic import op

from broker.store.schema.base import BIG

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None

READY = sa.text("state = 'ready'")


def upgrade() -> None:
    op.add_column("lane", sa.Column("since", sa.Float(), nullable=False, server_default=sa.text("0")))
    op.create_index("ix_job_waiting", "job", ["lane", "created_at"], sqlite_where=READY, postgresql_where=READY)
    op.create_table(
        "sender",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("last_at", sa.Float(), nullable=False),
        sa.Column("messages", BIG, nullable=False),
        sa.Column("rhythm", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_sender"),
    )
