"""Housekeeping finds by an index the messages that were refused."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

REFUSED = sa.text("NOT accepted")


def upgrade() -> None:
    op.create_index("ix_message_refused", "message", ["received_at"], sqlite_where=REFUSED, postgresql_where=REFUSED)
