"""Housekeeping finds by an index what it purges, and whose files it looks for."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

HAS_FILE = sa.text("path <> ''")


def upgrade() -> None:
    op.create_index("ix_job_subject", "job", ["subject", "kind"])
    op.create_index("ix_instance_purge", "instance", ["state", "received_at"])
    op.drop_index("ix_instance_state", "instance")
    op.create_index("ix_instance_path", "instance", ["path"], sqlite_where=HAS_FILE, postgresql_where=HAS_FILE)
