"""A discarded object knows since when: it is kept for so long from then. Of those of before that counts from now."""

import time

import sqlalchemy as sa
from alembic import op

revision = "0038"
down_revision = "0037"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("instance", sa.Column("discarded_at", sa.Float(), nullable=False, server_default="0"))
    instance = sa.table("instance", sa.column("state", sa.String), sa.column("discarded_at", sa.Float))
    op.execute(instance.update().where(instance.c.state == "discarded").values(discarded_at=time.time()))
