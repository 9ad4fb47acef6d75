"""What deletes old rows finds them by indexes."""

import sqlalchemy as sa
from alembic import op

revision = "0046"
down_revision = "0045"
branch_labels = None
depends_on = None

_DONE = sa.text("state = 'done'")


def upgrade() -> None:
    op.create_index("ix_gathering_done", "gathering", ["last_at"], sqlite_where=_DONE, postgresql_where=_DONE)
