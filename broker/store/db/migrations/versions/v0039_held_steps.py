"""Steps that the RIS holds are found by an index of their own: they are few."""

import sqlalchemy as sa
from alembic import op

revision = "0039"
down_revision = "0038"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "ix_scheduled_step_held",
        "scheduled_step",
        ["status", "start_at", "id"],
        sqlite_where=sa.text("held = 1"),
        postgresql_where=sa.text("held"),
    )
