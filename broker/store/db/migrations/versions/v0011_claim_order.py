"""The index of due jobs has the order in which they are claimed."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0009"
branch_labels = None
depends_on = None

READY = sa.text("state = 'ready'")


def upgrade() -> None:
    op.drop_index("ix_job_due", "job")
    op.create_index(
        "ix_job_due", "job", ["lane", "priority", "due_at", "id"], sqlite_where=READY, postgresql_where=READY
    )
